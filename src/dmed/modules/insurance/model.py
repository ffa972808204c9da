"""What insurance works with: claims, the fund's answers, and differences."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """What the fund decided."""

    PAID = "paid"
    REFUSED = "refused"
    PENDING = "pending"
    """Taken, not decided yet."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The fund's answer to one claim."""

    key: str
    outcome: Outcome
    number: str = ""
    """The fund's own number."""
    amount: Decimal | None = None
    """In so'm."""
    reason: str = ""
    """Code of a refusal."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the fund's list of a day."""

    key: str
    outcome: Outcome
    amount: Decimal | None = None
    reason: str = ""


class State(StrEnum):
    """How far a claim has come here."""

    WAITING = "waiting"
    PENDING = "pending"
    PAID = "paid"
    REFUSED = "refused"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One claim as this side knows it."""

    key: str
    """Number and item of the prescription: the same at every try."""
    number: str
    item: int
    record: str
    """Id of the FHIR Claim."""
    pharmacy: str
    state: State
    amount: Decimal | None
    made: datetime
    attempts: int
    fund_number: str = ""
    reason: str = ""
    paid: Decimal | None = None
    answered: datetime | None = None


class Kind(StrEnum):
    """How this side and the fund differ."""

    MISSING_THERE = "missing-there"
    """Answered here, not in the fund's list."""
    MISSING_HERE = "missing-here"
    """In the fund's list, never claimed here."""
    OUTCOME = "outcome"
    AMOUNT = "amount"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference of a day."""

    day: date
    key: str
    kind: Kind
    ours: str
    theirs: str
