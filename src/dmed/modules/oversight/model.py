"""What oversight works with: findings, cases and requests for bulk reading."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """Why there is a case."""

    DISPUTE = "dispute"
    """A person says that a look at the record was not right."""
    UNUSUAL = "unusual"
    CANARY = "canary"
    """Somebody read an invented person whom nobody has a reason to read."""


    OWN_WORD = "own-word"
    """Somebody began to treat a person whom no booking, attachment or referral led there."""


class Verdict(StrEnum):
    """What a review found."""

    RIGHT = "right"
    """There was a reason."""
    UNCLEAR = "unclear"
    WRONG = "wrong"
    """It was not right; what follows is decided outside of the platform."""


class Finding(msgspec.Struct, frozen=True):
    """One reason why access is unusual: a locale key with its values, and how heavy it is."""

    key: str
    weight: int
    values: dict[str, str] = {}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the review queue."""

    number: int
    kind: Kind
    made: datetime
    subject: str
    """Sign-in name of whose access it is; "" where a dispute names nobody."""
    patient: str
    """Id of the Patient; "" for an access to many."""
    findings: tuple[Finding, ...]
    said: str = ""
    """The words of the person or of the registrar for the person."""
    weight: int = 0
    verdict: str = ""
    reviewer: str = ""
    words: str = ""
    closed: datetime | None = None


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One user's day among those of the same role."""

    subject: str
    role: str
    organisation: str
    persons: int
    """Distinct persons looked at."""
    looks: int
    night: int
    uncared: int
    """Persons without a care relationship."""


class BulkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A wish to read in bulk, which a second person approves."""

    number: int
    asker: str
    purpose: str
    """Purpose of use (v3-ActReason): PUBHLTH, HSYSADMIN ..."""
    said: str
    made: datetime
    until: datetime
    standing: bool
    """A registered purpose: may be used again until its end."""
    approver: str = ""
    approved: datetime | None = None
    used: int = 0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the person's page: somebody on one day, in one way."""

    name: str
    subject: str
    role: str
    organisation: str
    act: str
    """Locale key of what was done."""
    first: datetime
    last: datetime
    times: int
    event: str
    """Id of the AuditEvent of the last time."""
    refused: bool = False
