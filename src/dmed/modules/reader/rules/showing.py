"""A record as labelled fields, in the order of its definition, with references as addresses.

Types: https://hl7.org/fhir/R5/datatypes.html. What people know as one thing (a name, a code, a
quantity) is one line; everything else is opened to its elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dmed.fhir.facts import Element, facts
from dmed.modules.reader.model import Field, Row

FIELDS_MAX = 1_500
"""Most lines of one page; the whole record is always there as JSON."""
TEXT_MAX = 600
_TAG = re.compile(r"<[^>]*>")
_LITERAL = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})(?:/_history/(\d{1,20}))?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PRIMITIVES = {
    "boolean": "flag", "date": "date", "dateTime": "moment", "instant": "moment",
    "decimal": "number", "integer": "number", "integer64": "number", "positiveInt": "number",
    "unsignedInt": "number", "code": "code",
}  # fmt: skip  # A short table.
_WHAT = (
    "code", "medicationCodeableConcept", "medication", "vaccineCode", "concept", "type", "category",
    "serviceType", "class",
)  # fmt: skip  # Same.
_WHEN = (
    "effectiveDateTime", "effectivePeriod", "authoredOn", "occurrenceDateTime", "recordedDate",
    "actualPeriod", "period", "whenHandedOver", "performedDateTime", "issued", "recorded", "date",
    "birthDate", "created", "start",
)  # fmt: skip  # Same.
_WHOM = ("subject", "patient", "beneficiary", "for", "individual", "agent")


def fields(resource: Mapping[str, Any]) -> tuple[Field, ...]:
    """The fields of a record; at most FIELDS_MAX, then the last one says that more is there."""
    room = [FIELDS_MAX]
    return _children(resource, str(resource.get("resourceType", "")), "", room)


def label(name: str) -> str:
    """An element's name in words where no text translates it: `birthDate` is "Birth date"."""
    words = _CAMEL.sub(" ", name).replace("-", " ").lower()
    return words[:1].upper() + words[1:]


def address(reference: str) -> str:
    """The page of a literal reference below this base, or "" for one that leads elsewhere."""
    found = _LITERAL.fullmatch(reference)
    if found is None or found[1] not in facts().types:
        return ""
    version = f"/_history/{found[3]}" if found[3] else ""
    return f"/fhir/{found[1]}/{found[2]}{version}"


def _children(
    value: Mapping[str, Any], type_: str, path: str, room: list[int]
) -> tuple[Field, ...]:
    known = facts().types.get(type_)
    if known is None:
        return ()
    here = path or type_
    made: list[Field] = []
    for element in known.elements:
        for json_name, code in _spellings(element):
            if json_name in value:
                made += _element(value, element, json_name, code, f"{here}.{element.name}", room)
    return tuple(made)


def _spellings(element: Element) -> Iterator[tuple[str, str]]:
    """Each JSON name that an element may have, with its type."""
    if element.content:
        yield element.name, element.content
        return
    if not element.is_choice:
        yield element.name, element.types[0].code if element.types else ""
        return
    for each in element.types:
        yield element.json_name(each.code), each.code


def _element(
    value: Mapping[str, Any], element: Element, json_name: str, code: str, path: str,
    room: list[int],
) -> Iterator[Field]:  # fmt: skip  # What, of which type, where, and how much may follow.
    held = value[json_name]
    items = held if isinstance(held, list) else [held]
    for at, item in enumerate(items):
        if room[0] <= 0:
            return
        room[0] -= 1
        place = f"{path}[{at}]" if isinstance(held, list) else path
        if item is not None:
            yield _field(item, element.name, code, place, room)


def _field(item: Any, name: str, code: str, path: str, room: list[int]) -> Field:
    if not isinstance(item, dict):
        return Field(name, path, _plain(item), _PRIMITIVES.get(code, "text"))
    if code == "Extension":
        name = str(item.get("url", "")).rstrip("/").rpartition("/")[2] or name
    if code in ("Resource", "DomainResource"):
        return Field(name, path, str(item.get("resourceType", "")), children=fields(item))
    if code == "Reference":
        return _reference(item, name, path)
    if code == "CodeableReference":
        return _codeable_reference(item, name, path)
    line = _LINES.get(code)
    if line is not None:
        kind = {"HumanName": "name", "Period": "period"}.get(code, "text")
        return Field(name, path, line(item), kind, note=_note(item, code))
    return Field(name, path, children=_children(item, code, path, room))


def _plain(item: Any) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    text = str(item)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"


def _reference(item: Mapping[str, Any], name: str, path: str) -> Field:
    reference = str(item.get("reference", ""))
    shown = str(item.get("display") or reference)
    if not shown and isinstance(item.get("identifier"), dict):
        shown = _identifier(item["identifier"])
    note = reference if reference != shown else ""
    return Field(name, path, shown, href=address(reference), note=note)


def _codeable_reference(item: Mapping[str, Any], name: str, path: str) -> Field:
    if isinstance(item.get("reference"), dict):
        return _reference(item["reference"], name, path)
    held = item.get("concept")
    concept = held if isinstance(held, dict) else {}
    return Field(name, path, _concept(concept), note=_note(concept, "CodeableConcept"))


def _note(item: Mapping[str, Any], code: str) -> str:
    """What stands small beside the line: the codes of a concept, the use of a name."""
    if code == "CodeableConcept":
        codes = [each for each in item.get("coding", ()) if isinstance(each, dict)]
        return ", ".join(str(each["code"]) for each in codes if "code" in each)
    if code == "Coding":
        return str(item.get("code", "")) if item.get("display") else str(item.get("system", ""))
    if code == "Identifier":
        return str(item.get("system", ""))
    return str(item.get("use", ""))


def _human_name(item: Mapping[str, Any]) -> str:
    parts = [item.get("family", ""), *item.get("given", ())]
    return str(item.get("text") or " ".join(str(part) for part in parts if part))


def _coding(item: Mapping[str, Any]) -> str:
    return str(item.get("display") or item.get("code") or item.get("system") or "")


def _concept(item: Mapping[str, Any]) -> str:
    if item.get("text"):
        return str(item["text"])
    codings = [_coding(each) for each in item.get("coding", ()) if isinstance(each, dict)]
    return next((text for text in codings if text), "")


def _identifier(item: Mapping[str, Any]) -> str:
    return str(item.get("value") or item.get("system") or "")


def _quantity(item: Mapping[str, Any]) -> str:
    unit = item.get("unit") or item.get("code") or item.get("currency") or ""
    parts = (item.get("comparator", ""), item.get("value", ""), unit)
    return " ".join(str(part) for part in parts if part != "")


def _range(item: Mapping[str, Any]) -> str:
    return f"{_quantity(item.get('low', {}))} – {_quantity(item.get('high', {}))}".strip(" –")


def _ratio(item: Mapping[str, Any]) -> str:
    return f"{_quantity(item.get('numerator', {}))} / {_quantity(item.get('denominator', {}))}"


def _period(item: Mapping[str, Any]) -> str:
    return f"{item.get('start', '')}/{item.get('end', '')}"


def _contact(item: Mapping[str, Any]) -> str:
    return str(item.get("value") or item.get("system") or "")


def _address(item: Mapping[str, Any]) -> str:
    keys = ("city", "district", "state", "postalCode", "country")
    parts = [*item.get("line", ()), *(item.get(key) for key in keys)]
    return str(item.get("text") or ", ".join(str(part) for part in parts if part))


def _annotation(item: Mapping[str, Any]) -> str:
    return _plain(item.get("text", ""))


def _attachment(item: Mapping[str, Any]) -> str:
    return str(item.get("title") or item.get("url") or item.get("contentType") or "")


def _narrative(item: Mapping[str, Any]) -> str:
    return _plain(" ".join(_TAG.sub(" ", str(item.get("div", ""))).split()))


_LINES = {
    "HumanName": _human_name, "Coding": _coding, "CodeableConcept": _concept,
    "Identifier": _identifier, "Quantity": _quantity, "Age": _quantity, "Duration": _quantity,
    "Distance": _quantity, "Count": _quantity, "Money": _quantity, "Range": _range,
    "Ratio": _ratio, "Period": _period, "ContactPoint": _contact, "Address": _address,
    "Annotation": _annotation, "Attachment": _attachment, "Narrative": _narrative,
}  # fmt: skip  # A table.


def row(entry: Mapping[str, Any]) -> Row:
    """One entry of a searchset or history as a line of a table."""
    resource = entry.get("resource") or {}
    asked = entry.get("request") or {}
    place = _LITERAL.search(str(entry.get("fullUrl") or asked.get("url") or ""))
    type_ = str(resource.get("resourceType") or (place[1] if place else ""))
    id_ = str(resource.get("id") or (place[2] if place else ""))
    meta = resource.get("meta") or {}
    answer = entry.get("response") or {}
    return Row(
        type=type_,
        id=id_,
        title=title(resource) or id_,
        detail=_when(resource),
        about=next((_whom(resource[key]) for key in _WHOM if key in resource), ""),
        updated=str(answer.get("lastModified") or meta.get("lastUpdated") or ""),
        mode=str((entry.get("search") or {}).get("mode", "match")),
        version=str(meta.get("versionId") or str(answer.get("etag", "")).strip('W/"')),
        method=str(asked.get("method", "")),
    )


def title(resource: Mapping[str, Any]) -> str:
    """What tells a record from others of its type: its name, title or code; "" where nothing."""
    name = resource.get("name")
    if isinstance(name, list) and name and isinstance(name[0], dict):
        return _human_name(name[0])
    for key in ("title", "name"):
        if isinstance(resource.get(key), str):
            return str(resource[key])
    for key in _WHAT:
        found = _what(resource.get(key))
        if found:
            return found
    identifier = resource.get("identifier")
    if isinstance(identifier, list) and identifier:
        return _identifier(identifier[0])
    return str(resource.get("url") or resource.get("description") or "")[:TEXT_MAX]


def _what(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("concept"), dict):
        value = value["concept"]
    if isinstance(value.get("reference"), dict):
        return str(value["reference"].get("display") or value["reference"].get("reference") or "")
    return _concept(value) or str(value.get("display") or "")


def _whom(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else None
    return str(value.get("reference", "")) if isinstance(value, dict) else ""


def _when(resource: Mapping[str, Any]) -> str:
    for key in _WHEN:
        value = resource.get(key)
        if isinstance(value, dict):
            value = value.get("start")
        if isinstance(value, str):
            return value
    return ""
