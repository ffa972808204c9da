"""Checks of how much and how long: at once, a day, a course, against age, weight and organs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import msgspec

from dmed.modules.prescriptions.model import Alert, Tier
from dmed.modules.prescriptions.rules import courses
from dmed.modules.prescriptions.rules.checks_facts import (
    Line,
    Person,
    alert_of,
    applies,
    has_diagnosis,
    is_local,
    note_of,
    worst,
)
from dmed.modules.prescriptions.rules.tables import table

STOP_ABOVE = Decimal(3)
"""So many times a maximum is taken for a slip of the pen."""
CHILD_YEARS = 12


class Limit(msgspec.Struct, frozen=True):
    """The least of all maxima that fit, in milligrams; None where no row speaks of it."""

    single_mg: Decimal | None = None
    daily_mg: Decimal | None = None
    needs_weight: bool = False
    """A row goes by weight, and the weight is not known."""


def limit_of(inn: str, route: str, person: Person) -> Limit:
    """What the table of doses allows an INN by a route to a person."""
    single: list[Decimal] = []
    daily: list[Decimal] = []
    needs_weight = False
    for row in table("doses").rows:
        if row["inn"] != inn or row["route"] not in {"any", route} or not _is_of_age(row, person):
            continue
        single += [Decimal(row["single_mg"])] if row["single_mg"] else []
        daily += [Decimal(row["daily_mg"])] if row["daily_mg"] else []
        if row["single_mg_per_kg"] or row["daily_mg_per_kg"]:
            if person.weight_kg is None:
                needs_weight = True
                continue
            single += _by_weight(row["single_mg_per_kg"], person.weight_kg)
            daily += _by_weight(row["daily_mg_per_kg"], person.weight_kg)
    return Limit(min(single, default=None), min(daily, default=None), needs_weight)


def _by_weight(per_kg: str, weight_kg: Decimal) -> list[Decimal]:
    return [Decimal(per_kg) * weight_kg] if per_kg else []


def _is_of_age(row: Mapping[str, str], person: Person) -> bool:
    return int(row["age_from"] or 0) <= person.years < int(row["age_to"] or 999)


def doses(lines: list[Line], person: Person) -> Iterator[Alert]:
    """Milligrams of each INN at once, and a day over all lines; the last line is named. What the
    kidneys or the liver allow is less than the maximum and is shown.
    """
    day: dict[str, Decimal] = {}
    for line in lines:
        route = line.preparation.form.route
        for inn, milligrams in courses.component_milligrams(line.preparation).items():
            once = milligrams * line.item.dose
            day[inn] = day.get(inn, Decimal(0)) + once * max(line.item.times_per_day, 1)
            limit = limit_of(inn, route, person)
            over = _over("max-daily", line, inn, day[inn], limit.daily_mg) or _over(
                "max-single", line, inn, once, limit.single_mg)  # One finding is enough.
            if over is not None:
                yield over
            elif not is_local(line.preparation.atc):
                yield from _organs(line, inn, day[inn], person)
            if limit.needs_weight and 0 <= person.age_years < CHILD_YEARS:
                sentence = f"{line.where}: a child's dose of {inn} goes by weight, none is known"
                yield alert_of("weight-missing", Tier.PASSIVE, line.index, sentence,
                               table("doses"), inn=inn)  # fmt: skip  # One finding.


def _over(
    rule: str, line: Line, inn: str, milligrams: Decimal, most_mg: Decimal | None
) -> Alert | None:
    if not most_mg or milligrams <= most_mg:
        return None
    tier = Tier.STOP if milligrams > most_mg * STOP_ABOVE else Tier.INTERRUPT
    shown, most = f"{courses.whole(milligrams):f}", f"{courses.whole(most_mg):f}"
    often = "a day" if rule == "max-daily" else "at once"
    name = "day_mg" if rule == "max-daily" else "single_mg"
    return alert_of(
        rule,
        tier,
        line.index,
        f"{line.where}: {shown} mg of {inn} {often}, at most {most} mg",
        table("doses"),
        inn=inn,
        max_mg=most,
        **{name: shown},
    )


def _organs(line: Line, inn: str, day_mg: Decimal, person: Person) -> Iterator[Alert]:
    """The dose that weak kidneys or a sick liver allow, where the line is above it."""
    for rule, of, most_mg, why in (
        ("kidney-dose", table("kidney"), *_of_kidneys(inn, person)),
        ("liver-dose", table("liver"), *_of_liver(inn, line, person)),
    ):
        if most_mg is not None and day_mg > most_mg:
            shown, most = f"{courses.whole(day_mg):f}", f"{courses.whole(most_mg):f}"
            sentence = f"{line.where}: {shown} mg of {inn} a day, with {why} at most {most} mg"
            yield alert_of(rule, Tier.PASSIVE, line.index, sentence, of, inn=inn, day_mg=shown,
                           max_mg=most, why=why)  # fmt: skip  # One finding.


def _of_kidneys(inn: str, person: Person) -> tuple[Decimal | None, str]:
    if person.egfr is None:
        return None, ""
    limits = [
        Decimal(row["daily_mg"])
        for row in table("kidney").rows
        if row["inn"] == inn and row["daily_mg"] and person.egfr < int(row["egfr_below"])
    ]
    return min(limits, default=None), f"eGFR {person.egfr:.0f}"


def _of_liver(inn: str, line: Line, person: Person) -> tuple[Decimal | None, str]:
    codes = (*person.diagnoses, line.diagnosis)
    found = [
        (Decimal(row["daily_mg"]), code)
        for row in table("liver").rows
        if row["inn"] == inn and row["daily_mg"] and (code := has_diagnosis(codes, row["icd"]))
    ]
    return min(found, default=(None, ""))


def lengths(line: Line) -> Iterator[Alert]:
    """A course longer than its table says: of all rows that fit the strictest."""
    of = table("courses")
    long = [
        row
        for row in of.rows
        if applies(row, line.preparation)
        and line.item.duration_days > int(row["max_days"])
        and (not row["icd"] or line.diagnosis.startswith(row["icd"]))
    ]
    row = worst(sorted(long, key=lambda row: int(row["max_days"])))  # One finding is enough.
    if row is not None:
        yield alert_of(
            row["rule"],
            Tier(row["tier"]),
            line.index,
            f"{line.where}: {line.item.duration_days} days, usually at most "
            f"{row['max_days']}{note_of(row)}",
            of,
            inn=line.inn,
            days=str(line.item.duration_days),
            max_days=row["max_days"],
        )


def amounts(line: Line) -> Iterator[Alert]:
    """The quantity against what the course takes."""
    preparation, item = line.preparation, line.item
    needed = courses.quantity_of(preparation, item)
    if needed > 0 and item.quantity > needed * 2:
        yield alert_of(
            "quantity-high",
            Tier.PASSIVE,
            line.index,
            f"{line.where}: {item.quantity} is more than twice what the course takes ({needed})",
            inn=line.inn,
            needed=str(needed),
        )
    if 0 < item.quantity < needed and not item.as_needed:
        yield alert_of(
            "quantity-low",
            Tier.PASSIVE,
            line.index,
            f"{line.where}: the course takes {needed}",
            inn=line.inn,
            needed=str(needed),
        )


def antibiotics(line: Line) -> Iterator[Alert]:
    """A systemic antibiotic for a diagnosis that is viral: the longest code that fits decides."""
    of = table("viral")
    if not (line.preparation.antibiotic and line.preparation.atc.startswith("J01")):
        return
    rows = [row for row in of.rows if line.diagnosis.startswith(row["icd"])]
    row = max(rows, key=lambda row: len(row["icd"]), default=None)
    is_viral = row["is_viral"] == "yes" if row is not None else line.is_viral
    if is_viral:
        yield alert_of(
            "antibiotic-viral",
            Tier(row["tier"]) if row is not None else Tier.INTERRUPT,
            line.index,
            f"{line.where}: an antibiotic does not help against a viral infection "
            f"({line.diagnosis})",
            of,
            inn=line.inn,
            icd=line.diagnosis,
        )
