"""One person's identifiers across domains: what the platform knows under one number, by another.

Modelled on IHE PIXm: the cards that are linked as one person's answer together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dmed.modules.medid.rules import exchange

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway
    from dmed.trust.model import Subject

Record = dict[str, Any]
_SYSTEMS = ("https://dhp.uz/fhir/core/sid/", "https://mis.dmed.uz")
_LINKS_MAX = 10


def is_domain(system: str) -> bool:
    """Whether a system is one whose numbers the platform keeps: the national ones of persons, and
    the record numbers that institutions give (any address of theirs).
    """
    is_other_authority = system.startswith(("urn:oid:", "urn:uuid:", "http://", "https://"))
    if system.startswith(_SYSTEMS[0]):
        return system.startswith(_SYSTEMS[0] + "pid/")
    return is_other_authority and len(system) > len("https://")


async def cards(gateway: Gateway, subject: Subject, source: tuple[str, str]) -> list[Record]:
    """The cards of the person who carries an identifier: the active one first, then those that
    were merged into it or that it was merged into. Empty where nobody carries it.
    """
    found: dict[str, Record] = {}
    wanted = await _by_number(gateway, subject, source)
    while wanted and len(found) < _LINKS_MAX:
        card = wanted.pop()
        if card["id"] in found:
            continue
        found[card["id"]] = card
        others = [one for one in exchange.linked(card) if one not in found][:_LINKS_MAX]
        if others:
            wanted += await _search(gateway, subject, "_id", ",".join(others))
        for number in exchange.linked_numbers(card)[:_LINKS_MAX]:
            wanted += await _by_number(gateway, subject, number)
    return sorted(found.values(), key=lambda one: one.get("active") is False)


async def named(
    gateway: Gateway, subject: Subject, numbers: tuple[tuple[str, str], ...]
) -> list[Record]:
    """The cards that carry all of these numbers; the active ones alone where there is any."""
    found: dict[str, Record] = {}
    for at, number in enumerate(numbers):
        cards = {one["id"]: one for one in await _by_number(gateway, subject, number)}
        found = cards if not at else {id_: one for id_, one in found.items() if id_ in cards}
    active = [one for one in found.values() if one.get("active") is not False]
    return active or list(found.values())


async def _by_number(
    gateway: Gateway, subject: Subject, number: tuple[str, str]
) -> list[Record]:
    system, value = (part.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|")
                     .replace("$", "\\$") for part in number)
    asked = f"{system}|{value}" if system else value
    return await _search(gateway, subject, "identifier", asked)


async def _search(gateway: Gateway, subject: Subject, name: str, value: str) -> list[Record]:
    query = urlencode([(name, value), ("_count", str(_LINKS_MAX)), ("_total", "none")])
    return await gateway.find(subject, "Patient", query)
