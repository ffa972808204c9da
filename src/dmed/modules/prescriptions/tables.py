"""Own tables: numbers and codes, drafts. No clinical fact lies here alone.

`prescription` is the row that every act on a prescription locks first, so that of any number of
parallel claims exactly one wins. Codes lie here only as digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

REGIONS = (
    "1703", "1706", "1708", "1710", "1712", "1714", "1718",
    "1722", "1724", "1726", "1727", "1730", "1733", "1735",
)  # fmt: skip  # Two lines of seven read better than fourteen.
"""Regions of the country (states-cs): each counts its own prescriptions."""

DDL: tuple[str, ...] = (
    """create table if not exists prescription (
        number text collate "C" primary key,
        patient text collate "C" not null,
        prescriber text collate "C" not null,
        organisation text collate "C" not null,
        author text collate "C" not null,
        signed timestamptz not null,
        valid_until date not null,
        code_digest bytea not null,
        short_digest bytea not null,
        wrong_codes integer not null default 0,
        locked_until timestamptz,
        replaces text collate "C" not null default '',
        is_open boolean not null default true
    )""",
    "create index if not exists prescription_open on prescription (valid_until) where is_open",
    "alter table prescription add column if not exists is_draft boolean not null default false",
    "create index if not exists prescription_draft_since on prescription (signed) where is_draft",
    "create index if not exists prescription_patient on prescription (patient, signed)",
    """create index if not exists prescription_closed on prescription (valid_until)
        where not is_open""",
    """create table if not exists prescription_item (
        request text collate "C" primary key,
        number text collate "C" not null references prescription (number),
        item integer not null,
        task text collate "C" not null,
        unique (number, item)
    )""",
    "create index if not exists prescription_item_task on prescription_item (task)",
    "alter table prescription_item add column if not exists starts date",
    "create index if not exists prescription_item_starts on prescription_item (starts)",
    """create table if not exists prescription_act (
        actor text collate "C" not null,
        key text collate "C" not null,
        act text collate "C" not null,
        number text collate "C" not null,
        answer bytea not null default '',
        at timestamptz not null default now(),
        primary key (actor, key)
    )""",
    """create table if not exists prescription_draft (
        id text collate "C" primary key,
        author text collate "C" not null,
        patient text collate "C" not null,
        body bytea not null,
        updated timestamptz not null default now()
    )""",
    "alter table prescription_draft add column if not exists ended timestamptz",
    "create index if not exists prescription_draft_author on prescription_draft (author, updated)",
    """create table if not exists prescription_paper (
        number text collate "C" primary key,
        author text collate "C" not null,
        organisation text collate "C" not null,
        printed timestamptz not null default now(),
        entered timestamptz,
        voided timestamptz
    )""",
    "create index if not exists prescription_paper_author on prescription_paper (author, printed)",
    "alter table prescription_paper add column if not exists device text not null default ''",
    """create table if not exists prescription_favourite (
        id text collate "C" primary key,
        author text collate "C" not null,
        name text not null,
        body bytea not null,
        changed timestamptz not null default now()
    )""",
    "create index if not exists prescription_favourite_author on prescription_favourite (author)",
    """create table if not exists prescription_alert (
        card uuid primary key,
        day date not null,
        channel text collate "C" not null,
        rule text collate "C" not null,
        version text collate "C" not null,
        tier text collate "C" not null,
        outcome text collate "C" not null default '',
        reason text collate "C" not null default ''
    )""",
    "create index if not exists prescription_alert_day on prescription_alert (day)",
    """create table if not exists prescription_decision (
        id text collate "C" primary key,
        number text not null,
        decided date not null,
        council text not null,
        chair text not null,
        organisation text collate "C" not null,
        organisation_name text not null,
        patient text collate "C" not null,
        inn text not null,
        valid_until date not null,
        author text collate "C" not null,
        entered timestamptz not null,
        withdrawn timestamptz
    )""",
    "create index if not exists prescription_decision_patient on prescription_decision (patient)",
    """create index if not exists prescription_decision_organisation
        on prescription_decision (organisation, entered)""",
    *(
        f"create sequence if not exists prescription_running_{region} minvalue 0 start 0"
        " maxvalue 99999999"
        for region in REGIONS
    ),
)


class Connection(Protocol):
    """What these statements run on: a unit of the gateway."""

    async def execute(self, sql: str, *args: Any) -> str: ...

    async def fetch(self, sql: str, *args: Any) -> list[Any]: ...

    async def fetchrow(self, sql: str, *args: Any) -> Any: ...

    async def fetchval(self, sql: str, *args: Any) -> Any: ...


async def next_running(connection: Connection, region: str) -> int:
    """The next running number of a region; gaps are possible, doubles are not."""
    name = f"prescription_running_{region if region in REGIONS else '1726'}"
    return int(await connection.fetchval("select nextval($1::text::regclass)", name))


async def insert(
    connection: Connection,
    *,
    number: str,
    patient: str,
    prescriber: str,
    organisation: str,
    author: str,
    signed: datetime,
    valid_until: date,
    code_digest: bytes,
    short_digest: bytes,
    replaces: str,
    is_draft: bool = False,
) -> None:
    """The row of a newly signed prescription, or of a draft that waits for its signature: its
    `signed` is when it was written.
    """
    await connection.execute(
        "insert into prescription (number, patient, prescriber, organisation, author, signed,"
        " valid_until, code_digest, short_digest, replaces, is_draft, is_open)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, not $11)",
        number, patient, prescriber, organisation, author, signed, valid_until, code_digest,
        short_digest, replaces, is_draft,
    )  # fmt: skip  # The order of the statement.


async def insert_item(
    connection: Connection, number: str, item: int, request: str, task: str
) -> None:
    """Which records stand for an item."""
    await connection.execute(
        "insert into prescription_item (number, item, request, task) values ($1, $2, $3, $4)",
        number, item, request, task,
    )  # fmt: skip  # Same reason.


async def insert_items(
    connection: Connection, number: str, pairs: list[tuple[str, str]], starts: date | None
) -> None:
    """Which (MedicationRequest, Task) stand for the items, from 1; `starts` where they wait."""
    await connection.execute(
        "insert into prescription_item (number, item, request, task, starts)"
        " select $1, n, request, task, $4 from unnest($2::text[], $3::text[]) with ordinality"
        " as t(request, task, n)",
        number, [request for request, _ in pairs], [task for _, task in pairs], starts,
    )  # fmt: skip  # Same reason.


async def row(connection: Connection, number: str, *, lock: bool = False) -> Any | None:
    """The row of a prescription, or None; `lock` holds every other act on it off."""
    statement = "select * from prescription where number = $1"
    return await connection.fetchrow(statement + (" for update" if lock else ""), number)


async def rows(connection: Connection, number: str) -> list[Any]:
    """The row of a prescription under lock, once for each item with its records (`item`,
    `request`, `task`), by item; nothing where there is none. Items never change.
    """
    return await connection.fetch(
        "select p.*, i.item, i.request, i.task from prescription p"
        " left join prescription_item i on i.number = p.number"
        " where p.number = $1 order by i.item for update of p",
        number,
    )


async def number_of_request(connection: Connection, request: str) -> str:
    """The number of the prescription that a MedicationRequest belongs to, or ""."""
    found = await connection.fetchval(
        "select number from prescription_item where request = $1", request
    )
    return str(found or "")


async def set_starts(connection: Connection, request: str, starts: date | None) -> None:
    """When a waiting item may be handed over first: what the starting job looks at."""
    await connection.execute(
        "update prescription_item set starts = $2 where request = $1", request, starts
    )


async def due(connection: Connection, day: date, limit: int) -> list[Any]:
    """(number, item) that wait and whose first day has come, the oldest first."""
    return await connection.fetch(
        "select number, item from prescription_item where starts <= $1"
        " order by starts, number, item limit $2",
        day,
        limit,
    )


async def of_task(connection: Connection, task: str) -> Any | None:
    """(number, item) of a Task, or None."""
    return await connection.fetchrow(
        "select number, item from prescription_item where task = $1", task
    )


async def set_open(connection: Connection, number: str, is_open: bool) -> None:
    """Whether any item may still be handed over: what the expiry job looks at."""
    await connection.execute(
        "update prescription set is_open = $2 where number = $1 and is_open <> $2", number, is_open
    )


async def set_signed(connection: Connection, number: str, at: datetime) -> None:
    """It was signed, or given up."""
    await connection.execute(
        "update prescription set is_draft = false, signed = $2 where number = $1", number, at
    )


async def unsigned(connection: Connection, before: datetime, limit: int) -> list[str]:
    """Numbers of drafts that were written before a moment."""
    found = await connection.fetch(
        "select number from prescription where is_draft and signed < $1 order by signed limit $2",
        before,
        limit,
    )
    return [str(entry["number"]) for entry in found]


async def note_alerts(
    connection: Connection,
    channel: str,
    day: date,
    cards: list[UUID],
    rules: list[str],
    versions: list[str],
    tiers: list[str],
) -> None:
    """Count alerts as shown, each card once; nobody's name stands beside them."""
    await connection.execute(
        "insert into prescription_alert (card, day, channel, rule, version, tier)"
        " select card, $2, $1, rule, version, tier"
        " from unnest($3::uuid[], $4::text[], $5::text[], $6::text[])"
        " as given (card, rule, version, tier) on conflict do nothing",
        channel, day, cards, rules, versions, tiers,
    )  # fmt: skip  # Same reason.


async def answer_alerts(
    connection: Connection,
    channel: str,
    cards: list[UUID],
    outcomes: list[str],
    reasons: list[str],
) -> set[UUID]:
    """Keep what became of alerts of this channel; the cards that it has."""
    found = await connection.fetch(
        "update prescription_alert as a set outcome = given.outcome, reason = given.reason"
        " from unnest($2::uuid[], $3::text[], $4::text[]) as given (card, outcome, reason)"
        " where a.card = given.card and a.channel = $1 returning a.card",
        channel, cards, outcomes, reasons,
    )  # fmt: skip  # Same reason.
    return {row["card"] for row in found}


async def alert_counts(connection: Connection, since: date, until: date) -> list[Any]:
    """(rule, version, tier, outcome, reason, count) of the alerts of some days, both included."""
    return await connection.fetch(
        "select rule, version, tier, outcome, reason, count(*) as count from prescription_alert"
        " where day between $1 and $2 group by rule, version, tier, outcome, reason"
        " order by rule, version, tier, outcome, reason",
        since,
        until,
    )


async def count_wrong(
    connection: Connection, number: str, lock_after: int, lock_minutes: int
) -> int:
    """Count a wrong code; at `lock_after` the prescription is locked. The count."""
    return int(
        await connection.fetchval(
            "update prescription set wrong_codes = wrong_codes + 1,"
            " locked_until = case when (wrong_codes + 1) % $2 = 0"
            " then now() + make_interval(mins => $3) else locked_until end"
            " where number = $1 returning wrong_codes",
            number, lock_after, lock_minutes,
        )
    )  # fmt: skip  # Same reason.


async def clear_wrong(connection: Connection, number: str) -> None:
    """A right code ends the counting."""
    await connection.execute(
        "update prescription set wrong_codes = 0, locked_until = null"
        " where number = $1 and wrong_codes > 0",
        number,
    )


async def expired(connection: Connection, day: date, limit: int) -> list[str]:
    """Numbers whose validity ended before `day` and that are still open."""
    found = await connection.fetch(
        "select number from prescription where is_open and valid_until < $1"
        " order by valid_until limit $2",
        day,
        limit,
    )
    return [str(entry["number"]) for entry in found]


async def begin_act(
    connection: Connection, actor: str, key: str, act: str, number: str
) -> Any | None:
    """Claim an idempotency key for this act; the row of the act that used it before, or None.

    A second act under the same key waits here until the first has ended.
    """
    claimed = await connection.fetchval(
        "insert into prescription_act (actor, key, act, number) values ($1, $2, $3, $4)"
        " on conflict do nothing returning true",
        actor,
        key,
        act,
        number,
    )
    if claimed:
        return None
    return await connection.fetchrow(
        "select act, number, answer from prescription_act where actor = $1 and key = $2",
        actor, key,
    )  # fmt: skip  # Same reason.


async def kept_act(connection: Connection, actor: str, key: str) -> Any | None:
    """The row of the act that used this key before, or None."""
    return await connection.fetchrow(
        "select act, number, answer from prescription_act where actor = $1 and key = $2",
        actor,
        key,
    )


async def end_act(
    connection: Connection, actor: str, key: str, number: str, answer: bytes = b""
) -> None:
    """Keep what the act made."""
    await connection.execute(
        "update prescription_act set number = $3, answer = $4 where actor = $1 and key = $2",
        actor, key, number, answer,
    )  # fmt: skip  # Same reason.


async def save_draft(
    connection: Connection, draft_id: str, author: str, patient: str, body: bytes
) -> datetime | None:
    """Keep a draft of its author; the moment, or None when the id is another author's."""
    moment = await connection.fetchval(
        "insert into prescription_draft (id, author, patient, body) values ($1, $2, $3, $4)"
        " on conflict (id) do update set patient = excluded.patient, body = excluded.body,"
        " updated = now() where prescription_draft.author = excluded.author"
        " and prescription_draft.ended is null returning updated",
        draft_id, author, patient, body,
    )  # fmt: skip  # Same reason.
    return moment if isinstance(moment, datetime) else None


async def drafts(connection: Connection, author: str, patient: str, limit: int) -> list[Any]:
    """An author's drafts, newest first; of one patient where given."""
    return await connection.fetch(
        "select id, body, updated from prescription_draft"
        " where author = $1 and ($2 = '' or patient = $2) and ended is null"
        " order by updated desc limit $3",
        author, patient, limit,
    )  # fmt: skip  # Same reason.


async def draft(connection: Connection, author: str, draft_id: str) -> Any | None:
    """One draft of an author, or None."""
    return await connection.fetchrow(
        "select id, body, updated from prescription_draft"
        " where id = $1 and author = $2 and ended is null",
        draft_id, author,
    )  # fmt: skip  # Same reason.


async def end_draft(connection: Connection, author: str, draft_id: str) -> None:
    """A draft was signed or dropped: an autosave that comes after it must not bring it back."""
    await connection.execute(
        "update prescription_draft set ended = now(), body = ''::bytea"
        " where id = $1 and author = $2",
        draft_id, author,
    )  # fmt: skip  # Same reason.


async def drop_old_drafts(connection: Connection, hours: int) -> None:
    """Forget drafts that nobody touched for so many hours."""
    await connection.execute(
        "delete from prescription_draft where updated < now() - make_interval(hours => $1)", hours
    )


async def closed_numbers(
    connection: Connection, region: str, today: date, most: int
) -> list[str]:
    """Numbers of a region that are closed before the end of their validity, newest first."""
    rows = await connection.fetch(
        "select number from prescription where not is_open and not is_draft"
        " and valid_until >= $2 and left(number, 4) = $1 order by signed desc limit $3",
        region,
        today,
        most,
    )
    return [row["number"] for row in rows]


async def insert_paper(
    connection: Connection, number: str, author: str, organisation: str, device: str = ""
) -> None:
    """A number for one doctor: of a blank form, or for the key of a computer of his."""
    await connection.execute(
        "insert into prescription_paper (number, author, organisation, device)"
        " values ($1, $2, $3, $4)",
        number, author, organisation, device,
    )  # fmt: skip  # Same reason.


async def papers(connection: Connection, author: str, device: str = "") -> list[Any]:
    """A doctor's numbers that are neither typed in nor void, of forms or of one computer, oldest
    first.
    """
    return await connection.fetch(
        "select number, printed from prescription_paper where author = $1 and device = $2"
        " and entered is null and voided is null order by printed, number",
        author, device,
    )  # fmt: skip  # Same reason.


async def paper(connection: Connection, number: str) -> Any | None:
    """The form of a number, locked, or None."""
    return await connection.fetchrow(
        "select * from prescription_paper where number = $1 for update", number
    )


async def end_paper(
    connection: Connection, number: str, *, entered: datetime | None, voided: datetime | None
) -> None:
    """A form was typed in, or spoilt."""
    await connection.execute(
        "update prescription_paper set entered = $2, voided = $3 where number = $1",
        number, entered, voided,
    )  # fmt: skip  # Same reason.


async def keep_favourite(
    connection: Connection, id_: str, author: str, name: str, body: bytes
) -> None:
    """Lines that a doctor often writes, under a name of his own."""
    await connection.execute(
        "insert into prescription_favourite (id, author, name, body) values ($1, $2, $3, $4)",
        id_, author, name, body,
    )  # fmt: skip  # Same reason.


async def favourites(connection: Connection, author: str, limit: int) -> list[Any]:
    """A doctor's favourites by name."""
    return await connection.fetch(
        "select id, name, body from prescription_favourite where author = $1"
        " order by name, id limit $2",
        author, limit,
    )  # fmt: skip  # Same reason.


async def drop_favourite(connection: Connection, author: str, id_: str) -> None:
    """Forget a favourite."""
    await connection.execute(
        "delete from prescription_favourite where id = $1 and author = $2", id_, author
    )


async def keep_decision(connection: Connection, id_: str, author: str, **of: Any) -> None:
    """A commission's decision about an unregistered medicine; `of` as the columns are named."""
    await connection.execute(
        "insert into prescription_decision (id, number, decided, council, chair, organisation,"
        " organisation_name, patient, inn, valid_until, author, entered)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        id_, of["number"], of["decided"], of["council"], of["chair"], of["organisation"],
        of["organisation_name"], of["patient"], of["inn"], of["valid_until"], author, of["entered"],
    )  # fmt: skip  # The order of the statement.


async def decisions_of(connection: Connection, patients: Sequence[str]) -> list[Any]:
    """Every decision about a person by all his cards, also those that ended, newest first."""
    return await connection.fetch(
        "select * from prescription_decision where patient = any($1::text[])"
        " order by decided desc, id",
        list(patients),
    )


async def decisions_by(connection: Connection, organisation: str, limit: int) -> list[Any]:
    """What the head of an institution entered, newest first."""
    return await connection.fetch(
        "select * from prescription_decision where organisation = $1"
        " order by entered desc limit $2",
        organisation, limit,
    )  # fmt: skip  # Same reason.


async def withdraw_decision(
    connection: Connection, id_: str, organisation: str, at: datetime
) -> Any | None:
    """End a decision of an institution; its row as it was, or None where it has none such."""
    return await connection.fetchrow(
        "update prescription_decision set withdrawn = coalesce(withdrawn, $3)"
        " where id = $1 and organisation = $2 returning *",
        id_, organisation, at,
    )  # fmt: skip  # Same reason.
