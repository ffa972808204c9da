"""One row of a file of staff: read, and everything that is wrong with it said at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Protocol

import msgspec

from dmed.modules.medid.api import read_pinfl
from dmed.modules.workforce.model import Employment, Held, Kind
from dmed.modules.workforce.rules import watch

COLUMNS = (
    "argos", "pinfl", "family", "given", "patronymic", "sex", "birth_date", "phone",
    "citizenship", "languages", "institution", "post", "title", "rate", "kind", "since", "until",
    "diploma", "school", "graduated", "certificate", "certificate_from", "certificate_until",
    "category", "category_until", "licence", "licence_until", "training", "training_date",
)  # fmt: skip  # A list of names reads better filled.
"""Columns of a file; an unknown one is refused, since a typing error would lose its content."""
REQUIRED = ("family", "given", "sex", "birth_date", "institution", "title", "since")
_SEXES = {"male": "male", "m": "male", "e": "male", "erkak": "male", "м": "male", "муж": "male",
          "female": "female", "f": "female", "a": "female", "ayol": "female", "ж": "female",
          "жен": "female"}  # fmt: skip  # Pairs read better filled.
_POST = re.compile(r"[0-9]{4}(?:\.[0-9]{1,4})?")
_ARGOS = re.compile(r"[0-9]{6,14}")
_PHONE = re.compile(r"\+?[0-9]{9,12}")
_TEXT_MAX = 200
_AGES = (16, 90)


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one column of a row."""

    column: str
    said: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was read: a person with one post."""

    family: str
    given: str
    patronymic: str
    sex: str
    born: date
    pinfl: str
    argos: str
    phone: str
    citizenship: str
    languages: tuple[str, ...]
    institution: str
    """Tax or other official number of the institution, or its id."""
    post: str
    title: str
    rate: Decimal
    kind: Employment
    since: date
    until: date | None
    holds: tuple[Held, ...]


class Named(Protocol):
    """Whoever has the names and numbers of a person."""

    @property
    def family(self) -> str: ...  # As its name says.
    @property
    def given(self) -> str: ...  # Same.
    @property
    def patronymic(self) -> str: ...  # Same.
    @property
    def sex(self) -> str: ...  # Same.
    @property
    def born(self) -> date: ...  # Same.
    @property
    def pinfl(self) -> str: ...  # Same.
    @property
    def argos(self) -> str: ...  # Same.


def is_post(code: str) -> bool:
    """Whether a text has the form of a code of positions: "2212.113"."""
    return _POST.fullmatch(code) is not None


def name_fault(text: str) -> str:
    """Why a text is no name, or ""."""
    letters = [sign for sign in text if unicodedata.category(sign)[0] == "L"]
    if len(letters) < 2:
        return "has fewer than two letters"
    if len(text) > 100:
        return "has more than 100 characters"
    for sign in text:
        if unicodedata.category(sign)[0] not in "LM" and sign not in " -.'`‘’ʻʼ":
            return f"holds {sign!r}, which stands in no name"
    for word in re.split(r"[\s\-]+", text):
        scripts = {unicodedata.name(sign, "").split()[0] for sign in word
                   if unicodedata.category(sign)[0] == "L" and sign not in "ʻʼ"}
        if {"LATIN", "CYRILLIC"} <= scripts:
            return f"mixes Latin and Cyrillic letters in {word!r}: some only look alike"
    return ""


def person_faults(one: Named, today: date) -> list[Fault]:
    """Everything that is wrong with a person's names, numbers and date of birth."""
    found = [Fault(column, f"The {column} name {fault}") for column, text in (
        ("family", one.family), ("given", one.given), ("patronymic", one.patronymic))
        if (text or column != "patronymic") and (fault := name_fault(text))]
    if not one.pinfl and not one.argos:
        found.append(Fault("pinfl", "A PINFL or an Argos number is needed to know the person by"))
    if one.argos and not _ARGOS.fullmatch(one.argos):
        found.append(Fault("argos", f"{one.argos[:20]!r} is no Argos number: 6 to 14 digits"))
    if one.sex not in {"male", "female"}:
        found.append(Fault("sex", "The sex is male or female"))
    age = today.year - one.born.year - ((today.month, today.day) < (one.born.month, one.born.day))
    if one.born > today:
        found.append(Fault("birth_date", "The date of birth lies in the future"))
    elif not _AGES[0] <= age <= _AGES[1]:
        found.append(Fault("birth_date", f"Staff of {age} years: ages from 16 to 90 are taken"))
    if one.pinfl:
        found += _pinfl_faults(one)
    return found


def _pinfl_faults(one: Named) -> list[Fault]:
    known = read_pinfl(one.pinfl)
    if known is None:
        return [Fault("pinfl", "The PINFL is not 14 digits with a possible sex and date of birth")]
    found = []
    if known.birth_date != one.born:
        found.append(Fault(
            "pinfl", f"The PINFL says born on {known.birth_date}, the row {one.born}"))
    if known.sex != one.sex:
        found.append(Fault("pinfl", f"The PINFL says {known.sex}, the row {one.sex}"))
    return found


class _Reader:
    """Takes columns of a row and gathers what is wrong."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.faults: list[Fault] = []

    def text(self, column: str) -> str:
        text = " ".join(self._values.get(column, "").split())
        if not text and column in REQUIRED:
            self.faults.append(Fault(column, f"The column {column} is empty"))
        if len(text) > _TEXT_MAX:
            self.faults.append(Fault(column, f"The column {column} is longer than {_TEXT_MAX}"))
            return ""
        return text

    def day(self, column: str) -> date | None:
        text = self.text(column)
        if not text:
            return None
        parts = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", text)
        try:
            if parts is not None:
                return date(int(parts[3]), int(parts[2]), int(parts[1]))
            return date.fromisoformat(text)
        except ValueError:
            self.faults.append(Fault(
                column, f"{text[:20]!r} is no day: write 2026-11-30 or 30.11.2026"))
            return None

    def rate(self) -> Decimal:
        text = self.text("rate").replace(",", ".") or "1"
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal(0)
        if not value.is_finite() or not watch.is_rate(value):
            self.faults.append(Fault(
                "rate", f"{text[:20]!r} is no rate: quarters from 0.25 to 1.5"))
            return Decimal(1)
        return value


def read(values: Mapping[str, str], today: date) -> tuple[Row | None, list[Fault]]:
    """(the row, nothing) or (None, every fault of it)."""
    reader = _Reader(values)
    sex = _SEXES.get(reader.text("sex").lower(), "")
    if not sex and values.get("sex", "").strip():
        reader.faults.append(Fault("sex", "The sex is male or female"))
    post = reader.text("post")
    if post and not is_post(post):
        reader.faults.append(Fault(
            "post", f"{post[:20]!r} is no code of the list of positions, such as 2212.113"))
    phone = re.sub(r"[\s()\-]", "", reader.text("phone"))
    if phone and not _PHONE.fullmatch(phone):
        reader.faults.append(Fault("phone", f"{phone[:20]!r} is no telephone number"))
    kind = reader.text("kind") or "main"
    if kind not in set(Employment):
        reader.faults.append(Fault("kind", "The kind of a post is main or second"))
    born, since, until = reader.day("birth_date"), reader.day("since"), reader.day("until")
    if since and until and until < since:
        reader.faults.append(Fault("until", "The post ends before it begins"))
    row = Row(
        family=reader.text("family"), given=reader.text("given"),
        patronymic=reader.text("patronymic"), sex=sex, born=born or date(1980, 1, 1),
        pinfl=reader.text("pinfl").replace(" ", ""), argos=reader.text("argos"), phone=phone,
        citizenship=reader.text("citizenship"),
        languages=tuple(reader.text("languages").replace(";", " ").replace(",", " ").split()),
        institution=reader.text("institution"), post=post, title=reader.text("title"),
        rate=reader.rate(), kind=Employment(kind) if kind in set(Employment) else Employment.MAIN,
        since=since or today, until=until, holds=_holds(reader))
    faults = reader.faults
    if born and sex and row.family and row.given:
        faults = [*faults, *person_faults(row, today)]
    return (None, faults) if faults else (row, [])


def _holds(reader: _Reader) -> tuple[Held, ...]:
    made = []
    diploma, school = reader.text("diploma"), reader.text("school")
    if diploma or school:
        made.append(Held(kind=Kind.EDUCATION, title="Diplom", number=diploma, issuer=school,
                         valid_from=reader.day("graduated")))
    for column, kind, title in (
        ("certificate", Kind.CERTIFICATE, "Mutaxassis sertifikati"),
        ("licence", Kind.LICENCE, "Litsenziya"),
    ):
        number = reader.text(column)
        if number:
            start = reader.day(f"{column}_from") if column == "certificate" else None
            end = reader.day(f"{column}_until")
            if start and end and end < start:
                reader.faults.append(Fault(
                    f"{column}_until", f"The {column} ends before it begins"))
            made.append(Held(kind=kind, title=title, number=number, valid_from=start,
                             valid_until=end))
    category, until = reader.text("category"), reader.day("category_until")
    if category:
        made.append(Held(kind=Kind.CATEGORY, title=category, valid_until=until))
    training = reader.text("training")
    if training:
        made.append(Held(kind=Kind.TRAINING, title=training,
                         valid_from=reader.day("training_date")))
    return tuple(made)
