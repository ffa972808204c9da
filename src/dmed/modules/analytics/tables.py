"""Facts that were read off the change feed, counts by doctor and month, and cases: own tables.

analytics_position  how far the feed was counted, by which definitions, and which count is shown.
analytics_fact      what counts of one record, by person: from these every count can be made anew.
analytics_month     indicator, prescriber, month and part: numerator and denominator.
analytics_base      what each group of peers made of an indicator when it was judged last.
analytics_case      flags and what was done about them.
analytics_behind    the lines behind the figure of a case, as they were when it was made.

Counting anew is another generation beside the one that is shown, which goes when the new one has
come to the end of the feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from dmed.modules.analytics.model import (
    Behind,
    Case,
    CaseState,
    Fact,
    Figure,
    Kept,
    Outcome,
    Verdict,
)
from dmed.modules.analytics.rules.counting import Counts
from dmed.modules.analytics.rules.peers import Base, GroupKey
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
    """alter table analytics_position
        add column if not exists generation integer not null default 0,
        add column if not exists shown integer not null default 0,
        add column if not exists leased timestamptz not null default '-infinity'""",
    """create table if not exists analytics_fact (
        type text collate "C" not null,
        id text collate "C" not null,
        patient text collate "C" not null,
        body jsonb not null,
        primary key (type, id)
    )""",
    "create index if not exists analytics_fact_patient on analytics_fact (patient)",
    "alter table analytics_fact add column if not exists generation integer not null default 0",
    "drop table if exists analytics_count",
    """create table if not exists analytics_month (
        generation integer not null,
        indicator text collate "C" not null,
        whole text collate "C" not null,
        prescriber text collate "C" not null,
        month date not null,
        part text collate "C" not null,
        numerator bigint not null,
        denominator bigint not null,
        primary key (generation, indicator, whole, prescriber, month, part)
    )""",
    """create table if not exists analytics_base (
        indicator text collate "C" not null,
        level text collate "C" not null,
        key text collate "C" not null,
        size integer not null,
        expected double precision not null,
        spread double precision not null,
        primary key (level, key, indicator)
    )""",
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
    """alter table analytics_case
        add column if not exists lines integer,
        add column if not exists counted integer not null default 0""",
    """create index if not exists analytics_fact_prescriber
        on analytics_fact ((body->>'prescriber')) where type = 'MedicationRequest'""",
    """create table if not exists analytics_behind (
        "case" bigint not null references analytics_case (number) on delete cascade,
        place integer not null,
        id text collate "C" not null,
        number text collate "C" not null,
        moment timestamptz not null,
        atc text collate "C" not null,
        pharmacy text collate "C" not null,
        amount integer not null,
        is_counted boolean not null,
        reasons text[] not null,
        primary key ("case", place)
    )""",
)
_CASE = ("number, prescriber, indicator, part, made, numerator, denominator, expected, answer, "
         "assignee, outcome, words, closed, lines, counted")
_CELLS = """unnest($2::text[], $3::text[], $4::text[], $5::date[], $6::text[])
    as gone (indicator, whole, prescriber, month, part)"""
_ADD = """
insert into analytics_month (generation, indicator, whole, prescriber, month, part, numerator,
    denominator)
select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::date[], $6::text[], $7::bigint[],
    $8::bigint[])
on conflict (generation, indicator, whole, prescriber, month, part) do update
set numerator = analytics_month.numerator + excluded.numerator,
    denominator = analytics_month.denominator + excluded.denominator
"""
_EMPTY = f"""
delete from analytics_month c using {_CELLS}
where c.generation = $1 and c.indicator = gone.indicator and c.whole = gone.whole
    and c.prescriber = gone.prescriber and c.month = gone.month and c.part = gone.part
    and c.numerator = 0 and c.denominator = 0
"""
_SHOWN = "generation = (select shown from analytics_position)"
_SUMS = "sum(numerator)::bigint as numerator, sum(denominator)::bigint as denominator"
_WHOLES = """
with recursive found as (
    (select min(whole) as whole from analytics_month
     where generation = (select shown from analytics_position) and indicator = $1)
    union all
    select (select min(m.whole) from analytics_month m
            where m.generation = (select shown from analytics_position) and m.indicator = $1
                and m.whole > found.whole)
    from found where found.whole is not null)
select whole from found where whole is not null
"""
"""Different values of an index without reading all of it."""
_decoder = msgspec.json.Decoder(Fact)


# Counting ---------------------------------------------------------------------------------------


class Position(msgspec.Struct, frozen=True):
    """How far the feed was counted, by which version of the definitions, as which generation."""

    at: tuple[int, int]
    version: str
    generation: int
    shown: int
    """The last generation that came to the end of the feed: the figures that people see."""


async def position(unit: GatewayUnit, *, lock: bool = False) -> Position:
    """How far the feed was counted."""
    row = await unit.fetchrow(
        "select xid, vid, version, generation, shown from analytics_position"
        f"{' for update' if lock else ''}")
    return Position((row["xid"], row["vid"]), row["version"], row["generation"], row["shown"])


async def move(unit: GatewayUnit, at: tuple[int, int], *, is_end: bool) -> None:
    """The feed was counted so far; at its end what was counted is what is shown."""
    await unit.execute(
        "update analytics_position set xid = $1, vid = $2,"
        " shown = case when $3 then generation else shown end", at[0], at[1], is_end)


async def begin_anew(unit: GatewayUnit, version: str) -> None:
    """Everything will be counted from the beginning of the feed, beside what is shown."""
    await unit.execute(
        "update analytics_position set xid = 0, vid = 0, version = $1, generation = generation + 1",
        version)


async def drop_old(unit: GatewayUnit, rows: int) -> int:
    """Forgets counts of generations that are shown no more, at most so many rows; how many."""
    status = await unit.execute(
        "delete from analytics_month where ctid = any(array("
        " select m.ctid from analytics_position p join analytics_month m"
        " on m.generation < p.shown order by m.generation limit $1))", rows)
    return int(status.rpartition(" ")[2])


async def lease(unit: GatewayUnit, until: datetime) -> None:
    """Another process counts: until then the job of each minute leaves it alone."""
    await unit.execute("update analytics_position set leased = $1", until)


async def leased(unit: GatewayUnit) -> datetime | None:
    """Until when another process has the counting for itself; None where none ever had."""
    found: datetime | None = await unit.fetchval(
        "select nullif(leased, '-infinity') from analytics_position")
    return found


def _kept(row: Any) -> Kept:
    return Kept(type=row["type"], id=row["id"], patient=row["patient"],
                fact=_decoder.decode(row["body"]))


async def facts_of(
    unit: GatewayUnit, generation: int | None, patients: Iterable[str]
) -> list[Any]:
    """Rows of persons' facts as far as a generation has counted them (None: whichever did), to be
    read with `by_person` when the transaction is over.
    """
    return await unit.fetch(
        "select type, id, patient, body::text as body from analytics_fact"
        " where patient = any($1::text[]) and ($2::integer is null or generation = $2)",
        sorted(set(patients)), generation)


def by_person(rows: Iterable[Any]) -> dict[str, list[Kept]]:
    """Patient > facts."""
    found: dict[str, list[Kept]] = {}
    for row in rows:
        found.setdefault(row["patient"], []).append(_kept(row))
    return found


async def patients_of(
    unit: GatewayUnit, generation: int, keys: Iterable[tuple[str, str]]
) -> set[str]:
    """The persons to whom records (type, id) belonged when a generation counted them."""
    types, ids = zip(*keys, strict=True)
    rows = await unit.fetch(
        "select distinct patient from analytics_fact join unnest($1::text[], $2::text[])"
        " as asked (type, id) using (type, id) where patient <> '' and generation = $3",
        list(types), list(ids), generation)
    return {row["patient"] for row in rows}


async def shared(unit: GatewayUnit, type_: str) -> list[Kept]:
    """Facts of posts or institutions."""
    rows = await unit.fetch(
        "select type, id, patient, body::text as body from analytics_fact where type = $1", type_)
    return [_kept(row) for row in rows]


async def put(
    unit: GatewayUnit, generation: int, found: Mapping[tuple[str, str], Kept | None]
) -> None:
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
            "insert into analytics_fact (generation, type, id, patient, body)"
            " select $1, type, id, patient, body::jsonb"
            " from unnest($2::text[], $3::text[], $4::text[], $5::text[])"
            " as made (type, id, patient, body) on conflict (type, id) do update"
            " set patient = excluded.patient, body = excluded.body,"
            " generation = excluded.generation",
            generation, *map(list, zip(*rows, strict=True)))


async def add(unit: GatewayUnit, generation: int, counts: Counts) -> None:
    """Adds to the counts; a cell that comes down to nothing goes."""
    if not counts:
        return
    cells = sorted(counts)
    columns = [list(column) for column in zip(*cells, strict=True)]
    both = [list(column) for column in zip(*(counts[cell] for cell in cells), strict=True)]
    await unit.execute(_ADD, generation, *columns, *both)
    await unit.execute(_EMPTY, generation, *columns)


# Figures ----------------------------------------------------------------------------------------


def month_of(day: date) -> date:
    """The first day of the month, by which counts lie."""
    return day.replace(day=1)


def year_before(until: date) -> tuple[date, date]:
    """Twelve months and that of a day so far, from their first day: what is shown and judged."""
    return month_of(until - timedelta(days=365)), until


async def totals(
    unit: GatewayUnit, since: date, until: date, indicators: Sequence[str],
    prescribers: Sequence[str] | None = None, wholes: Sequence[str] | None = None,
) -> list[Figure]:
    """Figures over the months of both days: of these indicators, prescribers (None: all) and wholes
    (None: all; those without parts have but one, which is "").
    """
    given: list[Any] = [month_of(since), until, list(indicators)]
    narrowed = ""
    # Written out only where it is asked: a plan that serves both would read the whole table.
    for column, wanted in (("whole", wholes), ("prescriber", prescribers)):
        if wanted is not None:
            given.append(list(wanted))
            narrowed += f" and {column} = any(${len(given)}::text[])"
    rows = await unit.fetch(
        f"select prescriber, indicator, part, {_SUMS} from analytics_month"
        f" where {_SHOWN} and indicator = any($3::text[]){narrowed} and month between $1 and $2"
        " group by prescriber, indicator, part order by prescriber, indicator, part", *given)
    return [Figure(**dict(row)) for row in rows]


async def sums_of(
    unit: GatewayUnit, since: date, until: date, indicators: Sequence[str],
    groups: Mapping[str, str],
) -> list[Figure]:
    """Figures without parts of groups of prescribers (prescriber > group): `prescriber` is the
    group's key.
    """
    rows = await unit.fetch(
        f"select own.key as prescriber, indicator, {_SUMS} from analytics_month"
        " join unnest($4::text[], $5::text[]) as own (prescriber, key) using (prescriber)"
        f" where {_SHOWN} and indicator = any($3::text[]) and whole = '' and part = ''"
        " and month between $1 and $2 group by own.key, indicator order by own.key, indicator",
        month_of(since), until, list(indicators), list(groups), list(groups.values()))
    return [Figure(**dict(row)) for row in rows]


async def wholes(unit: GatewayUnit, indicator: str) -> list[str]:
    """All wholes of an indicator's parts."""
    return [row["whole"] for row in await unit.fetch(_WHOLES, indicator)]


async def keep_bases(
    unit: GatewayUnit, indicator: str, known: Mapping[GroupKey, Base]
) -> None:
    """What the groups of peers make of an indicator from now on."""
    await unit.execute("delete from analytics_base where indicator = $1", indicator)
    rows = [(level, _line(key), base.size, base.expected, base.spread)
            for (level, key), base in known.items()]
    if rows:
        await unit.execute(
            "insert into analytics_base (indicator, level, key, size, expected, spread)"
            " select $1, * from unnest($2::text[], $3::text[], $4::integer[],"
            " $5::double precision[], $6::double precision[])",
            indicator, *map(list, zip(*rows, strict=True)))


def _line(key: Iterable[str]) -> str:
    return "\n".join(key)


async def bases(unit: GatewayUnit, keys: Iterable[GroupKey]) -> dict[str, dict[GroupKey, Base]]:
    """Indicator > what these groups of peers made of it."""
    asked = {(level, _line(key)): (level, key) for level, key in keys}
    levels, lines = [list(column) for column in zip(*asked, strict=True)]
    rows = await unit.fetch(
        "select indicator, level, key, size, expected, spread from analytics_base"
        " join unnest($1::text[], $2::text[]) as asked (level, key) using (level, key)",
        levels, lines)
    found: dict[str, dict[GroupKey, Base]] = {}
    for row in rows:
        base = Base(row["level"], row["size"], row["expected"], row["spread"])
        found.setdefault(row["indicator"], {})[asked[row["level"], row["key"]]] = base
    return found


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


# What stands behind a case ----------------------------------------------------------------------


async def persons_of(
    unit: GatewayUnit, prescriber: str, since: date, until: date, limit: int
) -> list[str]:
    """To whom a prescriber wrote between two days, at most so many."""
    rows = await unit.fetch(
        "select distinct patient from analytics_fact where type = 'MedicationRequest'"
        " and body->>'prescriber' = $1 and (body->>'moment')::timestamptz >= $2::date"
        " and (body->>'moment')::timestamptz < $3::date + 2 order by patient limit $4",
        prescriber, since - timedelta(days=1), until, limit)
    return [row["patient"] for row in rows]


async def keep_behind(
    unit: GatewayUnit, number: int, found: Sequence[Behind], lines: int, counted: int
) -> None:
    """Lists the lines behind a case, in this order; how many there are in all, and how many make
    the numerator. Whoever comes second changes nothing.
    """
    first = await unit.fetchval(
        "update analytics_case set lines = $2, counted = $3 where number = $1 and lines is null"
        " returning number", number, lines, counted)
    if first is None or not found:
        return
    # As one document: a list of lists of reasons is no array of the database.
    rows = [{**msgspec.to_builtins(one), "place": place} for place, one in enumerate(found)]
    await unit.execute(
        'insert into analytics_behind ("case", place, id, number, moment, atc, pharmacy, amount,'
        " is_counted, reasons) select $1, place, id, number, moment, atc, pharmacy, amount,"
        " is_counted, reasons from jsonb_to_recordset($2::text::jsonb) as one (place integer,"
        " id text, number text, moment timestamptz, atc text, pharmacy text, amount integer,"
        " is_counted boolean, reasons text[])", number, msgspec.json.encode(rows).decode())


async def behind(unit: GatewayUnit, number: int, after: int, limit: int) -> list[Behind]:
    """Lines behind a case from a place on."""
    rows = await unit.fetch(
        "select id, number, moment, atc, pharmacy, amount, is_counted, reasons"
        ' from analytics_behind where "case" = $1 and place >= $2 order by place limit $3',
        number, after, limit)
    return [Behind(**{**dict(row), "reasons": tuple(row["reasons"])}) for row in rows]
