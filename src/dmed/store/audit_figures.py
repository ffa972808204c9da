"""Figures of who looked at whom, computed in the database: what unusual access is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from dmed.fhir.index import parameter_number
from dmed.kit.ids import bucket_in
from dmed.store.audit import pack, unpack, unpack_sql
from dmed.store.keys import type_number
from dmed.store.pool import Database

PAIRS_MAX = 50_000
"""Most pairs of one answer; the most looked at come first."""


class Actor(msgspec.Struct, frozen=True):
    """A user as the figures know them: sign-in name, Practitioner and institution."""

    name: str
    practitioner: str
    organisation: str


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One user and one person in a span of time."""

    subject: str
    role: str
    organisation: str
    patient: str
    looks: int
    night: int
    """Of these between 22 and 6 o'clock in Tashkent."""
    first: datetime
    last: datetime
    is_in_care: bool
    """The user, or their institution, has a care relationship with the person."""
    is_self: bool
    """The person carries an identifier of the user's own Practitioner."""
    is_colleague: bool
    """The person carries an identifier of another Practitioner of the same institution."""
    is_namesake: bool
    """The person has the user's family name."""


_PERSON = type_number("Patient")
_STAFF = type_number("Practitioner")
_PERSON_NUMBER = parameter_number("Patient", "identifier")
_STAFF_NUMBER = parameter_number("Practitioner", "identifier")
_PERSON_FAMILY = parameter_number("Patient", "family")
_STAFF_FAMILY = parameter_number("Practitioner", "family")
_HOME = (
    "coalesce({bucket}, (SELECT c.bucket FROM id_claim c WHERE c.type = {type} AND c.id = {id}))"
)
# The vid of a person's and of each user's current record leads to their index rows.
_LOOKS = f"""
WITH staff AS MATERIALIZED (
    SELECT s.name, s.practitioner, s.organisation, r.vid, r.bucket
    FROM unnest($3::text[], $4::text[], $5::text[], $6::smallint[])
         AS s(name, practitioner, organisation, bucket)
    LEFT JOIN LATERAL (SELECT vid, bucket FROM resource
        WHERE type = {_STAFF} AND id = s.practitioner AND bucket = {_HOME.format(
            bucket="s.bucket", type=_STAFF, id="s.practitioner")} LIMIT 1) AS r ON true
), marks AS MATERIALIZED (
    SELECT s.name, s.organisation, t.system, t.code FROM staff s
    JOIN token t ON t.vid = s.vid AND t.bucket = s.bucket AND t.param = {_STAFF_NUMBER}
), families AS MATERIALIZED (
    SELECT s.name, t.folded FROM staff s
    JOIN string t ON t.vid = s.vid AND t.bucket = s.bucket AND t.param = {_STAFF_FAMILY}
), acts AS MATERIALIZED (
    SELECT actor, patient, count(*) AS looks, min(at) AS first, max(at) AS last,
           count(*) FILTER (WHERE extract(hour FROM at AT TIME ZONE 'Asia/Tashkent')
                                  NOT BETWEEN 6 AND 21) AS night
    FROM audit WHERE at >= $1 AND at < $2 AND patient IS NOT NULL AND outcome < 400
        AND action IN ('R', 'E') AND type <> {type_number("AuditEvent")}
    GROUP BY actor, patient
), pairs AS MATERIALIZED (
    SELECT c.subject, max(c.role) AS role, max(c.organisation) AS organisation, a.patient,
           sum(a.looks)::int AS looks, sum(a.night)::int AS night,
           min(a.first) AS first, max(a.last) AS last, {unpack_sql("a.patient")} AS person
    FROM acts a JOIN audit_actor c ON c.number = a.actor
    WHERE c.role = ANY ($7::text[])
    GROUP BY c.subject, a.patient ORDER BY sum(a.looks) DESC LIMIT {PAIRS_MAX}
)
SELECT p.subject, p.role, p.organisation, p.patient, p.looks, p.night, p.first, p.last,
    EXISTS (SELECT FROM care k WHERE k.patient = p.person AND k.until > p.first
        AND k.principal IN ('User/' || p.subject, 'Organization/' || p.organisation,
                            'Practitioner/' || s.practitioner)) AS is_in_care,
    EXISTS (SELECT FROM token t JOIN marks m ON m.system = t.system AND m.code = t.code
        WHERE t.vid = r.vid AND t.bucket = r.bucket AND t.param = {_PERSON_NUMBER}
          AND m.name = p.subject) AS is_self,
    EXISTS (SELECT FROM token t JOIN marks m ON m.system = t.system AND m.code = t.code
        WHERE t.vid = r.vid AND t.bucket = r.bucket AND t.param = {_PERSON_NUMBER}
          AND m.name <> p.subject AND m.organisation = p.organisation) AS is_colleague,
    EXISTS (SELECT FROM string t JOIN families f ON f.folded = t.folded
        WHERE t.vid = r.vid AND t.bucket = r.bucket AND t.param = {_PERSON_FAMILY}
          AND f.name = p.subject) AS is_namesake
FROM pairs p LEFT JOIN staff s ON s.name = p.subject
LEFT JOIN LATERAL (SELECT vid, bucket FROM resource
    WHERE type = {_PERSON} AND id = p.person AND bucket = {_HOME.format(
        bucket="(CASE WHEN get_byte(p.patient, 0) < 16 THEN "
               "get_byte(p.patient, 0) * 256 + get_byte(p.patient, 1) END)::smallint",
        type=_PERSON, id="p.person")} LIMIT 1) AS r ON true
"""

_CANARIES = """
SELECT a.at, a.digest, a.patient, a.request, a.action::text AS action, c.subject, c.role
FROM audit a JOIN audit_actor c ON c.number = a.actor
WHERE a.at >= $1 AND a.outcome < 400 AND a.action IN ('R', 'E')
  AND a.patient = ANY ($2::bytea[])
  AND substr(a.patient, octet_length(a.patient) - 3) = ANY ($3::bytea[])
ORDER BY a.at LIMIT 1000
"""


async def looks(
    db: Database, since: datetime, until: datetime, actors: Sequence[Actor], roles: Sequence[str]
) -> list[Look]:
    """Who of these roles looked at whom from `since` until before `until`; `actors` are the users
    whose Practitioner and institution are known.
    """
    columns = ([one.name for one in actors], [one.practitioner for one in actors],
               [one.organisation for one in actors],
               [bucket_in(one.practitioner) for one in actors])
    async with db.searching() as connection:
        rows = await connection.fetch(_LOOKS, since, until, *columns, list(roles))
    return [Look(**{**dict(row), "patient": unpack(row["patient"])}) for row in rows]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One access to a canary person."""

    at: datetime
    digest: bytes
    patient: str
    request: str
    action: str
    subject: str
    role: str


async def alarms(db: Database, since: datetime, canaries: Sequence[str]) -> list[Alarm]:
    """Every access to these people since a moment, the oldest first, at most a thousand."""
    packed = [pack(one) for one in canaries]
    async with db.searching() as connection:
        rows = await connection.fetch(_CANARIES, since, packed, [one[-4:] for one in packed])
    return [Alarm(**{**dict(row), "patient": unpack(row["patient"])}) for row in rows]
