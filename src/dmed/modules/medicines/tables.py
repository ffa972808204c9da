"""Deliveries of feeds, their staged and put-aside rows, versions and entries: this module's tables.

An entry is in force from the version that brought it until the version that ended it, so the
register of any day can be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from dmed.modules.medicines.model import (
    ChangeLine,
    Delivery,
    Entry,
    Feed,
    Head,
    Link,
    Rejected,
    State,
    Version,
)
from dmed.trust.gateway import GatewayUnit

DDL: tuple[str, ...] = (
    """create table if not exists medicine_feed (
        name text collate "C" primary key,
        is_national boolean not null,
        mark text collate "C" not null default '',
        as_of timestamptz,
        asked timestamptz,
        reached timestamptz,
        fault text not null default ''
    )""",
    """create table if not exists medicine_delivery (
        number bigint generated always as identity primary key,
        feed text collate "C" not null,
        mark text collate "C" not null,
        mode text collate "C" not null,
        as_of timestamptz not null,
        effective timestamptz not null,
        state text collate "C" not null default 'staging',
        started timestamptz not null default now(),
        ended timestamptz,
        pages integer not null,
        pages_done integer not null default 0,
        rows_told integer not null,
        rows integer not null default 0,
        rejected integer not null default 0,
        duplicates integer not null default 0,
        added integer not null default 0,
        changed integer not null default 0,
        withdrawn integer not null default 0,
        unchanged integer not null default 0,
        reasons jsonb not null default '[]',
        notes jsonb not null default '{}',
        fault text not null default '',
        version bigint,
        approver text collate "C" not null default '',
        unique (feed, mark)
    )""",
    """create table if not exists medicine_stage (
        delivery bigint not null,
        key text collate "C" not null,
        place integer not null,
        product text collate "C" not null,
        gtin text collate "C" not null,
        inns text collate "C" not null,
        is_withdrawn boolean not null,
        words text collate "C" not null,
        digest bytea not null,
        body text not null,
        primary key (delivery, key)
    )""",
    """create table if not exists medicine_quarantine (
        delivery bigint not null,
        place integer not null,
        key text collate "C" not null,
        reason text collate "C" not null,
        words text not null,
        raw text not null,
        primary key (delivery, place, reason)
    )""",
    """create table if not exists medicine_version (
        number bigint generated always as identity primary key,
        feed text collate "C" not null,
        delivery bigint not null unique,
        published timestamptz not null default now(),
        effective timestamptz not null,
        added integer not null,
        changed integer not null,
        withdrawn integer not null
    )""",
    """create table if not exists medicine_entry (
        feed text collate "C" not null,
        key text collate "C" not null,
        version bigint not null,
        ended bigint,
        product text collate "C" not null,
        gtin text collate "C" not null,
        inns text collate "C" not null,
        words text collate "C" not null,
        digest bytea not null,
        body text not null,
        primary key (feed, key, version)
    )""",
    """create unique index if not exists medicine_entry_now on medicine_entry (feed, key)
        where ended is null""",
    """create index if not exists medicine_entry_gtin on medicine_entry (gtin)
        where gtin <> ''""",
    "create index if not exists medicine_stage_pack on medicine_stage (delivery, gtin)",
    "create index if not exists medicine_quarantine_key on medicine_quarantine (delivery, key)",
    "create index if not exists medicine_entry_version on medicine_entry (version)",
    "create index if not exists medicine_entry_ended on medicine_entry (ended)",
    """create table if not exists medicine_link (
        name text collate "C" primary key,
        shown text not null,
        rows integer not null default 0,
        inn text collate "C",
        person text collate "C" not null default '',
        at timestamptz
    )""",
    """create table if not exists medicine_recorded (
        one boolean primary key default true check (one),
        version bigint not null,
        key text collate "C" not null
    )""",
)
ROWS_MAX = 500
_DELIVERY = (
    "number, feed, mark, mode, as_of, effective, state, started, ended, pages, pages_done, rows,"
    " rows_told, rejected, duplicates, added, changed, withdrawn, unchanged, reasons::text,"
    " notes::text, fault, version, approver"
)
_VERSION = "number, feed, delivery, published, effective, added, changed, withdrawn"


class Staged(msgspec.Struct, frozen=True):
    """An entry ready to be staged, with what the database compares."""

    place: int
    entry: Entry
    words: str
    digest: bytes
    body: str


def _delivery(row: Any) -> Delivery:
    return Delivery(**{
        **dict(row), "state": State(row["state"]),
        "reasons": msgspec.json.decode(row["reasons"], type=tuple[str, ...]),
        "notes": msgspec.json.decode(row["notes"], type=dict[str, int])})


def _entry(body: str | None) -> Entry | None:
    return None if body is None else msgspec.json.decode(body, type=Entry)


# Feeds ------------------------------------------------------------------------------------------


async def feed(unit: GatewayUnit, name: str, *, is_national: bool, lock: bool = False) -> Feed:
    """The feed of a name, made where there is none yet; `lock` holds it until the unit ends."""
    await unit.execute(
        "insert into medicine_feed (name, is_national) values ($1, $2) on conflict do nothing",
        name, is_national)
    row = await unit.fetchrow(
        "select name, is_national, mark, as_of, asked, reached, fault from medicine_feed"
        f" where name = $1{' for update' if lock else ''}", name)
    return Feed(**dict(row))


async def feeds(unit: GatewayUnit) -> list[Feed]:
    """All feeds, with how many of their entries are in force."""
    rows = await unit.fetch(
        "select f.name, f.is_national, f.mark, f.as_of, f.asked, f.reached, f.fault,"
        " (select count(*) from medicine_entry e where e.feed = f.name and e.ended is null)"
        " as entries from medicine_feed f order by not f.is_national, f.name")
    return [Feed(**dict(row)) for row in rows]


async def note_asked(unit: GatewayUnit, name: str, now: datetime, fault: str) -> None:
    """Writes down that a feed was asked, and what went wrong or that it answered."""
    await unit.execute(
        "update medicine_feed set asked = $2, fault = $3,"
        " reached = case when $3 = '' then $2 else reached end where name = $1",
        name, now, fault)


# Deliveries -------------------------------------------------------------------------------------


async def begin(unit: GatewayUnit, name: str, head: Head, now: datetime) -> Delivery:
    """The delivery of this mark: a new one, or the one that was begun before."""
    await unit.execute(
        "insert into medicine_delivery (feed, mark, mode, as_of, effective, pages, rows_told,"
        " started) values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        name, head.mark, head.mode, head.as_of, head.effective or now, head.pages, head.rows, now)
    row = await unit.fetchrow(
        f"select {_DELIVERY} from medicine_delivery where feed = $1 and mark = $2",
        name, head.mark)
    return _delivery(row)


async def delivery(unit: GatewayUnit, number: int, *, lock: bool = False) -> Delivery | None:
    """One delivery."""
    row = await unit.fetchrow(
        f"select {_DELIVERY} from medicine_delivery where number = $1"
        f"{' for update' if lock else ''}", number)
    return None if row is None else _delivery(row)


async def deliveries(unit: GatewayUnit, limit: int = 50) -> list[Delivery]:
    """The latest deliveries, newest first."""
    rows = await unit.fetch(
        f"select {_DELIVERY} from medicine_delivery order by number desc limit $1", limit)
    return [_delivery(row) for row in rows]


async def stage(unit: GatewayUnit, number: int, page: int, staged: Sequence[Staged],
                rejected: Sequence[Rejected], notes: Mapping[str, int]) -> None:
    """Takes a page in, once: its rows, those put aside, and how far the delivery is.

    A key that came before with the same content is counted as a duplicate, with another it is put
    aside.
    """
    done = await unit.fetchval(
        "select pages_done from medicine_delivery where number = $1 for update", number)
    if done != page - 1:
        return  # Another worker took this page in meanwhile.
    kept = await unit.fetch(
        "insert into medicine_stage (delivery, key, place, product, gtin, inns, is_withdrawn,"
        " words, digest, body) select $1, * from unnest($2::text[], $3::integer[], $4::text[],"
        " $5::text[], $6::text[], $7::boolean[], $8::text[], $9::bytea[], $10::text[])"
        " on conflict do nothing returning key, place",
        number, [one.entry.key for one in staged], [one.place for one in staged],
        [one.entry.product for one in staged], [one.entry.gtin for one in staged],
        [_inns(one.entry) for one in staged], [one.entry.is_withdrawn for one in staged],
        [one.words for one in staged], [one.digest for one in staged],
        [one.body for one in staged])
    places = {row["place"] for row in kept}
    again = [one for one in staged if one.place not in places]
    known = {row["key"]: row["digest"] for row in await unit.fetch(
        "select key, digest from medicine_stage where delivery = $1 and key = any($2::text[])",
        number, [one.entry.key for one in again])}
    same = [one for one in again if bytes(known[one.entry.key]) == one.digest]
    other = [Rejected(one.place, one.entry.key, "duplicate", one.entry.trade, one.body[:2000])
             for one in again if bytes(known[one.entry.key]) != one.digest]
    await put_aside(unit, number, [*rejected, *other])
    await unit.execute(
        "update medicine_delivery set pages_done = $2, rows = rows + $3,"
        " duplicates = duplicates + $4, notes = $5::jsonb, fault = '' where number = $1",
        number, page, len(staged) + len(rejected), len(same),
        msgspec.json.encode(await _with(unit, number, notes)).decode())


async def _with(unit: GatewayUnit, number: int, notes: Mapping[str, int]) -> dict[str, int]:
    text = await unit.fetchval(
        "select notes::text from medicine_delivery where number = $1", number)
    known = msgspec.json.decode(text, type=dict[str, int])
    return {name: known.get(name, 0) + notes.get(name, 0) for name in sorted({*known, *notes})}


def _inns(entry: Entry) -> str:
    keys = sorted(one.inn for one in entry.strengths)
    return "+".join(keys) if keys and all(keys) else ""


async def put_aside(unit: GatewayUnit, number: int, rejected: Sequence[Rejected]) -> None:
    """Puts rows into quarantine; the same row for the same reason once."""
    if not rejected:
        return
    await unit.execute(
        "insert into medicine_quarantine (delivery, place, key, reason, words, raw)"
        " select $1, * from unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::text[])"
        " on conflict do nothing",
        number, [one.place for one in rejected], [one.key for one in rejected],
        [one.reason for one in rejected], [one.words for one in rejected],
        [one.raw for one in rejected])


_REUSED = (
    "case when exists (select from medicine_entry e where e.feed = $2 and e.key = s.key"
    " and e.inns <> '' and s.inns <> '' and e.inns <> s.inns) then 'key-reused'"
    " when exists (select from medicine_entry e where e.gtin = s.gtin and e.gtin <> ''"
    " and e.feed = $2 and e.key <> s.key) then 'gtin-reused' end"
)
_TWICE = (
    "case when exists (select from medicine_stage o where o.delivery = $1 and o.gtin = s.gtin"
    " and o.key <> s.key and o.place < s.place and s.gtin <> '' and $2 <> '') then 'gtin-twice' end"
)


async def put_aside_reused(unit: GatewayUnit, number: int, name: str) -> None:
    """Puts aside staged rows that use an identifier again: a key that was of another substance, a
    GTIN that was or is of another key.
    """
    # Thieves go first, so that the owner of a GTIN is not taken for the second one.
    for why in (_REUSED, _TWICE):
        rows = await unit.fetch(
            f"select * from (select s.place, s.key, s.gtin, s.body, {why} as reason"
            " from medicine_stage s where s.delivery = $1 and not s.is_withdrawn) found"
            " where reason is not null", number, name)
        found = [Rejected(row["place"], row["key"], row["reason"], row["gtin"], row["body"][:2000])
                 for row in rows]
        await put_aside(unit, number, found)
        await unit.execute(
            "delete from medicine_stage where delivery = $1 and key = any($2::text[])",
            number, [one.key for one in found])


async def rejected(
    unit: GatewayUnit, number: int, reason: str = "", limit: int = ROWS_MAX
) -> list[Rejected]:
    """What a delivery's quarantine holds, in the delivery's order."""
    rows = await unit.fetch(
        "select place, key, reason, words, raw from medicine_quarantine where delivery = $1"
        " and ($2 = '' or reason = $2) order by place, reason limit $3", number, reason, limit)
    return [Rejected(**dict(row)) for row in rows]


async def rejected_by_reason(unit: GatewayUnit, number: int) -> dict[str, int]:
    """How many rows of a delivery were put aside, by reason."""
    rows = await unit.fetch(
        "select reason, count(*) as many from medicine_quarantine where delivery = $1"
        " group by reason order by many desc, reason", number)
    return {row["reason"]: row["many"] for row in rows}


async def counts(unit: GatewayUnit, number: int, name: str, mode: str) -> dict[str, int]:
    """What publishing would do: added, changed, withdrawn, unchanged, current, rejected.

    What a full delivery put aside is not missing from it: its entry stays as it was.
    """
    row = await unit.fetchrow(
        "with s as (select * from medicine_stage where delivery = $1),"
        " e as (select * from medicine_entry where feed = $2 and ended is null)"
        " select"
        " (select count(*) from s where not is_withdrawn"
        "   and not exists (select from e where e.key = s.key)) as added,"
        " (select count(*) from s join e on e.key = s.key"
        "   where not s.is_withdrawn and e.digest <> s.digest) as changed,"
        " (select count(*) from s join e on e.key = s.key"
        "   where not s.is_withdrawn and e.digest = s.digest) as unchanged,"
        f" (select count(*) from e where {_GONE}) as withdrawn,"
        " (select count(*) from e) as current,"
        " (select count(distinct place) from medicine_quarantine where delivery = $1) as rejected",
        number, name, mode)
    return dict(row)


_GONE = (
    "(($3 = 'full' and not exists (select from medicine_stage s where s.delivery = $1"
    " and s.key = e.key) and not exists (select from medicine_quarantine q where q.delivery = $1"
    " and q.key = e.key)) or exists (select from medicine_stage s where s.delivery = $1"
    " and s.key = e.key and s.is_withdrawn))"
)


async def settle(unit: GatewayUnit, number: int, state: State, now: datetime,
                 figures: Mapping[str, int], reasons: Iterable[str], *, fault: str = "") -> None:
    """Writes down what became of a delivery."""
    await unit.execute(
        "update medicine_delivery set state = $2, ended = $3, added = $4, changed = $5,"
        " withdrawn = $6, unchanged = $7, rejected = $8, reasons = $9::jsonb, fault = $10"
        " where number = $1",
        number, state.value, now, figures.get("added", 0), figures.get("changed", 0),
        figures.get("withdrawn", 0), figures.get("unchanged", 0), figures.get("rejected", 0),
        msgspec.json.encode(tuple(reasons)).decode(), fault)


async def publish(unit: GatewayUnit, given: Delivery, figures: Mapping[str, int],
                  now: datetime, approver: str) -> int:
    """Makes a version of a staged delivery, in the unit's transaction; its number."""
    version: int = await unit.fetchval(
        "insert into medicine_version (feed, delivery, published, effective, added, changed,"
        " withdrawn) values ($1, $2, $3, $4, $5, $6, $7) returning number",
        given.feed, given.number, now, max(given.effective, now), figures["added"],
        figures["changed"], figures["withdrawn"])
    await unit.execute(
        "update medicine_entry e set ended = $4 where e.feed = $2 and e.ended is null and ("
        f"{_GONE} or exists (select from medicine_stage s where s.delivery = $1"
        " and s.key = e.key and s.digest <> e.digest))",
        given.number, given.feed, given.mode, version)
    await unit.execute(
        "insert into medicine_entry (feed, key, version, product, gtin, inns, words, digest, body)"
        " select $2, s.key, $3, s.product, s.gtin, s.inns, s.words, s.digest, s.body"
        " from medicine_stage s where s.delivery = $1 and not s.is_withdrawn"
        " and not exists (select from medicine_entry e where e.feed = $2 and e.key = s.key"
        " and e.ended is null)", given.number, given.feed, version)
    await unit.execute("delete from medicine_stage where delivery = $1", given.number)
    await unit.execute(
        "update medicine_delivery set version = $2, approver = $3 where number = $1",
        given.number, version, approver)
    await took(unit, given)
    await _overtake(unit, given, now)
    return version


async def _overtake(unit: GatewayUnit, given: Delivery, now: datetime) -> None:
    """Older deliveries that wait or were never finished are too late from now on."""
    rows = await unit.fetch(
        "update medicine_delivery set state = 'refused', ended = $4, reasons = '[\"late\"]'::jsonb"
        " where feed = $1 and number <> $2 and as_of <= $3 and state in ('staging', 'held')"
        " returning number", given.feed, given.number, given.as_of, now)
    for row in rows:
        await drop_stage(unit, row["number"])


async def took(unit: GatewayUnit, given: Delivery) -> None:
    """Notes on the feed that a delivery was taken: what is asked for next comes after it."""
    await unit.execute(
        "update medicine_feed set mark = $2, as_of = greatest(as_of, $3) where name = $1",
        given.feed, given.mark, given.as_of)


async def drop_stage(unit: GatewayUnit, number: int) -> None:
    """Forgets the staged rows of a delivery; its quarantine stays."""
    await unit.execute("delete from medicine_stage where delivery = $1", number)


# Versions and entries ---------------------------------------------------------------------------


async def versions(unit: GatewayUnit, limit: int = 50) -> list[Version]:
    """The latest versions, newest first."""
    rows = await unit.fetch(
        f"select {_VERSION} from medicine_version order by number desc limit $1", limit)
    return [Version(**dict(row)) for row in rows]


async def version(unit: GatewayUnit, number: int) -> Version | None:
    """One version."""
    row = await unit.fetchrow(
        f"select {_VERSION} from medicine_version where number = $1", number)
    return None if row is None else Version(**dict(row))


async def latest(unit: GatewayUnit, now: datetime) -> int:
    """The number of the newest version that is effective; 0 where there is none."""
    number: int = await unit.fetchval(
        "select coalesce(max(v.number), 0) from medicine_version v"
        " join medicine_feed f on f.name = v.feed where f.is_national and v.effective <= $1", now)
    return number


async def diff(unit: GatewayUnit, number: int, limit: int = ROWS_MAX) -> list[ChangeLine]:
    """What a version changed, by key."""
    rows = await unit.fetch(
        "select coalesce(a.key, b.key) as key, b.body as before, a.body as after"
        " from (select * from medicine_entry where version = $1) a"
        " full join (select * from medicine_entry where ended = $1) b"
        " on a.key = b.key and a.feed = b.feed order by 1 limit $2", number, limit)
    return [ChangeLine(key=row["key"], before=_entry(row["before"]), after=_entry(row["after"]))
            for row in rows]


async def stays(unit: GatewayUnit, now: datetime, after: str, limit: int) -> list[Any]:
    """Entries of national feeds with the moments of their versions, by key after `after`."""
    rows = await unit.fetch(
        "select e.feed, e.key, e.body, v.effective as begun,"
        " case when w.effective <= $1 then w.effective end as ended,"
        " e.key || ' ' || e.version as mark from medicine_entry e"
        " join medicine_feed f on f.name = e.feed and f.is_national"
        " join medicine_version v on v.number = e.version and v.effective <= $1"
        " left join medicine_version w on w.number = e.ended"
        " where e.key || ' ' || e.version > $2 order by e.key || ' ' || e.version limit $3",
        now, after, limit)
    return list(rows)


async def history(unit: GatewayUnit, key: str) -> list[tuple[Version, Entry]]:
    """All that an entry ever was, newest first."""
    rows = await unit.fetch(
        "select v.number, v.feed, v.delivery, v.published, v.effective, v.added, v.changed,"
        " v.withdrawn, e.body from medicine_entry e join medicine_version v"
        " on v.number = e.version where e.key = $1 order by v.number desc limit 100", key)
    found = []
    for row in rows:
        fields = dict(row)
        entry = _entry(fields.pop("body"))
        if entry is not None:
            found.append((Version(**fields), entry))
    return found


async def ended_by(unit: GatewayUnit, key: str) -> int | None:
    """The version that withdrew an entry, None while it is in force or where it never was."""
    number: int | None = await unit.fetchval(
        "select max(ended) from medicine_entry e where e.key = $1 and not exists (select from"
        " medicine_entry o where o.key = $1 and o.ended is null)", key)
    return number


async def looked_up(unit: GatewayUnit, words: str, limit: int) -> list[tuple[str, Entry]]:
    """(feed, entry) in force whose words hold these folded words."""
    pattern = "%" + words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    rows = await unit.fetch(
        "select feed, body from medicine_entry where ended is null and words like $1"
        " order by feed, key limit $2", pattern, limit)
    return [(row["feed"], entry) for row in rows if (entry := _entry(row["body"]))]


# Links of substances ----------------------------------------------------------------------------


async def links(unit: GatewayUnit) -> dict[str, str]:
    """What people decided: folded name to INN key, "" for none of ours."""
    rows = await unit.fetch("select name, inn from medicine_link where inn is not null")
    return {row["name"]: row["inn"] for row in rows}


async def ask_links(unit: GatewayUnit, names: Mapping[str, tuple[str, int]]) -> None:
    """Puts substances without a link up for a person: folded name to (name, how many rows)."""
    await unit.execute(
        "insert into medicine_link (name, shown, rows)"
        " select * from unnest($1::text[], $2::text[], $3::integer[])"
        " on conflict (name) do update set rows = greatest(medicine_link.rows, excluded.rows)",
        list(names), [shown for shown, _ in names.values()], [many for _, many in names.values()])


async def open_links(unit: GatewayUnit, limit: int = 100) -> list[Link]:
    """Substances that wait for a person, the most frequent first."""
    rows = await unit.fetch(
        "select shown as name, rows from medicine_link where inn is null"
        " order by rows desc, name limit $1", limit)
    return [Link(row["name"], row["rows"]) for row in rows]


async def set_link(unit: GatewayUnit, name: str, inn: str, person: str, now: datetime) -> bool:
    """Writes a person's decision down; False where nobody asked for this name."""
    tag = await unit.execute(
        "update medicine_link set inn = $2, person = $3, at = $4 where name = $1",
        name, inn, person, now)
    return tag == "UPDATE 1"


# Records ----------------------------------------------------------------------------------------


async def recorded(unit: GatewayUnit) -> tuple[int, str]:
    """How far the FHIR records follow: (version, key); the row is held until the unit ends."""
    await unit.execute("insert into medicine_recorded (version, key) values (0, '')"
                       " on conflict do nothing")
    row = await unit.fetchrow("select version, key from medicine_recorded for update")
    return row["version"], row["key"]


async def set_recorded(unit: GatewayUnit, number: int, key: str) -> None:
    """Notes how far the FHIR records follow."""
    await unit.execute("update medicine_recorded set version = $1, key = $2", number, key)


async def next_version(unit: GatewayUnit, after: int, now: datetime) -> int | None:
    """The first effective version after a number."""
    number: int | None = await unit.fetchval(
        "select min(number) from medicine_version where number > $1 and effective <= $2",
        after, now)
    return number


async def changed_in(
    unit: GatewayUnit, number: int, after: str, limit: int
) -> list[tuple[str, str, Entry, bool]]:
    """(feed, key, entry, is in force) of a version's changes after a key, by key: what it brought,
    and what it withdrew as it last was.
    """
    rows = await unit.fetch(
        "select feed, key, body, version = $1 as is_now from medicine_entry e"
        " where (version = $1 or (ended = $1 and not exists (select from medicine_entry o"
        "   where o.feed = e.feed and o.key = e.key and o.version = $1)))"
        " and feed || ' ' || key > $2 order by feed || ' ' || key limit $3", number, after, limit)
    return [(row["feed"], row["key"], entry, row["is_now"])
            for row in rows if (entry := _entry(row["body"]))]
