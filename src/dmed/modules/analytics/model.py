"""What analytics works with: facts of records, definitions of indicators, figures and verdicts."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

import msgspec


class Item(msgspec.Struct, frozen=True, kw_only=True, tag="item"):
    """What counts of a MedicationRequest."""

    prescriber: str
    """Id of the PractitionerRole."""
    group: str
    """Number of the prescription; the record's own id where it has none."""
    moment: datetime
    """When it was written, in Tashkent."""
    atc: str
    """ATC code of level 5: it stands for the INN."""
    preparation: str = ""
    """Key of INN, form and strength: within it products may stand for each other."""
    icd: str
    starts: date
    ends: date
    """The last day of the course."""
    is_injection: bool = False
    is_by_name: bool = True
    """Prescribed by INN, not as a product."""


class Fill(msgspec.Struct, frozen=True, kw_only=True, tag="fill"):
    """What counts of a MedicationDispense."""

    request: str
    pharmacy: str
    moment: datetime
    product: str = ""
    """Trade name of the pack, its GTIN where the register does not know it; "" where the record
    does not say."""


class Override(msgspec.Struct, frozen=True, kw_only=True, tag="override"):
    """What counts of a DetectedIssue that a prescriber passed with a coded reason."""

    request: str
    rule: str


class Illness(msgspec.Struct, frozen=True, kw_only=True, tag="illness"):
    """What counts of a Condition."""

    icd: str
    starts: date
    ends: date


class Person(msgspec.Struct, frozen=True, kw_only=True, tag="person"):
    """What counts of a Patient."""

    born: date


class Post(msgspec.Struct, frozen=True, kw_only=True, tag="post"):
    """A PractitionerRole: whose, where, as what."""

    practitioner: str
    organisation: str
    name: str
    specialty: str
    """Code of the position; its title where it has none."""
    title: str


class House(msgspec.Struct, frozen=True, kw_only=True, tag="house"):
    """An Organization: its name, where it stands, and what it is."""

    name: str
    region: str
    district: str
    kind: str
    """Whose it is and what it is: the codes of subordination and nomenclature."""
    parent: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a prescriber stands: what peers are chosen by."""

    specialty: str = ""
    kind: str = ""
    organisation: str = ""
    district: str = ""
    region: str = ""


Fact = Item | Fill | Override | Illness | Person | Post | House


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A fact with the record that it was taken from."""

    type: str
    id: str
    patient: str
    """Id of the Patient; "" for posts and institutions."""
    fact: Fact


class Direction(StrEnum):
    """Which way is worse."""

    HIGH = "high"
    LOW = "low"
    NONE = "none"
    """Shown, judged by nobody: a lower figure may be right."""


class Unit(StrEnum):
    """What is counted."""

    ITEM = "item"
    PRESCRIPTION = "prescription"
    PERSON = "person-year"
    """A person to whom the prescriber wrote anything in a calendar year, once."""


class Test(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Which lines count: all that is given must hold; an empty test holds for every line."""

    atc: tuple[str, ...] = ()
    """Beginnings of ATC codes, or "@name" for a list of data/lists.json."""
    not_atc: tuple[str, ...] = ()
    icd: tuple[str, ...] = ()
    flag: str = ""
    """A flag of rules.deriving.FLAGS."""
    active_min: int = 0
    """At least so many INN in use by the person after this line."""
    age_min: int = 0
    days_over: int = 0
    """A course of more days than this."""


class Definition(msgspec.Struct, frozen=True, kw_only=True, rename="kebab",
                 forbid_unknown_fields=True):
    """An indicator as its file says, in the spirit of OpenPrescribing's measures."""

    id: str
    name: dict[str, str]
    why: dict[str, str]
    kind: str
    """"share" of units; "mean" of a sum over units; "part": shares of parts (a pharmacy, a brand,
    a rule), each beside its whole."""
    unit: Unit
    direction: Direction
    source: str
    of: Test = Test()
    """The denominator: the units that count at all."""
    where: Test = Test()
    """The numerator of a share: those of them in which this holds too."""
    sum: str = ""
    """Of a mean, what is summed: "items" or "days-to-fill"."""
    part: str = ""
    """Of parts: "pharmacy", "brand" or "rule"."""
    reference: str = ""
    """What is held for good, as the source says it; shown, never used to judge."""
    is_draft: bool = True
    """Waits for a clinician's approval."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number of one prescriber: `numerator` of `denominator`."""

    prescriber: str
    indicator: str
    numerator: int
    denominator: int
    part: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A figure among its peers, with the reasons of its flag."""

    figure: Figure
    peers: str
    """Which peers: a level of rules.peers."""
    peer_count: int
    expected: float
    """Share (or mean) of the peers."""
    low95: float
    high95: float
    low998: float
    high998: float
    """Limits of the funnel at this denominator, exact and widened by the peers' own spread."""
    spread: float
    """How many times the peers vary more than chance (variance; at least 1)."""
    chance: float
    """How likely a figure so far out is where nothing is behind it."""
    is_flagged: bool = False


class CaseState(StrEnum):
    """How far a flag has come."""

    TOLD = "told"
    """The prescriber sees it on the own page and may answer; nobody else is shown it yet."""
    OPEN = "open"
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a case ended."""

    EXPLAINED = "explained"
    """The patients or the place explain it."""
    ADVISED = "advised"
    """Spoken about; the prescriber changes."""
    REFERRED = "referred"
    """Given to the authority that decides about fraud."""
    WRONG = "wrong"
    """The figure itself was wrong."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A flag and what was done about it."""

    number: int
    prescriber: str
    indicator: str
    part: str
    made: datetime
    state: CaseState
    numerator: int
    denominator: int
    expected: float
    answer: str = ""
    """The prescriber's own words."""
    assignee: str = ""
    outcome: str = ""
    words: str = ""
    closed: datetime | None = None
    lines: int | None = None
    """How many lines stand behind the figure; None before they were listed."""
    counted: int = 0
    """How many of them make the numerator."""


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a prescription behind the figure of a case; no person is named."""

    id: str
    """Id of the MedicationRequest."""
    number: str
    moment: datetime
    atc: str
    pharmacy: str
    """Id of the Organization that handed it over first; "" where nobody did."""
    amount: int
    """What its prescription or person adds to the numerator."""
    is_counted: bool
    """Whether it is one of those that make the numerator."""
    reasons: tuple[str, ...]
    """Why it counts: "word" or "word=value" of the texts analytics.reason.*."""
