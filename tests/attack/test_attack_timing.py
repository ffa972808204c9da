"""A record that is hidden answers in the same words and the same time as one that never was.

Time is compared pair by pair, in turns: in how many pairs was the hidden one slower? Chance gives
one half; a difference in the work done gives nearly all. The bounds lie five standard deviations
from one half. What one measurement tells is measured again: a busy machine slows one of the two
down now and then, a difference in the work is there each time.
"""

from __future__ import annotations

import statistics
import time

import httpx
import pytest
from attack_world import World

from dmed.apps.rooms import MODULES

PAIRS = 40
SLOWER_SHARE = (0.1, 0.9)
"""Forty fair coins: standard deviation 0.079."""
MEDIANS_RATIO_MAX = 2.0
MEASUREMENTS = 3
WAYS = {
    "read": "{type}/{id}",
    "version": "{type}/{id}/_history/1",
    "history": "{type}/{id}/_history",
    "search": "{type}?_id={id}",
    "total": "{type}?_id={id}&_summary=count",
    "chain": "Provenance?target={type}/{id}",
    "explain": "$explain-access?type={type}&id={id}&action=read",
}
TRIED = (("doctor", "Observation"), ("citizen", "Observation"), ("citizen", "Patient"))


async def _asked(
    client: httpx.AsyncClient, method: str, path: str, id_: str
) -> tuple[float, tuple[int, str]]:
    """Seconds, and the answer without the id that was asked for and what names the moment."""
    begun = time.perf_counter()
    answer = await client.request(method, f"/fhir/{path}")
    taken = time.perf_counter() - begun
    told = {key: value for key, value in answer.json().items()
            if key not in {"id", "meta", "timestamp"}}
    return taken, (answer.status_code, str(told).replace(id_, "ID"))


async def compared(
    client: httpx.AsyncClient, method: str, way: str, type_: str, hidden: str
) -> list[str]:
    """What gives the hidden record away: words at once, a time when every measurement tells it."""
    for _ in range(MEASUREMENTS):
        words, times = await _measured(client, method, way, type_, hidden)
        if words or not times:
            break
    return words + times


async def _measured(
    client: httpx.AsyncClient, method: str, way: str, type_: str, hidden: str
) -> tuple[list[str], list[str]]:
    never = hidden[:-6] + ("000000" if hidden[-6:] != "000000" else "111111")
    paths = [(each, way.format(type=type_, id=each)) for each in (hidden, never)]
    times: dict[str, list[float]] = {hidden: [], never: []}
    words: dict[str, set[tuple[int, str]]] = {hidden: set(), never: set()}
    for number in range(PAIRS + 2):
        for id_, path in paths if number % 2 else paths[::-1]:
            taken, said = await _asked(client, method, path, id_)
            words[id_].add(said)
            if number > 1:  # The first pairs warm caches.
                times[id_].append(taken)
    slower = statistics.mean(one > other for one, other in zip(*times.values(), strict=True))
    medians = [statistics.median(each) for each in times.values()]
    told = [] if words[hidden] == words[never] else [f"{way}: {words[hidden] ^ words[never]}"]
    late = []
    if not SLOWER_SHARE[0] <= slower <= SLOWER_SHARE[1] and (
            max(medians) > 1.1 * min(medians)):
        late.append(f"{way}: hidden slower in {slower:.0%} of pairs, medians {medians}")
    if max(medians) > MEDIANS_RATIO_MAX * min(medians):
        late.append(f"{way}: medians {medians}")
    return told, late


def _id_of(world: World, type_: str) -> str:
    return world.there if type_ == "Patient" else world.records[type_]


@pytest.mark.parametrize(("user", "type_"), TRIED)
async def test_time_and_words_tell_nothing(world: World, user: str, type_: str) -> None:
    """Read, version, history, search, total, chain and explanation, for a doctor and a citizen."""
    told: list[str] = []
    for way in WAYS.values():
        told += await compared(world.api[user], "GET", way, type_, _id_of(world, type_))

    assert told == []


async def test_operations_on_a_hidden_record_tell_nothing(world: World) -> None:
    """Every operation on a record that a stranger may try: same words, same time."""
    told: list[str] = []
    for module in MODULES:
        for operation in module.operations:
            if not operation.instance or operation.name == "break-glass":
                continue
            type_ = operation.type or "Observation"
            user = "citizen" if type_ == "Patient" else "doctor"
            if type_ in {"Patient", *world.records} and not operation.affects_state:
                way = "{type}/{id}/$" + operation.name
                told += await compared(
                    world.api[user], "GET", way, type_, _id_of(world, type_))

    assert told == []


async def test_a_strangers_totals_do_not_move(world: World) -> None:
    """Another hidden record changes neither a total nor an estimate that a stranger is told."""
    async def totals() -> list[object]:
        found: list[object] = []
        for user in ("doctor", "citizen"):
            for query in ("_summary=count", "_total=accurate&_count=1", "_total=estimate&_count=1",
                          f"subject=Patient/{world.there}&_summary=count"):
                answer = await world.api[user].get(f"/fhir/Flag?{query}")
                found.append((answer.status_code, answer.json().get("total")))
        return found

    before = await totals()
    for _ in range(3):
        made = await world.service.post("/fhir/Flag", json={
            "resourceType": "Flag", "status": "active", "code": {"text": "x"},
            "subject": {"reference": f"Patient/{world.there}"}})
        assert made.status_code == 201, made.text

    assert await totals() == before
