"""`Patient/[id]/*`: all that is known of a person and may be seen, type by type, in pages.

https://hl7.org/fhir/R5/compartmentdefinition.html
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

from dmed.fhir.facts import facts
from dmed.kit.errors import InvalidError, NotSupportedError
from dmed.server.answer import Answer
from dmed.server.bundle import bundle, hits
from dmed.server.call import Call
from dmed.server.door import Door, only_positive
from dmed.trust.decide import readable
from dmed.trust.gateway import Hit

_KNOWN = frozenset({"_count", "_cursor", "_type", "_format", "_pretty"})


@lru_cache(maxsize=1)
def _members() -> tuple[str, ...]:
    """Types that can lie in a Patient compartment, in the order in which pages show them."""
    return ("Patient", *sorted(set(facts().compartments["Patient"]) - {"Patient"}))


async def everything(door: Door, call: Call, patient: str, pairs: list[tuple[str, str]]) -> Answer:
    """One page over all types. `_type` limits them; other criteria need one type (400)."""
    for name, _ in pairs:
        if name not in _KNOWN:
            raise NotSupportedError(f"{name[:60]!r} is not served over all types: name one", name)
    asked = dict(pairs)
    settings = door.settings
    size = only_positive(asked["_count"], "_count") if asked.get("_count") else 0
    size = min(size or settings.count_default, settings.count_max)
    types = _types(call, asked.get("_type", ""))
    start, inner = _place(asked.get("_cursor", ""), types)
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


def _types(call: Call, wanted: str) -> list[str]:
    seen = readable(call.subject.role, is_plain=True)
    members = [name for name in _members() if seen is None or name in seen]
    if not wanted:
        return members
    names = set(wanted.split(","))
    if not names <= set(_members()):
        raise InvalidError(f"_type={wanted[:100]!r} names no types of the compartment", "_type")
    return [name for name in members if name in names]


def _cursor(type_: str, inner: str) -> str:
    return base64.urlsafe_b64encode(f"{type_} {inner}".encode()).decode().rstrip("=")


def _place(cursor: str, types: list[str]) -> tuple[int, str]:
    if not cursor:
        return 0, ""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        type_, _, inner = raw.partition(" ")
        return types.index(type_), inner
    except (binascii.Error, ValueError) as fault:
        raise InvalidError("_cursor is not one of our page links", "_cursor") from fault
