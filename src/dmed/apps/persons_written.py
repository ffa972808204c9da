"""Cards of plain lines of the national feed, written: body and index rows by one pattern.

Most lines hold a sound PINFL, names in one script, a phone and an address, nothing more. Their
cards differ in these values alone, so the record and all its index rows are written as text from
them, a third of the work of making a record, decoding and indexing it. Whatever is not plain
goes the general way, which also refuses; both make the same (a property test compares them, and
each process compares its first card). docs/decisions/0080-plain-cards-are-written.md
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache, lru_cache
from typing import Any, NamedTuple

import msgspec

from dmed.fhir import params, persons, words
from dmed.fhir.index import Index, parameter_number
from dmed.fhir.values import date_bounds
from dmed.kit import clock
from dmed.kit.ids import new_id, new_vid
from dmed.kit.text import fold, is_cyrillic, name_key
from dmed.modules.medid.rules import drafts, feeding, numbers, spelling
from dmed.modules.medid.service import feeding as feed
from dmed.store import text as texts
from dmed.store.keys import grams, system_number
from dmed.store.lines import NULL, array, lines_of
from dmed.store.model import Write, updated_of
from dmed.store.rows import index_rows
from dmed.trust.gateway import prepare as preparing

_PINFL = re.compile(r"[1-6][0-9]{13}", re.ASCII)
_PHONE = re.compile(r"\+998[0-9]{9}", re.ASCII)
_PASSPORT = re.compile(r"[A-Z]{2}[0-9]{7}", re.ASCII)
_NAMES_LETTERS_MAX, _ADDRESS_LETTERS_MAX = 95, 60
"""Longer texts may be cut in the index (keys.text_key): the general way knows how."""
_CODE_LETTERS_MAX = 10
_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-patient"
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_PASSPORT_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ppn/local"
_quoted = msgspec.json.Encoder().encode


@cache
def _number(code: str) -> int:
    return parameter_number("Patient", code)


class _Text(NamedTuple):
    """A text with all that the index makes of it."""

    text: str
    quoted: str
    """As it stands in JSON."""
    folded: str
    grams: frozenset[int]
    end: str
    """The end of its row as a string: folded, exact, grams."""
    words: tuple[str, ...]


class _Name(NamedTuple):
    """A part of a name: what every bearer shares."""

    said: _Text
    sounds: tuple[tuple[str, str], ...]
    """The words of its skeleton with their grams."""
    heard: tuple[str, ...]
    """The ends of its rows under `phonetic`."""
    is_cyrillic: bool


def plain_values(text: str, delimiter: str, fields: tuple[str, ...]) -> dict[str, str] | None:
    """The values of a line that needs no reader of CSV; None where it does."""
    if not fields or '"' in text or "\\" in text or not text.isprintable():
        return None
    parts = text.split(delimiter)
    if len(parts) != len(fields):
        return None
    return {field: part.strip() for field, part in zip(fields, parts, strict=True) if field}


def write(values: Mapping[str, str], today: date) -> Write | None:
    """The new card of a plain line's values by field; None where the general way is needed.

    Drawn numbers (id, MED-ID, version) are new each time.
    """
    if not is_served():
        return None
    card = _read(values, today)
    return None if card is None else card.write()


def is_served() -> bool:
    """Whether Patients are indexed by R5's own parameters alone, as the pattern knows them."""
    return _is_served(params.generation())


@lru_cache(maxsize=1)
def _is_served(_generation: int) -> bool:
    return not any(name == "Patient" for name, _ in params.installed())


# Reading ------------------------------------------------------------------------------------


def _read(values: Mapping[str, str], today: date) -> _Card | None:
    told = values.get
    pinfl = told("pinfl", "")
    if not _PINFL.fullmatch(pinfl) or told("died"):
        return None
    if numbers.pinfl_check_digit(pinfl[:13]) != pinfl[13]:
        return None
    born = _born(pinfl[:7], today)
    if born is None:
        return None
    said, sex = told("birth_date", ""), told("sex", "")
    if (said and said != born.text) or (sex and _sex(sex) != born.sex):
        return None
    family, given = _name(told("family", "")), _name(told("given", ""))
    patronymic = _name(told("patronymic", ""))
    if family is None or given is None or patronymic is None or not family.heard or not given.heard:
        return None
    phone, passport = told("phone", ""), told("passport", "")
    if (phone and not _PHONE.fullmatch(phone)) or (passport and not _PASSPORT.fullmatch(passport)):
        return None
    place = _place(told("region", ""), told("district", ""))
    line = " ".join(told("address_line", "").split())
    letters = len(family.said.text) + len(given.said.text) + len(patronymic.said.text)
    if place is None or len(line) > _ADDRESS_LETTERS_MAX or letters > _NAMES_LETTERS_MAX:
        return None
    rest = (_text(line),) if line else ()
    if rest and not rest[0].folded:
        return None
    return _Card(pinfl, born, family, given, patronymic, phone, passport, place, rest)


class _Born(NamedTuple):
    text: str
    sex: str
    day: int
    traits: int
    rows: str
    """The end of the row of birth dates."""


@lru_cache(maxsize=131_072)
def _born(begin: str, today: date) -> _Born | None:
    told = numbers.read_pinfl(f"{begin}0000000")
    if told is None or told.birth_date > today or (
            numbers.age_years(told.birth_date, today) > drafts.AGE_YEARS_MAX):
        return None
    text = told.birth_date.isoformat()
    low, high = date_bounds(text)
    day, traits = persons.birth_of(text)
    return _Born(text, told.sex, day, traits | persons.SEXES[told.sex], f"{low}\t{high}\tf\n")


@lru_cache(maxsize=64)
def _sex(text: str) -> str:
    return feeding.sex_of(text)


def _text(text: str) -> _Text:
    folded = fold(text)
    return _of(text, folded, grams(folded), words.words_of(text))


def _of(text: str, folded: str, found: frozenset[int], said: tuple[str, ...]) -> _Text:
    exact = NULL if folded == text else text
    return _Text(text, _json(text), folded, found, f"{folded}\t{exact}\t{array(found)}\n", said)


def _joined(parts: Sequence[_Text], between: str) -> _Text:
    """The text of parts with a blank at least between them, from what is known of the parts."""
    if len(parts) == 1:
        return parts[0]
    folded = between.join([one.folded for one in parts])
    found = parts[0].grams.union(*[one.grams for one in parts[1:]])
    at = 0
    over = []
    for one in parts[:-1]:
        at += len(one.folded)
        over.append(grams(folded[max(0, at - 2) : at + len(between) + 2]))
        at += len(between)
    said = tuple([word for one in parts for word in one.words])
    return _of(between.join([one.text for one in parts]), folded, found.union(*over), said)


@lru_cache(maxsize=262_144)
def _name(text: str) -> _Name | None:
    """A part of a name; None where something is to be said of it, or it has no sound."""
    if text and (spelling.straighten(text) != text or spelling.faults(text)):
        return None
    text = " ".join(text.split())
    said = _text(text)
    sounds = tuple([(word, array(grams(word))) for word in name_key(text).split()])
    if text and not (said.folded and sounds):
        return None
    return _Name(said, sounds, _heard(text, sounds), is_cyrillic(text))


def _heard(text: str, sounds: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple([f"{word}\t{NULL if word == text else text}\t{found}\n"
                  for word, found in sounds])


class _Place(NamedTuple):
    named: tuple[_Text, ...]
    """Region and district by name, as they begin the text of an address, in one text."""
    codes: tuple[_Text, ...]
    """District and region, as they stand in the record."""
    body: str
    rows: tuple[str, ...]
    """Rows without version and bucket."""
    district: int


@lru_cache(maxsize=4_096)
def _place(region: str, district: str) -> _Place | None:
    region = region or district[:4]
    if not district.startswith(region) or len(district) > _CODE_LETTERS_MAX:
        return None
    named = ", ".join(one for one in feed.place_names(region, district) if one)
    body = "".join([f',"district":{_json(district)}' if district else "",
                    f',"state":{_json(region)}' if region else ""])
    codes = tuple(_text(one) for one in (district, region) if one)
    rows = [f"{_number('address')}\t{one.end}" for one in codes]
    rows += [_bare("address-state", codes[-1])] if region else []
    return _Place((_text(named),) if named else (), codes, body, tuple(rows),
                  persons.district_of(district, region))


def _bare(code: str, said: _Text) -> str:
    exact = NULL if said.folded == said.text else said.text
    return f"{_number(code)}\t{said.folded}\t{exact}\t{NULL}\n"


def _json(text: str) -> str:
    return _quoted(text).decode()


# Writing ------------------------------------------------------------------------------------


class _Card(NamedTuple):
    """A plain person, all checked."""

    pinfl: str
    born: _Born
    family: _Name
    given: _Name
    patronymic: _Name
    phone: str
    passport: str
    place: _Place
    line: tuple[_Text, ...]
    """The rest of the address, where there is one."""

    @property
    def name(self) -> _Text:
        parts = [self.family.said, self.given.said]
        return _joined([*parts, self.patronymic.said] if self.patronymic.heard else parts, " ")

    @property
    def address(self) -> _Text | None:
        parts = [*self.place.named, *self.line]
        return _joined(parts, ", ") if parts else None

    def write(self) -> Write:
        """The Write with its lines."""
        bucket = secrets.randbits(12)
        record_id, vid = new_id(bucket), new_vid()
        med_id = numbers.new_med_id(secrets.randbits(64) % 10**12)
        claims = [(numbers.PINFL_SYSTEM, self.pinfl), (numbers.MED_ID_SYSTEM, med_id)]
        if self.passport:
            claims.append((_PASSPORT_SYSTEM, self.passport))
        head = f"{vid}\t{bucket}\t"
        name, address = self.name, self.address
        lines = {
            "token": self._tokens(head, med_id, has_address=address is not None),
            "string": self._strings(head, name, address),
            "date": f"{head}{_number('birthdate')}\t{self.born.rows}",
            "reference": f"{head}{_fixed().profile}",
            "person": self._persons(head)}
        if texts.keeps_content():
            lines["words"] = f"{head}{_number('_content')}\t{self._words(med_id, name, address)}\n"
        return Write(
            kind="create", type="Patient", id=record_id, bucket=bucket, vid=vid,
            updated=updated_of(vid), body=self._body(record_id, vid, med_id, name, address),
            index=_NO_INDEX, patients=(record_id,), identities=tuple(claims), lines=lines)

    def _body(
        self, record_id: str, vid: int, med_id: str, name: _Text, address: _Text | None
    ) -> bytes:
        fixed = _fixed()
        passport = fixed.passport % self.passport if self.passport else ""
        father = f',"suffix":[{self.patronymic.said.quoted}]' if self.patronymic.heard else ""
        phone = (f'"telecom":[{{"system":"phone","value":"{self.phone}","use":"mobile"}}],'
                 if self.phone else "")
        place = ""
        if address is not None:
            line = "".join([f',"line":[{one.quoted}]' for one in self.line])
            place = (f',"address":[{{"use":"home","text":{address.quoted}{line}{self.place.body}'
                     ',"country":"UZ"}]')
        return (
            f'{{"resourceType":"Patient","id":"{record_id}","meta":{{"versionId":"{vid}",'
            f'"lastUpdated":"{_moment(vid >> 21)}","profile":["{_PROFILE}"]}},"language":"uz",'
            f'"identifier":[{fixed.pinfl % self.pinfl},{fixed.med_id % med_id}{passport}],'
            f'"active":true,"name":[{{{self._script()}"use":"official","text":{name.quoted},'
            f'"family":{self.family.said.quoted},"given":[{self.given.said.quoted}]{father}}}],{phone}'
            f'"gender":"{self.born.sex}","birthDate":"{self.born.text}"{place}}}').encode()

    def _script(self) -> str:
        return _fixed().cyrillic if self.family.is_cyrillic else ""

    def _tokens(self, head: str, med_id: str, *, has_address: bool) -> str:
        fixed = _fixed()
        identifier, kind = f"{_number('identifier')}\t", fixed.of_type
        rows = [*fixed.tokens, f"{identifier}{fixed.systems[0]}\t{self.pinfl}\n",
                f"{kind}NI|{self.pinfl}\n", f"{identifier}{fixed.systems[1]}\t{med_id}\n",
                f"{kind}HC|{med_id}\n", fixed.sexes[self.born.sex]]
        if self.passport:
            rows += [f"{identifier}{fixed.systems[2]}\t{self.passport}\n",
                     f"{kind}PPN|{self.passport}\n"]
        if self.phone:
            rows += [f"{fixed.phone}{self.phone}\n", f"{fixed.telecom}{self.phone}\n"]
        if has_address:
            rows.append(fixed.home)
        return head + head.join(rows)

    def _strings(self, head: str, name: _Text, address: _Text | None) -> str:
        fixed = _fixed()
        named, heard = fixed.name, fixed.phonetic
        family, given, father = self.family, self.given, self.patronymic
        rows = [named + family.said.end, fixed.family + family.said.end, named + given.said.end,
                fixed.given + given.said.end, named + name.end]
        rows += [heard + one for one in (*family.heard, *given.heard, *father.heard)]
        rows += [heard + one for one in _heard(
            name.text, (*family.sounds, *given.sounds, *father.sounds))]
        if father.heard:
            rows.append(named + father.said.end)
        if address is not None:
            rows += [fixed.address + one.end for one in (address, *self.line)]
            rows += [*self.place.rows, *fixed.country]
        return head + head.join(dict.fromkeys(rows))

    def _persons(self, head: str) -> str:
        phone, born = self.phone[1:] or "0", self.born
        found = persons.triples(
            self.family.said.text, self.given.said.text, self.patronymic.said.text)
        return "".join([
            f"{head}{persons.PERSON}\t{family}\t{given}\t{father}\t{self.pinfl}\t{phone}"
            f"\t{born.day}\t{self.place.district}\t{born.traits}\n"
            for family, given, father in (found or [(0, 0, 0)])[:persons.ROWS_MAX]])

    def _words(self, med_id: str, name: _Text, address: _Text | None) -> str:
        said: list[tuple[str, ...]] = [
            (), _UZ, _OFFICIAL, ("ni",), (self.pinfl,), _OFFICIAL, ("hc",), (med_id,)]
        if self.passport:
            said += [_OFFICIAL, ("ppn",), (self.passport.lower(),)]
        if self.family.is_cyrillic:
            said.append(("uz", "cyrl"))
        said += [_OFFICIAL, name.words, self.family.said.words, self.given.said.words]
        said += [self.patronymic.said.words] if self.patronymic.heard else []
        said += [(self.phone[1:],), ("mobile",)] if self.phone else []
        said.append((self.born.sex,))
        if address is not None:
            said.append(_HOME)
            said += [one.words for one in (address, *self.line) if words.is_word(one.text)]
            said += [*[one.words for one in self.place.codes], _UZ]
        return words.document_of(said, texts.mark("Patient", "_content"))


_UZ, _OFFICIAL, _HOME = ("uz",), ("official",), ("home",)
_NO_INDEX = Index()


class _Fixed(NamedTuple):
    """What every plain card shares."""

    pinfl: str
    med_id: str
    passport: str
    cyrillic: str
    systems: tuple[int, ...]
    of_type: str
    tokens: tuple[str, ...]
    sexes: dict[str, str]
    phone: str
    telecom: str
    home: str
    name: str
    phonetic: str
    family: str
    given: str
    address: str
    country: tuple[str, ...]
    profile: str


@cache
def _fixed() -> _Fixed:
    systems = (numbers.PINFL_SYSTEM, numbers.MED_ID_SYSTEM, _PASSPORT_SYSTEM)
    told = [f'{{"use":"official","type":{{"coding":[{{"system":"{_V2_0203}","code":"{code}"}}]}},'
            f'"system":"{system}","value":"%s"}}'
            for code, system in zip(("NI", "HC", "PPN"), systems, strict=True)]

    def token(code: str, value: str, system: str = "") -> str:
        return f"{_number(code)}\t{system_number(system)}\t{value}"

    return _Fixed(
        pinfl=told[0], med_id=told[1], passport=f",{told[2]}",
        cyrillic='"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/language",'
                 '"valueCode":"uz-Cyrl"}],',
        systems=tuple(system_number(one) for one in systems),
        of_type=token("identifier:of-type", "", _V2_0203),
        tokens=tuple(f"{token(code, value)}\n" for code, value in (
            ("deceased", "false"), ("_language", "uz"), ("active", "true"))),
        sexes={sex: f"{token('gender', sex)}\n" for sex in persons.SEXES},
        phone=token("phone", "", "phone"), telecom=token("telecom", "", "phone"),
        home=f"{token('address-use', 'home')}\n",
        name=f"{_number('name')}\t", phonetic=f"{_number('phonetic')}\t",
        family=f"{_number('family')}\t", given=f"{_number('given')}\t",
        address=f"{_number('address')}\t",
        country=(f"{_number('address')}\t{_text('UZ').end}",
                 _bare("address-country", _text("UZ"))),
        profile=f"{_number('_profile')}\t0\t{_PROFILE}\t{NULL}\n")


@lru_cache(maxsize=16)
def _moment(milliseconds: int) -> str:
    return clock.instant(updated_of(milliseconds << 21))


def is_same(written: Write, resource: Any) -> bool:
    """Whether a written card is what the general way makes of `resource`, the same card without
    its id and version, which is stamped with those of the written one.
    """
    general = preparing.write_of(resource, written.id, is_new=True)
    general.vid = written.vid
    resource.meta.versionId = str(written.vid)
    resource.meta.lastUpdated = clock.instant(written.updated)
    general.body, _ = preparing.labelled(resource)
    return _told(general, lines_of(index_rows([general]))) == _told(written, written.lines or {})


def _told(one: Write, lines: Mapping[str, str]) -> tuple[Any, ...]:
    return (one.kind, one.type, one.id, one.bucket, one.vid, one.body, one.patients,
            one.identities, one.labels, one.care, one.client_id,
            {table: sorted(some.splitlines()) for table, some in lines.items()})
