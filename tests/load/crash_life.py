"""Kills workers and PostgreSQL while packs are handed over; every act must be done exactly once.

`python tests/load/crash_life.py --items 2000 --kills 20` prescribes, activates and claims first,
then hands over under kills: whatever has no answer, or a 5xx, is asked again with the same
idempotency key, and one in five is asked twice at once. Afterwards each item has one hand-over, one
MedicationDispense, one pack that lost as much as was handed over, and a Task that says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import asyncpg
import crash

from dmed.apps.postgres import Cluster
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules.gs1 import Code
from dmed.store.keys import type_number

MEDICINES = ("amoxicillin-capsule-500mg", "paracetamol-tablet-500mg")
_CRYPTO = "fjqXr9PNI5xPnGSSk7Vl0aE2dVqFDkTcZ1o2Qs/+Ab0="
_TRIES_MAX = 200


@dataclass
class Item:
    """One item at the counter, and the pack that is handed over for it."""

    task: str
    request: str
    code: str
    gtin: str
    serial: str


@dataclass
class Book:
    """What the tills know."""

    done: set[str] = field(default_factory=set)
    """Tasks whose hand-over was acknowledged."""
    answers: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)


class Till:
    """A connection that asks again, with the same key, until there is an answer."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = crash.Connection(port, token)

    async def ask(self, path: str, body: dict[str, Any], key: str, book: Book) -> dict[str, Any]:
        """The body of the first answer that is neither missing nor a 5xx or 429."""
        for _ in range(_TRIES_MAX):
            try:
                status, _, content = await self._connection.send(
                    "POST", path, json.dumps(body).encode(), key)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self._connection.drop()
                book.answers["none"] += 1
            else:
                book.answers[str(status)] += 1
                if status in {200, 201}:
                    return dict(json.loads(content))
                if status < 500 and status != 429:
                    book.refused.append(f"{path}: {status} {content[:200]!r}")
                    return {}
            await asyncio.sleep(0.1)
        book.refused.append(f"{path}: no answer in {_TRIES_MAX} tries")
        return {}

    def close(self) -> None:
        self._connection.drop()


def parameters(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(rows)}


def draft(patient: str, key: str) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest", "status": "draft", "intent": "order",
        "medication": medicines.medication(key), "subject": {"reference": f"Patient/{patient}"},
        "reason": [{"concept": {"coding": [
            {"system": "http://hl7.org/fhir/sid/icd-10", "code": "J15.9"}]}}],
        "dosageInstruction": [{
            "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d",
                                  "boundsDuration": {"value": 5, "unit": "d", "code": "d",
                                                     "system": "http://unitsofmeasure.org"}}},
            "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "dona"}}]}],
    }


async def prescribed(doctor: Till, number: int, book: Book) -> list[Item]:
    """A prescription of two items for a new person, signed."""
    person = await doctor.ask("/fhir/Patient", {
        "resourceType": "Patient", "gender": "female", "birthDate": "1984-05-02",
        "name": [{"family": "Sinovova", "given": [f"Namuna {number}"]}]}, f"person-{number}", book)
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": draft(person["id"], key)} for key in MEDICINES]}
    made = await doctor.ask("/fhir/MedicationRequest/$prescribe",
                            parameters({"name": "bundle", "resource": bundle}),
                            f"prescribe-{number}", book)
    tasks = [each["resource"] for each in made["parameter"] if each["name"] == "task"]
    code = next(each["valueString"] for each in made["parameter"] if each["name"] == "code")
    await doctor.ask(f"/fhir/Task/{tasks[0]['id']}/$activate", parameters(),
                     f"activate-{number}", book)
    return [
        Item(task["id"], task["focus"]["reference"].removeprefix("MedicationRequest/"), code,
             medicines.products_of(key)[0].gtin, f"K{number:011d}{place}")
        for place, (task, key) in enumerate(zip(tasks, MEDICINES, strict=True))
    ]


async def prepare(port: int, doctor: str, pharmacist: str, count: int, book: Book) -> list[Item]:
    """So many items, claimed and waiting for their packs."""
    async def one(numbers: range) -> list[Item]:
        desk, till, made = Till(port, doctor), Till(port, pharmacist), []
        for number in numbers:
            for item in await prescribed(desk, number, book):
                await till.ask(f"/fhir/Task/{item.task}/$claim", parameters(
                    {"name": "code", "valueString": item.code}), "", book)
                made.append(item)
        desk.close()
        till.close()
        return made

    rows = await asyncio.gather(*(one(range(start, count // 2, 4)) for start in range(4)))
    return [item for row in rows for item in row]


async def hand_over(till: Till, item: Item, book: Book) -> None:
    """The pack of an item, until it is acknowledged."""
    marking = Code(gtin=item.gtin, serial=item.serial, key_id="EE08", crypto=_CRYPTO).text()
    body = parameters({"name": "pack", "part": [{"name": "marking", "valueString": marking}]})
    if await till.ask(f"/fhir/Task/{item.task}/$dispense", body, f"give-{item.serial}", book):
        book.done.add(item.task)


async def work(port: int, token: str, waiting: list[Item], book: Book, pace: float) -> None:
    """One till: items from the common heap; every fifth is asked twice at the same moment."""
    till, beside = Till(port, token), Till(port, token)
    while waiting:
        item = waiting.pop()
        acts = [hand_over(till, item, book)]
        if len(waiting) % 5 == 0:
            acts.append(hand_over(beside, item, book))
        await asyncio.gather(*acts)
        await asyncio.sleep(pace)
    till.close()
    beside.close()


async def killer(server: subprocess.Popen[bytes], book: Book, items: int, kills: int) -> None:
    """Kills with -9, evenly over the hand-overs: a worker and PostgreSQL in turn."""
    for turn in range(2 * kills):
        while len(book.done) < items * (turn + 1) / (2 * kills + 1):
            await asyncio.sleep(0.01)
            if book.refused or server.poll() is not None:
                return
        kind = "postgres" if turn % 2 else "worker"
        victims = [pid for pid, command in crash.children(server.pid).items()
                   if ("postgres" in command) == (kind == "postgres")]
        if victims:
            os.kill(random.choice(victims), signal.SIGKILL)  # noqa: S311  # Any of them will do.
            book.kills[kind] += 1
        await asyncio.sleep(0.3)


_FOUND = """
select i.task, (select count(*) from pharmacy_handover h where h.number = i.number
        and h.item = i.item) as handed,
    (select sum(quantity) from pharmacy_handover h where h.number = i.number
        and h.item = i.item) as quantity,
    (select count(*) from resource r join pharmacy_handover h on r.id = h.dispense
        where r.type = $2 and h.number = i.number and h.item = i.item) as records,
    (select count(*) from resource_version v where v.type = $3 and v.id = i.task) as before,
    (select r.body from resource r where r.type = $3 and r.id = i.task) as body
from prescription_item i where i.task = any($1)
"""


async def read_back(url: str, items: list[Item], book: Book) -> list[str]:
    """What is wrong, in sentences; an empty list is the proof."""
    connection: Any = await asyncpg.connect(url)
    rows = await connection.fetch(_FOUND, [item.task for item in items],
                                  type_number("MedicationDispense"), type_number("Task"))
    packs = {(row["gtin"], row["serial"]): row["content"] - row["balance"]
             for row in await connection.fetch("select * from pharmacy_pack")}
    total = await connection.fetchval("select count(*) from pharmacy_handover")
    await connection.close()
    found = {row["task"]: row for row in rows}
    faults = list(book.refused)
    for item in items:
        row = found.get(item.task)
        if row is None or item.task not in book.done:
            faults.append(f"Task {item.task}: not handed over, or its prescription is lost")
            continue
        if row["handed"] != 1 or row["records"] != 1:
            faults.append(f"Task {item.task}: {row['handed']} hand-overs, {row['records']} records")
        if packs.get((item.gtin, item.serial)) != row["quantity"]:
            faults.append(f"Task {item.task}: the pack lost {packs.get((item.gtin, item.serial))}, "
                          f"handed over were {row['quantity']}")
        told = json.loads(row["body"])["output"][0]["valueQuantity"]["value"]
        if told != row["quantity"] or row["before"] != 3:
            faults.append(f"Task {item.task}: says {told} of {row['quantity']}, after "
                          f"{row['before']} versions instead of 3")
    print(f"items {len(items)}, acknowledged {len(book.done)}, hand-overs stored {total}; answers "
          f"{dict(book.answers)}")
    return faults


async def run(items: int, kills: int, clients: int, port: int, pace: float = 0.0) -> list[str]:
    """The whole: start, prescribe, claim, hand over under kills, restart, read back."""
    folder = Path(tempfile.mkdtemp(prefix="dmed-crash-life-"))
    folder.chmod(0o711)
    book = Book()
    try:
        async with crash.platform(folder, port) as process:
            doctor, pharmacist = (subprocess.run(
                [crash.DMED, "token", "--user", user], capture_output=True, text=True, check=True,
                env=dict(os.environ, DMED_DATA=str(folder))).stdout.strip()
                for user in ("doctor", "pharmacist"))
            made = await prepare(port, doctor, pharmacist, items, book)
            waiting, began = list(made), time.monotonic()
            book.answers.clear()
            await asyncio.gather(
                killer(process, book, len(made), kills),
                *(work(port, pharmacist, waiting, book, pace) for _ in range(clients)))
            seconds = time.monotonic() - began
        print(f"kills: {book.kills['worker']} of a worker, {book.kills['postgres']} of PostgreSQL; "
              f"{len(book.done)} hand-overs acknowledged in {seconds:.0f} s")
        async with crash.platform(folder, port):
            return await read_back(Cluster(folder).url("dmed_owner"), made, book)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--port", type=int, default=18091)
    given = parser.parse_args()
    wrong = asyncio.run(run(given.items, given.kills, given.clients, given.port))
    print("\n".join(wrong[:50]) or "every act was done exactly once")
    sys.exit(1 if wrong else 0)
