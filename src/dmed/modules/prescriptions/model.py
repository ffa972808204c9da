"""Prescriptions: drafts, alerts, items and their states (shared design, eprescription B2)."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import msgspec


class Tier(StrEnum):
    """How strongly a check speaks (decisions 23)."""

    STOP = "stop"
    """No way on: the draft cannot be signed."""
    INTERRUPT = "interrupt"
    """A coded reason leads on; it travels with the prescription."""
    PASSIVE = "passive"
    """Shown beside the line, nothing to answer."""


class Reason(msgspec.Struct, frozen=True):
    """A sentence for people: a locale key ("prescriptions.alert.allergy") and its values."""

    key: str
    values: dict[str, str] = {}
    """Values that are medicines are INN keys in "...inn" names; the rest is ready to show."""


class Finding(msgspec.Struct, frozen=True):
    """One reason of a judgement: for people by its locale key, and in English."""

    reason: Reason
    sentence: str


def reason_key(rule: str) -> str:
    """The locale key of a rule's sentence; all pairs of interactions share one."""
    kind = "interaction" if rule.startswith("interaction-") else rule
    return f"prescriptions.alert.{kind.replace('-', '_')}"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of a check."""

    rule: str
    """Id of the rule: "allergy-inn". Key of `DraftItem.overrides`."""
    tier: Tier
    reason: Reason
    item: int = -1
    """Index of the draft's item, or -1 for the whole prescription."""
    owner: str = ""
    """Who answers for the rule's table."""
    version: str = ""
    source: str = ""
    is_draft: bool = False
    """The table waits for a clinician's approval."""
    override: str = ""
    """The coded reason already given by the doctor; "" if none yet."""
    sentence: str = ""
    """The same in English, for API answers."""


OVERRIDE_REASONS = (
    "benefit-outweighs",
    "tolerated-before",
    "dose-adjusted",
    "monitoring-arranged",
    "no-alternative",
    "record-wrong",
    "palliative",
)
"""Coded reasons for an interrupting alert; texts under `prescriptions.override.<code>`."""

CANCEL_REASONS = (
    "prescribing-error",
    "contraindicated",
    "regimen-changed",
    "patient-request",
    "patient-died",
    "corrected",
    "other",
)
"""Coded reasons of a cancellation; texts under `prescriptions.cancel.<code>`."""

HOLD_REASONS = ("recall", "suspected-fraud", "shortage", "other")
"""Coded reasons of a hold; texts under `prescriptions.hold.<code>`."""

TIMINGS = ("", "before-meal", "with-meal", "after-meal", "morning", "night")
"""When to take; texts under `prescriptions.timing.<code>`."""


INN_EXCEPTIONS = ("combination", "narrow-index", "potent", "reimbursement", "commission",
                  "availability")  # fmt: skip  # One list.
"""Why a product is named instead of its INN; texts under `prescriptions.exception.<code>`."""

PAPER_REASONS = ("no-network", "no-power", "platform-down", "home-visit", "emergency")
"""Why a prescription was written on paper; texts under `prescriptions.paper.<code>`."""

OFFLINE_REASON = "offline"
"""Written and signed on a doctor's computer without a network: its number is one of that computer,
not of a form; text `prescriptions.paper.offline`."""

ITEMS_MAX = 5
ITEMS_COMMISSION_MAX = 10
"""Names on one prescription, and as many as a commission may decide (the law says "more")."""


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """The form of paper that a prescription was first written on."""

    number: str
    """The number that was printed on it."""
    written: datetime
    """When the doctor wrote it, as the form says."""
    reason: str
    """A code of PAPER_REASONS, or OFFLINE_REASON."""


class Unregistered(msgspec.Struct, frozen=True, kw_only=True):
    """A medicine that is not in the register, as the doctor states it, and the decision of a
    commission by which one person may have it.
    """

    inn: str
    """Name as the doctor writes it; a name of our list in any language is found there."""
    form: str
    """Key of a pharmaceutical form of the national list."""
    strength: str
    """ "12 mg/5 ml"."""
    decision: str
    """Number of the commission's decision."""
    atc: str = ""
    """ATC code of level 5, where the doctor knows one."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A commission's decision that one person may have an unregistered medicine."""

    id: str
    """Id of its DocumentReference."""
    number: str
    decided: date
    """The day of the decision."""
    council: str
    """Which commission decided, in words."""
    chair: str
    """Who presided over it, in words."""
    organisation: str
    """Id of the institution whose head entered it."""
    organisation_name: str
    patient: str
    """Id of the Patient."""
    inn: str
    valid_until: date
    """Last day on which a prescription may be signed by it and a pack handed over."""
    entered: datetime
    withdrawn: datetime | None = None


class DraftItem(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a draft. Zero or empty means "not filled in yet"."""

    preparation: str = ""
    """Key of a preparation of the module medicines; of an unregistered medicine its own key."""
    unregistered: Unregistered | None = None
    """What is prescribed without an entry of the register."""
    dose: Decimal = Decimal(0)
    """One dose, in the form's dose unit (tablets, ml)."""
    times_per_day: int = 0
    duration_days: int = 0
    quantity: Decimal = Decimal(0)
    """In units of presentation; 0: derived from dose, times and duration."""
    timing: str = ""
    """One of TIMINGS."""
    as_needed: bool = False
    diagnosis: str = ""
    """ICD-10 code of this line; "": that of the draft."""
    product: str = ""
    """Key of the product where the trade name is prescribed; "": any product of the INN."""
    exception: str = ""
    """Why the INN is not enough: a code of INN_EXCEPTIONS."""
    note: str = ""
    overrides: dict[str, str] = {}
    """Rule id -> code of OVERRIDE_REASONS."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A prescription being written: autosaved, private to its doctor, never a clinical fact."""

    id: str = ""
    """"" before it is first saved."""
    patient: str = ""
    """Id of the Patient."""
    diagnosis: str = ""
    """ICD-10 code."""
    items: tuple[DraftItem, ...] = ()
    validity_class: str = ""
    """Key of the validity table; "": chosen by the strictest item."""
    trustee: str = ""
    """Name of a relative who may collect, as the doctor was told; "" nobody."""
    replaces: str = ""
    """Number of the prescription that this draft corrects."""
    replaces_item: int = 0
    """The one item that it stands for, at a pharmacist's proposal; 0: the whole prescription."""
    commission: str = ""
    """Number and day of the commission's decision that allows more than five names."""
    paper: Paper | None = None
    """The form of paper that this draft is typed in from."""
    repeats: int = 1
    """How often the course is handed over in all, one after the other (1: no repeat)."""
    start: date | None = None
    """First day on which it may be handed over; None: the day of signing."""
    updated: datetime | None = None


class ItemState(StrEnum):
    """Task.businessStatus of one item; texts under `prescriptions.state.<value>`."""

    DRAFT = "draft"
    DRAFT_EXPIRED = "draft-expired"
    FUTURE = "future"
    TO_BE_DISPENSED = "to-be-dispensed"
    WITH_PHARMACY = "with-pharmacy"
    PART_DISPENSED = "part-dispensed"
    DISPENSED = "dispensed"
    CLOSED_PART = "closed-part"
    NOT_DISPENSED = "not-dispensed"
    CANCEL_REQUESTED = "cancel-requested"
    CANCELLED = "cancelled"
    ON_HOLD = "on-hold"
    EXPIRED = "expired"
    CLAIMED = "claimed"
    """For payment by the insurance."""
    PAID = "paid"
    REFUSED = "refused"
    UNDONE = "undone"
    ENTERED_IN_ERROR = "entered-in-error"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a signed prescription, as it stands now."""

    number: int
    """1..5 within the prescription."""
    request: str
    """Id of its MedicationRequest."""
    task: str
    """Id of its Task."""
    preparation: str
    """Key of the preparation; "" for an item that came in by plain FHIR and names none of ours."""
    label: dict[str, str]
    """INN, strength and form in uz, ru, en."""
    dosage: dict[str, str]
    """The dose line in uz, ru, en: "1 kapsuladan kuniga 3 mahal, 7 kun"."""
    dose: Decimal
    times_per_day: int
    duration_days: int
    unit: str
    """Unit of presentation of the quantity."""
    quantity: Decimal
    """Authorised."""
    dispensed: Decimal
    state: ItemState
    status: str
    """MedicationRequest.status: active, completed, stopped, cancelled, entered-in-error."""
    diagnosis: str
    holder: str = ""
    """Id of the pharmacy Organization that claimed it."""
    holder_name: str = ""
    lease_until: datetime | None = None
    alerts: tuple[Alert, ...] = ()
    """Interrupting alerts that the doctor passed, with the coded reasons."""
    note: str = ""
    instance: int = 1
    """Which repeat is open, of `instances`; quantities are of one."""
    instances: int = 1
    starts: date | None = None
    """First day of the open repeat."""
    product: str = ""
    """Key of the product where the trade name was prescribed; "": any product of the INN."""
    unregistered: Unregistered | None = None
    """What was prescribed by a commission's decision without an entry of the register."""
    reason: str = ""
    """Code of why it is on hold, cancelled or returned; "" if none is known."""
    vid: int = 0
    """Version of the Task, for compare-and-set."""
    fund_percent: Decimal = Decimal(0)
    """What the insurance fund pays of its price; 0 where no insurance pays for it."""

    @property
    def remaining(self) -> Decimal:
        """What may still be handed over, in units of presentation; never below zero."""
        return max(Decimal(0), self.quantity - self.dispensed)


class Prescription(msgspec.Struct, frozen=True, kw_only=True):
    """A signed prescription: one number, one code, one to five items."""

    number: str
    """13 digits; show it with `prescriptions.api.show_number`: 1726-0048-2215-9."""
    patient: str
    patient_name: str
    patient_birth_date: str
    """FHIR date, or ""."""
    prescriber: str
    """Id of the PractitionerRole."""
    prescriber_name: str
    organisation: str
    organisation_name: str
    signed: datetime
    valid_until: date
    """Last day on which it may be dispensed (to local midnight)."""
    diagnosis: str
    items: tuple[Item, ...]
    code: str = ""
    """Access code; only in the answer to `sign` and for whoever may print the slip."""
    replaces: str = ""
    trustee: str = ""
    commission: str = ""
    """The decision that allowed more than five names."""
    paper: Paper | None = None
    """Where it was typed in from paper; `signed` is then the day on the paper."""

    @property
    def is_open(self) -> bool:
        """Whether any item may still be handed over."""
        return any(item.status == "active" for item in self.items)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """One ICD-10 code with short names of our own (draft until a clinician approves)."""

    code: str
    uz: str
    ru: str
    en: str
    is_viral: bool = False
    """An antibiotic needs a reason here."""

    def name(self, language: str) -> str:
        """The name in uz, ru or en; another language gets the Uzbek Latin one."""
        return {"ru": self.ru, "en": self.en}.get(language, self.uz)
