"""https://hl7.org/fhir/R5/http.html#history of one record, of a type, of all types."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlencode

from dmed.fhir.values import date_bounds
from dmed.kit.errors import InvalidError, NotSupportedError
from dmed.server.answer import Answer
from dmed.server.bundle import Entry, bundle
from dmed.server.call import Call
from dmed.server.door import Door, only_positive
from dmed.trust.gateway import HistoryPage, Stored

_KEPT = ("_since", "_at", "_sort", "_count")
_KNOWN = frozenset({*_KEPT, "_cursor", "_format", "_pretty"})
_SORTS = {"": False, "-_lastUpdated": False, "none": False, "_lastUpdated": True}


async def history(door: Door, call: Call, type_: str = "", id_: str = "") -> Answer:
    """Versions newest first; a deleting version is an entry without a resource.

    `_since` an instant, `_at` a moment or partial date (what was current then), `_sort` by
    `_lastUpdated` (oldest first) or `-_lastUpdated`, `_count`.
    """
    for name, _ in call.query:
        if name not in _KNOWN:
            raise NotSupportedError(f"Parameter {name[:60]!r} is not served on a history", name)
    twice = [name for name in _KEPT if [key for key, _ in call.query].count(name) > 1]
    if twice:
        raise InvalidError(f"{twice[0]} stands twice", twice[0])
    sort, at = call.parameter("_sort"), call.parameter("_at")
    if sort not in _SORTS:
        raise InvalidError(f"_sort={sort[:40]!r}: a history is sorted by _lastUpdated", "_sort")
    since, count = call.parameter("_since"), call.parameter("_count")
    page = await door.plain.history(
        call.subject,
        type_,
        id_,
        since=_moment(since) if since else None,
        at=date_bounds(at.replace(" ", "+")) if at else None,
        rising=_SORTS[sort],
        count=only_positive(count, "_count") if count else 0,
        cursor=call.parameter("_cursor"),
    )
    address = "/".join(part for part in (call.base, type_, id_, "_history") if part)
    kept = [(name, value) for name, value in call.query if name in _KEPT]
    entries = [_entry(call.base, version) for version in page.versions]
    return Answer(
        body=bundle("history", entries, total=page.total, links=_links(address, kept, page, call))
    )


def _entry(base: str, version: Stored) -> Entry:
    name = f"{version.type}/{version.id}"
    return Entry(
        full_url=f"{base}/{name}",
        resource=version.body,
        method="DELETE" if version.deleted else "PUT",
        url=name,
        status="204 No Content" if version.deleted else "200 OK",
        etag=f'W/"{version.vid}"',
        modified=version.updated,
    )


def _links(
    address: str, kept: list[tuple[str, str]], page: HistoryPage, call: Call
) -> Iterator[tuple[str, str]]:
    cursor = call.parameter("_cursor")
    own = [*kept, ("_cursor", cursor)] if cursor else kept
    yield "self", f"{address}?{urlencode(own)}" if own else address
    if page.next_cursor:
        yield "next", f"{address}?{urlencode([*kept, ('_cursor', page.next_cursor)])}"


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidError(f"_since={text[:40]!r} is no instant with its zone", "_since")
    return moment
