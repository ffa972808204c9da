"""Accounts, page sessions, failed sign-ins and revocations: tables that are no FHIR records.

Secrets lie here only as digests: passwords as argon2id, cookies as SHA-256.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from dmed.store import relabel
from dmed.store.pool import told
from dmed.trust.oauth import tables as oauth_tables
from dmed.trust.people_tables import DDL as PEOPLE_DDL
from dmed.trust.policy import sensitivity

DDL: tuple[str, ...] = (
    """create table if not exists account (
        name text collate "C" primary key,
        secret text not null,
        role text not null,
        display text not null default '',
        practitioner text not null default '',
        practitioner_role text not null default '',
        organisation text not null default '',
        organisation_name text not null default '',
        post text not null default '',
        language text not null default '',
        active boolean not null default true,
        demo boolean not null default false,
        made timestamptz not null default now()
    )""",
    """create table if not exists page_session (
        digest bytea primary key,
        account text collate "C" not null references account (name) on delete cascade,
        csrf text not null,
        language text not null default '',
        made timestamptz not null default now(),
        seen timestamptz not null default now(),
        ends timestamptz not null
    )""",
    "create index if not exists page_session_ends on page_session (ends)",
    "create index if not exists page_session_account on page_session (account)",
    """create table if not exists sign_in_attempt (
        digest bytea primary key,
        tries integer not null,
        seen timestamptz not null,
        free timestamptz not null
    )""",
    "create index if not exists sign_in_attempt_seen on sign_in_attempt (seen)",
    """create table if not exists sign_in_failure (
        place smallint primary key,
        tries integer not null,
        since timestamptz not null
    )""",
    """create table if not exists system_key (
        account text collate "C" not null references account (name) on delete cascade,
        number text collate "C" not null,
        key text not null,
        made timestamptz not null default now(),
        primary key (account, number)
    )""",
    """create table if not exists revoked_token (
        jti text collate "C" primary key,
        ends timestamptz not null
    )""",
    """create table if not exists revocation (
        one boolean primary key default true check (one),
        epoch bigint not null
    )""",
    "insert into revocation (epoch) values (1) on conflict do nothing",
    *relabel.DDL,
    relabel.FRESH.format(rules=sensitivity.RULES),
    *PEOPLE_DDL,
    *oauth_tables.DDL,
)

_ACCOUNT = (
    "name, secret, role, display, practitioner, practitioner_role, organisation, "
    "organisation_name, post, language, active, demo, patient, first_until"
)


class Connection(Protocol):
    """What these statements run on: a pool or one connection of asyncpg."""

    async def execute(self, query: str, *args: Any) -> str:
        """The status of a statement, e.g. "INSERT 0 1"."""

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """All rows."""

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """The first row, or None."""

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first value of the first row, or None."""


class Told:
    """A pool whose errors leave as the DmedError that a caller is told (503, not 500)."""

    def __init__(self, pool: Connection) -> None:
        self._pool = pool

    async def execute(self, query: str, *args: Any) -> str:
        """The status of a statement, e.g. "INSERT 0 1"."""
        with told():
            return await self._pool.execute(query, *args)

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """All rows."""
        with told():
            return await self._pool.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """The first row, or None."""
        with told():
            return await self._pool.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first value of the first row, or None."""
        with told():
            return await self._pool.fetchval(query, *args)


async def account(connection: Connection, name: str) -> Any | None:
    """The row of an account, or None."""
    return await connection.fetchrow(
        f"select {_ACCOUNT} from account where name = $1",  # noqa: S608  # A constant column list.
        name,
    )


_LISTED = "select name, role, display, organisation_name, post, active, demo, made from account"


async def accounts(connection: Connection, text: str, most: int) -> list[Any]:
    """Accounts whose sign-in name, or a word of whose name, begins so; never their secrets."""
    begins = text.replace("\\", "").replace("%", "").replace("_", "") + "%"
    return await connection.fetch(
        f"{_LISTED} where name ilike $1 or display ilike $1 or display ilike '% ' || $1"
        " order by name limit $2", begins, most
    )


async def demo_accounts(connection: Connection) -> list[Any]:
    """The demo accounts by name; never their secrets."""
    return await connection.fetch(f"{_LISTED} where demo order by name")


async def new_account(connection: Connection, values: tuple[Any, ...]) -> bool:
    """Insert an account with the end of its first password; False where the name is taken."""
    status = await connection.execute(
        "insert into account (name, secret, role, display, practitioner, practitioner_role,"
        " organisation, organisation_name, post, language, active, demo, patient, first_until)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        " on conflict do nothing",
        *values,
    )
    return status.endswith(" 1")


async def save_account(connection: Connection, values: tuple[Any, ...]) -> None:
    """Insert an account or replace it; `values` in the order of the columns."""
    await connection.execute(
        "insert into account (name, secret, role, display, practitioner, practitioner_role,"
        " organisation, organisation_name, post, language, active, demo, patient)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        " on conflict (name) do update set secret = excluded.secret, role = excluded.role,"
        " display = excluded.display, practitioner = excluded.practitioner,"
        " practitioner_role = excluded.practitioner_role, organisation = excluded.organisation,"
        " organisation_name = excluded.organisation_name, post = excluded.post,"
        " language = excluded.language, active = excluded.active, demo = excluded.demo,"
        " patient = excluded.patient",
        *values,
    )


async def first_account(connection: Connection, values: tuple[Any, ...]) -> bool:
    """Insert an account only where there is none at all; False if there was one."""
    status = await connection.execute(
        "insert into account (name, secret, role, display, practitioner, practitioner_role,"
        " organisation, organisation_name, post, language, active, demo, patient)"
        " select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::boolean, $12::boolean, $13"
        " where not exists (select from account)",
        *values,
    )
    return status.endswith(" 1")


async def set_secret(connection: Connection, name: str, secret: str) -> None:
    """Replace the password hash of an account."""
    await connection.execute("update account set secret = $2 where name = $1", name, secret)


async def set_active(connection: Connection, name: str, active: bool) -> None:
    """Open or close an account; closing ends its page sessions."""
    await connection.execute("update account set active = $2 where name = $1", name, active)
    if not active:
        await connection.execute("delete from page_session where account = $1", name)


async def open_session(
    connection: Connection,
    digest: bytes,
    name: str,
    *,
    csrf: str,
    language: str,
    ends: datetime,
) -> None:
    """Store a new page session; sweep ended sessions and forgotten attempts away."""
    await connection.execute("delete from page_session where ends < now()")
    await connection.execute("delete from sign_in_attempt where seen < now() - interval '1 hour'")
    await connection.execute(
        "insert into page_session (digest, account, csrf, language, ends)"
        " values ($1, $2, $3, $4, $5)",
        digest,
        name,
        csrf,
        language,
        ends,
    )


async def touch_session(connection: Connection, digest: bytes) -> None:
    """Note that a session is in use; called at most once a minute for each."""
    await connection.execute("update page_session set seen = now() where digest = $1", digest)


async def set_session_language(connection: Connection, digest: bytes, language: str) -> None:
    """Remember the language chosen in a session, for it and for the account's next one."""
    await connection.execute(
        "with s as (update page_session set language = $2 where digest = $1 returning account)"
        " update account set language = $2 from s where account.name = s.account",
        digest,
        language,
    )


async def close_session(connection: Connection, digest: bytes) -> None:
    """Forget a session: the cookie is worthless from now on."""
    await connection.execute("delete from page_session where digest = $1", digest)


async def reserve_attempt(connection: Connection, digest: bytes) -> bool:
    """Count a sign-in attempt before the password is looked at; False: too early, wait.

    The row's lock makes parallel guesses queue up, so each of them counts. Four attempts are
    free, then the pause doubles from two seconds to five minutes; an hour of peace forgets all.
    """
    row = await connection.fetchrow(
        "insert into sign_in_attempt as t (digest, tries, seen, free)"
        " values ($1, 1, now(), now())"
        " on conflict (digest) do update set"
        " tries = case when t.seen < now() - interval '1 hour' then 1 else least(t.tries + 1, 30)"
        " end, seen = now(),"
        " free = case when t.seen < now() - interval '1 hour' or t.tries < 4 then now()"
        " else now() + make_interval(secs => least(300, power(2, t.tries - 3))) end"
        " where t.free <= now() or t.seen < now() - interval '1 hour'"
        " returning tries",
        digest,
    )
    return row is not None


async def pause_s(connection: Connection, digest: bytes) -> int:
    """Seconds until the next attempt is looked at."""
    return int(
        await connection.fetchval(
            "select ceil(extract(epoch from free - now())) from sign_in_attempt where digest = $1",
            digest,
        )
        or 1
    )


async def forget_attempts(connection: Connection, digest: bytes) -> None:
    """A right password clears the count of this user at this address."""
    await connection.execute("delete from sign_in_attempt where digest = $1", digest)


async def count_failure(connection: Connection, place: int) -> int:
    """Count a refused sign-in of a place (0: the whole installation); its count in this minute."""
    return int(
        await connection.fetchval(
            "insert into sign_in_failure as t (place, tries, since) values ($1, 1, now())"
            " on conflict (place) do update set"
            " tries = case when t.since < now() - interval '1 minute' then 1 else t.tries + 1 end,"
            " since = case when t.since < now() - interval '1 minute' then now() else t.since end"
            " returning tries",
            place,
        )
    )


async def save_key(connection: Connection, account: str, number: str, key: str) -> None:
    """Register the public key (JWK as JSON) by which a system signs; again replaces it."""
    await connection.execute(
        "insert into system_key (account, number, key) values ($1, $2, $3)"
        " on conflict (account, number) do update set key = excluded.key",
        account,
        number,
        key,
    )


async def drop_key(connection: Connection, account: str, number: str) -> bool:
    """Forget a system's key; whether there was one."""
    status = await connection.execute(
        "delete from system_key where account = $1 and number = $2", account, number
    )
    return status.endswith(" 1")


async def keys_of(connection: Connection, account: str) -> dict[str, str]:
    """The registered public keys of a system: number (kid) -> JWK as JSON."""
    found = await connection.fetch(
        "select number, key from system_key where account = $1 order by number", account
    )
    return {str(row["number"]): str(row["key"]) for row in found}


async def keys_named(connection: Connection, number: str) -> list[str]:
    """The public keys (JWK as JSON) of all systems under a number (kid)."""
    found = await connection.fetch(
        "select key from system_key where number = $1 order by account", number
    )
    return [str(row["key"]) for row in found]


async def epoch(connection: Connection) -> int:
    """The revocation epoch: verified tokens of an older epoch are checked anew."""
    return int(await connection.fetchval("select epoch from revocation"))


async def next_epoch(connection: Connection) -> None:
    """Make every worker forget its verified tokens."""
    await connection.execute("update revocation set epoch = epoch + 1")


async def revoke_token(connection: Connection, jti: str, ends: datetime) -> None:
    """Refuse one token from now on; the row may go once the token has ended anyway."""
    await connection.execute("delete from revoked_token where ends < now()")
    await connection.execute(
        "insert into revoked_token (jti, ends) values ($1, $2) on conflict do nothing", jti, ends
    )
    await next_epoch(connection)


async def is_revoked(connection: Connection, jti: str) -> bool:
    """Whether a token was taken back."""
    return bool(
        await connection.fetchval("select exists (select from revoked_token where jti = $1)", jti)
    )
