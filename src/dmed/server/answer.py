"""One answer: status, body as bytes, and the headers of https://hl7.org/fhir/R5/http.html"""

from __future__ import annotations

import asyncio
import zlib
from datetime import UTC, datetime

import msgspec
from starlette.datastructures import Headers
from starlette.types import Send

from dmed.server import negotiate

GZIP_MIN_BYTES = 1_400
"""Smaller answers fit one packet anyway."""
_THREAD_MIN_BYTES = 256_000
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


class Answer(msgspec.Struct, kw_only=True):
    """What an interaction gives back; `headers` are added to the ones every answer has."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    content_type: str = negotiate.JSON_TYPE


def http_date(moment: datetime) -> str:
    """A moment as `Sun, 22 Nov 2026 21:00:00 GMT` (RFC 9110)."""
    at = moment.astimezone(UTC)
    return (
        f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} "
        f"{at.hour:02d}:{at.minute:02d}:{at.second:02d} GMT"
    )


def moment_of(http: str) -> datetime | None:
    """The moment of an HTTP date, or None where it is none (the header is then passed over)."""
    try:
        return datetime.strptime(http.strip(), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None


def version_headers(vid: int, updated: datetime) -> dict[str, str]:
    """ETag and Last-Modified of one version."""
    return {"ETag": f'W/"{vid}"', "Last-Modified": http_date(updated)}


async def send(
    answer: Answer,
    send_: Send,
    *,
    request_headers: Headers,
    request_id: str,
    pretty: bool = False,
    is_head: bool = False,
) -> None:
    """Write an answer to the wire: pretty and packed where asked for, without body on HEAD."""
    body = answer.body
    if pretty and body and "json" in answer.content_type:
        body = msgspec.json.format(body, indent=2)
    headers = {
        "X-Request-Id": request_id,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
        "Vary": "Accept-Encoding, Authorization, Cookie",
        **answer.headers,
    }
    if body:
        headers["Content-Type"] = answer.content_type
        if len(body) >= GZIP_MIN_BYTES and negotiate.takes_gzip(
            request_headers.get("accept-encoding", "")
        ):
            body = await _packed(body)
            headers["Content-Encoding"] = "gzip"
    if answer.status != 304:
        headers["Content-Length"] = str(len(body))
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send_({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send_({"type": "http.response.body", "body": b"" if is_head else body})


async def _packed(body: bytes) -> bytes:
    if len(body) >= _THREAD_MIN_BYTES:
        return await asyncio.to_thread(_gzip, body)
    return _gzip(body)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(4, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
