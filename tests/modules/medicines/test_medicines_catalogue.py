"""The register of medicines: its size, its facts, and the national lists."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dmed.fhir import validate
from dmed.kit.errors import NotFoundError
from dmed.kit.text import fold
from dmed.modules.medicines import api, demo, rules
from dmed.modules.medicines.rules import starting
from dmed.modules.medicines.service import catalogue
from dmed.modules.pharmacy.rules.gs1 import is_gtin
from dmed.trust.gateway.prepare import read_content

ROOT = Path(__file__).parents[3]
NAMED_OTHERWISE = frozenset({
    "A03AX13 simeticone", "A06AC01 ispaghula", "A07XA04 racecadotril", "A09AA02 pancreatin",
    "A10BJ03 lixisenatide", "A11HA03 tocopherol", "B03XA01 epoetin-alfa", "B05BA03 glucose",
    "B05BB01 sodium-chloride", "G02CX01 atosiban", "J01EE01 sulfamethoxazole",
    "L04AC13 ixekizumab", "R07AA02 poractant-alfa", "S01XA20 carbomer",
})  # fmt: skip  # A list.
"""Codes whose name in the national list is a group, an older word, or (ixekizumab) an error."""


def test_catalogue_is_large_enough() -> None:
    """At least 3,100 products over at least 600 single INNs, each with an ATC code of level 5."""
    entries = catalogue()
    prescribed = {part for each in entries.products.values()
                  for part in each.preparation.inn.components}  # fmt: skip  # One set.

    assert len(entries.products) >= 3_100
    assert len(prescribed) >= 600
    assert all(re.fullmatch(r"[A-Z]\d\d[A-Z]{2}\d\d", each.atc)
               for each in entries.preparations.values())


def test_gtins_are_valid_and_of_the_demonstration_prefix() -> None:
    """Every GTIN-14 has a right check digit, begins with 0952 and stands once."""
    products = catalogue().products.values()

    assert all(len(each.gtin) == 14 and is_gtin(each.gtin) for each in products)
    assert all(each.gtin.startswith("0952") for each in products)
    assert len({each.gtin for each in products}) == len(products)


def test_an_inn_has_the_atc_codes_of_its_name(shared_data: Path) -> None:
    """Where the national list knows an ATC code, its Russian name is that of the INN, but for the
    few named here: groups, household names, and one error of the list.
    """
    names = {concept["code"]: next((entry["value"] for entry in concept.get("designation", ())
                                    if entry["language"] == "ru"), "")
             for concept in _concepts(_national(shared_data, "atc-classification-cs")["concept"])}
    other = set()
    for each in catalogue().preparations.values():
        told, first = fold(names.get(each.atc, "")), each.inn.components[0]
        meant = [fold(catalogue().inns[part].ru) for part in each.inn.components]
        if told and not any(one[:5] in told or told[:5] in one for one in meant):
            other.add(f"{each.atc} {first}")

    assert other <= NAMED_OTHERWISE, other - NAMED_OTHERWISE


def test_compact_lines_read_as_they_mean() -> None:
    """Strengths of the compact files become quantities: per ml, of a whole ampoule, in drops."""
    forms = catalogue().forms
    for text, form, told in (
        ("125mg/5ml*100", "suspension", (125, "mg", 5, "mL", "125 mg/5 ml, 100 ml", 100)),
        ("20mg/ml*2", "injection", (40, "mg", 2, "mL", "40 mg/2 ml", 1)),
        ("0.5%*5", "eye-drops", (Decimal("0.5"), "%", 1, "1", "0.5%, 5 ml", 100)),
        ("25mcg*120", "inhaler", (25, "ug", 1, "{puff}", "25 mcg/dose, 120 doses", 120)),
        ("50mcg/24h", "patch", (50, "ug", 24, "h", "50 mcg/24 h", 1)),
        ("500mg+50mg", "film-tablet", (500, "mg", 1, "1", "500 mg + 50 mg", 1)),
    ):  # fmt: skip  # A table.
        made = starting.read_strength(text, forms[form])
        assert (made.strength, made.strength_unit, made.per, made.per_unit, made.text,
                made.dose_per_unit) == told
    for text in ("", "mg", "20", "20mg/", "20mg*", "x20mg"):
        with pytest.raises(ValueError, match="no strength"):
            starting.read_strength(text, forms["tablet"])
    with pytest.raises(ValueError, match="no part"):
        list(starting.preparations(["A02BC02 omeprazole | X en 20mg"], catalogue().inns, forms))


def test_only_what_is_told_has_a_usual_dose() -> None:
    """Preparations of the compact files fill no dose in: nobody has approved one."""
    told = sum(each.default_dose > 0 for each in catalogue().preparations.values())

    assert told == 342


def test_trade_names_look_invented() -> None:
    """Every trade name ends in one of our sample words, and no INN bears it."""
    endings = ("namun", "sinov", "misol", "andoz", "demo")
    inns = {name.lower() for each in catalogue().inns.values() for name in (each.en, each.uz)}

    assert all(each.trade.endswith(endings) for each in catalogue().products.values())
    assert all(each.trade.lower() not in inns for each in catalogue().products.values())


def test_every_preparation_can_be_dispensed_and_substituted() -> None:
    """Each preparation has a product, and many have products of two makers."""
    groups = catalogue().by_preparation

    assert all(groups.values())
    assert sum(len({each.maker for each in group}) > 1 for group in groups.values()) >= 100


def test_labels_are_whole_in_three_languages() -> None:
    """Names of INN and form stand in uz, ru and en, Russian in Cyrillic letters."""
    for each in catalogue().preparations.values():
        assert all(rules.label(each, language) for language in ("uz", "ru", "en"))
        assert re.search("[а-я]", rules.label(each, "ru"))
        assert not re.search("[а-яА-Я]", rules.label(each, "uz"))


def test_products_are_valid_fhir_medications() -> None:
    """Every product is a Medication that the platform's own validation accepts."""
    found = list(demo.resources())

    assert len(found) == len(catalogue().products)
    for each in found:
        resource = read_content(each, "Medication")
        assert not [issue for issue in validate.validate(resource) if issue.severity == "error"]


def _concepts(concepts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for concept in concepts:
        yield concept
        yield from _concepts(concept.get("concept", []))


def _codes(concepts: list[dict[str, Any]]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _codes(concept.get("concept", []))


def _national(shared_data: Path, name: str) -> dict[str, Any]:
    path = shared_data / "uz-core" / "core" / "CodeSystem" / f"CodeSystem-{name}.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_inn_and_atc_stand_in_the_national_lists(shared_data: Path) -> None:
    """Every INN and ATC code is found in the national lists; what is not found there is listed for
    review in docs/reference/medicines.md, exactly.
    """
    atc = set(_codes(_national(shared_data, "atc-classification-cs")["concept"]))
    inns = {
        concept["code"]: {entry["value"] for entry in concept.get("designation", ())
                          if entry["language"] == "en"}
        for concept in _national(shared_data, "inn-medication-name-cs")["concept"]
    }
    single = [each for each in catalogue().inns.values() if len(each.components) == 1]

    missing = {each.key for each in single if each.code not in inns}
    missing |= {each.atc for each in catalogue().preparations.values() if each.atc not in atc}

    text = (ROOT / "docs" / "reference" / "medicines.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([^`]+)`", text.partition("### INNs")[2]))
    assert missing == listed
    for each in single:
        assert not each.code or each.en in inns[each.code]


def test_dose_forms_stand_in_the_national_list(shared_data: Path) -> None:
    """Every dose form has a code of the national list of dose forms."""
    codes = set(_codes(_national(shared_data, "medication-doseform-cs")["concept"]))

    assert {each.code for each in catalogue().forms.values()} <= codes


def test_unknown_keys_are_not_found() -> None:
    """An unknown INN, preparation or product is a NotFoundError that names it."""
    for ask in (api.inn, api.preparation, api.product):
        with pytest.raises(NotFoundError, match="nonsense"):
            ask("nonsense")


def test_preparation_is_found_again_in_its_resources() -> None:
    """A preparation is read back from a MedicationRequest's reference and from a Medication."""
    for product in api.all_products()[::25]:
        key = product.preparation.key
        reference = {"reference": {"reference": f"Medication/{product.key}"}}
        assert api.preparation_of(api.medication(key)) == product.preparation
        assert api.preparation_of(reference) == product.preparation
        assert api.preparation_of(api.product_resource(product.key)) == product.preparation
        assert api.product(product.gtin) == product


@pytest.mark.parametrize(
    ("concept", "key"),
    [
        ({"coding": [{"system": rules.INN_SYSTEM, "code": "000439"}],
          "text": "Amoksitsillin 500 mg kapsula"}, "amoxicillin-capsule-500mg"),
        ({"coding": [{"system": rules.ATC_SYSTEM, "code": "J01CA04"}],
          "text": "Amoxicillin 250 mg capsules"}, "amoxicillin-capsule-250mg"),
        ({"coding": [{"system": rules.ATC_SYSTEM, "code": "J01XX01"}]},
         "fosfomycin-granules-sachet-3g"),
        ({"coding": [{"system": rules.INN_SYSTEM, "code": "000439"}]}, ""),
        ({"coding": [{"system": rules.INN_SYSTEM, "code": "000439"}], "text": "amoxicillin"}, ""),
        ({"text": "Amoksitsillin 500 mg kapsula"}, ""),
        ({"coding": [{"system": "http://snomed.info/sct", "code": "27658006"}]}, ""),
    ],
)  # fmt: skip  # A table.
def test_an_inn_code_is_no_guess(concept: dict[str, Any], key: str) -> None:
    """A code that fits several preparations needs strength and form in the text; nothing is
    guessed from a text alone.
    """
    found = api.preparation_of({"concept": concept})

    assert (found.key if found else "") == key
