"""The two pools: each plans its statements by its own rule."""

from __future__ import annotations

from dmed.kit.settings import Settings
from dmed.store.pool import Database


async def test_a_plan_of_a_small_table_does_not_read_the_whole_when_it_has_grown(
    module_database_url: str,
) -> None:
    """A statement that was first used while its table was small uses the index ever after."""
    db = await Database.open(module_database_url, Settings(pool_size=1))
    try:
        async with db.connection() as connection:
            await connection.execute("CREATE TEMP TABLE young (kind text, value int)")
            await connection.execute("CREATE INDEX young_kind ON young (kind)")
            await connection.execute("INSERT INTO young VALUES ('a', 1)")
            await connection.execute("VACUUM ANALYZE young")
            await connection.execute(
                "PREPARE asked (text) AS SELECT value FROM young WHERE kind = $1")
            assert await connection.fetch("EXECUTE asked('b')") == []

            await connection.execute(
                "INSERT INTO young SELECT chr(97 + n % 20), n FROM generate_series(1, 5000) n")
            plan = "\n".join(row[0] for row in await connection.fetch(
                "EXPLAIN (ANALYZE) EXECUTE asked('b')"))

            assert "rows=250" in plan
            assert "young_kind" in plan
            assert "Seq Scan" not in plan
    finally:
        await db.close()
