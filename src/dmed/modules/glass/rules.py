"""Whether the glass may be broken, and what the person is told: pure."""

from __future__ import annotations

from datetime import datetime

from dmed.kit import clock
from dmed.kit.errors import Issue
from dmed.modules.glass.model import REASONS, TEXT_CHARACTERS, VERDICTS
from dmed.trust.model import Role, Subject

MAY_BREAK = frozenset({Role.DOCTOR, Role.PHARMACIST})
MAY_REVIEW = frozenset({Role.ADMINISTRATOR, Role.INSPECTOR})


def faults(code: str, text: str) -> tuple[Issue, ...]:
    """What is wrong with a reason; nothing for a good one."""
    found = []
    if code not in REASONS:
        found.append(Issue("value", f"The reason is one of {', '.join(REASONS)}", "reason"))
    least, most = TEXT_CHARACTERS
    if not least <= len(text.strip()) <= most:
        found.append(Issue("value", f"Say in {least} to {most} characters why", "text"))
    return tuple(found)


def review_faults(verdict: str, reviewer: str, breaker: str) -> tuple[Issue, ...]:
    """What is wrong with a review; nobody judges himself."""
    found = []
    if verdict not in VERDICTS:
        found.append(Issue("value", f"The verdict is one of {', '.join(VERDICTS)}", "verdict"))
    if reviewer == breaker:
        found.append(Issue("forbidden", "Nobody reviews his own emergency access", "verdict"))
    return tuple(found)


_TOLD = {
    "uz": "{name} ({place}) {at} da sizning tibbiy yozuvlaringizni shoshilinch ochdi. Sabab: "
    "{reason}. Bu ko‘rib chiqiladi.",
    "ru": "{name} ({place}) {at} экстренно открыл(а) ваши медицинские записи. Причина: {reason}. "
    "Это будет проверено.",
    "en": "{name} ({place}) opened your medical records in an emergency at {at}. Reason: {reason}. "
    "This will be reviewed.",
}


def notice(
    subject: Subject, patient: str, reason: str, at: datetime, language: str
) -> dict[str, object]:
    """The Communication that tells the person, in his language (Uzbek where it is not ours)."""
    text = _TOLD.get(language[:2], _TOLD["uz"]).format(
        name=subject.name or subject.user,
        place=subject.organisation_name or "-",
        at=at.astimezone(clock.TASHKENT).strftime("%d.%m.%Y %H:%M"),
        reason=reason.strip(),
    )
    system = "http://terminology.hl7.org/CodeSystem/communication-category"
    return {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": system, "code": "notification"}]}],
        "priority": "urgent",
        "subject": {"reference": f"Patient/{patient}"},
        "sent": at.isoformat(timespec="seconds"),
        "recipient": [{"reference": f"Patient/{patient}"}],
        "payload": [{"contentCodeableConcept": {"text": text}}],
    }
