"""What the person index speaks of: persons found, near matches, the card, facts for checks."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec

from dmed.kit.errors import ConflictError


class Finding(msgspec.Struct, frozen=True):
    """One thing to say of a draft: `key` and `values` are translated; a warning may be passed."""

    key: str
    field: str
    """Field of the draft it is about."""
    severity: str = "error"
    """"error" stops, "warning" asks to look again."""
    values: dict[str, str] = {}


class PersonHit(msgspec.Struct, frozen=True, kw_only=True):
    """One person in a list of persons found, ready to show."""

    id: str
    name: str
    """Full name in the script in which it was first written."""
    name_other: str = ""
    """Full name in another script, where the record has it."""
    birth_date: str = ""
    """FHIR date: YYYY, YYYY-MM or YYYY-MM-DD."""
    sex: str = ""
    """FHIR administrative gender."""
    med_id: str = ""
    """Thirteen digits in groups of four, as shown."""
    pinfl: str = ""
    """Masked but for the last four digits."""
    phone: str = ""
    """Masked in the middle."""
    address: str = ""
    organisation: str = ""
    """Clinic to which the person is attached."""
    active: bool = True
    found_by: str = ""
    """"pinfl", "medid", "phone" or "name"."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A person about to be registered, as typed."""

    family: str
    given: str
    patronymic: str = ""
    birth_date: str = ""
    """YYYY-MM-DD; empty: taken from the PINFL."""
    sex: str = ""
    """male or female; empty: taken from the PINFL."""
    pinfl: str = ""
    is_pinfl_unverified: bool = False
    """Keep the PINFL as an unverified number although another card holds it."""
    phone: str = ""
    region: str = ""
    """Code of states-cs: "1726"."""
    district: str = ""
    """Code of regions-cs: "1726266"."""
    address_line: str = ""
    language: str = "uz"
    category: str = ""
    """"": a person known by name; "newborn", "unknown" or "foreigner" (CATEGORIES)."""
    mother: str = ""
    """Of a newborn: id of the mother's Patient."""
    birth_order: str = ""
    """Of several born together: 1, 2, 3..."""
    document_kind: str = ""
    """Code of rules.documents.CHOSEN: "passport", "passport-foreign"..."""
    document: str = ""
    country: str = ""
    """Two letters: of the citizenship and of a foreign document; "" is Uzbekistan."""


CATEGORIES = ("", "newborn", "unknown", "foreigner")


class Span(msgspec.Struct, frozen=True):
    """A stretch of text; `is_different` letters are to be marked."""

    text: str
    is_different: bool = False


class FieldPair(msgspec.Struct, frozen=True):
    """One field of two persons side by side, each cut into spans."""

    field: str
    """"family", "given", "patronymic", "birth_date", "sex", "pinfl", "phone" or "address"."""
    draft: tuple[Span, ...]
    record: tuple[Span, ...]
    verdict: str
    """"same", "alike", "different" or "unknown" (one side has nothing)."""
    weight: Decimal = Decimal(0)
    """How far the pair speaks for one person (above zero) or for two."""


class NearMatch(msgspec.Struct, frozen=True):
    """A card that may be the same person's, strongest first in lists."""

    hit: PersonHit
    weight: Decimal
    fields: tuple[FieldPair, ...]
    is_certain: bool = False
    """The official number is the same: it is this person or the number is wrong."""


class NumberHeldError(ConflictError):
    """The official number stands on another active card, which `holder` shows."""

    def __init__(self, holder: PersonHit) -> None:
        super().__init__(f"this PINFL stands on the active card Patient/{holder.id}",
                         "Patient.identifier")
        self.holder = holder


class NearMatchesError(ConflictError):
    """There are near matches the registrar has not put aside; `matches` shows them."""

    def __init__(self, matches: list[NearMatch]) -> None:
        ids = ", ".join(f"Patient/{match.hit.id}" for match in matches)
        super().__init__(f"near matches not yet looked at: {ids}", "Patient")
        self.matches = matches


class NewAllergy(msgspec.Struct, frozen=True, kw_only=True):
    """An allergy or intolerance to be written down."""

    text: str
    """What to: "Penitsillin"."""
    inn: str = ""
    """International nonproprietary name, if it is one medicine."""
    atc: str = ""
    """ATC code of the medicine (J01CA04) or of its group (J01C): what prescribing checks."""
    criticality: str = "high"
    """FHIR: low, high or unable-to-assess."""
    reaction: str = ""
    """Manifestation in words: "anafilaksiya"."""
    severity: str = ""
    """FHIR: mild, moderate or severe."""
    onset: str = ""
    """FHIR date of the first reaction."""
    category: str = "medication"


class AllergyFact(msgspec.Struct, frozen=True, kw_only=True):
    """An active allergy, as prescription checks and the banner need it."""

    id: str
    text: str
    inn: str = ""
    atc: str = ""
    """Full code or group prefix; a medicine is hit if its code starts with it."""
    criticality: str = ""
    severity: str = ""
    reaction: str = ""
    since: str = ""
    category: str = ""


class DiagnosisFact(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnosis of the problem list."""

    id: str
    code: str
    """ICD-10."""
    text: str
    since: str = ""
    status: str = "active"
    """FHIR condition-clinical."""
    kind: str = ""
    """Code of diagnosis-type-cs: gencl-0001-00003 is the main one."""
    author: str = ""


class MedicineFact(msgspec.Struct, frozen=True, kw_only=True):
    """A medicine the person takes now by an active or running prescription."""

    id: str
    """Id of the MedicationRequest."""
    inn: str
    atc: str
    text: str
    """INN, strength and form in one line."""
    dose: str = ""
    since: str = ""
    until: str = ""
    status: str = ""
    prescriber: str = ""


class PersonFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules of prescribing read of a person, all of it at one moment."""

    id: str
    age_days: int
    """Whole days since birth; -1 if unknown."""
    age_years: int
    """Whole years; -1 if unknown."""
    sex: str
    allergies: tuple[AllergyFact, ...] = ()
    pregnancy_weeks: int | None = None
    """Completed weeks today; None: not known to be pregnant."""
    is_breastfeeding: bool = False
    weight_kg: Decimal | None = None
    weight_on: str = ""
    egfr: Decimal | None = None
    """Kidney function in mL/min/1.73 m2, measured or estimated within a year."""
    egfr_on: str = ""
    diagnoses: tuple[DiagnosisFact, ...] = ()
    medicines: tuple[MedicineFact, ...] = ()


class Banner(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is and what must not be missed: the head of every page about a person."""

    id: str
    name: str
    """In the script of the reader."""
    birth_date: str
    age_years: int
    age_months: int
    """Months beyond the whole years: shown for small children."""
    sex: str
    med_id: str
    pinfl: str
    """Masked but for the last four digits."""
    is_pinfl_verified: bool
    phone: str
    address: str
    organisation: str
    pregnancy_weeks: int | None
    allergies: tuple[AllergyFact, ...]
    is_active: bool = True
    is_deceased: bool = False
    replaced_by: str = ""
    """Id of the surviving card after a merge."""


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One encounter."""

    id: str
    when: str
    kind: str
    """FHIR class: AMB, HH, IMP, EMER, VR."""
    organisation: str = ""
    doctor: str = ""
    reason: str = ""


class Pinfl(msgspec.Struct, frozen=True):
    """A well-formed PINFL, read: `is_check_right` false is a warning, not an error."""

    value: str
    birth_date: date
    sex: str
    area: str
    serial: str
    is_check_right: bool
