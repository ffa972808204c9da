"""Finding persons: as words are typed, and by all that is known of one (matching)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.fhir import persons
from dmed.fhir.persons import PersonRow
from dmed.kit.errors import ForbiddenError
from dmed.kit.text import name_words
from dmed.modules.medid import rules
from dmed.modules.medid.model import Draft, PersonHit
from dmed.modules.medid.rules import keys, reading, scoring
from dmed.trust.gateway import decoded
from dmed.trust.gateway.people import Candidate, Further

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit, Stored
    from dmed.trust.model import Subject

Record = dict[str, Any]
ENOUGH = 3
"""With so many persons who fit every word no second look is taken."""
SCORED_MAX = 16
"""Most candidates that are read and scored; the keys bring a hundred at the size of the country."""
_SLIPS = frozenset({"alike", "near", "rival"})
_SLIP_BITS = 3.0
_READ_MAX = 60
_NUMBERS_MAX = 12
_DOCUMENT = re.compile(r"[A-Za-zА-Яа-я]{1,4}[\s№-]*[0-9]{5,10}")


# --- As it is typed --------------------------------------------------------------------------


async def find(
    gateway: Gateway, subject: Subject, text: str, limit: int, *, year: str = "",
    district: str = "", phone: str = "",
) -> list[PersonHit]:
    """Persons for what was typed into the one box, best first."""
    found = await find_records(
        gateway, subject, text, limit, year=year, district=district, phone=phone)
    return [reading.hit(decoded(stored.body), found_by) for stored, found_by in found]


async def find_records(
    gateway: Gateway, subject: Subject, text: str, limit: int, *, year: str = "",
    district: str = "", phone: str = "",
) -> list[tuple[Stored, str]]:
    """The same as records, each with what it was found by: "pinfl", "medid", "number", "phone"
    or "name".
    """
    text = " ".join(text.split())
    number = rules.digits(text)
    if not text or limit < 1:
        return []
    if number.isdecimal() or _DOCUMENT.fullmatch(text):
        by_number = await _by_number(gateway, subject, text, number, limit)
        if by_number or len(number) > 8:
            return by_number
    typed = keys.read_typed(text, year=year, district=district, phone=phone)
    for asked, element in ((typed.phone, "telecom"), (district, "address")):
        if asked and gateway.hides(subject, "Patient", element):
            raise ForbiddenError(
                f"The role {subject.role.value} does not see Patient.{element} and finds nobody by "
                "it: type a name, a birth date or a number")
    found_by = "name" if typed.words or not typed.phone else "phone"
    hits = await _by_words(gateway, subject, typed, text, limit)
    if not hits and not await gateway.people().is_whole():
        hits = await _as_before(gateway, subject, typed, text, limit)
    return [(one, found_by) for one in hits]


async def _by_number(
    gateway: Gateway, subject: Subject, text: str, number: str, limit: int
) -> list[tuple[Stored, str]]:
    asked: list[tuple[str, str, str]] = []
    if rules.read_pinfl(number):
        asked.append(("identifier", f"{rules.PINFL_SYSTEM}|{number}", "pinfl"))
    if rules.is_med_id(number):
        asked.append(("identifier", f"{rules.MED_ID_SYSTEM}|{number}", "medid"))
    if phone := rules.read_phone(number):
        asked.append(("phone", phone, "phone"))
    if _DOCUMENT.fullmatch(text):
        asked.append(("identifier", _escaped(text.upper().replace(" ", "")), "number"))
    for name, value, found_by in asked:
        pairs = [(name, value), ("_count", str(limit)), ("_total", "none")]
        _, page = await gateway.search(subject, "Patient", pairs, strict=True)
        if page.hits:
            return [(hit.record, found_by) for hit in page.hits]
    return []


async def _by_words(
    gateway: Gateway, subject: Subject, typed: keys.Typed, text: str, limit: int
) -> list[Stored]:
    fits: dict[tuple[int, int], keys.Fit] = {}
    most = min(_READ_MAX, limit * 2)
    weighed = keys.Weighed(typed.words)

    def pick(found: list[Candidate]) -> list[Candidate]:
        best = keys.ranked(typed, found, most, weighed)
        fits.update({(one.vid, one.bucket): fit for fit, one in best})
        return [one for _, one in best]

    def suffices(found: list[Candidate]) -> bool:
        best = keys.ranked(typed, found, ENOUGH, weighed)
        return len(best) >= ENOUGH and not best[-1][0].unfit

    def tell(read: list[Stored]) -> dict[str, Stored]:
        spelt = {one.id: _misspelt(text, decoded(one.body)) for one in read}
        order = sorted(read, key=lambda one: (fits[one.vid, one.bucket], spelt[one.id]))
        return {one.id: one for one in order[:limit]}

    further = Further(suffices, keys.begun_families(typed), keys.NEIGHBOURS_MAX,
                      lambda families: keys.more_probes(typed, families))
    told = await gateway.people().look_up(
        subject, keys.first_probes(typed), text, pick=pick, tell=tell, further=further)
    return list(told.values())


def _misspelt(text: str, patient: Record) -> tuple[int, str]:
    """Karimova before Karimov, whose skeleton is the same: Enter takes the first."""
    names = [reading.full_name(one) for one in patient.get("name", [])]
    spelt = {word for name in names for word in name_words(name)}
    typed = [word for word in name_words(text) if word.isalpha()]
    wrong = sum(not any(one.startswith(word) for one in spelt) for word in typed)
    return wrong, next(iter(names), "")


async def _as_before(
    gateway: Gateway, subject: Subject, typed: keys.Typed, text: str, limit: int
) -> list[Stored]:
    """By FHIR's own search, while older records are still being indexed."""
    words = [word for word in name_words(text) if word.isalpha()]
    pairs = [("phonetic", _escaped(word)) for word in words]
    if typed.born:
        pairs.append(("birthdate", persons.date_of(typed.born).isoformat()))
    elif typed.first_day:
        pairs += [("birthdate", f"ge{persons.date_of(typed.first_day).isoformat()}"),
                  ("birthdate", f"le{persons.date_of(typed.last_day).isoformat()}")]
    if typed.phone:
        pairs.append(("phone", f"+{typed.phone}"))
    if not pairs:
        return []
    pairs += [("_count", str(limit)), ("_total", "none")]
    _, page = await gateway.search(subject, "Patient", pairs, strict=True)
    return [hit.record for hit in page.hits]


def _escaped(text: str) -> str:
    return re.sub(r"([\\,|$])", r"\\\1", text)


# --- By all that is known --------------------------------------------------------------------


class Matched(msgspec.Struct, frozen=True):
    """A card that may be the person's, with its score; `patient` is the record as a dict."""

    stored: Stored
    patient: Record
    score: scoring.Score


def rows_asked(patient: Any) -> tuple[list[PersonRow], tuple[str, ...]]:
    """What a Patient (a struct) is looked for by: rows of the index, and numbers of documents."""
    values = [each.value for each in persons.listed(patient.identifier)
              if isinstance(each.value, str) and each.system != persons.PINFL_SYSTEM]
    return persons.rows_of(patient), tuple(dict.fromkeys(values))[:_NUMBERS_MAX]


async def match(
    gateway: Gateway, subject: Subject, patient: Any, asked: Record, *,
    choose: Callable[[list[Matched]], Iterable[Matched]],
) -> list[Matched]:
    """The cards that `choose` takes of those that may be this person's, strongest first.

    `patient` is the struct of what is known, `asked` the same as a dict. Only those who are
    chosen are told, and audited.
    """
    rows, values = rows_asked(patient)
    facts = scoring.facts_of(asked)

    def pick(found: list[Candidate]) -> list[Candidate]:
        return keys.nearest(rows, found, SCORED_MAX)

    def tell(read: list[Stored]) -> Mapping[str, Matched]:
        return {one.stored.id: one for one in choose(scored(facts, read))}

    probes = keys.asked_of(rows, values)
    told = await gateway.people().look_up(
        subject, probes, "$match " + summary(rows), pick=pick, tell=tell)
    return list(told.values())


def scored(facts: scoring.PersonFacts, read: Sequence[Stored]) -> list[Matched]:
    """Each record with its score, strongest first; active cards before closed ones of one score."""
    made = []
    for one in read:
        patient = decoded(one.body)
        made.append(Matched(one, patient, scoring.score(facts, scoring.facts_of(patient))))
    return sorted(made, key=lambda one: (
        -_order(one.score), one.patient.get("active") is False, one.stored.id))


def _order(score: scoring.Score) -> float:
    """The weight by which cards are ranked. A common name that agrees may weigh less than a slip
    in it does: still the card on which it agrees comes first.
    """
    slips = sum(one.name in scoring.NAME_FIELDS and one.level in _SLIPS for one in score.fields)
    return score.weight - _SLIP_BITS * slips


def summary(rows: Sequence[PersonRow]) -> str:
    """What was asked, for the audit: the skeletons of names, birth date and numbers."""
    row = rows[0]
    born = persons.date_of(row.born).isoformat() if row.born else ""
    names = [persons.text_of(code) for code in (row.family, row.given, row.patronymic) if code]
    said = [*names, born, str(row.pinfl or ""), f"+{row.phone}" if row.phone else ""]
    return " ".join(part for part in said if part)


async def hold(unit: GatewayUnit, rows: Sequence[PersonRow]) -> None:
    """Hold off, until the unit's end, every other registration that may be of the same person."""
    await unit.execute(
        "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS t(key)",
        keys.lock_keys(rows))


def rows_of_draft(draft: Draft) -> list[PersonRow]:
    """The rows of the index that a completed draft would have."""
    born, precision = persons.birth_of(draft.birth_date)
    names = persons.triples(draft.family, draft.given, draft.patronymic) or [(0, 0, 0)]
    return [PersonRow(
        family=family, given=given, patronymic=third, pinfl=persons.pinfl_of(draft.pinfl),
        phone=persons.phone_of(draft.phone), born=born,
        district=persons.district_of(draft.district, draft.region),
        traits=persons.SEXES.get(draft.sex, 0) | precision,
    ) for family, given, third in names[:persons.ROWS_MAX]]


async def near(
    gateway: Gateway, subject: Subject, draft: Draft, fits: Callable[[Record], bool],
    unit: GatewayUnit | None = None,
) -> list[Record]:
    """The cards among those that may be the draft's person's for which `fits` holds; these are
    told. With a unit as that sees them: after `hold` nobody can add another.
    """
    rows = rows_of_draft(draft)
    probes, asked = keys.asked_of(rows), "near " + summary(rows)

    def pick(found: list[Candidate]) -> list[Candidate]:
        return keys.nearest(rows, found, SCORED_MAX)

    def tell(read: list[Stored]) -> dict[str, Record]:
        found = {one.id: decoded(one.body) for one in read}
        return {id_: one for id_, one in found.items() if fits(one)}

    people = gateway.people()
    if unit is not None:
        told = await people.look_up_in(unit, subject, probes, asked, pick=pick, tell=tell)
        return list(told.values())
    told = await people.look_up(subject, probes, asked, pick=pick, tell=tell)
    if not await people.is_whole():
        typed = keys.read_typed(f"{draft.family} {draft.given}", year=draft.birth_date[:4])
        older = await _as_before(gateway, subject, typed, f"{draft.family} {draft.given}",
                                 SCORED_MAX)
        told = tell(older) | told
    return list(told.values())


__all__ = ["Matched", "find", "find_records", "hold", "match", "near", "rows_asked",
           "rows_of_draft", "scored", "summary"]

