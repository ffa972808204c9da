"""What the check needs to know of a request: read from its body and headers, nothing kept else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
PRESCRIPTION_SYSTEM = "https://dhp.uz/fhir/core/sid/doc/uz/prescription"
MARKING_SYSTEM = "https://mobile-api.aslbelgisi.uz/marking"
_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-"
_UCUM = "http://unitsofmeasure.org"
_VISIT_TYPES = "mserv-0001-"


def facts_of(
    method: str, type_: str, query: list[tuple[str, str]], headers: Mapping[str, str],
    resource: dict[str, Any] | None,
) -> dict[str, Any]:
    """The facts of one request, for `conformance.judge`."""
    found: dict[str, Any] = {"type": type_}
    if method == "GET" and query:
        found["search"] = True
        values = dict(query)
        found["by_pinfl"] = bool(re.fullmatch(
            re.escape(PINFL_SYSTEM) + r"\|\d{14}", values.get("identifier", ""), re.ASCII))
        found["by_number"] = bool(values.get("group-identifier") or values.get("identifier"))
        found["by_prescription"] = bool(values.get("prescription"))
    if headers.get("if-none-exist"):
        found["if_none_exist"] = True
    if headers.get("if-match"):
        found["if_match"] = True
    if resource is not None:
        lacks = list(_LACKS[type_](resource)) if type_ in _LACKS else []
        if lacks:
            found["lacks"] = lacks
        if type_ == "Bundle":
            found |= _of_bundle(resource)
    return found


def _patient(record: dict[str, Any]) -> Iterator[str]:
    if not _claims(record, "patient"):
        yield "meta.profile"
    numbers = [one.get("value", "") for one in record.get("identifier", [])
               if one.get("system") == PINFL_SYSTEM]
    if not any(re.fullmatch(r"\d{14}", number, re.ASCII) for number in numbers):
        yield "identifier (PINFL)"
    for name in ("name", "gender", "birthDate"):
        if not record.get(name):
            yield name


def _encounter(record: dict[str, Any]) -> Iterator[str]:
    if not _claims(record, "encounter"):
        yield "meta.profile"
    types = [one.get("code", "") for kind in record.get("type", [])
             for one in kind.get("coding", [])]
    if not any(code.startswith(_VISIT_TYPES) for code in types):
        yield f"type ({_VISIT_TYPES}…)"
    for name in ("class", "subject", "serviceProvider", "actualPeriod"):
        if not record.get(name):
            yield name


def _dispense(record: dict[str, Any]) -> Iterator[str]:
    for name in ("authorizingPrescription", "quantity", "whenHandedOver", "subject", "performer"):
        if not record.get(name):
            yield name
    packs = [one for one in record.get("contained", []) if one.get("resourceType") == "Medication"]
    if not any(one.get("batch", {}).get("lotNumber") for one in packs):
        yield "contained Medication.batch.lotNumber"
    if not any(one.get("batch", {}).get("expirationDate") for one in packs):
        yield "contained Medication.batch.expirationDate"
    if not any(each.get("system") == MARKING_SYSTEM and each.get("value")
               for one in packs for each in one.get("identifier", [])):
        yield "contained Medication.identifier (marking)"


def _claims(record: dict[str, Any], name: str) -> bool:
    profiles = record.get("meta", {}).get("profile", [])
    return any(str(one).partition("|")[0] == _PROFILE + name for one in profiles)


_LACKS = {"Patient": _patient, "Encounter": _encounter, "MedicationDispense": _dispense}


def _of_bundle(bundle: dict[str, Any]) -> dict[str, Any]:
    entries = bundle.get("entry", [])
    names = {str(one.get("fullUrl", "")) for one in entries}
    names = {name for name in names if name.startswith("urn:uuid:")}
    observed = [one["resource"] for one in entries
                if one.get("resource", {}).get("resourceType") == "Observation"]
    said = [value for one in entries for value in _references(one.get("resource", {}))]
    return {
        "linked": len(entries) > 1 and any(value in names for value in said),
        "ucum": bool(observed) and all(
            one.get("valueQuantity", {}).get("system") == _UCUM
            and one["valueQuantity"].get("code") for one in observed if "valueQuantity" in one
        ) and any("valueQuantity" in one for one in observed),
    }


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "reference" and isinstance(inner, str):
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
