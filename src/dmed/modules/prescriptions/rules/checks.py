"""What there is to say about a draft: pure checks with tiers, reasons, sources (decisions 23)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import msgspec

from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions.model import (
    ITEMS_COMMISSION_MAX,
    ITEMS_MAX,
    OVERRIDE_REASONS,
    Alert,
    Draft,
    Tier,
)
from dmed.modules.prescriptions.rules import (
    checks_doses,
    checks_pairs,
    checks_person,
    courses,
)
from dmed.modules.prescriptions.rules.checks_facts import Allergy, Line, Person, Running, alert_of

__all__ = [
    "Allergy", "Line", "Person", "Running", "check", "of_card", "ordered", "safety", "unanswered",
]  # fmt: skip  # A list of names reads better filled.

REPEATS_MAX = 3
START_DAYS_MAX = 30


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
    found += _repeats(draft, lines, today)
    for line in lines:
        found += checks_doses.amounts(line)
    found += safety(lines, person, today)
    return [_with_override(alert, draft) for alert in ordered(found)]


def safety(lines: list[Line], person: Person, today: date) -> list[Alert]:
    """What the tables of safety say about lines of any prescriber, in no order: the same for our
    screen and for the systems of others.
    """
    found: list[Alert] = []
    for line in lines:
        found += checks_person.allergies(line, person)
        found += checks_person.ages(line, person)
        found += checks_person.pregnancies(line, person)
        found += checks_person.lactation(line, person)
        found += checks_person.kidneys(line, person)
        found += checks_person.diseases(line, person)
        found += checks_doses.antibiotics(line)
        found += checks_doses.lengths(line)
        found += checks_pairs.overlaps(line, person, today)
    found += checks_pairs.doubles(lines)
    found += checks_doses.doses(lines, person)
    taken = checks_pairs.taken_of(lines, person, today)
    found += [alert for alert in checks_pairs.interactions(taken) if alert.item >= 0]
    found += checks_pairs.many(taken)
    return found


def of_card(person: Person, today: date) -> list[Alert]:
    """What the card alone gives reason to say: pairs among the medicines taken, their number."""
    taken = checks_pairs.taken_of([], person, today)
    return ordered([*checks_pairs.interactions(taken), *checks_pairs.many(taken)])


def ordered(found: list[Alert]) -> list[Alert]:
    """Worst first; the same rule with the same sentence once."""
    order = list(Tier)
    found.sort(key=lambda alert: (order.index(alert.tier), alert.item, alert.rule))
    return list({(alert.item, alert.rule, alert.sentence): alert for alert in found}.values())


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


def _incomplete(draft: Draft, preparations: Mapping[str, Preparation]) -> Iterator[Alert]:
    if not draft.patient:
        yield alert_of("no-patient", Tier.STOP, -1, "The prescription names no patient")
    if not draft.items:
        yield alert_of("no-items", Tier.STOP, -1, "The prescription names no medicine")
    most = ITEMS_COMMISSION_MAX if draft.commission else ITEMS_MAX
    if len(draft.items) > most:
        yield alert_of(
            "too-many-items",
            Tier.STOP,
            -1,
            f"A prescription names at most {most} medicines",
            count=str(len(draft.items)),
        )
    for index, item in enumerate(draft.items):
        where = f"Item {index + 1}"
        if item.preparation not in preparations and item.unregistered is not None:
            continue  # Its own rule says what it lacks.
        if item.preparation not in preparations:
            yield alert_of(
                "not-registered",
                Tier.STOP,
                index,
                f"{where}: only registered medicines may be prescribed, by INN",
            )
            continue
        if not (item.diagnosis or draft.diagnosis):
            yield alert_of(
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
                yield alert_of(f"no-{field}", Tier.STOP, index, f"{where}: {said} is missing")


def _repeats(draft: Draft, lines: list[Line], today: date) -> Iterator[Alert]:
    """What a first day or repeats may not be: the validity table gives the room."""
    if draft.start and not today <= draft.start <= today + timedelta(days=START_DAYS_MAX):
        sentence = f"The first day lies within {START_DAYS_MAX} days of the signing"
        yield alert_of("start", Tier.STOP, -1, sentence, days=str(START_DAYS_MAX))
    if draft.repeats == 1:
        return
    if not 1 <= draft.repeats <= REPEATS_MAX:
        sentence = f"A prescription is handed over at most {REPEATS_MAX} times"
        yield alert_of("repeats", Tier.STOP, -1, sentence, count=str(REPEATS_MAX))
        return
    room = courses.validity_days(draft, tuple(line.preparation for line in lines), today)
    for line in lines:
        days = line.item.duration_days * draft.repeats
        if line.preparation.antibiotic:
            sentence = f"Item {line.index + 1}: an antibiotic is not repeated"
            yield alert_of("repeats-antibiotic", Tier.STOP, line.index, sentence,
                         inn=line.preparation.inn.key)  # fmt: skip  # One finding.
        elif days > room:
            sentence = (f"Item {line.index + 1}: {draft.repeats} courses take {days} days, the "
                        f"prescription is valid for {room}")  # fmt: skip  # One sentence.
            yield alert_of("repeats-days", Tier.STOP, line.index, sentence, of_days=str(days),
                         days=str(room))  # fmt: skip  # One finding.
