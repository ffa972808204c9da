"""A prescription written without a network: what the doctor's computer may offer, what it sends,
and whether that is believed (eprescription B6).

The doctor signs with his own key, under a number that was given to that key beforehand. What is
believed goes the way of a form of paper: all checks at its entry, valid from the day of writing.
The browser keeps the same limits (pages/static/prescribing*.js), which come to it inside the kit.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Any

import msgspec

from dmed.kit.clock import TASHKENT
from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions.model import (
    ITEMS_MAX,
    OFFLINE_REASON,
    Draft,
    DraftItem,
    Finding,
    Paper,
    Reason,
)
from dmed.modules.prescriptions.rules import courses, papers, tokens
from dmed.modules.prescriptions.rules.checks import Person
from dmed.modules.prescriptions.rules.checks_doses import limit_of
from dmed.modules.prescriptions.rules.tables import table

KIT_AGE = timedelta(hours=24)
"""An older kit knows too little of the register."""
SKEW = timedelta(minutes=5)
"""How far a computer's clock may be off."""
DAYS_MAX = 30
"""Longest course of a line: what takes longer waits for the line and its checks."""
NUMBERS = 20
"""Numbers that one computer of a doctor holds unused."""
COMPUTERS = 30
"""Computers of a doctor whose keys are not withdrawn."""
ACTS_AT_ONCE = 20
CHILD_YEARS = 12
"""Below this age doses go by weight, which nothing checks without the line."""
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_NUMBER = re.compile(r"[0-9]{13}")
_PERSON = re.compile(r"[0-9]{13,14}")
_TEXT_MAX = 500
_APOSTROPHES = "'`´ʻʼ‘’"
_SPELT = {
    "А": "AO", "Б": "B", "В": "V", "Г": "G", "Ғ": "G", "Д": "DJ", "Е": "EY", "Ё": "YO", "Ж": "JZD",
    "З": "Z", "И": "I", "Й": "YI", "К": "K", "Қ": "K", "Л": "L", "М": "M", "Н": "N", "О": "OA",
    "Ө": "O", "П": "P", "Р": "R", "С": "S", "Т": "T", "У": "UO", "Ў": "OU", "Ф": "F", "Х": "H",
    "Ҳ": "H", "Ц": "TSC", "Ч": "C", "Ш": "S", "Щ": "S", "Ы": "I", "Э": "E", "Ю": "YU", "Я": "YA",
    "Ә": "A", "Ү": "U", "Ң": "N", "Q": "K", "X": "H", "W": "V", "C": "CST", "J": "JD", "Y": "YEI",
    "E": "EI", "I": "IE", "O": "OAU", "A": "AO", "K": "KH", "Z": "ZJ", "Ş": "S", "Ç": "C",
}  # fmt: skip  # A table.
"""How the first letter of a name may begin in another spelling; any other stays as it is."""


class Outcome(StrEnum):
    """What became of an act; texts `prescriptions.offline.outcome.<value>`."""

    SIGNED = "signed"
    """It is a prescription now."""
    ASKED = "asked"
    """Believed, and its doctor has to answer something before it is one."""
    REFUSED = "refused"
    """Not believed: nothing says that this doctor wrote it so."""
    DROPPED = "dropped"
    """Its doctor took it back before it was a prescription."""
    WAITING = "waiting"
    """Of another doctor: he signs in to send it."""


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One medicine, as the doctor wrote it."""

    preparation: str
    dose: Decimal
    times_per_day: int
    duration_days: int
    quantity: Decimal
    as_needed: bool = False
    note: str = ""


class Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom it is for: what stands on the person's card or document."""

    kind: str
    """"med-id" or "pinfl"."""
    value: str


class Act(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One prescription as the doctor's key signed it."""

    id: str
    seq: int
    """Counts the acts of this key from 1."""
    at: datetime
    kit: datetime
    """When the kit was issued that the page worked with."""
    number: str
    person: Named
    initials: str
    birth_year: int
    diagnosis: str
    items: tuple[Line, ...]
    asked: bool
    """The doctor asked about allergies, other medicines and pregnancy."""
    token: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows beside the act; a pure judgement rests on nothing else."""

    now: datetime
    is_seq_taken: bool = False
    """Whether another act of this key came with this running number."""
    withdrawn: datetime | None = None
    """From when on acts of this key count no more."""
    number_fault: str = ""
    """Why the number is not free for this key; "" when it is."""
    token: tokens.Token | None = None
    """The token, when the key's signature of it holds."""
    known: dict[str, Preparation] = {}
    """Preparations of the act that the register knows."""


def finding(name: str, sentence: str, **values: str) -> Finding:
    """A finding by its short name: locale key `prescriptions.offline.why.<name>`."""
    return Finding(Reason(f"prescriptions.offline.why.{name}", values), sentence)


def is_plausible(act: Act) -> bool:
    """Whether an act is made of what an act is made of; nothing else is of a page of ours. Pure."""
    moments = all(each.tzinfo is not None and 2020 <= each.year < 2100
                  for each in (act.at, act.kit))  # fmt: skip  # One condition.
    texts = [act.token, act.person.value, act.initials, act.diagnosis,
             *(text for line in act.items for text in (line.note, line.preparation))]
    return (
        moments
        and _ID.fullmatch(act.id) is not None
        and _NUMBER.fullmatch(act.number) is not None
        and 0 < act.seq < 2**31
        and 1900 <= act.birth_year < 2100
        and 0 < len(act.items) <= ITEMS_MAX
        and act.person.kind in {"med-id", "pinfl"}
        and is_person_number(act.person.value)
        and all(_is_line(line) for line in act.items)
        and not any("\0" in text or len(text) > _TEXT_MAX for text in texts)
    )


def is_person_number(text: str) -> bool:
    """Whether a text is a MED-ID (13 digits) or a PINFL (14), and nothing else. Pure."""
    return _PERSON.fullmatch(text) is not None


def are_initials_of(initials: str, names: Iterable[str]) -> bool:
    """Whether "S.N." may stand for one of these full names ("Nazarova Sevara", "Севара Назарова"),
    in any script and in either order; what cannot be compared is taken for right. Pure.
    """
    said = [_spelt(letter) for letter in initials if letter.isalpha()]
    compared = [[_spelt(letter) for letter in letters] for name in names
                if len(letters := first_letters(name)) == 2]  # fmt: skip  # One list.
    if len(said) != 2 or not compared:
        return True
    return any(said[0] & first and said[1] & second
               for pair in compared for first, second in (pair, pair[::-1]))


def first_letters(name: str) -> list[str]:
    """The first letters of the first two words of a name, apostrophes left out. Pure."""
    words = [word.lstrip(_APOSTROPHES) for word in name.split()]
    return [word[0] for word in words if word and word[0].isalpha()][:2]


def _spelt(letter: str) -> frozenset[str]:
    plain = unicodedata.normalize("NFC", letter).upper()
    return frozenset(_SPELT.get(plain, plain))


def _is_line(line: Line) -> bool:
    figures = (line.dose, line.quantity)
    return (
        all(each.is_finite() and 0 < each < 100_000 for each in figures)
        and all(int(each.as_tuple().exponent) >= -3 for each in figures)
        and 0 < line.times_per_day <= 24
        and 0 < line.duration_days <= 366
    )


def disbelieved(act: Act, facts: Facts) -> Finding | None:
    """Why an act cannot have been written as it says; None when it is believed. Pure."""
    if act.at > facts.now + SKEW:
        return finding("future", "It was written in the future: the clock of that computer is "
                       "wrong")  # fmt: skip  # One sentence.
    if act.at < act.kit - SKEW:
        return finding("before_kit", "It is older than the kit that it was written with: the clock "
                       "of that computer is wrong")  # fmt: skip  # One sentence.
    if facts.is_seq_taken:
        return finding("replayed", "One with this running number was sent before: this one is a "
                       "copy or a forgery")  # fmt: skip  # One sentence.
    if facts.withdrawn is not None and act.at >= facts.withdrawn:
        return finding("withdrawn", "The key of that computer was withdrawn before")
    if facts.number_fault:
        return finding("number", f"The number does not belong to it: {facts.number_fault}",
                       number=act.number)  # fmt: skip  # One finding.
    differs = token_differs(act, facts)
    if differs:
        return finding("token", f"Its QR code says something else: {differs}")
    return None


def token_differs(act: Act, facts: Facts) -> str:
    """What the token in the patient's hand says otherwise than the act, or "". Pure."""
    token = facts.token
    if token is None:
        return "its signature does not hold"
    if f"{token.number:013d}" != act.number:
        return "another number"
    if token.signed_on != act.at.astimezone(TASHKENT).date():
        return "another day"
    if token.birth_year != act.birth_year or token.initials != act.initials:
        return "another person"
    if len(token.items) != len(act.items):
        return "other medicines"
    for said, line in zip(token.items, act.items, strict=True):
        known = facts.known.get(line.preparation)
        # One that left the register meanwhile is asked about at its entry, not disbelieved.
        if known is not None and (said.inn, said.form, said.strength) != token_key(known):
            return "another medicine"
        if Decimal(said.quantity) != line.quantity:
            return "another quantity"
    return ""


def token_key(preparation: Preparation) -> tuple[int | str, str, str]:
    """How a token names a preparation: national INN code (or ATC), form, strength. Pure."""
    inn = preparation.inn.code
    return (int(inn) if inn else preparation.atc, preparation.form.code,
            tokens.short_strength(preparation.strength_text))  # fmt: skip  # Three parts.


def draft_of(act: Act, patient: str) -> Draft:
    """The act as a draft for this person, typed in under its own number. Pure."""
    return Draft(
        patient=patient,
        diagnosis=act.diagnosis,
        items=tuple(
            DraftItem(
                preparation=line.preparation, dose=line.dose, times_per_day=line.times_per_day,
                duration_days=line.duration_days, quantity=line.quantity,
                as_needed=line.as_needed, note=line.note,
            )
            for line in act.items
        ),
        paper=Paper(number=act.number, written=act.at, reason=OFFLINE_REASON),
    )  # fmt: skip  # One line of a prescription.


def is_late(written: datetime, now: datetime) -> bool:
    """Whether nobody needs to wait for it any more: it could not be entered now. Pure."""
    return now - written > papers.ENTER_WITHIN


def offered(
    preparation: Preparation, label: str, names: str, unit_name: Callable[[str], str], day: date
) -> dict[str, Any]:
    """A row of the kit: what a doctor's page must know of a preparation. Figures are texts, as
    JavaScript knows no decimals. Pure.
    """
    return {
        "key": preparation.key, "token": list(token_key(preparation)), "label": label,
        "names": names, "unit": unit_name(preparation.form.unit),
        "dose_unit": unit_name(preparation.form.dose_unit),
        "dose_per_unit": _figure(preparation.dose_per_unit),
        "dose": _figure(preparation.default_dose), "times": preparation.default_times,
        "days": min(preparation.default_days, DAYS_MAX),
        "most_daily": most_daily(preparation), "allowed": is_allowed(preparation),
        "validity_days": courses.validity_days(Draft(), (preparation,), day),
    }  # fmt: skip  # One row.


def is_controlled(preparation: Preparation) -> bool:
    """Whether a preparation is of a narcotic, psychotropic or potent class: it is neither written
    nor handed over without the line. One without an ATC code counts as such: what is not known is
    not passed blindly. The table is a draft until a clinician approves it. Pure.
    """
    parts = set(preparation.inn.components)
    return not preparation.atc or any(
        preparation.atc.startswith(row["value"]) if row["kind"] == "atc" else row["value"] in parts
        for row in table("offline_classes").rows)  # fmt: skip  # One condition.


def is_allowed(preparation: Preparation) -> bool:
    """Whether it may be written without the line: of no class that is controlled or that the law
    forbids, and counted in whole units. Pure.
    """
    forbidden = any(preparation.atc.startswith(row["atc"]) for row in table("law_classes").rows)
    return not (forbidden or is_controlled(preparation)) and bool(preparation.dose_per_unit)


def most_daily(preparation: Preparation) -> str | None:
    """The most of a day for an adult in dose units, by the table of doses, rounded down to tenths;
    None where no row speaks of it. Pure.
    """
    found = []
    for inn, milligrams in courses.component_milligrams(preparation).items():
        most_mg = limit_of(inn, preparation.form.route, Person()).daily_mg
        if most_mg and milligrams:
            found.append((most_mg / milligrams).quantize(Decimal("0.1"), ROUND_FLOOR))
    return _figure(min(found)) if found else None


def _figure(value: Decimal) -> str:
    return f"{courses.whole(value):f}"
