"""The register of medicines: its size, its facts, and the national lists."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dmed.fhir import validate
from dmed.kit.errors import NotFoundError
from dmed.modules.medicines import api, demo, rules
from dmed.modules.medicines.service import catalogue
from dmed.modules.pharmacy.rules.gs1 import is_gtin
from dmed.trust.gateway.prepare import read_content

ROOT = Path(__file__).parents[3]


def test_catalogue_is_large_enough() -> None:
    """At least 320 products over at least 125 INNs, each with an ATC code of level 5."""
    entries = catalogue()
    prescribed = {each.preparation.inn.key for each in entries.products.values()}

    assert len(entries.products) >= 320
    assert len(prescribed) >= 125
    assert all(re.fullmatch(r"[A-Z]\d\d[A-Z]{2}\d\d", each.atc)
               for each in entries.preparations.values())


def test_gtins_are_valid_and_of_the_demonstration_prefix() -> None:
    """Every GTIN-14 has a right check digit, begins with 0952 and stands once."""
    products = catalogue().products.values()

    assert all(len(each.gtin) == 14 and is_gtin(each.gtin) for each in products)
    assert all(each.gtin.startswith("0952") for each in products)
    assert len({each.gtin for each in products}) == len(products)


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
    listed = set(re.findall(r"^- `([^`]+)`", text, re.MULTILINE))
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
