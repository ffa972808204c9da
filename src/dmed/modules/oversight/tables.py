"""Cases, canary persons and requests for bulk reading: tables of this module."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from dmed.modules.oversight.model import BulkRequest, Case, Finding, Kind, Verdict
from dmed.trust.gateway import GatewayUnit

DDL: tuple[str, ...] = (
    """create table if not exists oversight_case (
        number bigint generated always as identity primary key,
        mark text collate "C" not null unique,
        kind text collate "C" not null,
        made timestamptz not null default now(),
        subject text collate "C" not null,
        patient text collate "C" not null,
        findings jsonb not null,
        said text not null default '',
        weight integer not null,
        verdict text collate "C" not null default '',
        reviewer text collate "C" not null default '',
        words text not null default '',
        closed timestamptz
    )""",
    """create index if not exists oversight_open on oversight_case (weight desc, number desc)
        where closed is null""",
    "create index if not exists oversight_person on oversight_case (patient)",
    """create table if not exists oversight_canary (
        patient text collate "C" primary key,
        said text not null,
        maker text collate "C" not null,
        made timestamptz not null default now()
    )""",
    """create table if not exists oversight_run (
        one boolean primary key default true check (one),
        figures timestamptz not null,
        canaries timestamptz not null
    )""",
    """create table if not exists bulk_request (
        number bigint generated always as identity primary key,
        asker text collate "C" not null,
        purpose text collate "C" not null,
        said text not null,
        made timestamptz not null default now(),
        until timestamptz not null,
        standing boolean not null,
        approver text collate "C" not null default '',
        approved timestamptz,
        used integer not null default 0,
        check (approver = '' or approver <> asker)
    )""",
)

_CASE = ("number, kind, made, subject, patient, findings::text as findings, said, weight, verdict, "
         "reviewer, words, closed")
_BULK = "number, asker, purpose, said, made, until, standing, approver, approved, used"


def _case(row: Any) -> Case:
    findings = msgspec.json.decode(row["findings"], type=tuple[Finding, ...])
    return Case(**{**dict(row), "kind": Kind(row["kind"]), "findings": findings})


async def add_case(
    unit: GatewayUnit, *, mark: str, kind: Kind, subject: str, patient: str,
    findings: tuple[Finding, ...], weight: int, said: str = "",
) -> int | None:
    """A new open case; None where there is one with this mark already."""
    number: int | None = await unit.fetchval(
        "insert into oversight_case (mark, kind, subject, patient, findings, weight, said)"
        " values ($1, $2, $3, $4, $5::jsonb, $6, $7) on conflict (mark) do nothing"
        " returning number",
        mark, kind.value, subject, patient, msgspec.json.encode(findings).decode(), weight, said)
    return number


async def cases(
    unit: GatewayUnit, *, closed: bool, limit: int, subjects: list[str] | None = None
) -> list[Case]:
    """Open cases, the heaviest first; or closed ones, the latest first; about `subjects` alone."""
    order = "closed desc" if closed else "weight desc, number desc"
    rows = await unit.fetch(
        f"select {_CASE} from oversight_case where closed is {'not ' if closed else ''}null"
        f" and ($2::text[] is null or subject = any($2)) order by {order} limit $1",
        limit, subjects)
    return [_case(row) for row in rows]


async def cases_of(unit: GatewayUnit, patient: str, kind: Kind) -> list[Case]:
    """The cases of a kind about a person, the latest first."""
    rows = await unit.fetch(
        f"select {_CASE} from oversight_case where patient = $1 and kind = $2"
        " order by number desc limit 100", patient, kind.value)
    return [_case(row) for row in rows]


async def case(unit: GatewayUnit, number: int) -> Case | None:
    """One case."""
    row = await unit.fetchrow(f"select {_CASE} from oversight_case where number = $1", number)
    return None if row is None else _case(row)


async def close(
    unit: GatewayUnit, number: int, verdict: Verdict, reviewer: str, words: str
) -> bool:
    """Ends an open case; False where it was ended already."""
    tag = await unit.execute(
        "update oversight_case set verdict = $2, reviewer = $3, words = $4, closed = now()"
        " where number = $1 and closed is null", number, verdict.value, reviewer, words)
    return tag == "UPDATE 1"


async def canaries(unit: GatewayUnit) -> list[tuple[str, str]]:
    """(Patient id, why) of all canary persons."""
    rows = await unit.fetch("select patient, said from oversight_canary order by made, patient")
    return [(row["patient"], row["said"]) for row in rows]


async def mark_canary(unit: GatewayUnit, patient: str, said: str, maker: str) -> None:
    """Marks a person; marking again changes why."""
    await unit.execute(
        "insert into oversight_canary (patient, said, maker) values ($1, $2, $3)"
        " on conflict (patient) do update set said = excluded.said", patient, said, maker)


async def last_runs(unit: GatewayUnit, now: datetime) -> tuple[datetime, datetime]:
    """Until when figures and canaries were looked through; the row is held until the unit ends."""
    await unit.execute(
        "insert into oversight_run (figures, canaries) values ($1, $1) on conflict do nothing", now)
    row = await unit.fetchrow("select figures, canaries from oversight_run for update")
    return row["figures"], row["canaries"]


async def set_runs(unit: GatewayUnit, figures: datetime, canaries_: datetime) -> None:
    """Notes until when both were looked through."""
    await unit.execute(
        "update oversight_run set figures = $1, canaries = $2", figures, canaries_)


async def ask_bulk(
    unit: GatewayUnit, asker: str, purpose: str, said: str, until: datetime, *, standing: bool
) -> int:
    """A new request for bulk reading; its number."""
    number: int = await unit.fetchval(
        "insert into bulk_request (asker, purpose, said, until, standing)"
        " values ($1, $2, $3, $4, $5) returning number", asker, purpose, said, until, standing)
    return number


async def bulk(unit: GatewayUnit, number: int, *, lock: bool = False) -> BulkRequest | None:
    """One request."""
    row = await unit.fetchrow(
        f"select {_BULK} from bulk_request where number = $1{' for update' if lock else ''}",
        number)
    return None if row is None else BulkRequest(**dict(row))


async def bulks(unit: GatewayUnit, limit: int = 100) -> list[BulkRequest]:
    """Requests, the latest first."""
    rows = await unit.fetch(
        f"select {_BULK} from bulk_request order by number desc limit $1", limit)
    return [BulkRequest(**dict(row)) for row in rows]


async def approve_bulk(unit: GatewayUnit, number: int, approver: str) -> None:
    """Notes the second person's approval."""
    await unit.execute(
        "update bulk_request set approver = $2, approved = now() where number = $1",
        number, approver)


async def use_bulk(unit: GatewayUnit, number: int) -> None:
    """Notes that a request was used."""
    await unit.execute("update bulk_request set used = used + 1 where number = $1", number)
