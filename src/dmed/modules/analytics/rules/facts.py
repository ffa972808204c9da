"""From a record to the fact that counts: pure functions over plain dicts.

https://hl7.org/fhir/R5/medicationrequest.html, medicationdispense.html, detectedissue.html
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from dmed.kit.clock import TASHKENT
from dmed.modules.analytics.model import (
    Fact,
    Fill,
    House,
    Illness,
    Item,
    Kept,
    Override,
    Person,
    Post,
)
from dmed.modules.medicines import api as medicines

TYPES = ("Condition", "DetectedIssue", "MedicationDispense", "MedicationRequest", "Organization",
         "Patient", "PractitionerRole")
COUNTED = frozenset({"active", "on-hold", "ended", "stopped", "completed"})
"""Statuses of a MedicationRequest that was really prescribed: no draft, mistake or cancellation."""
_ATC = "http://www.whocc.no/atc"
_ICD = "http://hl7.org/fhir/sid/icd-10"
_ALERTS = "https://dhp.uz/fhir/core/CodeSystem/prescription-alert"
_PRODUCTS = ("https://mobile-api.aslbelgisi.uz/gtin",)
_INJECTED = frozenset({"parenteral", "intravenous", "intramuscular", "subcutaneous"})
_FAR = date(9999, 12, 31)


def kept(record: dict[str, Any]) -> Kept | None:
    """The fact of a record, or None for one that does not count (any more)."""
    type_ = record["resourceType"]
    patient = record["id"] if type_ == "Patient" else _patient(record)
    fact = _MADE[type_](record)
    if fact is None or (not patient and not isinstance(fact, Post | House)):
        return None
    return Kept(type=type_, id=record["id"], fact=fact,
                patient="" if isinstance(fact, Post | House) else patient)


def _patient(record: dict[str, Any]) -> str:
    reference = str((record.get("subject") or {}).get("reference", ""))
    return reference.removeprefix("Patient/") if reference.startswith("Patient/") else ""


def _id(reference: dict[str, Any] | None, type_: str) -> str:
    """The id of a reference to this type, or ""."""
    text = str((reference or {}).get("reference", ""))
    return text.rpartition("/")[2] if text.startswith(f"{type_}/") else ""


def _moment(text: str) -> datetime | None:
    """The moment of a FHIR dateTime in Tashkent; a day alone means its noon; None for neither."""
    if "T" in text:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=TASHKENT)).astimezone(TASHKENT)
    day = _day(text)
    return None if day is None else datetime(day.year, day.month, day.day, 12, tzinfo=TASHKENT)


def _day(text: str) -> date | None:
    if "T" in text:
        found = _moment(text)
        return None if found is None else found.date()
    return date.fromisoformat((text + "-01-01")[:10]) if len(text) >= 4 else None


def _item(record: dict[str, Any]) -> Fact | None:
    medication = record.get("medication") or {}
    written = _moment(str(record.get("authoredOn", "")))
    prescriber = _id(record.get("requester"), "PractitionerRole")
    if record.get("status") not in COUNTED or not prescriber or written is None:
        return None
    found = medicines.preparation_of(medication, written)
    atc = found.atc if found else _code(medication.get("concept") or {}, _ATC)
    period = record.get("effectiveDosePeriod") or {}
    starts = _day(str(period.get("start", ""))) or written.date()
    ends = _day(str(period.get("end", ""))) or starts + timedelta(days=_supply(record))
    return Item(
        prescriber=prescriber, group=_group(record), moment=written, atc=atc,
        preparation=found.key if found else atc, icd=_reason(record),
        starts=starts, ends=ends,
        is_injection=bool(found and found.form.route in _INJECTED),
        is_by_name="reference" not in medication)


def _group(record: dict[str, Any]) -> str:
    return str((record.get("groupIdentifier") or {}).get("value", "")) or str(record["id"])


def _supply(record: dict[str, Any]) -> int:
    supply = (record.get("dispenseRequest") or {}).get("expectedSupplyDuration") or {}
    return int(supply["value"]) if supply.get("code") == "d" and "value" in supply else 0


def _reason(record: dict[str, Any]) -> str:
    for reason in record.get("reason") or ():
        code = _code(reason.get("concept") or {}, _ICD)
        if code:
            return code
    return ""


def _code(concept: dict[str, Any], system: str) -> str:
    return next((str(coding.get("code", "")) for coding in concept.get("coding") or ()
                 if str(coding.get("system", "")).startswith(system)), "")


def _fill(record: dict[str, Any]) -> Fact | None:
    if record.get("status") != "completed":
        return None
    request = next((id_ for one in record.get("authorizingPrescription") or ()
                    if (id_ := _id(one, "MedicationRequest"))), "")
    pharmacy = next((id_ for one in record.get("performer") or ()
                     if (id_ := _id(one.get("actor"), "Organization"))), "")
    moment = _moment(str(record.get("whenHandedOver") or record.get("recorded") or ""))
    if not request or moment is None:
        return None
    return Fill(request=request, pharmacy=pharmacy, moment=moment, product=_product(record))


def _product(record: dict[str, Any]) -> str:
    for contained in record.get("contained") or ():
        for identifier in contained.get("identifier") or ():
            if identifier.get("system") in _PRODUCTS:
                found = medicines.product_or_none(str(identifier.get("value", "")))
                return found.trade if found else str(identifier.get("value", ""))
    return _id((record.get("medication") or {}).get("reference"), "Medication")


def _override(record: dict[str, Any]) -> Fact | None:
    request = next((id_ for one in record.get("implicated") or ()
                    if (id_ := _id(one, "MedicationRequest"))), "")
    rule = _code(record.get("code") or {}, _ALERTS)
    if record.get("status") != "mitigated" or not request or not rule:
        return None
    return Override(request=request, rule=rule)


def _illness(record: dict[str, Any]) -> Fact | None:
    icd = _code(record.get("code") or {}, _ICD)
    wrong = _any_code(record.get("verificationStatus") or {}, {"entered-in-error", "refuted"})
    if not icd or wrong:
        return None
    starts = _day(str(record.get("onsetDateTime") or record.get("recordedDate") or "")) or date.min
    return Illness(icd=icd, starts=starts,
                   ends=_day(str(record.get("abatementDateTime", ""))) or _FAR)


def _any_code(concept: dict[str, Any], wanted: set[str]) -> bool:
    return any(coding.get("code") in wanted for coding in concept.get("coding") or ())


def _person(record: dict[str, Any]) -> Fact | None:
    born = _day(str(record.get("birthDate", "")))
    return None if born is None else Person(born=born)


def _post(record: dict[str, Any]) -> Fact | None:
    practitioner = record.get("practitioner") or {}
    codings = [coding for one in record.get("code") or () for coding in one.get("coding") or ()]
    code: dict[str, Any] = next(iter(codings), {})
    title = next((str(one["text"]) for one in record.get("code") or () if one.get("text")),
                 str(code.get("display", "")))
    return Post(
        practitioner=_id(practitioner, "Practitioner"), name=str(practitioner.get("display", "")),
        organisation=_id(record.get("organization"), "Organization"),
        specialty=str(code.get("code", "")) or title, title=title)


def _house(record: dict[str, Any]) -> Fact | None:
    contact: dict[str, Any] = next(iter(record.get("contact") or ()), {})
    address = contact.get("address") or {}
    codes = {str(coding.get("code", "")) for one in record.get("type") or ()
             for coding in one.get("coding") or ()}
    return House(
        name=str(record.get("name", "")), region=str(address.get("state", "")),
        district=str(address.get("district", "")),
        kind=" ".join(sorted(code for code in codes if code.startswith(("I_", "II_")))),
        parent=_id(record.get("partOf"), "Organization"))


_MADE = {"Condition": _illness, "DetectedIssue": _override, "MedicationDispense": _fill,
         "MedicationRequest": _item, "Organization": _house, "Patient": _person,
         "PractitionerRole": _post}
