"""Kinds of personal documents and numbers: their systems, their form, and how they are shown.

Systems and types: the country's core guide (IdentifierDomainCS, v2-0203). A number of another
kind than PINFL and MED-ID is checked for its letters and length alone, since no public register
says more; look-alike Cyrillic letters of a series are written in Latin, as on the document.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from dmed.modules.medid.model import Finding
from dmed.modules.medid.rules import numbers

SID = "https://dhp.uz/fhir/core/sid/pid/"
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_TO_LATIN = str.maketrans("АВЕЅІКМНОРСТУХ", "ABESIKMHOPCTYX")
_COUNTRY = re.compile(r"[A-Z]{2}")
_TAX_NUMBER = re.compile(r"[0-9]{9}")


class Kind(msgspec.Struct, frozen=True):
    """A kind of document: `{cc}` and `{org}` of its system are filled in."""

    code: str
    """Locale key: "medid.document." + code."""
    system: str
    type: str
    """Code of v2-0203."""
    form: str
    """Regular expression of a normal number."""
    use: str = "official"


KINDS: tuple[Kind, ...] = (
    Kind("ni", numbers.PINFL_SYSTEM, "NI", r"[0-9]{14}"),
    Kind("hc", numbers.MED_ID_SYSTEM, "HC", r"[0-9]{13}"),
    Kind("passport", f"{SID}uz/ppn/local", "PPN", r"[A-Z]{2}[0-9]{7}"),
    Kind("passport-intl", f"{SID}uz/ppn/intl", "PPN", r"[A-Z]{2}[0-9]{7}"),
    Kind("passport-dp", f"{SID}uz/ppn/dp", "DP", r"[A-Z0-9-]{5,20}"),
    Kind("passport-foreign", f"{SID}{{cc}}/ppn", "PPN", r"[A-Z0-9-]{4,20}"),
    Kind("birth", f"{SID}uz/bct", "BCT", r"[A-Z0-9-]{5,20}"),
    Kind("driver", f"{SID}uz/dl", "DL", r"[A-Z0-9-]{5,20}"),
    Kind("driver-foreign", f"{SID}{{cc}}/dl", "DL", r"[A-Z0-9-]{4,20}"),
    Kind("military", f"{SID}uz/mi", "MI", r"[A-Z0-9-]{4,20}"),
    Kind("pension", f"{SID}uz/pen", "PEN", r"[A-Z0-9-]{4,20}"),
    Kind("penitentiary", f"{SID}uz/pcn", "PCN", r"[A-Z0-9-]{3,20}"),
    Kind("record", f"{SID}uz/prn/{{org}}/mrt", "MRT", r"[A-Z0-9/-]{1,30}", "temp"),
    Kind("unknown", f"{SID}uz/mrt", "MR", r"[A-Z0-9/-]{1,30}", "temp"),
)
BY_CODE = {kind.code: kind for kind in KINDS}
CHOSEN = tuple(kind.code for kind in KINDS
               if kind.code not in ("ni", "hc", "record", "unknown"))
"""Kinds that a registrar chooses from; the others are written by what they are for."""


def kind_of(system: str) -> str:
    """The code of the kind of a system, or "other"."""
    for kind in KINDS:
        if kind.system == system:
            return kind.code
    if re.fullmatch(re.escape(SID) + r"[a-z]{2}/(ppn|dl)", system):
        return "passport-foreign" if system.endswith("ppn") else "driver-foreign"
    if re.fullmatch(re.escape(SID) + r"uz/prn/[0-9]{9}/mrt", system):
        return "record"
    return "other"


def normal(value: str) -> str:
    """A number as it is stored: capitals, without blanks, look-alike letters in Latin.

    >>> normal("аа 1234567")
    'AA1234567'
    """
    return re.sub(r"\s+|№", "", value).upper().translate(_TO_LATIN)


def check(kind: str, value: str, country: str) -> list[Finding]:
    """What is wrong with a document as typed; none where nothing was typed."""
    if not kind and not value:
        return []
    known = BY_CODE.get(kind)
    if known is None or kind not in CHOSEN:
        return [Finding("medid.check.document-kind", "document_kind")]
    found = []
    if not re.fullmatch(known.form, normal(value)):
        key = "medid.check.passport-form" if kind in ("passport", "passport-intl") else (
            "medid.check.document-form")
        found.append(Finding(key, "document"))
    if "{cc}" in known.system and (
            not _COUNTRY.fullmatch(country.upper()) or country.upper() == "UZ"):
        found.append(Finding("medid.check.document-country", "country"))
    return found


def identifier(kind: str, value: str, *, country: str = "", org: str = "") -> dict[str, Any]:
    """The FHIR Identifier of a checked document; `org` is the tax number of the institution."""
    known = BY_CODE[kind]
    if kind == "record" and not _TAX_NUMBER.fullmatch(org):
        known = BY_CODE["unknown"]
    return {
        "use": known.use,
        "type": {"coding": [{"system": _V2_0203, "code": known.type}]},
        "system": known.system.format(cc=country.lower(), org=org),
        "value": normal(value),
    }
