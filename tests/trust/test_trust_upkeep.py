"""What trust keeps for a while goes by itself when its time is over, and nothing else does."""

from __future__ import annotations

from pathlib import Path

from dmed.store.pool import Database
from dmed.trust import upkeep
from dmed.trust.identity import Account, Identity
from dmed.trust.model import Role

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security" / "retention.md"


async def test_what_is_over_goes(identity: Identity, database: Database) -> None:
    """Sessions, attempts, codes and unfinished enrolments that have ended; living ones stay."""
    await identity.save(Account(user="kept", role=Role.CITIZEN), "long-enough-word")
    alive = await identity.sign_in("kept", "long-enough-word", "")
    ended = await identity.sign_in("kept", "long-enough-word", "")
    await identity.factors.begin("kept")
    connection = database.hot
    await connection.execute(
        "update page_session set ends = now() - interval '1 minute' where csrf = $1", ended.csrf)
    await connection.execute("update second_factor set made = now() - interval '2 days'")
    await connection.execute(
        "insert into sign_in_attempt (digest, tries, seen, free) values"
        " ('a', 1, now() - interval '2 hours', now()), ('b', 1, now(), now())")
    await connection.execute(
        "insert into revoked_token (jti, ends) values ('old', now() - interval '1 second'),"
        " ('new', now() + interval '1 hour')")
    await connection.execute(
        "insert into recovery (account, act, given_by, seen, at) values"
        " ('kept', 'factor', 'ann', 'passport', now() - interval '2 years'),"
        " ('kept', 'factor', 'ann', 'passport', now())")

    assert await upkeep.tidy(connection) == 5
    assert await upkeep.tidy(connection) == 0
    assert await identity.session(alive.cookie) is not None
    for table, left in (("sign_in_attempt", 1), ("revoked_token", 1), ("recovery", 1)):
        assert await connection.fetchval(f"select count(*) from {table}") == left, table


def test_every_class_is_told_to_people() -> None:
    """Each table with a time stands in docs/security/retention.md."""
    text = PAGE.read_text(encoding="utf-8")

    assert [table for table, _ in upkeep.ENDS if f"`{table}`" not in text] == []
