"""Posts, second factors and the life of page sessions: tables that are no FHIR records.

Secrets lie here as digests (recovery codes, PINs, cookies) or encrypted (second factors).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmed.trust.tables import Connection

DDL: tuple[str, ...] = (
    """alter table account
        add column if not exists pin text not null default '',
        add column if not exists patient text collate "C" not null default '',
        add column if not exists first_until timestamptz""",
    """alter table page_session
        add column if not exists stage text not null default 'open',
        add column if not exists post text collate "C" not null default '',
        add column if not exists place text not null default '',
        add column if not exists device text collate "C" not null default '',
        add column if not exists agent text not null default '',
        add column if not exists idle_minutes integer not null default 1440""",
    "create index if not exists page_session_device on page_session (device) where device <> ''",
    """create table if not exists account_post (
        account text collate "C" not null references account (name) on delete cascade,
        practitioner_role text collate "C" not null,
        role text not null,
        organisation text not null default '',
        organisation_name text not null default '',
        post text not null default '',
        made timestamptz not null default now(),
        primary key (account, practitioner_role)
    )""",
    """create table if not exists password_before (
        account text collate "C" not null references account (name) on delete cascade,
        secret text not null,
        made timestamptz not null default now()
    )""",
    "create index if not exists password_before_account on password_before (account, made desc)",
    """create table if not exists recovery (
        account text collate "C" not null references account (name) on delete cascade,
        act text not null,
        given_by text not null,
        seen text not null,
        at timestamptz not null default now()
    )""",
    "create index if not exists recovery_account on recovery (account, at)",
    """create table if not exists second_factor (
        account text collate "C" primary key references account (name) on delete cascade,
        secret bytea not null,
        is_confirmed boolean not null default false,
        step bigint not null default 0,
        made timestamptz not null default now()
    )""",
    """create table if not exists recovery_code (
        account text collate "C" not null references account (name) on delete cascade,
        digest bytea not null,
        primary key (account, digest)
    )""",
)

_WHO = (
    "a.name, coalesce(p.role, a.role) as role, a.display, a.practitioner,"
    " coalesce(p.practitioner_role, a.practitioner_role) as practitioner_role,"
    " coalesce(p.organisation, a.organisation) as organisation,"
    " coalesce(p.organisation_name, a.organisation_name) as organisation_name,"
    " coalesce(p.post, a.post) as post, a.active, a.language, a.demo,"
    " a.patient"
)
_IN_POST = "left join account_post p on p.account = a.name and p.practitioner_role = "


async def account_in_post(connection: Connection, name: str, post: str) -> Any | None:
    """An account in the post of that PractitionerRole ("": its own), or None without such."""
    return await connection.fetchrow(
        f"select {_WHO} from account a {_IN_POST} $2"  # noqa: S608  # Constant column lists.
        " where a.name = $1 and ($2 in ('', a.practitioner_role) or p.account is not null)",
        name,
        post,
    )


async def signed_in_at(connection: Connection, digest: bytes) -> datetime | None:
    """When the person of a page session gave the password; None where there is no such session."""
    found: datetime | None = await connection.fetchval(
        "select made from page_session where digest = $1 and ends > now()", digest)
    return found


async def posts(connection: Connection, name: str) -> list[Any]:
    """All posts of an account, its own first, in the columns of `account_in_post`."""
    return await connection.fetch(
        f"select {_WHO}, 0 as n from account a left join account_post p on false"  # noqa: S608  # Same.
        f" where a.name = $1 union all select {_WHO}, 1 from account a"
        " join account_post p on p.account = a.name and p.practitioner_role <> a.practitioner_role"
        " where a.name = $1 order by n, practitioner_role",
        name,
    )


async def save_post(connection: Connection, name: str, values: tuple[str, ...]) -> None:
    """Give an account one more post; values: its PractitionerRole, role, organisation, its name,
    title.
    """
    await connection.execute(
        "insert into account_post (account, practitioner_role, role, organisation,"
        " organisation_name, post) values ($1, $2, $3, $4, $5, $6)"
        " on conflict (account, practitioner_role) do update set role = excluded.role,"
        " organisation = excluded.organisation, post = excluded.post,"
        " organisation_name = excluded.organisation_name",
        name,
        *values,
    )


async def drop_post(connection: Connection, name: str, practitioner_role: str) -> bool:
    """Take a further post away; whether there was one."""
    status = await connection.execute(
        "delete from account_post where account = $1 and practitioner_role = $2",
        name,
        practitioner_role,
    )
    return status.endswith(" 1")


async def session(connection: Connection, digest: bytes, idle_minutes: int) -> Any | None:
    """The live session of a cookie with its account in its post, or None.

    `stale` asks for `touch_session`. A locked session does not end idle: it opens nothing.
    """
    return await connection.fetchrow(
        f"select {_WHO}, s.csrf, s.language as chosen, s.stage, s.place, s.device,"  # noqa: S608  # Same.
        " s.seen < now() - interval '1 minute' as stale"
        " from page_session s join account a on a.name = s.account"
        f" {_IN_POST} s.post"
        " where s.digest = $1 and a.active and s.ends > now()"
        " and (s.post in ('', a.practitioner_role) or p.account is not null)"
        " and (s.stage = 'locked'"
        " or s.seen > now() - make_interval(mins => least($2, s.idle_minutes)))",
        digest,
        idle_minutes,
    )


async def describe_session(
    connection: Connection,
    digest: bytes,
    *,
    stage: str,
    place: str,
    device: str,
    agent: str,
    idle_minutes: int,
) -> None:
    """What a session just opened is: its stage, browser and limit."""
    await connection.execute(
        "update page_session set stage = $2, place = $3, device = $4, agent = $5,"
        " idle_minutes = $6 where digest = $1",
        digest,
        stage,
        place,
        device,
        agent,
        idle_minutes,
    )


async def advance_session(
    connection: Connection, digest: bytes, new: bytes, *, csrf: str, stage: str, post: str
) -> bool:
    """The session goes on under another cookie, at a stage, in a post; False where it ended."""
    status = await connection.execute(
        "update page_session set digest = $2, csrf = $3, stage = $4, post = $5, seen = now()"
        " where digest = $1",
        digest,
        new,
        csrf,
        stage,
        post,
    )
    return status.endswith(" 1")


async def lock_session(connection: Connection, digest: bytes, place: str) -> bool:
    """Lock an open session of a known browser, with the place to come back to."""
    status = await connection.execute(
        "update page_session set stage = 'locked', place = $2"
        " where digest = $1 and stage = 'open' and device <> ''",
        digest,
        place,
    )
    return status.endswith(" 1")


async def locked_sessions(connection: Connection, device: str) -> list[Any]:
    """The locked sessions of a browser: number, account, display, post, place, digest, stored
    password and PIN; newest first.
    """
    return await connection.fetch(
        "select left(encode(s.digest, 'hex'), 16) as number, s.digest, s.account, s.place,"
        " a.display, a.secret, a.pin, coalesce(p.post, a.post) as post, s.post as chosen"
        " from page_session s join account a on a.name = s.account"
        " left join account_post p on p.account = a.name and p.practitioner_role = s.post"
        " where s.device = $1 and s.stage = 'locked' and s.ends > now() and a.active"
        " order by s.seen desc",
        device,
    )


async def sessions_of(connection: Connection, name: str, idle_minutes: int) -> list[Any]:
    """The live sessions of a person: number, stage, browser, times; never what opens them."""
    return await connection.fetch(
        "select left(encode(digest, 'hex'), 16) as number, stage, agent, made, seen, ends"
        " from page_session where account = $1 and ends > now() and (stage = 'locked'"
        " or seen > now() - make_interval(mins => least($2, idle_minutes)))"
        " order by seen desc",
        name,
        idle_minutes,
    )


async def end_session(connection: Connection, name: str, number: str) -> bool:
    """End one session of a person by its number; whether there was one."""
    status = await connection.execute(
        "delete from page_session where account = $1 and left(encode(digest, 'hex'), 16) = $2",
        name,
        number,
    )
    return not status.endswith(" 0")


async def end_sessions(connection: Connection, name: str, but: bytes) -> None:
    """End all sessions of a person but one."""
    await connection.execute(
        "delete from page_session where account = $1 and digest <> $2", name, but
    )


async def end_oldest_sessions(connection: Connection, name: str, keep: int) -> None:
    """End the sessions of a person beyond the `keep` that were used last."""
    await connection.execute(
        "delete from page_session where account = $1 and digest not in (select digest"
        " from page_session where account = $1 order by seen desc, made desc limit $2)",
        name,
        max(1, keep),
    )


async def set_pin(connection: Connection, name: str, pin: str) -> None:
    """Keep the hash of a person's PIN for the counter ("" takes it away)."""
    await connection.execute("update account set pin = $2 where name = $1", name, pin)


# Passwords


async def passwords_before(connection: Connection, name: str, count: int) -> list[str]:
    """The hashes of a person's last passwords but the present one, newest first."""
    rows = await connection.fetch(
        "select secret from password_before where account = $1 order by made desc limit $2",
        name,
        count,
    )
    return [row["secret"] for row in rows]


async def change_password(connection: Connection, name: str, secret: str, keep: int) -> None:
    """Replace a password's hash and remember the one before: `keep` with the present one."""
    await connection.execute(
        "with old as (insert into password_before (account, secret)"
        " select name, secret from account where name = $1),"
        " far as (delete from password_before p where p.account = $1 and p.ctid in ("
        " select ctid from password_before where account = $1 order by made desc offset $3))"
        " update account set secret = $2, first_until = null where name = $1",
        name,
        secret,
        keep - 2,
    )


async def set_first(connection: Connection, name: str, secret: str, until: datetime) -> None:
    """Replace a password's hash by that of a first password, which ends by itself."""
    await connection.execute(
        "update account set secret = $2, first_until = $3 where name = $1", name, secret, until
    )


async def note_recovery(
    connection: Connection, name: str, act: str, by: str, seen: str
) -> None:
    """Put down what an administrator gave back to somebody, and what proved who it is."""
    await connection.execute(
        "insert into recovery (account, act, given_by, seen) values ($1, $2, $3, $4)",
        name,
        act,
        by,
        seen,
    )


async def recoveries(connection: Connection, name: str, since: datetime) -> list[Any]:
    """act, given_by and at of what was given back to an account since then."""
    return await connection.fetch(
        "select act, given_by, at from recovery where account = $1 and at > $2", name, since
    )


# Second factors


async def factor(connection: Connection, name: str) -> Any | None:
    """Secret (encrypted), is_confirmed and step (last used) of a person's second factor."""
    return await connection.fetchrow(
        "select secret, is_confirmed, step from second_factor where account = $1", name
    )


async def begin_factor(connection: Connection, name: str, secret: bytes) -> bool:
    """Keep a secret that is not yet confirmed; False where a confirmed one stands."""
    status = await connection.execute(
        "insert into second_factor (account, secret) values ($1, $2)"
        " on conflict (account) do update set secret = excluded.secret, step = 0, made = now()"
        " where not second_factor.is_confirmed",
        name,
        secret,
    )
    return status.endswith(" 1")


async def use_step(connection: Connection, name: str, step: int) -> bool:
    """Use up the code of a time step, which confirms the factor; False for one used before."""
    status = await connection.execute(
        "update second_factor set step = $2, is_confirmed = true where account = $1 and step < $2",
        name,
        step,
    )
    return status.endswith(" 1")


async def drop_factor(connection: Connection, name: str) -> None:
    """Take a person's second factor and recovery codes away."""
    await connection.execute("delete from second_factor where account = $1", name)
    await connection.execute("delete from recovery_code where account = $1", name)


async def save_recovery(connection: Connection, name: str, digests: list[bytes]) -> None:
    """Replace a person's recovery codes."""
    await connection.execute(
        "with gone as (delete from recovery_code where account = $1)"
        " insert into recovery_code (account, digest) select $1, unnest($2::bytea[])",
        name,
        digests,
    )


async def use_recovery(connection: Connection, name: str, digest: bytes) -> bool:
    """Use up a recovery code; False where there is none."""
    status = await connection.execute(
        "delete from recovery_code where account = $1 and digest = $2", name, digest
    )
    return status.endswith(" 1")


async def recovery_left(connection: Connection, name: str) -> int:
    """How many recovery codes a person has left."""
    return int(
        await connection.fetchval("select count(*) from recovery_code where account = $1", name)
    )
