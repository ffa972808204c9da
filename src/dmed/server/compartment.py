"""`Patient/[id]/*`: all that is known of a person and may be seen, type by type, in pages.

https://hl7.org/fhir/R5/compartmentdefinition.html
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from dmed.fhir.facts import facts
from dmed.kit.errors import InvalidError
from dmed.server.answer import Answer
from dmed.server.bundle import bundle, hits
from dmed.server.call import Call
from dmed.server.door import Door, only_positive
from dmed.trust.gateway import Hit

PLAIN = frozenset({"_count", "_cursor", "_type", "_format", "_pretty"})
"""Parameters under which a compartment is walked type by type; others make it a search."""


@lru_cache(maxsize=1)
def _members() -> frozenset[str]:
    """Types that can lie in a Patient compartment."""
    return frozenset(facts().compartments["Patient"]) | {"Patient"}


async def everything(door: Door, call: Call, patient: str, pairs: list[tuple[str, str]]) -> Answer:
    """One page over all types, one type after another. `_type` limits them."""
    asked = dict(pairs)
    settings = door.settings
    size = only_positive(asked["_count"], "_count") if asked.get("_count") else 0
    size = min(size or settings.count_default, settings.count_max)
    present = await door.plain.types_of(call.subject, patient)
    types = _types(present, asked.get("_type", ""), asked.get("_cursor", ""))
    first, inner = _place(asked.get("_cursor", ""))
    start = types.index(first) if first in types else 0
    found: list[Hit] = []
    following = ""
    for number in range(start, len(types)):
        if len(found) == size:
            following = _cursor(types[number], "")
            break
        page_pairs = [("_count", str(size - len(found))), ("_total", "none")]
        if inner:
            page_pairs.append(("_cursor", inner))
        _, page = await door.plain.search(call.subject, types[number], page_pairs, patient=patient)
        found += page.hits
        inner = ""
        if page.next_cursor:
            following = _cursor(types[number], page.next_cursor)
            break
    return Answer(body=_page(call, patient, found, size, following, asked))


def _page(
    call: Call, patient: str, found: list[Hit], size: int, following: str, asked: dict[str, str]
) -> bytes:
    address = f"{call.base}/Patient/{patient}/*?_count={size}"
    if asked.get("_type"):
        address += f"&_type={asked['_type']}"
    own = f"{address}&_cursor={asked['_cursor']}" if asked.get("_cursor") else address
    links = [("self", own)]
    if following:
        links.append(("next", f"{address}&_cursor={following}"))
    return bundle("searchset", hits(call.base, found), links=links)


def _types(present: list[str], wanted: str, cursor: str) -> list[str]:
    """The types to walk, Patient first; a type that a cursor names stays, whatever is there now."""
    names = {*present, _place(cursor)[0]} - {""}
    if wanted:
        asked = set(wanted.split(","))
        if not asked <= _members():
            raise InvalidError(f"_type={wanted[:100]!r} names no types of the compartment", "_type")
        names &= asked
    return sorted(names, key=lambda name: (name != "Patient", name))


def _cursor(type_: str, inner: str) -> str:
    return base64.urlsafe_b64encode(f"{type_} {inner}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[str, str]:
    """The type at which a page starts and the place in it."""
    if not cursor:
        return "", ""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as fault:
        raise InvalidError("_cursor is not one of our page links", "_cursor") from fault
    type_, _, inner = raw.partition(" ")
    if type_ not in _members():
        raise InvalidError("_cursor is not one of our page links", "_cursor")
    return type_, inner
