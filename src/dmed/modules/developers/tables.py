"""Applications, the records and the calls of sandboxes: tables of this module.

A sandbox holds no record of the register: its records lie here, apart, by client.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from dmed.modules.developers.model import Application, Call, Kind, State
from dmed.trust.gateway import GatewayUnit

DDL: tuple[str, ...] = (
    """create table if not exists join_application (
        number bigint generated always as identity primary key,
        secret bytea not null unique,
        licence text collate "C" not null,
        tax_id text collate "C" not null,
        kind text collate "C" not null,
        name text not null,
        email text not null,
        phone text not null default '',
        state text collate "C" not null default 'code',
        tries smallint not null default 0,
        client text collate "C" not null default '',
        live_client text collate "C" not null default '',
        organisation text collate "C" not null default '',
        hands text[] not null default '{}',
        made timestamptz not null default now(),
        live timestamptz
    )""",
    """create unique index if not exists join_application_licence on join_application (licence)
        where state <> 'closed'""",
    "create index if not exists join_application_client on join_application (client)",
    """create table if not exists sandbox_record (
        client text collate "C" not null,
        type text collate "C" not null,
        id text collate "C" not null,
        vid bigint not null,
        updated timestamptz not null default now(),
        body text not null,
        primary key (client, type, id)
    )""",
    """create table if not exists sandbox_call (
        number bigint generated always as identity primary key,
        client text collate "C" not null,
        made timestamptz not null default now(),
        method text collate "C" not null,
        path text not null,
        query text not null,
        status smallint not null,
        digest text collate "C" not null,
        by_hand boolean not null,
        facts jsonb not null
    )""",
    "create index if not exists sandbox_call_of on sandbox_call (client, number)",
)
_APPLICATION = ("number, licence, tax_id, kind, name, email, phone, state, tries, client, "
                "live_client, organisation, made, live")
CALLS_KEPT = 500
RECORDS_MAX = 2_000


def _application(row: Any) -> Application:
    return Application(**{**dict(row), "kind": Kind(row["kind"]), "state": State(row["state"])})


async def apply(
    unit: GatewayUnit, secret: bytes, values: dict[str, str], *, stale_before: datetime
) -> Application | None:
    """A new application for a licence; None where another is under way or live.

    One that did not come to live since `stale_before` gives way.
    """
    await unit.execute(
        "update join_application set state = 'closed' where licence = $1"
        " and state in ('code', 'sandbox') and made < $2", values["licence"], stale_before)
    row = await unit.fetchrow(
        "insert into join_application (secret, licence, tax_id, kind, name, email, phone)"
        " values ($1, $2, $3, $4, $5, $6, $7) on conflict (licence) where state <> 'closed'"
        f" do nothing returning {_APPLICATION}",
        secret, values["licence"], values["tax_id"], values["kind"], values["name"],
        values["email"], values["phone"])
    return None if row is None else _application(row)


async def by_secret(
    unit: GatewayUnit, secret: bytes, *, lock: bool = False
) -> Application | None:
    """The application of a secret address."""
    row = await unit.fetchrow(
        f"select {_APPLICATION} from join_application where secret = $1"
        f"{' for update' if lock else ''}", secret)
    return None if row is None else _application(row)


async def by_client(unit: GatewayUnit, client: str) -> tuple[Application, list[str]] | None:
    """The application of a sandbox client, and the numbers of tokens that its page handed out."""
    row = await unit.fetchrow(
        f"select {_APPLICATION}, hands from join_application where client = $1"
        " and state in ('sandbox', 'live')", client)
    if row is None:
        return None
    values = dict(row)
    hands = list(values.pop("hands"))
    return _application(values), hands


async def listed(unit: GatewayUnit, limit: int = 200) -> list[Application]:
    """Applications, the latest first."""
    rows = await unit.fetch(
        f"select {_APPLICATION} from join_application order by number desc limit $1", limit)
    return [_application(row) for row in rows]


async def set_state(unit: GatewayUnit, number: int, state: State) -> None:
    """Moves an application on."""
    await unit.execute(
        "update join_application set state = $2 where number = $1", number, state.value)


async def count_try(unit: GatewayUnit, number: int) -> int:
    """One more wrong code; how many there were."""
    found: int = await unit.fetchval(
        "update join_application set tries = tries + 1 where number = $1 returning tries", number)
    return found


async def set_client(unit: GatewayUnit, number: int, client: str) -> None:
    """The OAuth client of its sandbox."""
    await unit.execute(
        "update join_application set client = $2 where number = $1", number, client)


async def add_hand(unit: GatewayUnit, number: int, jti: str) -> None:
    """Notes a token that the page handed out; the latest twenty count."""
    await unit.execute(
        "update join_application set hands = (array_prepend($2, hands))[1:20] where number = $1",
        number, jti)


async def set_live(unit: GatewayUnit, number: int, organisation: str, client: str) -> None:
    """The institution is on the platform."""
    await unit.execute(
        "update join_application set state = 'live', organisation = $2, live_client = $3,"
        " live = now() where number = $1", number, organisation, client)


# The sandbox


async def record(unit: GatewayUnit, client: str, type_: str, id_: str) -> Any:
    """A record of a sandbox (vid, updated, body), or None."""
    return await unit.fetchrow(
        "select vid, updated, body from sandbox_record"
        " where client = $1 and type = $2 and id = $3 for update", client, type_, id_)


async def records(unit: GatewayUnit, client: str, type_: str) -> list[Any]:
    """All records of a type in a sandbox, the latest first."""
    return await unit.fetch(
        "select id, vid, body from sandbox_record where client = $1 and type = $2"
        " order by vid desc limit $3", client, type_, RECORDS_MAX)


async def save(
    unit: GatewayUnit, client: str, type_: str, id_: str, vid: int, updated: datetime, body: str
) -> None:
    """A new version of a record in place of the old one."""
    await unit.execute(
        "insert into sandbox_record (client, type, id, vid, updated, body)"
        " values ($1, $2, $3, $4, $5, $6) on conflict (client, type, id)"
        " do update set vid = $4, updated = $5, body = $6", client, type_, id_, vid, updated, body)


async def count(unit: GatewayUnit, client: str) -> int:
    """How many records a sandbox holds."""
    found: int = await unit.fetchval(
        "select count(*) from sandbox_record where client = $1", client)
    return found


async def empty(unit: GatewayUnit, client: str) -> None:
    """Takes all records and calls of a sandbox away."""
    await unit.execute("delete from sandbox_record where client = $1", client)
    await unit.execute("delete from sandbox_call where client = $1", client)


async def add_call(unit: GatewayUnit, client: str, call: Call) -> None:
    """Notes a call; the oldest beyond CALLS_KEPT go."""
    number: int = await unit.fetchval(
        "insert into sandbox_call (client, made, method, path, query, status, digest, by_hand,"
        " facts) values ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb) returning number",
        client, call.made, call.method, call.path[:300], call.query[:500], call.status,
        call.digest, call.by_hand, msgspec.json.encode(call.facts).decode())
    if number % 50 == 0:
        await unit.execute(
            "delete from sandbox_call where client = $1 and number < (select min(number) from"
            " (select number from sandbox_call where client = $1 order by number desc limit $2) k)",
            client, CALLS_KEPT)


async def calls(unit: GatewayUnit, client: str) -> list[Call]:
    """The calls of a sandbox in order."""
    rows = await unit.fetch(
        "select number, made, method, path, query, status, digest, by_hand, facts::text as facts"
        " from sandbox_call where client = $1 order by number limit $2", client, CALLS_KEPT + 50)
    return [Call(**{**dict(row), "facts": msgspec.json.decode(row["facts"])}) for row in rows]


async def was_put_off(unit: GatewayUnit, client: str) -> bool:
    """Whether this sandbox has already tried a system's patience with a 503."""
    found: bool = await unit.fetchval(
        "select exists (select from sandbox_call where client = $1 and status = 503)", client)
    return found
