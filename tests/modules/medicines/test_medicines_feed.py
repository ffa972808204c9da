"""The feed of the national register against its simulator: good days and bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
import pytest_asyncio

from dmed.apps.sim_darmon import Feed, Server
from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.kit.settings import Settings
from dmed.modules.medicines import MODULE, api, tables
from dmed.modules.medicines.model import Delivery, Head, Page, State
from dmed.modules.medicines.service import feeding, force, records
from dmed.modules.medicines.service.sources import Darmon
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject
from dmed.trust.tables import DDL

PACKS = 300
SHRUNKEN_BY = 120
KEEPER = Subject(user="admin", role=Role.ADMINISTRATOR, name="Admin")
DOCTOR = Subject(user="doctor", role=Role.DOCTOR, name="Doctor")


@pytest_asyncio.fixture(scope="module")
async def door(module_database_url: str) -> AsyncIterator[Gateway]:
    """The door of an installation of this file."""
    await migrate(module_database_url, (*DDL, *MODULE.ddl))
    db = await Database.open(module_database_url, Settings())
    yield Gateway(db, Settings())
    await db.close()


@pytest_asyncio.fixture
async def gateway(door: Gateway) -> AsyncIterator[Gateway]:
    """The same door, its register empty before and forgotten afterwards."""
    async with door.unit(feeding.PLATFORM) as unit:
        for name in ("feed", "delivery", "stage", "quarantine", "version", "entry", "link",
                     "recorded"):
            await unit.execute(f"delete from medicine_{name}")
    yield door
    force.use(None)


@pytest.fixture
def server() -> Iterator[Server]:
    """A simulated register of 700 packs over HTTP."""
    made = Server(Feed(PACKS))
    made.start()
    yield made
    made.stop()


async def _taken(gateway: Gateway, server: Server) -> Delivery | None:
    return await feeding.take(gateway, Darmon(server.url))


async def _first(gateway: Gateway, server: Server) -> None:
    done = await _taken(gateway, server)
    assert done is not None
    assert done.state is State.PUBLISHED
    assert await feeding.refresh(gateway) == done.version


async def _last(gateway: Gateway) -> Delivery:
    async with gateway.unit(feeding.PLATFORM) as unit:
        return (await tables.deliveries(unit, 1))[0]


async def test_a_full_delivery_is_published_and_deltas_follow(
    gateway: Gateway, server: Server
) -> None:
    """The first delivery is full and becomes the register in force; the next day comes as a delta
    of its changes; nothing new is not fetched.
    """
    await _first(gateway, server)
    assert len(api.all_products()) == PACKS
    nothing = await _taken(gateway, server)
    assert nothing is not None
    assert nothing.state is State.EMPTY
    assert await _taken(gateway, server) is None

    day = server.feed.next_day()
    done = await _taken(gateway, server)
    await feeding.refresh(gateway)

    assert done is not None
    assert (done.mode, done.changed, done.withdrawn) == (
        "delta", len(day["changed"]), len(day["withdrawn"]))
    assert not api.is_on_market(day["withdrawn"][0])
    changed = api.product(day["changed"][0])
    assert changed.price_ceiling is not None


async def test_a_withdrawn_medicine_stays_readable_as_of_its_day(
    gateway: Gateway, server: Server
) -> None:
    """What was withdrawn or changed since is told as it was on the day of the signing, and may no
    longer be prescribed.
    """
    await _first(gateway, server)
    before = clock.now()
    alone = next(one for one in api.all_products()
                 if len(api.products_of(one.preparation.key)) == 1)
    server.feed.as_of += timedelta(days=1)
    server.feed.rows[alone.key] |= {"status": "withdrawn"}
    server.feed.touched[alone.key] = server.feed.as_of
    await _taken(gateway, server)
    await feeding.refresh(gateway)

    reference = {"reference": {"reference": f"Medication/{alone.key}"}}
    assert api.product(alone.key, before) == alone
    assert api.preparation_of(reference, before) == alone.preparation
    assert api.preparation_of(reference, clock.now()) is None
    assert api.label(alone.preparation.key, "ru") != alone.preparation.key
    assert not [hit for hit in api.search(alone.trade) if hit.preparation == alone.preparation]
    with pytest.raises(NotFoundError):
        api.registered(alone.preparation.key)


async def test_a_shrunken_delivery_is_held_until_a_person_decides(
    gateway: Gateway, server: Server
) -> None:
    """A delivery that would withdraw a large part changes nothing by itself: a keeper may refuse
    it, or publish it; nobody else may.
    """
    await _first(gateway, server)
    server.feed.mode = "shrunken"
    server.feed.as_of += timedelta(days=1)

    done = await _taken(gateway, server)
    assert done is not None
    assert (done.state, done.reasons) == (State.HELD, ("bulk-withdrawal",))
    await feeding.refresh(gateway)
    assert len(api.all_products()) == PACKS

    with pytest.raises(ForbiddenError):
        await feeding.approve(gateway, DOCTOR, done.number)
    done = await feeding.approve(gateway, KEEPER, done.number)
    assert (done.state, done.withdrawn, done.approver) == (
        State.PUBLISHED, SHRUNKEN_BY, "admin")
    assert len(api.all_products()) == PACKS - SHRUNKEN_BY
    with pytest.raises(ConflictError):
        await feeding.refuse(gateway, KEEPER, done.number)


async def test_a_refused_delivery_is_never_published(gateway: Gateway, server: Server) -> None:
    """What a keeper refused does not come back when the same delivery is offered again."""
    await _first(gateway, server)
    server.feed.mode = "shrunken"
    server.feed.as_of += timedelta(days=1)
    done = await _taken(gateway, server)
    assert done is not None
    await feeding.refuse(gateway, KEEPER, done.number)

    assert await _taken(gateway, server) is None
    assert (await _last(gateway)).state is State.REFUSED
    await feeding.refresh(gateway)
    assert len(api.all_products()) == PACKS


async def test_a_held_delivery_is_overtaken_by_a_newer_one(
    gateway: Gateway, server: Server
) -> None:
    """What waits for a keeper while a newer delivery is published can no longer be published: it
    would take the register back.
    """
    await _first(gateway, server)
    server.feed.mode = "shrunken"
    server.feed.as_of += timedelta(days=1)
    held = await _taken(gateway, server)
    assert held is not None
    server.feed.mode = ""
    server.feed.next_day()
    newer = await _taken(gateway, server)
    assert newer is not None
    assert newer.state is State.PUBLISHED

    with pytest.raises(ConflictError):
        await feeding.approve(gateway, KEEPER, held.number)


@pytest.mark.parametrize("mode", ["down", "torn", "cut", "nonsense", "huge"])
async def test_a_delivery_that_cannot_be_read_changes_nothing_and_is_taken_later(
    gateway: Gateway, server: Server, mode: str
) -> None:
    """A feed that is down, torn, cut, nonsense or huge leaves a fault; its next good answer is
    published whole.
    """
    server.feed.mode = mode
    assert await _taken(gateway, server) is None
    async with gateway.unit(feeding.PLATFORM) as unit:
        feed = (await tables.feeds(unit))[0]
    assert feed.fault
    assert feed.reached is None
    assert feeding.is_stale(feed, clock.now(), 24)

    server.feed.mode = ""
    server.feed.as_of += timedelta(days=1)
    await _first(gateway, server)
    assert len(api.all_products()) == PACKS


async def test_bad_rows_are_put_aside_and_the_rest_is_published(
    gateway: Gateway, server: Server
) -> None:
    """Eight kinds of bad rows are put aside with their reasons; what they were before stays."""
    await _first(gateway, server)
    server.feed.mode = "bad-rows"
    async with gateway.unit(feeding.PLATFORM) as unit:
        await unit.execute("update medicine_feed set as_of = null, mark = ''")
    server.feed.rows["nm-00200"] |= {"price": "777"}

    done = await _taken(gateway, server)
    assert done is not None
    async with gateway.unit(feeding.PLATFORM) as unit:
        why = await tables.rejected_by_reason(unit, done.number)
        rows = await tables.rejected(unit, done.number)
    assert (done.state, done.mode, done.changed, done.withdrawn) == (
        State.PUBLISHED, "full", 1, 1)
    assert why == dict.fromkeys(
        ("gtin", "atc", "date", "no-name", "key", "price", "pack", "dates"), 1)
    assert all(row.raw for row in rows)
    await feeding.refresh(gateway)
    assert len(api.all_products()) == PACKS - 1


async def test_an_identifier_is_not_used_again_for_something_else(
    gateway: Gateway, server: Server
) -> None:
    """A key that turns up with another substance and a GTIN of another key are put aside."""
    await _first(gateway, server)
    first = api.product("nm-00001")
    server.feed.next_day()
    server.feed.mode = "reused"
    done = await _taken(gateway, server)

    assert done is not None
    async with gateway.unit(feeding.PLATFORM) as unit:
        why = await tables.rejected_by_reason(unit, done.number)
    assert set(why) == {"key-reused", "gtin-reused"}
    await feeding.refresh(gateway)
    assert api.product("nm-00001").preparation == first.preparation


async def test_duplicates_are_counted_and_contradictions_put_aside(
    gateway: Gateway, server: Server
) -> None:
    """A row that comes twice is taken once; with other content it is put aside."""
    server.feed.mode = "doubled"
    done = await _taken(gateway, server)

    assert done is not None
    assert (done.state, done.added, done.duplicates, done.rejected) == (
        State.PUBLISHED, PACKS, 50, 3)


@pytest.mark.parametrize(("mode", "note"), [("windows-1251", "windows-1251"), ("", "unlimited")])
async def test_a_page_in_another_encoding_is_read_and_noted(
    gateway: Gateway, server: Server, mode: str, note: str
) -> None:
    """Windows-1251 is read as such; what was repaired is counted."""
    server.feed.mode = mode
    done = await _taken(gateway, server)

    assert done is not None
    assert done.state is State.PUBLISHED
    assert note in done.notes
    await feeding.refresh(gateway)
    assert any("Фарм" in one.maker for one in api.all_products()) == bool(mode)


async def test_twice_encoded_text_is_put_aside_and_too_much_of_it_holds_the_delivery(
    gateway: Gateway, server: Server
) -> None:
    """Rows of twice encoded text are in quarantine; where they are many nothing is published."""
    server.feed.mode = "mojibake"
    done = await _taken(gateway, server)

    assert done is not None
    assert done.reasons in {("too-many-bad",), ()}
    async with gateway.unit(feeding.PLATFORM) as unit:
        assert set(await tables.rejected_by_reason(unit, done.number)) == {"encoding"}


async def test_ragged_rows_are_put_aside(gateway: Gateway, server: Server) -> None:
    """A row with too few or too many cells is put aside with its text; the rest is published."""
    server.feed.mode = "ragged"
    done = await _taken(gateway, server)

    assert done is not None
    assert (done.added, done.rejected, done.state) == (PACKS - 2, 2, State.PUBLISHED)


async def test_an_older_delivery_is_refused(gateway: Gateway, server: Server) -> None:
    """A delivery that tells of a time before the register's does not go back in time."""
    await _first(gateway, server)
    server.feed.mode = "old"
    server.feed.next_day()

    assert await _taken(gateway, server) is None
    last = await _last(gateway)
    assert (last.state, last.reasons) == (State.REFUSED, ("late",))


async def test_a_delivery_goes_on_where_its_worker_died(
    gateway: Gateway, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies between pages, or before publishing, loses nothing: what comes after it
    fetches only the pages that are missing, and the register is the same.
    """
    server.feed.page_rows = 50
    source = Darmon(server.url)
    asked = source.page

    async def dying(head: Head, number: int) -> Page:
        if number == 4:
            raise asyncio.CancelledError
        return await asked(head, number)

    monkeypatch.setattr(source, "page", dying)
    with pytest.raises(asyncio.CancelledError):
        await feeding.take(gateway, source)
    begun = await _last(gateway)
    assert (begun.state, begun.pages_done, begun.rows) == (State.STAGING, 3, 150)

    server.feed.asked.clear()
    await _first(gateway, server)
    assert sum("/register/" in path for path in server.feed.asked) == 3
    assert len(api.all_products()) == PACKS
    assert (await _last(gateway)).number == begun.number


async def test_a_substance_without_a_link_waits_for_a_person(
    gateway: Gateway, server: Server
) -> None:
    """A name that is no INN of ours is not guessed: it waits, and after a person's word the next
    delivery is linked.
    """
    row = server.feed.rows["nm-00001"]
    row["inn"] = "amoksitsilinum novum"
    await _first(gateway, server)
    assert not api.is_on_market("nm-00001")
    async with gateway.unit(feeding.PLATFORM) as unit:
        assert [one.name for one in await tables.open_links(unit)] == ["amoksitsilinum novum"]

    with pytest.raises(InvalidError):
        await feeding.link(gateway, KEEPER, "amoksitsilinum novum", "no-such-inn")
    await feeding.link(gateway, KEEPER, "amoksitsilinum novum", "amoxicillin")
    server.feed.as_of += timedelta(days=1)
    server.feed.touched["nm-00001"] = server.feed.as_of
    await _taken(gateway, server)
    await feeding.refresh(gateway)
    assert api.product("nm-00001").preparation.inn.key == "amoxicillin"


async def test_the_register_is_written_as_fhir_records_and_follows(
    gateway: Gateway, server: Server
) -> None:
    """Products, packs, substances, registrations, medications and what is known of them are stored
    as FHIR; a change of one pack writes that pack's records, a withdrawal retires them.
    """
    for key in list(server.feed.rows)[12:]:
        del server.feed.rows[key], server.feed.touched[key]
    await _first(gateway, server)
    await records.job(gateway)

    found = await gateway.find(feeding.PLATFORM, "Medication", "_count=50")
    assert len(found) == 12
    one = await gateway.get(feeding.PLATFORM, "PackagedProductDefinition", "ppd-nm-00001")
    assert one["packageFor"] == [{"reference": "MedicinalProductDefinition/mpd-nm-00001"}]
    for type_, id_ in (("Ingredient", "ing-nm-00001-1"), ("RegulatedAuthorization",
                       "ra-nm-00001"), ("MedicationKnowledge", "mk-nm-00001")):
        assert (await gateway.get(feeding.PLATFORM, type_, id_))["resourceType"] == type_
    before = await gateway.read(feeding.PLATFORM, "Medication", "nm-00002")

    server.feed.as_of += timedelta(days=1)
    server.feed.rows["nm-00001"] |= {"status": "withdrawn"}
    server.feed.rows["nm-00003"] |= {"price": "12500.50"}
    for key in ("nm-00001", "nm-00003"):
        server.feed.touched[key] = server.feed.as_of
    await _taken(gateway, server)
    await records.job(gateway)

    gone = await gateway.get(feeding.PLATFORM, "Medication", "nm-00001")
    known = await gateway.get(feeding.PLATFORM, "MedicationKnowledge", "mk-nm-00003")
    after = await gateway.read(feeding.PLATFORM, "Medication", "nm-00002")
    assert gone["status"] == "inactive"
    assert known["cost"][0]["costMoney"] == {"value": Decimal("12500.5"), "currency": "UZS"}
    assert after.vid == before.vid
