"""Use cases of the national feed: changes of persons by PINFL, and what a person must look at."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from dmed.fhir.persons import replaced_by
from dmed.kit import clock, i18n
from dmed.kit.errors import NotFoundError
from dmed.modules.facilities import api as facilities
from dmed.modules.medid import rules
from dmed.modules.medid.rules import feeding, merging, reading
from dmed.modules.medid.service import finding, review
from dmed.modules.medid.tables import feeds
from dmed.modules.medid.tables.feeds import Entry
from dmed.trust.decide import Action
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

Record = dict[str, Any]
PART = 50
"""Lines that commit together: a part stays within the time that a write may take."""


class Raw(msgspec.Struct, frozen=True):
    """A line as it stands in the file, with its number from 1."""

    number: int
    text: str
    line: feeding.Line | None = None
    reasons: tuple[str, ...] = ()
    """Why it is refused; then there is no `line`."""


def place_names(region: str, district: str) -> tuple[str, str]:
    """The names of a region and a district by their codes."""
    return (dict(facilities.regions("uz")).get(region, ""),
            dict(facilities.districts(region, "uz")).get(district, ""))


def said(findings: list[Any], language: str = "en") -> list[str]:
    """Findings as sentences: "pinfl: There is ..."."""
    translator = i18n.translator()
    return [f"{one.field}: {translator.text(language, one.key, **one.values)}"
            for one in findings]


async def apply(
    gateway: Gateway, subject: Subject, digest: str, part: list[Raw], language: str = "en"
) -> dict[str, int]:
    """Take over one part of a file in one transaction, with its entries of the ledger.

    Counts of "new", "changed", "same", "conflict" and "refused". A part that is called twice is
    not taken over twice: the second call meets its own row and is a ConflictError.
    """
    counts = dict.fromkeys(("new", "changed", "same", "conflict", "refused"), 0)
    async with gateway.unit(subject) as unit:
        holders = await _holders(unit, [raw.line.draft.pinfl for raw in part if raw.line])
        entries: list[Entry] = []
        for raw in part:
            kind, entry = await _take(gateway, unit, subject, digest, raw, holders, language)
            counts[kind] += 1
            entries += [entry] if entry else []
        await feeds.keep(unit, entries)
        await feeds.note_part(unit, digest, part[0].number, counts)
    return counts


async def _holders(unit: GatewayUnit, pinfls: list[str]) -> dict[str, Record]:
    """The active cards that carry these PINFLs, read by one search."""
    if not pinfls:
        return {}
    asked = ",".join(f"{rules.PINFL_SYSTEM}|{one}" for one in dict.fromkeys(pinfls))
    query = urlencode([("identifier", asked), ("_count", "500"), ("_total", "none")])
    found: dict[str, Record] = {}
    for card in await unit.find("Patient", query):
        value, is_official = reading.identifier(card, rules.PINFL_SYSTEM)
        if card.get("active") is not False and (is_official or value not in found):
            found[value] = card
    return found


async def _take(
    gateway: Gateway, unit: GatewayUnit, subject: Subject, digest: str, raw: Raw,
    holders: dict[str, Record], language: str,
) -> tuple[str, Entry | None]:
    today = clock.today()
    if raw.line is None:
        return "refused", Entry(digest=digest, line=raw.number, kind="refused",
                                reasons=list(raw.reasons), raw=raw.text)
    draft = raw.line.draft
    places = place_names(draft.region, draft.district)
    note = Entry(digest=digest, line=raw.number, kind="note", reasons=list(raw.reasons),
                 raw=raw.text) if raw.reasons else None
    holder = holders.get(draft.pinfl)
    if holder is None:
        number = rules.new_med_id(secrets.randbelow(10**12))
        record = feeding.card_of(raw.line, number, subject, today, places)
        made = (await unit.create("Patient", record)).id
        holders[draft.pinfl] = record | {"id": made}
        # A card without PINFL may be the same person's: that is for a registrar to say.
        for one in await finding.near(gateway, subject, draft,
                                      lambda card: card["id"] != made, unit):
            if one["id"] != made and _is_likely(record, one):
                await review.propose_in(unit, made, one["id"], "feed", {})
        return "new", note
    change = feeding.change_of(holder, raw.line, today, places)
    if change.kind == "conflict":
        translator = i18n.translator()
        reasons = [translator.text(language, f"medid.feed.conflict-{field.replace('_', '-')}")
                   for field in change.fields]
        return "conflict", Entry(digest=digest, line=raw.number, kind="conflict", reasons=reasons,
                                 raw=raw.text, patient=holder["id"])
    if change.kind == "none":
        return "same", note
    await unit.update("Patient", holder["id"], change.card)
    holders[draft.pinfl] = change.card
    return "changed", note


def _is_likely(made: Record, other: Record) -> bool:
    from dmed.modules.medid.rules import comparing

    if replaced_by(other) or merging.official(other, rules.PINFL_SYSTEM):
        return False
    return comparing.compare(made | {"id": ""}, other).grade != "certainly-not"


async def queue(gateway: Gateway, subject: Subject) -> list[tuple[Entry, Record | None]]:
    """Open entries of the feed with the card that a conflict is about."""
    async with gateway.unit(subject) as unit:
        unit.check(Action.UPDATE, "Patient")
        rows = await feeds.waiting(unit)
        found = [(one, await unit.get("Patient", one.patient) if one.patient else None)
                 for one in rows]
    await gateway.note(subject, "R", f"open lines of the national feed: {len(found)}")
    return found


async def settle(gateway: Gateway, subject: Subject, digest: str, line: int) -> None:
    """An entry was dealt with. NotFoundError for none that is open."""
    async with gateway.unit(subject) as unit:
        unit.check(Action.UPDATE, "Patient")
        if not await feeds.settle(unit, digest, line):
            raise NotFoundError("there is no such open line of the feed")
    await gateway.note(subject, "U", f"line {line} of feed {digest[:12]} settled")
