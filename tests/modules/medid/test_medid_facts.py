"""The facts that prescribing goes by: kidney function and breast-feeding, read of records."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from dmed.modules.medid.rules import facts, reading

TODAY = date(2026, 11, 22)


def observation(code: str, value: str, unit: str, day: str = "2026-11-01") -> dict[str, Any]:
    """A measurement."""
    return {"status": "final", "code": {"coding": [{"system": reading.LOINC, "code": code}]},
            "effectiveDateTime": day, "valueQuantity": {"value": Decimal(value), "code": unit}}


@pytest.mark.parametrize(
    ("creatinine", "years", "sex", "egfr"),
    [("1.0", 50, "male", 92), ("1.0", 50, "female", 69), ("0.6", 30, "female", 124),
     ("2.5", 70, "male", 27), ("0.7", 20, "male", 136)],
)  # fmt: skip  # Values of the published equation.
def test_the_equation_of_2021(creatinine: str, years: int, sex: str, egfr: int) -> None:
    """CKD-EPI without race, as worked out by hand."""
    found = facts.estimated(Decimal(creatinine), years, sex)

    assert found is not None
    assert abs(found - egfr) <= 1


def test_units_ages_and_what_is_stale() -> None:
    """Micromoles are converted; a laboratory's own value stands; a child's creatinine, a unit that
    is not known and a value older than a year say nothing, and the next one is asked.
    """
    umol = observation("14682-9", "88.42", "umol/L")
    own = observation("62238-1", "41", "mL/min/{1.73_m2}")
    old = observation("62238-1", "15", "mL/min/{1.73_m2}", "2025-11-01")
    odd = observation("2160-0", "9", "stones")

    assert facts.kidney_function([umol], 50, "male", TODAY) == (Decimal(92), "2026-11-01")
    assert facts.kidney_function([own, umol], 50, "male", TODAY)[0] == 41
    assert facts.kidney_function([old], 50, "male", TODAY) == (None, "")
    assert facts.kidney_function([odd, own], 50, "male", TODAY)[0] == 41
    assert facts.kidney_function([umol], 10, "male", TODAY) == (None, "")
    assert facts.kidney_function([umol], 50, "", TODAY) == (None, "")


def test_breast_feeding_is_a_standing_condition_of_a_woman() -> None:
    """Z39.1 within two years, not of a man, not one that was closed."""
    condition = {"id": "c", "clinicalStatus": {"coding": [{"code": "active"}]},
                 "code": {"coding": [{"system": reading.ICD10, "code": "Z39.1"}]},
                 "onsetDateTime": "2026-06-01"}  # fmt: skip  # One record.

    def made(gender: str, record: dict[str, Any]) -> bool:
        return facts.facts_of({"id": "p", "gender": gender}, conditions=[record],
                              today=TODAY).is_breastfeeding  # fmt: skip  # One call.

    assert made("female", condition)
    assert not made("male", condition)
    assert not made("female", {**condition, "onsetDateTime": "2024-06-01"})
    assert not made("female", {**condition, "clinicalStatus": {"coding": [{"code": "resolved"}]}})
