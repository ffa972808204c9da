"""The ledger of orders: nothing in it changes but the mark that an order was carried out."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from dmed.modules.workforce.model import Act, Order
from dmed.trust.gateway import GatewayUnit

_COLUMNS = ("number, act, practitioner, role, organisation, effective, until, paper, words, "
            "detail::text as detail, maker, made, applied")


def _order(row: Any) -> Order:
    return Order(**{**dict(row), "act": Act(row["act"]),
                    "detail": msgspec.json.decode(row["detail"], type=dict[str, str])})


async def add(
    unit: GatewayUnit, *, act: Act, practitioner: str, role: str, organisation: str,
    effective: date, maker: str, until: date | None = None, paper: str = "", words: str = "",
    detail: dict[str, str] | None = None,
) -> int:
    """A new order; its number."""
    number: int = await unit.fetchval(
        "insert into staff_order (act, practitioner, role, organisation, effective, until, paper,"
        " words, detail, maker) values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10)"
        " returning number",
        act.value, practitioner, role, organisation, effective, until, paper, words,
        msgspec.json.encode(detail or {}).decode(), maker)
    return number


async def applied(unit: GatewayUnit, number: int) -> None:
    """Marks an order as carried out."""
    await unit.execute("update staff_order set applied = now() where number = $1", number)


async def due(unit: GatewayUnit, day: date, limit: int = 200) -> list[Order]:
    """Orders whose day has come and that were not carried out; held until the unit ends."""
    rows = await unit.fetch(
        f"select {_COLUMNS} from staff_order where applied is null and effective <= $1"
        " order by effective, number limit $2 for update skip locked", day, limit)
    return [_order(row) for row in rows]


async def of_person(unit: GatewayUnit, practitioner: str) -> list[Order]:
    """All orders about a person, newest first, at most 200."""
    rows = await unit.fetch(
        f"select {_COLUMNS} from staff_order where practitioner = $1 order by number desc"
        " limit 200", practitioner)
    return [_order(row) for row in rows]
