"""Names of the register: code systems, units, strengths and labels in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dmed.modules.medicines.model import Preparation

INN_SYSTEM = "https://terminology.dhp.uz/fhir/core/CodeSystem/inn-medication-name-cs"
ATC_SYSTEM = "http://www.whocc.no/atc"
FORM_SYSTEM = "https://terminology.dhp.uz/fhir/core/CodeSystem/medication-doseform-cs"
PREPARATION_SYSTEM = "https://dhp.uz/fhir/core/sid/reg/uz/preparation"
"""Our own key of INN + form + strength, so that a pharmacy need not parse a text."""
UNREGISTERED_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/unregistered-medicine"
"""A coding of this system says that the concept means nothing of the register, whatever INN or ATC
code stands beside it: another strength of the same INN must not be taken for it."""
GTIN_SYSTEM = "https://mobile-api.aslbelgisi.uz/gtin"
MARKING_SYSTEM = "https://mobile-api.aslbelgisi.uz/marking"
REGISTRATION_SYSTEM = "https://uzpharminfo.uz/registration_number"
IKPU_SYSTEM = "https://uzpharminfo.uz/icps"
BOX_SYSTEM = "https://uzpharminfo.uz/box_group_id"
UZPHARM_SYSTEM = "https://uzpharminfo.uz/agency_id"
"""The number of the agency's own register; the national guide names it, without an address."""
UCUM = "http://unitsofmeasure.org"
PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-medication"

_UNITS: Mapping[str, tuple[str, str, str]] = {
    "tablet": ("tabletka", "табл.", "tablet"),
    "capsule": ("kapsula", "капс.", "capsule"),
    "sachet": ("paket", "пакет", "sachet"),
    "bottle": ("flakon", "фл.", "bottle"),
    "tube": ("tuba", "туба", "tube"),
    "suppository": ("shamcha", "супп.", "suppository"),
    "ampoule": ("ampula", "амп.", "ampoule"),
    "vial": ("flakon", "фл.", "vial"),
    "syringe": ("shpris", "шприц", "syringe"),
    "pen": ("shpris-ruchka", "шприц-ручка", "pen"),
    "patch": ("plastir", "пластырь", "patch"),
    "implant": ("implantat", "имплантат", "implant"),
    "inhaler": ("ingalyator", "ингалятор", "inhaler"),
    "ml": ("ml", "мл", "ml"),
    "drop": ("tomchi", "кап.", "drop"),
    "puff": ("doza", "доз.", "puff"),
    "application": ("marta surtish", "нанес.", "application"),
    "iu": ("XB", "МЕ", "IU"),
}
_POINT = re.compile(r"(?<=\d)\.(?=\d)")
_COLUMN = {"uz": 0, "ru": 1, "en": 2}
_STRENGTH_WORDS = {
    "ru": {"mg": "мг", "g": "г", "mcg": "мкг", "IU": "МЕ", "ml": "мл", "dose": "доза",
           "doses": "доз", "h": "ч"},
    "uz": {"mcg": "mkg", "IU": "XB", "dose": "doza", "doses": "doza", "h": "soat"},
    "en": {},
}  # fmt: skip  # One line a language.


def unit_name(unit: str, language: str) -> str:
    """A unit of presentation or of dose in words; an unknown unit is shown as it is."""
    names = _UNITS.get(unit)
    return names[_COLUMN.get(language, 0)] if names else unit


def strength_label(text: str, language: str) -> str:
    """A strength with its units in the reader's language: "500 mcg" -> "500 мкг"."""
    words = _STRENGTH_WORDS.get(language, _STRENGTH_WORDS["uz"])
    out, word = [], ""
    for sign in [*text, ""]:
        if sign and sign.isalpha():
            word += sign
            continue
        out.append(words.get(word, word) + sign)
        word = ""
    text = "".join(out)
    return text if language == "en" else _POINT.sub(",", text)


def label(preparation: Preparation, language: str) -> str:
    """INN, strength and form in one line: "Amoksitsillin 500 mg kapsula"."""
    name = preparation.inn.name(language)
    strength = strength_label(preparation.strength_text, language)
    return f"{name[:1].upper()}{name[1:]} {strength} {preparation.form.name(language)}"


def check_digit(digits: str) -> str:
    """The last digit of a GTIN whose others are given (GS1 General Specifications 7.9.1)."""
    weighed = sum(int(digit) * (3 if place % 2 == 0 else 1)
                  for place, digit in enumerate(reversed(digits)))  # fmt: skip  # One sum.
    return str(-weighed % 10)


def is_gtin(digits: str) -> bool:
    """Whether this is a GTIN-14 with a right check digit."""
    return (len(digits) == 14 and digits.isascii() and digits.isdecimal()
            and check_digit(digits[:-1]) == digits[-1])  # fmt: skip  # One condition.
