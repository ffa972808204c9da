"""Documents shown to a person and not signed yet: one row each, used once."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit

DDL: tuple[str, ...] = (
    """create table if not exists signing_request (
        id text collate "C" primary key,
        account text collate "C" not null,
        act text not null,
        document bytea not null,
        made timestamptz not null default now()
    )""",
    "create index if not exists signing_request_made on signing_request (made)",
)


async def insert(unit: GatewayUnit, id_: str, account: str, act: str, document: bytes) -> None:
    """Keep a document until it is signed."""
    await unit.execute(
        "insert into signing_request (id, account, act, document) values ($1, $2, $3, $4)",
        id_, account, act, document,
    )  # fmt: skip  # One row.


async def document(unit: GatewayUnit, id_: str, account: str, since: datetime) -> tuple[str, bytes]:
    """Act and document of this person's request, if it is not older; ("", b"") otherwise."""
    row = await unit.fetchrow(
        "select act, document from signing_request where id = $1 and account = $2 and made > $3",
        id_, account, since,
    )  # fmt: skip  # One row.
    return ("", b"") if row is None else (row["act"], bytes(row["document"]))


async def use(unit: GatewayUnit, id_: str, account: str) -> bool:
    """Use a request up; False where somebody did before."""
    status = await unit.execute(
        "delete from signing_request where id = $1 and account = $2", id_, account
    )
    return status.endswith(" 1")


async def forget(unit: GatewayUnit, before: datetime) -> None:
    """Drop what nobody signed."""
    await unit.execute("delete from signing_request where made < $1", before)
