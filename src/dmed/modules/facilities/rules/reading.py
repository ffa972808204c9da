"""From what a form or a file says of a place to a sound draft, or to every fault by field."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from dmed.modules.facilities.model import Draft, Fault, Region, Shape
from dmed.modules.facilities.rules import codes, hours, licences

FIELDS = (
    "shape", "code", "parent", "name", "name_ru", "tax_id", "shif_id", "subordination",
    "nomenclature", "structure", "services", "place", "payment", "pharmacy", "active", "region",
    "district", "address", "phone", "latitude", "longitude", "hours", "licences", "maker",
    "serial", "checked_until",
)  # fmt: skip  # A list of names reads better filled.
"""The columns of a file of institutions."""
TEXT_MAX = 500
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]{0,63}", re.ASCII)
_SHIF = re.compile(r"[A-Z]{3}[0-9]{6}", re.ASCII)
_BOX = ((37.0, 45.7), (55.9, 73.3))
"""Within which Uzbekistan lies: latitudes, longitudes."""
_NEEDS_PARENT = frozenset(Shape) - {Shape.INSTITUTION}
_CODED = (("subordination", "subordination"), ("nomenclature", "nomenclature"),
          ("structure", "structure"), ("place", "place"), ("payment", "payment"))
_YES = {"1", "yes", "true", "ha", "да", "on"}
_NO = {"0", "no", "false", "yo‘q", "yo'q", "нет"}
ABOVE: dict[Shape, frozenset[Shape]] = {
    Shape.INSTITUTION: frozenset({Shape.INSTITUTION}),
    Shape.BRANCH: frozenset({Shape.INSTITUTION, Shape.BRANCH}),
    Shape.DEPARTMENT: frozenset({Shape.INSTITUTION, Shape.BRANCH, Shape.DEPARTMENT}),
    Shape.WARD: frozenset({Shape.INSTITUTION, Shape.BRANCH, Shape.DEPARTMENT}),
    Shape.ROOM: frozenset({Shape.INSTITUTION, Shape.BRANCH, Shape.DEPARTMENT}),
    Shape.BED: frozenset({Shape.WARD, Shape.ROOM}),
    Shape.SERVICE: frozenset({Shape.INSTITUTION, Shape.BRANCH, Shape.DEPARTMENT}),
    Shape.EQUIPMENT: frozenset(Shape) - {Shape.EQUIPMENT, Shape.SERVICE, Shape.BED},
}
"""What may stand above what."""


def read(  # One field a thought, in the order of the columns.
    given: Mapping[str, str], regions: tuple[Region, ...]
) -> tuple[Draft | None, list[Fault]]:
    """The draft of one place, or None with all its faults."""
    values = {name: str(given.get(name, "") or "").strip() for name in FIELDS}
    faults = [Fault(name, "facilities.fault.long", {"most": str(TEXT_MAX)})
              for name, text in values.items() if len(text) > TEXT_MAX and name != "licences"]
    faults += [Fault(name, "facilities.fault.control") for name, text in values.items()
               if any(not letter.isprintable() and letter not in "\r\n" for letter in text)]
    if faults:
        return None, faults
    shape = values["shape"].lower() or Shape.INSTITUTION
    if shape not in set(Shape):
        return None, [Fault("shape", "facilities.fault.shape",
                            {"text": shape[:40], "known": ", ".join(Shape)})]
    made = Draft(shape=Shape(shape), code=values["code"] or values["tax_id"], name=values["name"])
    made = _plain(made, values)
    faults = [*_identity(made), *_coded(values), *_place(made, regions)]
    made, more = _rich(made, values)
    faults += more
    return (None, faults) if faults else (made, [])


def _plain(made: Draft, values: Mapping[str, str]) -> Draft:
    phone = re.sub(r"[ ()-]", "", values["phone"])
    return msgspec.structs.replace(
        made, parent=values["parent"], name_ru=values["name_ru"], tax_id=values["tax_id"],
        shif_id=values["shif_id"], subordination=values["subordination"],
        nomenclature=values["nomenclature"], structure=values["structure"],
        services=tuple(re.split(r"[ ,|]+", values["services"])) if values["services"] else (),
        place=values["place"], payment=values["payment"], region=values["region"],
        district=values["district"], address=values["address"],
        phone=f"+998{phone}" if re.fullmatch(r"\d{9}", phone, re.ASCII) else phone,
        maker=values["maker"], serial=values["serial"])


def _identity(made: Draft) -> list[Fault]:
    faults = []
    if not _CODE.fullmatch(made.code):
        faults.append(Fault("code", "facilities.fault.code"))
    if not any(letter.isalpha() for letter in made.name):
        faults.append(Fault("name", "facilities.fault.name"))
    if made.shape is Shape.INSTITUTION and not re.fullmatch(r"\d{9}", made.tax_id, re.ASCII):
        faults.append(Fault("tax_id", "facilities.fault.tax"))
    if made.shape is not Shape.INSTITUTION and made.tax_id:
        faults.append(Fault("tax_id", "facilities.fault.tax-not-here"))
    if made.shif_id and not _SHIF.fullmatch(made.shif_id):
        faults.append(Fault("shif_id", "facilities.fault.shif"))
    if made.shape in _NEEDS_PARENT and not made.parent:
        faults.append(Fault("parent", "facilities.fault.parent-missing"))
    if made.parent and made.parent == made.code:
        faults.append(Fault("parent", "facilities.fault.parent-self"))
    if made.phone and not re.fullmatch(r"\+998\d{9}", made.phone, re.ASCII):
        faults.append(Fault("phone", "facilities.fault.phone"))
    return faults


def _coded(values: Mapping[str, str]) -> list[Fault]:
    asked = [(field, name, values[field]) for field, name in _CODED]
    asked += [("services", "service", code) for code in re.split(r"[ ,|]+", values["services"])]
    return [Fault(field, "facilities.fault.unknown-code", {"code": code[:40]})
            for field, name, code in asked if code and not codes.is_known(name, code)]


def _place(made: Draft, regions: tuple[Region, ...]) -> list[Fault]:
    """Region and district by code; our list of districts is not whole, so its shape counts."""
    if made.region and made.region not in {one.code for one in regions}:
        return [Fault("region", "facilities.fault.unknown-code", {"code": made.region[:40]})]
    if made.district and not re.fullmatch(r"\d{7}", made.district, re.ASCII):
        return [Fault("district", "facilities.fault.unknown-code", {"code": made.district[:40]})]
    if made.district and made.district[:4] != made.region:
        return [Fault("district", "facilities.fault.district-elsewhere")]
    return []


def _rich(made: Draft, values: Mapping[str, str]) -> tuple[Draft, list[Fault]]:
    faults: list[Fault] = []
    position, wrong = _position(values["latitude"], values["longitude"])
    faults += wrong
    _, wrong = hours.read(values["hours"])
    faults += wrong
    given, wrong = licences.read_licences(values["licences"])
    faults += wrong
    flags = {}
    for field, otherwise in (("pharmacy", False), ("active", True)):
        text = values[field].lower()
        if text and text not in _YES | _NO:
            faults.append(Fault(field, "facilities.fault.flag", {"text": text[:20]}))
        flags[field] = text in _YES if text else otherwise
    checked = licences._day(values["checked_until"])  # noqa: SLF001  # The same package.
    if values["checked_until"] and checked is None:
        faults.append(Fault("checked_until", "facilities.fault.day"))
    return msgspec.structs.replace(
        made, position=position, hours=values["hours"], licences=given,
        is_pharmacy=flags["pharmacy"], is_active=flags["active"], checked_until=checked), faults


def _position(latitude: str, longitude: str) -> tuple[tuple[float, float] | None, list[Fault]]:
    if not latitude and not longitude:
        return None, []
    fault = Fault("latitude", "facilities.fault.position")
    try:
        found = float(latitude.replace(",", ".")), float(longitude.replace(",", "."))
    except ValueError:
        return None, [fault]
    if is_inside(*found):
        return found, []
    if is_inside(*found[::-1]):
        return None, [Fault("latitude", "facilities.fault.position-swapped")]
    return None, [fault]


def is_inside(latitude: float, longitude: float) -> bool:
    """Whether a point lies in the box around the country."""
    return (_BOX[0][0] <= latitude <= _BOX[0][1]) and (_BOX[1][0] <= longitude <= _BOX[1][1])
