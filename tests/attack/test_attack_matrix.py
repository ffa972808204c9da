"""The role matrix: written by hand in role_matrix.txt, and asked of the running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attack_world import World

from dmed.fhir.facts import facts
from dmed.trust.model import Role

LETTERS = {"R": "GET", "S": "GET", "C": "POST", "U": "PUT", "D": "DELETE"}
ORDER = {"intent": "order", "status": "draft"}
WHOLE: dict[str, dict[str, Any]] = {
    "MedicationRequest": {**ORDER, "medication": {"concept": {"text": "x"}}},
    "MedicationDispense": {"status": "preparation", "medication": {"concept": {"text": "x"}}},
    "Task": ORDER,
}
"""A module answers for these and reads the record before it decides: it must be a good one."""
USERS = {"doctor": "doctor", "pharmacist": "pharmacist", "registrar": "registrar",
         "administrator": "admin", "service": "service",
         "head": "head", "inspector": "inspector", "citizen": "citizen"}  # fmt: skip  # A table.


def by_hand() -> dict[tuple[str, str], str]:
    """(role, type) > letters, from the file."""
    text = (Path(__file__).parent / "role_matrix.txt").read_text()
    found: dict[tuple[str, str], str] = {}
    types: list[str] = []
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("  : "):
            for pair in line[4:].split():
                role, _, letters = pair.partition("=")
                for type_ in types:
                    assert (role, type_) not in found, type_
                    found[role, type_] = letters.strip("-")
            types = []
        else:
            types += line.split()
    return found


def _entry(letter: str, type_: str, person: str) -> dict[str, Any]:
    """A request that is well made as far as the decision looks, and does nothing after it."""
    if letter == "S":
        return {"request": {"method": "GET", "url": f"{type_}?_count=0"}}
    request = {"method": LETTERS[letter], "url": f"{type_}/nobodys"}
    if letter == "C":
        request["url"] = type_
    if letter in "CU":
        # A fault that is found after the decision: a code of no language.
        body = {"resourceType": type_, "language": "no language at all"}
        if type_ in WHOLE:
            about = "for" if type_ == "Task" else "subject"
            body = {"resourceType": type_, **WHOLE[type_],
                    about: {"reference": f"Patient/{person}"}}  # fmt: skip  # One record.
        return {"resource": {**body, "id": "nobodys"} if letter == "U" else body,
                "request": request}
    return {"request": request}


async def _asked(world: World, user: str, types: list[str]) -> dict[str, str]:
    """Type > letters that are not refused to a user by the server."""
    client = world.service if user == "service" else world.api[user]
    asked = [(type_, letter) for type_ in types for letter in LETTERS]
    found = dict.fromkeys(types, "")
    for start in range(0, len(asked), 200):
        part = asked[start : start + 200]
        answer = await client.post("/fhir", json={
            "resourceType": "Bundle", "type": "batch",
            "entry": [_entry(letter, type_, world.here) for type_, letter in part]})
        assert answer.status_code == 200, answer.text[:500]
        for (type_, letter), entry in zip(part, answer.json()["entry"], strict=True):
            status = entry["response"]["status"][:3]
            assert status[0] != "5", (type_, letter, entry)
            found[type_] += letter if status not in {"403", "405"} else ""
    return found


@pytest.mark.parametrize("role", USERS)
async def test_the_server_does_what_the_hand_wrote(world: World, role: str) -> None:
    """Every type and interaction of a role: the difference is empty."""
    hand = by_hand()
    types = sorted(facts().resources)
    served = await _asked(world, USERS[role], types)

    assert {type_: (served[type_], hand[role, type_]) for type_ in types
            if served[type_] != hand[role, type_]} == {}


def test_the_hand_forgot_no_type() -> None:
    """Every role times all types of R5."""
    assert {type_ for _, type_ in by_hand()} == set(facts().resources)
    assert set(USERS) == set(Role)
    assert len(by_hand()) == len(USERS) * len(facts().resources)
