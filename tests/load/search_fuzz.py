"""Random search strings, valid and hostile, against the whole FHIR room over a real PostgreSQL.

`python tests/load/search_fuzz.py --searches 1000000` sends a million. No answer may be a 5xx, so no
statement may take over `--seconds` (a longer one is cut by the database and answered 503); every
answer must be JSON. Of the valid searches the share that answered 200 is told, and the share whose
answer is what a slow reading of the records expects (search_reference); any other is a fault.
SIGTERM ends it early with the same report of what was seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import uvloop

from dmed.apps.postgres import Cluster, Supervisor
from dmed.fhir import params
from dmed.fhir.facts import facts
from dmed.fhir.params import SearchParameter
from dmed.kit.settings import Settings
from dmed.server.app import fhir_app
from dmed.store import pool
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.guard import Guard
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS
from dmed.trust.keys import load_keys
from dmed.trust.tables import DDL

sys.path.insert(0, str(Path(__file__).parent))
from search_reference import Reading, judged  # It lies beside this script.

SLOWEST_KEPT = 5
_PREFIXES = ["", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
_DATES = ["2024", "2024-02", "2024-02-29", "2024-02-29T10:00", "2024-02-29T10:00:00Z",
          "2024-02-29T10:00:00.5+05:00", "0001", "9999-12-31"]
_NUMBERS = ["0", "1", "5.40", "120", "1.2e2", "-3", "1e3", "0.000001", "100"]
_UNITS = ["", "||mg", "|http://unitsofmeasure.org|kg", "|http://unitsofmeasure.org|mm[Hg]",
          "|http://unitsofmeasure.org|{x}"]
_TEXTS = ["a", "ali", "Юлдашева", "o'l", "blood", "x y", "zz", "Aliyev", "pressure"]
_TOKENS = ["final", "http://loinc.org|8480-6", "|x", "urn:a|", "male", "a|b", "true", "female",
           "amended", "active", "urn:a|x"]
_REFERENCES = ["p1", "Patient/p1", "http://x.org/Patient/1", "urn:uuid:1", "Location/l1"]
_MODIFIERS = {
    "string": ["", "", "exact", "contains", "text"],
    "token": ["", "", "", "not", "text", "code-text", "text-advanced"],
    "uri": ["", "below", "above", "contains"],
    "reference": ["", "", "identifier", "text", "code-text", "text-advanced"],
}
_FILLED = {
    "Observation": ("status", "code", "subject", "patient", "date", "value-quantity",
                    "code-value-quantity"),
    "Patient": ("name", "family", "given", "phonetic", "gender", "birthdate", "active",
                "identifier"),
    "Location": ("status", "partof", "near"),
}  # fmt: skip  # A table.
"""Parameters for which the records below have values."""
_HOSTILE = [
    "\0", "\x1f", "\ud7ff", "%", "%zz", "%00", "%ff%fe", "'", '"', ";--", "\\", "\\,", ",,,", "|||",
    "$$", "..", "::", "[", "{x}", "9" * 400, "1e999", "-1e-999", "NaN", "\u202e", "\U0010ffff",
    "a" * 3000, "(((", "*", "&", "=", "+", " ", "\t", "\r\n", "$1", "%s", "0000-00-00",
    "9999-99-99T99:99:99Z", ":not:not", ":missing", ".subject.subject", "_has:", "not (not (",
]  # fmt: skip
_CONTROLS = [
    ("_count", ["0", "1", "5", "1000000"]), ("_summary", ["true", "text", "data", "count"]),
    ("_total", ["none", "estimate", "accurate"]),
    ("_elements", ["id", "status,code", "name.family"]),
    ("_include", ["*", "Observation:subject"]), ("_include:iterate", ["Observation:patient"]),
    ("_revinclude", ["*", "Observation:patient"]), ("_lastUpdated", ["gt2020", "lt2100-01-01"]),
    ("_id", ["p1", "p1,p2"]), ("_contained", ["true", "both"]),
]  # fmt: skip


# What is asked -------------------------------------------------------------------------------


class Strings:
    """Makes search strings from one seed: the same run again asks the same."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  # Nothing secret.
        self.types = facts().resources
        self._kept: dict[str, list[SearchParameter]] = {}

    def valid(self) -> str:
        """`Type?...` that the specification gives a meaning."""
        dice = self.dice
        type_ = dice.choice([*["Observation", "Patient", "Encounter", "Location"] * 8, *self.types])
        if dice.random() < 0.4:
            type_ = dice.choice(list(_FILLED))
            pairs = [self._pair(type_, codes=_FILLED[type_])]
        else:
            pairs = [self._pair(type_) for _ in range(dice.randint(1, 3))]
        if dice.random() < 0.1:
            pairs.append(self._special(type_))
        if dice.random() < 0.3:
            name, choices = dice.choice(_CONTROLS)
            if name.startswith("_include") and type_ != "Observation":
                name, choices = "_count", ["2"]
            if name == "_contained":
                pairs = [("_id", "inner,p1"), ("_containedType", dice.choice(
                    ["container", "contained"]))]
            pairs.append((name, dice.choice(choices)))
            if name == "_contained":
                return self._written(type_, pairs)
        if type_ == "Location" and dice.random() < 0.2:
            pairs = [("near", "41.3|69.2|50|km"), ("_sort", dice.choice(["near", "-near"]))]
        elif dice.random() < 0.3:
            keys = [each.code for each in self._known(type_) if each.type != "special"]
            pairs.append(("_sort", ",".join(
                dice.choice(["", "-"]) + dice.choice(keys) for _ in range(dice.randint(1, 2)))))
        return self._written(type_, pairs)

    def _written(self, type_: str, pairs: list[tuple[str, str]]) -> str:
        return f"{type_}?" + "&".join(f"{quote(n, safe=':.')}={quote_plus(v)}" for n, v in pairs)

    def hostile(self) -> str:
        """A valid string with things in it that nobody should send."""
        dice, text = self.dice, self.valid()
        head, _, query = text.partition("?")
        for _ in range(dice.randint(1, 4)):
            at = dice.randint(0, len(query))
            match dice.randint(0, 4):
                case 0:
                    query = query[:at] + quote(dice.choice(_HOSTILE), safe="%&=+:.$,|") + query[at:]
                case 1:
                    query = query[:at] + query[at + dice.randint(1, 9) :]
                case 2:
                    query = f"{query}&{query[:at]}"
                case 3:
                    query = query.replace(dice.choice("=&:.|,2a"), dice.choice("=&:.|,$-9"), 2)
                case _:
                    other = quote(chr(dice.choice([0, 7, 31, 127, 160, 0x202E, 0xFFFF, 0x1F600])))
                    query = query[:at] + other + query[at:]
        return f"{head}?{query[:6000]}"

    def _special(self, type_: str) -> tuple[str, str]:
        """Parameters of every type beside those with an index of values."""
        dice = self.dice
        found = dice.choice([each for each in self._known(type_) if each.type == "token"])
        return dice.choice([
            ("_filter", f'{found.code} eq "{dice.choice(_TEXTS)}" or not (_id eq p1)'),
            ("_filter", f"_lastUpdated {dice.choice(_PREFIXES[2:])} {dice.choice(_DATES[:3])}"),
            ("_content", dice.choice(_TEXTS)), ("_list", "p1"), ("_tag", "a|b"),
            (f"{found.code}:in", "http://hl7.org/fhir/ValueSet/administrative-gender"),
            (f"{found.code}:not-in", "ValueSet/observation-status"),
            (f"{found.code}:below", "http://hl7.org/fhir/fhir-types|Resource"),
        ])

    def _known(self, type_: str) -> list[SearchParameter]:
        if type_ not in self._kept:
            self._kept[type_] = [
                each for each in params.parameters(type_).values() if each.is_indexed and all(
                    part.type != "special" for part in each.components)]
        return self._kept[type_]

    def _pair(
        self, type_: str, depth: int = 2, codes: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        dice = self.dice
        found = dice.choice(
            [each for each in self._known(type_) if not codes or each.code in codes])
        if depth and dice.random() < 0.1:
            name, value = self._pair("Observation", depth - 1)
            if type_ == "Patient":
                return f"_has:Observation:patient:{name}", value
        if depth and found.type == "reference" and found.targets and dice.random() < 0.3:
            target = dice.choice(found.targets)
            name, value = self._pair(target, depth - 1)
            return f"{found.code}:{target}.{name}", value
        if dice.random() < 0.1:
            return f"{found.code}:missing", dice.choice(["true", "false"])
        modifier = dice.choice(_MODIFIERS.get(found.type, [""]))
        if modifier == "text" and found.code == "phonetic":
            modifier = ""
        if found.type != "string" and modifier in {
                "text", "identifier", "text-advanced", "code-text"}:
            kinds = params.place_types(type_, found.code)
            wanted = {"Reference"} if modifier == "identifier" else {"CodeableConcept", "Reference"}
            modifier = modifier if kinds & wanted or (
                modifier == "code-text" and found.type == "token") else ""
        count = 1 if dice.random() < 0.7 else 3
        values = [self._value(found, modifier) for _ in range(count)]
        return found.code + (f":{modifier}" if modifier else ""), ",".join(values)

    def _value(self, found: SearchParameter, modifier: str) -> str:
        if modifier in {"text", "code-text", "text-advanced"}:
            return self._plain("string")
        if modifier == "identifier":
            return self._plain("token")
        if found.type == "reference":
            target = self.dice.choice(found.targets or ("Patient",))
            return self.dice.choice([f"{target}/p1", "http://x.org/Patient/1", f"{target}/l1"])
        if found.type == "composite":
            kinds = [part.type for part in found.components]
            return "$".join("a|b" if kind == "token" else self._plain(kind) for kind in kinds)
        if found.code == "contains":
            return self.dice.choice(["41.3|69.2", "0|0"])
        return self._plain(found.type)

    def _plain(self, kind: str) -> str:
        dice = self.dice
        match kind:
            case "string":
                return dice.choice(_TEXTS)
            case "token":
                return dice.choice(_TOKENS)
            case "date":
                return dice.choice(_PREFIXES) + dice.choice(_DATES)
            case "number":
                return dice.choice(_PREFIXES) + dice.choice(_NUMBERS)
            case "quantity":
                return dice.choice(_PREFIXES) + dice.choice(_NUMBERS) + dice.choice(_UNITS)
            case "special":
                return dice.choice(["41.3|69.2", "41.3|69.2|5|km", "-90|180|1e4|m"])
            case "reference":
                return dice.choice(_REFERENCES)
        return dice.choice(["http://x.org/a", "urn:a"])


# What is found -------------------------------------------------------------------------------


@dataclass
class Report:
    """What a run met: counts by status, faults with their strings, and the slowest answers."""

    valid: Counter[int] = field(default_factory=Counter)
    hostile: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    judged: Counter[str] = field(default_factory=Counter)
    """Valid answers of 200: equal to the slow reading, some of them not empty, or not judged."""

    def note(self, text: str, status: int, body: bytes, seconds: float, *, is_valid: bool) -> None:
        """Take in one answer."""
        (self.valid if is_valid else self.hostile)[status] += 1
        if status >= 500 or not _is_json(body):
            self.faults.append(f"{status} {text}")
        elif is_valid and status != 200 and len(self.refused) < 50:
            self.refused.append(f"{text}\n    {body.decode(errors='replace')[:300]}")
        self.slowest = sorted([*self.slowest, (seconds, text)], reverse=True)[:SLOWEST_KEPT]

    def judge(self, reading: Reading, text: str, status: int, body: bytes) -> None:
        """Compare an answer with the slow reading."""
        type_, _, query = text.partition("?")
        if status != 200 or type_ == "AuditEvent":  # That the searches themselves add to.
            return
        said = judged(reading, type_, query, body)
        if said in {"equal", "unjudged"}:
            self.judged[said] += 1
            self.judged["with records"] += said == "equal" and b'"entry"' in body
        else:
            self.faults.append(f"WRONG {text}: {said}")

    @property
    def equal(self) -> float:
        """The share of valid searches that answered 200 with just what the slow reading expects."""
        return self.judged["equal"] / max(1, sum(self.valid.values()))

    @property
    def served(self) -> float:
        """The share of valid searches that answered 200."""
        return self.valid[200] / max(1, sum(self.valid.values()))


def _is_json(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["resourceType"])
    except (ValueError, KeyError, TypeError):
        return False


async def fuzz(
    client: httpx.AsyncClient, searches: int, seed: int, *, count: int, tasks: int = 4
) -> Report:
    """Send so many strings, half of them hostile, `tasks` at a time, over `records(count)`."""
    report, strings, left = Report(), Strings(seed), iter(range(searches))
    stopped = asyncio.Event()
    # Asked to end early, it tells what it has seen.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    reading = Reading(records(count, random.Random(1)))  # noqa: S311  # Nothing secret.

    async def work() -> None:
        for number in left:
            if stopped.is_set():
                return
            is_valid = number % 2 == 0
            text = strings.valid() if is_valid else strings.hostile()
            request = client.build_request("GET", "/x")
            path, _, query = text.partition("?")
            request.url = request.url.copy_with(raw_path=f"/fhir/{path}?{query}".encode())
            started = time.monotonic()
            answer = await client.send(request)
            report.note(text, answer.status_code, answer.content, time.monotonic() - started,
                        is_valid=is_valid)
            if is_valid:
                report.judge(reading, text, answer.status_code, answer.content)

    await asyncio.gather(*(work() for _ in range(tasks)))
    return report


# The installation ----------------------------------------------------------------------------


def records(count: int, dice: random.Random) -> list[dict[str, Any]]:
    """Patients, places, encounters and observations that the searches may find."""
    found: list[dict[str, Any]] = []
    for number in range(count):
        patient = {"reference": f"Patient/p{number // 4}", "display": "Aliyev Ali"}
        found.append({
            "resourceType": "Patient", "id": f"p{number}",
            "gender": dice.choice(["male", "female"]),
            "name": [{"family": dice.choice(["Aliyev", "Юлдашева"]), "given": ["Ali"]}],
            "birthDate": f"19{dice.randint(30, 99)}-02-03", "active": dice.random() < 0.5,
            "identifier": [{"system": "urn:a", "value": dice.choice(["x", "final", "b"])}]})
        found.append({
            "resourceType": "Location", "id": f"l{number}", "status": "active",
            "position": {"latitude": 41 + dice.random(), "longitude": 69 + dice.random()},
            **({"partOf": {"reference": f"Location/l{number // 2}"}} if number else {})})
        found.append({
            "resourceType": "Observation", "id": f"o{number}",
            "status": dice.choice(["final", "amended"]),
            "contained": [{"resourceType": "Patient", "id": "inner", "gender": "male"}],
            "performer": [{"reference": "#inner"}],
            "subject": patient,
            "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6",
                                 "display": "Systolic blood pressure"}], "text": "blood pressure"},
            "effectiveDateTime": f"2024-02-{dice.randint(1, 28):02}",
            "valueQuantity": {"value": dice.randint(90, 160), "unit": "mm[Hg]", "code": "mm[Hg]",
                              "system": "http://unitsofmeasure.org"}})
    return found


@asynccontextmanager
async def installation(url: str, data: Path, count: int) -> AsyncIterator[httpx.AsyncClient]:
    """The whole FHIR room on this database with records in it, and a client that may ask all."""
    settings = Settings(data=data, database_url=url, pool_size=8)
    await migrate(url, list(DDL))
    database = await pool.Database.open(url, settings)
    try:
        guard = Guard(database.hot, settings, load_keys(data))
        account = next(each for each in DEMO_ACCOUNTS if each.user == "service")
        await guard.identity.save(account, DEMO_PASSWORDS["service"])
        token = await guard.identity.issue_token("service")
        app = fhir_app(Gateway(database, settings), guard, ())
        headers = {"authorization": f"Bearer {token}", "content-type": "application/fhir+json"}
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test/fhir", headers=headers
        ) as client:
            for each in records(count, random.Random(1)):  # noqa: S311  # Nothing secret.
                address = f"/{each['resourceType']}/{each['id']}"
                answer = await client.put(address, content=json.dumps(each))
                assert answer.status_code in {200, 201}, answer.text
            yield client
    finally:
        await database.close()


async def _run(searches: int, seed: int, seconds: int, count: int) -> Report:
    # A statement that takes longer is cut by PostgreSQL, answered 503 and so a fault.
    pool.SEARCH_SECONDS_MAX = pool.WRITE_SECONDS_MAX = seconds
    folder = Path(tempfile.mkdtemp(prefix="dmed-fuzz-"))
    folder.chmod(0o711)
    try:
        cluster = Cluster(folder / "pg")
        with Supervisor(cluster):
            cluster.make_database("dmed")
            async with installation(cluster.url("dmed_owner"), folder, count) as client:
                return await fuzz(client, searches, seed, count=count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run from the command line; the exit status is 1 where a fault was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]  # It is above.
    parser.add_argument("--searches", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--records", type=int, default=300)
    asked = parser.parse_args()
    report = uvloop.run(_run(asked.searches, asked.seed, asked.seconds, asked.records))
    out = sys.stdout.write
    for name, found in (("valid", report.valid), ("hostile", report.hostile)):
        out(f"{name}: {dict(sorted(found.items()))}\n")
    out(f"valid searches served: {report.served:.1%}\n")
    out(f"served and equal to the slow reading: {report.equal:.1%} of all valid, "
        f"{dict(report.judged)}\n")
    for taken, text in report.slowest:
        out(f"{taken * 1000:8.0f} ms  {text[:150]}\n")
    for text in report.refused[:20]:
        out(f"refused: {text[:600]}\n")
    for text in report.faults[:50]:
        out(f"FAULT {text[:1000]}\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
