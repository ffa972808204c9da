"""Checks of medicines against each other: doubles, overlap, interactions, how many there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache

import msgspec

from dmed.modules.prescriptions.model import Alert, Tier
from dmed.modules.prescriptions.rules.checks_facts import (
    Line,
    Person,
    Running,
    alert_of,
    is_local,
    rows_of,
)
from dmed.modules.prescriptions.rules.checks_person import is_same_inn
from dmed.modules.prescriptions.rules.tables import table


class Taken(msgspec.Struct, frozen=True):
    """One medicine among those at the same time: of the card, or of a line."""

    inns: frozenset[str]
    atc: str
    name: str
    """How it is shown: an INN key, or the card's own words."""
    item: int = -1
    """Index of its line; -1: of the card."""

    @property
    def key(self) -> str:
        """What makes two of them one medicine."""
        return self.atc or "+".join(sorted(self.inns))


def taken_of(lines: list[Line], person: Person, today: date) -> list[Taken]:
    """Everything at the same time: what the card has first, then the lines in their order."""
    running = [
        Taken(each.inns, each.atc, each.inn or each.text)
        for each in person.running
        if not each.until or each.until >= today
    ]
    return running + [
        Taken(frozenset(line.preparation.inn.components), line.preparation.atc, line.inn,
              line.index)
        for line in lines
    ]  # fmt: skip  # One medicine.


# --- Doubles and overlap ---------------------------------------------------------------------


def overlaps(line: Line, person: Person, today: date) -> Iterator[Alert]:
    """The same INN, or the same ATC group, is taken already; near its end it may be renewed."""
    preparation = line.preparation
    of = table("overlap")
    for running in person.running:
        if running.until and running.until < today:
            continue
        shown = running.text or running.inn
        is_same = (
            is_same_inn(preparation, running.inn)
            or running.atc == preparation.atc
            or bool(running.inns & set(preparation.inn.components))
        )
        if is_same and not renewable(running, today):
            is_apart = is_local(running.atc) or is_local(preparation.atc)
            yield alert_of(
                "duplicate-inn",
                Tier.PASSIVE if is_apart and running.atc != preparation.atc else Tier.INTERRUPT,
                line.index,
                f"{line.where}: {shown} is already taken"
                + (f" until {running.until}" if running.until else ""),
                of,
                inn=line.inn,
                until=f"{running.until:%d.%m.%Y}" if running.until else "—",
            )
        elif not is_same and (tier := group_tier(running.atc, preparation.atc)):
            yield alert_of(
                "duplicate-group",
                tier,
                line.index,
                f"{line.where}: {shown} of the same group is already taken",
                of,
                inn=line.inn,
                other=shown,
            )


def renewable(running: Running, today: date) -> bool:
    """Whether what is taken ends so soon that it may be prescribed again: 7 days before the end of
    a course of 21 days or more, 3 days before that of a shorter one.
    """
    if running.until is None:
        return False
    length = (running.until - running.since).days if running.since else 0
    rows = [row for row in rows_of(table("overlap"), "renewal") if int(row["key"]) <= length]
    row = max(rows, key=lambda row: int(row["key"]), default=None)
    return row is not None and (running.until - today).days <= int(row["value"])


def group_tier(one: str, other: str) -> Tier | None:
    """How strongly two INNs of one ATC group are said; None where they are combined on purpose or
    are of different groups.
    """
    of = table("overlap")
    if not one or not other or is_local(one) or is_local(other):
        return None
    for row in rows_of(of, "allowed"):
        if one.startswith(row["key"]) or other.startswith(row["key"]):
            return None
    for row in rows_of(of, "wider"):
        if one.startswith(row["key"]) and other.startswith(row["key"]):
            return Tier(row["tier"])
    for row in rows_of(of, "group"):
        length = int(row["key"])
        if len(one) >= length and one[:length] == other[:length]:
            return Tier(row["tier"])
    return None


def doubles(lines: list[Line]) -> Iterator[Alert]:
    """Two lines with a common INN, or of one ATC group."""
    of = table("overlap")
    for at, line in enumerate(lines):
        mine = set(line.preparation.inn.components)
        for other in lines[:at]:
            common = mine & set(other.preparation.inn.components)
            codes = line.preparation.atc, other.preparation.atc
            if common:
                is_apart = codes[0] != codes[1] and any(is_local(code) for code in codes)
                yield alert_of(
                    "duplicate-line",
                    Tier.PASSIVE if is_apart else Tier.INTERRUPT,
                    line.index,
                    f"{line.where} repeats {', '.join(sorted(common))} of item "
                    f"{other.index + 1}",
                    of,
                    inn=min(common),
                    other=str(other.index + 1),
                )
            elif tier := group_tier(*codes):
                yield alert_of(
                    "group-line",
                    tier,
                    line.index,
                    f"{line.where}: item {other.index + 1} is of the same group",
                    of,
                    inn=line.inn,
                    other_inn=other.inn,
                    other=str(other.index + 1),
                )


# --- Interactions ----------------------------------------------------------------------------


@cache
def _pairs() -> tuple[tuple[Mapping[str, str], frozenset[str], frozenset[str]], ...]:
    return tuple(
        (row, frozenset(row["members_a"].split()), frozenset(row["members_b"].split()))
        for row in table("interactions").rows
    )


def interactions(taken: list[Taken]) -> Iterator[Alert]:
    """Class pairs among all medicines at the same time; the later line is named. Two medicines of
    the card alone are found as well (item -1): only `patient-view` asks for those.
    """
    of = table("interactions")
    for at, one in enumerate(taken):
        for other in taken[:at]:
            if is_local(one.atc) or is_local(other.atc) or one.key == other.key:
                continue
            for row, left, right in _pairs():
                if _meet(one.inns, other.inns, left, right):
                    yield alert_of(
                        f"interaction-{row['id']}",
                        Tier(row["tier"]),
                        one.item,
                        (f"Item {one.item + 1}: " if one.item >= 0 else "")
                        + f"{one.name} with {other.name}: {row['effect']} "
                        f"({row['class_a']} and {row['class_b']})",
                        of,
                        inn=one.name,
                        other_inn=other.name,
                        effect=row["effect"],
                    )


def _meet(
    one: frozenset[str], other: frozenset[str], left: frozenset[str], right: frozenset[str]
) -> bool:
    """Whether one medicine is of one class and another INN of the other class."""
    for first, second in ((one, other), (other, one)):
        mine, theirs = first & left, second & right
        if mine and theirs and mine | theirs != mine & theirs:
            return True
    return False


def many(taken: list[Taken]) -> Iterator[Alert]:
    """So many medicines at the same time that each is to be asked for its reason."""
    names = {each.key for each in taken if not is_local(each.atc)}
    of = table("overlap")
    rows = [row for row in rows_of(of, "many") if len(names) >= int(row["key"])]
    row = max(rows, key=lambda row: int(row["key"]), default=None)
    if row is not None:
        sentence = f"{len(names)} medicines at the same time"
        yield alert_of(row["value"], Tier(row["tier"]), -1, sentence, of, count=str(len(names)))
