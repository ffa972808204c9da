"""Claims to the fund with their answers, and what the nightly comparison found: own tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from dmed.modules.insurance.model import Answer, Claim, Difference, Kind, State
from dmed.trust.gateway import GatewayUnit

DDL: tuple[str, ...] = (
    """create table if not exists insurance_position (
        one boolean primary key default true check (one),
        xid bigint not null default 0,
        vid bigint not null default 0,
        compared date not null default '1970-01-01'
    )""",
    "insert into insurance_position (one) values (true) on conflict do nothing",
    """create table if not exists insurance_claim (
        key text collate "C" primary key,
        number text collate "C" not null,
        item integer not null,
        record text collate "C" not null,
        pharmacy text collate "C" not null,
        state text collate "C" not null default 'waiting',
        amount numeric,
        made timestamptz not null default now(),
        due timestamptz not null default now(),
        attempts integer not null default 0,
        fund_number text collate "C" not null default '',
        reason text collate "C" not null default '',
        paid numeric,
        answered timestamptz
    )""",
    """create index if not exists insurance_claim_due on insurance_claim (due)
        where answered is null""",
    "create index if not exists insurance_claim_day on insurance_claim (answered)",
    """create table if not exists insurance_difference (
        day date not null,
        key text collate "C" not null,
        kind text collate "C" not null,
        ours text not null,
        theirs text not null,
        settled timestamptz,
        settler text collate "C" not null default '',
        primary key (day, key, kind)
    )""",
)
_CLAIM = ("key, number, item, record, pharmacy, state, amount, made, attempts, fund_number, "
          "reason, paid, answered")


def _claim(row: Any) -> Claim:
    return Claim(**{**dict(row), "state": State(row["state"])})


async def position(unit: GatewayUnit, *, lock: bool = False) -> tuple[int, int]:
    """How far the change feed was read."""
    row = await unit.fetchrow(
        f"select xid, vid from insurance_position{' for update' if lock else ''}")
    return row["xid"], row["vid"]


async def move(unit: GatewayUnit, at: tuple[int, int]) -> None:
    """The feed was read so far."""
    await unit.execute("update insurance_position set xid = $1, vid = $2", at[0], at[1])


async def is_known(unit: GatewayUnit, key: str) -> bool:
    """Whether an item was claimed already."""
    return bool(await unit.fetchval("select true from insurance_claim where key = $1", key))


async def add(
    unit: GatewayUnit, key: str, number: str, item: int, record: str, pharmacy: str,
    amount: Decimal | None,
) -> None:
    """A new claim that waits to be sent."""
    await unit.execute(
        "insert into insurance_claim (key, number, item, record, pharmacy, amount)"
        " values ($1, $2, $3, $4, $5, $6)", key, number, item, record, pharmacy, amount)


async def take(unit: GatewayUnit, now: datetime, lease: timedelta, limit: int) -> list[Claim]:
    """Claims that are due, hidden from others for the lease."""
    rows = await unit.fetch(
        f"update insurance_claim set due = $2, attempts = attempts + 1 where key in ("
        " select key from insurance_claim where answered is null and due <= $1"
        f" order by due, key limit $3 for update skip locked) returning {_CLAIM}",
        now, now + lease, limit)
    return [_claim(row) for row in rows]


async def wait(unit: GatewayUnit, key: str, due: datetime, state: State) -> None:
    """No decision yet: to be asked again."""
    await unit.execute(
        "update insurance_claim set due = $2, state = $3 where key = $1 and answered is null",
        key, due, state.value)


async def answered(unit: GatewayUnit, answer: Answer, now: datetime) -> bool:
    """Keeps the decision; False where there was one already."""
    status = await unit.execute(
        "update insurance_claim set state = $2, fund_number = $3, reason = $4, paid = $5,"
        " answered = $6 where key = $1 and answered is null",
        answer.key, answer.outcome.value, answer.number, answer.reason, answer.amount, now)
    return status != "UPDATE 0"


async def claims(unit: GatewayUnit, since: datetime, until: datetime, keys: Sequence[str]) -> (
        list[Claim]):
    """Claims answered within a span, and those with these keys."""
    rows = await unit.fetch(
        f"select {_CLAIM} from insurance_claim where (answered >= $1 and answered < $2)"
        " or key = any($3::text[]) order by key", since, until, list(keys))
    return [_claim(row) for row in rows]


async def latest(unit: GatewayUnit, limit: int = 200) -> list[Claim]:
    """Claims, those without an answer first, then the latest."""
    rows = await unit.fetch(
        f"select {_CLAIM} from insurance_claim order by answered is not null, made desc, key"
        " limit $1", limit)
    return [_claim(row) for row in rows]


async def states(unit: GatewayUnit) -> dict[str, int]:
    """State > how many claims."""
    rows = await unit.fetch("select state, count(*) as n from insurance_claim group by state")
    return {row["state"]: row["n"] for row in rows}


async def keep_differences(unit: GatewayUnit, day: date, found: Sequence[Difference]) -> None:
    """The differences of a day: those that are no more go, those settled stay settled."""
    await unit.execute(
        "delete from insurance_difference where day = $1 and settled is null", day)
    for one in found:
        await unit.execute(
            "insert into insurance_difference (day, key, kind, ours, theirs)"
            " values ($1, $2, $3, $4, $5) on conflict do nothing",
            one.day, one.key, one.kind.value, one.ours, one.theirs)


async def differences(unit: GatewayUnit, limit: int = 500) -> list[Difference]:
    """Differences that nobody settled, the latest day first."""
    rows = await unit.fetch(
        "select day, key, kind, ours, theirs from insurance_difference where settled is null"
        " order by day desc, key, kind limit $1", limit)
    return [Difference(**{**dict(row), "kind": Kind(row["kind"])}) for row in rows]


async def settle(unit: GatewayUnit, day: date, key: str, kind: str, who: str) -> bool:
    """Somebody dealt with a difference; False where there is none open."""
    return bool(await unit.execute(
        "update insurance_difference set settled = now(), settler = $4"
        " where day = $1 and key = $2 and kind = $3 and settled is null",
        day, key, kind, who) != "UPDATE 0")


async def compared(unit: GatewayUnit) -> date:
    """The last day that was compared."""
    found: date = await unit.fetchval("select compared from insurance_position")
    return found


async def note_compared(unit: GatewayUnit, day: date) -> None:
    """A day was compared."""
    await unit.execute("update insurance_position set compared = greatest(compared, $1)", day)
