"""What there is to say about a draft: pure checks with tiers, reasons, sources (decisions 23).

Values of reasons whose name ends in `inn` are INN keys: whoever shows them puts the name in the
reader's language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal

import msgspec

from dmed.kit.text import fold
from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions.model import (
    ITEMS_COMMISSION_MAX,
    ITEMS_MAX,
    OVERRIDE_REASONS,
    Alert,
    Draft,
    DraftItem,
    Reason,
    Tier,
)
from dmed.modules.prescriptions.rules import courses
from dmed.modules.prescriptions.rules.tables import Table, table

REPEATS_MAX = 3
START_DAYS_MAX = 30
_STOP_ABOVE = Decimal(3)
"""So many times the maximum a day is taken for a slip of the pen."""
_RENEW_DAYS = 7
_RENEW_DAYS_SHORT = 3
_LONG_COURSE_DAYS = 21
_ANTIBIOTIC_DAYS_MAX = 14
_CHILD_YEARS = 12


class Allergy(msgspec.Struct, frozen=True, kw_only=True):
    """An allergy on the card: INN key or name, or an ATC code or group."""

    text: str
    inn: str = ""
    atc: str = ""
    reaction: str = ""
    """What happened: a code of the card's list ("anaphylaxis") or words."""
    severity: str = ""
    """FHIR: mild, moderate, severe."""
    since: str = ""
    """FHIR date: of the first reaction, else of the record."""

    @property
    def recorded(self) -> dict[str, str]:
        """What the card records of it, by name; empty where it records nothing more."""
        known = {"reaction": self.reaction, "severity": self.severity, "since": self.since}
        return {name: value for name, value in known.items() if value}

    @property
    def said(self) -> str:
        """The allergy in an English sentence: "Penitsillin [reaction: rash; since: 2019]"."""
        more = "; ".join(f"{name}: {value}" for name, value in self.recorded.items())
        return self.text + (f" [{more}]" if more else "")


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A medicine that the person takes now."""

    inn: str
    """INN key or name."""
    atc: str
    text: str = ""
    since: date | None = None
    until: date | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks read of a person; -1 and None mean unknown."""

    age_years: int = -1
    sex: str = ""
    pregnancy_weeks: int | None = None
    weight_kg: Decimal | None = None
    allergies: tuple[Allergy, ...] = ()
    running: tuple[Running, ...] = ()


class Line(msgspec.Struct, frozen=True):
    """One line of the draft with what it names."""

    index: int
    item: DraftItem
    preparation: Preparation
    diagnosis: str
    is_viral: bool


def check(
    draft: Draft,
    preparations: Mapping[str, Preparation],
    viral: frozenset[str],
    person: Person,
    today: date,
) -> list[Alert]:
    """Every finding about a draft, worst first, each once; `viral` holds the ICD codes of viral
    infections. A coded reason already given stands in `Alert.override`.
    """
    found = list(_incomplete(draft, preparations))
    lines = [
        Line(
            index,
            item,
            preparations[item.preparation],
            item.diagnosis or draft.diagnosis,
            (item.diagnosis or draft.diagnosis) in viral,
        )
        for index, item in enumerate(draft.items)
        if item.preparation in preparations
    ]
    for line in lines:
        found += _allergies(line, person)
        found += _ages(line, person)
        found += _pregnancies(line, person)
        found += _courses(line)
        found += _running(line, person, today)
    found += _repeats(draft, lines, today)
    found += _doubles(lines)
    found += _doses(lines, person)
    found += _many(lines, person)
    order = list(Tier)
    found.sort(key=lambda alert: (order.index(alert.tier), alert.item, alert.rule))
    return [_with_override(alert, draft) for alert in found]


def unanswered(alerts: list[Alert]) -> list[Alert]:
    """The alerts that keep a draft from being signed: stops, and interrupts without a reason."""
    return [
        alert
        for alert in alerts
        if alert.tier is Tier.STOP or (alert.tier is Tier.INTERRUPT and not alert.override)
    ]


def _with_override(alert: Alert, draft: Draft) -> Alert:
    if alert.tier is not Tier.INTERRUPT or alert.item < 0:
        return alert
    reason = draft.items[alert.item].overrides.get(alert.rule, "")
    return msgspec.structs.replace(alert, override=reason if reason in OVERRIDE_REASONS else "")


def _alert(
    rule: str, tier: Tier, item: int, sentence: str, of: Table | None = None, /, **values: str
) -> Alert:
    return Alert(
        rule=rule,
        tier=tier,
        item=item,
        reason=Reason(f"prescriptions.alert.{rule.replace('-', '_')}", values),
        owner=of.owner if of else "dmed",
        version=of.version if of else "",
        source=of.source if of else "",
        is_draft=of.is_draft if of else False,
        sentence=sentence,
    )


def _incomplete(draft: Draft, preparations: Mapping[str, Preparation]) -> Iterator[Alert]:
    if not draft.patient:
        yield _alert("no-patient", Tier.STOP, -1, "The prescription names no patient")
    if not draft.items:
        yield _alert("no-items", Tier.STOP, -1, "The prescription names no medicine")
    most = ITEMS_COMMISSION_MAX if draft.commission else ITEMS_MAX
    if len(draft.items) > most:
        yield _alert(
            "too-many-items",
            Tier.STOP,
            -1,
            f"A prescription names at most {most} medicines",
            count=str(len(draft.items)),
        )
    for index, item in enumerate(draft.items):
        where = f"Item {index + 1}"
        if item.preparation not in preparations:
            yield _alert(
                "not-registered",
                Tier.STOP,
                index,
                f"{where}: only registered medicines may be prescribed, by INN",
            )
            continue
        if not (item.diagnosis or draft.diagnosis):
            yield _alert(
                "no-diagnosis",
                Tier.STOP,
                index,
                f"{where}: an indication (ICD-10 diagnosis) is required",
            )
        for field, value, said in (
            ("dose", item.dose, "the dose"),
            ("frequency", item.times_per_day, "the number of times a day"),
            ("duration", item.duration_days, "the duration in days"),
            ("quantity", item.quantity, "the quantity"),
        ):
            if value <= 0:
                yield _alert(f"no-{field}", Tier.STOP, index, f"{where}: {said} is missing")


def _repeats(draft: Draft, lines: list[Line], today: date) -> Iterator[Alert]:
    """What a first day or repeats may not be: the validity table gives the room."""
    if draft.start and not today <= draft.start <= today + timedelta(days=START_DAYS_MAX):
        sentence = f"The first day lies within {START_DAYS_MAX} days of the signing"
        yield _alert("start", Tier.STOP, -1, sentence, days=str(START_DAYS_MAX))
    if draft.repeats == 1:
        return
    if not 1 <= draft.repeats <= REPEATS_MAX:
        sentence = f"A prescription is handed over at most {REPEATS_MAX} times"
        yield _alert("repeats", Tier.STOP, -1, sentence, count=str(REPEATS_MAX))
        return
    room = courses.validity_days(draft, tuple(line.preparation for line in lines), today)
    for line in lines:
        days = line.item.duration_days * draft.repeats
        if line.preparation.antibiotic:
            sentence = f"Item {line.index + 1}: an antibiotic is not repeated"
            yield _alert("repeats-antibiotic", Tier.STOP, line.index, sentence,
                         inn=line.preparation.inn.key)  # fmt: skip  # One finding.
        elif days > room:
            sentence = (f"Item {line.index + 1}: {draft.repeats} courses take {days} days, the "
                        f"prescription is valid for {room}")  # fmt: skip  # One sentence.
            yield _alert("repeats-days", Tier.STOP, line.index, sentence, of_days=str(days),
                         days=str(room))  # fmt: skip  # One finding.


def _inn_names(preparation: Preparation) -> set[str]:
    """Every way in which one of the preparation's INNs may be written elsewhere, folded."""
    inn = preparation.inn
    names: set[str] = set(inn.components) | {inn.key, inn.code} - {""}
    for text in (inn.uz, inn.ru, inn.en):
        names |= {fold(text), *(fold(part) for part in text.split(" + "))}
    return names


def _is_same_inn(preparation: Preparation, written: str) -> bool:
    return bool(written) and bool({written, fold(written)} & _inn_names(preparation))


def _groups(atc: str, inns: tuple[str, ...]) -> dict[str, set[str]]:
    """Allergy groups of a medicine -> groups that they cross-react with."""
    found: dict[str, set[str]] = {}
    for row in table("allergy_groups").rows:
        if (row["atc"] and atc.startswith(row["atc"])) or (row["inn"] and row["inn"] in inns):
            found.setdefault(row["group"], set()).update(row["reacts_with"].split() or ())
    return found


def _allergy_groups(allergy: Allergy) -> set[str]:
    """The groups that an allergy is about: by its INN, or its ATC code or beginning of one."""
    found = set(_groups(allergy.atc, (allergy.inn,)) if allergy.atc or allergy.inn else ())
    if allergy.atc:
        found |= {
            row["group"]
            for row in table("allergy_groups").rows
            if row["atc"] and row["atc"].startswith(allergy.atc)
        }
    return found


def _allergies(line: Line, person: Person) -> Iterator[Alert]:
    preparation = line.preparation
    mine = _groups(preparation.atc, preparation.inn.components)
    of = table("allergy_groups")
    for allergy in person.allergies:
        whole_code = len(allergy.atc) == 7 and preparation.atc == allergy.atc
        if (
            _is_same_inn(preparation, allergy.inn)
            or whole_code
            or (not allergy.inn and not allergy.atc and _is_same_inn(preparation, allergy.text))
        ):
            yield _alert(
                "allergy-inn",
                Tier.STOP,
                line.index,
                f"Item {line.index + 1}: the card records an allergy to {allergy.said}",
                inn=preparation.inn.key,
                allergy=allergy.text,
                **allergy.recorded,
            )
            continue
        theirs = _allergy_groups(allergy)
        same = theirs & set(mine)
        below = allergy.atc and preparation.atc.startswith(allergy.atc)
        if same or below:
            yield _alert(
                "allergy-group",
                Tier.INTERRUPT,
                line.index,
                f"Item {line.index + 1}: allergy to {allergy.said}, of the same group",
                of,
                inn=preparation.inn.key,
                allergy=allergy.text,
                **allergy.recorded,
            )
        elif theirs & {other for others in mine.values() for other in others}:
            yield _alert(
                "allergy-cross",
                Tier.INTERRUPT,
                line.index,
                f"Item {line.index + 1}: may cross-react with the allergy to {allergy.said}",
                of,
                inn=preparation.inn.key,
                allergy=allergy.text,
                **allergy.recorded,
            )


def _applies(row: Mapping[str, str], preparation: Preparation) -> bool:
    by_atc = bool(row["atc"]) and preparation.atc.startswith(row["atc"])
    return by_atc or (bool(row["inn"]) and row["inn"] in preparation.inn.components)


def _ages(line: Line, person: Person) -> Iterator[Alert]:
    of = table("min_age")
    for row in of.rows:
        limit = int(row["min_age_years"])
        if _applies(row, line.preparation) and 0 <= person.age_years < limit:
            yield _alert(
                "min-age",
                Tier(row["tier"]),
                line.index,
                f"Item {line.index + 1}: not below {limit} years ({row['note']})",
                of,
                inn=line.preparation.inn.key,
                years=str(limit),
            )


def _pregnancies(line: Line, person: Person) -> Iterator[Alert]:
    if person.pregnancy_weeks is None:
        return
    of = table("pregnancy")
    for row in of.rows:
        late_enough = person.pregnancy_weeks >= int(row["from_week"])
        if _applies(row, line.preparation) and late_enough:
            yield _alert(
                "pregnancy",
                Tier(row["tier"]),
                line.index,
                f"Item {line.index + 1}: pregnancy of {person.pregnancy_weeks} weeks "
                f"({row['note']})",
                of,
                inn=line.preparation.inn.key,
                weeks=str(person.pregnancy_weeks),
            )


def _courses(line: Line) -> Iterator[Alert]:
    preparation, item = line.preparation, line.item
    where = f"Item {line.index + 1}"
    is_systemic = preparation.antibiotic and preparation.atc.startswith("J01")
    if line.is_viral and is_systemic:
        yield _alert(
            "antibiotic-viral",
            Tier.INTERRUPT,
            line.index,
            f"{where}: an antibiotic does not help against a viral infection ({line.diagnosis})",
            inn=preparation.inn.key,
            icd=line.diagnosis,
        )
    if is_systemic and item.duration_days > _ANTIBIOTIC_DAYS_MAX:
        yield _alert(
            "antibiotic-long",
            Tier.PASSIVE,
            line.index,
            f"{where}: an antibiotic for more than {_ANTIBIOTIC_DAYS_MAX} days",
            inn=preparation.inn.key,
            days=str(item.duration_days),
        )
    needed = courses.quantity_of(preparation, item)
    if needed > 0 and item.quantity > needed * 2:
        yield _alert(
            "quantity-high",
            Tier.PASSIVE,
            line.index,
            f"{where}: {item.quantity} is more than twice what the course takes ({needed})",
            inn=preparation.inn.key,
            needed=str(needed),
        )
    if 0 < item.quantity < needed and not item.as_needed:
        yield _alert(
            "quantity-low",
            Tier.PASSIVE,
            line.index,
            f"{where}: the course takes {needed}",
            inn=preparation.inn.key,
            needed=str(needed),
        )


def _running(line: Line, person: Person, today: date) -> Iterator[Alert]:
    """The same INN may be renewed 7 days before the end of a long course, 3 of a short one."""
    preparation = line.preparation
    for running in person.running:
        if running.until and running.until < today:
            continue
        same = _is_same_inn(preparation, running.inn) or running.atc == preparation.atc
        if same and not _renewable(running, today):
            yield _alert(
                "duplicate-inn",
                Tier.INTERRUPT,
                line.index,
                f"Item {line.index + 1}: {running.text or running.inn} is already taken"
                + (f" until {running.until}" if running.until else ""),
                inn=preparation.inn.key,
                until=f"{running.until:%d.%m.%Y}" if running.until else "—",
            )
        elif not same and running.atc[:5] == preparation.atc[:5] != "":
            yield _alert(
                "duplicate-group",
                Tier.PASSIVE,
                line.index,
                f"Item {line.index + 1}: {running.text or running.inn} of the same group "
                "is already taken",
                inn=preparation.inn.key,
                other=running.text or running.inn,
            )


def _renewable(running: Running, today: date) -> bool:
    if running.until is None:
        return False
    left = (running.until - today).days
    length = (running.until - running.since).days if running.since else 0
    return left <= (_RENEW_DAYS if length >= _LONG_COURSE_DAYS else _RENEW_DAYS_SHORT)


def _doubles(lines: list[Line]) -> Iterator[Alert]:
    for at, line in enumerate(lines):
        mine = set(line.preparation.inn.components)
        for other in lines[:at]:
            common = mine & set(other.preparation.inn.components)
            if common:
                yield _alert(
                    "duplicate-line",
                    Tier.INTERRUPT,
                    line.index,
                    f"Item {line.index + 1} repeats {', '.join(sorted(common))} of item "
                    f"{other.index + 1}",
                    inn=min(common),
                    other=str(other.index + 1),
                )


def _doses(lines: list[Line], person: Person) -> Iterator[Alert]:
    """Milligrams a day of each INN over all lines against the maximum; the last line is named."""
    day: dict[str, Decimal] = {}
    of = table("max_daily")
    for line in lines:
        parts = courses.component_milligrams(line.preparation)
        route = line.preparation.form.route
        for inn, milligrams in parts.items():
            day[inn] = day.get(inn, Decimal(0)) + (
                milligrams * line.item.dose * max(line.item.times_per_day, 1)
            )
            limit = _limit(inn, route, person, of)
            if limit and day[inn] > limit:
                tier = Tier.STOP if day[inn] > limit * _STOP_ABOVE else Tier.INTERRUPT
                shown, most = courses.whole(day[inn]), courses.whole(limit)
                yield _alert(
                    "max-daily",
                    tier,
                    line.index,
                    f"Item {line.index + 1}: {shown} mg of {inn} a day, at most {most} mg",
                    of,
                    inn=inn,
                    day_mg=f"{shown:f}",
                    max_mg=f"{most:f}",
                )


def _limit(inn: str, route: str, person: Person, of: Table) -> Decimal | None:
    """The maximum of milligrams a day: by weight for a child whose weight is known."""
    for row in of.rows:
        if row["inn"] != inn or row["route"] not in {"any", route}:
            continue
        most = Decimal(row["max_mg"])
        is_child = 0 <= person.age_years < _CHILD_YEARS
        if is_child and person.weight_kg and row["max_mg_per_kg"]:
            return min(most, Decimal(row["max_mg_per_kg"]) * person.weight_kg)
        return most
    return None


def _many(lines: list[Line], person: Person) -> Iterator[Alert]:
    names = {running.atc or running.inn for running in person.running}
    names |= {line.preparation.atc for line in lines}
    for least in (10, 5):
        if len(names) >= least:
            yield _alert(
                "polypharmacy",
                Tier.PASSIVE,
                -1,
                f"{len(names)} medicines at the same time",
                count=str(len(names)),
            )
            return
