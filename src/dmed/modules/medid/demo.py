"""Persons of the synthetic country: households with couples, children and grandparents.

A household is made from the seed and its own number alone, so that parts of the country can be
made side by side. PINFL and MED-ID come from the person's number by a permutation: no two
persons of a country below a million share either, however the work was divided.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

import msgspec

from dmed.kit.seed import Made, drawn_id, generator, local, make
from dmed.kit.text import romanise, to_cyrillic
from dmed.modules.medid.rules import (
    MED_ID_SYSTEM,
    PINFL_SYSTEM,
    age_years,
    compose_pinfl,
    med_id_check_digit,
)

_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-"
_ATTACHED = "https://dhp.uz/fhir/core/StructureDefinition/managing-organization-attachment"
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_LANGUAGE = "http://hl7.org/fhir/StructureDefinition/language"
_NI = {"coding": [{"system": _V2_0203, "code": "NI"}]}
_HC = {"coding": [{"system": _V2_0203, "code": "HC"}]}
_SIZES = (1,) * 7 + (2,) * 11 + (3,) * 12 + (4,) * 22 + (5,) * 22 + (6,) * 16 + (7,) * 10
"""Household sizes of a hundred households."""
_PERSONS_NUMBERED = 1_000_000
"""A birth date and sex leave a million PINFLs: later persons' numbers stay unverified."""
_PHONE_CODES = ("90", "91", "93", "94", "95", "97", "98", "99", "33", "88")


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """Where a household lives and which clinic serves it."""

    region: str
    region_name: str
    district: str
    district_name: str
    clinic: str
    clinic_name: str


class Person(msgspec.Struct, kw_only=True):
    """One person of the country while it is being made."""

    id: str
    bucket: int
    number: int
    """Place among all persons of the country, from 0."""
    sex: str
    born: date
    family: str
    """"Uzbek:Russian" spelling."""
    given: str
    father: str
    """Given name of the father, from which the patronymic is made."""
    people: str
    """uz, ru or kaa: which pool of names and which language."""
    home: Home
    phone: str = ""
    line: str = ""
    is_married: bool = False
    maiden: str = ""
    tale: str = ""
    """Key of a planted story, or nothing."""
    med_id: str = ""
    pinfl: str = ""
    has_pinfl: bool = True
    spelling: str = "latin"
    """latin, both or russian: in which scripts the name was written down."""

    @property
    def reference(self) -> dict[str, str]:
        """The reference to this person's Patient."""
        return {"reference": f"Patient/{self.id}"}


@cache
def names() -> dict[str, Any]:
    """Pools of names by people and kind ("Uzbek:Russian" spelling), and streets."""
    raw = files("dmed.modules.medid").joinpath("data/names.json").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(raw)
    return found


def household_size(seed: int, number: int) -> int:
    """How many persons live in a household; cheap, so that a part can find its place."""
    if number < len(PLANTED):
        return len(PLANTED[number])
    return _SIZES[zlib.crc32(f"{seed}/{number}".encode()) % len(_SIZES)]


# --- Planted persons: stories of the README and the screens ----------------------------------


class Plant(msgspec.Struct, frozen=True):
    """A person who is in every country."""

    tale: str
    sex: str
    born: date
    family: str
    given: str
    father: str
    phone: str = ""
    maiden: str = ""
    pinfl_number: int = -1
    """Area and serial, where the number must be the one of a story."""
    med_id: str = ""
    has_pinfl: bool = True
    spelling: str = "latin"


PLANTED: tuple[tuple[Plant, ...], ...] = (
    (
        Plant("healthy", "male", date(1990, 8, 21), "Karimov:Каримов", "Jasur:Джасур",
              "Anvar:Анвар", "+998901232141"),
        Plant("pregnant", "female", date(1992, 3, 12), "Karimov:Каримов", "Dilnoza:Дилноза",
              "Botir:Батыр", "+998901232140", "Yo‘ldoshev:Юлдашев", 210_104, "482109375562",
              spelling="both"),
        Plant("child", "male", date(2019, 5, 30), "Karimov:Каримов", "Temur:Темур", "Jasur:Джасур"),
    ),
    (
        Plant("angina", "male", date(1988, 5, 14), "Rahimov:Рахимов", "Otabek:Отабек",
              "Shuhrat:Шухрат", "+998935557788", "", 317_206, "710244000183"),
        Plant("healthy", "female", date(1991, 11, 2), "Rahimov:Рахимов", "Nigora:Нигора",
              "Zokir:Закир", "+998935557789", "Usmonov:Усманов"),
    ),
    (
        Plant("chronic", "female", date(1951, 2, 7), "Yo‘ldoshev:Юлдашев", "Saodat:Саодат",
              "Karim:Карим", "+998712345610", spelling="both"),
    ),
    (
        Plant("double", "female", date(1992, 3, 12), "Yo‘ldoshev:Юлдашев", "Dilnoza:Дилноза",
              "Botir:Батыр", "+998901232104", has_pinfl=False, spelling="russian"),
    ),
)  # fmt: skip  # One person a paragraph.


# --- Households ------------------------------------------------------------------------------


def household(seed: int, number: int, first: int, home: Home, until: date) -> list[Person]:
    """The persons of a household, adults first; `first` is the number of the first of them."""
    numbers = generator("household", seed, number)
    if number < len(PLANTED):
        found = [_planted(plant, home, numbers) for plant in PLANTED[number]]
        father = next((one for one in found if one.sex == "male"), None)
        mother = next((one for one in found if one.sex == "female"), None)
        if len(found) > 1 and father and mother:
            father.is_married = mother.is_married = True
    else:
        found = _family(numbers, home, household_size(seed, number), until)
    street = numbers.choice(names()["streets"])
    line = f"{street} ko‘chasi, {numbers.randrange(1, 120)}-uy"
    for place, person in enumerate(found):
        person.number = first + place
        person.line = line
        _give_numbers(person, seed)
    if number < len(PLANTED):
        _keep_numbers(found, PLANTED[number])
    return found


def _give_numbers(person: Person, seed: int) -> None:
    mixed = (person.number * 617_371 + 104_729) % 1_000_000
    person.pinfl = compose_pinfl(person.born, person.sex, *divmod(mixed, 1000))
    body = f"{(person.number * 387_420_489_013 + seed * 7_919 + 12_345_678_901) % 10**12:012d}"
    person.med_id = body + med_id_check_digit(body)


def _keep_numbers(found: list[Person], plants: Sequence[Plant]) -> None:
    for person, plant in zip(found, plants, strict=True):
        if plant.pinfl_number >= 0:
            person.pinfl = compose_pinfl(person.born, person.sex, *divmod(plant.pinfl_number, 1000))
        if plant.med_id:
            person.med_id = plant.med_id + med_id_check_digit(plant.med_id)


def _planted(plant: Plant, home: Home, numbers: Random) -> Person:
    bucket = numbers.randrange(4096)
    return Person(
        id=drawn_id(bucket, numbers), bucket=bucket, number=0, sex=plant.sex, born=plant.born,
        family=plant.family, given=plant.given, father=plant.father, people="uz", home=home,
        phone=plant.phone, maiden=plant.maiden, tale=plant.tale, has_pinfl=plant.has_pinfl,
        spelling=plant.spelling)


def _people_of(home: Home, draw: float) -> str:
    russian = {"1726": 0.10, "1727": 0.05}.get(home.region, 0.02)
    if draw < russian:
        return "ru"
    return "kaa" if home.region == "1735" and draw < 0.7 else "uz"


def _family(numbers: Random, home: Home, size: int, until: date) -> list[Person]:
    people = _people_of(home, numbers.random())
    pool = names()[people]
    surname, roots = numbers.choice(pool["family"]), numbers.choice(pool["male"])

    def someone(sex: str, age: float, family: str, father: str) -> Person:
        bucket = numbers.randrange(4096)
        draw = numbers.random()
        return Person(
            id=drawn_id(bucket, numbers), bucket=bucket, number=0, sex=sex,
            born=until - timedelta(days=int(age * 365.25) + 1 + numbers.randrange(300)),
            family=family, given=numbers.choice(pool[sex]), father=father, people=people, home=home,
            phone=_phone(numbers) if age > 14 else "",
            has_pinfl=draw > 0.02, spelling="both" if draw > 0.72 else
            "russian" if draw > 0.64 else "latin")

    if size == 1:
        sex = "female" if numbers.random() < 0.6 else "male"
        age = 18 + 65 * numbers.random() ** 0.8
        return [someone(sex, age, surname, roots)]
    age = 21 + 24 * numbers.random() if size > 2 else 22 + 56 * numbers.random()
    husband = someone("male", age + 1 + 4 * numbers.random(), surname, roots)
    wife = someone("female", age, surname, numbers.choice(pool["male"]))
    if numbers.random() < 0.9:
        wife.maiden = numbers.choice(pool["family"])
    husband.is_married = wife.is_married = True
    found = [husband, wife]
    elders = 1 + (size > 6) if size > 4 and numbers.random() < 0.45 else 0
    child_age = min(age - 19, 23.0)
    for _ in range(size - 2 - elders):
        if child_age < 0:
            child_age = 0.2 + 2 * numbers.random()
        sex = "male" if numbers.random() < 0.51 else "female"
        found.append(someone(sex, child_age, surname, husband.given))
        child_age -= 1.8 + 2.4 * numbers.random()
    for place in range(elders):
        sex = "female" if place == 0 else "male"
        elder = someone(sex, age + 24 + 8 * numbers.random(), surname, numbers.choice(pool["male"]))
        elder.is_married = elders > 1
        found.append(elder)
    return found


def _phone(numbers: Random) -> str:
    return f"+998{_PHONE_CODES[numbers.randrange(10)]}{numbers.randrange(10**7):07d}"


# --- Names in their spellings ----------------------------------------------------------------


def _spelt(pair: str, spelling: str) -> str:
    uz, _, ru = pair.partition(":")
    return ru if spelling == "russian" else uz


def _surname(pair: str, sex: str, spelling: str) -> str:
    name = _spelt(pair, spelling)
    if sex == "male":
        return name
    return name + ("а" if spelling == "russian" else "a")


def _patronymic(person: Person, spelling: str) -> str:
    father = _spelt(person.father, spelling)
    is_son = person.sex == "male"
    if spelling != "russian":
        if person.people == "uz" and person.born.year >= 1991:
            return f"{father} {'o‘g‘li' if is_son else 'qizi'}"
        stem = father if father[-1] not in "aiou" else father + "y"
        return stem + ("ovich" if is_son else "ovna")
    if father.endswith("й"):
        return father[:-1] + ("евич" if is_son else "евна")
    if father[-1] in "аоуия":
        return father + ("евич" if is_son else "евна")
    return father + ("ович" if is_son else "овна")


def _name(person: Person, spelling: str, use: str, language: str) -> dict[str, Any]:
    family = _surname(person.family, person.sex, spelling)
    given, patronymic = _spelt(person.given, spelling), _patronymic(person, spelling)
    name: dict[str, Any] = {}
    if language:
        name["extension"] = [{"url": _LANGUAGE, "valueCode": language}]
    name |= {"use": use, "text": f"{family} {given} {patronymic}", "family": family,
             "given": [given], "suffix": [patronymic]}
    return name


def patient_names(person: Person) -> list[dict[str, Any]]:
    """HumanNames of a person, the official one first."""
    if person.people == "ru":
        first = _name(person, "russian", "official", "ru")
        second = {"extension": [{"url": _LANGUAGE, "valueCode": "uz"}], "use": "usual",
                  "text": romanise(first["text"]), "family": romanise(first["family"]),
                  "given": [romanise(first["given"][0])],
                  "suffix": [romanise(first["suffix"][0])]}
        return [first, second] if person.spelling == "both" else [first]
    if person.spelling == "russian":
        return [_name(person, "russian", "official", "ru")]
    first = _name(person, "latin", "official", "")
    found = [first]
    if person.spelling == "both":
        found.append({
            "extension": [{"url": _LANGUAGE, "valueCode": "uz-Cyrl"}], "use": "usual",
            "text": to_cyrillic(first["text"]), "family": to_cyrillic(first["family"]),
            "given": [to_cyrillic(first["given"][0])],
            "suffix": [to_cyrillic(first["suffix"][0])]})
    if person.maiden and person.sex == "female":
        found.append({"use": "maiden", "family": _surname(person.maiden, "female", "latin")})
    return found


def shown_name(person: Person) -> str:
    """The official name as one line."""
    text: str = patient_names(person)[0]["text"]
    return text


# --- Records ---------------------------------------------------------------------------------


def registered_at(person: Person, numbers: Random) -> datetime:
    """When the card was made: in the take-over of the papers, or some days after birth."""
    opened = date(2016, 12, 1) + timedelta(days=numbers.randrange(400))
    day = max(opened, person.born + timedelta(days=3))
    return local(day, 540 + numbers.randrange(420), numbers.randrange(60))


def _address(person: Person) -> dict[str, Any]:
    home = person.home
    return {
        "use": "home",
        "text": f"{home.region_name}, {home.district_name}, {person.line}",
        "line": [person.line],
        "district": home.district,
        "state": home.region,
        "country": "UZ",
    }


def patient(person: Person, numbers: Random, until: date) -> Made:
    """The Patient after uz-core-patient."""
    moment = registered_at(person, numbers)
    identifiers: list[dict[str, Any]] = []
    if person.has_pinfl:
        use = "official" if person.number < _PERSONS_NUMBERED else "temp"
        identifiers.append({"use": use, "type": _NI, "system": PINFL_SYSTEM, "value": person.pinfl})
    identifiers.append({"use": "official", "type": _HC, "system": MED_ID_SYSTEM,
                        "value": person.med_id})
    language = person.people if person.people != "uz" or person.spelling != "russian" else "ru"
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "language": "uz" if language == "kaa" else language,
        "extension": [{"url": _ATTACHED, "valueDate": moment.date().isoformat()}],
        "identifier": identifiers,
        "active": True,
        "name": patient_names(person),
    }
    if person.phone:
        resource["telecom"] = [{"system": "phone", "value": person.phone, "use": "mobile"}]
    resource |= {
        "gender": person.sex,
        "birthDate": person.born.isoformat(),
        "address": [_address(person)],
    }
    if age_years(person.born, until) >= 18:
        resource["maritalStatus"] = {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",
            "code": "M" if person.is_married else "S"}]}
    resource["managingOrganization"] = {
        "reference": f"Organization/{person.home.clinic}", "display": person.home.clinic_name}
    return make(person.id, moment, f"{_PROFILE}patient", resource)


def related(person: Person, other: Person, role: str, numbers: Random) -> Made:
    """The RelatedPerson that `other` is to `person`: MTH, FTH or SPS of v3-RoleCode."""
    moment = registered_at(person, numbers) + timedelta(minutes=2)
    identifier = {"use": "official", "type": _HC, "system": MED_ID_SYSTEM, "value": other.med_id}
    resource: dict[str, Any] = {
        "resourceType": "RelatedPerson",
        "identifier": [identifier],
        "active": True,
        "patient": person.reference,
        "relationship": [{"coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleClass", "code": "NOK"},
            {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": role},
        ]}],
        "name": [patient_names(other)[0]],
    }
    if other.phone:
        resource["telecom"] = [{"system": "phone", "value": other.phone, "use": "mobile"}]
    resource |= {"gender": other.sex, "birthDate": other.born.isoformat()}
    return make(drawn_id(person.bucket, numbers), moment, f"{_PROFILE}relatedperson", resource)


def relatives(found: list[Person], numbers: Random, until: date) -> list[Made]:
    """RelatedPersons of a household: spouses of each other, parents of the children."""
    couple = [one for one in found[:2] if one.is_married]
    made: list[Made] = []
    if len(couple) < 2:
        return made
    husband, wife = couple
    made += [related(husband, wife, "SPS", numbers), related(wife, husband, "SPS", numbers)]
    for child in found[2:]:
        if age_years(child.born, until) < age_years(wife.born, until):
            made += [related(child, wife, "MTH", numbers), related(child, husband, "FTH", numbers)]
    return made
