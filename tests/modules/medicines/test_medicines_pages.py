"""The pages of the register over HTTP: search, deliveries, versions, products, links, rights."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest
import pytest_asyncio

from dmed.apps.sim_darmon import Feed, Server
from dmed.apps.web import Platform
from dmed.modules.medicines import tables
from dmed.modules.medicines.service import feeding, force
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS

PACKS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A simulated register of a few packs."""
    made = Server(Feed(PACKS))
    made.start()
    yield made
    made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]], server: Server
) -> AsyncIterator[Platform]:
    """One worker with the demo accounts, told of the feed."""
    made = await open_platform(medicine_feed=server.url)
    for account in DEMO_ACCOUNTS:
        await made.guard.identity.save(account, DEMO_PASSWORDS[account.user])
    yield made
    force.use(None)


class Reader(httpx.AsyncClient):
    """A browser that is signed in."""

    def __init__(self, platform: Platform, language: str = "en") -> None:
        super().__init__(
            transport=httpx.ASGITransport(app=platform),  # type: ignore[arg-type]  # A mapping.
            base_url="http://test", cookies={"dmed_language": language})

    async def enter(self, user: str) -> None:
        """Signs in."""
        answer = await self.post(
            "/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
        assert answer.status_code == 303, answer.text

    async def submit(self, path: str, shown: str, **fields: str) -> httpx.Response:
        """Sends a form that stands on a page."""
        page = (await self.get(shown)).text
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found is not None
        return await self.post(path, data={"csrf_token": found.group(1), **fields})


async def test_a_keeper_takes_a_delivery_in_and_sees_what_it_changed(
    platform: Platform, server: Server
) -> None:
    """From the register without a feed's word to its first version, its product and its diff; then
    a shrunken delivery is held, looked at and refused.
    """
    async with Reader(platform) as keeper:
        await keeper.enter("admin")
        assert "darmon" not in (await keeper.get("/register")).text
        asked = await keeper.submit("/register/fetch", "/register")
        assert asked.headers["location"] == "/register?done=published"
        page = (await keeper.get("/register?done=published")).text
        assert "A new version is published" in page
        assert f"{PACKS} products" in page

        async with platform.gateway.unit(feeding.PLATFORM) as unit:
            number = (await tables.versions(unit))[0].number
        found = (await keeper.get("/register?q=парацетамол")).text
        assert "Paracetamol" in found or "No such medicine" in found
        key = force.catalogue().by_gtin[next(iter(force.catalogue().by_gtin))].key
        product = (await keeper.get(f"/register/product/{key}")).text
        assert "in force" in product
        assert "A sample" in product
        version = (await keeper.get(f"/register/version/{number}")).text
        assert version.count("added") >= PACKS

        server.feed.mode = "shrunken"
        server.feed.next_day()
        await keeper.submit("/register/fetch", "/register")
        async with platform.gateway.unit(feeding.PLATFORM) as unit:
            held = (await tables.deliveries(unit, 1))[0].number
        shown = (await keeper.get(f"/register/delivery/{held}")).text
        assert "too much would be withdrawn" in shown
        wrong = await keeper.submit(
            f"/register/delivery/{held}", f"/register/delivery/{held}", word="perhaps")
        assert wrong.status_code == 400
        await keeper.submit(
            f"/register/delivery/{held}", f"/register/delivery/{held}", word="refuse")
        assert "refused" in (await keeper.get(f"/register/delivery/{held}")).text
        server.feed.mode = ""


async def test_a_substance_is_linked_on_its_page(platform: Platform, server: Server) -> None:
    """A substance that no INN is waits on the page; a keeper links it by the INN's name."""
    server.feed.as_of = server.feed.as_of.replace(year=2027)
    key = next(iter(server.feed.rows))
    server.feed.rows[key] = server.feed.rows[key] | {"inn": "Zzz novum"}
    server.feed.touched[key] = server.feed.as_of
    async with Reader(platform) as keeper:
        await keeper.enter("admin")
        await keeper.submit("/register/fetch", "/register")
        assert "Zzz novum" in (await keeper.get("/register/links")).text
        wrong = await keeper.submit(
            "/register/links", "/register/links", name="Zzz novum", inn="no such inn")
        assert wrong.status_code == 400
        await keeper.submit(
            "/register/links", "/register/links", name="Zzz novum", inn="амоксициллин")
        assert "Zzz novum" not in (await keeper.get("/register/links")).text


@pytest.mark.parametrize("language", ["uz", "uz-Cyrl", "ru", "en"])
async def test_every_screen_speaks_the_language_whole(platform: Platform, language: str) -> None:
    """No screen shows a key instead of a text."""
    async with Reader(platform, language) as keeper:
        await keeper.enter("admin")
        async with platform.gateway.unit(feeding.PLATFORM) as unit:
            deliveries = await tables.deliveries(unit)
        paths = ["/register", "/register?q=am", "/register/links", "/register/product/nm-00001",
                 *(f"/register/delivery/{one.number}" for one in deliveries)]
        for path in paths:
            answer = await keeper.get(path)
            assert answer.status_code == 200, path
            assert not re.findall(r"medicines\.\w+(?:\.[\w-]+)?", re.sub(
                r'(?:href|src|hx-get)="[^"]*"', "", answer.text)), path


async def test_only_who_keeps_the_register_sees_and_changes_it(platform: Platform) -> None:
    """A doctor sees a product, no feeds; an inspector sees them and changes nothing."""
    async with Reader(platform) as doctor:
        await doctor.enter("doctor")
        assert (await doctor.get("/register/product/nm-00001")).status_code == 200
        assert (await doctor.get("/register")).status_code == 403
    async with Reader(platform) as inspector:
        await inspector.enter("inspector")
        assert (await inspector.get("/register")).status_code == 200
        assert (await inspector.post("/register/fetch")).status_code == 403


@pytest.mark.parametrize("path", ["/register/product/nonsense", "/register/version/99999",
                                  "/register/delivery/99999"])
async def test_what_is_not_there_is_not_found(platform: Platform, path: str) -> None:
    """An unknown product, version or delivery is a plain 404."""
    async with Reader(platform) as keeper:
        await keeper.enter("admin")
        assert (await keeper.get(path)).status_code == 404
