"""What the screens show: the own figures, those of the own staff, and those of the country."""

from __future__ import annotations

import time
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import NotFoundError
from dmed.modules.analytics import tables
from dmed.modules.analytics.model import Case, Definition, Figure, Verdict
from dmed.modules.analytics.rules import judging
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.service import cases
from dmed.modules.analytics.service.figures import YEAR, Staff, pooled, staff, verdicts
from dmed.modules.analytics.service.following import PLATFORM
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

LEVELS = ("region", "specialty", "institution")
_KEPT_S = 600.0


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


def year() -> tuple[date, date]:
    """The days that are shown: the last year up to today."""
    today = clock.today()
    return today - YEAR, today


async def _judged(gateway: Gateway, known: Staff) -> dict[tuple[str, str], Verdict]:
    """(prescriber, indicator) > verdict, worked out once in ten minutes by a worker."""
    held: dict[str, tuple[float, dict[tuple[str, str], Verdict]]] = gateway.held(
        "analytics verdicts", dict)
    until, found = held.get("all", (0.0, {}))
    if time.monotonic() > until:
        found = {(one.figure.prescriber, one.figure.indicator): one
                 for one in await verdicts(gateway, *year(), known) if not one.figure.part}
        held["all"] = (time.monotonic() + _KEPT_S, found)
    return found


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
    async with gateway.unit(PLATFORM) as unit:
        figures = await tables.totals(unit, since, until, [prescriber])
    judged = await _judged(gateway, known)
    outside = {one.indicator for one in told if not one.closed}
    by_id = {one.indicator: one for one in figures if not one.part and one.denominator}
    rows = []
    for definition in definitions().values():
        figure = by_id.get(definition.id)
        if figure is None or definition.kind == "part":
            continue
        # To others nothing is shown of so few; the prescriber knows them all anyway.
        if figure.denominator < judging.CELL_MIN and not is_own:
            continue
        rows.append(Row(definition=definition, figure=figure,
                        verdict=judged.get((prescriber, definition.id)),
                        stands_out=definition.id in outside))
    post = known.posts.get(prescriber)
    house = known.houses.get(post.organisation) if post else None
    return Sheet(
        prescriber=prescriber, name=post.name if post else "", title=post.title if post else "",
        house=house.name if house else "", since=since, until=until, rows=tuple(rows),
        cases=tuple(told))


async def prescribers(gateway: Gateway, subject: Subject) -> list[Line]:
    """Who prescribes at the head's institutions, by name, each with three leading figures."""
    cases.check(subject, cases.SEES_OTHERS)
    within = await cases.staff_of(gateway, subject)
    await gateway.note(subject, "E", "prescribing figures of staff")
    known = await staff(gateway)
    async with gateway.unit(PLATFORM) as unit:
        figures = await tables.totals(unit, *year(), within)
    by_who: dict[str, list[Figure]] = {}
    for one in figures:
        if not one.part and one.denominator >= judging.CELL_MIN:
            by_who.setdefault(one.prescriber, []).append(one)
    return sorted((
        Line(key=who, name=known.posts[who].name if who in known.posts else who,
             rows=_leading(found)) for who, found in by_who.items()),
        key=lambda line: line.name)[:500]


LEADING = ("drugs-per-prescription", "antibiotic", "injection", "aware-access", "redemption")


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
    async with gateway.unit(PLATFORM) as unit:
        figures = await tables.totals(unit, *year())
    groups: dict[str, list[Figure]] = {}
    for one in pooled(figures, known, level):
        groups.setdefault(one.prescriber, []).append(one)
    return sorted((Line(key=key, name=_name(level, key, known), rows=_leading(found))
                   for key, found in groups.items()), key=lambda line: line.name)[:500]


def _name(level: str, key: str, known: Staff) -> str:
    if level == "institution":
        return known.houses[key].name if key in known.houses else key
    if level == "specialty":
        return next((post.title for post in known.posts.values()
                     if post.specialty == key and post.title), key)
    return key
