"""A line of the national feed: read, judged, made a card, or compared with the card there is.

A line is a row of names and values (CSV with a heading, or an object of NDJSON). Whatever is wrong
with it is told in sentences of Finding; a line is taken whole or not at all.
"""

from __future__ import annotations

import csv
import re
from datetime import date
from typing import Any

import msgspec

from dmed.kit.text import name_key
from dmed.modules.medid.model import Draft, Finding
from dmed.modules.medid.rules import (
    documents,
    drafts,
    keeping,
    likeness,
    merging,
    numbers,
    spelling,
    writing,
)
from dmed.trust.model import Subject

Record = dict[str, Any]
FIELDS = ("pinfl", "family", "given", "patronymic", "birth_date", "sex", "phone", "region",
          "district", "address_line", "passport", "died")
_ALIASES = {
    "jshshir": "pinfl", "familiya": "family", "surname": "family", "ism": "given",
    "name": "given", "otasining_ismi": "patronymic", "tugilgan_sana": "birth_date",
    "birthdate": "birth_date", "jins": "sex", "gender": "sex", "telefon": "phone",
    "viloyat": "region", "tuman": "district", "manzil": "address_line", "address": "address_line",
    "pasport": "passport", "vafot": "died", "deceased": "died",
}  # fmt: skip  # Pairs.
_SEX = {"m": "male", "male": "male", "erkak": "male", "1": "male", "м": "male", "f": "female",
        "female": "female", "ayol": "female", "2": "female", "ж": "female"}
REQUIRED = ("pinfl", "family", "given")
LINE_BYTES_MAX = 8_192
_MIXED = re.compile(r"[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")


class Line(msgspec.Struct, frozen=True):
    """One person of the feed, read and in normal form."""

    draft: Draft
    passport: str = ""
    died: str = ""
    straightened: tuple[str, ...] = ()
    """Fields whose look-alike letters were put right."""


def heading(text: str) -> tuple[str, tuple[str, ...]]:
    """(delimiter, fields) of the heading of a CSV file; unknown columns are "".

    ValueError with a sentence where a needed column is missing or stands twice.
    """
    delimiter = max(",;\t|", key=text.count)
    told = next(csv.reader([text], delimiter=delimiter))
    fields = tuple(_field(one) for one in told)
    missing = [one for one in REQUIRED if one not in fields]
    if missing:
        raise ValueError(f"the heading has no column {', '.join(missing)}: it is {text[:200]!r}")
    twice = {one for one in fields if one and fields.count(one) > 1}
    if twice:
        raise ValueError(f"the heading has {', '.join(sorted(twice))} twice")
    return delimiter, fields


def _field(text: str) -> str:
    name = text.strip().lower().lstrip("\ufeff").replace(" ", "_").replace("'", "").replace("‘", "")
    name = _ALIASES.get(name, name)
    return name if name in FIELDS else ""


def values_of(text: str, delimiter: str, fields: tuple[str, ...]) -> dict[str, str]:
    """The values of a line by field; `fields` empty: an object of NDJSON. ValueError tells why."""
    if not fields:
        told = msgspec.json.decode(text.encode())
        if not isinstance(told, dict):
            raise ValueError("the line is no JSON object")
        return {_field(key): str(value).strip() for key, value in told.items()
                if _field(key) and value is not None}
    row = next(csv.reader([text], delimiter=delimiter, strict=True))
    if len(row) != len(fields):
        raise ValueError(f"the line has {len(row)} values, the heading {len(fields)}")
    return {field: value.strip() for field, value in zip(fields, row, strict=True) if field}


def is_suspect(text: str) -> bool:
    """Whether letters of two scripts stand side by side: a quick look at a whole line."""
    return _MIXED.search(text) is not None


def sex_of(text: str) -> str:
    """The sex that a feed's word or letter says; a word that is not known stays as it is."""
    said = text.lower()
    return _SEX.get(said, said)


def line_of(values: dict[str, str]) -> Line:
    """The person of a line: names straightened, numbers bare; nothing is judged yet."""
    names = {field: values.get(field, "") for field in ("family", "given", "patronymic")}
    right = {field: spelling.straighten(text) for field, text in names.items()}
    draft = Draft(
        family=right["family"], given=right["given"], patronymic=right["patronymic"],
        pinfl=values.get("pinfl", ""), birth_date=values.get("birth_date", ""),
        sex=sex_of(values.get("sex", "")), phone=values.get("phone", ""),
        region=values.get("region", ""), district=values.get("district", ""),
        address_line=values.get("address_line", ""))
    changed = tuple(field for field, text in names.items() if right[field] != text)
    return Line(drafts.complete(draft), values.get("passport", ""), values.get("died", ""), changed)


def check(line: Line, today: date) -> list[Finding]:
    """Everything wrong with a line; an "error" refuses it. Stricter than the counter: nobody is
    there to ask, so a PINFL must be there and agree with birth date and sex.
    """
    draft = line.draft
    found = [one for one in drafts.check_complete(draft, today)
             if one.key != "medid.check.pinfl-missing"]
    if not draft.pinfl:
        found.append(Finding("medid.feed.pinfl-missing", "pinfl"))
    hard = ("medid.check.pinfl-birth", "medid.check.pinfl-sex")
    found = [msgspec.structs.replace(one, severity="error") if one.key in hard else one
             for one in found]
    if line.passport:
        found += documents.check("passport", line.passport, "")
    if line.died:
        found += keeping.check_death({"birthDate": draft.birth_date}, line.died, today)
    found += [Finding("medid.feed.straightened", field, "warning", {
        "text": getattr(draft, field)}) for field in line.straightened]
    return found


def card_of(
    line: Line, med_id: str, subject: Subject, today: date, places: tuple[str, str]
) -> Record:
    """The new card of a checked line; `places` are the names of region and district."""
    made = writing.patient(line.draft, med_id, subject, today, *places)
    if line.passport:
        made["identifier"].append(documents.identifier("passport", line.passport))
    if line.died and (day := numbers.read_date(line.died)):
        made["deceasedDateTime"] = day.isoformat()
    return made


class Change(msgspec.Struct, frozen=True):
    """What a line means for the card that carries its PINFL."""

    kind: str
    """"none", "update" or "conflict"."""
    card: Record
    """The card as it should be: of a conflict as it is."""
    fields: tuple[str, ...] = ()
    """What changes, or what contradicts."""


def change_of(card: Record, line: Line, today: date, places: tuple[str, str]) -> Change:
    """Compare a line with the card of its PINFL. What the feed does not say stays; what may have
    changed in life is taken over; what cannot change, or makes another person of it, is a conflict.
    """
    before = keeping.draft_of(card)
    against = _contradictions(card, before, line)
    if against:
        return Change("conflict", card, tuple(against))
    told = line.draft
    kept = {field: getattr(before, field) for field in (
        "patronymic", "phone", "region", "district", "address_line") if not getattr(told, field)}
    if kept.get("district", "") == before.district and not told.region:
        kept["region"] = before.region
    if _same_names(before, told):
        # The same name in another script is no change: the first writing stays.
        kept |= {field: getattr(before, field) for field in ("family", "given", "patronymic")}
    wanted = msgspec.structs.replace(told, language=before.language, **kept)
    made, changed = keeping.correct(card, drafts.complete(wanted), today, *places)
    if line.passport:
        number = documents.identifier("passport", line.passport)
        there = {(one.get("system"), one.get("value")) for one in card.get("identifier", [])}
        if (number["system"], number["value"]) not in there:
            made = keeping.add_document(made, number, today)
            changed.append("passport")
    if line.died and not merging.is_deceased(card) and (day := numbers.read_date(line.died)):
        made["deceasedDateTime"] = day.isoformat()
        changed.append("died")
    return Change("update" if changed else "none", made, tuple(changed))


def _contradictions(card: Record, before: Draft, line: Line) -> list[str]:
    told, found = line.draft, []
    if before.birth_date and told.birth_date and before.birth_date != told.birth_date:
        found.append("birth_date")
    if before.sex in ("male", "female") and told.sex and before.sex != told.sex:
        found.append("sex")
    if before.given and likeness.compare("given", before.given, told.given).verdict == "different":
        found.append("given")
    is_new_family = before.family and likeness.compare(
        "family", before.family, told.family).verdict == "different"
    if is_new_family and (before.sex == "male" or "given" in found):
        found.append("family")
    if merging.is_deceased(card) and not line.died:
        found.append("died")
    return found


def _same_names(before: Draft, told: Draft) -> bool:
    return all(not getattr(told, field) or name_key(getattr(before, field)) == name_key(
        getattr(told, field)) for field in ("family", "given", "patronymic"))
