"""Kills workers and PostgreSQL during a load of writes and reads everything back.

`python tests/load/crash.py --writes 100000 --kills 20` kills 20 workers and 20 servers. Every
acknowledged write must be there with body, version, index rows and audit; of a write without an
answer nothing or everything; of a transaction of three entries none or all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from dmed.apps.postgres import Cluster
from dmed.fhir.index import parameter_number

ROOT = Path(__file__).resolve().parents[2]
DMED = Path(sys.executable).with_name("dmed")
SYSTEM = "urn:dmed:crash"
PER_TRANSACTION = 3


@dataclass
class Ledger:
    """What the client knows: acknowledged writes by their number, and those without an answer."""

    acknowledged: dict[str, tuple[str, int]] = field(default_factory=dict)
    updated: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    transactions: dict[str, list[str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=lambda: {"worker": 0, "postgres": 0})


class Connection:
    """A keep-alive HTTP/1.1 connection, as bare as the test needs it."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def send(
        self, method: str, path: str, body: bytes, key: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """One request; ConnectionError or TimeoutError where no whole answer came."""
        async with asyncio.timeout(30):
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            more = f"Idempotency-Key: {key}\r\n" if key else ""
            self.writer.write(
                f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}"
                f"\r\nContent-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
                f"{more}\r\n".encode() + body)
            await self.writer.drain()
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            headers = {name.lower(): value for name, value in
                       re.findall(r"([\w-]+): ?([^\r]*)\r\n", head)}
            length = int(headers.get("content-length", 0))
            return int(head.split()[1]), headers, await self.reader.readexactly(length)

    def drop(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def observation(number: str, value: int) -> dict[str, object]:
    return {"resourceType": "Observation", "status": "final",
            "identifier": [{"system": SYSTEM, "value": number}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "effectiveDateTime": "2026-11-20T10:00:00+05:00",
            "valueQuantity": {"value": value, "unit": "/min",
                              "system": "http://unitsofmeasure.org", "code": "/min"}}


async def write_one(connection: Connection, ledger: Ledger, number: str) -> None:
    """A create, and of every tenth also an update with If-Match-less PUT."""
    try:
        status, headers, body = await connection.send(
            "POST", "/fhir/Observation", json.dumps(observation(number, 60)).encode())
        if status != 201:
            note_refusal(ledger, number, status, body)
            return
        found = re.search(r"/Observation/([^/]+)/_history/(\d+)", headers["location"])
        record, vid = found[1], int(found[2])
        ledger.acknowledged[number] = (record, vid)
        if number.endswith("7"):
            changed = observation(number, 61) | {"id": record}
            status, headers, body = await connection.send(
                "PUT", f"/fhir/Observation/{record}", json.dumps(changed).encode())
            if status == 200:
                ledger.updated[number] = int(re.search(r"\d+", headers["etag"])[0])
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        connection.drop()
        if number not in ledger.acknowledged:
            ledger.unknown.add(number)
        await asyncio.sleep(0.1)


def note_refusal(ledger: Ledger, number: str, status: int, body: bytes) -> None:
    """503 and 5xx during a crash leave the outcome open; anything else is a fault of the test."""
    ledger.unknown.add(number)
    if status < 500:
        ledger.refused.append(f"{number}: {status} {body[:200]!r}")


async def write_three(connection: Connection, ledger: Ledger, number: str) -> None:
    """A transaction of three creates."""
    numbers = [f"{number}.{part}" for part in range(PER_TRANSACTION)]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": f"urn:uuid:00000000-0000-4000-8000-{part:012d}",
         "resource": observation(each, 70), "request": {"method": "POST", "url": "Observation"}}
        for part, each in enumerate(numbers)]}
    ledger.transactions[number] = numbers
    try:
        status, _, body = await connection.send("POST", "/fhir", json.dumps(bundle).encode())
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        connection.drop()
        ledger.unknown.update(numbers)
        await asyncio.sleep(0.1)
        return
    if status != 200:
        for each in numbers:
            note_refusal(ledger, each, status, body)
        return
    for each, entry in zip(numbers, json.loads(body)["entry"], strict=True):
        found = re.search(r"Observation/([^/]+)/_history/(\d+)", entry["response"]["location"])
        ledger.acknowledged[each] = (found[1], int(found[2]))


async def client(name: int, port: int, token: str, ledger: Ledger, writes: int,
                 server: subprocess.Popen[bytes]) -> None:
    """Writes until enough is acknowledged; every fifteenth act is a transaction."""
    connection = Connection(port, token)
    count = 0
    while len(ledger.acknowledged) < writes and len(ledger.refused) < 20:
        count += 1
        # Only workers and PostgreSQL are killed: that the platform itself ends is a fault.
        assert server.poll() is None, f"`dmed serve` ended by itself with {server.poll()}"
        act = write_three if count % 15 == 0 else write_one
        await act(connection, ledger, f"{name}-{count}")
    connection.drop()


def children(parent: int) -> dict[int, str]:
    """Child processes with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if re.search(rf"PPid:\s+{parent}\n", (folder / "status").read_text()):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().decode("latin-1")
        except OSError:
            continue
    return found


async def killer(server: subprocess.Popen[bytes], ledger: Ledger, writes: int,
                 kills: int) -> None:
    """Kills with -9, evenly over the load: a worker and PostgreSQL in turn."""
    for turn in range(2 * kills):
        while len(ledger.acknowledged) < writes * (turn + 1) / (2 * kills + 1):
            await asyncio.sleep(0.01)
            if len(ledger.refused) >= 20 or server.poll() is not None:
                return
        kind = "postgres" if turn % 2 else "worker"
        victims = [pid for pid, command in children(server.pid).items()
                   if ("postgres" in command) == (kind == "postgres")]
        if victims:
            os.kill(random.choice(victims), signal.SIGKILL)  # noqa: S311  # Any of them will do.
            ledger.kills[kind] += 1
        await asyncio.sleep(0.5)


@asynccontextmanager
async def platform(folder: Path, port: int) -> AsyncIterator[subprocess.Popen[bytes]]:
    """`dmed serve` on a folder of its own, until the block ends."""
    environment = dict(os.environ, DMED_DATA=str(folder), DMED_PORT=str(port))
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen([DMED, "serve", "--demo"], env=environment, stdout=log,
                                   stderr=log, cwd=ROOT)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                assert process.poll() is None, (folder / "serve.log").read_text()
                assert time.monotonic() < deadline, (folder / "serve.log").read_text()
                await asyncio.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


FOUND = """
SELECT t.code AS number, r.id, r.vid, r.body,
       (SELECT count(*) FROM token x WHERE x.vid = r.vid)
     + (SELECT count(*) FROM date x WHERE x.vid = r.vid)
     + (SELECT count(*) FROM quantity x WHERE x.vid = r.vid) AS rows,
       EXISTS (SELECT FROM audit a WHERE a.vid = r.vid AND a.action IN ('C', 'U')) AS audited,
       EXISTS (SELECT FROM feed f WHERE f.vid = r.vid) AS fed
FROM token t JOIN resource r ON r.bucket = t.bucket AND r.vid = t.vid
WHERE t.param = $1 AND t.code > '0' AND t.code < 'A'
"""


async def read_back(url: str, ledger: Ledger) -> list[str]:
    """What is wrong, in sentences; an empty list is the proof."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE INDEX ON audit (vid)")
    await connection.execute("CREATE INDEX ON feed (vid)")
    rows = await connection.fetch(FOUND, parameter_number("Observation", "identifier"))
    await connection.close()
    found = {row["number"]: row for row in rows if SYSTEM.encode() in row["body"]}
    faults = []
    if len(found) != len([row for row in rows if SYSTEM.encode() in row["body"]]):
        faults.append("a number is stored twice")
    usual = max((row["rows"] for row in found.values()), default=0)
    for number, (record, vid) in ledger.acknowledged.items():
        row = found.get(number)
        if row is None:
            faults.append(f"{number}: acknowledged, not found")
            continue
        newest = ledger.updated.get(number, vid)
        body = json.loads(row["body"])
        if row["id"] != record or row["vid"] < newest:
            faults.append(f"{number}: version {row['vid']} is older than acknowledged {newest}")
        if body["meta"]["versionId"] != str(row["vid"]):
            faults.append(f"{number}: body and version differ")
        if number in ledger.updated and body["valueQuantity"]["value"] != 61:
            faults.append(f"{number}: acknowledged update is not in the body")
    for number, row in found.items():
        if row["rows"] != usual or not row["audited"] or not row["fed"]:
            faults.append(f"{number}: index rows {row['rows']} of {usual}, audited "
                          f"{row['audited']}, in the feed {row['fed']}")
        if number not in ledger.acknowledged and number not in ledger.unknown:
            faults.append(f"{number}: stored, but never sent")
    for numbers in ledger.transactions.values():
        if len(found.keys() & set(numbers)) not in {0, PER_TRANSACTION}:
            faults.append(f"half a transaction is visible: {numbers}")
    kept = len(found.keys() & ledger.acknowledged.keys())
    print(f"acknowledged {len(ledger.acknowledged)}  found {kept}  (without an answer: "
          f"{len(ledger.unknown)}, of these stored whole: {len(found.keys() & ledger.unknown)})")
    return faults + ledger.refused


async def run(writes: int, kills: int, clients: int, port: int) -> list[str]:
    """The whole: start, load, kill, restart, read back."""
    folder = Path(tempfile.mkdtemp(prefix="dmed-crash-"))
    folder.chmod(0o711)
    ledger = Ledger()
    try:
        async with platform(folder, port) as process:
            token = subprocess.run(
                [DMED, "token", "--user", "service"], capture_output=True, text=True, check=True,
                env=dict(os.environ, DMED_DATA=str(folder)), cwd=ROOT).stdout.strip()
            began = time.monotonic()
            await asyncio.gather(
                killer(process, ledger, writes, kills),
                *(client(name, port, token, ledger, writes, process) for name in range(clients)))
            seconds = time.monotonic() - began
        print(f"kills: {ledger.kills['worker']} of a worker, {ledger.kills['postgres']} of "
              f"PostgreSQL; {len(ledger.acknowledged)} writes acknowledged in {seconds:.0f} s")
        async with platform(folder, port):
            return await read_back(Cluster(folder).url("dmed_owner"), ledger)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--port", type=int, default=18090)
    given = parser.parse_args()
    wrong = asyncio.run(run(given.writes, given.kills, given.clients, given.port))
    print("\n".join(wrong[:50]) or "nothing lost, nothing half stored")
    sys.exit(1 if wrong else 0)
