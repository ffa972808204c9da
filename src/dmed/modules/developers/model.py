"""Newcomers: applications, licences, the calls of a sandbox, and the steps of the check."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import msgspec


class Kind(StrEnum):
    """What an institution wants to be here."""

    CLINIC = "clinic"
    PHARMACY = "pharmacy"


class State(StrEnum):
    """How far an application is."""

    CODE = "code"
    """The licence is good; the code that its holder was sent is awaited."""
    SANDBOX = "sandbox"
    """The holder is proven; the system is built and checked."""
    LIVE = "live"
    CLOSED = "closed"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the register of licences says of one licence."""

    number: str
    tax_id: str
    holder: str
    holder_ru: str = ""
    kind: Kind
    start: date
    end: date
    status: str = "active"
    """active, suspended or revoked."""
    region: str = ""
    district: str = ""
    address: str = ""
    phone: str = ""
    """Masked: +998 ** *** ** 67."""


class Reason(msgspec.Struct, frozen=True):
    """Why not, or why: translated by key."""

    key: str
    values: dict[str, str] = {}


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One institution's way from a licence number to live."""

    number: int
    licence: str
    tax_id: str
    kind: Kind
    name: str
    email: str
    state: State
    phone: str = ""
    tries: int = 0
    client: str = ""
    """The OAuth client of its sandbox."""
    live_client: str = ""
    organisation: str = ""
    """Id of its Organization, once live."""
    made: datetime
    live: datetime | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request that a system made in its sandbox, and what it was answered."""

    number: int
    made: datetime
    method: str
    path: str
    query: str = ""
    status: int
    digest: str
    """Of method, address and body: the same request again has the same."""
    by_hand: bool = False
    """With the token of the page, so it proves nothing of the system."""
    facts: dict[str, Any] = {}
    """What the check needs to know of the request; made by the sandbox."""


class Result(StrEnum):
    """The outcome of one step of the check."""

    PASSED = "passed"
    FAILED = "failed"
    WAITING = "waiting"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the conformance check."""

    key: str
    result: Result
    why: Reason | None = None
    call: int = 0
    """Number of the call that decided."""
