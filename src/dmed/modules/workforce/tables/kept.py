"""Rows of lists, kept as the records say: put again and again with the same outcome."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from dmed.modules.workforce.model import Hours
from dmed.trust.gateway import GatewayUnit

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_PERSON = """
insert into staff_person (id, vid, name, name_key, sex, born, pinfl, argos, certificate_until,
    certificate, category_until, licence_until, active)
select * from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::date[],
    $7::text[], $8::text[], $9::date[], $10::text[], $11::date[], $12::date[], $13::boolean[])
on conflict (id) do update set vid = excluded.vid, name = excluded.name,
    name_key = excluded.name_key, sex = excluded.sex, born = excluded.born,
    pinfl = excluded.pinfl, argos = excluded.argos,
    certificate_until = excluded.certificate_until, certificate = excluded.certificate,
    category_until = excluded.category_until, licence_until = excluded.licence_until,
    active = excluded.active
where staff_person.vid < excluded.vid
"""
_POST = """
insert into staff_post (id, vid, practitioner, organisation, code, title, rate, kind, since, until,
    absences, hours, licensed, active)
select id, vid, practitioner, organisation, code, title, rate, kind, since, until,
    absences::datemultirange, hours::jsonb, licensed, active
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::numeric[], $8::text[], $9::date[], $10::date[], $11::text[], $12::text[], $13::boolean[],
    $14::boolean[]) as r(id, vid, practitioner, organisation, code, title, rate, kind, since,
    until, absences, hours, licensed, active)
on conflict (id) do update set vid = excluded.vid, practitioner = excluded.practitioner,
    organisation = excluded.organisation, code = excluded.code, title = excluded.title,
    rate = excluded.rate, kind = excluded.kind, since = excluded.since, until = excluded.until,
    absences = excluded.absences, hours = excluded.hours, licensed = excluded.licensed,
    active = excluded.active
where staff_post.vid < excluded.vid
"""
_HOUSE = """
insert into staff_house (id, vid, name, kind, region, parent, numbers, active)
select id, vid, name, kind, region, parent, string_to_array(numbers, ' '), active
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::boolean[]) as r(id, vid, name, kind, region, parent, numbers, active)
on conflict (id) do update set vid = excluded.vid, name = excluded.name, kind = excluded.kind,
    region = excluded.region, parent = excluded.parent, numbers = excluded.numbers,
    active = excluded.active
where staff_house.vid < excluded.vid
"""
_TABLES = {"Practitioner": "staff_person", "PractitionerRole": "staff_post",
           "Organization": "staff_house"}


class PersonRow(msgspec.Struct, frozen=True, kw_only=True):
    """What lists need of a Practitioner."""

    id: str
    vid: int
    name: str
    name_key: str
    sex: str
    born: date | None
    pinfl: str
    argos: str
    certificate_until: date | None
    certificate: str
    category_until: date | None
    licence_until: date | None
    active: bool


class PostRow(msgspec.Struct, frozen=True, kw_only=True):
    """What lists need of a PractitionerRole."""

    id: str
    vid: int
    practitioner: str
    organisation: str
    code: str
    title: str
    rate: Decimal
    kind: str
    since: date | None
    until: date | None
    absences: str
    """Text of a datemultirange."""
    hours: str
    """JSON: rows of day, start and end minute."""
    licensed: bool
    active: bool


class HouseRow(msgspec.Struct, frozen=True, kw_only=True):
    """What lists need of an Organization."""

    id: str
    vid: int
    name: str
    kind: str
    region: str
    parent: str
    numbers: str
    """Official numbers, joined by blanks."""
    active: bool


async def put(unit: GatewayUnit, rows: Sequence[PersonRow | PostRow | HouseRow]) -> None:
    """Keeps rows of one kind, each id once; a row made of an older version changes nothing."""
    if not rows:
        return
    sql = {PersonRow: _PERSON, PostRow: _POST, HouseRow: _HOUSE}[type(rows[0])]
    columns = zip(*(msgspec.structs.astuple(row) for row in rows), strict=True)
    await unit.execute(sql, *map(list, columns))


async def drop(unit: GatewayUnit, type_: str, ids: Sequence[str]) -> None:
    """Takes rows of deleted records away."""
    await unit.execute(f"delete from {_TABLES[type_]} where id = any($1::text[])", list(ids))


async def followed(unit: GatewayUnit, type_: str) -> tuple[datetime, datetime]:
    """(moment of the newest version that was followed, when it was looked) of a type."""
    row = await unit.fetchrow("select since, looked from staff_follow where type = $1", type_)
    return (NEVER, NEVER) if row is None else (row["since"], row["looked"])


async def note_followed(unit: GatewayUnit, type_: str, since: datetime) -> None:
    """Notes how far a type was followed."""
    await unit.execute(
        "insert into staff_follow (type, since, looked) values ($1, $2, now()) on conflict (type)"
        " do update set since = greatest(staff_follow.since, excluded.since), looked = now()",
        type_, since)


def hours_of(text: str) -> tuple[Hours, ...]:
    """The hours of a row."""
    rows: list[Any] = msgspec.json.decode(text)
    return tuple(Hours(*row) for row in rows)


async def known_people(unit: GatewayUnit) -> list[Any]:
    """(id, born, pinfl, argos) of everybody in the register who is active."""
    return await unit.fetch("select id, born, pinfl, argos from staff_person where active")


async def known_houses(unit: GatewayUnit) -> list[Any]:
    """(id, name, numbers) of every active institution."""
    return await unit.fetch("select id, name, numbers from staff_house where active")
