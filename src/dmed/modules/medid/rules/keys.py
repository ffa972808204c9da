"""By which keys a person is looked for, and who of those found comes first. Pure.

Two ways lead in: a known person (`asked_of`, `nearest`: matching, registration) and words as they
are typed (`read_typed`, `first_probes`, `more_probes`, `ranked`). Both ask for ranges of the index
of persons (`fhir.persons`); docs/reference/person-search.md tells them in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise, permutations
from typing import NamedTuple

from dmed.fhir import persons
from dmed.fhir.persons import (
    INACTIVE,
    Pair,
    PersonRow,
    Probes,
    Range,
    code_of,
    dated,
    last_with,
    near_codes,
    text_of,
    word_prefixes,
)
from dmed.kit.text import name_key, name_words
from dmed.modules.medid.rules import numbers
from dmed.trust.gateway.people import Candidate

ABOUT_DAYS = 400
"""A birth date may be wrong by so much where surname and given name are right."""
WORDS_MAX = 4
NEIGHBOURS_MAX = 60
"""Most surnames that a half typed one is taken for."""
_YEAR_DAYS = 366
_DISTRICT_LETTERS_MIN = 2

# --- A known person --------------------------------------------------------------------------


def asked_of(rows: Sequence[PersonRow], values: Iterable[str] = ()) -> Probes:
    """The keys of a person: PINFL, phone, birth date with either name (and with names or day and
    month changed about), both names with a birth date near by or the same district, and `values`,
    other numbers of documents.
    """
    given: dict[tuple[int, int], None] = {}
    family: dict[tuple[int, int], None] = {}
    pairs: dict[Pair, None] = {}
    alone: dict[Range, None] = {}
    for row in rows:
        days = _days(row)
        for day in days:
            for code, both in ((row.given, row.family), (row.family, row.given)):
                if code:
                    given.update(dict.fromkeys([_dated(day, code)]))
                    family.update(dict.fromkeys([_dated(day, code)]))
                elif not both:
                    given[_dated(day, 0)] = None
        if row.family and row.given:
            pairs.update(dict.fromkeys(_pairs(row)))
        elif not days and (row.family or row.given):
            alone[Range(row.family or row.given, row.family or row.given)] = None
    return Probes(
        pinfls=tuple(dict.fromkeys(row.pinfl for row in rows if row.pinfl)),
        phones=tuple(dict.fromkeys(row.phone for row in rows if row.phone)),
        numbers=tuple(dict.fromkeys(values)),
        dated_given=tuple(given), dated_family=tuple(family), pairs=tuple(pairs),
        families=tuple(alone), givens=tuple(alone), each_max=100, rows_max=300)


def _dated(day: int, code: int) -> tuple[int, int]:
    """One birth day and a name; an initial stands for all names that begin with it."""
    if not code:
        return dated(day, 0), dated(day + 1, 0) - 1
    last = last_with(code) if len(text_of(code)) == 1 else code
    return dated(day, code), dated(day, last)


def _days(row: PersonRow) -> tuple[int, ...]:
    """The day of birth, and the one with day and month changed about where that is one."""
    if not row.born or row.traits & (persons.MONTH_ONLY | persons.YEAR_ONLY):
        return ()
    born = persons.date_of(row.born)
    if born.day > 12 or born.day == born.month:
        return (row.born,)
    return row.born, persons.day_of(date(born.year, born.day, born.month))


def _pairs(row: PersonRow) -> Iterable[Pair]:
    for family, given in ((row.family, row.given), (row.given, row.family)):
        last = last_with(given) if len(text_of(given)) == 1 else given
        if row.born:
            length = ABOUT_DAYS if not row.traits & persons.YEAR_ONLY else _YEAR_DAYS
            first = row.born - (ABOUT_DAYS if length == ABOUT_DAYS else 1)
            yield Pair(family, given, last, first, row.born + length)
        else:
            yield Pair(family, given, last)
        if row.district:
            yield Pair(family, given, last, district=row.district, district_last=row.district)


def lock_keys(rows: Sequence[PersonRow]) -> list[int]:
    """The numbers under which registrations of one person find each other, in one order.

    Two that share a birth date and a name, both names, a phone or a PINFL share a number; the
    order of names does not count.
    """
    found = set()
    for row in rows:
        found |= {_lock("pinfl", row.pinfl), _lock("phone", row.phone)}
        if row.born:
            for code in (row.family, row.given):
                found.add(_lock("born", dated(row.born, code) if code else 0))
        if row.family and row.given:
            found.add(_lock("names", *sorted((row.family, row.given))))
    return sorted(found - {0})


def _lock(kind: str, *values: int) -> int:
    """A number of the database's for a lock; 0 where there is nothing to be held."""
    if not all(values):
        return 0
    text = " ".join((kind, *map(str, values)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), signed=True)


def nearest(rows: Sequence[PersonRow], found: Iterable[Candidate], most: int) -> list[Candidate]:
    """The candidates that are most like the person asked for, at most `most`, the best first.

    Coarse on purpose: numbers alone are compared, so that of hundreds only the few that can come
    first are read and scored.
    """
    best: dict[tuple[int, int], tuple[int, Candidate]] = {}
    for one in found:
        weight = max(_closeness(row, one) for row in rows)
        key = (one.vid, one.bucket)
        if key not in best or best[key][0] < weight:
            best[key] = (weight, one)
    order = sorted(best.values(), key=lambda pair: (-pair[0], pair[1].vid))
    return [one for _, one in order[:most]]


def _closeness(asked: PersonRow, found: Candidate) -> int:
    weight = 0
    if asked.pinfl and found.pinfl:
        weight += 24 if asked.pinfl == found.pinfl else -6
    if asked.phone and asked.phone == found.phone:
        weight += 5
    if asked.family == found.given and asked.given == found.family:
        weight += 10
    else:
        weight += _alike(asked.family, found.family, 6) + _alike(asked.given, found.given, 6)
    if asked.patronymic and found.patronymic:
        weight += _alike(asked.patronymic, found.patronymic, 4) or -2
    if asked.born and found.born:
        weight += _near_birth(asked.born, found.born)
    if asked.district and asked.district == found.district:
        weight += 2
    if asked.traits & 3 and found.traits & 3 and asked.traits & 3 != found.traits & 3:
        weight -= 6
    return weight - (found.traits & INACTIVE > 0)


@lru_cache(maxsize=65_536)
def _near_birth(asked: int, found: int) -> int:
    if asked == found:
        return 10
    one, other = persons.date_of(asked), persons.date_of(found)
    if (one.year, one.month, one.day) == (other.year, other.day, other.month):
        return 6
    same = (one.year == other.year) + (one.month == other.month) + (one.day == other.day)
    return 5 if same == 2 else 1 if abs(asked - found) <= ABOUT_DAYS else -4


def _alike(asked: int, found: int, weight: int) -> int:
    if not asked or not found:
        return 0
    if asked == found:
        return weight
    return weight // 2 if _likeness(asked, found) else -weight // 3


@lru_cache(maxsize=65_536)
def _likeness(asked: int, found: int) -> bool:
    """Whether one begins like the other, or is one typing error away."""
    if asked <= found <= last_with(asked) or found <= asked <= last_with(found):
        return True
    left, right = text_of(asked), text_of(found)
    if abs(len(left) - len(right)) > 1:
        return False
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    a, b = left[start:], right[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (
        len(a) > 1 and len(b) > 1 and a[0] == b[1] and a[1] == b[0] and a[2:] == b[2:])


# --- As it is typed --------------------------------------------------------------------------

_DAY = re.compile(r"\b([0-9]{1,2})[./]([0-9]{1,2})[./]([0-9]{4})\b"
                  r"|\b([0-9]{4})-([0-9]{2})-([0-9]{2})\b")
_YEAR = re.compile(r"(?<![\w+])(1[89]|20)[0-9]{2}(?!\w)")
_PHONE = re.compile(r"\+?[0-9][0-9 ()\-]{5,}[0-9]")
_EDGES = ',;:.()"«»'


class Word(NamedTuple):
    """A word of a name, perhaps half typed."""

    code: int
    """As if it were whole."""
    prefixes: tuple[int, ...]
    """What it may be the beginning of; the likeliest first."""

    @property
    def begin(self) -> int:
        """The shortest of what it may be the beginning of."""
        return min(self.prefixes, key=lambda code: len(text_of(code)))

    @property
    def is_initial(self) -> bool:
        """Whether it is one letter, which stands for any name that begins with it."""
        return len(text_of(self.code)) == 1


class Typed(NamedTuple):
    """What was typed into the one box, read, with what the search was narrowed to."""

    words: tuple[Word, ...] = ()
    born: int = 0
    first_day: int = 0
    last_day: int = 0
    """Born from day to day; 0 and 0: any."""
    phone: int = 0
    phone_end: str = ""
    """Last digits of a phone."""
    district: int = 0
    district_last: int = 0
    """Districts from one number to another; 0 and 0: any."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was typed that could find a person."""
        return not (self.words or self.born or self.phone)


def read_typed(text: str, *, year: str = "", district: str = "", phone: str = "") -> Typed:
    """Words, a day or a year of birth and a phone in any order; the rest narrows what they find.

    `year` is one or "1980-1989", `district` the code of a district or region, `phone` a whole
    number or its last digits. What cannot be read narrows nothing.
    """
    born, first_day, last_day = 0, 0, 0
    if day := _DAY.search(text):
        told = _told_day(day)
        text = text.replace(day.group(), " ")
        born = persons.day_of(told) if told else 0
    said = phone
    if called := _PHONE.search(text):
        said = called.group()
        text = text.replace(said, " ")
    if found := _YEAR.search(text):
        year = year or found.group()
        text = text.replace(found.group(), " ")
    if years := re.fullmatch(r"\s*([0-9]{4})(?:\s*[-–]\s*([0-9]{4}))?\s*", year):
        first_day = persons.birth_of(years[1])[0]
        last_day = persons.birth_of(str(int(years[2] or years[1]) + 1))[0] - 1
    number = persons.phone_of(numbers.read_phone(said)) if said else 0
    place = re.fullmatch(r"\s*([0-9]{4})([0-9]{3})?\s*", district)
    low = 0 if place is None else int(place[1]) * 1000 + int(place[2] or 0)
    high = low if place is None or place[2] else low + 999
    return Typed(_words(text), born, first_day, max(0, last_day), number,
                 "" if number else "".join(one for one in said if one.isdigit()), low, high)


def _told_day(found: re.Match[str]) -> date | None:
    day, month, year, iso_year, iso_month, iso_day = found.groups()
    try:
        return date(int(year or iso_year), int(month or iso_month), int(day or iso_day))
    except ValueError:
        return None


def _words(text: str) -> tuple[Word, ...]:
    made = []
    for typed in name_words(text):
        word = typed.strip(_EDGES)
        if word.isalpha() and (code := code_of(name_key(word))):
            made.append(Word(code, word_prefixes(word)))
    return tuple(made[:WORDS_MAX])


def first_probes(typed: Typed) -> Probes:
    """What finds the person when every word but the last is whole and rightly spelt."""
    if typed.phone:
        return Probes(phones=(typed.phone,), each_max=50)
    if typed.born:
        return _of_day(typed)
    words = typed.words
    if not words:
        return Probes()
    if len(words) == 1:
        if typed.first_day and typed.last_day - typed.first_day <= _YEAR_DAYS:
            return _of_year(typed, words[0])
        return _of_word(typed, words[0])
    pairs = [pair for family, given in permutations(words, 2) if not family.is_initial
             for pair in _narrowed(typed, [family.code], given)]
    # Given name and patronymic: surnames are often left out where people speak.
    givens = [Range(given.code, given.code, third.begin, last_with(third.begin),
                    *_places(typed))
              for given, third in permutations(words, 2) if not given.is_initial]
    rows_max = 300 if len(words) == 2 else 1_000
    return Probes(pairs=tuple(pairs), givens=tuple(givens), each_max=rows_max // 2,
                  rows_max=rows_max)


def _of_day(typed: Typed) -> Probes:
    if not typed.words:
        return Probes(dated_given=((dated(typed.born, 0), dated(typed.born + 1, 0) - 1),),
                      each_max=200)
    ranges = tuple((dated(typed.born, code), dated(typed.born, last_with(code)))
                   for word in typed.words for code in word.prefixes)
    return Probes(dated_given=ranges, dated_family=ranges, each_max=100)


def _of_year(typed: Typed, word: Word) -> Probes:
    """One word and a year: a probe a day, whole names before those that only begin so."""
    begin = word.begin
    days = range(typed.first_day, typed.last_day + 1)
    ranges = (*((dated(day, word.code), dated(day, word.code)) for day in days),
              *((dated(day, begin), dated(day, last_with(begin))) for day in days))
    return Probes(dated_given=ranges, dated_family=ranges, each_max=4, rows_max=300)


def _of_word(typed: Typed, word: Word) -> Probes:
    whole = Range(word.code, word.code, *(0, 2**62), *_places(typed))
    begun = [Range(code, last_with(code), *(0, 2**62), *_places(typed)) for code in word.prefixes]
    ranges = (*([] if word.is_initial else [whole]), *begun)
    return Probes(families=ranges, givens=ranges, each_max=60, rows_max=200)


def _places(typed: Typed) -> tuple[int, int]:
    return (typed.district, typed.district_last) if typed.district else (-(2**31), 2**31 - 1)


def _born_within(typed: Typed) -> tuple[int, int]:
    return (typed.first_day, typed.last_day) if typed.first_day else (0, 2**31 - 1)


def _narrowed(typed: Typed, families: Iterable[int], given: Word) -> list[Pair]:
    begin = given.begin
    narrow = (begin, last_with(begin), *_born_within(typed), *_places(typed))
    return [Pair(family, *narrow) for family in families]


def begun_families(typed: Typed) -> list[tuple[int, int]]:
    """Ranges of surnames that are half typed where two words or more stand."""
    if len(typed.words) < 2 or typed.phone or typed.born:
        return []
    return [(word.begin, last_with(word.begin)) for word in typed.words if not word.is_initial]


def more_probes(typed: Typed, families: Sequence[Sequence[int]]) -> Probes:
    """What finds the person where surnames are half typed, or a word has one typing error.

    `families` are the surnames there are for each range of `begun_families`, in its order.
    """
    words = typed.words
    if not words or typed.phone:
        return Probes()
    if typed.born:
        ranges = tuple((dated(typed.born, code), dated(typed.born, last_with(code)))
                       for word in words for code in near_codes(word.code))
        return Probes(dated_given=ranges, dated_family=ranges, each_max=20)
    if len(words) == 1 and typed.first_day:
        anyone = Word(0, (0,))
        return Probes(pairs=tuple(_narrowed(typed, near_codes(words[0].code), anyone)),
                      each_max=20)
    if len(words) == 1:
        ranges_ = tuple(Range(code, last_with(code), *(0, 2**62), *_places(typed))
                        for code in near_codes(words[0].code))
        return Probes(families=ranges_, givens=ranges_, each_max=5, rows_max=200)
    whole = [word for word in words if not word.is_initial]
    begun = dict(zip(whole, families, strict=False))
    pairs: list[Pair] = []
    for family, given in permutations(words, 2):
        if family.is_initial:
            continue
        pairs += _narrowed(typed, begun.get(family, ()), given)
        if len(words) > 2:
            continue  # Of three words two are right, and those the first look has asked.
        pairs += _narrowed(typed, near_codes(family.code), given)
        if not given.is_initial:
            days, places = _born_within(typed), _places(typed)
            pairs += [Pair(family.code, code, last_with(code), *days, *places)
                      for code in near_codes(given.code)]
    return Probes(pairs=tuple(pairs), each_max=20, rows_max=400)


WHOLE, BEGUN, NEAR, NEAR_BEGUN = 30, 20, 12, 8
"""How well a word fits a name: it is it, begins it, is one typing error away from it, or from its
beginning."""


class Fit(NamedTuple):
    """How well a candidate fits what was typed: the smaller the better."""

    unfit: int
    """Words that fit nothing."""
    inactive: int
    distance: int
    turns: int
    """How far the words stand from the usual order."""


class Weighed:
    """How names fit what was typed, kept from one look to the next: of a hundred candidates most
    bear names that others bear too.
    """

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words
        self._each: dict[int, tuple[int, ...]] = {}
        self._names: dict[tuple[int, int, int], tuple[int, int, int]] = {}

    def fit(self, one: Candidate) -> tuple[int, int, int]:
        """(how well, words that fit nothing, how far from the usual order) of the best reading."""
        names = (one.family, one.given, one.patronymic)
        found = self._names.get(names)
        if found is None:
            found = self._names[names] = _best(tuple([self._of(code) for code in names]))
        return found

    def _of(self, code: int) -> tuple[int, ...]:
        found = self._each.get(code)
        if found is None:
            found = self._each[code] = tuple([_fits(word, code) for word in self._words])
        return found


def ranked(
    typed: Typed, found: Iterable[Candidate], most: int, weighed: Weighed | None = None
) -> list[tuple[Fit, Candidate]]:
    """Who fits what was typed, best first: all words before all but one, whole before half.

    Whom the narrowing leaves out is out. Each person once. Where some fit every word, only those.
    `weighed` is what an earlier ranking for the same words found out.
    """
    fits: dict[tuple[int, int], tuple[Fit, Candidate]] = {}
    weighed = weighed or Weighed(typed.words)
    is_narrowed = bool(typed.born or typed.first_day or typed.phone or typed.phone_end
                       or typed.district)
    for one in found:
        if is_narrowed and not _is_within(typed, one):
            continue
        weight, unfit, turns = weighed.fit(one)
        if unfit and unfit * 2 >= len(typed.words):
            continue
        fit = Fit(unfit, one.traits & INACTIVE, -weight, turns)
        key = (one.vid, one.bucket)
        if key not in fits or fit < fits[key][0]:
            fits[key] = (fit, one)
    best = sorted(fits.values(), key=_order)
    if best and not best[0][0].unfit:
        best = [each for each in best if not each[0].unfit]
    return best[:most]


def _order(pair: tuple[Fit, Candidate]) -> tuple[Fit, int, int, int, int]:
    fit, one = pair
    return fit, one.family, one.given, one.born, one.vid


def _is_within(typed: Typed, one: Candidate) -> bool:
    if typed.born and one.born != typed.born:
        return False
    if typed.first_day and not typed.first_day <= one.born <= typed.last_day:
        return False
    if typed.phone and one.phone != typed.phone:
        return False
    if typed.phone_end and not str(one.phone).endswith(typed.phone_end):
        return False
    return not typed.district or typed.district <= one.district <= typed.district_last


@lru_cache(maxsize=65_536)
def _best(table: tuple[tuple[int, ...], ...]) -> tuple[int, int, int]:
    """(how well, words that fit nothing, how far from the usual order) of the best reading; of the
    weights of every word against surname, given name and patronymic.
    """
    count = len(table[0])
    best = (-1, count, 9)
    for places, turns in _readings(count):
        whole, unfit = 0, 0
        for word, place in enumerate(places):
            weight = table[place][word] if place < 3 else 0
            whole += weight
            unfit += not weight
        if (unfit, -whole, turns) < (best[1], -best[0], best[2]):
            best = (whole, unfit, turns)
    return best


@lru_cache(maxsize=8)
def _readings(count: int) -> list[tuple[tuple[int, ...], int]]:
    """Which name each word may be (3: none of them), and how far that is from the usual order."""
    found = dict.fromkeys(
        tuple(min(place, 3) for place in places)
        for places in permutations(range(3 + max(0, count - 1)), count))
    return [(places, sum(a > b for a, b in pairwise(places))) for places in found]


def _fits(word: Word, code: int) -> int:
    if not code:
        return 0
    if code == word.code:
        return WHOLE
    if any(begin <= code <= last_with(begin) for begin in word.prefixes):
        return BEGUN
    length = len(text_of(word.code))
    if length < 3:
        return 0
    if _likeness(word.code, code):
        return NEAR
    begin = code_of(text_of(code)[:length])
    return NEAR_BEGUN if length > 3 and _likeness(word.code, begin) else 0
