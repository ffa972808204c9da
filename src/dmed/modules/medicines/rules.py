"""Search as you type, and medicines as FHIR: pure functions over the catalogue.

FHIR: https://hl7.org/fhir/R5/medication.html, profile uz-core-medication of the national guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from dmed.kit.text import fold
from dmed.modules.medicines.model import Preparation, Product

INN_SYSTEM = "https://terminology.dhp.uz/fhir/core/CodeSystem/inn-medication-name-cs"
ATC_SYSTEM = "http://www.whocc.no/atc"
FORM_SYSTEM = "https://terminology.dhp.uz/fhir/core/CodeSystem/medication-doseform-cs"
PREPARATION_SYSTEM = "https://dhp.uz/fhir/core/sid/reg/uz/preparation"
"""Our own key of INN + form + strength, so that a pharmacy need not parse a text."""
GTIN_SYSTEM = "https://mobile-api.aslbelgisi.uz/gtin"
MARKING_SYSTEM = "https://mobile-api.aslbelgisi.uz/marking"
REGISTRATION_SYSTEM = "https://uzpharminfo.uz/registration_number"
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
           "doses": "доз"},
    "uz": {"mcg": "mkg", "IU": "XB", "dose": "doza", "doses": "doza"},
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


class Word(msgspec.Struct, frozen=True):
    """One searchable word and what it stands for."""

    folded: str
    shown: str
    weight: Decimal
    """Of a full match: INN above trade name above ATC code."""
    preparations: frozenset[str]


def words_of(
    preparations: Iterable[Preparation],
    products: Iterable[Product],
    synonyms: Mapping[str, str],
) -> list[Word]:
    """Every word under which a preparation is found, once each; `synonyms`: INN key -> words."""
    found: dict[str, tuple[str, Decimal, set[str]]] = {}

    def add(text: str, weight: str, key: str) -> None:
        for part in text.replace("+", " ").split():
            folded = fold(part.strip("(),"))
            if len(folded) > 1:
                found.setdefault(folded, (text, Decimal(weight), set()))[2].add(key)

    for preparation in preparations:
        inn = preparation.inn
        for name in (inn.uz, inn.ru, inn.en):
            add(name, "1", preparation.key)
        add(preparation.atc, "0.8", preparation.key)
        add(synonyms.get(inn.key, ""), "0.98", preparation.key)
    for product in products:
        add(product.trade, "0.9", product.preparation.key)
    return [
        Word(folded, shown, weight, frozenset(keys))
        for folded, (shown, weight, keys) in found.items()
    ]


def nearness(typed: str, word: str) -> Decimal:
    """How well typed letters begin a word: 1 for the whole, less for a beginning, less again
    for each wrong, missing, doubled or swapped letter; 0 when it is another word.
    """
    if word == typed:
        return Decimal(1)
    if word.startswith(typed):
        return Decimal("0.95")
    allowed = 0 if len(typed) < 4 else 1 if len(typed) < 7 else 2
    if not allowed:
        return Decimal(0)
    distance = beginning_distance(typed, word, allowed)
    return Decimal(0) if distance > allowed else Decimal("0.9") - Decimal("0.2") * distance


def beginning_distance(typed: str, word: str, limit: int) -> int:
    """The least number of edits (swap included) that make `typed` a beginning of `word`;
    `limit + 1` when more are needed.
    """
    width = min(len(word), len(typed) + limit)
    above: list[int] = []
    row = list(range(width + 1))
    for i, sign in enumerate(typed, 1):
        before, row, above = above, [i], row
        for j in range(1, width + 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (sign != word[j - 1]))
            if i > 1 and j > 1 and sign == word[j - 2] and typed[i - 2] == word[j - 1]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return min(row)


class Found(msgspec.Struct, frozen=True):
    """A preparation that fits the typed text, by which word, and how well."""

    key: str
    shown: str
    score: Decimal


def find(text: str, words: Sequence[Word], preparations: Mapping[str, Preparation]) -> list[Found]:
    """Preparations that fit every typed part: letters find INN, trade name or ATC code, parts
    that begin with a digit narrow by strength, other letters by form. Best first.
    """
    parts = fold(text).replace("+", " ").replace(",", ".").split()
    letters = [part for part in parts if not part[0].isdigit()]
    digits = [part for part in parts if part[0].isdigit()]
    if not letters:
        return []
    best: dict[str, Found] = {}
    for word in words:
        score = nearness(letters[0], word.folded) * word.weight
        if not score:
            continue
        for key in word.preparations:
            if key not in best or best[key].score < score:
                best[key] = Found(key, word.shown, score)
    kept = [
        item
        for item in best.values()
        if all(_has(preparations[item.key], part, words) for part in letters[1:])
        and all(_strong(preparations[item.key], part) for part in digits)
    ]
    kept.sort(key=lambda item: _order(item, preparations[item.key]))
    return kept


def _order(found: Found, preparation: Preparation) -> tuple[Decimal, int, str, str, Decimal]:
    """Best first; a single INN before combinations with it."""
    inn = preparation.inn
    return (-found.score, len(inn.components), inn.en, preparation.form.key, preparation.strength)


def _has(preparation: Preparation, part: str, words: Sequence[Word]) -> bool:
    form = preparation.form
    names = fold(f"{form.uz} {form.ru} {form.en} {unit_name(form.unit, 'uz')}").split()
    if any(name.startswith(part) for name in names):
        return True
    return any(
        preparation.key in word.preparations and nearness(part, word.folded) for word in words
    )


def _strong(preparation: Preparation, part: str) -> bool:
    """Whether a typed strength ("500", "500mg", "0.5") begins a number of this preparation."""
    number = part.rstrip("abcdefghijklmnopqrstuvwxyz%/")
    texts = preparation.strength_text.replace("/", " ").replace("%", " ").split()
    return any(text.startswith(number) for text in texts)


def coded(preparation: Preparation) -> dict[str, Any]:
    """The CodeableConcept of a preparation: our key, national INN code where there is one, ATC."""
    coding = [{"system": PREPARATION_SYSTEM, "code": preparation.key}]
    if preparation.inn.code:
        coding.append(
            {"system": INN_SYSTEM, "code": preparation.inn.code, "display": preparation.inn.uz}
        )
    coding.append({"system": ATC_SYSTEM, "code": preparation.atc})
    return {"coding": coding, "text": label(preparation, "uz")}


def medication(product: Product) -> dict[str, Any]:
    """A product as the FHIR Medication that the API serves, with the national identifiers."""
    preparation = product.preparation
    form = preparation.form
    concept = coded(preparation)
    ratio = {
        "numerator": {
            "value": preparation.strength,
            "unit": preparation.strength_unit,
            "system": UCUM,
            "code": preparation.strength_unit,
        },
        "denominator": {
            "value": preparation.per,
            "unit": preparation.per_unit,
            "system": UCUM,
            "code": preparation.per_unit,
        },
    }
    first = preparation.inn.key.split("+")[0]
    return {
        "resourceType": "Medication",
        "id": product.key,
        "meta": {"profile": [PROFILE]},
        "identifier": [
            {"use": "official", "system": GTIN_SYSTEM, "value": product.gtin},
            {"use": "official", "system": REGISTRATION_SYSTEM, "value": product.registration},
        ],
        "code": {"coding": concept["coding"], "text": f"{product.trade}: {concept['text']}"},
        "status": "active",
        "marketingAuthorizationHolder": {"display": product.maker},
        "doseForm": {
            "coding": [{"system": FORM_SYSTEM, "code": form.code, "display": form.uz}],
            "text": form.uz,
        },
        "totalVolume": {"value": product.pack_units, "unit": unit_name(form.unit, "uz")},
        "ingredient": [
            {
                "item": {"concept": {"text": name}},
                "isActive": True,
                **({"strengthRatio": ratio} if name == first else {}),
            }
            for name in preparation.inn.key.split("+")
        ],
    }


def key_in(
    concept: Mapping[str, Any],
    preparations: Mapping[str, Preparation],
    by_gtin: Mapping[str, Product],
) -> str:
    """Our preparation key that a CodeableConcept or a Medication names, or "". An INN or ATC code
    names one where only one preparation has it, or where the text tells strength and form.
    """
    for coding in concept.get("coding", ()):
        if coding.get("system") == PREPARATION_SYSTEM and coding.get("code") in preparations:
            return str(coding["code"])
    for identifier in concept.get("identifier", ()):
        if identifier.get("system") == GTIN_SYSTEM:
            product = by_gtin.get(str(identifier.get("value", "")))
            if product:
                return product.preparation.key
    codes = {
        str(coding.get("code", ""))
        for coding in concept.get("coding", ())
        if coding.get("system") in {INN_SYSTEM, ATC_SYSTEM}
    } - {""}
    fitting = [each for each in preparations.values()
               if codes and {each.inn.code, each.atc} >= codes]  # fmt: skip  # One filter.
    if len(fitting) > 1:
        text = fold(str(concept.get("text", "")))
        fitting = [each for each in fitting if text and _is_told(each, text)]
    return fitting[0].key if len(fitting) == 1 else ""


def _is_told(preparation: Preparation, text: str) -> bool:
    """Whether a folded text holds the strength and the form of a preparation, in one language."""
    bare = text.replace(" ", "").replace(",", ".")
    form = preparation.form
    for language in _COLUMN:
        strength = strength_label(preparation.strength_text, language)
        form_name = fold(form.name(language)).split()[0]
        is_strength = fold(strength).replace(" ", "").replace(",", ".") in bare
        if is_strength and form_name.rstrip("ieay")[:6] in text:
            return True
    return False
