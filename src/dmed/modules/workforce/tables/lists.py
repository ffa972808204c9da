"""Lists and totals out of the kept rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from dmed.modules.workforce.model import Employment, Line, Post
from dmed.modules.workforce.tables.kept import hours_of
from dmed.trust.gateway import GatewayUnit

PAGE = 50
_RUNS = ("p.active and (p.since is null or p.since <= {day}) "
         "and (p.until is null or p.until >= {day})")
_LINE = """
select p.practitioner, p.id as role, coalesce(s.name, '') as name, p.organisation,
    coalesce(h.name, '') as organisation_name, p.code as post_code, p.title,
    trim_scale(p.rate) as rate,
    p.kind,
    p.since,
    (select max(upper(a)) - 1 from unnest(p.absences) a where a @> $1::date) as away_until,
    s.certificate_until, s.category_until, s.licence_until, s.born, p.licensed as is_certified
from staff_post p left join staff_person s on s.id = p.practitioner
left join staff_house h on h.id = p.organisation
where """ + _RUNS.format(day="$1")


def _line(row: Any) -> Line:
    return Line(**dict(row))


async def staff(
    unit: GatewayUnit, organisations: Sequence[str], day: date, *, text_key: str = "",
    number: str = "", code: str = "", start: int = 0, limit: int = PAGE,
) -> list[Line]:
    """Who holds a running post at institutions, by name; without institutions everywhere.

    `text_key` narrows to names with words that begin so (folded), `number` to a PINFL or Argos
    number, `code` to a post. Everywhere a name is looked up by its beginning, in an index.
    """
    where: list[str] = [_LINE]
    values: list[Any] = [day]
    if organisations:
        values.append(list(organisations))
        where.append(f"and p.organisation = any(${len(values)}::text[])")
    if number:
        values.append(number)
        where.append(f"and (s.pinfl = ${len(values)} or s.argos = ${len(values)})")
    for place, word in enumerate(text_key.split() if not number else []):
        values.append(f"{word}%" if not organisations and place == 0 else f"% {word}%")
        column = "s.name_key" if not organisations and place == 0 else "' ' || s.name_key"
        where.append(f"and {column} like ${len(values)}")
    if code:
        values.append(code)
        where.append(f"and p.code = ${len(values)}")
    values += [limit, start]
    order = "s.name" if organisations else "s.name_key"
    where.append(f"order by {order}, p.id limit ${len(values) - 1} offset ${len(values)}")
    return [_line(row) for row in await unit.fetch(" ".join(where), *values)]


async def figures(unit: GatewayUnit, organisations: Sequence[str], day: date) -> dict[str, Any]:
    """People, posts, rates, away, and how many certificates run out within 90 days."""
    row = await unit.fetchrow(
        "select count(distinct p.practitioner) as people, count(*) as posts,"
        " trim_scale(coalesce(sum(p.rate), 0)) as rates,"
        " count(distinct p.practitioner) filter (where p.absences @> $1::date) as away,"
        " count(distinct p.practitioner) filter (where p.licensed and s.certificate_until"
        " <= $1 + 90) as expiring"
        " from staff_post p left join staff_person s on s.id = p.practitioner"
        f" where {_RUNS.format(day='$1')} and p.organisation = any($2::text[])",
        day, list(organisations))
    return dict(row)


async def expiring(
    unit: GatewayUnit, organisations: Sequence[str] | None, day: date, until: date,
    limit: int = 500,
) -> list[Any]:
    """(practitioner, name, organisation_name, title, kind, ends) of what ends by a day, or has."""
    rows = await unit.fetch(
        "select distinct on (e.ends, s.name, p.practitioner, e.kind) p.practitioner, s.name,"
        " coalesce(h.name, '') as organisation_name, p.title, e.kind, e.ends"
        " from staff_post p join staff_person s on s.id = p.practitioner"
        " left join staff_house h on h.id = p.organisation"
        " cross join lateral (values ('certificate', s.certificate_until),"
        " ('category', s.category_until), ('licence', s.licence_until)) as e(kind, ends)"
        f" where {_RUNS.format(day='$1')} and e.ends <= $2"
        " and (e.kind <> 'certificate' or p.licensed)"
        " and ($3::text[] is null or p.organisation = any($3))"
        " order by e.ends, s.name, p.practitioner, e.kind limit $4",
        day, until, None if organisations is None else list(organisations), limit)
    return list(rows)


async def filled(unit: GatewayUnit, organisation: str, day: date) -> list[Any]:
    """(code, title, rates, people) of running posts at an institution."""
    return await unit.fetch(
        "select p.code, min(p.title) as title, trim_scale(sum(p.rate)) as rates,"
        " count(distinct p.practitioner) as people from staff_post p"
        f" where {_RUNS.format(day='$1')} and p.organisation = $2"
        " group by p.code, case p.code when '' then p.title end order by p.code, title",
        day, organisation)


async def norm(unit: GatewayUnit, organisation: str) -> list[Any]:
    """(code, title, rates, source) of an institution's own staffing table."""
    return await unit.fetch(
        "select code, title, trim_scale(rates) as rates, source from staff_norm"
        " where organisation = $1 order by code",
        organisation)


async def set_norm(
    unit: GatewayUnit, organisation: str, code: str, title: str, rates: Decimal, source: str,
    maker: str,
) -> None:
    """Sets one line of an institution's staffing table; 0 rates take it out."""
    if not rates:
        await unit.execute(
            "delete from staff_norm where organisation = $1 and code = $2", organisation, code)
        return
    await unit.execute(
        "insert into staff_norm (organisation, code, title, rates, source, maker)"
        " values ($1, $2, $3, $4, $5, $6) on conflict (organisation, code) do update set"
        " title = excluded.title, rates = excluded.rates, source = excluded.source,"
        " maker = excluded.maker, made = now()", organisation, code, title, rates, source, maker)


async def house(unit: GatewayUnit, id_: str) -> Any | None:
    """(id, name, kind, region, parent) of an institution, or None."""
    return await unit.fetchrow(
        "select id, name, kind, region, parent from staff_house where id = $1", id_)


async def named_house(unit: GatewayUnit, text: str) -> list[Any]:
    """(id, name) of active institutions with this id, official number or whole name; at most 2."""
    return await unit.fetch(
        "select id, name from staff_house where active and"
        " (id = $1 or $1 = any(numbers) or lower(name) = lower($1)) order by id limit 2", text)


async def below(unit: GatewayUnit, id_: str, limit: int = 500) -> list[str]:
    """An institution and those below it, at most eight steps down."""
    rows = await unit.fetch(
        'with recursive t as (select $1::text collate "C" as id, 0 as depth'
        " union select h.id, t.depth + 1 from staff_house h join t on h.parent = t.id"
        " where t.depth < 8)"
        " select id from t limit $2", id_, limit)
    return [row["id"] for row in rows]


async def several(
    unit: GatewayUnit, organisation: str | None, day: date, most: Decimal, limit: int = 200
) -> list[tuple[str, str, list[Post]]]:
    """(practitioner, name, running posts) of people with two posts, or more rates than `most`.

    With an institution only those who hold one of the posts there.
    """
    rows = await unit.fetch(
        "with many as (select p.practitioner from staff_post p where "
        f"{_RUNS.format(day='$1')} and ($2::text is null or p.practitioner in"
        " (select q.practitioner from staff_post q where q.organisation = $2 and q.active))"
        " group by p.practitioner having count(*) > 1 or sum(p.rate) > $3 limit $4)"
        " select p.id, p.practitioner, p.organisation, coalesce(h.name, '') as house, p.code,"
        " p.title, trim_scale(p.rate) as rate, p.kind, p.since, p.until,"
        " p.hours::text as hours, s.name"
        " from many join staff_post p using (practitioner)"
        " join staff_person s on s.id = p.practitioner"
        " left join staff_house h on h.id = p.organisation"
        f" where {_RUNS.format(day='$1')} order by s.name, p.practitioner, p.since",
        day, organisation, most, limit)
    found: dict[str, tuple[str, str, list[Post]]] = {}
    for row in rows:
        kept = found.setdefault(row["practitioner"], (row["practitioner"], row["name"], []))
        kept[2].append(Post(
            role=row["id"], practitioner=row["practitioner"], organisation=row["organisation"],
            organisation_name=row["house"], code=row["code"], title=row["title"],
            rate=row["rate"], kind=Employment(row["kind"]), since=row["since"],
            until=row["until"], hours=hours_of(row["hours"])))
    return list(found.values())


async def regions(unit: GatewayUnit, day: date) -> list[Any]:
    """Totals by region: institutions with staff, people, posts, rates, doctors, nurses, away."""
    return await unit.fetch(
        "select coalesce(h.region, '') as region, count(distinct p.organisation) as institutions,"
        " count(distinct p.practitioner) as people, count(*) as posts,"
        " trim_scale(sum(p.rate)) as rates,"
        " trim_scale(coalesce(sum(p.rate) filter (where split_part(p.code, '.', 1) in"
        " ('2211', '2212', '2261')), 0)) as doctors,"
        " trim_scale(coalesce(sum(p.rate) filter (where left(p.code, 3) in ('222', '322')), 0))"
        " as nurses,"
        " count(*) filter (where p.absences @> $1::date) as away,"
        " count(*) filter (where p.licensed and s.certificate_until <= $1 + 90) as expiring"
        " from staff_post p left join staff_house h on h.id = p.organisation"
        " left join staff_person s on s.id = p.practitioner"
        f" where {_RUNS.format(day='$1')} group by 1 order by 1", day)


async def open_rates(unit: GatewayUnit, day: date) -> dict[str, Decimal]:
    """Rates without a holder by region, of institutions that have a staffing table of their own."""
    rows = await unit.fetch(
        "select coalesce(h.region, '') as region, trim_scale("
        "sum(greatest(n.rates - coalesce(f.rates, 0), 0))) as rates from staff_norm n"
        " left join staff_house h on h.id = n.organisation left join lateral"
        " (select sum(p.rate) as rates from staff_post p where"
        " p.organisation = n.organisation and p.code = n.code and"
        f" {_RUNS.format(day='$1')}) f on true group by 1", day)
    return {row["region"]: row["rates"] for row in rows}


async def ages(
    unit: GatewayUnit, day: date, region: str = ""
) -> list[tuple[int, str, bool, bool, int]]:
    """(year of birth, sex, doctor, nurse, people) of who is in post, each person once."""
    rows = await unit.fetch(
        "with one as (select s.id, extract(year from s.born)::int as year, s.sex,"
        " bool_or(split_part(p.code, '.', 1) in ('2211', '2212', '2261')) as doctor,"
        " bool_or(left(p.code, 3) in ('222', '322')) as nurse"
        " from staff_post p join staff_person s on s.id = p.practitioner"
        " left join staff_house h on h.id = p.organisation"
        f" where {_RUNS.format(day='$1')} and s.born is not null"
        " and ($2 = '' or h.region = $2) group by s.id)"
        " select year, sex, doctor, nurse, count(*) as people from one group by 1, 2, 3, 4",
        day, region)
    return [(row["year"], row["sex"], row["doctor"], row["nurse"], row["people"]) for row in rows]


async def counts(
    unit: GatewayUnit, people: Sequence[str], month: date, since: Any
) -> dict[tuple[str, str], dict[str, int]]:
    """(practitioner, role) > direction > count of a month, of what was counted since a moment."""
    rows = await unit.fetch(
        "select practitioner, role, direction, done from staff_activity"
        " where practitioner = any($1::text[]) and month = $2 and counted >= $3",
        list(people), month, since)
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        found.setdefault((row["practitioner"], row["role"]), {})[row["direction"]] = row["done"]
    return found


async def keep_count(
    unit: GatewayUnit, practitioner: str, role: str, month: date, direction: str, done: int
) -> None:
    """Keeps a count."""
    await unit.execute(
        "insert into staff_activity (practitioner, role, month, direction, done, counted)"
        " values ($1, $2, $3, $4, $5, now()) on conflict (practitioner, role, month, direction)"
        " do update set done = excluded.done, counted = now()",
        practitioner, role, month, direction, done)
