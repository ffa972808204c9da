"""What the staff register speaks of: practitioners, posts, licences."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import msgspec


class Licence(msgspec.Struct, frozen=True, kw_only=True):
    """A licence or certificate (Practitioner.qualification)."""

    number: str
    code: str
    """v2-0360 code of the national list: DIP diploma, MD, PHD..., LIC is ours by text."""
    title: str
    valid_from: date | None = None
    valid_until: date | None = None
    issuer: str = ""


class PractitionerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One member of staff in one post."""

    id: str
    name: str
    short_name: str
    """"Yusupova A.": as signatures and lists show it."""
    role_id: str = ""
    """Id of the PractitionerRole: the post."""
    organisation: str = ""
    """Id of the Organization of the post."""
    post_code: str = ""
    """Code of position-and-profession-cs: "2212.30"."""
    post: str = ""
    """Title of the post."""
    specialty: str = ""
    licences: tuple[Licence, ...] = ()
    argos: str = ""
    pinfl: str = ""
    version: str = ""
    """Version of the Practitioner record that these facts are of."""
    role_version: str = ""
    """Version of the PractitionerRole record."""
    is_active: bool = True


class Reason(msgspec.Struct, frozen=True):
    """Why a verdict is as it is: translated by key."""

    key: str
    values: dict[str, str] = {}


class Verdict(msgspec.Struct, frozen=True):
    """Yes or no, with its reasons; `practitioner` is who was judged, if found."""

    allowed: bool
    reasons: tuple[Reason, ...] = ()
    practitioner: PractitionerFacts | None = None


# The register as lists and files ----------------------------------------------------------------


class Kind(StrEnum):
    """What stands in a person's file with a number and a term."""

    EDUCATION = "education"
    CERTIFICATE = "certificate"
    CATEGORY = "category"
    LICENCE = "licence"
    TRAINING = "training"


class Employment(StrEnum):
    """How a post is held."""

    MAIN = "main"
    SECOND = "second"
    """Beside the main post, at the same or another institution."""


class Measure(StrEnum):
    """What discipline decided."""

    REMARK = "remark"
    REPRIMAND = "reprimand"
    FINE = "fine"
    SUSPENSION = "suspension"


class Act(StrEnum):
    """What an order does."""

    HIRE = "hire"
    TRANSFER = "transfer"
    LEAVE = "leave"
    DISCIPLINE = "discipline"
    END = "end"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A diploma, certificate, category, licence or training of a person."""

    kind: Kind
    title: str
    number: str = ""
    valid_from: date | None = None
    valid_until: date | None = None
    issuer: str = ""


class Hours(msgspec.Struct, frozen=True, order=True):
    """When somebody is at work: day of the week (0 Monday), minutes of the day."""

    day: int
    start_minute: int
    end_minute: int


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One post (PractitionerRole) as files and lists show it."""

    role: str
    practitioner: str
    organisation: str
    organisation_name: str = ""
    code: str = ""
    title: str = ""
    rate: Decimal = Decimal(1)
    kind: Employment = Employment.MAIN
    since: date | None = None
    until: date | None = None
    away_from: date | None = None
    """First day of the present or next absence."""
    away_until: date | None = None
    hours: tuple[Hours, ...] = ()
    is_active: bool = True


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person's file: the WHO minimum data set of the health workforce as the records hold it."""

    id: str
    name: str
    sex: str = ""
    born: date | None = None
    citizenship: str = ""
    pinfl: str = ""
    argos: str = ""
    phones: tuple[str, ...] = ()
    address: str = ""
    languages: tuple[str, ...] = ()
    held: tuple[Held, ...] = ()
    is_active: bool = True


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the list of staff."""

    practitioner: str
    role: str
    name: str
    organisation: str
    organisation_name: str
    post_code: str
    title: str
    rate: Decimal
    kind: str
    since: date | None
    away_until: date | None
    certificate_until: date | None
    category_until: date | None
    licence_until: date | None
    born: date | None
    is_certified: bool
    """Practised under a certificate."""


class Expiry(msgspec.Struct, frozen=True, kw_only=True):
    """Something of somebody that runs out; `days` is negative where it has."""

    practitioner: str
    name: str
    organisation_name: str
    title: str
    kind: Kind
    until: date
    days: int
    stage: int
    """90, 30, 7, or 0 where it has run out."""


class Vacancy(msgspec.Struct, frozen=True, kw_only=True):
    """One post of a staffing table: how many rates there should be and are."""

    post_code: str
    title: str
    norm: Decimal
    filled: Decimal
    people: int
    is_draft: bool
    source: str = ""

    @property
    def open(self) -> Decimal:
        """Rates without a holder, never negative."""
        return max(self.norm - self.filled, Decimal(0))

    @property
    def over(self) -> Decimal:
        """Rates beyond the norm."""
        return max(self.filled - self.norm, Decimal(0))


class Clash(msgspec.Struct, frozen=True):
    """Hours of two posts at different institutions that meet."""

    first: str
    second: str
    day: int
    start_minute: int
    end_minute: int


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """A person with too many rates, or in two places at once."""

    practitioner: str
    name: str
    rates: Decimal
    posts: tuple[Post, ...]
    clashes: tuple[Clash, ...] = ()
    is_over: bool = False
    """More than the most rates that one person may hold."""


class Direction(StrEnum):
    """What somebody does, as the records show it."""

    VISITS = "visits"
    PRESCRIPTIONS = "prescriptions"
    RESULTS = "results"
    SIGNED = "signed"


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What one person did in a month against the norm of the post."""

    practitioner: str
    name: str
    title: str
    rate: Decimal
    counts: dict[str, int]
    norm_visits: int | None = None
    """Visits that the norm of the post expects in these days at this rate; None without norm."""

    @property
    def percent(self) -> int | None:
        """Visits against the norm in per cent."""
        if not self.norm_visits:
            return None
        return round(self.counts.get(Direction.VISITS, 0) * 100 / self.norm_visits)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the ledger of orders."""

    number: int
    act: Act
    practitioner: str
    role: str
    organisation: str
    effective: date
    until: date | None
    paper: str
    """Number of the order on paper."""
    words: str
    detail: dict[str, str]
    maker: str
    made: datetime
    applied: datetime | None


class RegionTotal(msgspec.Struct, frozen=True, kw_only=True):
    """Staff of a region."""

    region: str
    institutions: int
    people: int
    posts: int
    rates: Decimal
    doctors: Decimal
    """Rates of doctors."""
    nurses: Decimal
    away: int
    expiring: int
    """People with a certificate that ends within 90 days or has ended."""
    vacancies: Decimal | None = None
    """Rates without a holder, where institutions have staffing tables."""


class ForecastYear(msgspec.Struct, frozen=True, kw_only=True):
    """Who reaches the age of pension in a year."""

    year: int
    people: int
    doctors: int
    nurses: int
