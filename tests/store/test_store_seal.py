"""Seals over the audit: each row exactly once, whatever the order of commits."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dmed.apps.postgres import Cluster
from dmed.kit.settings import Settings
from dmed.store import audit as audits
from dmed.store import schema, seal, seal_check
from dmed.store.model import AuditRow
from dmed.store.pool import Database

KEYS = {"k": lambda signed, proof: proof == sign(signed)}


def sign(signed: bytes) -> bytes:
    """Stands for the platform's key: only this file can make it."""
    return hashlib.sha256(b"secret" + signed).digest()


def noted(**more: object) -> AuditRow:
    return AuditRow(**({"request": "r", "action": "R", "subject": "doctor", "role": "doctor",
                        "type": "Patient"} | more))  # type: ignore[arg-type]  # Fields by name.


@pytest_asyncio.fixture(loop_scope="session")
async def db(database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(database_url)
    opened = await Database.open(database_url, Settings(pool_size=4))
    yield opened
    await opened.close()


async def sealed(db: Database) -> list[seal.Seal]:
    """Seals when no transaction is open that is older than a row: the server's own, mostly."""
    while not await db.hot.fetchval(
            "SELECT max(xid) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM audit "
            "WHERE xid < 1000000000"):
        await asyncio.sleep(0.05)
    return await seal.seal_all(db, sign, "k")


async def checked(url: str) -> seal_check.Result:
    connection = await asyncpg.connect(url)
    try:
        return await seal_check.verify(connection, KEYS)
    finally:
        await connection.close()


@given(st.text(max_size=30) | st.from_regex(r"[0-9a-f]{3}-[0-9a-f]{20}", fullmatch=True))
@hypothesis_settings(max_examples=200)
def test_a_packed_id_is_read_back(text: str) -> None:
    """Any id comes back from its packed form as it was."""
    assert audits.unpack(audits.pack(text)) == text


async def test_ids_are_packed_alike_in_sql(db: Database) -> None:
    """The database packs and unpacks as Python does, whatever the id."""
    ids = ["a7f-0123456789abcdef0123", "A7F-0123456789ABCDEF0123", "\x01" * 12, "\x1fx", "m-1",
           "zzz-0123456789abcdef0123", "ё" * 12, "a7f_0123456789abcdef0123", "---" * 8]
    rows = await db.hot.fetch(
        f"SELECT id, {audits.pack_sql('id')} AS packed FROM unnest($1::text[]) AS t(id)", ids)
    back = await db.hot.fetch(
        f"SELECT {audits.unpack_sql('p')} AS id FROM unnest($1::bytea[]) AS t(p)",
        [row["packed"] for row in rows])

    assert [row["packed"] for row in rows] == [audits.pack(one) for one in ids]
    assert [row["id"] for row in back] == ids


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=40))
@hypothesis_settings(max_examples=100)
def test_a_root_depends_on_every_leaf_and_the_order(digests: list[bytes]) -> None:
    """Another leaf, one less, or two changed about give another root."""
    root = seal.merkle_root(digests)
    for at in range(len(digests)):
        changed = [*digests[:at], bytes(16), *digests[at + 1 :]]
        assert changed == digests or seal.merkle_root(changed) != root
        assert seal.merkle_root(digests[:at] + digests[at + 1 :]) != root
    turned = digests[::-1]
    assert turned == digests or seal.merkle_root(turned) != root


async def test_the_tree_is_that_of_rfc_6962() -> None:
    """Three leaves: the third goes up alone."""
    sha = hashlib.sha256
    a, b, c = (sha(b"\0" + one).digest() for one in (b"a", b"b", b"c"))
    expected = sha(b"\1" + sha(b"\1" + a + b).digest() + c).digest()

    assert seal.merkle_root([b"a", b"b", b"c"]) == expected


async def test_a_row_committed_late_is_sealed_exactly_once(
    db: Database, database_url: str
) -> None:
    """A transaction open over several seals holds them back, and its rows come with the next."""
    await audits.note(db, [noted(request="before")])
    await sealed(db)
    late = await asyncpg.connect(database_url)
    transaction = late.transaction()
    await transaction.start()
    await late.execute(audits.INSERT_SQL, *audits.columns([noted(request="late")], [1]))
    for number in range(3):
        await audits.note(db, [noted(request=f"during-{number}")])
        await seal.seal_all(db, sign, "k")
    held = await db.hot.fetchval("SELECT sum(rows) FROM audit_seal")
    await transaction.commit()
    await late.close()
    await sealed(db)
    result = await checked(database_url)

    assert held == 1
    assert (result.rows, result.unsealed, result.faults) == (5, 0, [])
    assert await db.hot.fetchval("SELECT sum(rows) FROM audit_seal") == 5


async def test_several_sealers_at_once_make_one_chain(db: Database, database_url: str) -> None:
    """Whoever has the lock seals; every row is in one seal while writers go on."""
    async def writer(name: str) -> None:
        for number in range(20):
            await audits.note(db, [noted(request=f"{name}-{number}", id="p" * number, query="q")])

    async def sealer() -> None:
        for _ in range(15):
            await seal.seal_all(db, sign, "k")

    await asyncio.gather(*(writer(f"w{one}") for one in range(6)), sealer(), sealer(), sealer())
    await sealed(db)
    result = await checked(database_url)

    assert (result.rows, result.unsealed, result.faults) == (120, 0, [])
    assert await db.hot.fetchval("SELECT sum(rows) FROM audit_seal") == 120


async def test_months_have_seals_of_their_own(db: Database, database_url: str) -> None:
    """Rows of one transaction range in two months make two seals, and both verify."""
    await audits.note(db, [noted(request="now")])
    old = datetime(2026, 1, 5, tzinfo=UTC)
    await db.hot.execute(audits.INSERT_SQL.replace("now() AS at", "$12::timestamptz AS at"),
                         *audits.columns([noted(request="old")], [1]), old)
    made = await sealed(db)
    result = await checked(database_url)

    this = datetime.now(UTC).date().replace(day=1)
    assert {one.month for one in made} == {this, old.date().replace(day=1)}
    assert (result.rows, result.faults) == (2, [])


async def test_a_restored_database_goes_on_with_a_new_era(
    db: Database, database_url: str
) -> None:
    """Transactions counted from the beginning again: rows of both eras are sealed once each."""
    await audits.note(db, [noted(request="old-1")])
    await db.hot.execute("UPDATE audit SET xid = xid + 1000000000, at = at - interval '1 hour'")
    await db.hot.execute(f"UPDATE audit SET digest = {_digest()}")
    edge = 1_000_000_000 + await db.hot.fetchval("SELECT pg_current_xact_id()::text::bigint")
    await _as_of(db, "interval '1 hour'", edge)
    await audits.note(db, [noted(request="new-1")])
    await seal.seal_all(db, sign, "k")
    await audits.note(db, [noted(request="new-2")])
    await sealed(db)
    result = await checked(database_url)

    eras = await db.hot.fetch("SELECT era FROM audit_seal ORDER BY number")
    assert [row["era"] for row in eras] == [1, 2, 2]
    assert (result.rows, result.unsealed, result.faults) == (3, 0, [])


def _digest() -> str:
    return seal_check._DIGEST  # The formula of the rows, said once.


async def _as_of(db: Database, ago: str, edge: int) -> None:
    """Seals the rows so far as a database whose transactions had come to `edge`."""
    rows = await db.hot.fetch("SELECT xid, at, digest FROM audit ORDER BY xid, digest")
    made = await db.hot.fetchval(f"SELECT now() - {ago}")
    digests = [row["digest"] for row in rows]
    open_ = seal.Seal(
        number=1, era=1, since=datetime(1970, 1, 1, tzinfo=UTC),
        month=rows[0]["at"].date().replace(day=1), low=0, high=edge, first=rows[0]["at"],
        last=rows[-1]["at"], rows=len(rows), leaves=b"".join(one[:4] for one in digests),
        root=seal.merkle_root(digests), previous=bytes(32), made=made, key="k")
    named = seal.hash_of(open_)
    values = {**{name: getattr(open_, name) for name in open_.__struct_fields__},
              "hash": named, "proof": sign(named)}
    await db.hot.execute(
        f"INSERT INTO audit_seal ({', '.join(values)}) VALUES "
        f"({', '.join(f'${at + 1}' for at in range(len(values)))})", *values.values())


async def test_the_application_cannot_change_seals(cluster: Cluster, database_url: str) -> None:
    """The application's role adds and reads seals and retirements; it removes and changes none."""
    await schema.migrate(database_url)
    connection = await asyncpg.connect(
        cluster.url("dmed_app", urlsplit(database_url).path[1:]))
    try:
        for statement in ("DELETE FROM audit_seal", "UPDATE audit_seal SET rows = 0",
                          "TRUNCATE audit_seal", "DELETE FROM audit_retired"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


_OLD_ROWS = """
INSERT INTO audit (at, vid, actor, bucket, type, outcome, action, digest, request, id, patient)
SELECT now(), 5, 1, 7, 3, 200, 'R'::"char", {digest}, 'old', id, patient
FROM (VALUES ('a7f-0123456789abcdef0123', 'm-1'), ('x', NULL), ('ё', '\x01y')) AS t(id, patient)
"""


async def test_rows_of_before_keep_their_digests(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation of the third migration upgrades: its rows are packed, sealed and verified."""
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
        before.setattr(schema, "SEARCH_INDEXES", {})
        before.setattr(schema, "_GRANTS", "SELECT 1")
        await schema.migrate(database_url)
    connection = await asyncpg.connect(database_url)
    await connection.execute(_OLD_ROWS.format(digest=audits.digest_sql(
        at="now()", vid="5::bigint", actor="1", bucket="7::smallint", type="3::smallint",
        outcome="200::smallint", action="'R'", request="'old'", id="id", patient="patient",
        query="NULL", detail="NULL")))
    await connection.close()
    await schema.migrate(database_url)
    opened = await Database.open(database_url, Settings(pool_size=2))
    await audits.note(opened, [noted(request="new")])
    await sealed(opened)
    rows = await opened.hot.fetch("SELECT id, patient FROM audit_told WHERE request = 'old'")
    await opened.close()
    result = await checked(database_url)

    assert {(row["id"], row["patient"]) for row in rows} == {
        ("a7f-0123456789abcdef0123", "m-1"), ("x", None), ("ё", "\x01y")}
    assert (result.rows, result.unsealed, result.faults) == (4, 0, [])
