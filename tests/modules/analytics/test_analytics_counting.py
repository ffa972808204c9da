"""Counts that follow the change feed are those of a hand computation, whatever happens between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import asyncpg
import by_hand
import msgspec
import pytest
import pytest_asyncio

from dmed.apps import demo
from dmed.apps.demo.loading import write_of
from dmed.apps.rooms import MODULES
from dmed.kit.errors import ForbiddenError
from dmed.kit.settings import Settings
from dmed.modules.analytics import api, tables
from dmed.modules.analytics import demo as planting
from dmed.modules.analytics.model import Place
from dmed.modules.analytics.rules import behind, definitions, judging, peers
from dmed.modules.analytics.rules.counting import Cell
from dmed.modules.analytics.rules.facts import TYPES
from dmed.modules.analytics.service import following
from dmed.modules.analytics.service.following import PLATFORM, follow
from dmed.store import load as store_load
from dmed.store.model import AuditRow, Scope
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject
from dmed.trust.tables import DDL

SERVICE = Subject(user="till", role=Role.SERVICE)
ALL_DAYS = (date(1900, 1, 1), date(2100, 1, 1))


class World(msgspec.Struct):
    """A small planted country in a database, and its door."""

    gateway: Gateway
    url: str

    async def records(self) -> list[dict[str, Any]]:
        """All records as they are now, exported past the platform."""
        connection = await asyncpg.connect(self.url)
        rows = await connection.fetch("select body from resource")
        await connection.close()
        return [msgspec.json.decode(row["body"]) for row in rows]

    async def counted(self) -> by_hand.Totals:
        """What the platform counted."""
        async with self.gateway.unit(PLATFORM) as unit:
            found = await tables.totals(unit, *ALL_DAYS, list(definitions.definitions()))
        return {(one.prescriber, one.indicator, one.part): (one.numerator, one.denominator)
                for one in found}

    async def check(self) -> None:
        """Follows, and compares with the hand computation."""
        await follow(self.gateway)
        counted, by_the_hand = await self.counted(), by_hand.compute(await self.records())
        wrong = {key: (counted.get(key), by_the_hand.get(key)) for key in {**counted, **by_the_hand}
                 if counted.get(key) != by_the_hand.get(key)}

        assert wrong == {}

    async def one(self, type_: str, **has: str) -> dict[str, Any]:
        """The first record of a type whose elements are these."""
        return (await self.many(type_, **has))[0]

    async def many(self, type_: str, **has: str) -> list[dict[str, Any]]:
        """All of a type whose elements are these."""
        return [one for one in sorted(await self.records(), key=lambda each: each["id"])
                if one["resourceType"] == type_
                and all(one.get(name) == value for name, value in has.items())]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(module_database_url: str) -> AsyncIterator[World]:
    """Twenty persons with hand-overs that name their packs."""
    url = module_database_url
    await migrate(url, (*DDL, *(one for module in MODULES for one in module.ddl)))
    country = planting.Country(one for one in demo.generate(20, 3) if one.type in TYPES)
    audit = AuditRow(request="t", action="C", subject="t", role="service")
    done = await store_load.load(url, Scope("t"), audit, country.made(), write_of, processes=0)
    assert not done.faults
    db = await Database.open(url, Settings())
    yield World(gateway=Gateway(db, Settings()), url=url)
    await db.close()


async def test_counts_are_those_by_hand(world: World) -> None:
    """Every figure of every prescriber is that which is computed straight from the records."""
    await world.check()
    counted = await world.counted()

    assert len(counted) > 100
    assert {indicator for _, indicator, _ in counted} >= {
        "antibiotic", "redemption", "pharmacy-pair", "brand-in-inn", "polypharmacy-5"}


async def test_following_again_changes_nothing(world: World) -> None:
    """The end of the feed is the end: nothing is counted twice."""
    await follow(world.gateway)
    before = await world.counted()

    assert await follow(world.gateway) == 0
    assert await world.counted() == before


async def test_corrections_and_deletes_are_counted(world: World) -> None:
    """A line entered in error, one more, a hand-over gone, a person born earlier: all by hand."""
    request = await world.one("MedicationRequest", status="completed")
    fill = await world.one("MedicationDispense")
    async with world.gateway.unit(SERVICE) as unit:
        await unit.update("MedicationRequest", request["id"],
                          {**request, "status": "entered-in-error"})
        new = {**request, "authoredOn": "2026-11-01T23:30:00+05:00"}
        del new["id"]
        made = await unit.create("MedicationRequest", new)
        await unit.delete("MedicationDispense", fill["id"])
    await world.check()
    person = next(one for one in await world.records()
                  if one["resourceType"] == "Patient" and one["birthDate"] > "1990")
    async with world.gateway.unit(SERVICE) as unit:
        await unit.update("Patient", person["id"], {**person, "birthDate": "1930-01-01"})
        await unit.create("DetectedIssue", {
            "resourceType": "DetectedIssue", "status": "mitigated",
            "code": {"coding": [{"system": "https://dhp.uz/fhir/core/CodeSystem/prescription-alert",
                                 "code": "dose-day"}]},
            "subject": request["subject"],
            "implicated": [{"reference": f"MedicationRequest/{made.id}"}]})
    await world.check()


async def test_a_record_that_changes_its_person_is_counted_there(world: World) -> None:
    """What was the line of one person is taken away there and added to the other; a warning that
    was overridden for it stays with the person whom it warned of.
    """
    await follow(world.gateway)
    warned = (await world.one("DetectedIssue"))["implicated"][0]["reference"].split("/")[1]
    plain = next(one for one in await world.many("MedicationRequest", status="completed")
                 if one["id"] != warned)
    for request in (plain, await world.one("MedicationRequest", id=warned)):
        other = next(one["id"] for one in await world.many("Patient")
                     if one["id"] != request["subject"]["reference"].split("/")[1])
        async with world.gateway.unit(SERVICE) as unit:
            await unit.update("MedicationRequest", request["id"], {
                **request, "subject": {"reference": f"Patient/{other}"}})

        await world.check()


async def test_a_broken_stretch_is_counted_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who dies in the middle of a stretch leaves nothing of it; the next run takes it whole."""
    request = await world.one("MedicationRequest", status="completed")
    async with world.gateway.unit(SERVICE) as unit:
        new = {name: value for name, value in request.items() if name != "id"}
        for _ in range(7):
            await unit.create("MedicationRequest", new)
    before = await world.counted()

    async def dies(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(tables, "move", dies)
        with pytest.raises(RuntimeError):
            await follow(world.gateway, stretch=3)

    assert await world.counted() == before
    await world.check()


async def test_new_definitions_count_everything_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a definition has changed all is counted again, in other stretches, to the same end."""
    await follow(world.gateway)
    before = await world.counted()
    monkeypatch.setattr(following, "version", lambda: "another")

    await follow(world.gateway, stretch=77)

    assert await world.counted() == before


async def test_the_last_count_is_shown_until_the_new_one_is_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of counting anew the old figures stand, and nobody is judged by half of them;
    afterwards the old ones go.
    """
    await follow(world.gateway)
    before = await world.counted()
    monkeypatch.setattr(following, "version", lambda: "a third")
    await follow(world.gateway, stretch=50, most=50)
    async with world.gateway.unit(PLATFORM) as unit:
        middle = await tables.position(unit)
        await tables.drop_old(unit, 1_000_000)

    assert middle.shown < middle.generation
    assert await world.counted() == before
    await follow(world.gateway)
    async with world.gateway.unit(PLATFORM) as unit:
        assert await tables.drop_old(unit, 10) == 10
        assert await tables.drop_old(unit, 1_000_000) > 0
        rows = await unit.fetch("select distinct generation from analytics_month")
        assert [row["generation"] for row in rows] == [middle.generation]
    assert await world.counted() == before


async def test_judging_part_by_part_is_judging_all(world: World) -> None:
    """What a figure is beside its peers is the same read indicator by indicator, district by
    district and by preparations, and what the peers make of it is kept for single pages.
    """
    await follow(world.gateway)
    for number in range(12):
        figure = {"prescriber": f"p{number}", "indicator": "injection"}
        async with world.gateway.unit(PLATFORM) as unit:
            now = await tables.position(unit)
            await tables.add(unit, now.generation, {
                Cell("injection", "", figure["prescriber"], date(2026, 1, 1), ""): (
                    90 if number == 0 else 5 + number % 3, 100)})
    known = await api.staff(world.gateway)
    whole = await api.verdicts(world.gateway, *ALL_DAYS, known)
    parts = await api.judged(world.gateway, *ALL_DAYS, known)

    assert [one.figure.prescriber for one in parts] == ["p0"]
    assert parts == [one for one in whole if one.is_flagged]
    async with world.gateway.unit(PLATFORM) as unit:
        bases = await tables.bases(unit, [(level, key(Place())) for level, key in peers.LEVELS])
    base = judging.nearest(Place(), bases["injection"])
    assert base is not None
    alone = judging.judge(definitions.definitions()["injection"], parts[0].figure, base)
    assert msgspec.structs.replace(alone, is_flagged=True) == parts[0]


async def test_the_lines_behind_a_figure_add_up_to_it(world: World) -> None:
    """Of every indicator the largest figure is the sum of the lines told behind it, and each line
    that counts says why.
    """
    await follow(world.gateway)
    counted = await world.counted()
    async with world.gateway.unit(PLATFORM) as unit:
        rows = await unit.fetch("select distinct patient from analytics_fact")
        facts = await tables.facts_of(unit, None, [row["patient"] for row in rows])
    persons = [kept for patient, kept in tables.by_person(facts).items() if patient]
    known = await api.staff(world.gateway)
    largest: dict[str, tuple[int, str, str]] = {}
    for (prescriber, indicator, part), (k, _) in counted.items():
        definition = definitions.definitions()[indicator]
        is_part = definition.kind != "part" or part != definitions.whole_of(definition, part)
        if is_part and prescriber in known.posts:
            largest[indicator] = max(largest.get(indicator, (-1, "", "")), (k, prescriber, part))
    for indicator, (k, prescriber, part) in largest.items():
        definition = definitions.definitions()[indicator]
        whole = definitions.whole_of(definition, part)
        units = [unit for kept in persons for unit in behind.behind(
            definition, prescriber, part, ALL_DAYS, kept)]
        told = [line for _, _, lines in units for line in lines if line.is_counted]

        assert sum(unit[0] for unit in units) == k, indicator
        assert sum(unit[1] for unit in units) == counted[prescriber, indicator, whole][1], indicator
        assert bool(told) == (k > 0), indicator
        assert all(line.reasons for line in told), indicator
    assert {"antibiotic", "pharmacy-pair", "brand-in-inn", "drugs-per-prescription"} <= set(largest)


async def test_only_the_platform_follows(world: World) -> None:
    """The feed with its records is open to nobody who may not read them all."""
    for role in Role:
        if role is not Role.SERVICE:
            with pytest.raises(ForbiddenError):
                await world.gateway.follow(Subject(user="x", role=role), TYPES, (0, 0), 10)


def test_every_definition_is_whole() -> None:
    """Each file has names and reasons in three languages, a source, and tests that can hold."""
    found = definitions.definitions()

    assert len(found) >= 20
    for one in found.values():
        assert {"uz", "ru", "en"} == set(one.name) == set(one.why), one.id
        assert one.source, one.id
        assert (one.sum != "") == (one.kind == "mean"), one.id
        assert (one.part != "") == (one.kind == "part"), one.id
        for test in (one.of, one.where):
            definitions.codes((*test.atc, *test.not_atc, *test.icd))
    assert set(found) == set(api.definitions())
