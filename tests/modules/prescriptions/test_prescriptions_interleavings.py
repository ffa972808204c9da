"""Acts on prescriptions in any order and at the same time, over a real database.

Two pharmacies, the doctor and the authority act at once on the items of a prescription, with few
packs that both pharmacies have. `DMED_LIFE_EXAMPLES=500` looks at many orders instead of a few.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from dmed.kit.errors import ConflictError, DmedError
from dmed.modules.pharmacy import api as pharmacy
from dmed.modules.pharmacy.service import counter, handing
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.rules import resources, states
from dmed.store.keys import type_number
from dmed.trust.gateway import decoded
from dmed.trust.model import Role, Subject

EXAMPLES = int(os.environ.get("DMED_LIFE_EXAMPLES", "4"))
PARACETAMOL = "paracetamol-tablet-500mg"
AMOXICILLIN = "amoxicillin-capsule-500mg"
AUTHORITY = Subject(user="authority", role=Role.ADMINISTRATOR, name="Vazirlik")
_VERSIONS = """
select vid, body from resource_version where type = $1 and id = $2
union all select vid, body from resource where type = $1 and id = $2 order by vid
"""
ACTS = ("claim", "claim", *["dispense"] * 6, "undo", "undo", "undo", "return", "close", "refuse",
        "cancel", "answer", "hold", "release", "release")  # fmt: skip  # The usual ones oftener.
PLANS = st.lists(
    st.tuples(st.sampled_from(ACTS), st.booleans(), st.integers(1, 2), st.integers(0, 2),
              st.sampled_from([2, 5, 10, 16]), st.booleans()),
    min_size=1, max_size=4,
)  # fmt: skip  # What, where, which item, which pack, how much, a choice.


async def test_of_a_thousand_claims_one_pharmacy_wins(ward: Any) -> None:
    """A thousand claims of one item at once from two counters: one holds it, it moved once, and
    whoever lost is told of the holder (or that the database was too busy to ask).
    """
    made = await ward.signed()
    subjects = [ward.pharmacist if place % 2 else ward.other for place in range(1_000)]
    answers = await asyncio.gather(
        *(counter.claimed(ward.gateway, each, made.number, made.code, (1,)) for each in subjects),
        return_exceptions=True,
    )
    won = {subject.organisation for subject, answer in zip(subjects, answers, strict=True)
           if not isinstance(answer, BaseException)}
    lost = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(won) == 1
    assert len(lost) >= 500
    assert all(isinstance(answer, DmedError) for answer in lost)
    told = [answer for answer in lost if isinstance(answer, ConflictError)]
    assert told
    async with ward.gateway.unit(ward.doctor) as unit:
        versions = await unit.fetch(_VERSIONS, type_number("Task"), made.items[0].task)
        leases = await unit.fetchval(
            "select count(*) from pharmacy_claim where number = $1", made.number)
    assert len(versions) == 2
    assert leases == 1


class Life(RuleBasedStateMachine):
    """One prescription of two items, three packs, and whatever comes to it."""

    ward: ClassVar[Any]
    run: ClassVar[Callable[[Coroutine[Any, Any, Any]], Any]]

    @initialize(is_here=st.booleans())
    def sign(self, is_here: bool) -> None:
        """A signed prescription at a counter, and packs of which each pharmacy has the same."""
        self.made = self.run(self.ward.signed(AMOXICILLIN, PARACETAMOL))
        self.packs = {1: [self.ward.pack(AMOXICILLIN) for _ in range(3)],
                      2: [self.ward.pack(PARACETAMOL) for _ in range(3)]}
        self.moved: Counter[int] = Counter()
        self.claimed: Counter[int] = Counter()
        self.dispenses: dict[int, list[str]] = {1: [], 2: []}
        self.run(self._together([("claim", is_here, item, 0, 2, False) for item in (1, 2)]))

    @rule(plan=PLANS)
    def act(self, plan: list[tuple[str, bool, int, int, int, bool]]) -> None:
        """Up to four acts at the same moment; what is not possible then is a plain refusal."""
        self.run(self._together(plan))

    async def _together(self, plan: list[tuple[str, bool, int, int, int, bool]]) -> None:
        answers = await asyncio.gather(
            *(self._one(*each) for each in plan), return_exceptions=True)
        for (name, _, item, *_), answer in zip(plan, answers, strict=True):
            if isinstance(answer, DmedError):
                continue
            if isinstance(answer, BaseException):
                raise answer
            (self.claimed if name == "claim" else self.moved)[item] += 1
            if name == "dispense":
                self.dispenses[item] += answer[0]

    def _one(
        self, name: str, is_here: bool, item: int, place: int, amount: int, choice: bool
    ) -> Awaitable[Any]:
        gateway, number = self.ward.gateway, self.made.number
        who = self.ward.pharmacist if is_here else self.ward.other
        given = handing.GivenPack(marking=self.packs[item][place], quantity=Decimal(amount))
        done = self.dispenses[item]
        acts: dict[str, Callable[[], Awaitable[Any]]] = {
            "claim": lambda: counter.claimed(gateway, who, number, self.made.code, (item,)),
            "dispense": lambda: handing.dispense_item(
                gateway, who, number, item, [given], release_rest=choice),
            "return": lambda: pharmacy.return_(gateway, who, number, items=(item,)),
            "close": lambda: pharmacy.close(gateway, who, number, item, reason="out-of-stock"),
            "refuse": lambda: pharmacy.not_dispensed(
                gateway, who, number, item, reason="out-of-stock", final=choice and amount == 16),
            "cancel": lambda: api.cancel(
                gateway, self.ward.doctor, number, reason="patient-request", item=item),
            "answer": lambda: pharmacy.answer_cancel(gateway, who, number, item, accept=choice),
            "undo": lambda: pharmacy.undo(gateway, who, done[place % len(done)] if done else "-"),
            "hold": lambda: api.hold(gateway, AUTHORITY, number, item, reason="recall"),
            "release": lambda: api.release(gateway, AUTHORITY, number, item),
        }  # fmt: skip  # A table.
        return acts[name]()

    @invariant()
    def holds(self) -> None:
        """Everything that must be so at every moment."""
        if hasattr(self, "made"):
            self.run(self._check())

    async def _check(self) -> None:
        async with self.ward.gateway.unit(self.ward.doctor) as unit:
            case = await api.open_case(unit, self.made.number)
            handed = await unit.fetch(
                "select * from pharmacy_handover where number = $1", self.made.number)
            leases = await unit.fetch(
                "select * from pharmacy_claim where number = $1", self.made.number)
            for number, item in case.items.items():
                versions = await unit.fetch(_VERSIONS, type_number("Task"), item.task["id"])
                await self._check_audit(unit, versions)
                self._check_way(number, [decoded(row["body"]) for row in versions], item)
                mine = [row for row in handed if row["item"] == number and not row["undone"]]
                standing = item.standing
                assert sum(row["quantity"] for row in mine) == standing.dispensed
                assert standing.dispensed <= standing.quantity
                held = [row["pharmacy"] for row in leases if row["item"] == number]
                assert held == ([standing.holder] if standing.holder else [])
            await self._check_packs(unit, handed)

    async def _check_packs(self, unit: Any, handed: list[Any]) -> None:
        """No pack beyond its content, nor in two pharmacies; what is left in it is told rightly."""
        for code in {(row["gtin"], row["serial"]) for row in handed}:
            out = [row for row in handed
                   if (row["gtin"], row["serial"]) == code and not row["undone"]]
            pack = await unit.fetchrow(
                "select * from pharmacy_pack where gtin = $1 and serial = $2", *code)
            assert pack["content"] - pack["balance"] == sum(row["quantity"] for row in out)
            assert len({row["pharmacy"] for row in out}) <= 1

    async def _check_audit(self, unit: Any, versions: list[Any]) -> None:
        """Each act on a Task has left its row."""
        noted = await unit.fetchval(
            "select count(distinct vid) from audit where vid = any($1) and action in ('C', 'U')",
            [row["vid"] for row in versions])
        assert noted == len(versions)

    def _check_way(self, number: int, tasks: list[dict[str, Any]], item: Any) -> None:
        """Every step from version to version is a row of the table, and each act that was
        acknowledged made one (a claim by the holder makes none).
        """
        way = [resources.state_of(task, item.request) for task in tasks]
        for before, after in itertools.pairwise(way):
            assert any(before in row.sources and after is row.state for row in states.TABLE)
        steps = len(tasks) - 1
        assert self.moved[number] <= steps <= self.moved[number] + self.claimed[number]


async def test_no_order_of_acts_breaks_what_must_hold(ward: Any) -> None:
    """Sum handed over at most what was authorised, no pack beyond its content or in two pharmacies,
    one holder, no lost transition, an audit row for each act: whatever happens at once.
    """
    loop = asyncio.get_running_loop()
    Life.ward = ward
    Life.run = staticmethod(
        lambda act: asyncio.run_coroutine_threadsafe(act, loop).result(60))  # type: ignore[assignment]  # A function of the class, not of its instances.
    await asyncio.to_thread(
        run_state_machine_as_test, Life,
        settings=settings(max_examples=EXAMPLES, stateful_step_count=6, deadline=None,
                          suppress_health_check=list(HealthCheck)),
    )
