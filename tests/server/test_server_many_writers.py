"""64 writers at once: history, pages and transactions keep what they promise all the while."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

WRITERS = 64
STEADY, PAIRS, SHARED = 12, 8, 6
"""Records that nobody touches, pairs that are only written together, records that many write."""


def entry(method: str, url: str, resource: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"request": {"method": method, "url": url},
            **({"resource": resource} if resource else {})}


class World:
    """The records of one run, under a mark of their own, and what was answered to each write."""

    def __init__(self, client: httpx.AsyncClient, seed: int) -> None:
        self.client, self.seed = client, seed
        self.mark = uuid.uuid4().hex[:8]
        self.written: Counter[str] = Counter()
        self.gone: set[str] = set()
        self.refused: set[str] = set()

    def name(self, kind: str, number: int) -> str:
        return f"{self.mark}-{kind}{number}"

    def flag(self, id_: str, said: str) -> dict[str, Any]:
        return {"resourceType": "Basic", "id": id_, "code": {"text": said},
                "identifier": [{"system": "urn:many", "value": self.mark}]}

    async def start(self) -> None:
        names = [self.name(kind, number) for kind, count in (
            ("steady", STEADY), ("left", PAIRS), ("right", PAIRS), ("shared", SHARED))
            for number in range(count)]
        for id_ in names:
            answer = await self.client.put(f"/Basic/{id_}", json=self.flag(id_, "first"))
            assert answer.status_code == 201, answer.text
            self.written[id_] += 1

    async def act(self, writer: int) -> None:
        """Some acts of one writer, chosen by the seed."""
        dice = random.Random(self.seed * 1_000 + writer)  # noqa: S311  # Nothing secret.
        for step in range(2):
            said = f"{writer}.{step}"
            match dice.randrange(5):
                case 0:
                    await self.both(dice.randrange(PAIRS), said, fails=False)
                case 1:
                    await self.both(dice.randrange(PAIRS), said, fails=True)
                case 2:
                    await self.put(self.name("shared", dice.randrange(SHARED)), said)
                case 3:
                    await self.put(self.name(f"new{writer}.", step), said)
                case _:
                    id_ = self.name(f"brief{writer}.", step)
                    await self.put(id_, said)
                    assert (await self.client.delete(f"/Basic/{id_}")).status_code == 204
                    self.gone.add(id_)

    async def put(self, id_: str, said: str) -> None:
        answer = await self.client.put(f"/Basic/{id_}", json=self.flag(id_, said))
        assert answer.status_code in {200, 201}, answer.text
        self.written[id_] += 1

    async def both(self, number: int, said: str, *, fails: bool) -> None:
        """Two records in one transaction, which a third entry may spoil."""
        ids = [self.name("left", number), self.name("right", number)]
        entries = [entry("PUT", f"Basic/{id_}", self.flag(id_, said)) for id_ in ids]
        if fails:
            entries.append(entry("GET", "Basic/nobody-at-all"))
        answer = await self.client.post(
            "/", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        if fails:
            assert answer.status_code >= 400, answer.text
            self.refused.add(said)
        else:
            # Two transactions over the same records may also be told to try again.
            assert answer.status_code in {200, 409}, answer.text
            for id_ in ids if answer.status_code == 200 else ():
                self.written[id_] += 1

    async def pages(self, address: str) -> list[dict[str, Any]]:
        """The entries of all pages of a search or history, in order."""
        found: list[dict[str, Any]] = []
        while address:
            answer = await self.client.get(address)
            assert answer.status_code == 200, answer.text
            bundle = answer.json()
            found += bundle.get("entry", ())
            address = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), "")
        return found

    async def watch(self, done: asyncio.Event) -> int:
        """Walk the pages over and over: each walk shows every steady record once, none twice."""
        walks = 0
        while not done.is_set() or not walks:
            for order in ("", "&_sort=_id"):
                entries = await self.pages(
                    f"/Basic?identifier=urn:many|{self.mark}&_count=7{order}")
                ids = [one["resource"]["id"] for one in entries]
                assert len(ids) == len(set(ids)), "a record came twice"
                assert set(ids) >= {self.name("steady", each) for each in range(STEADY)}
                self.check_pairs(entries)
            walks += 1
        return walks

    def check_pairs(self, entries: list[dict[str, Any]]) -> None:
        """No walk sees what a refused transaction would have written."""
        said = {one["resource"]["code"]["text"] for one in entries}
        assert not said & self.refused

    async def check_histories(self) -> None:
        """Each successful write is one version, newest first; pairs went through the same."""
        for id_, count in self.written.items():
            entries = await self.pages(f"/Basic/{id_}/_history?_count=5")
            versions = [one["response"]["etag"] for one in entries]
            assert len(versions) == len(set(versions)) == count + (id_ in self.gone), id_
            moments = [one["response"]["lastModified"] for one in entries]
            assert moments == sorted(moments, reverse=True)
        for number in range(PAIRS):
            left, right = [
                [one["resource"]["code"]["text"] for one in
                 await self.pages(f"/Basic/{self.name(side, number)}/_history?_count=50")]
                for side in ("left", "right")]
            assert left == right


@given(seed=st.integers(0, 10_000))
@settings(max_examples=2, deadline=None, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_64_writers_break_no_promise(service: httpx.AsyncClient, seed: int) -> None:
    """Pages repeat and lose nothing, transactions are whole, each write is one version."""
    world = World(service, seed)
    await world.start()
    done = asyncio.Event()
    watcher = asyncio.create_task(world.watch(done))
    await asyncio.gather(*(world.act(writer) for writer in range(WRITERS)))
    done.set()
    assert await watcher
    await world.check_histories()
    entries = await world.pages(f"/Basic?identifier=urn:many|{world.mark}&_count=50")

    assert {one["resource"]["id"] for one in entries} == set(world.written) - world.gone
