"""A person about to be registered: brought to normal form, and everything there is to say of it.

The form of a PINFL is hard, its check digit a warning, since numbers with a wrong one are in use;
birth date and sex that it tells are compared with those typed.
"""

from __future__ import annotations

import re
from datetime import date

from dmed.modules.medid.model import CATEGORIES, Draft, Finding
from dmed.modules.medid.rules import documents, spelling
from dmed.modules.medid.rules.numbers import (
    age_years,
    digits,
    read_date,
    read_phone,
    read_pinfl,
)

AGE_YEARS_MAX = 125
NEWBORN_DAYS_MAX = 90
"""Until then a child may be registered without a name of his own."""


def complete(draft: Draft) -> Draft:
    """The draft in normal form: blanks trimmed, numbers bare; the PINFL fills date and sex."""
    told = read_pinfl(draft.pinfl)
    born = read_date(draft.birth_date)
    return Draft(
        family=" ".join(draft.family.split()),
        given=" ".join(draft.given.split()),
        patronymic=" ".join(draft.patronymic.split()),
        birth_date=born.isoformat() if born else draft.birth_date.strip() or (
            told.birth_date.isoformat() if told else ""),
        sex=draft.sex or (told.sex if told else ""),
        pinfl=digits(draft.pinfl),
        is_pinfl_unverified=draft.is_pinfl_unverified,
        phone=read_phone(draft.phone) or draft.phone.strip(),
        region=draft.region or draft.district[:4],
        district=draft.district,
        address_line=" ".join(draft.address_line.split()),
        language=draft.language or "uz",
        category=draft.category,
        mother=draft.mother,
        birth_order=draft.birth_order.strip(),
        document_kind=draft.document_kind if draft.document else "",
        document=documents.normal(draft.document),
        country=draft.country.strip().upper(),
    )


def check(draft: Draft, today: date) -> list[Finding]:
    """Everything to say of a draft before it is registered, errors first."""
    return check_complete(complete(draft), today)


def check_complete(draft: Draft, today: date) -> list[Finding]:
    """As `check`, of a draft that is in normal form already."""
    found = [*_check_names(draft), *_check_birth(draft, today), *_check_pinfl(draft),
             *_check_category(draft, today),
             *documents.check(draft.document_kind, draft.document, draft.country)]
    if draft.phone and not read_phone(draft.phone):
        found.append(Finding("medid.check.phone-form", "phone"))
    if draft.district and not draft.district.startswith(draft.region):
        found.append(Finding("medid.check.district-of-region", "district"))
    return sorted(found, key=lambda finding: finding.severity != "error")


def _check_names(draft: Draft) -> list[Finding]:
    # A newborn has no given name yet, an unknown person none at all; a foreigner may have one only.
    needed = {"newborn": (), "unknown": (), "foreigner": ("family",)}.get(
        draft.category, ("family", "given"))
    found = [Finding("medid.check.name-missing", field) for field in needed
             if not any(letter.isalpha() for letter in getattr(draft, field))]
    for field in ("family", "given", "patronymic"):
        found += [Finding(key, field, "error", values)
                  for key, values in spelling.faults(getattr(draft, field))]
    return found


def _check_category(draft: Draft, today: date) -> list[Finding]:
    found = []
    if draft.category not in CATEGORIES:
        found.append(Finding("medid.check.category", "category"))
    if draft.category == "newborn":
        if not draft.mother:
            found.append(Finding("medid.check.mother-missing", "mother"))
        born = read_date(draft.birth_date)
        if born is not None and (today - born).days > NEWBORN_DAYS_MAX:
            found.append(Finding("medid.check.newborn-old", "birth_date", values={
                "days": str(NEWBORN_DAYS_MAX)}))
        if draft.birth_order and draft.birth_order not in "123456789":
            found.append(Finding("medid.check.birth-order", "birth_order"))
    if draft.category == "foreigner" and not re.fullmatch("[A-Z]{2}", draft.country):
        found.append(Finding("medid.check.country-missing", "country"))
    return found


def _check_birth(draft: Draft, today: date) -> list[Finding]:
    found = []
    is_unknown = draft.category == "unknown"
    if draft.sex not in ("male", "female") and not (is_unknown and draft.sex in ("", "unknown")):
        found.append(Finding("medid.check.sex-missing", "sex"))
    born = read_date(draft.birth_date)
    if born is None:
        if is_unknown and re.fullmatch("([0-9]{4})?", draft.birth_date):
            return found  # Of an unknown person the year may be guessed, or nothing said.
        key = "medid.check.birth-form" if draft.birth_date else "medid.check.birth-missing"
        found.append(Finding(key, "birth_date"))
    elif born > today:
        found.append(Finding("medid.check.birth-future", "birth_date"))
    elif age_years(born, today) > AGE_YEARS_MAX:
        found.append(Finding("medid.check.birth-too-old", "birth_date"))
    return found


def _check_pinfl(draft: Draft) -> list[Finding]:
    if not draft.pinfl:
        is_due = draft.category in ("", "newborn") and not draft.document
        return [Finding("medid.check.pinfl-missing", "pinfl", "warning")] if is_due else []
    told = read_pinfl(draft.pinfl)
    if told is None:
        return [Finding("medid.check.pinfl-form", "pinfl")]
    found = []
    if not told.is_check_right:
        found.append(Finding("medid.check.pinfl-check-digit", "pinfl", "warning"))
    born = read_date(draft.birth_date)
    if born is not None and born != told.birth_date:
        found.append(Finding("medid.check.pinfl-birth", "pinfl", "warning",
                             {"birth": told.birth_date.strftime("%d.%m.%Y")}))
    if draft.sex in ("male", "female") and draft.sex != told.sex:
        found.append(Finding("medid.check.pinfl-sex", "pinfl", "warning"))
    return found


def is_pinfl_sound(draft: Draft) -> bool:
    """Whether the PINFL may stand as official: check digit right, birth date and sex agree."""
    told = read_pinfl(draft.pinfl)
    return (told is not None and told.is_check_right and draft.sex == told.sex
            and draft.birth_date == told.birth_date.isoformat())
