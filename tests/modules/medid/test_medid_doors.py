"""Whatever follows references answers for a merged card as for the card that stands."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from persons_door import Door, opened, person

from dmed.kit.errors import DmedError
from dmed.modules.medid.service import merging

RED = "https://red.example.uz/patients"
CARDS = 4
WHY = "the same person came twice"
_numbers = itertools.count(1)
Group = dict[str, Any]
SEARCHES = (
    "/Observation?subject=Patient/{}", "/Observation?patient={}", "/Observation?subject={}",
    "/Observation?performer=Patient/{}", "/Observation?subject:Patient={}",
    "/Observation?_filter=performer eq Patient/{}", "/Observation?subject:Patient._id={}",
    "/?_type=Observation,DiagnosticReport&performer=Patient/{}", "/Patient/{}/Observation",
    "/Patient?_id={}&_revinclude=Observation:subject",
    "/Patient?_id={}&_revinclude=Observation:performer:Patient", "/Patient?_id={}&_revinclude=*",
    "/DiagnosticReport?result.performer=Patient/{}&_include=DiagnosticReport:result",
    "/DiagnosticReport?_filter=result.subject eq Patient/{}&_include=DiagnosticReport:result",
)  # fmt: skip  # A list of doors; `{}` is a card.


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Door]:
    """The door of an installation in which cards were merged before."""
    async for made in opened(module_database_url, tmp_path_factory.mktemp("doors")):
        one, other = await card(made), await card(made)
        await merging.merge(made.gateway, made.registrar, one["id"], other["id"], WHY)
        # A worker asks at most once a second whether cards were merged at all.
        await asyncio.sleep(1.05)
        yield made


async def card(door: Door) -> dict[str, Any]:
    """A new card with a number of its own, as it is stored."""
    number = f"N-{next(_numbers)}"
    answer = await door.registrar_client.post("/Patient", json=person(
        "Birlashev", "Sinov", "", "1980-01-01", "male",
        identifier=[{"system": RED, "value": number}]))
    assert answer.status_code == 201, answer.text
    return {"number": number, **answer.json()}


def observation(patient: str, number: str) -> dict[str, Any]:
    """What is measured of a person, by himself."""
    return {
        "resourceType": "Observation", "status": "final", "code": {"text": "weight"},
        "identifier": [{"system": "urn:o", "value": number}],
        "subject": {"reference": patient},
        "performer": [{"reference": patient}]}


async def measured(door: Door, one: dict[str, Any]) -> dict[str, Any]:
    """An Observation of a card and a report of it."""
    made = await door.service.post("/Observation", json=observation(
        f"Patient/{one['id']}", one["number"]))
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    report = await door.service.post("/DiagnosticReport", json={
        "resourceType": "DiagnosticReport", "status": "final", "code": {"text": "report"},
        "result": [{"reference": f"Observation/{found['id']}"}]})
    assert report.status_code == 201, report.text
    return found


async def observed(door: Door, asked: str) -> set[str]:
    """Ids of the Observations that a search brings, in whatever way."""
    answer = await door.service.get(asked)
    assert answer.status_code == 200, answer.text
    return {one["resource"]["id"] for one in answer.json().get("entry", [])
            if one["resource"]["resourceType"] == "Observation"}


class Model:
    """Which cards stand for which, by the merges and undoings that were done."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self.standing: list[tuple[int, str, str]] = []

    def root(self, one: str) -> str:
        """The card that stands for this one."""
        into = next((target for _, source, target in self.standing if source == one), "")
        return self.root(into) if into else one

    def group(self, one: str) -> list[str]:
        """All cards of the person."""
        return [each for each in self.ids if self.root(each) == self.root(one)]

    async def act(self, door: Door, what: str, first: int, second: int) -> None:
        """One merge or undoing; what may not be is left out."""
        if what == "undo" and self.standing:
            number, _, _ = self.standing.pop(first % len(self.standing))
            await merging.undo(door.gateway, door.registrar, number, WHY)
        elif what == "merge":
            source, target = self.ids[first], self.ids[second]
            try:
                number = await merging.merge(door.gateway, door.registrar, source, target, WHY)
            except DmedError:
                return
            self.standing.append((number, source, target))


acts = st.lists(st.tuples(st.sampled_from(["merge", "merge", "merge", "undo"]),
                          st.integers(0, CARDS - 1), st.integers(0, CARDS - 1)),
                min_size=3, max_size=7)
# A failing example tells enough as it is: to shorten one takes minutes of a real database.
RANDOM = settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate],
                  suppress_health_check=[HealthCheck.function_scoped_fixture])


@RANDOM
@given(acts)
async def test_every_door_answers_for_the_person(
    door: Door, told: list[tuple[str, int, int]]
) -> None:
    """Merges and undoings in random order: searches by whatever reference, chains, `_filter`,
    searches of several types, compartments, reverse includes, conditional creates, updates and
    references, and reads inside of a transaction find by each card what was written to any.
    """
    people = [await card(door) for _ in range(CARDS)]
    model = Model([one["id"] for one in people])
    numbers = {one["id"]: one["number"] for one in people}
    records = {one["id"]: (await measured(door, one))["id"] for one in people}
    for act in told:
        await model.act(door, *act)

    for one in model.ids:
        expected = {records[each] for each in model.group(one)}
        for asked in SEARCHES:
            assert await observed(door, asked.format(one)) == expected, asked
        inside = await door.service.post("/", json={
            "resourceType": "Bundle", "type": "transaction", "entry": [
                {"request": {"method": "GET", "url": f"Observation?performer=Patient/{one}"}}]})
        found = inside.json()["entry"][0]["resource"]
        assert {each["resource"]["id"] for each in found["entry"]} == expected
        for each in model.group(one):
            await _conditionals(door, one, records[each], numbers[each])
        await _same_person(door, numbers[one], model.root(one))


async def _conditionals(door: Door, asked: str, record: str, number: str) -> None:
    """Criteria that name one card find the record that was written to another."""
    criteria = f"subject=Patient/{asked}&identifier=urn:o|{number}"
    body = observation(f"Patient/{asked}", number)
    made = await door.service.post(
        "/Observation", json=body, headers={"If-None-Exist": criteria})
    put = await door.service.put(f"/Observation?{criteria}", json=body)

    assert (made.status_code, put.status_code) == (200, 200), (made.text, put.text)
    assert (made.json()["id"], put.json()["id"]) == (record, record)


async def _same_person(door: Door, number: str, root: str) -> None:
    """A number of any of his cards is the person's: the card that stands is found by it."""
    criteria = f"identifier={RED}|{number}"
    made = await door.registrar_client.post(
        "/Patient", json=person("Birlashev", "Sinov"), headers={"If-None-Exist": criteria})
    written = await door.service.post("/", json={
        "resourceType": "Bundle", "type": "transaction", "entry": [{
            "resource": {"resourceType": "Basic", "code": {"text": "note"},
                         "subject": {"reference": f"Patient?{criteria}"}},
            "request": {"method": "POST", "url": "Basic"}}]},
        headers={"Prefer": "return=representation"})

    assert made.status_code == 200, made.text
    assert made.json()["id"] == root
    assert written.status_code == 200, written.text
    subject = written.json()["entry"][0]["resource"]["subject"]["reference"]
    assert subject == f"Patient/{root}"


async def test_one_record_is_made_by_whichever_card_is_asked(door: Door) -> None:
    """Sixteen conditional creates at once that name one person by two cards make one record."""
    one, other = await card(door), await card(door)
    await merging.merge(door.gateway, door.registrar, one["id"], other["id"], WHY)

    async def post(patient: str) -> int:
        body = observation(f"Patient/{patient}", one["number"])
        answer = await door.service.post("/Observation", json=body, headers={
            "If-None-Exist": f"subject=Patient/{patient}&identifier=urn:o|{one['number']}"})
        return answer.status_code

    codes = await asyncio.gather(*(post(each["id"]) for each in (one, other) * 8))

    assert sorted(codes) == [200] * 15 + [201]
    assert len(await observed(door, f"/Observation?identifier=urn:o|{one['number']}")) == 1


async def test_a_card_is_not_deleted_for_one_merged_into_it(door: Door) -> None:
    """A conditional delete by a number that both cards carry is refused, and both stay."""
    one, other = await card(door), await card(door)
    await merging.merge(door.gateway, door.registrar, one["id"], other["id"], WHY)
    gone = await door.service.delete(f"/Patient?identifier={RED}|{one['number']}")

    assert gone.status_code in (403, 405, 412), gone.text
    for each in (one, other):
        assert (await door.registrar_client.get(f"/Patient/{each['id']}")).status_code == 200


async def test_pages_of_a_person_lead_on(door: Door) -> None:
    """A search by one card of three, one record a page, brings each card's record once; its links
    say what was asked, not the person's other cards.
    """
    people = [await card(door) for _ in range(3)]
    records = [(await measured(door, one))["id"] for one in people]
    for one in people[1:]:
        await merging.merge(door.gateway, door.registrar, one["id"], people[0]["id"], WHY)
    asked, found = f"/Observation?performer=Patient/{people[2]['id']}&_count=1", []
    while asked:
        page = (await door.service.get(asked)).json()
        found += [one["resource"]["id"] for one in page["entry"]]
        links = {one["relation"]: one["url"] for one in page["link"]}
        assert people[0]["id"] not in links["self"]
        asked = links.get("next", "")

    assert sorted(found) == sorted(records)
