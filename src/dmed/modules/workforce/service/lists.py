"""What heads of institutions and the ministry see of staff: lists, figures, watches, counts."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, NotFoundError
from dmed.kit.text import name_key
from dmed.modules.workforce.model import (
    Activity,
    Direction,
    Expiry,
    ForecastYear,
    Kind,
    Line,
    Overlap,
    RegionTotal,
    Vacancy,
)
from dmed.modules.workforce.rules import watch
from dmed.modules.workforce.service.following import PLATFORM, fresh
from dmed.modules.workforce.tables import lists
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

KEEPERS = frozenset({Role.ADMINISTRATOR})
"""Who keeps the register of the whole country."""
HEADS = frozenset({Role.HEAD, Role.ADMINISTRATOR})
EXPIRY_DAYS = 90
FORECAST_YEARS = 10
ACTIVITY_PAGE = 25
_COUNT_LIVES = timedelta(minutes=15)
_NUMBER_DIGITS = 6


class House(msgspec.Struct, frozen=True, kw_only=True):
    """The institution that a page is about, with those below it."""

    id: str
    name: str
    kind: str
    region: str
    below: tuple[str, ...]


async def house(gateway: Gateway, subject: Subject, wanted: str = "") -> House:
    """The institution that somebody may see the staff of: the own one, or `wanted`.

    ForbiddenError for a head of another one; a keeper of the register may see every one.
    """
    if subject.role not in HEADS:
        raise ForbiddenError("The list of staff is for heads of institutions")
    await fresh(gateway)
    own = subject.organisation
    id_ = wanted or own
    async with gateway.unit(subject) as unit:
        if subject.role not in KEEPERS and id_ != own and id_ not in await lists.below(unit, own):
            raise ForbiddenError("This institution is not among yours")
        row = await lists.house(unit, id_) if id_ else None
        if row is None:
            raise NotFoundError("Your post is at no institution of the register" if not wanted
                                else "There is no such institution in the register")
        found = await lists.below(unit, id_)
    return House(id=row["id"], name=row["name"], kind=row["kind"], region=row["region"],
                 below=tuple(found))


async def check_house(gateway: Gateway, subject: Subject, organisation: str) -> None:
    """ForbiddenError where an institution is not the subject's to keep."""
    await house(gateway, subject, organisation)


async def staff(
    gateway: Gateway, subject: Subject, place: House, text: str = "", start: int = 0
) -> list[Line]:
    """The staff of an institution and those below it, found by name, PINFL or Argos number."""
    bare = "".join(text.split())
    number = bare if bare.isascii() and bare.isdecimal() and len(bare) >= _NUMBER_DIGITS else ""
    async with gateway.unit(subject) as unit:
        return await lists.staff(unit, place.below, clock.today(), text_key=name_key(text),
                                 number=number, start=start)


async def everywhere(gateway: Gateway, subject: Subject, text: str) -> list[Line]:
    """Staff of the country by the beginning of the name or a number; for keepers alone."""
    _check_keeper(subject)
    await fresh(gateway)
    bare = "".join(text.split())
    number = bare if bare.isascii() and bare.isdecimal() and len(bare) >= _NUMBER_DIGITS else ""
    key = name_key(text)
    if not number and len(key) < 2:
        return []
    async with gateway.unit(subject) as unit:
        return await lists.staff(unit, (), clock.today(), text_key=key, number=number)


async def figures(gateway: Gateway, subject: Subject, place: House) -> dict[str, Any]:
    """People, posts, rates, away, expiring of an institution with those below it."""
    async with gateway.unit(subject) as unit:
        return await lists.figures(unit, place.below, clock.today())


async def expiring(
    gateway: Gateway, subject: Subject, place: House | None, days: int = EXPIRY_DAYS
) -> list[Expiry]:
    """What runs out within so many days or has run out, the nearest first; `place` None: all."""
    if place is None:
        _check_keeper(subject)
    today = clock.today()
    async with gateway.unit(subject) as unit:
        rows = await lists.expiring(
            unit, None if place is None else place.below, today, today + timedelta(days=days))
    return [Expiry(
        practitioner=row["practitioner"], name=row["name"],
        organisation_name=row["organisation_name"], title=row["title"], kind=Kind(row["kind"]),
        until=row["ends"], days=(row["ends"] - today).days,
        stage=watch.stage(row["ends"], today) or 0) for row in rows]


async def vacancies(gateway: Gateway, subject: Subject, place: House) -> list[Vacancy]:
    """The staffing table of an institution against its posts; a draft norm where it has none."""
    async with gateway.unit(subject) as unit:
        own = await lists.norm(unit, place.id)
        filled = {row["code"] or row["title"]: row
                  for row in await lists.filled(unit, place.id, clock.today())}
    known = watch.norms()
    lines = [(row["code"], row["title"], row["rates"], False, row["source"]) for row in own]
    if not lines:
        lines = [(one.code, one.title, one.rates, known.is_draft, known.source)
                 for one in known.staffing.get(place.kind, ())]
    made = []
    for code, title, rates, is_draft, source in lines:
        row = filled.pop(code or title, None)
        made.append(Vacancy(
            post_code=code, title=title, norm=Decimal(rates), is_draft=is_draft, source=source,
            filled=row["rates"] if row else Decimal(0), people=row["people"] if row else 0))
    made += [Vacancy(post_code=row["code"], title=row["title"], norm=Decimal(0),
                     filled=row["rates"], people=row["people"], is_draft=False)
             for row in filled.values()]
    return made


async def set_norm(
    gateway: Gateway, subject: Subject, place: House, code: str, title: str, rates: Decimal,
    source: str,
) -> None:
    """One line of an institution's staffing table, by the authority; InvalidError says why not."""
    _check_keeper(subject)
    if not 0 <= rates <= 10_000 or rates % watch.RATES_MIN:
        raise InvalidError("Rates of a staffing table are quarters from 0 to 10000")
    if not title or not source or len(title) > 200 or len(source) > 200:
        raise InvalidError("A line of a staffing table has a title and the order it stands on")
    async with gateway.unit(subject) as unit:
        await lists.set_norm(unit, place.id, code, title, rates, source, subject.user)
    await gateway.note(subject, "U", f"staffing table {place.id}: {code[:20]} {rates}")


async def overlaps(gateway: Gateway, subject: Subject, place: House | None) -> list[Overlap]:
    """People with more than 1.5 rates in all their posts, or in two places at once."""
    if place is None:
        _check_keeper(subject)
    async with gateway.unit(subject) as unit:
        people = await lists.several(
            unit, None if place is None else place.id, clock.today(), watch.RATES_MAX)
    found = (watch.overlap(*one) for one in people)
    return [one for one in found if one is not None]


# Activity ---------------------------------------------------------------------------------------


def _asked(direction: Direction, line: Line, first: date, after: date) -> list[tuple[str, str]]:
    """(type, search) pairs whose totals are the count of a direction in [first, after)."""
    person, role = f"Practitioner/{line.practitioner}", f"PractitionerRole/{line.role}"
    start, end = _moment(first), _moment(after)
    match direction:
        case Direction.VISITS:
            return [("Encounter", "&".join((
                f"participant={person}", "status=completed,discharged",
                f"date-start=ge{start}", f"date-start=lt{end}")))]
        case Direction.PRESCRIPTIONS:
            return [("MedicationRequest", "&".join((
                f"requester={role}", "status=active,completed,stopped,on-hold",
                f"authoredon=ge{start}", f"authoredon=lt{end}")))]
        case Direction.RESULTS:
            both = f"status=final,amended,corrected&date=ge{start}&date=lt{end}"
            return [("Observation", f"performer={person},{role}&{both}"),
                    ("DiagnosticReport", f"results-interpreter={person},{role}&{both}")]
        case Direction.SIGNED:
            return [("Provenance", "&".join((
                f"agent={role},{person}", "signature-type:missing=false",
                f"recorded=ge{start}", f"recorded=lt{end}")))]


def _moment(day: date) -> str:
    return datetime(day.year, day.month, day.day, tzinfo=clock.TASHKENT).isoformat().replace(
        "+", "%2B")


async def _count(gateway: Gateway, direction: Direction, line: Line, span: tuple[date, date]) -> (
        int):
    """Totals alone are asked for: no record is read, and nothing of anybody's health is told."""
    total = 0
    for type_, query in _asked(direction, line, *span):
        pairs = [*parse_qsl(query), ("_count", "0"), ("_total", "accurate")]
        _, page = await gateway.search(PLATFORM, type_, pairs, strict=True)
        total += page.total or 0
    return total


async def activity(
    gateway: Gateway, subject: Subject, place: House, month: str = "", start: int = 0
) -> list[Activity]:
    """What each person did in a month against the norm of the post, 25 people a page.

    Counts are kept for a quarter of an hour; they are of records in a final state.
    """
    today = clock.today()
    first, after = watch.month(month, today)
    async with gateway.unit(subject) as unit:
        people = await lists.staff(unit, place.below, today, start=start, limit=ACTIVITY_PAGE)
        known = await lists.counts(
            unit, [one.practitioner for one in people], first, clock.now() - _COUNT_LIVES)
    days = watch.working_days(first, min(after, today + timedelta(days=1)))
    made = []
    for line in people:
        counts = known.get((line.practitioner, line.role)) or await _counted(
            gateway, line, (first, after))
        made.append(Activity(
            practitioner=line.practitioner, name=line.name, title=line.title, rate=line.rate,
            counts=counts, norm_visits=watch.visits_norm(line.post_code, line.rate, days)))
    return made


async def _counted(gateway: Gateway, line: Line, span: tuple[date, date]) -> dict[str, int]:
    counts = {one.value: await _count(gateway, one, line, span) for one in Direction}
    async with gateway.unit(PLATFORM) as unit:
        for direction, done in counts.items():
            await lists.keep_count(
                unit, line.practitioner, line.role, span[0], direction, done)
    return counts


# The ministry -----------------------------------------------------------------------------------


async def regions(gateway: Gateway, subject: Subject) -> list[RegionTotal]:
    """Totals by region; for keepers of the register alone."""
    _check_keeper(subject)
    await fresh(gateway)
    async with gateway.unit(subject) as unit:
        rows = await lists.regions(unit, clock.today())
        vacant = await lists.open_rates(unit, clock.today())
    return [RegionTotal(**dict(row), vacancies=vacant.get(row["region"])) for row in rows]


async def forecast(gateway: Gateway, subject: Subject, region: str = "") -> list[ForecastYear]:
    """Who reaches the age of pension in each of the next ten years."""
    _check_keeper(subject)
    today = clock.today()
    async with gateway.unit(subject) as unit:
        rows = await lists.ages(unit, today, region)
    return watch.forecast(rows, today.year, FORECAST_YEARS)


def _check_keeper(subject: Subject) -> None:
    if subject.role not in KEEPERS:
        raise ForbiddenError("The country's staff is seen by the keepers of the register")
