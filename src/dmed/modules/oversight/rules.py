"""What is unusual about access, each as a pure function over figures with its reason."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime

from dmed.kit.clock import TASHKENT
from dmed.modules.oversight.model import Finding, Peer, Seen
from dmed.trust.gateway.audits import Look, Noted
from dmed.trust.model import Role

CASE_WEIGHT = 40
"""From this weight on a pair or a day becomes a case."""
VOLUME_TIMES = 4
VOLUME_PERSONS = 30
"""A day is large that has so many persons and so many times the middle of its peers."""
NIGHT_LOOKS = 5
UNCARED_PERSONS = 10
PEERS_MIN = 3
ROLES = (Role.DOCTOR.value, Role.PHARMACIST.value, Role.REGISTRAR.value, Role.ADMINISTRATOR.value,
         Role.HEAD.value, Role.INSPECTOR.value)
"""People; what systems read is bounded by budgets."""
_CARING = {Role.DOCTOR.value}
PairRule = Callable[[Look], Finding | None]


def own_record(look: Look) -> Finding | None:
    """A user who opens the own card under the office."""
    return Finding("oversight.reason.self", 40) if look.is_self else None


def colleague(look: Look) -> Finding | None:
    """A colleague of the same institution who is not in the user's care."""
    if not look.is_colleague or look.is_self:
        return None
    return Finding("oversight.reason.colleague", 20 if look.is_in_care else 50)


def namesake(look: Look) -> Finding | None:
    """The user's family name without a care relationship: perhaps a relative."""
    if not look.is_namesake or look.is_in_care or look.is_self:
        return None
    return Finding("oversight.reason.namesake", 40)


def no_care(look: Look) -> Finding | None:
    """A doctor who looked more than once at a person nobody of the institution treats."""
    if look.is_in_care or look.role not in _CARING or look.looks < 2:
        return None
    return Finding("oversight.reason.no_care", 25, {"count": str(look.looks)})


def night(look: Look) -> Finding | None:
    """Looks at night at a person who is not in care."""
    if look.is_in_care or not look.night:
        return None
    return Finding("oversight.reason.night", 20, {"count": str(look.night)})


PAIR_RULES: tuple[PairRule, ...] = (own_record, colleague, namesake, no_care, night)


def judge(look: Look) -> tuple[Finding, ...]:
    """All that is unusual about one user and one person."""
    return tuple(found for rule in PAIR_RULES if (found := rule(look)) is not None)


def weight(findings: Iterable[Finding]) -> int:
    """How heavy findings are together."""
    return sum(finding.weight for finding in findings)


def peers(looks: Sequence[Look]) -> list[Peer]:
    """The figures of each user."""
    made = []
    for subject, group in itertools.groupby(sorted(looks, key=_subject), _subject):
        mine = list(group)
        made.append(Peer(
            subject=subject, role=mine[0].role, organisation=mine[0].organisation,
            persons=len(mine), looks=sum(one.looks for one in mine),
            night=sum(one.night for one in mine),
            uncared=sum(not one.is_in_care for one in mine)))
    return made


def _subject(look: Look) -> str:
    return look.subject


def volume(peer: Peer, others: Sequence[int]) -> Finding | None:
    """Far more persons than the middle of those of the same role; `others` are their counts."""
    if peer.persons < VOLUME_PERSONS or len(others) < PEERS_MIN:
        return None
    middle = statistics.median(others)
    if peer.persons < VOLUME_TIMES * max(middle, 1):
        return None
    return Finding("oversight.reason.volume", 50,
                   {"count": str(peer.persons), "middle": f"{middle:g}"})  # fmt: skip  # One.


def nights(peer: Peer) -> Finding | None:
    """Mostly at night, and often."""
    if peer.night < NIGHT_LOOKS or peer.night * 2 < peer.looks:
        return None
    return Finding("oversight.reason.nights", 40, {"count": str(peer.night)})


def browsing(peer: Peer) -> Finding | None:
    """A doctor who looked at many persons whom nobody of the institution treats."""
    if peer.role not in _CARING or peer.uncared < UNCARED_PERSONS:
        return None
    return Finding("oversight.reason.browsing", 50, {"count": str(peer.uncared)})


def judge_day(peer: Peer, everybody: Sequence[Peer]) -> tuple[Finding, ...]:
    """All that is unusual about one user's day among the peers."""
    others = [one.persons for one in everybody
              if one.role == peer.role and one.subject != peer.subject]
    found = (volume(peer, others), nights(peer), browsing(peer))
    return tuple(one for one in found if one is not None)


# The person's page -----------------------------------------------------------------------------

_GROUPS = {
    "prescription": frozenset({"MedicationRequest", "MedicationDispense", "Task"}),
    "card": frozenset({"Patient", "Person", "RelatedPerson"}),
    "result": frozenset({"Observation", "DiagnosticReport", "ImagingStudy", "Specimen"}),
    "audit": frozenset({"AuditEvent"}),
}
_VERBS = {"C": "wrote", "R": "read", "U": "changed", "D": "deleted", "E": "found"}


def act_of(row: Noted) -> str:
    """The locale key of what a row of the audit did, in a person's words."""
    if row.detail.startswith("who looked") or row.type == "AuditEvent":
        return "oversight.act.audit"
    if row.detail.startswith(("print", "slip")):
        return "oversight.act.printed"
    if row.action == "E" and not row.type and not row.query:
        return "oversight.act.other"
    about = next((name for name, types in _GROUPS.items() if row.type in types), "record")
    return f"oversight.act.{_VERBS[row.action]}.{about}"


def seen(
    rows: Sequence[Noted], names: dict[str, tuple[str, str]], event_id: Callable[[Noted], str]
) -> list[Seen]:
    """Rows of a person as lines: the same user, day and act together, newest first."""
    lines: dict[tuple[str, str, str, bool, date], list[Noted]] = {}
    for row in rows:
        refused = row.outcome >= 400  # Kinds of HTTP status.
        day = row.at.astimezone(TASHKENT).date()
        key = (row.subject, row.role, act_of(row), refused, day)
        lines.setdefault(key, []).append(row)
    made = []
    for (subject, role, act, refused, _), group in lines.items():
        newest, oldest = max(group, key=_at), min(group, key=_at)
        made.append(Seen(
            name=names.get(subject, ("", ""))[0], subject=subject, role=role,
            organisation=newest.organisation, act=act, first=oldest.at, last=newest.at,
            times=len({one.request for one in group}), event=event_id(newest), refused=refused))
    return sorted(made, key=lambda one: one.last, reverse=True)


def _at(row: Noted) -> tuple[datetime, bytes]:
    return row.at, row.digest


_TOLD = {
    "uz": "{name} {at} da sizni yozilmasdan, biriktirilmasdan va yo‘llanmasiz davolashni boshladi. "
    "Bu to‘g‘ri bo‘lmasa, “Kim ko‘rdi” sahifasida ayting.",
    "ru": "{name} {at} начал(а) вас лечить без записи, прикрепления и направления. Если это "
    "неверно, скажите об этом на странице «Кто смотрел».",
    "en": "{name} began to treat you at {at} without booking, attachment or referral. If that is "
    "not right, say so on the page “Who looked”.",
}


def own_word_notice(name: str, patient: str, at: datetime, language: str) -> dict[str, object]:
    """The Communication that tells the person who began care by the own word alone."""
    text = _TOLD.get(language[:2], _TOLD["uz"]).format(
        name=name, at=at.astimezone(TASHKENT).strftime("%d.%m.%Y %H:%M"))
    system = "http://terminology.hl7.org/CodeSystem/communication-category"
    return {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": system, "code": "notification"}]}],
        "subject": {"reference": f"Patient/{patient}"},
        "sent": at.isoformat(timespec="seconds"),
        "recipient": [{"reference": f"Patient/{patient}"}],
        "payload": [{"contentCodeableConcept": {"text": text}}],
    }
