"""The screen of claims to the fund: for administrators and inspectors, in three languages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import httpx
import pytest
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.kit import clock
from dmed.modules.insurance import tables
from dmed.modules.insurance.model import Difference, Kind
from dmed.modules.insurance.service import PLATFORM, keep
from dmed.trust.identity import DEMO_PASSWORDS


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(open_platform: Callable[..., Awaitable[Platform]]) -> Platform:
    """Demo accounts, one claim and one difference."""
    made = await open_platform()
    await made.guard.identity.save_demo()
    async with made.gateway.unit(PLATFORM) as unit:
        await tables.add(unit, "1726-1", "1726", 1, "record", "pharmacy", Decimal(9))
        await tables.keep_differences(unit, clock.today(), [Difference(
            day=clock.today(), key="1726-1", kind=Kind.AMOUNT, ours="9", theirs="8")])
    return made


@asynccontextmanager
async def browser(
    platform: Platform, user: str, language: str = "en"
) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=platform),  # type: ignore[arg-type]  # A mapping.
        base_url="http://test", cookies={"dmed_language": language},
    ) as made:
        answer = await made.post("/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
        assert answer.status_code == 303
        yield made


@pytest.mark.parametrize(("language", "said"), [
    ("en", "another amount"), ("ru", "другая сумма"), ("uz", "summa boshqa")])
async def test_claims_and_differences_are_shown(
    platform: Platform, language: str, said: str
) -> None:
    """What differs stands there in words."""
    async with browser(platform, "admin", language) as admin:
        page = await admin.get("/insurance")

    assert page.status_code == 200
    assert said in page.text
    assert "1726-1" in page.text


async def test_a_difference_is_settled_once(platform: Platform) -> None:
    """Settled it goes from the list; a second time there is none; nonsense is refused."""
    async with browser(platform, "inspector") as inspector:
        page = (await inspector.get("/insurance")).text
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None
        fields = {"csrf_token": token.group(1), "day": f"{clock.today()}", "key": "1726-1",
                  "kind": "amount"}
        answers = [(await inspector.post("/insurance", data=each)).status_code for each in (
            fields | {"day": "yesterday"}, fields, fields)]

    assert answers == [400, 303, 404]


async def test_others_see_no_claims(platform: Platform) -> None:
    """Neither a doctor nor a pharmacist opens the screen."""
    for user in ("doctor", "pharmacist", "head", "citizen"):
        async with browser(platform, user) as one:
            assert (await one.get("/insurance")).status_code in {403, 404}, user


async def test_without_a_fund_nothing_happens(platform: Platform) -> None:
    """The job of an installation without a fund sends nothing and fails at nothing."""
    await keep(platform.gateway)
    async with platform.gateway.unit(PLATFORM) as unit:
        assert await tables.states(unit) == {"waiting": 1}
