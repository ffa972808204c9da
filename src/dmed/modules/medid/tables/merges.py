"""Rows of merges: which stand, what they brought, and the cards that belong together. SQL."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit

ROWS_MAX = 200
CHAIN_MAX = 64
"""Steps that a walk along merges takes at most."""
_COLUMNS = ("number, source, target, brought, taken, reason, account, name, at, undone,"
            " undone_by, undone_reason")
_json = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """One merge: a standing one, or one that was undone."""

    number: int
    source: str
    """Id of the card that was merged away."""
    target: str
    """Id of the card that survived it."""
    brought: list[tuple[str, Any]]
    taken: dict[str, Any]
    reason: str
    account: str
    name: str
    """Who did it, as shown."""
    at: datetime
    undone: datetime | None = None
    undone_by: str = ""
    undone_reason: str = ""


def _merge(row: Any) -> Merge:
    return Merge(
        number=row["number"], source=row["source"], target=row["target"],
        brought=[(element, value) for element, value in _decoder.decode(row["brought"])],
        taken=_decoder.decode(row["taken"]), reason=row["reason"], account=row["account"],
        name=row["name"], at=row["at"], undone=row["undone"], undone_by=row["undone_by"],
        undone_reason=row["undone_reason"])


def told(value: Any) -> str:
    """A value as JSON text for a jsonb column, decimals with their digits."""
    return _json.encode(value).decode()


async def add(
    unit: GatewayUnit, source: str, target: str, *, brought: Any, taken: Any, reason: str,
    account: str, name: str,
) -> int:
    """A standing merge; its number."""
    number = await unit.fetchval(
        "insert into person_merge (source, target, brought, taken, reason, account, name)"
        " values ($1, $2, $3::jsonb, $4::jsonb, $5, $6, $7) returning number",
        source, target, told(brought), told(taken), reason, account, name)
    return int(number)


async def rewrite(unit: GatewayUnit, number: int, brought: Any) -> None:
    """What a standing merge brings now that another one was made or undone."""
    await unit.execute(
        "update person_merge set brought = $2::jsonb where number = $1", number, told(brought))


async def close(unit: GatewayUnit, number: int, account: str, reason: str) -> None:
    """The merge stands no more."""
    await unit.execute(
        "update person_merge set undone = now(), undone_by = $2, undone_reason = $3"
        " where number = $1", number, account, reason)


async def one(unit: GatewayUnit, number: int) -> Merge | None:
    """A merge by its number."""
    row = await unit.fetchrow(
        f"select {_COLUMNS} from person_merge where number = $1", number)
    return None if row is None else _merge(row)


async def into(unit: GatewayUnit, target: str) -> list[Merge]:
    """The standing merges into a card, in their order."""
    rows = await unit.fetch(
        f"select {_COLUMNS} from person_merge where target = $1 and undone is null"
        " order by number", target)
    return [_merge(row) for row in rows]


async def root_of(unit: GatewayUnit, patient: str) -> str:
    """The card that stands for this one: itself, or the last of the chain of merges."""
    found = await unit.fetchval(
        'with recursive up as (select $1::text collate "C" as id, 0 as step union all'
        " select m.target, up.step + 1 from up join person_merge m on m.source = up.id"
        " and m.undone is null where up.step < $2)"
        " select id from up order by step desc limit 1", patient, CHAIN_MAX)
    return str(found)


async def members(unit: GatewayUnit, root: str) -> list[str]:
    """The card and all that were merged into it, also through others; the card itself first."""
    rows = await unit.fetch(
        'with recursive down as (select $1::text collate "C" as id, 0 as step union all'
        " select m.source, down.step + 1 from down join person_merge m on m.target = down.id"
        " and m.undone is null where down.step < $2)"
        " select id from down order by step, id", root, CHAIN_MAX)
    return [row["id"] for row in rows]


async def lately(unit: GatewayUnit, patients: list[str] | None = None) -> list[Merge]:
    """Merges newest first: of these cards, or of all."""
    rows = await unit.fetch(
        f"select {_COLUMNS} from person_merge where $1::text[] is null"
        " or source = any($1::text[]) or target = any($1::text[])"
        " order by number desc limit $2", patients, ROWS_MAX)
    return [_merge(row) for row in rows]
