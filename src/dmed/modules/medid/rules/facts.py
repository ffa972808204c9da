"""Records of a person as the facts that prescribing goes by: pure, of the card's records or of
those that another system sends along.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal

from dmed.modules.medid.model import PersonFacts
from dmed.modules.medid.rules import numbers, reading
from dmed.modules.medid.rules.reading import Record

CREATININE_UMOL = "14682-9"
CREATININE_MG_DL = "2160-0"
EGFR_CODES = ("62238-1", "98979-8", "33914-3", "48642-3", "77147-7")
"""LOINC of a kidney function that a laboratory worked out itself."""
KIDNEY_CODES = (CREATININE_UMOL, CREATININE_MG_DL, *EGFR_CODES)
FRESH_DAYS = 365
"""A kidney function older than a year is not the person's any more."""
BREASTFEEDING_CODE = "Z39.1"
_BREASTFEEDING_DAYS_MAX = 730
_UMOL_PER_MG_DL = Decimal("88.42")
_ADULT_YEARS = 18


def facts_of(
    patient: Record,
    *,
    allergies: Iterable[Record] = (),
    conditions: Iterable[Record] = (),
    requests: Iterable[Record] = (),
    weights: Iterable[Record] = (),
    kidneys: Iterable[Record] = (),
    today: date,
) -> PersonFacts:
    """What prescribing must know of a person on a day. Measurements come newest first."""
    days, years, _ = reading.ages(patient, today)
    weight_kg, weight_on = reading.weight(list(weights))
    standing = [one for one in conditions if reading.is_standing(one)]
    sex = str(patient.get("gender", ""))
    egfr, egfr_on = kidney_function(kidneys, years, sex, today)
    return PersonFacts(
        id=str(patient.get("id", "")),
        age_days=days,
        age_years=years,
        sex=sex,
        allergies=tuple(reading.allergy(one) for one in allergies
                        if reading.is_active_allergy(one)),
        pregnancy_weeks=reading.pregnancy_weeks(patient, standing, today),
        is_breastfeeding=sex != "male" and any(_is_breastfeeding(one, today) for one in standing),
        weight_kg=weight_kg,
        weight_on=weight_on,
        egfr=egfr,
        egfr_on=egfr_on,
        diagnoses=tuple(reading.diagnosis(one) for one in standing),
        medicines=reading.one_each(reading.medicine(one, "uz") for one in requests
                                   if reading.is_taken(one, today)),
    )  # fmt: skip  # One record of facts.


def _is_breastfeeding(condition: Record, today: date) -> bool:
    code = reading.coding(condition.get("code", {}), reading.ICD10)
    began = numbers.read_date(str(condition.get("onsetDateTime", ""))[:10])
    since = (today - began).days if began else 0
    return code.startswith(BREASTFEEDING_CODE) and 0 <= since <= _BREASTFEEDING_DAYS_MAX


def kidney_function(
    observations: Iterable[Record], years: int, sex: str, today: date
) -> tuple[Decimal | None, str]:
    """(eGFR in mL/min/1.73 m2, day) of the newest measurement within a year, or (None, ""): as the
    laboratory gave it, else of an adult's creatinine.
    """
    for one in observations:
        day = numbers.read_date(str(one.get("effectiveDateTime", ""))[:10])
        value = (one.get("valueQuantity") or {}).get("value")
        if value is None or day is None or one.get("status") in {"entered-in-error", "cancelled"}:
            continue
        if not today - timedelta(days=FRESH_DAYS) <= day <= today:
            continue
        found = _function(one, Decimal(str(value)), years, sex)
        if found is not None:
            return found, day.isoformat()
    return None, ""


def _function(one: Record, value: Decimal, years: int, sex: str) -> Decimal | None:
    code = reading.coding(one.get("code", {}), reading.LOINC)
    if code in EGFR_CODES:
        return value
    unit = str(one["valueQuantity"].get("code") or one["valueQuantity"].get("unit") or "")
    mg_dl = value if unit == "mg/dL" else value / _UMOL_PER_MG_DL if unit == "umol/L" else None
    if mg_dl is None or code not in KIDNEY_CODES or years < _ADULT_YEARS or mg_dl <= 0:
        return None
    return estimated(mg_dl, years, sex)


def estimated(creatinine_mg_dl: Decimal, years: int, sex: str) -> Decimal | None:
    """The eGFR of an adult by the CKD-EPI equation of 2021 (Inker et al., N Engl J Med 2021),
    in mL/min/1.73 m2 rounded to one; None for an unknown sex.
    """
    if sex not in {"male", "female"} or creatinine_mg_dl <= 0:
        return None
    is_female = sex == "female"
    share = creatinine_mg_dl / (Decimal("0.7") if is_female else Decimal("0.9"))
    low = min(share, Decimal(1)) ** (Decimal("-0.241") if is_female else Decimal("-0.302"))
    high = max(share, Decimal(1)) ** Decimal("-1.200")
    made = 142 * low * high * Decimal("0.9938") ** years
    return (made * Decimal("1.012") if is_female else made).quantize(Decimal(1))
