"""A till of a pharmacy in under 200 lines: take a scanned prescription, hand packs over, undo.

    python till.py --base https://dmed.example --client till --key private.jwk

Then one line an act, as a scanner types it:
    UZRX:...               a prescription's QR code: its items are taken to this pharmacy
    1726-0000-0001-3 ABCDEFGH   the same by the number and the code under it
    01047...               a pack's DataMatrix: checked and handed over for the item that it fits
    undo                   takes the last hand-over back
    return                 gives back what was not handed over

What matters in a till of your own: every act that changes something carries an Idempotency-Key
that is made before the first try and kept until an answer came. A lost answer, 429 or 503 is then
simply asked again, with the same key and the same words; nothing happens twice.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

SCOPES = ("system/Task.rus system/MedicationRequest.rus system/MedicationDispense.crus "
          "system/Patient.rs system/Organization.rs")
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TRIES = 6
AGAIN = frozenset({408, 429, 502, 503, 504})
Parameters = list[dict[str, Any]]

class RefusedError(Exception):
    """The platform said no: its own sentence."""


class Till:
    """One till: its token, and the prescription that lies on the counter."""

    def __init__(self, base: str, client: str, key: Any, http: httpx.Client | None = None) -> None:
        self.base, self.client, self.key = base.rstrip("/"), client, key
        self.http = http or httpx.Client(timeout=10)
        self.items: list[dict[str, Any]] = []
        self.last: tuple[str, str] = ("", "")
        """Task and MedicationDispense of the last hand-over."""
        self._token, self._until = "", 0.0

    def token(self) -> str:
        """A token of five minutes for an assertion signed with the till's own key (RFC 7523)."""
        if time.time() > self._until - 30:
            address, now = f"{self.base}/oauth/token", int(time.time())
            says = {"iss": self.client, "sub": self.client, "aud": address, "iat": now,
                    "exp": now + 240, "jti": uuid.uuid4().hex}
            kind = "ES256" if self.key.key_type == "EC" else "RS384"
            head = {"alg": kind, "kid": self.key.kid} if self.key.kid else {"alg": kind}
            answer = self.http.post(address, data={
                "grant_type": "client_credentials", "scope": SCOPES,
                "client_assertion_type": ASSERTION,
                "client_assertion": jwt.encode(head, says, self.key, algorithms=[kind])})
            if answer.status_code != 200:
                raise RefusedError(f"no token: {answer.text}")
            self._token = answer.json()["access_token"]
            self._until = now + float(answer.json()["expires_in"])
        return self._token

    def call(self, path: str, parameters: Parameters, key: str = "") -> Parameters:
        """One act. It is asked again, word for word, as long as no answer comes."""
        key = key or uuid.uuid4().hex
        body = {"resourceType": "Parameters", "parameter": parameters}
        for attempt in range(TRIES):
            wait = 0.2 * 2**attempt
            try:
                answer = self.http.post(
                    f"{self.base}/fhir/{path}", json=body,
                    headers={"Authorization": f"Bearer {self.token()}", "Idempotency-Key": key,
                             "Content-Type": "application/fhir+json"})
            except httpx.TransportError as lost:
                print(f"  no answer ({type(lost).__name__}): asked again", file=sys.stderr)
            else:
                if answer.status_code == 200:
                    found: Parameters = answer.json()["parameter"]
                    return found
                if answer.status_code not in AGAIN:
                    raise RefusedError(said(answer))
                wait = float(answer.headers.get("retry-after", wait))
            time.sleep(wait)
        raise RefusedError(f"no answer after {TRIES} tries; the key of this act is {key}")

    def claim(self, text: str, code: str = "") -> list[str]:
        """Take a scanned prescription to this counter; what it names."""
        asked = [{"name": "text", "valueString": text}]
        asked += [{"name": "code", "valueString": code}] if code else []
        answer = self.call("Task/$claim-scanned", asked)
        self.items = [{part["name"]: part.get("resource", part.get("valueString"))
                       for part in row["part"]} for row in answer if row["name"] == "item"]
        return [self.told(item) for item in self.items]

    def told(self, item: dict[str, Any]) -> str:
        """One line of the prescription, with what is still to be handed over."""
        request = item["request"]
        amount = request["dispenseRequest"]["quantity"]
        done = sum(float(each["valueQuantity"]["value"]) for each in item["task"].get("output", ())
                   if "valueQuantity" in each)
        medicine = request["medication"].get("concept", {}).get("text", "?")
        return f"{medicine}: {float(amount['value']) - done:g} of {amount['value']:g}"

    def dispense(self, marking: str, *, release: bool = False, key: str = "") -> str:
        """Hand a pack over for the item it fits; the last refusal where it fits none."""
        if not self.items:
            raise RefusedError("scan a prescription first")
        refusal = RefusedError("")
        key = key or uuid.uuid4().hex
        for place, item in enumerate(self.items):
            task = item["task"]["id"]
            asked: Parameters = [
                {"name": "pack", "part": [{"name": "marking", "valueString": marking}]},
                {"name": "releaseRest", "valueBoolean": release}]
            try:
                # A key stands for one act: another item is another act.
                answer = self.call(f"Task/{task}/$dispense", asked, f"{key}-{place}")
            except RefusedError as no:
                refusal = no
                continue
            return self._handed(item, answer)
        raise refusal

    def _handed(self, item: dict[str, Any], answer: Parameters) -> str:
        for row in answer:
            if row["name"] == "task":
                item["task"] = row["resource"]
            elif row["name"] == "dispense":
                target = row["valueReference"]["reference"]
                self.last = (item["task"]["id"], target)
        return f"handed over as {self.last[1]}; {self.told(item)} left"

    def undo(self) -> str:
        """Take the last hand-over back: the pack is whole again."""
        task, dispense = self.last
        if not dispense:
            raise RefusedError("nothing was handed over here")
        self.call(f"Task/{task}/$undo", [
            {"name": "dispense", "valueReference": {"reference": dispense}}])
        self.last = ("", "")
        return f"{dispense} is taken back"

    def give_back(self) -> str:
        """Return what is held: any pharmacy may take it then."""
        for item in self.items:
            self.call(f"Task/{item['task']['id']}/$return", [
                {"name": "reason", "valueCode": "patient-left"}])
        self.items = []
        return "given back"

    def line(self, text: str) -> str:
        """What one typed or scanned line does."""
        if text == "undo":
            return self.undo()
        if text == "return":
            return self.give_back()
        if text.upper().startswith("UZRX:"):
            return "\n".join(self.claim(text))
        if len(words := text.split()) == 2 and words[0].replace("-", "").isdigit():
            return "\n".join(self.claim(*words))
        return self.dispense(text)


def said(answer: httpx.Response) -> str:
    """The sentences of an OperationOutcome."""
    try:
        issues = answer.json()["issue"]
    except (ValueError, KeyError):
        return f"{answer.status_code}: {answer.text[:200]}"
    return f"{answer.status_code}: " + "; ".join(str(each.get("diagnostics")) for each in issues)


def main() -> None:
    """Reads lines until the end of the input."""
    options = argparse.ArgumentParser(description="A till of a pharmacy")
    for name in ("--base", "--client", "--key"):
        options.add_argument(name, required=True)
    given = options.parse_args()
    read: Any = json.loads(Path(given.key).read_text())
    key: Any = (ECKey if read["kty"] == "EC" else RSAKey).import_key(read)
    till = Till(given.base, given.client, key)
    for line in sys.stdin:
        if line.strip():
            try:
                print(till.line(line.strip(" \r\n")), flush=True)
            except RefusedError as no:
                print(f"NO  {no}", flush=True)


if __name__ == "__main__":
    main()
