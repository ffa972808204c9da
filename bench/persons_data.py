"""Invented persons for `bench/persons.py`: names by a law of few common and many rare ones, in two
scripts, and what registrars make of them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from typing import Any, NamedTuple

from dmed.modules.medid.api import compose_pinfl, names

PINFL = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
FIRST_DAY = date(1930, 1, 1)
DAYS = (date(2024, 12, 31) - FIRST_DAY).days
_BEFORE = ("", "Nur:Нур", "Abdu:Абду", "Mirza:Мирза", "Xo‘ja:Ходжа", "Tosh:Таш", "Er:Эр", "Bek:Бек",
           "Xol:Хол", "Qora:Кара", "Boy:Бай", "Oy:Ай", "Gul:Гул", "Yo‘l:Юл", "Eshon:Ишан")
_BEHIND = ("", "bek:бек", "jon:жон", "boy:бой", "qul:кул", "murod:мурад", "nazar:назар", "yor:ёр")
_BEHIND_WOMEN = ("", "xon:хон", "oy:ой", "bonu:бону", "gul:гул")
DISTRICTS = [f"17{region:02d}{number:03d}" for region in (3, 6, 8, 10, 12, 14, 18, 22, 24, 26, 27,
             30, 33, 35) for number in range(201, 216)]


class Name(NamedTuple):
    """A name in Uzbek Latin and in Russian spelling."""

    latin: str
    russian: str


class Someone(NamedTuple):
    """An invented person."""

    number: int
    sex: str
    family: Name
    given: Name
    father: Name
    born: date
    pinfl: str
    phone: str
    district: str


def _compounds(roots: list[str], before: tuple[str, ...], behind: tuple[str, ...]) -> list[Name]:
    made: dict[str, Name] = {}
    for first, root, last in itertools.product(before, roots, behind):
        parts = [part.split(":") for part in (first, root, last) if part]
        latin = "".join(part[0] for part in parts).lower().capitalize()
        made[latin] = Name(latin, "".join(part[1] for part in parts).lower().capitalize())
    return list(made.values())


def _of(name: Name, woman: bool) -> Name:
    """The surname of a given name."""
    soft = name.latin[-1] in "aeiou"
    return Name(f"{name.latin}{'y' if soft else ''}{'ev' if soft else 'ov'}{'a' if woman else ''}",
                f"{name.russian}{'ев' if soft else 'ов'}{'а' if woman else ''}")


@cache
def _weights(count: int) -> list[float]:
    return list(itertools.accumulate(1 / (place + 3) ** 0.9 for place in range(count)))


class Crowd:
    """Persons by number: the same for the same seed, whatever was made before."""

    def __init__(self, seed: int = 5) -> None:
        pools = names()["uz"]
        self.men = _compounds(pools["male"], ("",), _BEHIND)
        self.women = _compounds(pools["female"], ("",), _BEHIND_WOMEN)
        self.roots = _compounds(pools["male"], _BEFORE, ("", "bek:бек", "murod:мурад"))
        self._seed = seed
        chance = random.Random(seed)
        for pool in (self.men, self.women, self.roots):
            chance.shuffle(pool)
    def _draw(self, chance: random.Random, pool: list[Name]) -> Name:
        return chance.choices(pool, cum_weights=_weights(len(pool)))[0]

    def someone(self, number: int) -> Someone:
        """The person of a number."""
        chance = random.Random(self._seed * 1_000_003 + number)
        woman = chance.random() < 0.5
        born = FIRST_DAY + timedelta(days=int(DAYS * chance.random() ** 0.7))
        sex = "female" if woman else "male"
        area, serial = divmod(number % 1_000_000, 1000)
        return Someone(
            number, sex, _of(self._draw(chance, self.roots), woman),
            self._draw(chance, self.women if woman else self.men), self._draw(chance, self.men),
            born, compose_pinfl(born, sex, area, serial),
            f"+9989{chance.randrange(10)}{chance.randrange(10**7):07d}", chance.choice(DISTRICTS))


def father_of(one: Someone, script: int) -> str:
    """The patronymic: o‘g‘li or qizi in Latin, -ovich or -ovna in Russian."""
    woman = one.sex == "female"
    if script == 0:
        return f"{one.father.latin} {'qizi' if woman else 'o‘g‘li'}"
    soft = one.father.latin[-1] in "aeiou"
    return f"{one.father.russian}{'ев' if soft else 'ов'}{'на' if woman else 'ич'}"


def patient(one: Someone) -> dict[str, Any]:
    """The Patient of a person: three in ten are written in Russian alone."""
    script = int(one.number % 10 >= 7)
    return {
        "resourceType": "Patient", "active": True,
        "identifier": [{"use": "official", "system": PINFL, "value": one.pinfl}],
        "name": [{"use": "official", "family": one.family[script], "given": [one.given[script]],
                  "suffix": [father_of(one, script)]}],
        "telecom": [{"system": "phone", "value": one.phone, "use": "mobile"}],
        "gender": one.sex, "birthDate": one.born.isoformat(),
        "address": [{"use": "home", "country": "UZ", "state": one.district[:4],
                     "district": one.district, "text": f"{one.district}, {one.number % 90 + 1}"}],
    }


def _slip(chance: random.Random, text: str) -> str:
    at = chance.randrange(1, len(text))
    kind = chance.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1 and at + 1 < len(text):
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    letters = "абвгдезиклмнопрстуфх" if text[0] > "z" else "abdeghiklmnoprstuvxz"
    return text[:at] + chance.choice(letters) + text[at + 1 :]


def asked(one: Someone, chance: random.Random, *, pinfl: float = 0.66) -> dict[str, Any]:
    """What a registrar sends of a person: other script, slips, a married name, gaps."""
    script = chance.randrange(2)
    family, given = one.family[script], one.given[script]
    born = one.born
    roll = chance.random()
    if roll < 0.10:
        family = _slip(chance, family)
    elif roll < 0.16:
        given = _slip(chance, given)
    elif roll < 0.19:
        family, given = given, family
    elif roll < 0.22 and one.sex == "female":
        family = ("Normatova", "Норматова")[script]
    if chance.random() < 0.02 and born.day <= 12:
        born = born.replace(month=born.day, day=born.month)
    elif chance.random() < 0.02:
        born = born + timedelta(days=chance.choice((-1, 1, 10, 365)))
    made: dict[str, Any] = {
        "resourceType": "Patient",
        "name": [{"family": family, "given": [given]}], "birthDate": born.isoformat(),
    }
    if chance.random() < 0.7:
        made["name"][0]["suffix"] = [father_of(one, script)]
    if chance.random() < 0.9:
        made["gender"] = one.sex
    if chance.random() < 0.5:
        made["telecom"] = [{"system": "phone", "value": one.phone}]
    if chance.random() < 0.6:
        made["address"] = [{"state": one.district[:4], "district": one.district}]
    if chance.random() < pinfl:
        made["identifier"] = [{"system": PINFL, "value": one.pinfl}]
    return made


def typed(one: Someone, chance: random.Random) -> Iterator[tuple[str, str]]:
    """(text, year) of each keystroke while somebody looks for a person."""
    script = chance.randrange(2)
    words = [one.family[script].lower(), one.given[script].lower()]
    kind = chance.randrange(6)
    if kind == 1:
        words.reverse()
    elif kind == 2:
        words = [words[1], father_of(one, 1).lower()]
    elif kind == 3:
        words = [_slip(chance, words[0]), words[1]]
    elif kind == 4:
        words = [words[0], str(one.born.year)]
    text = " ".join(words)
    year = str(one.born.year) if kind == 5 else ""
    for end in range(2, len(text) + 1):
        if text[end - 1] != " ":
            yield text[:end], year
