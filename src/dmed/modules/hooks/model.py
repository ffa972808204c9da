"""What a CDS client sends, and what services there are. https://cds-hooks.hl7.org/2.0/"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service of the discovery list."""

    id: str
    hook: str
    title: str
    description: str


SERVICES: tuple[Service, ...] = (
    Service(
        id="order-select",
        hook="order-select",
        title="Prescribing: while an order is chosen",
        description="Allergies, interactions, doses by age, weight and kidneys, pregnancy, "
        "duplicates and lengths of the selected medicines, in the light of all draft orders.",
    ),
    Service(
        id="order-sign",
        hook="order-sign",
        title="Prescribing: before orders are signed",
        description="The same for every medicine among the draft orders.",
    ),
    Service(
        id="patient-view",
        hook="patient-view",
        title="Medicines taken now",
        description="Interactions among the medicines that the person takes, and their number.",
    ),
)


class Context(msgspec.Struct, frozen=True, rename="camel"):
    """The context of the three hooks; `selections` goes with order-select."""

    user_id: str
    patient_id: str
    encounter_id: str = ""
    draft_orders: msgspec.Raw = msgspec.Raw(b"null")
    selections: list[str] | None = None


class Call(msgspec.Struct, frozen=True, rename="camel"):
    """A call of a service."""

    hook: str
    hook_instance: str
    context: Context
    fhir_server: str = ""
    fhir_authorization: dict[str, Any] | None = None
    """Taken and never used: nothing is asked of another server."""
    prefetch: dict[str, msgspec.Raw] | None = None


class Coding(msgspec.Struct, frozen=True):
    """A code of a reason."""

    code: str
    system: str = ""
    display: str = ""


class OverrideReason(msgspec.Struct, frozen=True, rename="camel"):
    """Why a card was passed; the comment is read and not kept: it may tell of a person."""

    reason: Coding | None = None
    user_comment: str = ""


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one card."""

    card: str
    outcome: Literal["accepted", "overridden"]
    outcome_timestamp: str = ""
    override_reason: OverrideReason | None = None
    accepted_suggestions: list[dict[str, Any]] | None = None


class Feedback(msgspec.Struct, frozen=True):
    """The body of a feedback."""

    feedback: list[Answer]
