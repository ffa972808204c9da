"""Lists follow the records, however they were written: by the history of three types."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.kit.text import name_key
from dmed.modules.workforce.model import Kind
from dmed.modules.workforce.rules import is_licensed_post, records
from dmed.modules.workforce.rules.importing import House
from dmed.modules.workforce.rules.importing import Person as KnownPerson
from dmed.modules.workforce.tables import kept
from dmed.trust.gateway import decoded
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit, Stored

PLATFORM = Subject(user="workforce", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
"""Who follows the records and counts: a job, no person."""
_PAGE = 500
_AGAIN = timedelta(minutes=2)
"""Versions of transactions that were open when the last page was read come late."""
_FRESH_S = 10.0
_FAR = date(9999, 12, 30)


def person_row(record: dict[str, Any], vid: int) -> kept.PersonRow:
    """The row of a Practitioner."""
    person = records.person(record)
    certificate, number = records.last_until(record, Kind.CERTIFICATE)
    return kept.PersonRow(
        id=person.id, vid=vid, name=person.name, name_key=name_key(person.name), sex=person.sex,
        born=person.born, pinfl=person.pinfl, argos=person.argos, certificate_until=certificate,
        certificate=number, category_until=records.last_until(record, Kind.CATEGORY)[0],
        licence_until=records.last_until(record, Kind.LICENCE)[0], active=person.is_active)


def post_row(record: dict[str, Any], vid: int) -> kept.PostRow:
    """The row of a PractitionerRole."""
    post = records.post(record, clock.today())
    spans = []
    for availability in record.get("availability", []):
        for absence in availability.get("notAvailableTime", []):
            start, end = records.span(absence.get("during", {}))
            if start <= end:
                spans.append(f"[{start:%Y-%m-%d},{min(end, _FAR):%Y-%m-%d}]")
    return kept.PostRow(
        id=post.role, vid=vid, practitioner=post.practitioner, organisation=post.organisation,
        code=post.code, title=post.title, rate=post.rate, kind=post.kind.value, since=post.since,
        until=post.until, absences="{" + ",".join(spans) + "}",
        hours=msgspec.json.encode(
            [(one.day, one.start_minute, one.end_minute) for one in post.hours]).decode(),
        licensed=is_licensed_post(post.code), active=post.is_active)


def house_row(record: dict[str, Any], vid: int) -> kept.HouseRow:
    """The row of an Organization."""
    contact: dict[str, Any] = next(iter(record.get("contact", [])), {})
    address = contact.get("address", {})
    codes = {coding.get("code") for kind in record.get("type", [])
             for coding in kind.get("coding", [])}
    texts = {kind.get("text", "") for kind in record.get("type", [])}
    kind = next((name for name, is_it in (
        ("pharmacy", any("dorixona" in text for text in texts)), ("polyclinic", "II_300" in codes),
        ("hospital", "II_100" in codes)) if is_it), "other")
    return kept.HouseRow(
        id=record["id"], vid=vid, name=record.get("name", ""), kind=kind,
        region=address.get("state", ""),
        parent=str(record.get("partOf", {}).get("reference", "")).rpartition("/")[2],
        numbers=" ".join(sorted({
            value for one in record.get("identifier", [])
            if one.get("use", "official") == "official"
            and (value := str(one.get("value", ""))) and " " not in value})),
        active=record.get("active") is not False)


_ROWS: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "Organization": house_row, "Practitioner": person_row, "PractitionerRole": post_row}


def _newest(versions: Sequence[Stored]) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    for one in versions:
        if one.id not in found or found[one.id].vid < one.vid:
            found[one.id] = one
    return found


async def _follow_type(gateway: Gateway, type_: str, pages_max: int) -> int:
    async with gateway.unit(PLATFORM) as unit:
        since, _ = await kept.followed(unit, type_)
    count, cursor, newest = 0, "", since
    for _ in range(pages_max):
        page = await gateway.history(
            PLATFORM, type_, since=max(since - _AGAIN, kept.NEVER), rising=True, count=_PAGE,
            cursor=cursor)
        found = _newest(page.versions)
        rows = [_ROWS[type_](decoded(one.body), one.vid)
                for one in found.values() if not one.deleted]
        if page.versions:
            newest = max(newest, page.versions[-1].updated)
        async with gateway.unit(PLATFORM) as unit:
            await kept.put(unit, rows)
            gone = [one.id for one in found.values() if one.deleted]
            if gone:
                await kept.drop(unit, type_, gone)
            await kept.note_followed(unit, type_, newest)
        count += len(rows)
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    return count


async def follow(gateway: Gateway, pages_max: int = 10_000) -> int:
    """Brings the lists up to date with the records; how many rows were looked at. Repeatable."""
    count = 0
    for type_ in _ROWS:
        count += await _follow_type(gateway, type_, pages_max)
    gateway.held("staff lists", dict[str, float])["at"] = time.monotonic()
    return count


async def fresh(gateway: Gateway) -> datetime:
    """Follows where this worker has not for ten seconds; the moment of the newest post in lists."""
    at = gateway.held("staff lists", dict[str, float]).get("at")
    if at is None or time.monotonic() - at > _FRESH_S:
        await follow(gateway, pages_max=20)
    async with gateway.unit(PLATFORM) as unit:
        return (await kept.followed(unit, "PractitionerRole"))[0]


async def keep(unit: GatewayUnit, type_: str, body: bytes, vid: int) -> None:
    """Keeps the row of a record in the transaction that writes it."""
    await kept.put(unit, [_ROWS[type_](decoded(body), vid)])


async def known(gateway: Gateway) -> tuple[dict[str, KnownPerson], dict[str, House]]:
    """(people by PINFL and Argos number, institutions by number and id) as the register has them.

    The lists are brought up to date first.
    """
    await follow(gateway)
    people: dict[str, KnownPerson] = {}
    houses: dict[str, House] = {}
    async with gateway.unit(PLATFORM) as unit:
        for row in await kept.known_people(unit):
            person = KnownPerson(id=row["id"], born=row["born"], line=0)
            people.update((key, person) for key in (row["pinfl"], row["argos"]) if key)
        for row in await kept.known_houses(unit):
            house = House(row["id"], row["name"])
            houses.update((number, house) for number in (*row["numbers"], row["id"]) if number)
    return people, houses
