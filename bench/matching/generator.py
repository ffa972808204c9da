"""Invented Uzbek persons with the errors that registries make, as CSV with the truth beside.

    python bench/matching/generator.py --records 1000000 --seed 7 --out build/matching/uz.csv

Families share surname, phone and district; twins, father-and-son namesakes and full namesakes are
planted. One person in six has several records, in Uzbek Latin, Uzbek Cyrillic, Russian, passport
Latin, reformed Latin, or Karakalpak. Rates of errors are invented: nobody has published any.
"""

from __future__ import annotations

import argparse
import csv
from bisect import bisect
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random

import pools

COLUMNS = ("rec_id", "person_id", "script", "pinfl", "surname", "given", "patronymic", "sex", "dob",
           "district", "phone", "kin")
SCRIPTS = ("uzlat",) * 46 + ("uzcyr",) * 18 + ("rus",) * 20 + ("ruslat",) * 11 + ("reformed",) * 5
_CYRILLIC = {
    "yo‘": "йў", "o‘": "ў", "g‘": "ғ", "sh": "ш", "ch": "ч", "yo": "ё", "yu": "ю", "ya": "я",
    "ye": "е", "a": "а", "b": "б", "d": "д", "e": "е", "f": "ф", "g": "г", "h": "ҳ", "i": "и",
    "j": "ж", "k": "к", "l": "л", "m": "м", "n": "н", "o": "о", "p": "п", "q": "қ", "r": "р",
    "s": "с", "t": "т", "u": "у", "v": "в", "x": "х", "y": "й", "z": "з", "’": "ъ",
}  # fmt: skip  # The alphabet of 1940 by the law of 1993.
_PASSPORT = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "yo", "ж": "j", "з": "z",
    "и": "i", "й": "y", "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r",
    "с": "s", "т": "t", "у": "u", "ф": "f", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "sh",
    "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu", "я": "ya",
}  # fmt: skip  # How passports of the nineties wrote Russian spellings.
_REFORMED = {"o‘": "ö", "g‘": "ğ", "sh": "ş", "ch": "ç", "O‘": "Ö", "G‘": "Ğ", "Sh": "Ş", "Ch": "Ç"}
LAST_DAY = date(2026, 6, 30)
_SIGNS = ("‘", "'", "ʻ", "’", "`", "ʼ", "´", "")


@dataclass(frozen=True)
class Person:
    """An invented person; each name as its spellings:

    Uzbek or Karakalpak Latin, Russian, and Cyrillic where no rule gives it.
    """

    number: int
    sex: str
    family: tuple[str, ...]
    given: tuple[str, ...]
    father: tuple[str, ...]
    born: date
    pinfl: str
    district: tuple[str, ...]
    phone: str
    kin: str = ""
    married: tuple[str, ...] = ()


class Weighted:
    """Draws entries, the first ones oftener (a harmonic fall, as names do)."""

    def __init__(self, entries: list[tuple[str, ...]], fall: float = 0.75) -> None:
        self.entries = entries
        self.sums = list(accumulate((place + 3) ** -fall for place in range(len(entries))))

    def draw(self, random: Random) -> tuple[str, ...]:
        return self.entries[bisect(self.sums, random.random() * self.sums[-1])]


def _compounds(tails: str) -> list[tuple[str, ...]]:
    return [(first[0] + tail[0], first[1] + tail[1])
            for first in pools.pairs(pools.FIRST_PARTS) for tail in pools.pairs(tails)]


class Country:
    """Makes persons by family; the same seed makes the same country."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        shuffle = Random(1).shuffle
        pool = {"M": _compounds(pools.MALE_PARTS), "F": _compounds(pools.FEMALE_PARTS)}
        for each in pool.values():
            shuffle(each)
        self.given = {"M": Weighted(pools.pairs(pools.MALE) + pool["M"]),
                      "F": Weighted(pools.pairs(pools.FEMALE) + pool["F"])}
        self.kaa = {"M": Weighted(pools.pairs(pools.KARAKALPAK)),
                    "F": Weighted(pools.pairs(pools.KARAKALPAK_FEMALE))}
        self.districts = Weighted(pools.pairs(pools.DISTRICTS), 0.4)
        self.number = 0
        self.serials: dict[str, int] = {}

    def pinfl(self, born: date, sex: str) -> str:
        """The next PINFL of a birth date and sex: area and serial never met twice."""
        lead = {18: 1, 19: 3, 20: 5}[born.year // 100] + (sex == "F")
        body = f"{lead}{born:%d%m%y}"
        serial = self.serials[body] = self.serials.get(body, self.random.randrange(10**6)) + 7919
        body += f"{serial % 10**6:06d}"
        return body + str(sum(int(one) * (7, 3, 1)[place % 3]
                              for place, one in enumerate(body)) % 10)

    def person(self, **told: object) -> Person:
        self.number += 1
        made = Person(number=self.number, pinfl="", **told)  # type: ignore[arg-type]  # Keywords by name.
        return replace(made, pinfl=self.pinfl(made.born, made.sex))

    def surname(self, source: Weighted) -> tuple[str, ...]:
        return tuple(_with_ending(spelling) for spelling in source.draw(self.random))

    def family(self) -> list[Person]:
        """A couple with children; one in thirty from Karakalpakstan."""
        random = self.random
        given = self.kaa if random.random() < 0.03 else self.given
        family = self.surname(given["M"])
        home = {"district": self.districts.draw(random)}
        phone = _phone(random)
        father_born = date(1935, 1, 1) + timedelta(days=random.randrange(365 * 62))
        father = self.person(sex="M", family=family, given=given["M"].draw(random),
                             father=given["M"].draw(random), born=father_born, phone=phone, **home)
        maiden = self.surname(given["M"])
        mother = self.person(
            sex="F", family=maiden, given=given["F"].draw(random), father=given["M"].draw(random),
            born=father_born + timedelta(days=random.randrange(-800, 3000)),
            phone=phone if random.random() < 0.4 else _phone(random),
            married=family if random.random() < 0.6 else (), **home)
        made = [father, mother]
        for _ in range(random.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5))):
            made += self.children(father, home)
        return made

    def children(self, father: Person, home: dict[str, tuple[str, ...]]) -> list[Person]:
        random = self.random
        age_days = random.randrange(19 * 365, 42 * 365)
        born = father.born + timedelta(days=age_days)
        if born > LAST_DAY:
            born = LAST_DAY - timedelta(days=random.randrange(4_000))
        fate = random.random()
        given = self.kaa if len(father.given) == 3 else self.given
        common = {"family": father.family, "father": father.given, "born": born, **home}
        phone = father.phone if random.random() < 0.5 else _phone(random)
        if fate < 0.02:
            chosen = random.choice(pools.TWINS) if random.random() < 0.7 else None
            pair = [tuple(one.split("|")) for one in chosen] if chosen else [
                given["M"].draw(random), given["M"].draw(random)]
            return [self.person(sex=_sex_of(one[0]), given=one, phone=phone, kin="twin", **common)
                    for one in pair if pair[0] != pair[1]]
        if fate < 0.024:
            return [self.person(sex="M", given=father.given, phone=phone, kin="namesake", **common)]
        sex = random.choice("MF")
        child = self.person(sex=sex, given=given[sex].draw(random), phone=phone, **common)
        if fate < 0.0245:  # A stranger of the same full name and birth date.
            other = {**common, "district": self.districts.draw(random)}
            return [child, self.person(sex=sex, given=child.given, phone=_phone(random),
                                       kin="double", **other)]
        return [child]


def _sex_of(name: str) -> str:
    return "F" if name[-1] in "ao" else "M"


def _phone(random: Random) -> str:
    return f"998{random.choice(pools.PHONE_CODES)}{random.randrange(10**7):07d}"


def _with_ending(name: str) -> str:
    is_cyrillic = "а" <= name[0].lower() <= "ӿ"
    if name[-1] in "aoiue" or (is_cyrillic and name[-1] in "аоиуеяёыью"):
        return name.rstrip("ьо" if is_cyrillic else "") + ("ев" if is_cyrillic else "yev")
    if is_cyrillic and name[-1] == "й":
        return name[:-1] + "ев"
    return name + ("ов" if is_cyrillic else "ov")


# --- How a record is written -----------------------------------------------------------------


def cyrillic(latin: str) -> str:
    """Uzbek Latin letter by letter in the old alphabet."""
    low, made, place = latin.lower(), "", 0
    while place < len(low):
        for width in (3, 2, 1):
            letter = _CYRILLIC.get(low[place : place + width])
            if letter is not None and len(low[place : place + width]) == width:
                break
        else:
            letter, width = low[place], 1
        if letter == "е" and low[place] == "e" and (place == 0 or low[place - 1] in "aeiou"):
            letter = "э"
        made += letter
        place += width
    return made[:1].upper() + made[1:]


def passport(russian: str) -> str:
    """Russian spelling in the Latin of passports."""
    made = "".join(_PASSPORT.get(letter, letter) for letter in russian.lower())
    return made[:1].upper() + made[1:]


def written(name: tuple[str, ...], script: str, random: Random) -> str:
    """A name in a script; who writes Latin has his own sign for the apostrophe."""
    if script in ("rus", "ruslat"):
        return name[1] if script == "rus" else passport(name[1])
    if script == "uzcyr":
        return name[2] if len(name) == 3 else cyrillic(name[0])
    if script == "reformed" and len(name) == 2:
        made = name[0]
        for old, new in _REFORMED.items():
            made = made.replace(old, new)
        return made
    return name[0].replace("‘", random.choice(_SIGNS)) if "‘" in name[0] else name[0]


def patronymic(father: tuple[str, ...], sex: str, script: str, random: Random) -> str:
    """The father's name in one of the forms that documents have."""
    base = written(father, script, random)
    is_cyrillic = script in ("rus", "uzcyr")
    if script in ("uzlat", "uzcyr", "reformed") and random.random() < 0.7:
        words = {("M", True): "ўғли", ("F", True): "қизи", ("F", False): "qizi"}
        sign = random.choice(_SIGNS)
        return f"{base} {words.get((sex, is_cyrillic), f'o{sign}g{sign}li')}"
    stem = _with_ending(base)[:-2].removesuffix("y")
    is_soft = _with_ending(base).endswith(("ev", "ев"))
    if is_cyrillic:
        return stem + ("е" if is_soft else "о") + ("вич" if sex == "M" else "вна")
    return stem + ("e" if is_soft else "o") + ("vich" if sex == "M" else "vna")


def surname(family: tuple[str, ...], sex: str, script: str, random: Random) -> str:
    """The surname with the ending of the sex."""
    made = written(family, script, random)
    return made if sex == "M" else made + ("а" if script in ("rus", "uzcyr") else "a")


def slip(text: str, random: Random) -> str:
    """One slip of the finger."""
    if len(text) < 3:
        return text
    place = random.randrange(1, len(text) - 1)
    kind = random.randrange(4)
    if kind == 0:
        return text[:place] + text[place + 1 :]
    if kind == 1:
        return text[:place] + text[place] + text[place:]
    if kind == 2:
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    beside = pools.NEIGHBOURS.get(text[place].lower())
    return text[:place] + random.choice(beside) + text[place + 1 :] if beside else text


def wrong_date(born: date, random: Random) -> date:
    """A birth date as it is mistaken: swapped, a year beside, one digit, or 1 January."""
    kind = random.random()
    if kind < 0.3 and born.day <= 12:
        return born.replace(month=born.day, day=born.month)
    if kind < 0.5:
        return born + timedelta(days=random.choice((-365, 365)))
    if kind < 0.75:
        return born.replace(day=random.randrange(1, 29))
    return born.replace(month=1, day=1)


def record(person: Person, script: str, random: Random, errors: float) -> list[str]:
    """One record of a person; `errors` scales how often something is wrong."""

    def happens(rate: float) -> bool:
        return random.random() < rate * errors

    is_married = bool(person.married) and random.random() < 0.45
    family = surname(person.married if is_married else person.family, person.sex, script, random)
    given = written(person.given, script, random)
    father = "" if random.random() < 0.18 else patronymic(person.father, person.sex, script, random)
    if happens(0.02):
        tail = random.choice(("jon", "bek") if person.sex == "M" else ("xon", "oy"))
        given += cyrillic(tail).lower() if script in ("uzcyr", "rus") else tail
    family = slip(family, random) if happens(0.025) else family
    given = slip(given, random) if happens(0.015) else given
    father = slip(father, random) if father and happens(0.015) else father
    if happens(0.004):
        given = f"{given[0]}."
    if happens(0.007):
        family, given = given, family
    if happens(0.003):
        family, given, father = family.upper(), given.upper(), father.upper()
    born = wrong_date(person.born, random) if happens(0.025) else person.born
    pinfl = "" if happens(0.12) else person.pinfl
    if pinfl and happens(0.015):
        place = random.randrange(14)
        pinfl = pinfl[:place] + str((int(pinfl[place]) + random.randrange(1, 10)) % 10) \
            + pinfl[place + 1 :]
    phone = "" if happens(0.35) else _phone(random) if happens(0.15) else person.phone
    district = "" if happens(0.02) else written(person.district, script, random)
    return [pinfl, family, given, father, person.sex, born.isoformat(), district, phone]


def rows(records: int, seed: int, errors: float = 1.0) -> list[list[str]]:
    """So many records, each as COLUMNS; those of one person are spread over the whole file."""
    country, random = Country(seed), Random(seed + 1)
    made: list[list[str]] = []
    while len(made) < records:
        for person in country.family():
            copies = random.choices((1, 2, 3, 4), (83, 13, 3, 1))[0]
            own = random.choice(SCRIPTS)
            for copy in range(copies):
                script = own if copy == 0 or random.random() < 0.4 else random.choice(SCRIPTS)
                fields = record(person, script, random, errors)
                made.append(["", str(person.number), script, *fields, person.kin])
    random.shuffle(made)
    for place, row in enumerate(made):
        row[0] = str(place)
    return made[:records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--errors", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("build/matching/uz.csv"))
    chosen = parser.parse_args()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with chosen.out.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(COLUMNS)
        writer.writerows(rows(chosen.records, chosen.seed, chosen.errors))


if __name__ == "__main__":
    main()
