"""What the card speaks of: facts with their source, trends, course, contradictions, disputes."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from dmed.modules.medid.api import Banner


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """From where and when a fact is: no fact of the card is without it."""

    institution: str = ""
    author: str = ""
    recorded: str = ""
    """FHIR dateTime of writing it down; the day it is about stands in the fact."""
    system: str = ""
    """`meta.source` of what came from another system; "" for what was entered here."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the card, ready to show in the reader's language."""

    reference: str
    """"Condition/…": what it is of."""
    text: str
    code: str = ""
    detail: str = ""
    when: str = ""
    """FHIR date or dateTime that the fact is about."""
    until: str = ""
    status: str = ""
    """Code of the resource's own status."""
    tone: str = ""
    """"bad" or "warn" where it must not be missed."""
    kind: str = ""
    """A code that says more: diagnosis type, reaction, category."""
    source: Source = Source()

    @property
    def id(self) -> str:
        """The id of the record."""
        return self.reference.rpartition("/")[2]


class Point(msgspec.Struct, frozen=True):
    """One measurement of a trend."""

    when: str
    value: Decimal
    second: Decimal | None = None
    """The diastolic value of a blood pressure."""
    reference: str = ""
    source: Source = Source()


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of measurement: latest value, reference band, and how it went."""

    code: str
    """LOINC where it has one."""
    text: str
    unit: str
    latest: str
    """As shown: "98", "118/74" or words."""
    when: str
    low: Decimal | None = None
    high: Decimal | None = None
    flag: str = ""
    """"H", "L", "A" (abnormal, neither) or nothing."""
    points: tuple[Point, ...] = ()
    """Oldest first, all in `unit`; empty for results in words."""
    other_units: int = 0
    """Measurements left out of the trend because they are in another unit."""
    reference: str = ""
    source: Source = Source()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    when: str
    kind: str
    """visit, diagnosis, report, prescription, dispense, vaccination, allergy, procedure,
    document"""
    text: str
    detail: str = ""
    reference: str = ""
    source: Source = Source()


class Course(msgspec.Struct, frozen=True):
    """A page of the course, newest first; `until` asks for the next one, "" at the end."""

    entries: tuple[Entry, ...] = ()
    until: str = ""


class Side(msgspec.Struct, frozen=True):
    """One of the records that do not go together."""

    reference: str
    text: str
    when: str = ""
    status: str = ""
    """"refuted" where this side says that it is not so."""
    source: Source = Source()


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """Records that say the same twice, or contradict each other; the card shows both sides."""

    key: str
    """What it is: "allergy_refuted", "blood_group", "problem_twice"…"""
    is_contradiction: bool
    """False: only a double."""
    sides: tuple[Side, ...]


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says against an entry of the own card."""

    id: str
    about: str
    """"Condition/…"."""
    said: str
    when: str
    answer: str = ""
    answered_by: str = ""
    is_open: bool = True


class Relative(msgspec.Struct, frozen=True, kw_only=True):
    """A related person of the card."""

    name: str
    relation: str
    """Code of v3-RoleCode: MTH, FTH, SPS, GUARD…"""
    phone: str = ""


class Social(msgspec.Struct, frozen=True, kw_only=True):
    """How and with whom a person lives, as far as it was written down."""

    address: str = ""
    phone: str = ""
    marital: str = ""
    """Code of v3-MaritalStatus."""
    language: str = ""
    relatives: tuple[Relative, ...] = ()
    facts: tuple[Fact, ...] = ()
    """Observations of social history."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What one screen of the card shows; a tab fills the parts that it needs."""

    banner: Banner
    tab: str = "summary"
    blood_group: str = ""
    problems: tuple[Fact, ...] = ()
    past: tuple[Fact, ...] = ()
    """Diagnoses that are over."""
    medicines: tuple[Fact, ...] = ()
    allergies: tuple[Fact, ...] = ()
    results: tuple[Series, ...] = ()
    vaccinations: tuple[Fact, ...] = ()
    course: Course = Course()
    social: Social = Social()
    conflicts: tuple[Conflict, ...] = ()
    disputes: tuple[Dispute, ...] = ()

    def dispute_of(self, reference: str) -> Dispute | None:
        """The dispute about a record, the open one first."""
        found = [one for one in self.disputes if one.about == reference]
        return min(found, key=lambda one: not one.is_open, default=None)

    def is_in_conflict(self, reference: str) -> bool:
        """Whether a record is one side of something that does not go together."""
        return any(side.reference == reference for one in self.conflicts for side in one.sides)
