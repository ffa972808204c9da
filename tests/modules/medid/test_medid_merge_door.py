"""Patient/$merge over HTTP: preview, merge, the caller's own result, undoing, refusals, roles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from persons_door import Door, opened, person

from dmed.fhir import codec, validate
from dmed.modules.medid.rules import merge_wire
from dmed.modules.medid.service import merge_door, merging

RED = "https://red.example.uz/patients"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Door]:
    """The door of an empty installation."""
    async for made in opened(module_database_url, tmp_path_factory.mktemp("merge")):
        yield made


async def card(door: Door, number: str, **more: Any) -> dict[str, Any]:
    """A new card as it is stored."""
    one = person("Birlashev", "Sinov", "", "1980-01-01", "male",
                 identifier=[{"system": RED, "value": number}], **more)
    answer = await door.registrar_client.post("/Patient", json=one)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def to(one: dict[str, Any]) -> dict[str, Any]:
    """A reference to a card."""
    return {"valueReference": {"reference": f"Patient/{one['id']}"}}


async def asked(door: Door, *parameters: dict[str, Any], client: Any = None) -> Any:
    """The answer to $merge with these parameters."""
    return await (client or door.registrar_client).post("/Patient/$merge", json={
        "resourceType": "Parameters", "parameter": list(parameters)})


def pair(source: dict[str, Any], target: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters that name the two cards by reference."""
    return [{"name": "source-patient", **to(source)}, {"name": "target-patient", **to(target)}]


def part(answer: Any, name: str) -> Any:
    """A resource of the answer."""
    return next(one["resource"] for one in answer.json()["parameter"] if one["name"] == name)


async def test_a_preview_changes_nothing_and_a_merge_does_what_it_said(door: Door) -> None:
    """The preview's result is the survivor's content; input and outcome come back; the merge
    can be undone, and its answer is sound R5.
    """
    source = await card(door, "A-1", telecom=[{"system": "phone", "value": "+998901112233"}])
    target = await card(door, "A-2")
    preview = await asked(door, *pair(source, target), {"name": "preview", "valueBoolean": True})
    between = (await door.registrar_client.get(f"/Patient/{source['id']}")).json()
    done = await asked(door, *pair(source, target), {
        "name": "reason", "valueString": "the same person came twice"})
    after = (await door.registrar_client.get(f"/Patient/{source['id']}")).json()
    row = (await merging.listed(door.gateway, door.registrar, target["id"]))[0][0]

    assert preview.status_code == done.status_code == 200, done.text
    assert between == source
    shown, stands = part(preview, "result"), part(done, "result")
    assert {**shown, "meta": 0} == {**stands, "meta": 0}
    assert {one["value"] for one in stands["identifier"]} == {"A-1", "A-2"}
    assert part(done, "input")["parameter"][0]["name"] == "source-patient"
    assert str(row.number) in part(done, "outcome")["issue"][0]["diagnostics"]
    assert row.reason == "the same person came twice"
    assert after["active"] is False
    assert after["link"][0]["type"] == "replaced-by"
    assert not [one for one in validate.validate(codec.decode(done.content, "Parameters"))
                if one.severity == "error"]
    await merging.undo(door.gateway, door.registrar, row.number, "they are two persons")
    again = (await door.registrar_client.get(f"/Patient/{source['id']}")).json()
    assert {**again, "meta": 0} == {**source, "meta": 0}


async def test_cards_are_named_by_their_numbers(door: Door) -> None:
    """Identifiers stand for a card; where they and the reference disagree nothing is done."""
    source, target = await card(door, "B-1"), await card(door, "B-2")
    numbers = [{"name": f"{side}-patient-identifier", "valueIdentifier": {
        "system": RED, "value": value}} for side, value in (("source", "B-1"), ("target", "B-2"))]
    crossed = await asked(door, *pair(target, source), *numbers)
    done = await asked(door, *numbers)
    nobody = await asked(door, numbers[1], {
        "name": "source-patient-identifier",
        "valueIdentifier": {"system": RED, "value": "B-none"}})

    assert crossed.status_code == 422, crossed.text
    assert done.status_code == 200, done.text
    assert part(done, "result")["id"] == target["id"]
    assert nobody.status_code == 404


async def test_the_caller_may_say_what_shall_stand(door: Door) -> None:
    """result-patient becomes the surviving card if it keeps every number and link; else it is
    refused with each thing that it lacks, and nothing is changed.
    """
    source = await card(door, "C-1", telecom=[{"system": "phone", "value": "+998901112244"}])
    target = await card(door, "C-2")
    preview = part(await asked(
        door, *pair(source, target), {"name": "preview", "valueBoolean": True}), "result")
    wished = {**preview, "telecom": [{"system": "phone", "value": "+998907778899"}]}
    bare = {**wished, "identifier": wished["identifier"][:1], "link": []}
    refused = await asked(door, *pair(source, target), {"name": "result-patient", "resource": {
        key: value for key, value in bare.items() if key != "link"}})
    done = await asked(door, *pair(source, target), {"name": "result-patient", "resource": wished})

    assert refused.status_code == 422
    assert len(refused.json()["issue"]) == 2
    assert done.status_code == 200, done.text
    assert part(done, "result")["telecom"] == wished["telecom"]


@pytest.mark.parametrize(("parameters", "status", "words"), [
    ([{"name": "preview", "valueBoolean": True}], 400, "source-patient"),
    ([{"name": "source-patient", "valueReference": {"reference": "Group/x"}}], 400, "Patient/[id]"),
    ([{"name": "other", "valueString": "x"}], 400, "takes no parameter"),
    ([{"name": "preview", "valueString": "x"}], 400, "valueBoolean"),
    ([{"name": side, "valueReference": {"reference": "Patient/000-00000000000000000000"}}
      for side in ("source-patient", "target-patient")], 404, "no Patient"),
    ([{"name": "target-patient", "valueReference": {"reference": "Patient/a"}}] * 2, 400, "often"),
])  # fmt: skip  # Refusals.
async def test_a_faulty_merge_is_refused_with_a_sentence(
    door: Door, parameters: list[dict[str, Any]], status: int, words: str
) -> None:
    """What is missing, misplaced or nowhere is named."""
    answer = await asked(door, *parameters)

    assert answer.status_code == status, answer.text
    assert words in answer.json()["issue"][0]["diagnostics"]


async def test_a_card_is_not_merged_twice_nor_into_itself(door: Door) -> None:
    """A repeated call finds the card merged and changes nothing; a card is not its own double."""
    source, target = await card(door, "D-1"), await card(door, "D-2")
    first = await asked(door, *pair(source, target))
    again = await asked(door, *pair(source, target))
    itself = await asked(door, *pair(target, target))

    assert first.status_code == 200, first.text
    assert again.status_code == itself.status_code == 422


async def test_other_roles_are_refused(door: Door) -> None:
    """Neither systems nor pharmacists merge cards."""
    source, target = await card(door, "E-1"), await card(door, "E-2")
    told = [(await asked(door, *pair(source, target), client=client)).status_code
            for client in (door.service, door.pharmacist)]

    assert told == [403, 403]


async def test_the_definition_is_stored_and_sound(door: Door) -> None:
    """The OperationDefinition is served under its id, is valid R5 and names every parameter."""
    await merge_door.define(door.gateway)
    stored = await door.registrar_client.get("/OperationDefinition/Patient-merge")
    faults = validate.validate(codec.decode(stored.content, "OperationDefinition"))

    assert stored.status_code == 200, stored.text
    assert not [one for one in faults if one.severity == "error"]
    named = {one["name"] for one in merge_wire.DEFINITION["parameter"]}
    assert named == {*merge_wire.PARAMETERS, "return"}
