"""Rows of the national feed: what was refused, put right or contradicts a card; how far it came."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.modules.medid.tables.merges import told

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit

ROWS_MAX = 200
KINDS = ("refused", "conflict", "note")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a file about which there is something to say."""

    digest: str
    line: int
    kind: str
    reasons: list[str]
    raw: str
    patient: str = ""
    at: datetime | None = None


async def keep(unit: GatewayUnit, entries: list[Entry]) -> None:
    """Write entries down; of a line that was told before the last counts, unless settled."""
    for one in entries:
        await unit.execute(
            "insert into person_feed (digest, line, kind, patient, reasons, raw)"
            " values ($1, $2, $3, $4, $5::jsonb, $6) on conflict (digest, line) do update set"
            " kind = excluded.kind, patient = excluded.patient, reasons = excluded.reasons"
            " where person_feed.settled is null",
            one.digest, one.line, one.kind, one.patient, told(one.reasons), one.raw)


async def waiting(unit: GatewayUnit, count: int = ROWS_MAX) -> list[Entry]:
    """What nobody has settled, conflicts first."""
    rows = await unit.fetch(
        "select digest, line, kind, patient, reasons, raw, at from person_feed"
        " where settled is null and kind <> 'note' order by kind, at, line limit $1", count)
    return [_entry(row) for row in rows]


async def told_of(unit: GatewayUnit, digest: str) -> list[Entry]:
    """Everything said of a file, in the order of its lines."""
    rows = await unit.fetch(
        "select digest, line, kind, patient, reasons, raw, at from person_feed"
        " where digest = $1 order by line", digest)
    return [_entry(row) for row in rows]


async def settle(unit: GatewayUnit, digest: str, line: int) -> bool:
    """Somebody dealt with it; False where there is no such open entry."""
    done = await unit.execute(
        "update person_feed set settled = now() where digest = $1 and line = $2"
        " and settled is null", digest, line)
    return not done.endswith(" 0")


async def done_parts(unit: GatewayUnit, digest: str) -> set[int]:
    """First lines of the parts of a file that were dealt with."""
    rows = await unit.fetch("select line from person_feed_part where digest = $1", digest)
    return {row["line"] for row in rows}


async def note_part(unit: GatewayUnit, digest: str, line: int, counts: dict[str, int]) -> None:
    """The part that begins with this line is dealt with."""
    await unit.execute(
        "insert into person_feed_part (digest, line, counts) values ($1, $2, $3::jsonb)",
        digest, line, told(counts))


def _entry(row: Any) -> Entry:
    return Entry(digest=row["digest"], line=row["line"], kind=row["kind"], patient=row["patient"],
                 reasons=msgspec.json.decode(row["reasons"]), raw=row["raw"], at=row["at"])
