"""The examples for systems, run as they stand against a served platform."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from joserfc.jwk import ECKey

from dmed.apps import demo
from dmed.apps.accounts import identity, opened, register_client
from dmed.apps.database import database
from dmed.kit.ids import secret
from dmed.kit.settings import Settings
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules.gs1 import Code
from dmed.trust.identity import Account
from dmed.trust.model import Role
from dmed.trust.oauth.clients import CONFIDENTIAL, Client

pytestmark = pytest.mark.journey
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
AMOXICILLIN = "amoxicillin-capsule-500mg"
KEY = ECKey.generate_key("P-256", {"kid": "till-1"})
_serials = itertools.count(1)


class Place(msgspec.Struct):
    """The served platform and who calls it."""

    base: str
    tokens: dict[str, str]

    def ask(self, user: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One call that must be answered well."""
        answer = httpx.request(
            method, f"{self.base}/fhir/{path}", json=body, timeout=30,
            headers={"Authorization": f"Bearer {self.tokens[user]}",
                     "Content-Type": "application/fhir+json"})
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def person(self) -> str:
        """A person without a history."""
        made = self.ask("doctor", "POST", "Patient", {
            "resourceType": "Patient", "gender": "male", "birthDate": "1980-02-03",
            "name": [{"family": "Namunayev", "given": ["Karim"]}]})
        return str(made["id"])

    def prescription(self) -> tuple[str, str]:
        """Number and code of a signed prescription."""
        request = _examples()["prescription"](self.person())
        request = {**request, "status": "draft"}
        made = self.ask("doctor", "POST", "MedicationRequest/$prescribe", {
            "resourceType": "Parameters", "parameter": [{"name": "bundle", "resource": {
                "resourceType": "Bundle", "type": "collection",
                "entry": [{"resource": request}]}}]})
        rows = {row["name"]: row for row in made["parameter"]}
        task = rows["task"]["resource"]["id"]
        self.ask("doctor", "POST", f"Task/{task}/$activate")
        return rows["number"]["valueString"], rows["code"]["valueString"]


def _examples() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "national_calls.py"))


def pack(serial: str = "") -> str:
    """The code of a pack that nobody has seen."""
    product = medicines.products_of(AMOXICILLIN)[0]
    return Code(gtin=product.gtin, serial=serial or f"EXAMPLE{next(_serials):06d}",
                key_id="EE08", crypto="x" * 44).text()


async def _prepared(settings: Settings) -> dict[str, str]:
    """Tokens of doctor and pharmacist, and a till of his pharmacy with its key."""
    mine = next(each for each in demo.accounts() if each.user == "pharmacist")
    with database(settings) as addresses:
        async with opened(settings, addresses) as store:
            accounts = identity(store, settings)
            await accounts.save(Account(
                user="till", role=Role.SERVICE, name="Kassa", organisation=mine.organisation,
                organisation_name=mine.organisation_name), secret())
            tokens = {user: await accounts.issue_demo_token(user)
                      for user in ("doctor", "pharmacist")}
    await register_client(settings, Client(
        id="till", name="Kassa", kind=CONFIDENTIAL, account="till",
        keys=json.dumps({"keys": [KEY.as_dict(private=False)]}),
        scopes=runpy.run_path(str(EXAMPLES / "till.py"))["SCOPES"]))
    return tokens


@pytest.fixture(scope="module")
def place(live_server: str, live_folder: Path) -> Place:
    """The served country with a till's client in it."""
    settings = Settings(data=live_folder / "data")
    with ThreadPoolExecutor(1) as apart:  # A loop of another test may run in this thread.
        return Place(live_server, apart.submit(asyncio.run, _prepared(settings)).result())


def test_every_national_call_answers_as_documented(place: Place) -> None:
    """The script makes every call of the national workflow against the served platform."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "national_calls.py")], text=True, capture_output=True,
        timeout=60, check=False, env={
            **os.environ, "BASE": place.base, "DOCTOR": place.tokens["doctor"],
            "PHARMACIST": place.tokens["pharmacist"], "PATIENT": place.person(),
            "PACKS": f"{pack()[:31]},{pack()[:31]}"})

    assert done.returncode == 0, done.stdout + done.stderr
    assert "every call answered as documented" in done.stdout


class Flaky(httpx.BaseTransport):
    """A line that loses the answer of the first try of each act."""

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()
        self.lost: set[str] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The platform did it; the till does not hear of it."""
        answer = self.inner.handle_request(request)
        key = request.headers.get("idempotency-key", "")
        if key and key not in self.lost:
            self.lost.add(key)
            answer.read()
            raise httpx.ReadTimeout("the answer is lost", request=request)
        return answer


def test_the_till_does_its_acts_although_every_first_answer_is_lost(place: Place) -> None:
    """Claim by number and code, a pack, its undo, two packs to the end: each act is done once."""
    till_module = runpy.run_path(str(EXAMPLES / "till.py"))
    number, code = place.prescription()
    line = Flaky()
    http = httpx.Client(transport=line, timeout=10)
    till = till_module["Till"](place.base, "till", KEY, http)

    assert till.line(f"{number} {code}") == "Amoksitsillin 500 mg kapsula: 21 of 21"
    whole = pack()
    with pytest.raises(till_module["RefusedError"], match="recalled"):
        till.line(pack("REC0000000017"))
    handed = till.line(whole)
    assert "left" in handed
    assert till.line("undo").endswith("taken back")
    till.line(whole)
    till.line(pack())

    request = till.items[0]["request"]["id"]
    found = place.ask("doctor", "GET",
                      f"MedicationDispense?prescription=MedicationRequest/{request}")
    kept = [each["resource"] for each in found["entry"]
            if each["resource"]["status"] == "completed"]
    assert sum(each["quantity"]["value"] for each in kept) == 21
    assert place.ask("doctor", "GET", f"MedicationRequest/{request}")["status"] == "completed"
    assert len(line.lost) >= 6
    http.close()
    line.inner.close()


def test_the_till_is_a_program(place: Place, tmp_path: Path) -> None:
    """Started as a till is, it reads scanned lines and answers each; a refusal is a sentence."""
    (tmp_path / "key.jwk").write_text(json.dumps(KEY.as_dict(private=True)))
    number, code = place.prescription()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "till.py"), "--base", place.base, "--client", "till",
         "--key", str(tmp_path / "key.jwk")],
        input=f"{number} WRONGWRO\n{number} {code[:8]}\n{pack()}\nundo\nreturn\n", text=True,
        capture_output=True, timeout=60, check=False)

    lines = done.stdout.splitlines()
    assert lines[0].startswith("NO  403: The code is wrong"), done.stdout + done.stderr
    assert lines[-1] == "given back"


def test_the_till_is_short() -> None:
    """Under 200 lines, as promised."""
    assert len((EXAMPLES / "till.py").read_text().splitlines()) < 200
