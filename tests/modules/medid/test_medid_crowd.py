"""64 registrations of one person at the same moment leave one card, with a PINFL or without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from itertools import count

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from persons_door import MIS, PINFL, Door, opened, person

from dmed.kit.errors import ConflictError
from dmed.modules.medid import api

MANY = 64
WAYS = (
    ("Tursunov", "Jasur"), ("Турсунов", "Жасур"), ("tursunov", "jasur"), ("Jasur", "Tursunov"),
    ("Tursunova", "Jasur"),
)
"""How registrars may write one person."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Door]:
    """The door, with connections for many at once."""
    async for made in opened(module_database_url, tmp_path_factory.mktemp("crowd"), pool_size=16):
        yield made


async def crowd(door: Door, drafts: list[api.Draft]) -> tuple[list[str], list[BaseException]]:
    """Ids of the cards that were made, and what the others were told."""
    done = await asyncio.gather(
        *(api.register(door.gateway, door.registrar, one) for one in drafts),
        return_exceptions=True)
    return ([one for one in done if isinstance(one, str)],
            [one for one in done if isinstance(one, BaseException)])


async def test_without_a_pinfl_one_card_is_left(door: Door) -> None:
    """Written in five ways, in one moment: one is registered, the others are shown that card."""
    drafts = [
        api.Draft(family=family, given=name, birth_date="1991-03-04", sex="male")
        for family, name in (WAYS[at % len(WAYS)] for at in range(MANY))]
    made, told = await crowd(door, drafts)
    kept = await door.database.hot.fetchval("SELECT count(*) FROM person WHERE born = $1", (
        date(1991, 3, 4) - date(1799, 12, 31)).days)

    assert len(made) == 1
    assert kept == 1
    assert len(told) == MANY - 1
    assert all(isinstance(one, ConflictError) for one in told)
    shown = [one for one in told if isinstance(one, api.NearMatchesError)]
    assert shown
    assert {one.matches[0].hit.id for one in shown} == set(made)


async def test_with_a_pinfl_one_card_is_left(door: Door) -> None:
    """The same with the number on all of them."""
    pinfl = api.compose_pinfl(date(1985, 5, 6), "female", 204, 33)
    drafts = [
        api.Draft(family=family, given="Malika", birth_date="1985-05-06", sex="female",
                  pinfl=pinfl) for family in ("Sodiqova", "Садыкова") * (MANY // 2)]
    made, told = await crowd(door, drafts)

    assert len(made) == 1
    assert all(isinstance(one, ConflictError) for one in told)


async def test_feeds_of_one_person_leave_one_card(door: Door) -> None:
    """64 systems put the same person by its number at once: one is created, the rest revise it
    or are told to come again.
    """
    one = person("Feedov", "Oqim", "", "1970-07-07", "male")
    one["identifier"] = [{"system": MIS, "value": "F-1"}]
    done = await asyncio.gather(*(
        door.service.put(f"/Patient?identifier={MIS}|F-1", json=one) for _ in range(MANY)))
    statuses = [answer.status_code for answer in done]
    found = await door.service.get("/Patient", params={"identifier": f"{MIS}|F-1"})

    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409, 503}
    assert found.json()["total"] == 1


async def test_plain_creates_of_one_pinfl_leave_one_card(door: Door) -> None:
    """POST by 64 systems: the identity claim lets one in; the others get 409 and its number."""
    pinfl = api.compose_pinfl(date(1979, 8, 9), "male", 204, 44)
    one = person("Postov", "Yangi", "", "1979-08-09", "male", pinfl=pinfl)
    done = await asyncio.gather(*(
        door.service.post("/Patient", json=one) for _ in range(MANY)))
    statuses = [answer.status_code for answer in done]
    found = await door.service.get("/Patient", params={"identifier": f"{PINFL}|{pinfl}"})

    assert sorted(set(statuses)) == [201, 409]
    assert statuses.count(201) == 1
    assert found.json()["total"] == 1


_days = count(date(1940, 1, 1).toordinal(), 797)


@settings(max_examples=6, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, len(WAYS) - 1), min_size=2, max_size=12))
async def test_whoever_comes_first_is_the_only_one(door: Door, order: list[int]) -> None:
    """Of any crowd of spellings exactly one is registered."""
    day = date.fromordinal(next(_days)).isoformat()
    drafts = [api.Draft(family=WAYS[at][0], given=WAYS[at][1], birth_date=day, sex="male")
              for at in order]
    made, told = await crowd(door, drafts)

    assert len(made) == 1
    assert all(isinstance(one, ConflictError) for one in told)
