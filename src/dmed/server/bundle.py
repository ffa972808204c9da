"""Bundles spliced from stored bytes; no body is decoded. https://hl7.org/fhir/R5/bundle.html"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from dmed.kit.clock import instant, now
from dmed.kit.ids import secret
from dmed.trust.gateway import Hit

_quoted = msgspec.json.encode
_MODES = {mode: b',"search":{"mode":"%b"}}' % mode.encode() for mode in ("match", "include")}
_RESOURCE = '","resource":'


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: parts that are empty stay away."""

    full_url: str = ""
    resource: bytes = b""
    mode: str = ""
    method: str = ""
    url: str = ""
    status: str = ""
    location: str = ""
    etag: str = ""
    modified: datetime | None = None
    outcome: bytes = b""


def hits(base: str, found: Iterable[Hit]) -> list[bytes]:
    """The entries of a search page as bytes; types and ids need no escape, base is checked."""
    start = f'{{"fullUrl":"{base}/'
    return [
        f"{start}{hit.record.type}/{hit.record.id}{_RESOURCE}".encode()
        + hit.record.body
        + _MODES[hit.mode]
        for hit in found
    ]


def bundle(
    kind: str,
    entries: Iterable[Entry | bytes],
    *,
    total: int | None = None,
    links: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The Bundle of a kind ("searchset", "history", "transaction-response" ...).

    `links` are (relation, absolute address) in order.
    """
    parts = [
        b'{"resourceType":"Bundle","id":',
        _quoted(secret(128).replace("_", ".")),
        b',"meta":{"lastUpdated":',
        _quoted(instant(now())),
        b'},"type":',
        _quoted(kind),
    ]
    if total is not None:
        parts += [b',"total":', str(total).encode()]
    listed = [
        b'{"relation":' + _quoted(name) + b',"url":' + _quoted(url) + b"}" for name, url in links
    ]
    if listed:
        parts += [b',"link":[', b",".join(listed), b"]"]
    spliced = b",".join([entry if isinstance(entry, bytes) else _entry(entry) for entry in entries])
    if spliced:
        parts += [b',"entry":[', spliced, b"]"]
    parts.append(b"}")
    return b"".join(parts)


def _entry(entry: Entry) -> bytes:
    parts: list[bytes] = []
    if entry.full_url:
        parts.append(b'"fullUrl":' + _quoted(entry.full_url))
    if entry.resource:
        parts.append(b'"resource":' + entry.resource)
    if entry.mode:
        parts.append(b'"search":{"mode":' + _quoted(entry.mode) + b"}")
    if entry.method:
        request = b'"request":{"method":' + _quoted(entry.method)
        parts.append(request + b',"url":' + _quoted(entry.url) + b"}")
    if entry.status:
        parts.append(_response(entry))
    return b"{" + b",".join(parts) + b"}"


def _response(entry: Entry) -> bytes:
    inner = [b'"status":' + _quoted(entry.status)]
    if entry.location:
        inner.append(b'"location":' + _quoted(entry.location))
    if entry.etag:
        inner.append(b'"etag":' + _quoted(entry.etag))
    if entry.modified is not None:
        inner.append(b'"lastModified":' + _quoted(instant(entry.modified)))
    if entry.outcome:
        inner.append(b'"outcome":' + entry.outcome)
    return b'"response":{' + b",".join(inner) + b"}"
