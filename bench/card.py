"""The first screen of the card for a record of twenty years and 5,000 resources.

`python bench/card.py --folder DIR [--resources 5000] [--rounds 20]` works on an installation with
the demo country in DIR (`dmed demo` made it). It writes the record of one invented person, opens
each part of the card through the whole application (sign-in cookie, decision, audit, template)
without a network, and prints median, p95, the worker's own processor time and the page's size.
The design allows 300 ms for the first screen and 50 KB for a page. `--profile` prints where the
first screen spends its time. Numbers count on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import uvloop

from dmed.apps.database import database
from dmed.apps.web import Platform
from dmed.kit import settings as settings_module
from dmed.modules.card import api
from dmed.trust.identity import DEMO_PASSWORDS
from dmed.trust.model import Role, Subject
from tools import machine

UNTIL = datetime(2026, 11, 20, 9, tzinfo=UTC)
YEARS = 20
DOCTORS = [(f"bench-doctor-{number}", f"Namunayev Sinov {number}") for number in range(12)]
CLINICS = [(f"bench-clinic-{number}", f"{number + 1}-sinov poliklinikasi") for number in range(6)]
LOINC = "http://loinc.org"
THO = "http://terminology.hl7.org/CodeSystem/"
MEASURED = (("718-7", "Gemoglobin", "g/L", 100, 160, "120", "160"),
            ("14771-0", "Glyukoza", "mmol/L", 3.5, 9, "3.9", "5.9"),
            ("14682-9", "Kreatinin", "umol/L", 50, 130, "53", "97"),
            ("1742-6", "ALT", "U/L", 10, 60, "5", "41"),
            ("29463-7", "Vazn", "kg", 60, 95, "", ""),
            ("8867-4", "Yurak urishi", "/min", 55, 100, "", ""))
DIAGNOSES = ("I10", "E11.9", "J06.9", "K29.5", "M54.5", "N30.0", "J20.9", "H66.9")


def record(kind: str, number: int, person: str, **fields: Any) -> dict[str, Any]:
    """One resource of the bench's person."""
    return {"resourceType": kind, "id": f"{person}-{kind[:4].lower()}-{number}", **fields}


def coded(system: str, code: str) -> dict[str, Any]:
    """A CodeableConcept of an HL7 code system."""
    return {"coding": [{"system": f"{THO}{system}", "code": code}]}


def twenty_years(
    person: str, resources: int, home: str, seed: int = 7
) -> Iterator[dict[str, Any]]:
    """The person and about so many records: visits with diagnosis, measurements, report, medicine.

    Deterministic by seed. Two blood groups, a refuted allergy and a double diagnosis are among
    them, so that the rules have something to find.
    """
    draw = random.Random(seed)
    reference = {"reference": f"Patient/{person}"}
    yield {"resourceType": "Patient", "id": person, "active": True, "gender": "female",
           "birthDate": "1961-04-05", "name": [{"family": "Sinovova", "given": ["Uzoq"]}],
           "managingOrganization": {"reference": f"Organization/{home}"}}
    yield from few(person, reference)
    visits = max(1, (resources - 40) // 12)
    for visit in range(visits):
        at = UNTIL - timedelta(days=365 * YEARS * visit / visits, minutes=draw.randrange(300))
        yield from one_visit(person, reference, visit, at, draw)


def few(person: str, subject: dict[str, str]) -> Iterator[dict[str, Any]]:
    """What is written once in a life."""
    groups = (("A(II) Rh+", "2009-05-01"), ("B(III) Rh+", "2021-03-04"))
    for number, (value, when) in enumerate(groups):
        yield record("Observation", 900_000 + number, person, status="final", subject=subject,
                     code={"coding": [{"system": LOINC, "code": "882-1"}]},
                     effectiveDateTime=when, valueString=value)
    for number, sure in enumerate(("confirmed", "refuted")):
        yield record("AllergyIntolerance", number, person, patient=subject,
                     clinicalStatus=coded("allergyintolerance-clinical", "active"),
                     verificationStatus=coded("allergyintolerance-verification", sure),
                     code={"text": "Penitsillin"}, criticality="high", recordedDate="2012-02-02")
    for number in range(24):
        yield record("Immunization", number, person, status="completed", patient=subject,
                     vaccineCode={"text": "Gripp"},
                     occurrenceDateTime=f"{2003 + number % 23}-10-05",
                     performer=[{"actor": {"reference": f"Organization/{CLINICS[0][0]}"}}])


def one_visit(
    person: str, subject: dict[str, str], visit: int, at: datetime, draw: random.Random
) -> Iterator[dict[str, Any]]:
    """A visit with about eleven records that come of it."""
    doctor, clinic = draw.choice(DOCTORS), draw.choice(CLINICS)
    when, code = at.isoformat(timespec="seconds"), draw.choice(DIAGNOSES)
    encounter = f"{person}-enco-{visit}"
    inside = {"reference": f"Encounter/{encounter}"}
    who = {"reference": f"Practitioner/{doctor[0]}"}
    concept = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": code}]}
    yield record("Encounter", visit, person, status="completed", subject=subject,
                 serviceProvider={"reference": f"Organization/{clinic[0]}", "display": clinic[1]},
                 participant=[{"actor": {**who, "display": doctor[1]}}],
                 actualPeriod={"start": when, "end": (at + timedelta(minutes=20)).isoformat(
                     timespec="seconds")})
    is_open = visit % 60 == 0
    yield record("Condition", visit, person, subject=subject, encounter=inside, code=concept,
                 clinicalStatus=coded("condition-clinical",
                                      "active" if is_open else "resolved"),
                 onsetDateTime=when[:10], recordedDate=when,
                 participant=[{"actor": {**who, "display": doctor[1]}}])
    for place, (loinc, name, unit, low, high, bottom, top) in enumerate(MEASURED):
        value = round(draw.uniform(low, high), 1)
        bounds = [{"low": {"value": float(bottom), "unit": unit},
                   "high": {"value": float(top), "unit": unit}}] if bottom else []
        yield record("Observation", visit * 10 + place, person, status="final", subject=subject,
                     encounter=inside, effectiveDateTime=when, performer=[who],
                     code={"coding": [{"system": LOINC, "code": loinc}], "text": name},
                     valueQuantity={"value": value, "unit": unit},
                     **({"referenceRange": bounds} if bounds else {}))
    yield record("Observation", visit * 10 + 9, person, status="final", subject=subject,
                 encounter=inside, effectiveDateTime=when, performer=[who],
                 code={"coding": [{"system": LOINC, "code": "85354-9"}]},
                 component=[{"code": {"coding": [{"system": LOINC, "code": part}]},
                             "valueQuantity": {"value": draw.randrange(*span), "unit": "mm Hg"}}
                            for part, span in (("8480-6", (100, 160)), ("8462-4", (60, 100)))])
    yield record("DiagnosticReport", visit, person, status="final", subject=subject,
                 encounter=inside, effectiveDateTime=when, issued=when, performer=[who],
                 code={"text": "Umumiy tahlil"})
    yield record("MedicationRequest", visit, person, subject=subject, encounter=inside,
                 status="active" if visit < 4 else "completed", intent="order", authoredOn=when,
                 requester={**who, "display": doctor[1]},
                 medication={"concept": {"text": f"Dori {draw.randrange(40)}"}},
                 dosageInstruction=[{"text": "kuniga 1 mahal"}],
                 dispenseRequest={"validityPeriod": {"end": (at + timedelta(days=30)).date(
                     ).isoformat()}})


async def fill(platform: Platform, person: str, resources: int, home: str) -> int:
    """Write the record where it is not there yet; how many records it has."""
    gateway = platform.gateway
    writer = Subject(user="bench", role=Role.SERVICE, name="Bench")
    known = await gateway.find(writer, "Patient", f"_id={person}")
    records = list(twenty_years(person, resources, home))
    if known:
        return len(records)
    async with gateway.unit(writer, seconds_max=60) as unit:
        for id_, name in CLINICS:
            await unit.update("Organization", id_, {
                "resourceType": "Organization", "id": id_, "active": True, "name": name})
        for id_, name in DOCTORS:
            await unit.update("Practitioner", id_, {
                "resourceType": "Practitioner", "id": id_, "name": [{"text": name}]})
    for start in range(0, len(records), 250):
        async with gateway.unit(writer, seconds_max=60) as unit:
            for one in records[start:start + 250]:
                await unit.update(one["resourceType"], one["id"], one)
    return len(records)


@asynccontextmanager
async def browser(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A doctor's browser, without a network."""
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as here:
        await here.post("/signin", data={"user": "doctor", "password": DEMO_PASSWORDS["doctor"]})
        yield here


async def measure(
    here: httpx.AsyncClient, address: str, rounds: int
) -> tuple[list[float], float, int]:
    """Milliseconds of so many openings, those of this process alone, and the bytes of the page."""
    taken, size = [], 0
    own = time.process_time()
    for _ in range(rounds + 2):
        began = time.perf_counter()
        answer = await here.get(address)
        taken.append((time.perf_counter() - began) * 1e3)
        assert answer.status_code == 200, (address, answer.status_code)
        size = len(answer.content)
    return sorted(taken[2:]), (time.process_time() - own) / len(taken) * 1e3, size


async def whole(options: argparse.Namespace) -> None:
    """Fill, open every part, print the table."""
    platform = Platform(settings_module.load())
    await platform.open()
    try:
        doctor = await platform.guard.identity.subject_of("doctor")
        person = f"bench-card-{options.resources}"
        count = await fill(platform, person, options.resources, doctor.organisation)
        print(f"Machine: {machine()}. {count} records of {YEARS} years, {options.rounds} rounds.\n")
        async with browser(platform) as here:
            await table(here, person, options)
    finally:
        await platform.close()


async def table(here: httpx.AsyncClient, person: str, options: argparse.Namespace) -> None:
    """One line a part."""
    print(f"{'part':<14}{'median ms':>10}{'p95 ms':>9}{'max ms':>9}{'own ms':>9}{'KB':>7}")
    addresses = {tab: f"/card/{person}?tab={tab}" for tab in api.TABS}
    addresses["measurement"] = f"/card/{person}/results/718-7"
    for name, address in addresses.items():
        taken, own, size = await measure(here, address, options.rounds)
        p95 = taken[min(len(taken) - 1, round(len(taken) * 0.95))]
        print(f"{name:<14}{statistics.median(taken):>10.1f}{p95:>9.1f}{taken[-1]:>9.1f}"
              f"{own:>9.1f}{size / 1024:>7.1f}")
    if options.profile:
        profile = cProfile.Profile()
        profile.enable()
        await measure(here, addresses["summary"], 10)
        profile.disable()
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--resources", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    os.environ["DMED_DATA"] = options.folder
    with database(settings_module.load()) as addresses:
        os.environ["DMED_DATABASE_URL"] = addresses.application
        uvloop.run(whole(options))


if __name__ == "__main__":
    main()
