"""The orphan exception: a medicine outside the register for one person, by a decision.

The law lets doctors prescribe registered medicines alone, unregistered (orphan) ones excepted
(Cabinet Resolution 570 of 8 Sep 2025, as reported; shared design, eprescription 0). Here it is said
what such a medicine is, when a decision carries it, and how it stands in a record. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from dmed.kit.errors import NotFoundError
from dmed.kit.text import fold
from dmed.modules.medicines import api as medicines
from dmed.modules.medicines.api import Inn, Preparation
from dmed.modules.prescriptions.model import Alert, Decision, Draft, Tier, Unregistered
from dmed.modules.prescriptions.rules.checks_facts import alert_of

EXTENSION = "https://dhp.uz/fhir/core/StructureDefinition/prescription-unregistered-medicine"
"""Additive extension of the MedicationRequest: INN, form, strength, number of the decision."""
DECISION_SYSTEM = "https://dhp.uz/fhir/core/sid/doc/uz/commission-decision"
PREFIX = "unregistered-"
"""Of the key of such a medicine; no preparation of the register begins so."""
TEXT_CHARACTERS_MAX = 100
_STRENGTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-z%]+)(?:/([0-9]+(?:\.[0-9]+)?)?(ml|g|dose|h))?",
                       re.IGNORECASE)  # fmt: skip  # One pattern.
_CYRILLIC_UNITS = (("мкг", "mcg"), ("мг", "mg"), ("мл", "ml"), ("г", "g"), ("МЕ", "IU"))
_ATC = re.compile(r"[A-Z][0-9]{2}[A-Z]{2}[0-9]{2}")


def key_of(medicine: Unregistered) -> str:
    """A key that the same INN, form and strength always have, whatever decision carries them."""
    return PREFIX + "-".join(
        re.sub(r"[^0-9a-z]+", "_", fold(part)).strip("_")
        for part in (_inn(medicine.inn).key, medicine.form, strength_of(medicine.strength))
    )


def strength_of(text: str) -> str:
    """A strength as the register writes it: points, Latin units, no needless blanks."""
    text = " ".join(text.split()).replace(",", ".")
    for cyrillic, latin in _CYRILLIC_UNITS:
        text = text.replace(cyrillic, latin)
    return text[:TEXT_CHARACTERS_MAX]


def _inn(text: str) -> Inn:
    """Our INN of a name in any language, or a name of its own that no table knows."""
    text = " ".join(text.split())[:TEXT_CHARACTERS_MAX]
    try:
        return medicines.inn(medicines.inn_named(text) or text.lower())
    except NotFoundError:
        return Inn(key=text.lower(), code="", uz=text, ru=text, en=text)


def is_complete(medicine: Unregistered) -> bool:
    """Whether INN, form and strength are stated, so that it can be dosed and counted."""
    is_stated = bool(medicine.inn.strip() and medicine.strength.strip())
    return is_stated and medicine.form in medicines.forms()


def preparation(medicine: Unregistered) -> Preparation | None:
    """The medicine as a preparation that only this prescription knows; None while it is not
    complete. It has no usual dose, and where a dose is no unit of presentation no content either.
    """
    if not is_complete(medicine):
        return None
    inn, form = _inn(medicine.inn), medicines.forms()[medicine.form]
    text = strength_of(medicine.strength)
    found = _STRENGTH.match(text.replace(" ", ""))
    value, unit, per, per_unit = found.groups() if found else ("0", "", None, None)
    atc = medicine.atc if _ATC.fullmatch(medicine.atc) else medicines.atc_of_inn(inn.key)
    return Preparation(
        key=key_of(medicine), inn=inn, form=form, atc=atc, strength=Decimal(value),
        strength_unit=unit, per=Decimal(per or 1),
        per_unit="mL" if (per_unit or "").lower() == "ml" else per_unit or "1",
        strength_text=text, dose_per_unit=Decimal(1 if form.unit == form.dose_unit else 0),
        prescription_only=True, antibiotic=atc.startswith("J01"), default_dose=Decimal(0),
        default_times=0, default_days=0,
    )  # fmt: skip  # Facts of one medicine.


def preparation_of(request: Mapping[str, Any], at: datetime | None = None) -> Preparation | None:
    """What a MedicationRequest prescribes: by the register (of a moment; None: of now), or outside
    of it what the doctor stated.
    """
    outside = stated(request)
    if outside is not None:
        return preparation(outside)
    return medicines.preparation_of(request.get("medication") or {}, at)


# What the law says --------------------------------------------------------------------------------


def check(
    draft: Draft,
    decisions: Sequence[Decision],
    registered: Mapping[int, Preparation],
    today: date,
) -> list[Alert]:
    """What stands against the unregistered lines of a draft: each is a stop, no reason leads past
    it. `decisions`: all that were entered for the person; `registered`: line -> the preparation
    of the register that is the same medicine, where there is one.
    """
    found: list[Alert] = []
    for index, item in enumerate(draft.items):
        if item.unregistered is not None:
            found += _of_line(index, item.unregistered, decisions, registered.get(index), today)
    return found


def _of_line(
    index: int, medicine: Unregistered, decisions: Sequence[Decision],
    registered: Preparation | None, today: date,
) -> Iterator[Alert]:
    where = f"Item {index + 1}"
    if not is_complete(medicine):
        yield alert_of("unregistered-incomplete", Tier.STOP, index,
                       f"{where}: an unregistered medicine is stated by INN, form and strength")
        return
    if registered is not None:
        yield alert_of(
            "unregistered-known", Tier.STOP, index,
            f"{where}: this INN, form and strength is in the register: choose it there",
            inn=registered.inn.key,
        )  # fmt: skip  # One finding.
    refused = refusal(medicine, decisions, today)
    if refused is not None:
        rule, sentence, values = refused
        yield alert_of(rule, Tier.STOP, index, f"{where}: {sentence}", number=medicine.decision,
                       **values)  # fmt: skip  # One finding.
    inn = _inn(medicine.inn)
    if not medicines.inn_named(inn.en):
        yield alert_of(
            "unregistered-unknown", Tier.PASSIVE, index,
            f"{where}: no table of safety knows {inn.en}: check dose, interactions and allergy "
            "yourself", name=inn.en,
        )  # fmt: skip  # One finding.


def refusal(
    medicine: Unregistered, decisions: Sequence[Decision], today: date
) -> tuple[str, str, dict[str, str]] | None:
    """Why no decision carries a medicine on a day: rule, English sentence and its values; None
    where one does.
    """
    if not medicine.decision.strip():
        return ("decision-missing",
                "an unregistered medicine needs the number of a commission's decision", {})
    named = _named(medicine, decisions)
    if not named:
        told = (f"no decision {medicine.decision} was entered for this person: the head of the "
                "institution enters it")  # fmt: skip  # One sentence.
        return "decision-unknown", told, {}
    fitting = [each for each in named if is_same_inn(each.inn, medicine.inn)]
    if not fitting:
        return ("decision-inn", f"decision {medicine.decision} is about {named[0].inn}",
                {"of": named[0].inn})
    if _in_force(fitting, today) is not None:
        return None
    last = max(fitting, key=lambda each: each.valid_until)
    if last.withdrawn is not None:
        return ("decision-withdrawn", f"decision {medicine.decision} was withdrawn", {})
    return ("decision-expired",
            f"decision {medicine.decision} was valid until {last.valid_until}",
            {"until": f"{last.valid_until:%d.%m.%Y}"})


def carrying(
    medicine: Unregistered, decisions: Sequence[Decision], today: date
) -> Decision | None:
    """The decision by which a medicine may be prescribed or handed over on a day, or None."""
    return _in_force([each for each in _named(medicine, decisions)
                      if is_same_inn(each.inn, medicine.inn)], today)  # fmt: skip  # A filter.


def _named(medicine: Unregistered, decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions of the number that a doctor wrote."""
    return [each for each in decisions if is_same_number(each.number, medicine.decision)]


def _in_force(decisions: Sequence[Decision], today: date) -> Decision | None:
    standing = [each for each in decisions
                if each.withdrawn is None and each.decided <= today <= each.valid_until]
    return max(standing, key=lambda each: each.valid_until, default=None)


def is_same_number(one: str, other: str) -> bool:
    """Whether two numbers of decisions are one, however they are spaced."""
    return "".join(one.split()).casefold() == "".join(other.split()).casefold()


def is_same_inn(one: str, other: str) -> bool:
    """Whether two names are one INN, in any language or script of our list."""
    return fold(_inn(one).key) == fold(_inn(other).key)


# As records ---------------------------------------------------------------------------------------


def concept(made: Preparation) -> dict[str, Any]:
    """The CodeableReference of the MedicationRequest: the words, INN and ATC codes where there are
    some, and the mark that keeps it from being taken for an entry of the register.
    """
    known = ((medicines.UNREGISTERED_SYSTEM, "by-decision"),
             (medicines.INN_SYSTEM, made.inn.code), (medicines.ATC_SYSTEM, made.atc))
    coding = [{"system": system, "code": code} for system, code in known if code]
    return {"concept": {"coding": coding, "text": made.label("uz")}}


def extension(medicine: Unregistered) -> dict[str, Any]:
    """What the doctor stated, in parts."""
    told = {"inn": medicine.inn, "form": medicine.form, "strength": medicine.strength,
            "decision": medicine.decision, "atc": medicine.atc}  # fmt: skip  # Five parts.
    return {"url": EXTENSION, "extension": [
        {"url": name, "valueString": value} for name, value in told.items() if value
    ]}  # fmt: skip  # One extension.


def stated(request: Mapping[str, Any]) -> Unregistered | None:
    """What a MedicationRequest states as unregistered, or None."""
    for each in request.get("extension", ()):
        if each.get("url") == EXTENSION:
            parts = {str(part.get("url")): str(part.get("valueString", ""))[:TEXT_CHARACTERS_MAX]
                     for part in each.get("extension", ())}  # fmt: skip  # One mapping.
            return Unregistered(**{name: parts.get(name, "") for name in
                                   ("inn", "form", "strength", "decision", "atc")})
    return None


def document(decision: Decision, entered_by: str) -> dict[str, Any]:
    """A decision as a DocumentReference: https://hl7.org/fhir/R5/documentreference.html"""
    title = f"{decision.council}, {decision.number}, {decision.decided:%d.%m.%Y}: {decision.inn}"
    return {
        "resourceType": "DocumentReference",
        "identifier": [{"system": DECISION_SYSTEM, "value": decision.number}],
        "status": "superseded" if decision.withdrawn else "current",
        "docStatus": "final",
        "type": {"coding": [{"system": medicines.UNREGISTERED_SYSTEM, "code": "decision"}],
                 "text": "Komissiya qarori: ro‘yxatdan o‘tmagan dori"},
        "subject": {"reference": f"Patient/{decision.patient}"},
        "period": {"start": decision.decided.isoformat(), "end": decision.valid_until.isoformat()},
        "date": decision.entered.isoformat(timespec="seconds"),
        "author": [{"display": f"{decision.council}, {decision.chair}"}],
        "custodian": {"reference": f"Organization/{decision.organisation}",
                      "display": decision.organisation_name},
        "description": f"{title} ({entered_by})" if entered_by else title,
        "content": [{"attachment": {"title": title}}],
    }  # fmt: skip  # One record.


def of_row(row: Mapping[str, Any]) -> Decision:
    """A decision out of its row."""
    return Decision(**{name: row[name] for name in Decision.__struct_fields__})
