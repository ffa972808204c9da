"""Random requests made from the OpenAPI document: no answer may be a fault of ours.

`python tests/load/fuzz.py --minutes 20` serves an installation of its own in this process and
asks it for twenty minutes: each act of the document with bodies that follow its schemas, bodies
that nearly do, and bodies that do not; parameters and headers, declared, invented and hostile.
Every answer is below 500, in time, and JSON with a resourceType where it has a body.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from dmed.apps.web import Platform
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS, values_of
from dmed.trust.passwords import hashed
from dmed.trust.tables import save_account

ANSWER_SECONDS_MAX = 25
BATCH = 60
DEPTH_MAX = 4
HOSTILE = [
    "", " ", "x", "\x00", "\ud7ff", "\u202e", "\\", "%00", "'; DROP TABLE resource; --", "$x$",
    "9" * 40, "-1", "1e400", "1e-400", "NaN", "null", "true", "2020-02-30", "0000-00-00",
    "Patient/1", "Patient?name=x", "urn:uuid:x", "http://x|y", "|", "a|b|c|d", "a,b,,c", "*",
    "../../etc", "<script>", "(" * 200, "[[[[", "Observation:subject", "Patient.name.given",
    "ge2020-01-01", "ap5|http://unitsofmeasure.org|kg", "5.4|http://unitsofmeasure.org|[lb_av]",
    "41.3|69.2|50|km", "name eq 'x' and (birthdate ge 2000 or not(gender eq male))", "a" * 4000,
]  # fmt: skip  # A list of words.
SAMPLES = {
    "date": ["2020", "2020-02", "2020-02-29", "1900-01-01"],
    "dateTime": ["2020", "2020-02-29T10:00:00Z", "2020-02-29T10:00:00.123+05:00"],
    "instant": ["2020-02-29T10:00:00Z"], "time": ["10:00:00"], "code": ["final", "active", "male"],
    "uri": ["http://example.org/x", "urn:uuid:4f1c2d3e-0000-4000-8000-000000000001"],
    "id": ["a", "a-1.b"], "base64Binary": ["AAAA"], "xhtml": [
        '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'],
    "decimal": [0, 1.5, -3, 61.50], "integer": [0, 1, -5], "positiveInt": [1, 3],
    "unsignedInt": [0, 2], "integer64": ["1"], "boolean": [True, False],
}  # fmt: skip  # A table.
HEADERS = {
    "If-Match": ['W/"1"', "*", "x", 'W/"99999999999999999999"'],
    "If-None-Match": ['W/"1"', "*"],
    "If-Modified-Since": ["Sun, 22 Nov 2026 21:00:00 GMT", "yesterday"],
    "If-None-Exist": ["identifier=x|y", "name=x&name=y", "?", "%ff=%fe", "_filter=("],
    "Prefer": ["return=minimal", "return=OperationOutcome", "handling=strict", "respond-async"],
    "Idempotency-Key": ["k1", "k" * 300], "Accept": ["application/fhir+json", "text/html", "x/y"],
    "Accept-Encoding": ["gzip", "gzip;q=0"], "Content-Encoding": ["gzip", "br"],
}  # fmt: skip  # A table.
KINDS = ["application/fhir+json", "application/json", "application/json-patch+json",
         "application/merge-patch+json", "application/x-www-form-urlencoded", "text/plain", ""]
PATCHES = {
    "application/json-patch+json": [
        [{"op": "add", "path": "/active", "value": True}], [{"op": "remove", "path": "/status"}],
        [{"op": "test", "path": "/id", "value": "1"}], [{"op": "add", "path": "/name/-"}],
        [{"op": "replace", "path": "/id", "value": "x"}],
        [{"op": "move", "from": "/a", "path": "/a/b"}]],
    "application/merge-patch+json": [{"active": False}, {"id": "x"}, {"name": None}, [], {}],
}  # fmt: skip  # A table.
RECORDS: dict[str, dict[str, Any]] = {
    "Patient": {"resourceType": "Patient", "name": [{"family": "Karimova"}], "gender": "female",
                "birthDate": "1992-03-12"},
    "Observation": {"resourceType": "Observation", "status": "final", "code": {"text": "weight"},
                    "valueQuantity": {"value": 61.5, "unit": "kg", "code": "kg",
                                      "system": "http://unitsofmeasure.org"}},
    "Organization": {"resourceType": "Organization", "name": "Clinic 1", "active": True},
    "Location": {"resourceType": "Location", "status": "active", "name": "Ward",
                 "position": {"longitude": 69.2, "latitude": 41.3}},
    "Basic": {"resourceType": "Basic", "code": {"text": "x"}},
    "Flag": {"resourceType": "Flag", "status": "active", "code": {"text": "x"},
             "subject": {"reference": "Patient/1"}},
}  # fmt: skip  # A table.
USERS = ("service", "service", "service", "doctor", "pharmacist", "admin")
QUIET = settings(max_examples=BATCH, database=None, deadline=None, phases=[Phase.generate],
                 suppress_health_check=list(HealthCheck))


@dataclass
class Asked:
    """One request and the act it was made from."""

    act: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    kind: str
    body: bytes
    user: str


@dataclass
class Ledger:
    """What came of a run."""

    statuses: Counter[int] = field(default_factory=Counter)
    acts: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0


class Requests:
    """Requests drawn from an OpenAPI document; `ids` are records that exist."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.acts = [(path, method, act, item) for path, item in document["paths"].items()
                     for method, act in item.items() if method != "parameters"]  # fmt: skip  # All.
        # Types whose records can be stored come half of the time, so that searches find something.
        self.stored = [one for one in self.acts if one[0].split("/")[2:3]
                       and one[0].split("/")[2] in RECORDS] or self.acts  # fmt: skip  # Same.
        self.ids: list[str] = ["1", "x", "a" * 64, "a" * 65, "_history", "%2e%2e", "%00"]

    def draw(self, number: int) -> list[Asked]:
        """BATCH requests by a seed."""
        drawn: list[Asked] = []

        @seed(number)
        @QUIET
        @given(self._request())
        def gather(asked: Asked) -> None:
            drawn.append(asked)

        gather()
        return drawn

    def _request(self) -> st.SearchStrategy[Asked]:
        @st.composite
        def made(draw: Any) -> Asked:
            path, method, act, item = draw(
                st.sampled_from(self.acts) | st.sampled_from(self.stored))
            parameters = [self._resolved(one) for one in [*item.get("parameters", ()),
                                                          *act.get("parameters", ())]]
            for name in ("id", "vid", "compartment"):
                if f"{{{name}}}" in path:
                    path = path.replace(f"{{{name}}}", self._place(draw, name))
            kind, body = self._body(draw, act)
            return Asked(
                act=act["operationId"],
                method=method.upper() if draw(st.integers(0, 30)) else "PATCH",
                path=path,
                query=self._query(draw, [one for one in parameters if one["in"] == "query"]),
                headers=self._headers(draw, parameters),
                kind=kind,
                body=body,
                user=draw(st.sampled_from(USERS)),
            )

        return made()

    def _place(self, draw: Any, name: str) -> str:
        if name == "compartment":
            return draw(st.sampled_from(["*", "Observation", "Condition", "Nil"]))
        if name == "vid":
            return draw(st.sampled_from(["1", "99999999999999999999", "0", "x"]))
        return draw(st.sampled_from(self.ids[-300:]))

    def _query(self, draw: Any, declared: list[dict[str, Any]]) -> str:
        names = [one["name"] for one in declared] + ["nonsense", "_format", "_id", ""]
        pairs = []
        for _ in range(draw(st.integers(0, 3))):
            name = draw(st.sampled_from(names))
            if not draw(st.integers(0, 3)):
                name += draw(st.sampled_from([":exact", ":not", ":missing", ":in", ":below", ":x",
                                              ":Patient.name", ":of-type", ":identifier", ":",
                                              ":iterate", ":text", ".name", ":contains"]))
            value = draw(st.sampled_from(HOSTILE) | st.text(max_size=6)
                         | st.sampled_from([str(one) for many in SAMPLES.values() for one in many]))
            pairs.append(f"{quote(name, safe=':.')}={quote(value, safe='|,:', errors='replace')}")
        return "&".join(pairs)

    def _headers(self, draw: Any, parameters: list[dict[str, Any]]) -> dict[str, str]:
        declared = [one["name"] for one in parameters if one["in"] == "header"]
        known = [*HEADERS] if not draw(st.integers(0, 5)) else declared
        names = draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
        return {name: draw(st.sampled_from(HEADERS[name])) for name in names if name in HEADERS}

    def _body(self, draw: Any, act: dict[str, Any]) -> tuple[str, bytes]:
        """Content type and body: bytes, by the schema, nearly so, or a record that is stored."""
        content = act.get("requestBody", {}).get("content", {})
        if not content:
            return "", b""
        way = draw(st.integers(0, 11))
        kind = draw(st.sampled_from(sorted(content)))
        told = kind if draw(st.integers(0, 14)) else draw(st.sampled_from(KINDS))
        if way == 0:
            return told, draw(st.binary(max_size=40))
        if way < 5:
            value = self._sound(draw, kind, content[kind]["schema"])
        else:
            value = self._value(draw, content[kind]["schema"], 0, broken=way < 8)
        return told, json.dumps(value).encode("utf-8", "surrogatepass")

    def _sound(self, draw: Any, kind: str, schema: dict[str, Any]) -> Any:
        """A body that a healthy request has; by the schema where there is none of its type."""
        if kind in PATCHES:
            return draw(st.sampled_from(PATCHES[kind]))
        name = schema.get("$ref", "").rpartition("/")[2]
        if name == "Bundle":
            entries = draw(st.lists(st.sampled_from([*RECORDS.values()]), max_size=3))
            kind = draw(st.sampled_from(["batch", "transaction"]))
            return {"resourceType": "Bundle", "type": kind,
                    "entry": [{"resource": one, "request": {"method": "POST",
                                                            "url": one["resourceType"]}}
                              for one in entries]}  # fmt: skip  # One Bundle.
        return RECORDS.get(name) or self._value(draw, schema, 0, broken=False)

    def _value(self, draw: Any, schema: dict[str, Any], depth: int, *, broken: bool) -> Any:
        """A value by its schema; a broken one has something else at a few places."""
        if broken and not draw(st.integers(0, 8)):
            return draw(st.sampled_from([None, [], {}, 1, "", True, [None], {"x": 1}, 1e300,
                                         {"resourceType": "Patient"}, *HOSTILE[:12]]))
        name = schema.get("$ref", "").rpartition("/")[2]
        if name == "Resource":
            name = draw(st.sampled_from(["Patient", "Observation", "Bundle", "Basic"]))
            schema = {"$ref": f"#/components/schemas/{name}"}
        if name in SAMPLES:
            return draw(st.sampled_from(SAMPLES[name]))
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        kind = schema.get("type", "string")
        if kind == "array":
            length = draw(st.integers(0 if broken else 1, 2))
            return [self._value(draw, schema["items"], depth + 1, broken=broken)
                    for _ in range(length)]
        if kind == "object":
            return self._object(draw, schema, depth, broken=broken)
        if kind in {"integer", "number"}:
            return draw(st.integers(-5, 5))
        sound = st.text("abc δ'\"", min_size=1, max_size=5)
        return draw(st.sampled_from(HOSTILE) if broken else sound)

    def _object(self, draw: Any, schema: dict[str, Any], depth: int, *, broken: bool) -> Any:
        properties = schema.get("properties", {})
        chosen = list(schema.get("required", ()))
        optional = [name for name in properties if name not in chosen and name != "contained"]
        if optional and depth < DEPTH_MAX:
            chosen += draw(st.lists(st.sampled_from(optional), max_size=3, unique=True))
        return {name: self._value(draw, properties[name], depth + 1, broken=broken)
                for name in chosen}  # fmt: skip  # One object.

    def _resolved(self, thing: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in thing:
            found: Any = self.document
            for part in thing["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            thing = found
        return thing


async def run(platform: Platform, seconds: float, number: int, parallel: int = 8) -> Ledger:
    """Ask an open platform whose demo accounts exist, for a time, by a seed; one batch at least."""
    ledger = Ledger()
    transport = httpx.ASGITransport(app=platform, raise_app_exceptions=False)  # type: ignore[arg-type]  # Its scope is a mapping.
    async with httpx.AsyncClient(transport=transport, base_url="http://fuzz", timeout=60) as client:
        requests = Requests((await client.get("/openapi.json")).json())
        identity = platform.guard.identity
        tokens = {user: await identity.issue_token(user) for user in set(USERS)}
        until = time.monotonic() + seconds
        while not ledger.statuses or time.monotonic() < until:
            # Drawing is work: in the loop it would keep the platform from its clocks.
            waiting = await asyncio.to_thread(requests.draw, number)
            number += 1

            async def worker(line: list[Asked] = waiting) -> None:
                while line:
                    await ask(client, requests, tokens, line.pop(), ledger)

            await asyncio.gather(*(worker() for _ in range(parallel)))
    return ledger


async def ask(
    client: httpx.AsyncClient, requests: Requests, tokens: dict[str, str], asked: Asked,
    ledger: Ledger,
) -> None:  # fmt: skip  # One request with all it needs.
    """Send one request and judge the answer."""
    headers = {"authorization": f"Bearer {tokens[asked.user]}", "content-type": asked.kind,
               **asked.headers}  # fmt: skip  # What every request has, then its own.
    began = time.monotonic()
    request = client.build_request(asked.method, asked.path, content=asked.body, headers=headers)
    raw = asked.path + (f"?{asked.query}" if asked.query else "")
    request.url = request.url.copy_with(raw_path=raw.encode())
    answer = await client.send(request)
    taken = time.monotonic() - began
    ledger.slowest_seconds = max(ledger.slowest_seconds, taken)
    ledger.statuses[answer.status_code] += 1
    ledger.acts.add(asked.act)
    found = fault(answer, taken, asked.method)
    if found:
        ledger.faults.append(f"{found}: {asked} -> {answer.status_code} {answer.text[:600]}")
    if answer.status_code == 201 and answer.content[:1] == b"{":
        requests.ids.append(str(answer.json().get("id", "1")))


def fault(answer: httpx.Response, taken_seconds: float, method: str) -> str:
    """What is wrong with an answer, or ""."""
    if answer.status_code >= 500:
        return "a fault of ours"
    if taken_seconds > ANSWER_SECONDS_MAX:
        return f"{taken_seconds:.0f} s"
    if not answer.content or method == "HEAD":
        return ""
    if "html" in answer.headers.get("content-type", ""):
        return ""
    try:
        body = answer.json()
    except ValueError:
        return "no JSON"
    if answer.status_code >= 400 and body.get("resourceType") != "OperationOutcome":
        return "a refusal without OperationOutcome"
    return ""


async def accounts(platform: Platform) -> None:
    """The demo accounts that the requests are signed in as; one hash does for all of them."""
    for account in DEMO_ACCOUNTS:
        if account.user in USERS:
            password = await hashed(DEMO_PASSWORDS[account.user])
            await save_account(platform.database.hot, values_of(account, password))


def main() -> int:
    """Serve, ask, tell; 1 where an answer was a fault."""
    from dmed.apps.database import database, prepare
    from dmed.kit.settings import Settings

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=1200)
    options.add_argument("--minutes", type=float, help="instead of --seconds")
    options.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    given_ = options.parse_args()
    seconds = given_.minutes * 60 if given_.minutes else given_.seconds
    with tempfile.TemporaryDirectory(prefix="dmed-fuzz-") as folder:
        Path(folder).chmod(0o711)
        own = Settings(data=Path(folder) / "data")
        with database(own) as addresses:

            async def whole() -> Ledger:
                await prepare(addresses)
                platform = Platform(Settings(
                    data=own.data, database_url=addresses.application, pool_size=8))
                await platform.open()
                try:
                    await accounts(platform)
                    return await run(platform, seconds, given_.seed)
                finally:
                    await platform.close()

            ledger = asyncio.run(whole())
    for one in ledger.faults[:50]:
        print(one)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(ledger.statuses.items()))
    asked = sum(ledger.statuses.values())
    print(f"seed {given_.seed}; {asked} requests of {len(ledger.acts)} acts; {statuses};"
          f" slowest {ledger.slowest_seconds:.1f} s; {len(ledger.faults)} faults")
    return 1 if ledger.faults else 0


if __name__ == "__main__":
    sys.exit(main())
