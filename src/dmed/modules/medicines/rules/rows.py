"""Rows of a feed: what is repaired and noted, what is put aside and why.

A row is a mapping of texts under the names of `FIELDS`, whatever shape its feed has. A row that
says something impossible is put aside whole; what it merely does not say stays empty.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation

import msgspec

from dmed.kit.text import fold
from dmed.modules.medicines.model import Entry, Form, Rejected, Strength
from dmed.modules.medicines.rules.names import is_gtin

FIELDS = (
    "key", "product", "trade", "maker", "inn", "atc", "form", "strength", "pack", "pack_text",
    "gtin", "registration", "routes", "rule", "stage", "essential", "price", "currency",
    "shelf_months", "from", "until", "ikpu", "uzpharm", "box_group", "status",
)  # fmt: skip  # One list.
ROW_CHARACTERS_MAX = 20_000
NAME_CHARACTERS_MAX = 500
KEY_CHARACTERS_MAX = 40
RAW_CHARACTERS_MAX = 2_000
UNLIMITED_YEAR = 2100
"""A year from which on a register means "without end" (one real register writes 2124)."""
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]*")
_ATC = re.compile(r"[A-Z]\d\d(?:[A-Z](?:[A-Z](?:\d\d)?)?)?")
_PARTS = re.compile(r"\s*(?:[+;|]|,(?!\d))\s*")
_HOMOGLYPHS = str.maketrans("АВЕКМНОРСТХаеорсухіІ", "ABEKMHOPCTXaeopcyxiI")
_BACK = str.maketrans("ABEKMHOPCTXaeopcyx", "АВЕКМНОРСТХаеорсух")
_WORD = re.compile(r"\w+")
_LATIN = re.compile("[A-Za-z]")
_MOJIBAKE = re.compile(r"[ÐÑ][\u0080-¿]|â€|Ã[\u0080-¿]|Р[°±µ»Ѓ‚ёѓ]|С[‚ЃЂ‹]|�")
_STARS = re.compile("[*®™]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_AMOUNT = re.compile(
    r"(?P<value>\d[\d  ]*(?:[.,]\d+)?)\s*(?P<unit>[^\d\s,;+/]+(?:\.[^\d\s,;+/]+)*)")
_STRENGTH = re.compile(
    r"(?P<amounts>[^/]+?)(?:\s*/\s*(?P<per>\d+(?:[.,]\d+)?)?\s*(?P<in>[^\W\d]+))?"
    r"(?:,\s+(?P<holds>\d+(?:[.,]\d+)?)\s*(?P<of>[^\W\d]+))?"
)
_UNITS = {
    "mg": "mg", "мг": "mg", "g": "g", "г": "g", "mcg": "ug", "мкг": "ug", "µg": "ug", "ug": "ug",
    "μg": "ug", "mkg": "ug", "microgrammes": "ug", "microgramme": "ug", "%": "%", "iu": "[IU]",
    "ме": "[IU]", "xb": "[IU]", "ui": "[IU]", "u.i.": "[IU]", "ml": "mL", "мл": "mL", "h": "h",
    "ч": "h", "dose": "{puff}", "доза": "{puff}", "doza": "{puff}", "mmol": "mmol",
    "milligrammes": "mg", "milligramme": "mg", "grammes": "g", "gramme": "g", "mg.": "mg",
    "ng": "ng", "kg": "kg", "unités": "U", "u": "U", "mbq": "MBq", "gbq": "GBq", "kbq": "kBq",
}  # fmt: skip  # A table.
_SALTS = frozenset({
    "hydrochloride", "chlorhydrate", "gidroxlorid", "sodium", "sodique", "natriy", "potassium",
    "potassique", "maleate", "mesilate", "mesylate", "tartrate", "fumarate", "besilate",
    "besylate", "sulfate", "phosphate", "citrate", "succinate", "acetate", "dihydrate",
    "monohydrate", "trihydrate", "anhydrous", "anhydre", "monohydrat", "hemihydrate",
    "dihydrochloride", "hydrobromide", "bromhydrate", "calcium", "calcique", "trihydratee",
    "base", "de", "hydrate", "magnesium", "nitrate", "bisulfate",
})  # fmt: skip  # A list of words reads better filled.


class Names(msgspec.Struct, frozen=True):
    """What names mean here: folded INN names to keys, dose form codes and words to keys."""

    inns: Mapping[str, str]
    inn_names: Mapping[str, str]
    """Key to the name in keys of preparations."""
    forms: Mapping[str, Form]
    links: Mapping[str, str]
    """Substances that a person linked: folded name to INN key, "" for "none of ours"."""


class FaultError(Exception):
    """A cell that makes its row unusable: the code of the reason, and the value."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(f"{reason}: {words}")
        self.reason = reason
        self.words = words


def read(place: int, row: Mapping[str, str], names: Names) -> Entry | Rejected:
    """The entry that a row means, or the row put aside with its first reason."""
    try:
        return _entry(row, names)
    except FaultError as fault:
        raw = " | ".join(f"{name}={value}" for name, value in row.items() if value)
        return Rejected(place, row.get("key", "")[:KEY_CHARACTERS_MAX], fault.reason,
                        _shown(fault.words, 200), _shown(raw, RAW_CHARACTERS_MAX))


def _shown(text: str, most: int) -> str:
    return _CONTROL.sub("·", text)[:most]


def _entry(row: Mapping[str, str], names: Names) -> Entry:
    whole = "\n".join(row.values())
    if len(whole) > ROW_CHARACTERS_MAX or _CONTROL.search(whole) or _MOJIBAKE.search(whole):
        for name, value in row.items():
            _check_cell(name, value)
        if len(whole) > ROW_CHARACTERS_MAX:
            raise FaultError("too-long", str(len(whole)))
    notes: list[str] = []
    key = _key(row.get("key", ""))
    trade = _named(row.get("trade", ""), notes)
    if not trade:
        raise FaultError("no-name", key)
    gtin = _gtin(row.get("gtin", ""), notes)
    form = names.forms.get(fold(row.get("form", "")))
    strengths, made = _strengths(row, names, notes)
    if row.get("status", "") == "inactive":
        # Told for the record, and no longer offered.
        notes.append("inactive")
    until = _day(row.get("until", ""), "until")
    if until and until.year >= UNLIMITED_YEAR:
        notes.append("unlimited")
        until = None
    begun = _day(row.get("from", ""), "from")
    if begun and until and until < begun:
        raise FaultError("dates", f"{begun} > {until}")
    units = _number(row.get("pack", ""), "pack")
    if units is not None and units <= 0:
        raise FaultError("pack", row["pack"])
    return Entry(
        key=key, product=_key(row.get("product", "") or key), trade=trade,
        maker=_named(row.get("maker", ""), notes), form=form.key if form else "",
        form_text=_clean(row.get("form", "")), strengths=strengths,
        strength_text=_clean(row.get("strength", "")),
        preparation="" if "inactive" in notes else _preparation(form, strengths, made, names),
        gtin=gtin, registration=_clean(row.get("registration", ""))[:100],
        atc=_atc(row.get("atc", ""), notes),
        routes=tuple(one for one in _PARTS.split(_clean(row.get("routes", ""))) if one),
        pack_text=_clean(row.get("pack_text", "")), pack_units=units,
        dose_per_unit=_doses(form, made), prescription_only=row.get("rule", "R") != "O",
        stage=_small(row.get("stage", ""), "stage", 9),
        is_essential=row.get("essential", "") in {"1", "true", "yes"},
        price_ceiling=_price(row.get("price", "")), currency=_clean(row.get("currency", ""))[:3],
        shelf_months=_small(row.get("shelf_months", ""), "shelf_months", 240),
        registered_from=begun.isoformat() if begun else "",
        registered_until=until.isoformat() if until else "",
        ikpu=_digits(row.get("ikpu", ""), "ikpu"), uzpharm=_clean(row.get("uzpharm", ""))[:40],
        box_group=_clean(row.get("box_group", ""))[:40],
        is_withdrawn=row.get("status", "") == "withdrawn",
        notes=tuple(dict.fromkeys(notes)))  # fmt: skip  # One row.


def _check_cell(name: str, value: str) -> None:
    if len(value) > ROW_CHARACTERS_MAX:
        raise FaultError("too-long", f"{name}: {len(value)}")
    if _CONTROL.search(value):
        raise FaultError("control", name)
    if _MOJIBAKE.search(value):
        raise FaultError("encoding", value[:100])


def _clean(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def _key(text: str) -> str:
    text = _clean(text)
    if not text:
        raise FaultError("no-key", "")
    if len(text) > KEY_CHARACTERS_MAX or not _KEY.fullmatch(text):
        raise FaultError("key", text)
    return text


def _named(text: str, notes: list[str]) -> str:
    """A name without stars and foreign letters inside its words."""
    text = _clean(_STARS.sub(" ", text))
    if len(text) > NAME_CHARACTERS_MAX:
        raise FaultError("too-long", text[:100])
    if text.isascii() or not _LATIN.search(text):
        return text
    mended = _WORD.sub(lambda match: one_script(match.group(0)), text)
    if mended != text:
        notes.append("homoglyphs")
    return mended


def one_script(word: str) -> str:
    """A word that mixes Latin and Cyrillic letters of one look, in the script of its others."""
    latin = sum("A" <= letter <= "z" for letter in word)
    cyrillic = sum("Ѐ" <= letter <= "ӿ" for letter in word)
    if not latin or not cyrillic:
        return word
    first, second = (_HOMOGLYPHS, _BACK) if latin >= cyrillic else (_BACK, _HOMOGLYPHS)
    for table in (first, second):
        made = word.translate(table)
        if not (any("A" <= one <= "z" for one in made) and any("Ѐ" <= one <= "ӿ" for one in made)):
            return made
    return word


def _gtin(text: str, notes: list[str]) -> str:
    digits = _clean(text).replace(" ", "")
    if not digits:
        notes.append("no-gtin")
        return ""
    if not digits.isascii() or not digits.isdecimal() or len(digits) not in {8, 12, 13, 14}:
        raise FaultError("gtin", text)
    if not is_gtin(digits.zfill(14)):
        raise FaultError("gtin", text)
    return digits.zfill(14)


def _atc(text: str, notes: list[str]) -> str:
    codes = [one for one in _PARTS.split(_clean(text).upper().translate(_HOMOGLYPHS)) if one]
    if not codes:
        notes.append("no-atc")
        return ""
    if not all(_ATC.fullmatch(one) for one in codes):
        raise FaultError("atc", text)
    if len(codes) > 1:
        notes.append("several-atc")
    return codes[0]


def _day(text: str, name: str) -> date | None:
    text = _clean(text)
    if not text:
        return None
    match = re.fullmatch(r"(\d{2})[./](\d{2})[./](\d{4})", text)
    iso = f"{match[3]}-{match[2]}-{match[1]}" if match else text
    try:
        return date.fromisoformat(iso)
    except ValueError:
        raise FaultError("date", f"{name}: {text}") from None


def _number(text: str, name: str) -> Decimal | None:
    text = _clean(text).replace(" ", "").replace(" ", "").replace(",", ".")
    if not text:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise FaultError("number", f"{name}: {text}") from None
    if not value.is_finite() or abs(value) >= Decimal("1e12"):
        raise FaultError("number", f"{name}: {text}")
    return Decimal(f"{value.normalize():f}")


def _price(text: str) -> Decimal | None:
    value = _number(text, "price")
    if value is not None and value <= 0:
        raise FaultError("price", text)
    return value


def _small(text: str, name: str, most: int) -> int:
    value = _number(text, name)
    if value is None:
        return 0
    if value != value.to_integral_value() or not 0 <= value <= most:
        raise FaultError("number", f"{name}: {text}")
    return int(value)


def _digits(text: str, name: str) -> str:
    text = _clean(text)
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise FaultError("number", f"{name}: {text}")
    return text


# Substances and strengths -----------------------------------------------------------------------


class Read(msgspec.Struct, frozen=True):
    """A strength cell as quantities: (value, unit) of each substance, in what, held how much."""

    amounts: tuple[tuple[Decimal, str], ...]
    per: Decimal
    per_unit: str
    holds: Decimal
    slug: str


def strength_of(text: str) -> Read | None:
    """A strength cell read, None where it is prose: "400 mg + 57 mg/5 ml, 70 ml", "0,5 %"."""
    match = _STRENGTH.fullmatch(_clean(text).replace(" ", " "))
    if match is None:
        return None
    amounts: list[tuple[Decimal, str]] = []
    for part in match["amounts"].split("+"):
        one = _AMOUNT.fullmatch(part.strip())
        unit = _UNITS.get(one["unit"].lower()) if one else None
        if one is None or unit is None or len(one["value"]) > 20:
            return None
        amounts.append((_decimal(one["value"]), unit))
    inside = _UNITS.get((match["in"] or "").lower(), "")
    if match["in"] and not inside:
        return None
    per = _decimal(match["per"] or "1")
    holds = _decimal(match["holds"] or "0")
    if per <= 0:
        return None
    slug = "-".join(f"{value:f}{unit}" for value, unit in amounts)
    return Read(tuple(amounts), per, inside or "1", holds,
                f"{slug}/{per:f}{inside}*{holds:f}")  # fmt: skip  # One record.


def _decimal(text: str) -> Decimal:
    value = Decimal(text.replace(" ", "").replace(" ", "").replace(",", "."))
    return Decimal(f"{value.normalize():f}")


def _strengths(
    row: Mapping[str, str], names: Names, notes: list[str]
) -> tuple[tuple[Strength, ...], Read | None]:
    inns = [_named(one, notes) for one in _PARTS.split(_clean(row.get("inn", "")))]
    inns = [one for one in inns if one]
    text = _clean(row.get("strength", ""))
    made = strength_of(text) if text else None
    if not inns:
        notes.append("no-inn")
        return (), made
    linked = [link(one, names) for one in inns]
    if not all(linked):
        notes.append("no-link")
    if made is None or len(made.amounts) != len(inns):
        notes.append("strength-prose")
        return tuple(Strength(substance=one, inn=inn, text=text)
                     for one, inn in zip(inns, linked, strict=True)), None
    return tuple(
        Strength(substance=one, inn=inn, value=value, unit=unit, per=made.per,
                 per_unit=made.per_unit)
        for one, inn, (value, unit) in zip(inns, linked, made.amounts, strict=True)), made


def link(name: str, names: Names) -> str:
    """The INN key that a name certainly means, "" else: the name itself, a person's decision, the
    name without accents, salts and stars. Never a guess: no nearness of spelling.
    """
    folded = fold(name)
    if folded in names.links:
        return names.links[folded]
    if folded in names.inns:
        return names.inns[folded]
    bare = " ".join(word.strip("(),") for word in folded.replace("-", " ").split()
                    if word.strip("(),") not in _SALTS)  # fmt: skip  # One text.
    return names.inns.get(bare, "") if bare else ""


def _preparation(
    form: Form | None, strengths: tuple[Strength, ...], made: Read | None, names: Names
) -> str:
    """The key of INN + form + strength, "" where one of them is not certain."""
    if form is None or made is None or not strengths or not all(one.inn for one in strengths):
        return ""
    inn = "+".join(one.inn for one in strengths)
    known = f"{inn}|{form.key}|{made.slug}"
    if known in names.inn_names:
        return names.inn_names[known]
    slug = made.slug.replace("[IU]", "iu").replace("%", "pc").replace(".", "_")
    slug = re.sub(r"[^a-zA-Z0-9_]+", "-", slug.removesuffix("*0").removesuffix("/1")).strip("-")
    return f"{inn.replace('+', '-')}-{form.key}-{slug.lower()}"


def _doses(form: Form | None, made: Read | None) -> Decimal:
    if form is None or made is None or form.dose_unit == form.unit or not made.holds:
        return Decimal(1)
    return made.holds * (20 if form.dose_unit == "drop" else 1)
