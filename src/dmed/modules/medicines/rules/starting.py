"""The starting catalogue, read from compact files: one line an ATC code and INN.

    A02BC02 pantoprazole | R en 20mg 40mg | R pi 40mg

Each part behind a bar is R (by prescription) or O (over the counter), a form and strengths. A
strength is an amount, of several INNs joined by "+", then what it is in ("/5ml", "/24h") and what
a unit of presentation holds ("*100": ml, g or doses).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

import msgspec

from dmed.modules.medicines.model import Form, Inn, Preparation, Product
from dmed.modules.medicines.rules.names import check_digit

_FORMS = {
    "t": "tablet", "ft": "film-tablet", "ct": "coated-tablet", "dt": "dispersible-tablet",
    "ch": "chewable-tablet", "er": "er-tablet", "en": "enteric-tablet", "ot": "od-tablet",
    "ef": "effervescent-tablet", "sl": "sublingual-tablet", "vt": "vaginal-tablet",
    "lz": "lozenge", "c": "capsule", "ec": "enteric-capsule", "xc": "er-capsule",
    "ic": "inhalation-capsule", "vcap": "vaginal-capsule", "gs": "granules-sachet",
    "sp": "suspension-powder", "su": "suspension", "sy": "syrup", "os": "oral-solution",
    "od": "oral-drops", "ey": "eye-drops", "ee": "ear-eye-drops", "ead": "ear-drops",
    "nd": "nasal-drops", "ns": "nasal-spray", "ts": "throat-spray", "tsp": "throat-spray",
    "xsp": "external-spray", "eo": "eye-ointment", "eyg": "eye-gel", "cr": "cream",
    "oi": "ointment", "ge": "gel", "xs": "external-solution", "emx": "external-emulsion",
    "rs": "rectal-suppository", "vs": "vaginal-suppository", "i": "injection",
    "pi": "powder-injection", "inf": "infusion", "cc": "concentrate", "emi": "iv-emulsion",
    "pfs": "syringe", "pen": "pen", "inh": "inhaler", "pinh": "powder-inhaler",
    "neb": "nebule", "pa": "patch", "imp": "implant", "sui": "tracheal-suspension",
}  # fmt: skip  # A table of short names.
_WHOLE_CONTENT = {"injection", "concentrate", "iv-emulsion", "syringe", "nebule", "infusion",
                  "tracheal-suspension"}  # fmt: skip  # One set.
"""Forms whose dose is the whole unit: the strength is that of all that it holds."""
_DOSED = {"inhaler", "powder-inhaler"}
_DROPS_PER_ML = 20
_STRENGTH = re.compile(
    r"(?P<amounts>[\d.]+(?:mg|mcg|g|iu|%)(?:\+[\d.]+(?:mg|mcg|g|iu|%))*)"
    r"(?:/(?P<per>[\d.]*)(?P<in>ml|g|h))?(?:\*(?P<holds>[\d.]+))?"
)
_UCUM = {"mg": "mg", "mcg": "ug", "g": "g", "iu": "[IU]", "%": "%"}
_SPOKEN = {"mg": " mg", "mcg": " mcg", "g": " g", "iu": " IU", "%": "%"}
_KEYED = {"mg": "mg", "mcg": "ug", "g": "g", "iu": "iu", "%": "pc"}
_ANTIBIOTICS = re.compile(r"J01|A07AA1|S01AA|S01AE|S02AA|D06A|D10AF|G01AA1|G01AF01|P01AB")
ENDINGS = (("namun", "Namuna Farm"), ("sinov", "Sinov Lab"), ("misol", "Misol Pharma"),
           ("andoz", "Andoza Biotex"), ("demo", "Demo Med Zavodi"))  # fmt: skip  # One table.
"""Endings of invented trade names, and the invented maker of each."""
_PACKS = {"tablet": (10, 20, 30, 60), "capsule": (10, 14, 20, 30), "sachet": (10, 20),
          "ampoule": (1, 5, 10), "suppository": (6, 10), "patch": (5, 7), "syringe": (1, 2, 10),
          "vial": (1,), "pen": (1, 5)}  # fmt: skip  # One table.


_SYLLABLES = ("", "Bio", "Neo", "Alfa", "Medi", "Uni")


class Made(msgspec.Struct, frozen=True):
    """What a strength means: as quantities, in words and in a key."""

    strength: Decimal
    strength_unit: str
    per: Decimal
    per_unit: str
    text: str
    key: str
    dose_per_unit: Decimal


def preparations(
    lines: Iterable[str], inns: Mapping[str, Inn], forms: Mapping[str, Form]
) -> Iterator[Preparation]:
    """The preparations of compact lines; ValueError names a line that breaks the grammar.

    They tell no usual dose: the doctor writes it, nobody has approved one.
    """
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        head, *parts = (part.strip() for part in line.split("|"))
        atc, key = head.split(" {")[0].split()
        for part in parts:
            rule, short, *strengths = part.split()
            if rule not in {"R", "O"} or short not in _FORMS or not strengths:
                raise ValueError(f"no part of the starting catalogue: {line!r}")
            form = forms[_FORMS[short]]
            for strength in strengths:
                yield _preparation(atc, inn_of(key, inns), form, read_strength(strength, form),
                                   is_over_counter=rule == "O")  # fmt: skip  # One call.


def inn_of(key: str, inns: Mapping[str, Inn]) -> Inn:
    """The INN of a key; a fixed combination is made of its components. KeyError where unknown."""
    if key in inns:
        return inns[key]
    parts = [inns[part] for part in key.split("+")]
    return Inn(key=key, code="", uz=" + ".join(one.uz for one in parts),
               ru=" + ".join(one.ru for one in parts), en=" + ".join(one.en for one in parts))


def _preparation(atc: str, inn: Inn, form: Form, made: Made, *, is_over_counter: bool
                 ) -> Preparation:
    return Preparation(
        key=f"{inn.key.replace('+', '-')}-{form.key}-{made.key}", inn=inn, form=form, atc=atc,
        strength=made.strength, strength_unit=made.strength_unit, per=made.per,
        per_unit=made.per_unit, strength_text=made.text, dose_per_unit=made.dose_per_unit,
        prescription_only=not is_over_counter, antibiotic=bool(_ANTIBIOTICS.match(atc)),
        default_dose=Decimal(0), default_times=0, default_days=0)  # fmt: skip  # One row.


def read_strength(text: str, form: Form) -> Made:
    """A compact strength in a form: "125mg/5ml*100" of a suspension is 125 mg in 5 ml, 100 ml a
    bottle; "20mg/ml*2" of an injection is 40 mg in 2 ml. ValueError for anything else.
    """
    match = _STRENGTH.fullmatch(text)
    if match is None:
        raise ValueError(f"no strength: {text!r}")
    amounts = [_amount(part) for part in match["amounts"].split("+")]
    per, unit = Decimal(match["per"] or 1), match["in"] or ""
    holds = Decimal(match["holds"]) if match["holds"] else Decimal(0)
    if form.key in _WHOLE_CONTENT and unit == "ml":
        holds = holds or per
        amounts = [(_plain(value * holds / per), name) for value, name in amounts]
        per = holds
    first, name = amounts[0]
    spoken = " + ".join(f"{value}{_SPOKEN[of]}" for value, of in amounts)
    keyed = "-".join(_slug(value) + _KEYED[of] for value, of in amounts)
    per_unit = {"": "1", "ml": "mL", "g": "g", "h": "h"}[unit]
    if form.key in _DOSED or (form.key == "nasal-spray" and name == "mcg"):
        per_unit, spoken = "{puff}", spoken + "/dose"
    elif unit:
        spoken += f"/{'' if per == 1 else f'{per} '}{unit}"
        keyed += f"-{_slug(per)}{unit}"
    if holds:
        keyed += f"-{_slug(holds)}"
        if not (form.key in _WHOLE_CONTENT and unit == "ml"):
            spoken += f", {holds} {_held(form, name)}"
    return Made(first, _UCUM[name], per, per_unit, spoken, keyed, _doses(form, holds, first, name))


def _amount(text: str) -> tuple[Decimal, str]:
    match = re.fullmatch(r"([\d.]+)(\D+)", text)
    if match is None:
        raise ValueError(f"no amount: {text!r}")
    return Decimal(match[1]), match[2]


def _plain(value: Decimal) -> Decimal:
    return Decimal(f"{value.normalize():f}")


def _slug(value: Decimal) -> str:
    return f"{value:f}".replace(".", "_")


def _held(form: Form, name: str) -> str:
    if form.dose_unit == "puff" and name == "mcg":
        return "doses"
    if form.key in {"powder-inhaler", "inhaler"} or (form.key == "nasal-spray" and name != "%"):
        return "doses"
    return "g" if form.unit == "tube" else "ml"


def _doses(form: Form, holds: Decimal, strength: Decimal, name: str) -> Decimal:
    """How many dose units one unit of presentation holds."""
    if form.dose_unit == form.unit or not holds:
        return Decimal(1)
    if form.dose_unit == "iu":
        # A pen of insulin is dosed in units; of another substance in what it holds.
        return strength * holds if name == "iu" else holds
    if form.dose_unit == "drop":
        return holds * _DROPS_PER_ML
    if form.dose_unit == "puff" and name == "%":
        return holds * 10
    return holds


def products(
    preparations_: Iterable[Preparation], first_number: int, is_enough: frozenset[str]
) -> Iterator[Product]:
    """Two invented products of each preparation not in `is_enough`, numbered from `first_number`,
    always the same: sample trade name, maker, GTIN, registration and IKPU.
    """
    number = first_number
    for each in preparations_:
        if each.key in is_enough:
            continue
        chance = zlib.crc32(each.key.encode())
        for copy in range(2):
            ending, maker = ENDINGS[(chance + copy * (1 + chance // 5 % 4)) % len(ENDINGS)]
            packs = _PACKS.get(each.form.unit, (1,))
            yield sample(number, each, ending, maker,
                         Decimal(packs[(chance // 7 + copy) % len(packs)]))  # fmt: skip
            number += 1


def many(preparations_: Iterable[Preparation], count: int) -> Iterator[Product]:
    """So many invented products, round and round over the preparations; each round has trade names
    of its own.
    """
    chosen = list(preparations_)
    for place in range(count):
        each = chosen[place % len(chosen)]
        turn = place // len(chosen)
        ending, maker = ENDINGS[turn % len(ENDINGS)]
        packs = _PACKS.get(each.form.unit, (1,))
        made = sample(place + 1, each, ending, maker, Decimal(packs[turn % len(packs)]))
        yield msgspec.structs.replace(
            made, trade=_SYLLABLES[turn // len(ENDINGS) % len(_SYLLABLES)] + made.trade.lower()
            if turn >= len(ENDINGS) else made.trade)


def sample(number: int, each: Preparation, ending: str, maker: str, pack: Decimal) -> Product:
    """One invented product; its GTIN carries the GS1 demonstration prefix 952."""
    place = [name for name, _ in ENDINGS].index(ending) + 1
    digits = f"0952{place}{number:08d}"
    letters = re.sub(r"[^a-z]", "", each.inn.uz.lower()) or "dori"
    return Product(
        key=f"nm-{number:05d}", gtin=digits + check_digit(digits),
        trade=letters[:5].capitalize() + ending, maker=maker,
        registration=f"UZ/NAMUNA/2025/{number:05d}", preparation=each, pack_units=pack,
        stage=stage_of(each), ikpu=f"00000{number:012d}", shelf_months=24 + number % 3 * 12)


def stage_of(each: Preparation) -> int:
    """When the medicine goes over to electronic prescriptions: 1 systemic antibiotics, synthetic
    antibacterials and systemic hormones (order of 15 December 2025), 2 what else is by
    prescription, 0 over the counter.
    """
    if not each.prescription_only:
        return 0
    return 1 if each.atc[:3] in {"J01", "H02", "G03", "H01"} or each.atc[:4] == "P01A" else 2
