"""What one person's facts say together: age, what else is in use, hazards, early repeats, fills.

The hazards are written here after the idea of PINCER (Avery et al., Lancet 2012;379:1310-19): our
own rules over what the records carry; a draft until a clinician approves them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import msgspec

from dmed.modules.analytics.model import Fill, Illness, Item, Kept, Override, Person, Test
from dmed.modules.analytics.rules.definitions import codes

LONG_COURSE_DAYS, EARLY_LONG_DAYS, EARLY_SHORT_DAYS = 21, 7, 3
"""A course of 21 days or more may be renewed a week before its end, a shorter one three days."""
OLD_YEARS = 65
OPENS_MINUTE, CLOSES_MINUTE = 7 * 60, 20 * 60
"""Outside of these minutes of the day, and on Sundays, is out of hours."""
_SUNDAY = 6
_EVERYTHING = Test()


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An item with all that is known around it."""

    id: str
    item: Item
    age: int
    """Completed years on the day; -1 where the birth date is not known."""
    active: int
    """INN that the person uses on that day, this one with them."""
    flags: frozenset[str]
    filled: Fill | None
    """The first hand-over."""
    products: tuple[str, ...]
    """Packs of all hand-overs, each once."""
    rules: tuple[str, ...]
    """Rules whose alert the prescriber passed."""


class Around(NamedTuple):
    """The rest of a person's facts on the day of an item."""

    item: Item
    age: int
    others: tuple[Item, ...]
    """Other items in use on the same day."""
    ill: tuple[str, ...]
    """ICD-10 codes of the diseases of the day, that of the item with them."""

    def uses(self, name: str) -> bool:
        """Whether another medicine of a list is in use."""
        return any(one.atc.startswith(codes((f"@{name}",))) for one in self.others)

    def has(self, name: str) -> bool:
        """Whether a disease of a list is there."""
        return any(code.startswith(codes((f"@{name}",))) for code in self.ill)

    def is_a(self, name: str) -> bool:
        """Whether the item itself is of a list."""
        return bool(self.item.atc) and self.item.atc.startswith(codes((f"@{name}",)))


def _nsaid_old(around: Around) -> bool:
    return around.is_a("nsaid") and around.age >= OLD_YEARS and not around.uses("gastroprotection")


def _nsaid_anticoagulant(around: Around) -> bool:
    return ((around.is_a("nsaid") and around.uses("anticoagulant"))
            or (around.is_a("anticoagulant") and around.uses("nsaid")))


def _nsaid_heart_kidney(around: Around) -> bool:
    return around.is_a("nsaid") and around.has("heart-failure-kidney")


def _betablocker_asthma(around: Around) -> bool:
    return around.is_a("betablocker") and around.has("asthma")


def _antipsychotic_dementia(around: Around) -> bool:
    return around.is_a("antipsychotic") and around.has("dementia")


def _out_of_hours(around: Around) -> bool:
    moment = around.item.moment
    minute = moment.hour * 60 + moment.minute
    return moment.weekday() == _SUNDAY or not OPENS_MINUTE <= minute < CLOSES_MINUTE


FLAGS: dict[str, Callable[[Around], bool]] = {
    "nsaid-old": _nsaid_old,
    "nsaid-anticoagulant": _nsaid_anticoagulant,
    "nsaid-heart-kidney": _nsaid_heart_kidney,
    "betablocker-asthma": _betablocker_asthma,
    "antipsychotic-dementia": _antipsychotic_dementia,
    "out-of-hours": _out_of_hours,
    "injection": lambda around: around.item.is_injection,
    "by-name": lambda around: around.item.is_by_name,
}
"""What can be said of a line; "early", "filled" and "has-atc" come from deriving itself."""


def age_on(born: date, day: date) -> int:
    """Completed years."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def is_early(item: Item, earlier: Iterable[Item]) -> bool:
    """Whether the same INN was prescribed before and its course lasts longer than a renewal may
    come early.
    """
    for one in earlier:
        is_long = (one.ends - one.starts).days + 1 >= LONG_COURSE_DAYS
        grace = timedelta(days=EARLY_LONG_DAYS if is_long else EARLY_SHORT_DAYS)
        if one.atc == item.atc and one.moment < item.moment and one.ends > item.starts + grace:
            return True
    return False


def lines(facts: Sequence[Kept]) -> list[Line]:
    """The lines of one person; the order of the facts changes nothing."""
    items = sorted(((one.id, one.fact) for one in facts if isinstance(one.fact, Item)),
                   key=lambda pair: (pair[1].moment, pair[0]))
    born = next((one.fact.born for one in facts if isinstance(one.fact, Person)), None)
    illnesses = [one.fact for one in facts if isinstance(one.fact, Illness)]
    fills: dict[str, list[Fill]] = {}
    overrides: dict[str, set[str]] = {}
    for one in sorted(facts, key=lambda kept: kept.id):
        if isinstance(one.fact, Fill):
            fills.setdefault(one.fact.request, []).append(one.fact)
        elif isinstance(one.fact, Override):
            overrides.setdefault(one.fact.request, set()).add(one.fact.rule)
    made = []
    for id_, item in items:
        day = item.moment.date()
        others = [one for other, one in items if other != id_
                  and one.moment <= item.moment and one.starts <= day <= one.ends and one.atc]
        ill = {one.icd for one in illnesses if one.starts <= day <= one.ends} | {item.icd} - {""}
        around = Around(item, -1 if born is None else age_on(born, day), tuple(others),
                        tuple(sorted(ill)))
        own = sorted(fills.get(id_, ()), key=lambda fill: fill.moment)
        flags = {name for name, holds in FLAGS.items() if holds(around)}
        flags |= {"early"} if item.atc and is_early(item, (one for _, one in items)) else set()
        flags |= {"filled"} if own else set()
        made.append(Line(
            id=id_, item=item, age=around.age, flags=frozenset(flags),
            active=len({one.atc for one in others} | {item.atc} - {""}),
            filled=own[0] if own else None,
            products=tuple(sorted({fill.product for fill in own} - {""})),
            rules=tuple(sorted(overrides.get(id_, ())))))
    return made


def fits(line: Line, test: Test) -> bool:
    """Whether a line passes a test."""
    if test is _EVERYTHING or test == _EVERYTHING:
        return True
    atc = line.item.atc
    if test.atc and not (atc and atc.startswith(codes(test.atc))):
        return False
    if test.not_atc and atc and atc.startswith(codes(test.not_atc)):
        return False
    if test.icd and not (line.item.icd and line.item.icd.startswith(codes(test.icd))):
        return False
    if test.flag and test.flag not in line.flags:
        return False
    if test.days_over and (line.item.ends - line.item.starts).days + 1 <= test.days_over:
        return False
    return line.active >= test.active_min and (not test.age_min or line.age >= test.age_min)
