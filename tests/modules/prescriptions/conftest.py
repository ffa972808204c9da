"""A consulting room and two pharmacies in the village, with keys in a folder of their own."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from dmed.kit import clock
from dmed.kit.settings import Settings
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import MODULE as PHARMACY
from dmed.modules.pharmacy.rules.gs1 import Code
from dmed.modules.prescriptions import MODULE as PRESCRIPTIONS
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.model import Draft, DraftItem, Prescription
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject

AMOXICILLIN = "amoxicillin-capsule-500mg"
PARACETAMOL = "paracetamol-tablet-500mg"
BRONCHITIS = "J15.9"
# Two packages of tests read this file and share one database: each begins anywhere.
_serials = itertools.count(secrets.randbelow(10**9) * 100)
_CRYPTO = "fjqXr9PNI5xPnGSSk7Vl0aE2dVqFDkTcZ1o2Qs/+Ab0="


class Ward(msgspec.Struct):
    """Who works here, and the helpers that tests share."""

    gateway: Gateway
    doctor: Subject
    pharmacist: Subject
    other: Subject
    """A pharmacist of another pharmacy."""
    registrar: Subject
    service: Subject
    people: dict[str, str]

    async def person(self, years: int = 40, sex: str = "female") -> str:
        """A new person without a history; the id of the Patient."""
        born = clock.today() - timedelta(days=years * 365 + years // 4 + 30)
        made = await self.gateway.create(self.doctor, "Patient", {
            "resourceType": "Patient", "gender": sex, "birthDate": born.isoformat(),
            "name": [{"family": "Sinovova", "given": ["Namuna"]}],
        })  # fmt: skip  # One record.
        return str(made.id)

    async def allergic(self, patient: str, text: str, atc: str = "", inn: str = "") -> None:
        """Record an allergy of a person."""
        coding = [{"system": "http://www.whocc.no/atc", "code": atc, "display": inn or text}]
        await self.gateway.create(self.doctor, "AllergyIntolerance", {
            "resourceType": "AllergyIntolerance",
            "clinicalStatus": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical",
                "code": "active"}]},
            "code": {"text": text, **({"coding": coding} if atc else {})},
            "patient": {"reference": f"Patient/{patient}"},
        })  # fmt: skip  # One record.

    def draft(self, patient: str, *keys: str, **more: Any) -> Draft:
        """A draft of these preparations, derived."""
        items = tuple(DraftItem(preparation=key) for key in keys or (AMOXICILLIN,))
        fields: dict[str, Any] = {"diagnosis": BRONCHITIS, "items": items, **more}
        return api.derive(Draft(patient=patient, **fields))

    async def signed(self, *keys: str, **more: Any) -> Prescription:
        """A signed prescription of a new person."""
        patient = more.pop("patient", "") or await self.person()
        return await api.sign(self.gateway, self.doctor, self.draft(patient, *keys, **more))

    def pack(self, key: str = AMOXICILLIN, *, serial: str = "", place: int = 0) -> str:
        """The code of a pack that nobody has seen, of the place-th product."""
        serial = serial or f"S{next(_serials):012d}"
        product = medicines.products_of(key)[place]
        return Code(gtin=product.gtin, serial=serial, key_id="EE08", crypto=_CRYPTO).text()

    def units(self, key: str = AMOXICILLIN, place: int = 0) -> Decimal:
        """The content of such a pack."""
        return medicines.products_of(key)[place].pack_units


async def _other_pharmacist(gateway: Gateway, doctor: Subject, mine: Subject) -> Subject:
    from dmed.modules.facilities import api as facilities
    from dmed.modules.workforce import api as workforce

    roles = await gateway.find(doctor, "PractitionerRole", "_count=200")
    for role in roles:
        if role["code"][0].get("text") != "farmatsevt" or role["id"] == mine.practitioner_role:
            continue
        place = role["organization"]["reference"].removeprefix("Organization/")
        subject = Subject(
            user=f"pharmacist-{place}", role=Role.PHARMACIST, name="Boshqa farmatsevt",
            practitioner=role["practitioner"]["reference"].removeprefix("Practitioner/"),
            practitioner_role=role["id"], organisation=place,
            organisation_name=role["organization"].get("display", ""),
        )  # fmt: skip  # One subject.
        found = await facilities.organisation(gateway, doctor, place)
        verdict = await workforce.licence_valid(gateway, subject, clock.today())
        if verdict.allowed and facilities.licence_valid(found, clock.today()).allowed:
            return subject
    raise AssertionError("the village has no second working pharmacy")


@pytest_asyncio.fixture(scope="session")
async def ward(village: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    """The village with the tables of prescriptions and pharmacy."""
    settings = Settings(data=tmp_path_factory.mktemp("keys"))
    gateway = Gateway(village.gateway._db, settings)
    async with gateway.unit(village.doctor) as unit:
        for statement in (*PRESCRIPTIONS.ddl, *PHARMACY.ddl):
            await unit.execute(statement)
    yield Ward(
        gateway=gateway, doctor=village.doctor, pharmacist=village.pharmacist,
        other=await _other_pharmacist(gateway, village.doctor, village.pharmacist),
        registrar=village.registrar, service=Subject(user="service", role=Role.SERVICE),
        people=village.people,
    )  # fmt: skip  # Facts of one fixture.
