"""One request, read with care: path, parameters, headers, and a body that is never too large."""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from dmed.kit.errors import InvalidError, MediaTypeError, TooLargeError
from dmed.kit.settings import Settings
from dmed.server import negotiate
from dmed.trust.model import Subject
from dmed.trust.request import new_request_id

PREFIX = "/fhir"
PAIRS_MAX = 200
URL_MAX_BYTES = 32_768
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9a-fA-F:]{2,45}\](:\d{1,5})?", re.ASCII)


class Call:
    """A FHIR request as the interactions see it: of the wire, or of one entry of a batch."""

    def __init__(
        self,
        *,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        base: str,
        request_id: str,
        settings: Settings,
        body: Callable[[], Awaitable[bytes]],
    ) -> None:
        if len(query) > URL_MAX_BYTES:
            raise TooLargeError(
                f"The address is longer than {URL_MAX_BYTES} bytes; use POST _search"
            )
        self.method = method
        self.path = path
        self.parts = tuple(unquote(part) for part in path.split("/") if part)
        self.query = _pairs(query)
        self.headers = headers
        self.base = base
        self.request_id = request_id
        self.settings = settings
        self.wishes = negotiate.wishes(",".join(headers.getlist("prefer")))
        self._body = body
        self.subject: Subject

    @classmethod
    def of_request(cls, request: Request, settings: Settings, request_id: str) -> Call:
        """The call of a request on the wire; its body is read when it is asked for."""
        path = path_of(request.scope)
        is_bundle = request.method == "POST" and not path.strip("/")
        limit = settings.bundle_limit_bytes if is_bundle else settings.body_limit_bytes
        return cls(
            method=request.method,
            path=path,
            query=request.scope["query_string"],
            headers=request.headers,
            base=base_of(request.scope, settings),
            request_id=request_id,
            settings=settings,
            body=lambda: read_body(request, limit),
        )

    def entry(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Call:
        """The call of one entry of a batch: relative address, its own conditions, its resource."""

        async def given() -> bytes:
            return body

        path, _, query = relative(url, self.base).partition("?")
        made = Call(
            method=method,
            path=path,
            query=query.encode(),
            headers=Headers(headers),
            base=self.base,
            request_id=self.request_id,
            settings=self.settings,
            body=given,
        )
        made.subject = self.subject
        return made

    def check_format(self) -> None:
        """Refuse a request that wants anything but JSON."""
        negotiate.check_accept(self.headers.get("accept", ""), self.parameter("_format"))

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, or ""."""
        for key, value in self.query:
            if key == name:
                return value
        return ""

    def criteria(self) -> list[tuple[str, str]]:
        """The query's pairs without those that speak of the answer's form."""
        return [pair for pair in self.query if pair[0] not in {"_format", "_pretty"}]

    def if_match(self) -> int | None:
        """The version that If-Match demands, or None."""
        given = self.headers.get("if-match", "")
        return negotiate.vid_of_etag(given) if given else None

    async def body(self) -> bytes:
        """The body as it came, decompressed, within the limit."""
        return await self._body()

    async def json_body(self) -> bytes:
        """The body of a write, declared as JSON, decompressed, within the limit."""
        negotiate.check_content_type(self.headers.get("content-type", ""))
        body = await self._body()
        if not body.strip():
            raise InvalidError("The body is empty: a resource in JSON is needed")
        return body

    async def form_pairs(self) -> list[tuple[str, str]]:
        """The pairs of a POST _search: those of the form, then those of the address."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await self._body()
        if body and kind != "application/x-www-form-urlencoded":
            raise MediaTypeError("POST _search reads application/x-www-form-urlencoded")
        pairs = _pairs(body) + self.query
        return [pair for pair in pairs if pair[0] not in {"_format", "_pretty"}]


def relative(url: str, base: str) -> str:
    """The part of an entry's address below our base; InvalidError for an address elsewhere."""
    found = url.removeprefix(base) if url.startswith((base + "/", base + "?")) else url
    if "://" in found.partition("?")[0]:
        raise InvalidError(f"The address {url[:100]!r} is not below {base}")
    return found


def path_of(scope: Any) -> str:
    """The path below /fhir, percent-encoding kept, so that an encoded slash splits nothing."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1").removeprefix(PREFIX)


def base_of(scope: Any, settings: Settings) -> str:
    """The address of the FHIR base as clients see it: the setting, else as they asked."""
    if settings.public_url:
        return settings.public_url.rstrip("/") + PREFIX
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
            # Links echo this header, so nothing but a host and a port may pass.
            if _HOST.fullmatch(host):
                return f"{scope.get('scheme', 'http')}://{host}{PREFIX}"
    return f"http://{settings.host}:{settings.port}{PREFIX}"


def request_id_of(scope: Any) -> str:
    """The client's X-Request-Id where it is a plain word, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return str(given)
    return new_request_id()


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body, unpacked when it is gzip; TooLargeError as soon as it passes the limit.

    A packed body is bounded by what comes out of it, so that a small one cannot fill the memory.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", ""}:
        raise MediaTypeError(f"Content-Encoding {encoding[:20]!r}: only gzip is read")
    unpack = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            plain = chunk if unpack is None else unpack.decompress(chunk, limit_bytes - size + 1)
            size += len(plain)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            chunks.append(plain)
    except zlib.error as fault:
        raise InvalidError("The body is no valid gzip") from fault
    except ClientDisconnect as fault:
        raise InvalidError("The body ended early") from fault
    if unpack is not None and chunks and not unpack.eof:
        raise InvalidError("The gzip body ended early")
    return b"".join(chunks)


def _too_large(limit_bytes: int) -> TooLargeError:
    return TooLargeError(
        f"The body is larger than {limit_bytes} bytes "
        "(DMED_BODY_LIMIT_BYTES, DMED_BUNDLE_LIMIT_BYTES)"
    )


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("utf-8"),
            keep_blank_values=True,
            max_num_fields=PAIRS_MAX,
            errors="strict",
        )
    except ValueError as fault:
        raise InvalidError(
            f"The parameters cannot be read: at most {PAIRS_MAX}, in UTF-8"
        ) from fault
