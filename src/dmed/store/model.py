"""What the store is given and gives back. Every call needs a Scope and an AuditRow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from dmed.fhir.index import Index
from dmed.fhir.words import Texts
from dmed.kit.ids import milliseconds_of


def updated_of(vid: int) -> datetime:
    """The moment of a version, to the millisecond: what `meta.lastUpdated` says."""
    return datetime.fromtimestamp(milliseconds_of(vid) / 1000, UTC)


class Scope(msgspec.Struct, frozen=True):
    """Which records a call may touch at all; compiled into every alias of every query.

    `patients` None means no limit to certain patients; a tuple of Patient ids limits searches
    and reads to records in their compartments. `types` None means every type.
    """

    subject: str
    patients: tuple[str, ...] | None = None
    types: frozenset[str] | None = None
    principals: tuple[str, ...] = ()
    """Who asks, as care relationships name him: "Organization/x", "Practitioner/x", "User/x"."""
    guarded: frozenset[str] = frozenset()
    """Types of which only records of people in the care of a principal are reached."""
    guarded_writes: frozenset[str] = frozenset()
    """Types of which only such records are written; these are more: a card may be seen by who
    begins care, and is changed by who has begun it."""


class Relation(msgspec.Struct, frozen=True, order=True):
    """A care relationship that a record says or makes (store.care), or with kind "refusal" the
    person's refusal ("" as principal: of everybody).
    """

    patient: str
    principal: str
    kind: str
    until: datetime
    labels: int = 0
    """Sensitivity labels that it opens; of a refusal those that it closes (0: all records)."""
    is_bound: bool = True
    """It changes and goes with its record; otherwise it stays until its time is over."""


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or one person disclosed by it (decisions 7). Stored compactly."""

    request: str
    """Id of the request; all rows of one request share it."""
    action: str
    """C create, R read, U update, D delete, E execute or search (FHIR audit-event-action)."""
    subject: str
    """Who: user id."""
    role: str
    organisation: str = ""
    purpose: str = "TREAT"
    type: str = ""
    id: str = ""
    vid: int = 0
    patient: str = ""
    """The person disclosed; the row lies in this patient's bucket."""
    query: str = ""
    outcome: int = 200
    detail: str = ""


class Stored(msgspec.Struct, frozen=True):
    """One version of a record as it lies in the store; `body` is canonical JSON, never decoded."""

    type: str
    id: str
    vid: int
    bucket: int
    body: bytes
    deleted: bool = False

    @property
    def updated(self) -> datetime:
        """The moment of this version, to the millisecond: what `meta.lastUpdated` says."""
        return updated_of(self.vid)


class Write(msgspec.Struct, kw_only=True):
    """One record to be written, fully prepared: id, meta and references are set in `body`.

    `kind`: "create", "update" or "delete". `expected_vid`: None no check, 0 must not exist,
    else the current version must be this one (PreconditionError otherwise).
    `patients`: ids of all patients in whose compartments the record lies.
    `identities`: (system, value) pairs that must be unique among active records, claimed for it.
    """

    kind: str
    type: str
    id: str
    bucket: int
    vid: int
    updated: datetime
    body: bytes
    index: Index
    texts: Texts = Texts()
    """What is searched by word (fhir.words.texts_of)."""
    patients: tuple[str, ...] = ()
    identities: tuple[tuple[str, str], ...] = ()
    expected_vid: int | None = None
    client_id: bool = False
    """The id was chosen by a client and is claimed in `id_claim` first."""
    labels: int = 0
    """Sensitivity labels of the record, as bits."""
    care: tuple[Relation, ...] = ()
    """Who begins, keeps or loses the right to see these people, by this record."""
    lines: Mapping[str, str] | None = None
    """Of a new record that is loaded: its index rows ready for COPY by table (store.lines), in
    the place of `index` and `texts`."""


class Written(msgspec.Struct, frozen=True):
    """The outcome of one write: what now is current, and whether it is new."""

    type: str
    id: str
    vid: int
    updated: datetime
    created: bool
    body: bytes
    unchanged: bool = False
    """A conditional create found the record: nothing was written."""


class Hit(msgspec.Struct, frozen=True):
    """One entry of a search answer; mode is "match" or "include"."""

    record: Stored
    mode: str = "match"


class SearchPage(msgspec.Struct, frozen=True):
    """One page of a search: hits in order, the exact total if known, and where to go on."""

    hits: list[Hit]
    total: int | None
    next_cursor: str | None
    previous_cursor: str | None = None
    notes: tuple[str, ...] = ()
    """Sentences for the caller, to be shown as an outcome entry: what was left out, and why."""
    is_estimate: bool = False
    """Whether the total is what statistics say, not a count."""


class HistoryPage(msgspec.Struct, frozen=True):
    """One page of a history, newest first; a deleted version is marked and has an empty body."""

    versions: list[Stored]
    total: int | None
    next_cursor: str | None
