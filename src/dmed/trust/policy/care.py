"""Which records begin, keep and end a care relationship, as rules over their elements.

A relationship is between a person and a principal: an institution, a practitioner, or (for who
has no practitioner record) a user. Pure: a resource struct in, Relations out; the store writes
them in the transaction of the record. docs/reference/decision.md tells them in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from dmed.fhir import params
from dmed.fhir.values import date_bounds
from dmed.kit.clock import now
from dmed.store.model import Relation
from dmed.trust.model import Role, Subject
from dmed.trust.policy import consent

FOR_EVER = datetime(2999, 12, 31, tzinfo=UTC)
REGISTERED = timedelta(days=30)
"""Who registers a person may begin to treat: the institution, for so long."""
OPEN_VISIT = timedelta(days=90)
"""A visit that nobody closed ends so long after it was last written."""
AFTER_VISIT = timedelta(days=30)
"""Results come, letters are written: so long after its end."""
EPISODE = timedelta(days=365)
REFERRAL = timedelta(days=90)
APPOINTMENT = timedelta(days=1)
IN_HAND = timedelta(days=1)
DISPENSED = timedelta(days=30)
ACT = timedelta(days=30)
"""Who wrote a labelled record sees its label for so long."""
_PRINCIPAL = re.compile(r"(Organization|Practitioner)/([A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")
_OPEN = frozenset({"planned", "in-progress", "on-hold", "discharged", "unknown"})
_ENDED = frozenset({"completed", "discontinued"})


def principals_of(subject: Subject, institutions: Iterable[str]) -> tuple[str, ...]:
    """All names by which care relationships may know a subject; `institutions` are his tree."""
    return (*(f"Organization/{each}" for each in institutions), *own_principals(subject))


def own_principals(subject: Subject) -> tuple[str, ...]:
    """The names of the person alone."""
    user = f"User/{subject.user}"
    if subject.practitioner:
        return f"Practitioner/{subject.practitioner}", user
    return (user,)


def home_of(subject: Subject) -> str:
    """The principal that keeps what a subject begins: his institution, or himself without one."""
    if subject.organisation:
        return f"Organization/{subject.organisation}"
    return own_principals(subject)[0]


_TREATING = frozenset({Role.DOCTOR, Role.REGISTRAR, Role.PHARMACIST})


def relations(
    resource: Any, labels: int, by: Subject | None = None
) -> tuple[Relation, ...]:
    """What a record says of care; `by` writes it (None: an import, which tells its own parties).

    `labels` are those of the record: a relationship opens them. Whoever makes a new card of a
    person may begin to treat him, in his institution; the store leaves that out of an update.
    """
    rule = _RULES.get(resource.fhir_type)
    found = list(rule(resource, by)) if rule is not None else []
    if resource.fhir_type == "Patient" and by is not None and by.role in _TREATING:
        until = _day_after(now() + REGISTERED)
        found.append(Relation(resource.id, home_of(by), "registered", until, is_bound=False))
    if labels:
        found = [msgspec.structs.replace(each, labels=each.labels or labels)
                 if each.kind != "refusal" else each for each in found]
        if by is not None and by.role is Role.DOCTOR:
            until = _day_after(now() + ACT)
            own = own_principals(by)[0]
            found += [
                Relation(patient, own, "act", until, labels, is_bound=False)
                for patient in params.patients(resource)
            ]
    return tuple(found)


# One rule a type --------------------------------------------------------------------------------


def _patient(resource: Any, _by: Subject | None) -> Iterator[Relation]:
    """Attached to a clinic and a family doctor."""
    patient = resource.id
    references = [resource.managingOrganization, *_each(resource.generalPractitioner)]
    for principal in _principals(references):
        yield Relation(patient, principal, "attached", FOR_EVER)


def _encounter(resource: Any, by: Subject | None) -> Iterator[Relation]:
    """A visit at an institution, while it is open and a month after."""
    if resource.status in _OPEN:
        until = _day_after(now() + OPEN_VISIT)
    elif resource.status in _ENDED:
        until = _end(resource.actualPeriod, now()) + AFTER_VISIT
    else:
        return
    people = [each.actor for each in _each(resource.participant)]
    given = list(_principals([resource.serviceProvider, *people]))
    yield from _with(resource, given or _home(by), "encounter", until)


def _episode(resource: Any, by: Subject | None) -> Iterator[Relation]:
    """A person under observation of an institution."""
    if resource.status in {"active", "waitlist", "planned", "onhold"}:
        until = _day_after(now() + EPISODE)
    elif resource.status == "finished":
        until = _end(resource.period, now()) + AFTER_VISIT
    else:
        return
    given = list(_principals([resource.managingOrganization, resource.careManager]))
    yield from _with(resource, given or _home(by), "episode", until)


def _referral(resource: Any, _by: Subject | None) -> Iterator[Relation]:
    """To whom a person is sent."""
    if resource.status in {"active", "on-hold"}:
        to = list(_principals(_each(resource.performer)))
        yield from _with(resource, to, "referral", _day_after(now() + REFERRAL))


def _appointment(resource: Any, by: Subject | None) -> Iterator[Relation]:
    """Who expects a person: until a day after the appointment."""
    if resource.status not in {"proposed", "pending", "booked", "arrived", "checked-in"}:
        return
    given = list(_principals(each.actor for each in _each(resource.participant)))
    end = resource.end if isinstance(resource.end, str) else resource.start
    until = (_moment(end) or now()) + APPOINTMENT
    yield from _with(resource, given or _home(by), "appointment", until)


def _request(resource: Any, _by: Subject | None) -> Iterator[Relation]:
    """The pharmacy to which a prescription is directed."""
    demand = resource.dispenseRequest
    if resource.status == "active" and demand is not msgspec.UNSET:
        until = _day_after(now() + DISPENSED)
        yield from _with(resource, _principals([demand.dispenser]), "prescription", until)


def _dispense(resource: Any, by: Subject | None) -> Iterator[Relation]:
    """The pharmacy that gave a medicine answers for it for a while."""
    given = list(_principals(each.actor for each in _each(resource.performer)))
    if by is not None and by.role is Role.PHARMACIST:
        given.append(home_of(by))
    until = _day_after(now() + DISPENSED)
    yield from _with(resource, dict.fromkeys(given), "prescription", until)


def _task(resource: Any, _by: Subject | None) -> Iterator[Relation]:
    """A prescription in hand: the pharmacy that holds its item."""
    if resource.status in {"accepted", "in-progress", "on-hold", "received", "ready"}:
        until = _day_after(now() + IN_HAND)
        yield from _with(resource, _principals([resource.owner]), "prescription", until)


def _consent(resource: Any, _by: Subject | None) -> Iterator[Relation]:
    """What a person refuses: everybody or institutions, everything or certain labels."""
    yield from consent.refusals(resource)


_RULES: dict[str, Callable[[Any, Subject | None], Iterator[Relation]]] = {
    "Patient": _patient,
    "Encounter": _encounter,
    "EpisodeOfCare": _episode,
    "ServiceRequest": _referral,
    "Appointment": _appointment,
    "MedicationRequest": _request,
    "MedicationDispense": _dispense,
    "Task": _task,
    "Consent": _consent,
}


# Reading elements -------------------------------------------------------------------------------


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _principals(references: Iterable[Any]) -> Iterator[str]:
    for reference in references:
        text = getattr(reference, "reference", None)
        found = _PRINCIPAL.fullmatch(text) if isinstance(text, str) else None
        if found is not None:
            yield f"{found.group(1)}/{found.group(2)}"


def _home(by: Subject | None) -> list[str]:
    return [home_of(by)] if by is not None and by.role in _TREATING else []


def _with(
    resource: Any, principals: Iterable[str], kind: str, until: datetime
) -> Iterator[Relation]:
    people = params.patients(resource)
    for principal in principals:
        for patient in people:
            yield Relation(patient, principal, kind, until)


def _moment(text: Any) -> datetime | None:
    """The last moment of a partial date."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromtimestamp(date_bounds(text)[1] / 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _end(period: Any, otherwise: datetime) -> datetime:
    if period is msgspec.UNSET:
        return otherwise
    return _moment(period.end) or _moment(period.start) or otherwise


def _day_after(moment: datetime) -> datetime:
    """The end of the day: a relationship that is renewed within a day is not written again."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(1)
