"""Facts that were read off the change feed, counts by doctor and day, and cases: own tables.

analytics_position  how far the feed was counted, and by which definitions.
analytics_fact      what counts of one record, by person: from these every count can be made anew.
analytics_count     prescriber, day, indicator and part: numerator and denominator.
analytics_case      flags and what was done about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from dmed.modules.analytics.model import Case, CaseState, Fact, Figure, Kept, Outcome, Verdict
from dmed.modules.analytics.rules.counting import Counts
from dmed.trust.gateway import GatewayUnit

DDL: tuple[str, ...] = (
    """create table if not exists analytics_position (
        one boolean primary key default true check (one),
        xid bigint not null default 0,
        vid bigint not null default 0,
        version text collate "C" not null default '',
        judged timestamptz not null default '-infinity'
    )""",
    "insert into analytics_position (one) values (true) on conflict do nothing",
    """create table if not exists analytics_fact (
        type text collate "C" not null,
        id text collate "C" not null,
        patient text collate "C" not null,
        body jsonb not null,
        primary key (type, id)
    )""",
    "create index if not exists analytics_fact_patient on analytics_fact (patient)",
    """create table if not exists analytics_count (
        prescriber text collate "C" not null,
        day date not null,
        indicator text collate "C" not null,
        part text collate "C" not null,
        numerator bigint not null,
        denominator bigint not null,
        primary key (prescriber, day, indicator, part)
    )""",
    "create index if not exists analytics_count_day on analytics_count (day)",
    """create table if not exists analytics_case (
        number bigint generated always as identity primary key,
        mark text collate "C" not null unique,
        prescriber text collate "C" not null,
        indicator text collate "C" not null,
        part text collate "C" not null,
        made timestamptz not null default now(),
        numerator bigint not null,
        denominator bigint not null,
        expected double precision not null,
        answer text not null default '',
        assignee text collate "C" not null default '',
        outcome text collate "C" not null default '',
        words text not null default '',
        closed timestamptz
    )""",
    "create index if not exists analytics_case_prescriber on analytics_case (prescriber)",
)
_CASE = ("number, prescriber, indicator, part, made, numerator, denominator, expected, answer, "
         "assignee, outcome, words, closed")
_ADD = """
insert into analytics_count (prescriber, day, indicator, part, numerator, denominator)
select * from unnest($1::text[], $2::date[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
on conflict (prescriber, day, indicator, part) do update
set numerator = analytics_count.numerator + excluded.numerator,
    denominator = analytics_count.denominator + excluded.denominator
"""
_EMPTY = """
delete from analytics_count c using unnest($1::text[], $2::date[], $3::text[], $4::text[])
    as gone (prescriber, day, indicator, part)
where c.prescriber = gone.prescriber and c.day = gone.day and c.indicator = gone.indicator
    and c.part = gone.part and c.numerator = 0 and c.denominator = 0
"""
_decoder = msgspec.json.Decoder(Fact)


# Counting ---------------------------------------------------------------------------------------


async def position(unit: GatewayUnit, *, lock: bool = False) -> tuple[tuple[int, int], str]:
    """How far the feed was counted, and by which version of the definitions."""
    row = await unit.fetchrow(
        f"select xid, vid, version from analytics_position{' for update' if lock else ''}")
    return (row["xid"], row["vid"]), row["version"]


async def move(unit: GatewayUnit, at: tuple[int, int], version: str) -> None:
    """The feed was counted so far."""
    await unit.execute(
        "update analytics_position set xid = $1, vid = $2, version = $3", at[0], at[1], version)


async def forget(unit: GatewayUnit) -> None:
    """Everything will be counted anew from the beginning of the feed."""
    await unit.execute("delete from analytics_fact")
    await unit.execute("delete from analytics_count")


def _kept(row: Any) -> Kept:
    return Kept(type=row["type"], id=row["id"], patient=row["patient"],
                fact=_decoder.decode(row["body"]))


async def facts_of(unit: GatewayUnit, patients: Iterable[str]) -> list[Any]:
    """Rows of persons' facts, to be read with `by_person` when the transaction is over."""
    return await unit.fetch(
        "select type, id, patient, body::text as body from analytics_fact"
        " where patient = any($1::text[])", sorted(set(patients)))


def by_person(rows: Iterable[Any]) -> dict[str, list[Kept]]:
    """Patient > facts."""
    found: dict[str, list[Kept]] = {}
    for row in rows:
        found.setdefault(row["patient"], []).append(_kept(row))
    return found


async def patients_of(unit: GatewayUnit, keys: Iterable[tuple[str, str]]) -> set[str]:
    """The persons to whom records (type, id) belonged when they were counted last."""
    types, ids = zip(*keys, strict=True)
    rows = await unit.fetch(
        "select distinct patient from analytics_fact join unnest($1::text[], $2::text[])"
        " as asked (type, id) using (type, id) where patient <> ''", list(types), list(ids))
    return {row["patient"] for row in rows}


async def shared(unit: GatewayUnit, type_: str) -> list[Kept]:
    """Facts of posts or institutions."""
    rows = await unit.fetch(
        "select type, id, patient, body::text as body from analytics_fact where type = $1", type_)
    return [_kept(row) for row in rows]


async def put(unit: GatewayUnit, found: Mapping[tuple[str, str], Kept | None]) -> None:
    """Keeps the facts of changed records; those that count no more go."""
    gone = [key for key, fact in found.items() if fact is None]
    if gone:
        types, ids = zip(*gone, strict=True)
        await unit.execute(
            "delete from analytics_fact f using unnest($1::text[], $2::text[]) as gone (type, id)"
            " where f.type = gone.type and f.id = gone.id", list(types), list(ids))
    rows = [(one.type, one.id, one.patient, msgspec.json.encode(one.fact).decode())
            for one in found.values() if one is not None]
    if rows:
        await unit.execute(
            "insert into analytics_fact (type, id, patient, body)"
            " select type, id, patient, body::jsonb"
            " from unnest($1::text[], $2::text[], $3::text[], $4::text[])"
            " as made (type, id, patient, body) on conflict (type, id) do update"
            " set patient = excluded.patient, body = excluded.body",
            *map(list, zip(*rows, strict=True)))


async def add(unit: GatewayUnit, counts: Counts) -> None:
    """Adds to the counts; a cell that comes down to nothing goes."""
    if not counts:
        return
    cells = sorted(counts)
    columns = [list(column) for column in zip(*cells, strict=True)]
    both = [list(column) for column in zip(*(counts[cell] for cell in cells), strict=True)]
    await unit.execute(_ADD, *columns, *both)
    await unit.execute(_EMPTY, *columns)


async def totals(
    unit: GatewayUnit, since: date, until: date, prescribers: Sequence[str] | None = None
) -> list[Figure]:
    """The figures of prescribers (None: of all) over days, both ends counted."""
    rows = await unit.fetch(
        "select prescriber, indicator, part, sum(numerator)::bigint as numerator,"
        " sum(denominator)::bigint as denominator from analytics_count"
        " where day between $1 and $2 and ($3::text[] is null or prescriber = any($3))"
        " group by prescriber, indicator, part order by prescriber, indicator, part",
        since, until, None if prescribers is None else list(prescribers))
    return [Figure(**dict(row)) for row in rows]


# Cases ------------------------------------------------------------------------------------------


async def judged(unit: GatewayUnit) -> datetime | None:
    """When figures were judged last; None where they never were."""
    found: datetime | None = await unit.fetchval(
        "select nullif(judged, '-infinity') from analytics_position")
    return found


async def note_judged(unit: GatewayUnit, at: datetime) -> None:
    """Figures were judged."""
    await unit.execute("update analytics_position set judged = $1", at)


async def tell(unit: GatewayUnit, verdict: Verdict, mark: str) -> int | None:
    """A new flag, told to its prescriber from now on; None where it is told already."""
    one = verdict.figure
    number: int | None = await unit.fetchval(
        "insert into analytics_case (mark, prescriber, indicator, part, numerator, denominator,"
        " expected) values ($1, $2, $3, $4, $5, $6, $7) on conflict (mark) do nothing"
        " returning number", mark, one.prescriber, one.indicator, one.part, one.numerator,
        one.denominator, verdict.expected)
    return number


def _case(row: Any, open_since: datetime) -> Case:
    state = (CaseState.CLOSED if row["closed"] else CaseState.OPEN
             if row["answer"] or row["made"] <= open_since else CaseState.TOLD)
    return Case(**dict(row), state=state)


async def cases(
    unit: GatewayUnit, open_since: datetime, *, prescribers: Sequence[str] | None = None,
    limit: int = 500,
) -> list[Case]:
    """Cases, the latest first, of these prescribers (None: of all). One is open that was told
    before `open_since` or was answered.
    """
    rows = await unit.fetch(
        f"select {_CASE} from analytics_case where ($2::text[] is null or prescriber = any($2))"
        " order by closed is not null, number desc limit $1", limit,
        None if prescribers is None else list(prescribers))
    return [_case(row, open_since) for row in rows]


async def case(
    unit: GatewayUnit, number: int, open_since: datetime, *, lock: bool = False
) -> Case | None:
    """One case."""
    row = await unit.fetchrow(
        f"select {_CASE} from analytics_case where number = $1{' for update' if lock else ''}",
        number)
    return None if row is None else _case(row, open_since)


async def answer(unit: GatewayUnit, number: int, words: str) -> None:
    """The prescriber's own words."""
    await unit.execute("update analytics_case set answer = $2 where number = $1", number, words)


async def assign(unit: GatewayUnit, number: int, assignee: str) -> None:
    """Who looks into it."""
    await unit.execute(
        "update analytics_case set assignee = $2 where number = $1", number, assignee)


async def note(unit: GatewayUnit, number: int, words: str) -> None:
    """What was found so far, after what stands there."""
    await unit.execute(
        "update analytics_case set words = concat_ws(E'\\n', nullif(words, ''), $2::text)"
        " where number = $1", number, words)


async def close(unit: GatewayUnit, number: int, outcome: Outcome) -> None:
    """Ends a case."""
    await unit.execute(
        "update analytics_case set outcome = $2, closed = now() where number = $1", number,
        outcome.value)
