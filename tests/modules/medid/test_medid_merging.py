"""Merging and undoing on a real database: any order restores, a merged card answers, no tearing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmed.kit import clock
from dmed.kit.errors import ConflictError, DmedError, NotFoundError, UnprocessableError
from dmed.modules.medid import api, rules
from dmed.modules.medid.rules import merging as pure
from dmed.modules.medid.service import merging

CARDS = 5
WHY = "the same person came twice"


def card(number: int, **changes: Any) -> dict[str, Any]:
    """One of several cards of a person, each with something the others lack."""
    med_id = rules.new_med_id(int(clock.now().timestamp() * 1_000_000) % 10**11 * 10 + number)
    made = {
        "resourceType": "Patient",
        "identifier": [
            {"use": "official", "system": rules.MED_ID_SYSTEM, "value": med_id},
            *([{"use": "official", "system": "https://dhp.uz/fhir/core/sid/pid/uz/dl",
                "value": f"DL{med_id}"}] if number % 2 else [])],
        "name": [{"use": "official", "family": f"Birlashev{'a' * (number % 3)}",
                  "given": ["Sinov"], "text": f"Birlashev{'a' * (number % 3)} Sinov"}],
        "telecom": [{"system": "phone", "value": f"+99890000000{number % 2}"}],
        "address": [{"use": "home", "text": f"{number % 3}-uy"}],
    }
    if number % 3:
        made["active"] = True
    if number % 2:
        made |= {"birthDate": "1980-01-01", "gender": "male"}
    if number == 4:
        made["deceasedBoolean"] = False
    return made | changes


async def make(village: Any, *cards: dict[str, Any]) -> list[str]:
    """The ids of cards newly made."""
    return [(await village.gateway.create(village.registrar, "Patient", one)).id for one in cards]


async def body(village: Any, patient: str) -> bytes:
    """The canonical body without its version stamps."""
    stored = await village.gateway.read(village.registrar, "Patient", patient)
    found = msgspec.json.decode(stored.body)
    # Cut from the bytes, not from a decoded copy: what is compared is what is stored.
    vid, moment = found["meta"]["versionId"], found["meta"]["lastUpdated"]
    return stored.body.replace(vid.encode(), b"-").replace(moment.encode(), b"-")


async def merge(village: Any, source: str, target: str) -> int:
    """A merge by the registrar."""
    return await merging.merge(village.gateway, village.registrar, source, target, WHY)


async def undo(village: Any, number: int) -> None:
    """Its undoing by the registrar."""
    await merging.undo(village.gateway, village.registrar, number, WHY)


acts = st.lists(
    st.one_of(
        st.tuples(st.just("merge"), st.integers(0, CARDS - 1), st.integers(0, CARDS - 1)),
        st.tuples(st.just("undo"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, CARDS - 1), st.integers(0, 9))),
    min_size=3, max_size=10)


class Model:
    """What must be: each card's own content, and the standing merges in their order."""

    def __init__(self, ids: list[str], own: dict[str, dict[str, Any]]) -> None:
        self.ids, self.own = ids, own
        self.standing: list[tuple[int, str, str]] = []

    def into(self, patient: str) -> str:
        """The card into which this one was merged, or ""."""
        return next((target for _, source, target in self.standing if source == patient), "")

    def root(self, patient: str) -> str:
        """The card that stands for this one."""
        return self.root(self.into(patient)) if self.into(patient) else patient

    def expected(self, patient: str) -> dict[str, Any]:
        """The card replayed from nothing but its own content and what stands."""
        sources = [self.expected(source) for _, source, target in self.standing
                   if target == patient]
        made, _ = pure.compose(self.own[patient], sources)
        return pure.retire(made, self.into(patient))[0] if self.into(patient) else made


def without_meta(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its stamps."""
    return {key: value for key, value in record.items() if key != "meta"}


async def step(village: Any, model: Model, act: tuple[str, int, int]) -> None:
    """One act on the database and in the model; what may not be is refused by both."""
    what, first, second = act
    if what == "merge":
        source, target = model.ids[first], model.ids[second]
        if source == target or model.into(source) or model.into(target):
            with pytest.raises(UnprocessableError):
                await merge(village, source, target)
        else:
            model.standing.append((await merge(village, source, target), source, target))
    elif what == "undo" and model.standing:
        number, source, target = model.standing.pop(first % len(model.standing))
        await undo(village, number)
        with pytest.raises(ConflictError):
            await undo(village, number)
    elif what == "write":
        # A card that stands is corrected between merges: its own content, which must survive.
        patient = model.ids[first]
        if not model.into(patient):
            phone = {"system": "email", "value": f"{patient[:6]}.{second}@example.org"}
            found = await village.gateway.get(village.registrar, "Patient", patient)
            if phone not in found["telecom"]:
                found["telecom"].append(phone)
                await village.gateway.update(village.registrar, "Patient", patient, found)
                model.own[patient]["telecom"].append(phone)


@settings(max_examples=12, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts)
async def test_any_order_of_merges_and_undoings_restores(
    village: Any, told: list[tuple[str, int, int]]
) -> None:
    """Chains of merges, undoings and corrections in random order: at every step each card is what
    its own content and the standing merges make; when all are undone, the bytes of untouched cards
    are the first ones.
    """
    ids = await make(village, *(card(number) for number in range(CARDS)))
    first = {one: await body(village, one) for one in ids}
    own = {one: without_meta(await village.gateway.get(village.registrar, "Patient", one))
           for one in ids}
    before = {one: without_meta(record) for one, record in own.items()}
    model = Model(ids, own)
    untouched = {ids[number] for number in range(CARDS)} - {
        ids[number] for what, number, _ in told if what == "write"}
    for act in told:
        await step(village, model, act)
        for one in ids:
            found = await village.gateway.get(village.registrar, "Patient", one)
            expected = model.expected(one)
            assert sorted(without_meta(found)) == sorted(expected)
            for element, value in expected.items():
                if isinstance(value, list):
                    key = msgspec.json.encode
                    assert sorted(map(key, found[element])) == sorted(map(key, value))
                else:
                    assert found[element] == value
            cards = await merging.cards_of(village.gateway, village.registrar, one)
            assert set(cards) == {other for other in ids if model.root(other) == model.root(one)}
            assert cards[0] == model.root(one)
    while model.standing:
        await step(village, model, ("undo", len(told), 0))
    for one in ids:
        if one in untouched:
            assert await body(village, one) == first[one]
            assert without_meta(
                await village.gateway.get(village.registrar, "Patient", one)) == before[one]


async def test_the_survivor_takes_over_what_it_lacks(village: Any) -> None:
    """Numbers, former names and phones come over; a second MED-ID comes as a former one."""
    one, other = await make(village, card(1), card(2))
    await merge(village, one, other)
    found = await village.gateway.get(village.registrar, "Patient", other)
    uses = {(item["system"].rsplit("/", 1)[1], item["use"]) for item in found["identifier"]}

    assert uses == {("hc", "official"), ("hc", "old"), ("dl", "official")}
    assert [name["use"] for name in found["name"]] == ["official", "old"]
    assert found["birthDate"] == "1980-01-01"
    assert {"other": {"reference": f"Patient/{one}"}, "type": "replaces"} in found["link"]


async def test_a_merged_card_answers(village: Any) -> None:
    """Read by its id it says what replaced it; its number finds both, the survivor first."""
    one, other = await make(village, card(1), card(2))
    number = (await village.gateway.get(village.registrar, "Patient", one))["identifier"][0]
    await merge(village, one, other)
    found = await village.gateway.get(village.registrar, "Patient", one)
    hits = await api.find(village.gateway, village.registrar, number["value"], 10)

    assert found["active"] is False
    assert pure.replaced_by(found) == other
    assert next(hit.id for hit in hits if hit.active) == other
    assert await api.survivor(village.gateway, village.registrar, one) == other


async def test_what_may_not_be_merged_is_refused_with_every_reason(village: Any) -> None:
    """Two national numbers are two persons; a merged card is not merged again; a reason is due."""
    pinfl = [api.compose_pinfl(clock.today().replace(year=1980), "male", 700, number)
             for number in (1, 2)]
    cards = [card(number, identifier=[{"use": "official", "system": rules.PINFL_SYSTEM,
                                       "value": value}]) for number, value in enumerate(pinfl)]
    one, other = await make(village, *cards)
    with pytest.raises(UnprocessableError) as refused:
        await merging.merge(village.gateway, village.registrar, one, other, "-")

    assert {issue.expression for issue in refused.value.issues} == {"pinfl", "reason"}
    with pytest.raises(NotFoundError):
        await merge(village, one, "000-00000000000000000000")


async def test_concurrent_merges_do_not_tear(village: Any) -> None:
    """Eight at once, in circles and crossing: each either stands whole or is refused; links,
    activity and the ledger agree; undone again, all cards are as before.
    """
    ids = await make(village, *(card(number) for number in range(4)))
    first = [await body(village, one) for one in ids]
    pairs = [(0, 1), (1, 0), (1, 2), (2, 3), (3, 0), (0, 2), (2, 1), (3, 1)]
    done = await asyncio.gather(
        *(merge(village, ids[a], ids[b]) for a, b in pairs), return_exceptions=True)
    assert all(isinstance(one, int | DmedError) for one in done), done
    numbers = [one for one in done if isinstance(one, int)]
    assert numbers
    roots = []
    for one in ids:
        found = await village.gateway.get(village.registrar, "Patient", one)
        assert (found.get("active") is False) == bool(pure.replaced_by(found))
        if not pure.replaced_by(found):
            roots.append(one)
    assert len(roots) == len(ids) - len(numbers)
    undone = await asyncio.gather(*(undo(village, one) for one in numbers),
                                  return_exceptions=True)
    for number, result in zip(numbers, undone, strict=True):
        if isinstance(result, ConflictError):
            await undo(village, number)
        else:
            assert result is None

    assert [await body(village, one) for one in ids] == first


async def test_the_preview_says_what_will_move(village: Any) -> None:
    """What the survivor takes over is named before; nothing is written by looking."""
    one, other = await make(village, card(1), card(2))
    before = await body(village, other)
    shown = await merging.preview(village.gateway, village.registrar, one, other)

    assert {element for element, _ in shown.brought} == {
        "identifier", "name", "telecom", "address", "birthDate", "gender"}
    assert shown.findings == []
    assert await body(village, other) == before


async def test_care_with_one_card_opens_the_records_of_all(village: Any) -> None:
    """A doctor who treats the survivor sees what was written to the other card, until undone."""
    doctor = village.doctor
    mine = card(2, managingOrganization={"reference": f"Organization/{doctor.organisation}"})
    one, other = await make(village, card(1), mine)
    strange = msgspec.structs.replace(village.registrar, organisation="elsewhere")
    theirs = (await village.gateway.create(strange, "Patient", card(3))).id
    assert not await village.gateway.plain().is_in_care(doctor, theirs)
    number = await merge(village, theirs, other)

    assert await village.gateway.plain().is_in_care(doctor, theirs)
    await undo(village, number)
    assert not await village.gateway.plain().is_in_care(doctor, theirs)
    assert one


@pytest.mark.parametrize("asked", ["Patient/{}", "{}"])
async def test_a_search_for_one_card_brings_the_records_of_all(village: Any, asked: str) -> None:
    """What was written to the other card is found by either id, in search and in the compartment;
    after the undoing each card has its own again; nothing was rewritten.
    """
    gateway, who = village.gateway, village.registrar
    one, other = await make(village, card(1), card(2))
    made = [(await gateway.create(who, "RelatedPerson", {
        "resourceType": "RelatedPerson", "patient": {"reference": f"Patient/{person}"}})).id
        for person in (one, other)]
    bodies = [(await gateway.read(who, "RelatedPerson", each)).body for each in made]

    async def found(person: str) -> set[str]:
        pairs = [("patient", asked.format(person))]
        _, page = await gateway.search(who, "RelatedPerson", pairs)
        _, inside = await gateway.search(who, "RelatedPerson", [], patient=person)
        ids = {hit.record.id for hit in page.hits}
        assert {hit.record.id for hit in inside.hits} == ids
        return ids

    number = await merge(village, one, other)
    # A worker asks at most once a second whether cards were merged at all.
    await asyncio.sleep(1.05)
    assert await found(one) == set(made)
    assert await found(other) == set(made)
    await undo(village, number)

    assert [await found(one), await found(other)] == [{made[0]}, {made[1]}]
    assert [(await gateway.read(who, "RelatedPerson", each)).body for each in made] == bodies
