"""What the register of medicines is made of: INN, preparation (INN + form + strength), product."""

from __future__ import annotations

from decimal import Decimal

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
