"""What the screens show: the own figures, those of the own staff, and those of the country."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, NotFoundError
from dmed.modules.analytics import tables
from dmed.modules.analytics.model import Behind, Case, Definition, Figure, Place, Verdict
from dmed.modules.analytics.rules import judging, peers
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.service import behind as listing
from dmed.modules.analytics.service import cases
from dmed.modules.analytics.service.figures import READ_SECONDS_MAX, Staff, staff
from dmed.modules.analytics.service.following import PLATFORM
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

LINES_PAGE = 50
LEVELS = ("region", "specialty", "institution")
_KEPT_S = 600.0
_MANY = 5_000
"""Of more posts the sums of the country take seconds: a worker makes them once in ten minutes."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One indicator of one prescriber, or of a group."""

    definition: Definition
    figure: Figure
    verdict: Verdict | None = None
    """Beside the peers; None where too few are counted to say anything."""
    stands_out: bool = False

    @property
    def value(self) -> float:
        """The share or the mean."""
        return self.figure.numerator / self.figure.denominator


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one prescriber over a year."""

    prescriber: str
    name: str
    title: str
    house: str
    since: date
    until: date
    rows: tuple[Row, ...]
    cases: tuple[Case, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A group in a list with its figures by indicator."""

    key: str
    name: str
    rows: tuple[Row, ...]


class Lines(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the lines behind a case."""

    case: Case
    lines: tuple[Behind, ...]
    page: int
    pages: int
    is_cut: bool
    """Whether there are more lines than are kept."""


def year() -> tuple[date, date]:
    """What is shown: twelve months and this one so far, from its first day up to today."""
    return tables.year_before(clock.today())


async def is_counting(gateway: Gateway) -> bool:
    """Whether all was not counted once yet, so that there is nothing to show."""
    async with gateway.unit(PLATFORM) as unit:
        return (await tables.position(unit)).shown == 0


async def own(gateway: Gateway, subject: Subject) -> Sheet:
    """The subject's own prescribing with peers, and what was told; NotFoundError without a post."""
    if subject.role is not Role.DOCTOR or not subject.practitioner_role:
        raise NotFoundError("There are no figures without a post as a doctor")
    await gateway.note(subject, "E", "own prescribing figures")
    return await _sheet(gateway, subject.practitioner_role, is_own=True,
                        told=await cases.own(gateway, subject))


async def of_prescriber(gateway: Gateway, subject: Subject, prescriber: str) -> Sheet:
    """A prescriber's figures for a head or an inspector; small ones are left out. NotFoundError
    for somebody who wrote nothing, or is not of the head's staff.
    """
    cases.check(subject, cases.SEES_OTHERS)
    within = await cases.staff_of(gateway, subject)
    known = await staff(gateway)
    is_seen = prescriber in known.posts and (within is None or prescriber in within)
    await gateway.note(subject, "E", f"prescribing figures of PractitionerRole/{prescriber[:64]}",
                       outcome=200 if is_seen else 404)
    if not is_seen:
        raise NotFoundError("There are no figures of this prescriber")
    told = [one for one in await cases.opened(gateway, subject) if one.prescriber == prescriber]
    return await _sheet(gateway, prescriber, is_own=False, told=told)


async def _sheet(
    gateway: Gateway, prescriber: str, *, is_own: bool, told: list[Case]
) -> Sheet:
    known = await staff(gateway)
    since, until = year()
    place = known.places.get(prescriber, Place())
    async with gateway.unit(PLATFORM) as unit:
        figures = await tables.totals(unit, since, until, _WHOLE, [prescriber], [""])
        bases = await tables.bases(unit, ((level, key(place)) for level, key in peers.LEVELS))
    outside = {one.indicator for one in told if not one.closed}
    by_id = {one.indicator: one for one in figures if one.denominator}
    rows = []
    for definition in definitions().values():
        figure = by_id.get(definition.id)
        if figure is None:
            continue
        # To others nothing is shown of so few; the prescriber knows them all anyway.
        if figure.denominator < peers.CELL_MIN and not is_own:
            continue
        base = judging.nearest(place, bases.get(definition.id, {}))
        is_judged = base is not None and figure.denominator >= peers.CELL_MIN
        rows.append(Row(
            definition=definition, figure=figure, stands_out=definition.id in outside,
            verdict=judging.judge(definition, figure, base) if base and is_judged else None))
    post = known.posts.get(prescriber)
    house = known.houses.get(post.organisation) if post else None
    return Sheet(
        prescriber=prescriber, name=post.name if post else "", title=post.title if post else "",
        house=house.name if house else "", since=since, until=until, rows=tuple(rows),
        cases=tuple(told))


async def prescribers(gateway: Gateway, subject: Subject, at: str = "") -> list[Line]:
    """Who prescribes at the head's institutions, by name, each with leading figures; for an
    inspector at the institution `at` and below it, or in the country.
    """
    cases.check(subject, cases.SEES_OTHERS)
    within = await cases.staff_of(gateway, subject)
    await gateway.note(subject, "E", f"prescribing figures of staff {at[:64]}".rstrip())
    known = await staff(gateway)
    if within is None:
        within = known.at(at) if at else list(known.posts)
    by_name = sorted(within, key=lambda who: (_name_of(known, who), who))
    found: list[Line] = []
    for place in range(0, len(by_name), _AT_ONCE):
        part = by_name[place : place + _AT_ONCE]
        async with gateway.unit(PLATFORM) as unit:
            figures = await tables.totals(unit, *year(), LEADING, part, [""])
        lines = _lines(figures, lambda who: _name_of(known, who))
        found += sorted(lines, key=lambda line: (line.name, line.key))
        if len(found) >= LINES_MAX:
            break
    return found[:LINES_MAX]


def _name_of(known: Staff, who: str) -> str:
    return known.posts[who].name if who in known.posts else who


def _lines(figures: list[Figure], name: Callable[[str], str]) -> list[Line]:
    """A line for each whom figures belong to; those over too few are left out."""
    groups: dict[str, list[Figure]] = {}
    for one in figures:
        if one.denominator >= peers.CELL_MIN:
            groups.setdefault(one.prescriber, []).append(one)
    return [Line(key=key, name=name(key), rows=_leading(found)) for key, found in groups.items()]


LEADING = ("drugs-per-prescription", "antibiotic", "injection", "aware-access", "redemption")
LINES_MAX = 500
_AT_ONCE = 2_000
_WHOLE = [id_ for id_, one in definitions().items() if one.kind != "part"]


def _leading(figures: list[Figure]) -> tuple[Row, ...]:
    by_id = {one.indicator: one for one in figures}
    return tuple(Row(definition=definitions()[id_], figure=by_id[id_])
                 for id_ in LEADING if id_ in by_id)


async def country(gateway: Gateway, subject: Subject, level: str) -> list[Line]:
    """Regions, specialties or institutions with their leading figures, small groups left out."""
    cases.check(subject, cases.INSPECTORS)
    level = level if level in LEVELS else LEVELS[0]
    await gateway.note(subject, "E", f"prescribing figures by {level}")
    known = await staff(gateway)
    held: dict[str, tuple[float, list[Line]]] = gateway.held("analytics country", dict)
    until, lines = held.get(level, (0.0, []))
    if time.monotonic() > until:
        groups = {post: key for post in known.posts if (key := known.group_of(level, post))}
        async with gateway.unit(PLATFORM, seconds_max=READ_SECONDS_MAX) as unit:
            figures = await tables.sums_of(unit, *year(), LEADING, groups)
        names = _names(level, known)
        lines = sorted(_lines(figures, lambda key: names.get(key, key)),
                       key=lambda line: (line.name, line.key))[:LINES_MAX]
        held[level] = (time.monotonic() + (_KEPT_S if len(known.posts) > _MANY else 0.0), lines)
    return lines


def _names(level: str, known: Staff) -> dict[str, str]:
    """Key of a group > what people call it, where that is not the key itself."""
    if level == "institution":
        return {id_: house.name for id_, house in known.houses.items()}
    if level == "specialty":
        return {post.specialty: post.title for post in known.posts.values() if post.title}
    return {}


async def behind(gateway: Gateway, subject: Subject, number: int, at: int) -> Lines:
    """One page of the lines, the first being 0; a page beyond the last is the last. NotFoundError
    where the subject does not see the case, ForbiddenError for a head. No person is named: whoever
    may open the record finds the name there. Audited with the page.
    """
    if subject.role not in cases.SEES_LINES:
        await gateway.note(subject, "E", f"prescriptions behind case {number}", outcome=403)
        raise ForbiddenError("Prescriptions behind a case are for its prescriber and inspectors")
    case = await cases.case(gateway, subject, number)
    if case.lines is None:
        await listing.listed(gateway, case)
        case = await cases.case(gateway, subject, number)
    kept = min(case.lines or 0, listing.LINES_MAX)
    pages = max(1, -(-kept // LINES_PAGE))
    at = min(max(0, at), pages - 1)
    await gateway.note(subject, "E", f"prescriptions behind case {number}, page {at + 1}")
    async with gateway.unit(subject) as unit:
        found = await tables.behind(unit, number, at * LINES_PAGE, LINES_PAGE)
    return Lines(case=case, lines=tuple(found), page=at, pages=pages,
                is_cut=(case.lines or 0) > listing.LINES_MAX)
