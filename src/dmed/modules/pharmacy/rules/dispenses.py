"""A hand-over as FHIR, and back: pure functions over plain dicts.

MedicationDispense: https://hl7.org/fhir/R5/medicationdispense.html. The national profile has no
place for series, expiry and marking, which the law wants: they stand in a contained Medication
(national-standard.md 10.11).
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from dmed.kit.clock import TASHKENT
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.model import Handover, ScannedPack
from dmed.modules.pharmacy.rules.gs1 import Code, read
from dmed.modules.pharmacy.rules.prices import EXTENSION, Charge, extension, in_record
from dmed.modules.prescriptions import api as prescriptions

PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-medication-dispense"
GTIN_SYSTEM = "https://mobile-api.aslbelgisi.uz/gtin"
MARKING_SYSTEM = "https://mobile-api.aslbelgisi.uz/marking"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/medicationdispense-admin-location"
_LANGUAGES = ("uz", "ru", "en")


def moment(value: datetime) -> str:
    """A FHIR dateTime of the second with the zone of Tashkent."""
    return value.astimezone(TASHKENT).isoformat(timespec="seconds")


def dispense_of(
    request: dict[str, Any],
    item: int,
    number: str,
    product: medicines.Product | None,
    pack: ScannedPack,
    *,
    performer: str,
    performer_name: str,
    pharmacy: str,
    pharmacy_name: str,
    at: datetime,
    receiver: str = "",
    base: dict[str, Any] | None = None,
    charge: Charge | None = None,
) -> dict[str, Any]:
    """The completed MedicationDispense of one pack (or a part of it). `base`: a posted resource
    whose further content is kept; `charge`: what it costs, None where that is not known;
    `product`: None for a pack outside the register, which a commission's decision allowed.
    """
    resource: dict[str, Any] = dict(base or {})
    resource.pop("id", None)
    contained = _contained(request, product, pack)
    concept = (medicines.medication(product.preparation.key)["concept"] if product
               else request["medication"]["concept"])  # fmt: skip  # One choice.
    resource |= {
        "resourceType": "MedicationDispense",
        "meta": resource.get("meta") or {"profile": [PROFILE]},
        "contained": [contained],
        "status": "completed",
        "category": resource.get("category")
        or [{"coding": [{"system": _CATEGORY, "code": "outpatient"}]}],
        "medication": {"concept": concept, "reference": {"reference": "#pack"}},
        "subject": request["subject"],
        "performer": resource.get("performer")
        or _performers(performer, performer_name, pharmacy, pharmacy_name),
        "authorizingPrescription": [
            {"reference": f"MedicationRequest/{request['id']}",
             "display": f"{prescriptions.show_number(number)} / {item}"}
        ],
        "quantity": prescriptions.quantity_of_units(
            pack.quantity, preparation_in(request, product).form.unit),
        "recorded": moment(at),
        "whenPrepared": resource.get("whenPrepared") or moment(at),
        "whenHandedOver": resource.get("whenHandedOver") or moment(at),
        "receiver": resource.get("receiver") or [
            {"display": receiver} if receiver else dict(request["subject"])],
        "substitution": {"wasSubstituted": False},
    }  # fmt: skip  # Same.
    told = [each for each in resource.get("extension") or () if each.get("url") != EXTENSION]
    told += [extension(charge)] if charge else []
    resource.pop("extension", None)
    resource |= {"extension": told} if told else {}
    if request.get("dosageInstruction") and not resource.get("dosageInstruction"):
        resource["dosageInstruction"] = request["dosageInstruction"]
    return resource


def preparation_in(
    request: dict[str, Any], product: medicines.Product | None
) -> medicines.Preparation:
    """What is handed over: that of the product, or outside the register what was stated."""
    found = product.preparation if product else prescriptions.preparation_of(request)
    assert found is not None  # An item that is held names a medicine.
    return found


def name_of(record: dict[str, Any]) -> str:
    """How a MedicationDispense calls its medicine."""
    return str(((record.get("medication") or {}).get("concept") or {}).get("text", ""))


def _contained(
    request: dict[str, Any], product: medicines.Product | None, pack: ScannedPack
) -> dict[str, Any]:
    """The pack with its batch, expiry and, where it is registered, its identifiers."""
    batch = {
        **({"lotNumber": pack.lot} if pack.lot else {}),
        **({"expirationDate": pack.expiry.isoformat()} if pack.expiry else {}),
    }
    told = {"batch": batch} if batch else {}
    if product is None:
        concept = request["medication"]["concept"]
        text = f"{pack.trade}: {concept['text']}" if pack.trade else concept["text"]
        return {"resourceType": "Medication", "id": "pack", "status": "active",
                "code": {**concept, "text": text}, **told}  # fmt: skip  # One resource.
    medication = medicines.product_resource(product.key)
    return {
        **{name: medication[name] for name in ("resourceType", "code", "doseForm", "status",
                                               "marketingAuthorizationHolder")},
        "id": "pack",
        "identifier": [*medication["identifier"],
                       {"use": "official", "system": MARKING_SYSTEM, "value": pack.marking}],
        **told,
    }  # fmt: skip  # One nested resource.


def _performers(
    performer: str, performer_name: str, pharmacy: str, pharmacy_name: str
) -> list[dict[str, Any]]:
    found = []
    if performer:
        found.append({"actor": {"reference": f"PractitionerRole/{performer}",
                                "display": performer_name}})  # fmt: skip  # One reference.
    found.append({"actor": {"reference": f"Organization/{pharmacy}", "display": pharmacy_name}})
    return found


def pack_in(resource: dict[str, Any]) -> tuple[str, str, date | None]:
    """(marking text or "", batch, expiry) of the pack that a posted MedicationDispense contains;
    without a marking those of the first pack that tells a batch.
    """
    unmarked: tuple[str, str, date | None] = "", "", None
    for contained in resource.get("contained", ()):
        batch = contained.get("batch") or {}
        expiry = str(batch.get("expirationDate", ""))[:10]
        told = (str(batch.get("lotNumber", "")),
                date.fromisoformat(expiry) if len(expiry) == 10 else None)  # fmt: skip  # Two.
        for identifier in contained.get("identifier", ()):
            if identifier.get("system") == MARKING_SYSTEM:
                return str(identifier.get("value", "")), *told
        if batch and not unmarked[1]:
            unmarked = "", *told
    return unmarked


def handover_of(record: dict[str, Any]) -> Handover:
    """A MedicationDispense as the card shows it, ours or an imported one."""
    medication = record.get("medication") or {}
    contained = (record.get("contained") or [{}])[0]
    found = medicines.preparation_of(medication)
    concept = medication.get("concept") or contained.get("code") or {}
    text = str(concept.get("text", "")) or str(
        (medication.get("reference") or {}).get("display", "")
    )
    quantity = record.get("quantity") or {}
    amount = Decimal(str(quantity.get("value", 0)))
    authorizing = (record.get("authorizingPrescription") or [{}])[0]
    number, _, item = str(authorizing.get("display", "")).partition(" / ")
    at = str(record.get("whenHandedOver") or record.get("recorded") or "1970-01-01")
    pack, charge = _pack(contained, int(item or 0), amount), in_record(record)
    return Handover(
        id=record["id"],
        number=number.replace("-", ""),
        item=int(item or 0),
        label={
            language: medicines.label(found.key, language) if found else text
            for language in _LANGUAGES
        },
        quantity=amount,
        unit=found.form.unit if found else str(quantity.get("unit", "")),
        at=datetime.fromisoformat(at)
        if "T" in at
        else datetime.combine(
            date.fromisoformat((at + "-01-01")[:10]), datetime.min.time(), TASHKENT
        ),
        packs=(pack,) if pack else (),
        status=str(record.get("status", "")),
        patient=str((record.get("subject") or {}).get("reference", "")).removeprefix("Patient/"),
        patient_name=str((record.get("subject") or {}).get("display", "")),
        total=charge.total if charge else None,
        fund=charge.fund if charge else None,
    )


def _pack(contained: dict[str, Any], item: int, quantity: Decimal) -> ScannedPack | None:
    marking, lot, expiry = pack_in({"contained": [contained]})
    code = read(marking) if marking else None
    if not isinstance(code, Code):
        return None
    product = medicines.product_or_none(code.gtin)
    return ScannedPack(
        item=item, gtin=code.gtin, serial=code.serial, trade=product.trade if product else "",
        quantity=quantity, lot=lot, expiry=expiry, marking=code.identity,
    )  # fmt: skip  # Facts of one pack.
