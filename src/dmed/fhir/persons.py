"""A person as the index of persons holds it: names as short numbers, a birth date as a day.

The skeleton of a name (`kit.text.name_key`) is packed into one number, five bits a letter, first
letter highest: names that begin alike are neighbours, so a prefix is a range of numbers and a
b-tree of them is a third of one of texts. Twelve letters are kept. One person has a row for each
name, so a maiden name finds her too. Pure; the store keeps the rows (`store.persons`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import UNSET

from dmed.fhir.index import parameter_number
from dmed.kit.text import name_key, name_words

PERSON = parameter_number("Patient", "person")
"""The number under which the rows of persons lie: no parameter of search, but named as they are."""
PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
LETTERS_MAX = 12
_BITS = 5
_WHOLE = LETTERS_MAX * _BITS
_SHORT = 45
"""Bits of a name that stand beside a birth date in one number: its first nine letters."""
ROWS_MAX = 8
"""Most rows of one person: names, parts of names and further numbers."""
_FIRST_DAY = date(1800, 1, 1).toordinal() - 1
_LAST_DAY = (1 << 17) - 1
_PHONE = re.compile(r"[\s()+\-.]+")
_PHONE_DIGITS = range(7, 16)
_COUNTRY = "998"

SEXES = {"male": 1, "female": 2, "other": 3}
MONTH_ONLY, YEAR_ONLY = 4, 8
INACTIVE = 16


class PersonRow(NamedTuple):
    """One row: what candidates are found and first ranked by. 0 stands for what is not known."""

    param: int = PERSON
    family: int = 0
    given: int = 0
    patronymic: int = 0
    pinfl: int = 0
    phone: int = 0
    born: int = 0
    """Days, 1 is 1800-01-01; of a birth date that is not whole its first day."""
    district: int = 0
    """National code of the district or, where only that is known, of the region times 1000."""
    traits: int = 0
    """Sex (0 to 3), + 4 for a birth date to the month, + 8 to the year, + 16 for inactive."""


# Names --------------------------------------------------------------------------------------


def _number(letter: str) -> int:
    place = ord(letter) - 96
    return place if 1 <= place <= 26 else 27 + ord(letter) % 5


@lru_cache(maxsize=131_072)
def code_of(skeleton: str) -> int:
    """The number of a skeleton (letters only; blanks are left out); 0 for none.

    >>> text_of(code_of("karim"))
    'karim'
    """
    letters = skeleton.replace(" ", "")[:LETTERS_MAX]
    code = 0
    for letter in letters:
        code = (code << _BITS) | _number(letter)
    return code << (_BITS * (LETTERS_MAX - len(letters)))


@lru_cache(maxsize=131_072)
def text_of(code: int) -> str:
    """The letters of a number; letters of other scripts come out as signs of their own."""
    letters = []
    while code:
        letters.append(chr(96 + (code >> (_WHOLE - _BITS))))
        code = (code << _BITS) & ((1 << _WHOLE) - 1)
    return "".join(letters)


@lru_cache(maxsize=65_536)
def last_with(code: int) -> int:
    """The greatest number that begins with the letters of this one: the end of its prefix range.

    >>> begins = code_of("kar")
    >>> begins <= code_of("karim") <= last_with(begins) < code_of("kas")
    True
    """
    if not code:
        return (1 << _WHOLE) - 1
    length = len(text_of(code))
    return code | ((1 << (_BITS * (LETTERS_MAX - length))) - 1)


def dated(born: int, code: int) -> int:
    """A birth day and the first nine letters of a name as one number: what `store.persons` keys."""
    return born << _SHORT | code >> (_WHOLE - _SHORT)


@lru_cache(maxsize=131_072)
def name_codes(text: str) -> tuple[int, ...]:
    """The numbers of one name: whole and, of a name of several words, each word; none for "".

    >>> [text_of(code) for code in name_codes("Muhammad Ali")]
    ['mahamadali', 'mahamad', 'ali']
    """
    words = name_key(text).split()
    if not words:
        return ()
    found = [code_of("".join(words))]
    if len(words) > 1:
        found += [code_of(word) for word in words if len(word) > 1]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=16_384)
def word_prefixes(word: str) -> tuple[int, ...]:
    """The numbers under which a word that is perhaps half typed begins; the likeliest first.

    Skeletons lose the endings of surnames, so of "karimo" the skeleton is not yet that of
    "karimov": what may be the beginning of an ending is tried away too.

    >>> [text_of(code) for code in word_prefixes("karimo")]
    ['karima', 'karim']
    """
    # A consonant at the end keeps the rule of endings off; it is taken away again.
    guard = "d" if not word.endswith("d") else "b"
    whole = name_key(word + guard).removesuffix(guard)
    found = [code_of(name_key(word)), code_of(whole)]
    for begun in _BEGUN_ENDINGS:
        if word.endswith(begun) and len(word) - len(begun) >= 3:
            stem = word[: -len(begun)]
            guard = "d" if not stem.endswith("d") else "b"
            found.append(code_of(name_key(stem + guard).removesuffix(guard)))
            break
    return tuple(dict.fromkeys(code for code in found if code))


_BEGUN_ENDINGS = (
    "ovic", "evic", "yevic", "ovich", "evich", "ovi", "evi", "ovn", "evn", "yevn", "ska", "sk",
    "ov", "ev", "yev", "ye", "o", "e", "y",
)  # fmt: skip  # From the longest to the shortest.


_CONSONANTS = "bcdfghijklmnprstvz"


@lru_cache(maxsize=4_096)
def near_codes(code: int) -> tuple[int, ...]:
    """The numbers of all skeletons one typing error away: a letter lost, added, changed, or two
    neighbours swapped. About 330 for seven letters. Skeletons of under three letters have none.
    """
    word = text_of(code)
    if len(word) < 3:
        return ()
    letters = "a" + _CONSONANTS
    found: dict[str, None] = {}
    for at in range(len(word) + 1):
        head, tail = word[:at], word[at:]
        if tail:
            found[head + tail[1:]] = None
            for letter in letters:
                found[head + letter + tail[1:]] = None
        if len(tail) > 1:
            found[head + tail[1] + tail[0] + tail[2:]] = None
        for letter in letters:
            found[head + letter + tail] = None
    found.pop(word, None)
    return tuple(dict.fromkeys(code_of(_undoubled(each)) for each in found))


def _undoubled(word: str) -> str:
    """A skeleton has no letter twice in a row."""
    return "".join(letter for at, letter in enumerate(word) if not at or word[at - 1] != letter)


# Numbers and dates ---------------------------------------------------------------------------


def day_of(day: date) -> int:
    """The number of a day; 0 where it lies outside of what is kept."""
    number = day.toordinal() - _FIRST_DAY
    return number if 0 < number <= _LAST_DAY else 0


def date_of(born: int) -> date:
    """The day of a number from 1 on."""
    return date.fromordinal(born + _FIRST_DAY)


def birth_of(text: str) -> tuple[int, int]:
    """(day, trait) of a FHIR date; (0, 0) for none."""
    parts = text[:10].split("-")
    try:
        if len(parts) == 3:
            return day_of(date(int(parts[0]), int(parts[1]), int(parts[2]))), 0
        if len(parts) == 2:
            return day_of(date(int(parts[0]), int(parts[1]), 1)), MONTH_ONLY
        return (day_of(date(int(parts[0]), 1, 1)), YEAR_ONLY) if parts[0] else (0, 0)
    except ValueError:
        return 0, 0


def pinfl_of(text: str) -> int:
    """The number of a PINFL, or 0 for a text that is not fourteen digits."""
    value = text.strip()
    return int(value) if len(value) == 14 and value.isascii() and value.isdigit() else 0


def phone_of(text: str) -> int:
    """A phone as a number with the country's code, or 0: +998 90 123 21 40 and 901232140 agree."""
    value = _PHONE.sub("", text)
    if not value.isascii() or not value.isdigit() or len(value) not in _PHONE_DIGITS:
        return 0
    return int(_COUNTRY + value if len(value) == 9 else value)


def district_of(district: str, state: str = "") -> int:
    """The number of a district by its national code (1726266), else of its region (1726000); of a
    name in words a negative number of its own; 0 for none.
    """
    code = district.strip()
    if code.isascii() and code.isdigit() and len(code) == 7:
        return int(code)
    region = state.strip()
    if not code and region.isascii() and region.isdigit() and len(region) == 4:
        return int(region) * 1000
    key = name_key(code)
    return -(zlib.crc32(key.encode()) >> 1) - 1 if key else 0


# A record's rows -----------------------------------------------------------------------------


def rows_of(patient: Any) -> list[PersonRow]:
    """The rows of a Patient (a struct of `fhir.types`): one a name, one more for a further number.

    Every person has at least one row, so that all are found by phone or number. At most ROWS_MAX.
    """
    names = _names(patient) or [(0, 0, 0)]
    pinfls = list(dict.fromkeys(
        number for each in listed(patient.identifier) if _text(each.system) == PINFL_SYSTEM
        if (number := pinfl_of(_text(each.value))))) or [0]
    phones = list(dict.fromkeys(
        number for each in listed(patient.telecom) if _text(each.system) in {"phone", "sms"}
        if (number := phone_of(_text(each.value))))) or [0]
    districts = list(dict.fromkeys(
        number for each in listed(patient.address)
        if (number := district_of(_text(each.district), _text(each.state))))) or [0]
    born, precision = birth_of(_text(patient.birthDate))
    traits = SEXES.get(_text(patient.gender), 0) | precision
    if patient.active is False:
        traits |= INACTIVE
    made = []
    for at in range(min(ROWS_MAX, max(len(names), len(pinfls), len(phones), len(districts)))):
        family, given, patronymic = names[at if at < len(names) else 0]
        made.append(PersonRow(
            PERSON, family, given, patronymic, pinfls[at if at < len(pinfls) else 0],
            phones[at if at < len(phones) else 0], born,
            districts[at if at < len(districts) else 0], traits))
    return made


def _names(patient: Any) -> list[tuple[int, int, int]]:
    parts = [_parts(name) for name in listed(patient.name)]
    # A maiden name is often a surname alone: the rest of it is that of the other names.
    usual = [next((one[at] for one in parts if one[at]), "") for at in range(3)]
    found: dict[tuple[int, int, int], None] = {}
    for one in parts:
        family, given, patronymic = (
            part or other for part, other in zip(one, usual, strict=True))
        found.update(dict.fromkeys(triples(family, given, patronymic)))
    return list(found)


def _parts(name: Any) -> tuple[str, str, str]:
    """(surname, given name, patronymic) of a HumanName; of a text alone by its usual order."""
    given = [each for each in listed(name.given) if isinstance(each, str)]
    behind = [each for each in listed(name.suffix) if isinstance(each, str)]
    family = _text(name.family)
    if not family and not given:
        words = name_words(_text(name.text))
        return " ".join(words[:1]), " ".join(words[1:2]), " ".join(words[2:])
    return family, given[0] if given else "", " ".join((*given[1:], *behind))


def triples(family: str, given: str, patronymic: str) -> list[tuple[int, int, int]]:
    """(family, given, patronymic) as numbers, in all ways in which a name of several words may be
    asked for; none where there is neither surname nor given name.
    """
    families, givens = name_codes(family), name_codes(given)
    if not families and not givens:
        return []
    third = first_code(patronymic)
    pairs = [(one, other) for one in families or (0,) for other in givens or (0,)]
    return [(one, other, third) for one, other in pairs]


def first_code(text: str) -> int:
    """The number of a name written together, or 0."""
    return next(iter(name_codes(text)), 0)


def listed(value: Any) -> Sequence[Any]:
    """The items of an element that may be absent."""
    return () if value is UNSET or value is None else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# What is asked -------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Persons of one surname whose given names lie in a range, born and living in ranges."""

    family: int
    given: int
    given_last: int
    born: int = 0
    born_last: int = 2**31 - 1
    district: int = -(2**31)
    district_last: int = 2**31 - 1


class Range(NamedTuple):
    """Names from one number to another, with patronymics and districts in ranges."""

    first: int
    last: int
    patronymic: int = 0
    patronymic_last: int = 2**62
    district: int = -(2**31)
    district_last: int = 2**31 - 1


class Probes(NamedTuple):
    """What is looked up, all of it in one statement; each kind in its own index.

    `dated_given` and `dated_family` are ranges of `dated` numbers; `families` and `givens` are for
    words that stand alone. `each_max` bounds what one probe brings, `rows_max` the whole.
    """

    pinfls: tuple[int, ...] = ()
    phones: tuple[int, ...] = ()
    numbers: tuple[str, ...] = ()
    """Values of identifiers of any kind, as they stand."""
    dated_given: tuple[tuple[int, int], ...] = ()
    dated_family: tuple[tuple[int, int], ...] = ()
    pairs: tuple[Pair, ...] = ()
    families: tuple[Range, ...] = ()
    givens: tuple[Range, ...] = ()
    each_max: int = 50
    rows_max: int = 400

    @property
    def is_empty(self) -> bool:
        """Whether nothing is looked up."""
        return not any(self[:8])


def replaced_by(patient: Mapping[str, Any]) -> str:
    """The id of the card into which a Patient (as a dict) was merged, or ""."""
    for one in patient.get("link", ()):
        if one.get("type") == "replaced-by":
            address: str = one.get("other", {}).get("reference", "")
            return address.removeprefix("Patient/")
    return ""
