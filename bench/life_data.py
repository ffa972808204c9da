"""What the load of `bench/life.py` is made of: persons, medicines, staff with tokens."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from dmed.apps import demo
from dmed.apps.database import database
from dmed.kit import clock
from dmed.kit.settings import Settings
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules.gs1 import Code
from dmed.modules.prescriptions.model import Draft, DraftItem
from dmed.modules.prescriptions.rules import checks, courses
from dmed.store.pool import Database
from dmed.trust.identity import Identity
from dmed.trust.keys import load_keys
from persons_data import Crowd, patient

STAFF = 32
COUNTRY_PERSONS = 200
ICD = "http://hl7.org/fhir/sid/icd-10"
DIAGNOSIS = "J15.9"
_CRYPTO = "fjqXr9PNI5xPnGSSk7Vl0aE2dVqFDkTcZ1o2Qs/+Ab0="


class Choice(msgspec.Struct):
    """A medicine that raises no alert by itself, and a pack of it that is enough."""

    key: str
    gtin: str
    medication: dict[str, object]
    times: int
    days: int


class Data(msgspec.Struct):
    """All that the plan of the load takes from."""

    patients: list[str]
    choices: list[Choice]
    names: list[str]
    """Beginnings of family names, as they are typed."""
    inns: list[str]
    tokens: dict[str, list[str]] = {}
    begun: int = 0
    """How many prescriptions earlier runs on this installation began."""


def prepare(command: list[str], environment: dict[str, str], folder: Path, persons: int) -> Data:
    """The country with its staff, and persons of the doctor's clinic."""
    def call(*arguments: str) -> None:
        subprocess.run([*command, *arguments], check=True, env=environment,
                       stdout=subprocess.DEVNULL)

    call("demo", "--persons", str(COUNTRY_PERSONS), "--seed", "1")
    clinic = next(one for one in demo.accounts(COUNTRY_PERSONS) if one.user == "doctor")
    crowd = Crowd()
    ids, names = [], []
    with (folder / "persons.ndjson").open("w") as out:
        for number in range(persons):
            one = crowd.someone(number)._replace(born=date(1975 + number % 25, 3, 1 + number % 28))
            record = patient(one) | {
                "id": f"life-{number}",
                "managingOrganization": {"reference": f"Organization/{clinic.organisation}"}}
            ids.append(record["id"])
            names.append(one.family.latin[:5].lower())
            out.write(json.dumps(record) + "\n")
    call("import", str(folder / "persons.ndjson"))
    asyncio.run(_staff(environment, folder))
    return Data(patients=ids, choices=choices(), names=names[:500],
                inns=sorted({one.inn.en[:4].lower() for product in medicines.all_products()[:400]
                             for one in [product.preparation]}))


def choices() -> list[Choice]:
    """Ten medicines of different groups that a healthy adult may be given without an alert."""
    found: list[Choice] = []
    groups: set[str] = set()
    healthy = checks.Person(age_years=40, sex="male", weight_kg=Decimal(75))
    for product in medicines.all_products():
        preparation = product.preparation
        group = preparation.atc[:3]
        if not group or group in groups or not product.gtin.startswith("0952"):
            continue
        item = courses.filled(preparation, DraftItem(preparation=preparation.key))
        days = int(product.pack_units // max(item.dose * item.times_per_day, 1))
        item = msgspec.structs.replace(item, duration_days=min(days, 5), quantity=Decimal(0))
        item = courses.filled(preparation, item)
        draft = Draft(patient="x", diagnosis=DIAGNOSIS, items=(item,))
        alerts = checks.check(draft, {preparation.key: preparation}, frozenset(), healthy,
                              clock.today())
        if days < 1 or alerts or item.dose != 1:
            continue
        groups.add(group)
        found.append(Choice(preparation.key, product.gtin, medicines.medication(preparation.key),
                            int(item.times_per_day), int(item.duration_days)))
        if len(found) == 10:
            return found
    raise SystemExit("life: the register has too few medicines without an alert")


async def _staff(environment: dict[str, str], folder: Path) -> None:
    """As many doctors and pharmacists as a town has: each is a party of its own."""
    async with _identity(folder) as identity:
        for account in demo.accounts(COUNTRY_PERSONS):
            if account.user in {"doctor", "pharmacist"}:
                for number in range(STAFF):
                    user = f"{account.user}-{number}"
                    await identity.save(
                        msgspec.structs.replace(account, user=user), secrets.token_urlsafe(24))


class _identity:  # noqa: N801  # Reads as the word that it is.
    """The accounts of an installation for the length of a block."""

    def __init__(self, folder: Path) -> None:
        self._settings = Settings(data=folder)

    async def __aenter__(self) -> Identity:
        self._running = database(self._settings)
        addresses = await asyncio.to_thread(self._running.__enter__)
        self._store = await Database.open(addresses.application, self._settings)
        return Identity(self._store.hot, self._settings, load_keys(self._settings.data))

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()
        await asyncio.to_thread(self._running.__exit__, None, None, None)


def tokens(environment: dict[str, str], folder: Path) -> dict[str, list[str]]:
    """A bearer token for everybody; the installation runs."""
    async def issue() -> dict[str, list[str]]:
        async with _identity(folder) as identity:
            return {role: [await identity.issue_token(f"{role}-{number}")
                           for number in range(STAFF)] for role in ("doctor", "pharmacist")}
    return asyncio.run(issue())


def bundle(patient_id: str, pair: list[Choice]) -> bytes:
    """The Parameters of `$prescribe` for two medicines."""
    entries = [{"resource": {
        "resourceType": "MedicationRequest", "status": "draft", "intent": "order",
        "medication": one.medication, "subject": {"reference": f"Patient/{patient_id}"},
        "reason": [{"concept": {"coding": [{"system": ICD, "code": DIAGNOSIS}]}}],
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": one.times, "period": 1, "periodUnit": "d",
                                  "boundsDuration": {"value": one.days, "unit": "d", "code": "d",
                                                     "system": "http://unitsofmeasure.org"}}},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "dona"}}]}],
    }} for one in pair]
    return json.dumps({"resourceType": "Parameters", "parameter": [{
        "name": "bundle", "resource": {"resourceType": "Bundle", "type": "collection",
                                       "entry": entries}}]}).encode()


def marking(gtin: str, serial: str) -> str:
    """The code on a pack."""
    return Code(gtin=gtin, serial=serial, key_id="EE08", crypto=_CRYPTO).text()


if __name__ == "__main__":
    sys.stdout.write("\n".join(one.key for one in choices()) + "\n")
