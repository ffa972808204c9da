"""Institutions of the synthetic country: the same in every country, whatever its seed.

Names of private clinics and pharmacies are invented; licences of the non-state ones have
numbers and terms, and one in some thirty has run out.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from dmed.kit.seed import Made, fixed_id, generator, local, make
from dmed.kit.text import to_cyrillic
from dmed.modules.facilities.model import District, Region
from dmed.modules.facilities.rules import PHARMACY_TEXT, TAX_SYSTEM
from dmed.modules.facilities.rules.places import CENTRES
from dmed.modules.facilities.rules.records import site_id
from dmed.modules.facilities.service import regions

_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-"
_CS = "https://terminology.dhp.uz/fhir/core/CodeSystem/"
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
OPENED = date(2024, 1, 8)
DEMO_DISTRICT = "1726266"
_CLINICS = (
    "Shifo-med", "Salomat Plus", "Nur Klinika", "Oltin Qalb", "Mehr-Shifo", "Zamin Med",
    "Umid Klinikasi", "Ziyo Med", "Baraka Shifo", "Hayot Med", "Ishonch Klinika", "Sihat Markazi",
)  # fmt: skip  # A list of names reads better filled.
_PHARMACIES = (
    "Yashil Barg", "Malham", "Dori-Darmon Uyi", "Sog‘lom Oila", "Shifobaxsh", "Zam-Zam Farm",
    "Giyoh", "Oydin Farm", "Nilufar Dorixona", "Chinor Farm", "Safo Farm", "Ko‘k Choy Farm",
)  # fmt: skip  # Same reason.


class Institutions(msgspec.Struct, frozen=True, kw_only=True):
    """The institutions of one district, by id."""

    region: Region
    district: District
    polyclinic: str
    polyclinic_name: str
    hospital: str
    hospital_name: str
    clinic: str
    clinic_name: str
    pharmacies: tuple[tuple[str, str], ...]
    """(id, name)."""


def used_districts(persons: int) -> list[tuple[Region, District]]:
    """The districts in which so many persons live: few for few, in turn from each region."""
    wanted = max(3, persons // 40)
    rounds = max(len(region.districts) for region in regions())
    turns = [
        (region, region.districts[turn])
        for turn in range(rounds)
        for region in regions()
        if turn < len(region.districts)
    ]
    return turns[:wanted]


def _names(uz: str, ru: str) -> dict[str, Any]:
    url = "http://hl7.org/fhir/StructureDefinition/translation"
    told = [("uz-Cyrl", to_cyrillic(uz)), ("ru", ru)]
    return {"extension": [
        {"extension": [{"url": "lang", "valueCode": code}, {"url": "content", "valueString": text}],
         "url": url}
        for code, text in told
    ]}


def _kinds(subordination: str, nomenclature: str, structure: str, service: str) -> list[Any]:
    coded = [("organizational-subordination-group-cs", subordination),
             ("nomenclature-group-cs", nomenclature),
             ("organizational-structure-cs", structure),
             ("organizational-service-group-cs", service)]
    return [{"coding": [{"system": _CS + system, "code": code} for system, code in coded if code]}]


_STATE_POLYCLINIC = _kinds("I_3", "II_300", "351", "III_500")
_STATE_HOSPITAL = _kinds("I_3", "II_100", "146", "III_100")
_PRIVATE = _kinds("I_5", "II_300", "", "III_500")
_AUTHORITY = _kinds("I_2", "II_900", "", "III_600")
_PHARMACY = [
    {"coding": [
        {"system": _CS + "organizational-subordination-group-cs", "code": "I_5"},
        {"system": _CS + "nomenclature-group-cs", "code": "II_900"},
    ], "text": PHARMACY_TEXT},
]


def _licence(what: str, number: str, start: date, end: date) -> list[Any]:
    return [{
        "identifier": [{"use": "official", "value": number}],
        "code": {"text": what},
        "period": {"start": start.isoformat(), "end": end.isoformat()},
        "issuer": {"display": "Sog‘liqni saqlash vazirligi"},
    }]


def organisation(
    name: str, *, uz: str, ru: str, kinds: list[Any], region: Region, district: District | None,
    tax: str, part_of: str = "", licence: list[Any] | None = None, line: str = "",
) -> Made:
    """One Organization after uz-core-organization; `name` is the seed of its id."""
    record_id = fixed_id(f"organization/{name}")
    address: dict[str, Any] = {"use": "work", "text": f"{region.uz}, {line}".strip(", ")}
    if line:
        address["line"] = [line]
    if district is not None:
        address["district"] = district.code
    address |= {"state": region.code, "country": "UZ"}
    resource: dict[str, Any] = {
        "resourceType": "Organization",
        "language": "uz",
        "identifier": [{
            "use": "official",
            "type": {"coding": [{"system": _V2_0203, "code": "TAX"}]},
            "system": TAX_SYSTEM,
            "value": tax,
        }],
        "active": True,
        "type": kinds,
        "name": uz,
        "_name": _names(uz, ru),
        "contact": [{
            "telecom": [{"system": "phone", "value": f"+99871{int(tax) % 10_000_000:07d}"}],
            "address": address,
        }],
    }
    if part_of:
        resource["partOf"] = {"reference": f"Organization/{part_of}"}
    if licence:
        resource["qualification"] = licence
    numbers = int(record_id[-4:], 16)
    moment = local(OPENED, 480 + numbers % 480, numbers % 60)
    return make(record_id, moment, f"{_PROFILE}organization", resource)


def _tax(lead: str, name: str) -> str:
    return f"{lead}{generator('tax', name).randrange(10**8):08d}"


def authorities() -> list[Made]:
    """The ministry and the health departments of the regions."""
    capital = regions()[0]
    made = [organisation(
        "ministry", uz="O‘zbekiston Respublikasi Sog‘liqni saqlash vazirligi",
        ru="Министерство здравоохранения Республики Узбекистан",
        kinds=_kinds("I_1", "II_900", "", "III_600"), region=capital, district=None,
        tax=_tax("2", "ministry"))]
    made += [organisation(
        f"department/{region.code}", uz=f"{region.uz} sog‘liqni saqlash boshqarmasi",
        ru=f"Управление здравоохранения: {region.ru}", kinds=_AUTHORITY, region=region,
        district=None, tax=_tax("2", f"department/{region.code}"),
        part_of=fixed_id("organization/ministry")) for region in regions()]
    return made


def _departments(owner: str, owner_name: str, numbers: int) -> list[Made]:
    made = []
    for title in ("Terapiya bo‘limi", "Pediatriya bo‘limi"):
        record_id = fixed_id(f"location/{owner}/{title}")
        made.append(make(record_id, local(OPENED, 600, numbers % 60), f"{_PROFILE}location", {
            "resourceType": "Location",
            "language": "uz",
            "identifier": [{
                "use": "official",
                "system": "https://dhp.uz/fhir/core/NamingSystem/location-unit",
                "value": "Ward",
            }],
            "status": "active",
            "name": title,
            "description": f"{owner_name}, {title.lower()}",
            "mode": "instance",
            "managingOrganization": {"reference": f"Organization/{owner}"},
        }))
    return made


_OFFICE = {"availableTime": [
    {"daysOfWeek": ["mon", "tue", "wed", "thu", "fri"], "availableStartTime": "08:00:00",
     "availableEndTime": "18:00:00"},
    {"daysOfWeek": ["sat"], "availableStartTime": "09:00:00", "availableEndTime": "14:00:00"}]}
_ALWAYS = {"availableTime": [
    {"daysOfWeek": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "allDay": True}]}


def _sites(owners: list[Made], region: Region, district: District) -> list[Made]:
    """Where the institutions of a district stand: invented spots around the region's centre."""
    numbers = generator("sites", district.code)
    latitude, longitude = CENTRES[region.code]
    latitude += numbers.uniform(-0.12, 0.12)
    longitude += numbers.uniform(-0.15, 0.15)
    made: list[Made] = []
    for owner in owners:
        record = msgspec.json.decode(owner.body)
        kinds = {code["code"] for one in record["type"] for code in one.get("coding", [])}
        spot = [Decimal(f"{middle + numbers.uniform(-0.03, 0.03):.5f}")
                for middle in (longitude, latitude)]
        made.append(make(site_id(owner.id), local(OPENED, 620, len(made)), f"{_PROFILE}location", {
            "resourceType": "Location", "language": "uz", "status": "active",
            "name": record["name"], "_name": record["_name"], "mode": "instance",
            "address": record["contact"][0]["address"],
            "form": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/location-physical-type",
                "code": "si", "display": "Site"}]},
            "position": {"longitude": spot[0], "latitude": spot[1]},
            "managingOrganization": {"reference": f"Organization/{owner.id}"},
            "hoursOfOperation": [_ALWAYS if "II_100" in kinds else _OFFICE]}))
    return made


def institutions(region: Region, district: District) -> tuple[Institutions, list[Made]]:
    """The institutions of a district with their departments, and their records."""
    code = district.code
    numbers = generator("institutions", code)
    is_demo = code == DEMO_DISTRICT
    number = 14 if is_demo else numbers.randrange(1, 60)
    short = district.uz.rsplit(" ", 1)[0]
    made: list[Made] = []
    department = fixed_id(f"organization/department/{region.code}")

    def add(kind: str, uz: str, ru: str, kinds: list[Any], *, lead: str = "2",
            licence: list[Any] | None = None, part_of: str = department) -> str:
        name = f"{code}/{kind}"
        made.append(organisation(
            name, uz=uz, ru=ru, kinds=kinds, region=region, district=district, licence=licence,
            tax=_tax(lead, name), part_of=part_of, line=f"{district.uz}, {number + 3}-uy"))
        return made[-1].id

    polyclinic_name = f"{number}-oilaviy poliklinika"
    hospital_name = f"{district.uz} markaziy shifoxonasi"
    brand = f"“{_CLINICS[numbers.randrange(len(_CLINICS))]}”"
    clinic_name = f"{brand} xususiy klinikasi"
    polyclinic = add("polyclinic", polyclinic_name,
                     f"Семейная поликлиника № {number}", _STATE_POLYCLINIC)
    hospital = add("hospital", hospital_name, f"Центральная больница: {district.ru}",
                   _STATE_HOSPITAL)
    clinic = add("clinic", clinic_name, f"Частная клиника {brand}", _PRIVATE,
                 lead="3", part_of="",
                 licence=_term("Tibbiy faoliyat", f"T-{code}-01", numbers.random(), is_demo))
    pharmacies = []
    for place in (1, 2):
        pharmacy_number = 27 if is_demo and place == 1 else numbers.randrange(1, 400)
        brand = _PHARMACIES[numbers.randrange(len(_PHARMACIES))]
        name = f"{pharmacy_number}-dorixona" + ("" if is_demo and place == 1 else f" “{brand}”")
        licence = _term("Farmatsevtika faoliyati", f"F-{code}-{place:02d}", numbers.random(),
                        is_demo)
        pharmacies.append((add(f"pharmacy-{place}", name, f"Аптека № {pharmacy_number}", _PHARMACY,
                               lead="3", part_of="", licence=licence), name))
    made += _sites(list(made), region, district)
    made += _departments(polyclinic, f"{short}, {polyclinic_name}", number)
    return Institutions(
        region=region, district=district, polyclinic=polyclinic, polyclinic_name=polyclinic_name,
        hospital=hospital, hospital_name=hospital_name, clinic=clinic, clinic_name=clinic_name,
        pharmacies=tuple(pharmacies)), made


def _term(what: str, number: str, draw: float, is_demo: bool) -> list[Any]:
    start = date(2023, 1, 10) + timedelta(days=int(draw * 1000))
    years = 5 if is_demo or draw > 1 / 30 else 2
    return _licence(what, number, start, date(start.year + years, start.month, 28))
