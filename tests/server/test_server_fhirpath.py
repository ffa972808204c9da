"""POST /fhir/$fhirpath over HTTP: the published shape, our records, and what may not run on."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

PATIENT = {
    "resourceType": "Patient",
    "birthDate": "1974-12-25",
    "name": [{"family": "Karimova", "given": ["Nodira", "Aziza"]}, {"given": ["Nodi"]}],
}


def asked(expression: str, *, record: Any = None, **texts: str) -> dict[str, Any]:
    """Parameters for an expression on a record."""
    place = {"valueString": record} if isinstance(record, str) else {"resource": record or PATIENT}
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "expression", "valueString": expression},
            {"name": "resource", **place},
            *({"name": name, "valueString": text} for name, text in texts.items()),
        ],
    }


async def test_values_traces_and_places(service: httpx.AsyncClient) -> None:
    """Each item of the context has its result, with its place, its values and its traces."""
    answer = await service.post(
        "/$fhirpath", json=asked("given.trace('g').first()", context="name")
    )

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/fhir+json")
    told, first, second = answer.json()["parameter"]
    assert [each["name"] for each in told["part"]] == [
        "evaluator", "context", "expression", "resource",
    ]  # fmt: skip  # One list.
    assert first["valueString"] == "Patient.name[0]"
    assert first["part"][0] == {"name": "string", "valueString": "Nodira"}
    assert first["part"][1]["name"] == "trace"
    assert [each["valueString"] for each in first["part"][1]["part"]] == ["Nodira", "Aziza"]
    assert second["part"][0]["valueString"] == "Nodi"


async def test_a_record_of_ours(service: httpx.AsyncClient) -> None:
    """A reference instead of a record means the stored one; one that is not there is a 404."""
    made = await service.post("/Patient", json=PATIENT)
    place = f"Patient/{made.json()['id']}"
    answer = await service.post("/$fhirpath", json=asked("birthDate", record=place))
    missing = await service.post("/$fhirpath", json=asked("birthDate", record="Patient/none"))
    elsewhere = await service.post(
        "/$fhirpath", json=asked("id", record="http://x.example/Patient/1")
    )

    assert answer.json()["parameter"][1]["part"][0]["valueDate"] == "1974-12-25", answer.text
    assert missing.status_code == 404
    assert elsewhere.status_code == 400


async def test_a_wrong_expression_names_its_place(service: httpx.AsyncClient) -> None:
    """A fault of the expression is an OperationOutcome with the place; nobody need be root."""
    answer = await service.post("/$fhirpath", json=asked("name.given +"))
    missing = await service.post("/$fhirpath", json={"resourceType": "Parameters"})

    assert answer.status_code == 400
    assert "at 12" in answer.json()["issue"][0]["diagnostics"]
    assert missing.status_code == 400
    assert missing.json()["resourceType"] == "OperationOutcome"


async def test_endless_trials_end(service: httpx.AsyncClient) -> None:
    """A regular expression without end is stopped, and the worker answers others meanwhile."""
    record = {"resourceType": "Patient", "name": [{"given": ["a" * 60]}]}
    endless = asked("name.given.first().matches('(.*.*.*)*[0-9]')", record=record)
    trial = asyncio.create_task(service.post("/$fhirpath", json=endless))
    other = await service.get("/metadata")
    answer = await trial

    assert other.status_code == 200
    assert answer.status_code == 422, answer.text
    assert answer.json()["issue"][0]["diagnostics"]


async def test_limits_of_size_and_of_number(service: httpx.AsyncClient) -> None:
    """A long body is refused, and of many trials at once some are told to come again."""
    long = await service.post("/$fhirpath", json=asked("'" + "a" * 1_100_000 + "'"))
    many = await asyncio.gather(*(service.post("/$fhirpath", json=asked("1")) for _ in range(7)))

    assert long.status_code == 413
    assert {each.status_code for each in many} == {200, 429}


async def test_only_for_who_is_signed_in(room: Any) -> None:
    """Without sign-in nothing is tried."""
    answer = await room.anonymous().post("/$fhirpath", json=asked("1"))

    assert answer.status_code == 401
