"""Staff of the synthetic country: practitioners, posts and licences, whatever the seed.

The four demo sign-ins hold posts at the 14th family polyclinic and the 27th pharmacy in Yunusobod.
"""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any

import msgspec

from dmed.kit.seed import Made, fixed_id, generator, local, make
from dmed.modules.medid.api import compose_pinfl, names
from dmed.modules.workforce.model import Employment, Held, Kind
from dmed.modules.workforce.rules import ARGOS_SYSTEM, CERTIFICATE
from dmed.modules.workforce.rules.records import KIND, RATE, beside

_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-"
_CS = "https://terminology.dhp.uz/fhir/core/CodeSystem/"
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
HIRED = date(2024, 1, 9)
_SOON = 2.0
"""A draw for whose certificate ends within weeks of the country's last day."""
_SOON_ENDS = ("1726266", "gp", 1)
_HELD = ("oliy toifa", "birinchi toifa", "ikkinchi toifa")


class Post(msgspec.Struct, frozen=True):
    """A kind of post: code of position-and-profession-cs, title, specialty."""

    key: str
    code: str
    title: str
    specialty: str = ""
    """Code of profession-specialization-cs."""
    is_licensed: bool = True


POSTS = {
    post.key: post for post in (
        Post("therapist", "2212.113", "terapevt", "394802001"),
        Post("gp", "2211.1", "umumiy amaliyot shifokori", "394814009"),
        Post("pediatrician", "2212.89", "pediatr"),
        Post("gynaecologist", "2212.14", "ginekolog", "394585009"),
        Post("cardiologist", "2212.45", "kardiolog", "394579002"),
        Post("pharmacist", "2262.13", "farmatsevt"),
        Post("head", "1120.18", "bosh shifokor", is_licensed=False),
        Post("registrar", "", "registrator", is_licensed=False),
        Post("administrator", "", "administrator", is_licensed=False),
    )
}


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a post, by ids and as shown."""

    practitioner: str
    role: str
    name: str
    post: Post
    organisation: str
    organisation_name: str


_DEMO = {
    # (district, kind, place): sign-in, family, given, patronymic, sex
    ("1726266", "therapist", 0): ("Yusupova", "Aziza", "Karimovna", "female"),
    ("1726266", "registrar", 0): ("Tosheva", "Malika", "Botirovna", "female"),
    ("1726266", "pharmacist", 0): ("Aliyev", "Sardor", "Anvarovich", "male"),
    ("1726266", "administrator", 0): ("Rahimov", "Bobur", "Sobirovich", "male"),
    ("1726266", "head", 0): ("Tursunov", "Alisher", "Rustamovich", "male"),
}
DEMO_POSTS = {
    "doctor": ("1726266", "therapist", 0),
    "pharmacist": ("1726266", "pharmacist", 0),
    "registrar": ("1726266", "registrar", 0),
    "admin": ("1726266", "administrator", 0),
    "head": ("1726266", "head", 0),
}
"""Demo sign-ins and the posts they hold."""


def _identity(district: str, post: Post, place: int, numbers: Random) -> tuple[str, ...]:
    known = _DEMO.get((district, post.key, place))
    if known is not None:
        return known
    is_woman = numbers.random() < (0.9 if post.key in ("gynaecologist", "registrar") else 0.6)
    pool = names()["uz"]
    family = numbers.choice(pool["family"]).partition(":")[0]
    father = numbers.choice(pool["male"]).partition(":")[0]
    given = numbers.choice(pool["female" if is_woman else "male"]).partition(":")[0]
    return (family + "a" * is_woman, given, father + ("ovna" if is_woman else "ovich"),
            "female" if is_woman else "male")


def _qualifications(post: Post, code: str, started: date, draw: float) -> list[Any]:
    """A diploma, and for licensed professions a certificate of five years; few have run out."""
    made: list[Any] = [{
        "identifier": [{"use": "official", "value": f"B-{code}"}],
        "code": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0360",
                             "code": "DIP"}], "text": "Diplom"},
        "period": {"start": started.isoformat()},
        "issuer": {"display": "Toshkent davlat tibbiyot universiteti"},
    }]
    if post.is_licensed:
        since = date(2022, 6, 1) + timedelta(days=int(draw * 1200))
        until = date(since.year + (5 if draw > 1 / 40 else 3), since.month, 28)
        if draw == _SOON:
            since, until = date(2021, 12, 16), date(2026, 12, 15)
        made.append({
            "identifier": [{"use": "official", "value": f"S-{code}"}],
            "code": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0360",
                                 "code": CERTIFICATE}],
                     "text": f"Mutaxassis sertifikati: {post.title}"},
            "period": {"start": since.isoformat(), "end": until.isoformat()},
            "issuer": {"display": "Sog‘liqni saqlash vazirligi"},
        })
    return made


def _draw(district: str, post_key: str, place: int, numbers: Random) -> float:
    if (district, post_key, place) == _SOON_ENDS:
        return _SOON
    return 0.5 if (district, post_key, place) in _DEMO else numbers.random()


def _category(post: Post, code: str, seed: str) -> dict[str, Any]:
    """The category of those who practise under a certificate, as extension."""
    if not post.is_licensed:
        return {}
    numbers = generator("category", seed)
    ends = date(2026, 12, 1) + timedelta(days=numbers.randrange(1500))
    return {"extension": [beside(Held(
        kind=Kind.CATEGORY, title=_HELD[numbers.randrange(3)], number=f"T-{code}",
        valid_from=date(ends.year - 5, ends.month, 1), valid_until=ends,
        issuer="Sog‘liqni saqlash vazirligi"))]}


def hire(district: str, post_key: str, place: int, organisation: str, organisation_name: str) -> (
        tuple[Holder, list[Made]]):
    """Somebody for a post at an institution, with the records Practitioner and PractitionerRole."""
    post = POSTS[post_key]
    seed = f"{district}/{post_key}/{place}"
    numbers = generator("staff", seed)
    family, given, patronymic, sex = _identity(district, post, place, numbers)
    born = date(1962, 1, 1) + timedelta(days=numbers.randrange(12_500))
    code = f"{numbers.randrange(10**7):07d}"
    practitioner_id, role_id = fixed_id(f"practitioner/{seed}"), fixed_id(f"role/{seed}")
    moment = local(HIRED, 500 + numbers.randrange(400), numbers.randrange(60))
    practitioner = make(practitioner_id, moment, f"{_PROFILE}practitioner", {
        "resourceType": "Practitioner",
        "language": "uz",
        **_category(post, code, seed),
        "identifier": [
            {"use": "official", "type": {"coding": [{"system": _V2_0203, "code": "NI"}]},
             "system": ARGOS_SYSTEM, "value": f"{numbers.randrange(10**10):010d}"},
            {"use": "official", "type": {"coding": [{"system": _V2_0203, "code": "NI"}]},
             "system": PINFL_SYSTEM,
             "value": compose_pinfl(born, sex, 990 + numbers.randrange(10),
                                    numbers.randrange(1000))},
        ],
        "active": True,
        "name": [{"use": "official", "text": f"{family} {given} {patronymic}", "family": family,
                  "given": [given], "suffix": [patronymic]}],
        "telecom": [{"system": "phone", "value": f"+99890{numbers.randrange(10**7):07d}",
                     "use": "work"}],
        "gender": sex,
        "birthDate": born.isoformat(),
        "qualification": _qualifications(
            post, code, born + timedelta(days=24 * 365), _draw(district, post_key, place, numbers)),
    })
    role: dict[str, Any] = {
        "resourceType": "PractitionerRole",
        "language": "uz",
        "extension": [{"url": RATE, "valueDecimal": 1},
                      {"url": KIND, "valueCode": Employment.MAIN.value}],
        "active": True,
        "period": {"start": "2024-01-09"},
        "practitioner": {"reference": f"Practitioner/{practitioner_id}",
                         "display": f"{family} {given}"},
        "organization": {"reference": f"Organization/{organisation}",
                         "display": organisation_name},
        "code": [_post_code(post)],
    }
    if post.specialty:
        role["specialty"] = [{"coding": [{"system": f"{_CS}profession-specialization-cs",
                                          "code": post.specialty}]}]
    made = [practitioner, make(role_id, moment + timedelta(seconds=1),
                               f"{_PROFILE}practitioner-role", role)]
    return Holder(practitioner=practitioner_id, role=role_id, name=f"{family} {given}", post=post,
                  organisation=organisation, organisation_name=organisation_name), made


def _post_code(post: Post) -> dict[str, Any]:
    if not post.code:
        return {"text": post.title}
    return {"coding": [{"system": f"{_CS}position-and-profession-cs", "code": post.code}],
            "text": post.title}
