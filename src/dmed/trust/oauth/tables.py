"""Clients, codes, consents and their tokens: tables that are no FHIR records.

What opens something (codes, refresh and launch tokens) lies here as SHA-256 digests alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmed.trust.tables import Connection

DDL: tuple[str, ...] = (
    """create table if not exists oauth_client (
        id text collate "C" primary key,
        name text not null,
        kind text not null,
        redirect_uris text[] not null default '{}',
        scopes text not null default '',
        keys text not null default '',
        account text collate "C" references account (name) on delete cascade,
        launch_uri text not null default '',
        is_active boolean not null default true,
        made timestamptz not null default now()
    )""",
    """create table if not exists oauth_request (
        digest bytea primary key,
        session bytea not null,
        client text collate "C" not null references oauth_client (id) on delete cascade,
        redirect_uri text not null,
        state text not null,
        nonce text not null,
        challenge text not null,
        scopes text not null,
        launch bytea,
        patient text collate "C" not null default '',
        encounter text collate "C" not null default '',
        ends timestamptz not null
    )""",
    "create index if not exists oauth_request_ends on oauth_request (ends)",
    """create table if not exists oauth_launch (
        digest bytea primary key,
        client text collate "C" not null references oauth_client (id) on delete cascade,
        account text collate "C" not null references account (name) on delete cascade,
        patient text collate "C" not null,
        encounter text collate "C" not null,
        ends timestamptz not null
    )""",
    """create table if not exists oauth_family (
        id text collate "C" primary key,
        client text collate "C" not null references oauth_client (id) on delete cascade,
        account text collate "C" not null references account (name) on delete cascade,
        post text collate "C" not null,
        scopes text not null,
        patient text collate "C" not null,
        encounter text collate "C" not null,
        nonce text not null,
        session bytea,
        made timestamptz not null default now(),
        seen timestamptz not null default now(),
        ends timestamptz not null,
        is_ended boolean not null default false
    )""",
    """alter table oauth_family
        add column if not exists signed_in timestamptz,
        add column if not exists acr text not null default ''""",
    "create index if not exists oauth_family_account on oauth_family (account)",
    "create index if not exists oauth_family_ends on oauth_family (ends)",
    """create table if not exists oauth_remembered (
        account text collate "C" not null references account (name) on delete cascade,
        client text collate "C" not null references oauth_client (id) on delete cascade,
        asked text not null,
        allowed text not null,
        made timestamptz not null default now(),
        used timestamptz not null default now(),
        primary key (account, client)
    )""",
    """create table if not exists oauth_code (
        digest bytea primary key,
        family text collate "C" not null references oauth_family (id) on delete cascade,
        redirect_uri text not null,
        challenge text not null,
        is_used boolean not null default false,
        ends timestamptz not null
    )""",
    "create index if not exists oauth_code_family on oauth_code (family)",
    """create table if not exists oauth_refresh (
        digest bytea primary key,
        family text collate "C" not null references oauth_family (id) on delete cascade,
        is_used boolean not null default false,
        ends timestamptz not null
    )""",
    "create index if not exists oauth_refresh_family on oauth_refresh (family)",
    """create table if not exists oauth_jti (
        client text collate "C" not null,
        jti text collate "C" not null,
        ends timestamptz not null,
        primary key (client, jti)
    )""",
    "create index if not exists oauth_jti_ends on oauth_jti (ends)",
)


async def save_client(connection: Connection, values: tuple[Any, ...]) -> None:
    """Register a client or replace it: id, name, kind, redirect_uris, scopes, keys, account,
    launch_uri.
    """
    await connection.execute(
        "insert into oauth_client (id, name, kind, redirect_uris, scopes, keys, account,"
        " launch_uri) values ($1, $2, $3, $4, $5, $6, $7, $8)"
        " on conflict (id) do update set name = excluded.name, kind = excluded.kind,"
        " redirect_uris = excluded.redirect_uris, scopes = excluded.scopes,"
        " keys = excluded.keys, account = excluded.account, launch_uri = excluded.launch_uri,"
        " is_active = true",
        *values,
    )


async def client(connection: Connection, id_: str) -> Any | None:
    """The row of an active client, or None."""
    return await connection.fetchrow(
        "select id, name, kind, redirect_uris, scopes, keys, account, launch_uri"
        " from oauth_client where id = $1 and is_active",
        id_,
    )


async def clients(connection: Connection) -> list[Any]:
    """All active clients by name."""
    return await connection.fetch(
        "select id, name, kind, redirect_uris, scopes, keys, account, launch_uri"
        " from oauth_client where is_active order by name, id"
    )


async def close_client(connection: Connection, id_: str) -> bool:
    """Refuse a client from now on and end what it was given; whether there was one."""
    status = await connection.execute(
        "update oauth_client set is_active = false where id = $1 and is_active", id_
    )
    await connection.execute("update oauth_family set is_ended = true where client = $1", id_)
    return status.endswith(" 1")


# Requests under way


async def save_request(connection: Connection, values: tuple[Any, ...]) -> None:
    """Keep a checked request: digest, session, client, redirect_uri, state, nonce, challenge,
    scopes, launch, patient, encounter, ends. Sweeps what ended.
    """
    await connection.execute("delete from oauth_request where ends < now()")
    await connection.execute(
        "insert into oauth_request values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        *values,
    )


async def request(connection: Connection, digest: bytes, session: bytes) -> Any | None:
    """A request under way of this page session, or None."""
    return await connection.fetchrow(
        "select client, redirect_uri, state, nonce, challenge, scopes, launch, patient, encounter"
        " from oauth_request where digest = $1 and session = $2 and ends > now()",
        digest,
        session,
    )


async def set_patient(connection: Connection, digest: bytes, patient: str) -> None:
    """The person whom the reader chose for the app."""
    await connection.execute(
        "update oauth_request set patient = $2 where digest = $1", digest, patient
    )


async def take_request(connection: Connection, digest: bytes) -> bool:
    """End a request; False where another answer was quicker."""
    status = await connection.execute("delete from oauth_request where digest = $1", digest)
    return status.endswith(" 1")


# Launches from within the platform


async def save_launch(connection: Connection, values: tuple[Any, ...]) -> None:
    """Keep a launch: digest, client, account, patient, encounter, ends. Sweeps what ended."""
    await connection.execute("delete from oauth_launch where ends < now()")
    await connection.execute("insert into oauth_launch values ($1, $2, $3, $4, $5, $6)", *values)


async def launch(connection: Connection, digest: bytes, client: str, account: str) -> Any | None:
    """Patient and encounter of a launch of this app by this person, or None."""
    return await connection.fetchrow(
        "select patient, encounter from oauth_launch"
        " where digest = $1 and client = $2 and account = $3 and ends > now()",
        digest,
        client,
        account,
    )


async def take_launch(connection: Connection, digest: bytes) -> bool:
    """Use a launch up; False where it was used before."""
    status = await connection.execute("delete from oauth_launch where digest = $1", digest)
    return status.endswith(" 1")


# Families: one consent and all that stems from it


async def save_family(connection: Connection, values: tuple[Any, ...]) -> None:
    """Keep a consent: id, client, account, post, scopes, patient, encounter, nonce, session, ends,
    when and how strongly (acr) its person had signed in.

    Sweeps what ended a day ago: until then its reuse is still recognised.
    """
    await connection.execute("delete from oauth_family where ends < now() - interval '1 day'")
    await connection.execute(
        "insert into oauth_family (id, client, account, post, scopes, patient, encounter, nonce,"
        " session, ends, signed_in, acr)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        *values,
    )


async def end_family(connection: Connection, id_: str) -> None:
    """End a consent with all its tokens."""
    await connection.execute("update oauth_family set is_ended = true where id = $1", id_)
    await connection.execute("delete from oauth_refresh where family = $1 and not is_used", id_)


async def is_family_open(connection: Connection, id_: str) -> bool:
    """Whether a consent and its client still stand."""
    return bool(
        await connection.fetchval(
            "select exists (select from oauth_family f join oauth_client c on c.id = f.client"
            " where f.id = $1 and not f.is_ended and c.is_active)",
            id_,
        )
    )


async def families_of(connection: Connection, account: str) -> list[Any]:
    """The consents of a person that still give something: id, client's name, scopes, times."""
    return await connection.fetch(
        "select f.id, f.client, c.name, f.scopes, f.patient, f.made, f.seen, f.ends"
        " from oauth_family f join oauth_client c on c.id = f.client"
        " where f.account = $1 and not f.is_ended and f.ends > now() order by f.made desc",
        account,
    )


async def family(connection: Connection, id_: str) -> Any | None:
    """A consent that was not ended, with whether its page session lives (`is_present`)."""
    return await connection.fetchrow(
        "select f.id, f.client, f.account, f.post, f.scopes, f.patient, f.encounter, f.nonce,"
        " f.ends, coalesce(f.signed_in, f.made) as signed_in, f.acr,"
        " (f.session is null or exists (select from page_session s"
        " where s.digest = f.session and s.ends > now())) as is_present"
        " from oauth_family f where f.id = $1 and not f.is_ended and f.ends > now()",
        id_,
    )


async def move_session(connection: Connection, old: bytes, new: bytes) -> None:
    """A page session goes on under another cookie, and what hangs on it with it."""
    await connection.execute(
        "update oauth_family set session = $2 where session = $1 and not is_ended", old, new
    )


async def save_code(
    connection: Connection,
    digest: bytes,
    family_id: str,
    *,
    redirect_uri: str,
    challenge: str,
    ends: datetime,
) -> None:
    """Keep a code."""
    await connection.execute(
        "insert into oauth_code (digest, family, redirect_uri, challenge, ends)"
        " values ($1, $2, $3, $4, $5)",
        digest,
        family_id,
        redirect_uri,
        challenge,
        ends,
    )


async def use_code(connection: Connection, digest: bytes) -> Any | None:
    """Use a code up: family, redirect_uri, challenge, is_live and whether this is the first time;
    None where there never was one.
    """
    return await connection.fetchrow(
        "with before as (select digest, is_used from oauth_code where digest = $1 for update)"
        " update oauth_code c set is_used = true from before b where c.digest = b.digest"
        " returning c.family, c.redirect_uri, c.challenge, c.ends > now() as is_live,"
        " not b.is_used as is_first",
        digest,
    )


async def save_refresh(
    connection: Connection, digest: bytes, family_id: str, ends: datetime
) -> None:
    """Keep a refresh token."""
    await connection.execute(
        "insert into oauth_refresh (digest, family, ends) values ($1, $2, $3)",
        digest,
        family_id,
        ends,
    )
    await connection.execute("update oauth_family set seen = now() where id = $1", family_id)


async def refresh(connection: Connection, digest: bytes) -> Any | None:
    """family, is_used and is_live of a refresh token, or None."""
    return await connection.fetchrow(
        "select family, is_used, ends > now() as is_live from oauth_refresh where digest = $1",
        digest,
    )


async def use_refresh(connection: Connection, digest: bytes) -> bool:
    """Use a refresh token up; False where it was used before."""
    status = await connection.execute(
        "update oauth_refresh set is_used = true where digest = $1 and not is_used", digest
    )
    return status.endswith(" 1")


async def use_jti(connection: Connection, client_id: str, jti: str, ends: datetime) -> bool:
    """Note an assertion's number; False where it came before."""
    await connection.execute("delete from oauth_jti where ends < now()")
    status = await connection.execute(
        "insert into oauth_jti (client, jti, ends) values ($1, $2, $3) on conflict do nothing",
        client_id,
        jti,
        ends,
    )
    return status.endswith(" 1")
