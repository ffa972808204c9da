"""What the register of medicines is made of: INN, preparation (INN + form + strength), product."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec


class Inn(msgspec.Struct, frozen=True, kw_only=True):
    """One international non-proprietary name (or a fixed combination of them)."""

    key: str
    """Lower-case English name, the key of tables and addresses: "amoxicillin"."""
    code: str
    """Code in the national system `inn-medication-name-cs`; "" where the list does not have it."""
    uz: str
    ru: str
    en: str

    def name(self, language: str) -> str:
        """The name in uz, ru or en; another language gets the Uzbek Latin one."""
        return {"ru": self.ru, "en": self.en}.get(language, self.uz)

    @property
    def components(self) -> tuple[str, ...]:
        """Keys of the single INNs: a fixed combination has several."""
        return tuple(self.key.split("+"))


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A pharmaceutical form with its route, unit of presentation and unit of a dose."""

    key: str
    """ "tablet", "suspension", "ampoule" ..."""
    code: str
    """Code in the national list of dose forms; "" where none fits."""
    route: str
    """Key of the usual route: oral, rectal, vaginal, inhalation, parenteral, ..."""
    unit: str
    """Unit of presentation, in which quantities are counted: tablet, bottle, ampoule ..."""
    dose_unit: str
    """Unit of one dose: tablet, ml, drop, puff, application ..."""
    uz: str
    ru: str
    en: str

    def name(self, language: str) -> str:
        """The name in uz, ru or en; another language gets the Uzbek Latin one."""
        return {"ru": self.ru, "en": self.en}.get(language, self.uz)


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """INN + form + strength: what a doctor prescribes; any product of it may be handed over."""

    key: str
    """ "amoxicillin-capsule-500mg": stable, used in addresses and drafts."""
    inn: Inn
    form: Form
    atc: str
    """ATC code of level 5."""
    strength: Decimal
    strength_unit: str
    """UCUM: mg, g, ug, [IU], % ..."""
    per: Decimal
    """Denominator of the strength: 1 (unit of presentation), 5 (mL) ..."""
    per_unit: str
    """UCUM: "1" for one unit of presentation, "mL", "g", "{puff}"."""
    strength_text: str
    """As a doctor writes it: "500 mg", "250 mg/5 ml", "875 mg + 125 mg"."""
    dose_per_unit: Decimal
    """How many dose units one unit of presentation holds: 1 tablet; 100 ml in a bottle."""
    prescription_only: bool
    antibiotic: bool
    default_dose: Decimal
    """A usual adult dose in dose units, to fill the line with; the doctor decides."""
    default_times: int
    """Usual times a day."""
    default_days: int
    """Usual duration."""

    def label(self, language: str) -> str:
        """INN, strength and form in one line: "Amoksitsillin 500 mg kapsula"."""
        from dmed.modules.medicines.rules import label

        return label(self, language)


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One registered pack on the market: trade name, maker, GTIN, pack size."""

    key: str
    """Registration number; also the id-safe key of its Medication: "nm-00017"."""
    gtin: str
    """GTIN-14."""
    trade: str
    maker: str
    registration: str
    preparation: Preparation
    pack_units: Decimal
    """Content of the pack in units of presentation (decisions 20)."""
    feed: str = ""
    """The feed that tells of it; "" for the starting catalogue."""
    stage: int = 0
    """Stage of the move to electronic prescriptions: 1, 2; 0 is none."""
    is_essential: bool = False
    """On the national list of essential medicines, as the feed says."""
    price_ceiling: Decimal | None = None
    """Highest retail price of the pack, in UZS."""
    shelf_months: int = 0
    """Shelf life; 0 is unknown."""
    registered_from: str = ""
    """First day of the registration certificate, YYYY-MM-DD."""
    registered_until: str = ""
    """Last day of it; "" is without end."""
    ikpu: str = ""
    """Class code of goods and services (IKPU)."""
    uzpharm: str = ""
    """Number in the agency's register."""
    box_group: str = ""
    """Group of boxes in the agency's register."""


class MedicineHit(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the search as you type: a preparation, and by what it was found."""

    preparation: Preparation
    label: str
    """In the reader's language, ready to show."""
    matched: str
    """The text that matched: an INN, a trade name or an ATC code."""
    trades: tuple[str, ...]
    """Trade names on the market with this INN, form and strength."""
    packs: tuple[Decimal, ...]
    """Pack sizes on the market, smallest first, in units of presentation."""
    score: Decimal
    """0..1, higher is nearer."""


class Strength(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of one active substance a medicine holds: value and unit in per and unit."""

    substance: str
    """Name as the feed gives it."""
    inn: str = ""
    """Key of our INN; "" where no link is certain."""
    value: Decimal | None = None
    unit: str = ""
    per: Decimal | None = None
    per_unit: str = ""
    text: str = ""
    """As the feed writes it, where it is no quantity."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of a register as it was delivered and found good: a pack, or a product without one.

    The same entry has the same bytes, so that a digest tells whether it changed.
    """

    key: str
    """The feed's own key of the row."""
    product: str
    """Key of the product that the pack is of."""
    trade: str
    maker: str
    form: str
    """Key of our form; else the feed's own words."""
    form_text: str
    strengths: tuple[Strength, ...]
    strength_text: str = ""
    preparation: str = ""
    """Key of the preparation; "" where INN, form or strength are not certain."""
    gtin: str = ""
    registration: str = ""
    atc: str = ""
    routes: tuple[str, ...] = ()
    pack_text: str = ""
    pack_units: Decimal | None = None
    dose_per_unit: Decimal = Decimal(1)
    prescription_only: bool = True
    stage: int = 0
    is_essential: bool = False
    price_ceiling: Decimal | None = None
    currency: str = ""
    shelf_months: int = 0
    registered_from: str = ""
    registered_until: str = ""
    ikpu: str = ""
    uzpharm: str = ""
    box_group: str = ""
    is_withdrawn: bool = False
    """A delta says that the row is no longer registered."""
    notes: tuple[str, ...] = ()
    """What the reader repaired or could not read, by code."""


class Rejected(msgspec.Struct, frozen=True):
    """A row that was put aside, why, and as it came."""

    place: int
    key: str
    reason: str
    """Code of the reason, with a text in the locale: medicines.reason.<code>."""
    words: str
    """The value at fault."""
    raw: str


class Link(msgspec.Struct, frozen=True):
    """A substance that a feed names and no INN of ours certainly is: for a person to decide."""

    name: str
    rows: int
    inn: str = ""


class State(StrEnum):
    """Where a delivery stands."""

    STAGING = "staging"
    HELD = "held"
    PUBLISHED = "published"
    REFUSED = "refused"
    EMPTY = "empty"
    """It changed nothing."""


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """Where a register comes from and how fresh it is."""

    name: str
    is_national: bool
    """Its entries are what is prescribed here; another feed is kept for reference."""
    mark: str = ""
    """Of the last delivery that was taken (its ETag)."""
    as_of: datetime | None = None
    """Until when the last published delivery tells."""
    asked: datetime | None = None
    reached: datetime | None = None
    """When it last gave an answer that could be used."""
    fault: str = ""
    entries: int = 0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of a feed and what became of it."""

    number: int
    feed: str
    mark: str
    mode: str
    """ "full": what is missing is withdrawn; "delta": only what it says."""
    as_of: datetime
    effective: datetime
    state: State
    started: datetime
    ended: datetime | None = None
    pages: int = 0
    pages_done: int = 0
    rows: int = 0
    rows_told: int = 0
    rejected: int = 0
    duplicates: int = 0
    added: int = 0
    changed: int = 0
    withdrawn: int = 0
    unchanged: int = 0
    reasons: tuple[str, ...] = ()
    notes: dict[str, int] = msgspec.field(default_factory=dict)
    """What was repaired or is missing, by code, and how often."""
    fault: str = ""
    version: int | None = None
    approver: str = ""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A published version of a register."""

    number: int
    feed: str
    delivery: int
    published: datetime
    effective: datetime
    added: int
    changed: int
    withdrawn: int


class ChangeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a version's diff: what an entry was and is; None where there is none."""

    key: str
    before: Entry | None
    after: Entry | None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a delivery says of itself before its pages."""

    mark: str
    mode: str
    as_of: datetime
    pages: int
    rows: int
    effective: datetime | None = None


class Page(msgspec.Struct, frozen=True):
    """The rows of one page; a row that is no row of the feed at all stands in `broken`."""

    rows: tuple[tuple[int, dict[str, str]], ...]
    """(place in the delivery, cells by name)."""
    broken: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()
