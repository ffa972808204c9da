"""Who may see whose records: the care table, refusals, and the one condition made of them. SQL.

`care` has a row for each living relationship: person, principal ("Organization/x",
"Practitioner/x", "User/x"), kind, until when, and the sensitivity labels that it opens. Rows are
made from records in the transaction that writes these (`Write.care`), so they are never behind.
`care_refusal` is what persons refused (Consent). `seen` is the condition that reads, searches,
includes, histories and the policies of row-level security share.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.fhir.index import parameter_number
from dmed.kit.errors import ForbiddenError
from dmed.kit.ids import bucket_in, vid_at
from dmed.store.audit import person_bucket, storable
from dmed.store.keys import type_name, type_number
from dmed.store.model import Relation, Scope, Write
from dmed.store.plan_where import Arguments

if TYPE_CHECKING:
    from dmed.store.pool import Database

GLASS = "glass"
ORGANISATIONS_MAX = 2_000
"""Most institutions of one subject: his own, those below it and those above."""
_KEPT_SECONDS = 30
_ABOVE_MAX = 8
FOR_EVER = datetime(2999, 12, 31, tzinfo=UTC)

_BEGINNERS = frozenset({"Appointment", "Encounter", "EpisodeOfCare"})
_PART_OF = parameter_number("Organization", "partof")
_ORGANISATION = type_number("Organization")

DDL = """
DROP TABLE IF EXISTS care;
CREATE TABLE care (
    bucket    smallint NOT NULL,
    labels    smallint NOT NULL DEFAULT 0,
    until     timestamptz NOT NULL,
    patient   text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    source    text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (patient, principal, kind, source, bucket)
);
CREATE INDEX care_source ON care (source) WHERE source <> '';
CREATE INDEX care_until ON care (until);
CREATE TABLE care_refusal (
    bucket    smallint NOT NULL,
    labels    smallint NOT NULL DEFAULT 0,
    until     timestamptz NOT NULL,
    patient   text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL DEFAULT '',
    source    text COLLATE "C" NOT NULL,
    PRIMARY KEY (patient, principal, source, bucket)
);
CREATE INDEX care_refusal_source ON care_refusal (source);
ALTER TABLE resource ADD COLUMN labels smallint NOT NULL DEFAULT 0;
ALTER TABLE resource_version ADD COLUMN labels smallint NOT NULL DEFAULT 0;
{backfill}
"""
# What an installation of before knows of care, from its index: attached persons for ever, running
# encounters and episodes for a quarter of a year, so that nobody stands before closed records.
_BACKFILL = """
INSERT INTO care (bucket, patient, principal, kind, until, source)
SELECT DISTINCT r.bucket, r.patient, '{target}/' || o.id, '{kind}', {until}, '{number}/' || r.id
FROM reference o JOIN resource r ON r.type = {number} AND r.vid = o.vid AND r.bucket = o.bucket
WHERE o.param = {param} AND o.type = {target_number} AND r.patient IS NOT NULL
ON CONFLICT DO NOTHING;
"""
_FROM = (
    ("Patient", "organization", "Organization", "attached", "'2999-12-31Z'::timestamptz"),
    ("Patient", "general-practitioner", "Organization", "attached", "'2999-12-31Z'::timestamptz"),
    ("Patient", "general-practitioner", "Practitioner", "attached", "'2999-12-31Z'::timestamptz"),
    ("Encounter", "service-provider", "Organization", "encounter", "now() + interval '90 days'"),
    ("EpisodeOfCare", "organization", "Organization", "episode", "now() + interval '90 days'"),
)


def migration() -> str:
    """The tables, and what the index of an earlier installation tells of care."""
    return DDL.format(backfill="".join(
        _BACKFILL.format(
            number=type_number(type_), param=parameter_number(type_, code),
            target=target, target_number=type_number(target), kind=kind, until=until)
        for type_, code, target, kind, until in _FROM))


def seen(row: str, principals: str) -> str:
    """Whether a row with patient, others and labels may be seen by principals (a text[]). SQL.

    A record about nobody may. Otherwise one of its people must be in care whose labels open the
    record, and must not have refused, unless the glass was broken.
    """
    people = f"array_append({row}.others, {row}.patient)"
    # The second way is asked only where the first fails, so it costs nobody who treats the person.
    return (
        f"({row}.patient IS NULL OR EXISTS (SELECT FROM care k "
        f"WHERE k.patient = ANY({people}) AND {_opens(row, principals, 'k.patient')} OFFSET 0) "
        f"OR EXISTS (SELECT FROM person_link p JOIN care k ON k.patient = p.other "
        f"WHERE p.patient = ANY({people}) AND {_opens(row, principals, 'p.patient')} OFFSET 0))"
    )


def _opens(row: str, principals: str, person: str) -> str:
    """Whether a row k of `care` opens a record of `person`: living, far enough, not refused.

    What a person refused on one of his cards holds for all of them.
    """
    return (
        f"k.principal = ANY({principals}) AND k.until > now() "
        f"AND ({row}.labels & ~k.labels) = 0 AND (k.kind = '{GLASS}' OR NOT EXISTS ("
        f"SELECT FROM care_refusal f WHERE f.until > now() "
        f"AND f.patient = ANY(array_append(ARRAY(SELECT q.other FROM person_link q "
        f"WHERE q.patient = {person}), {person})) "
        f"AND (f.principal = '' OR f.principal = ANY({principals})) "
        f"AND (f.labels = 0 OR (f.labels & {row}.labels) <> 0)))"
    )


def principals_for(scope: Scope, type_: str) -> list[str] | None:
    """The principals by whom records of a type are narrowed; None where they are not."""
    return list(scope.principals) if type_ in scope.guarded else None


def guarded_numbers(scope: Scope) -> list[int]:
    """The numbers of the types that are narrowed by care."""
    return sorted(map(type_number, scope.guarded))


def guarded_write_numbers(scope: Scope) -> list[int]:
    """The numbers of the types whose records are changed by those in care alone."""
    return sorted(map(type_number, scope.guarded_writes))


def limit(scope: Scope, row: str, args: Arguments) -> str:
    """The condition of a Scope on a row of `resource` of any type; "" where there is none."""
    if not scope.guarded:
        return ""
    numbers = args.bind(guarded_numbers(scope), "smallint[]")
    return (f" AND (NOT ({row}.type = ANY({numbers})) OR "
            f"{seen(row, args.bind(list(scope.principals), 'text[]'))})")


def probe(scope: Scope, row: str, type_: str, args: Arguments) -> list[str]:
    """The same on an index row with vid and bucket, as conditions; none where none is needed."""
    if type_ not in scope.guarded:
        return []
    number = args.bind(type_number(type_), "smallint")
    principals = args.bind(list(scope.principals), "text[]")
    return [(f"EXISTS (SELECT FROM resource s WHERE s.type = {number} AND s.vid = {row}.vid "
             f"AND s.bucket = {row}.bucket AND {seen('s', principals)} OFFSET 0)")]


# Writing --------------------------------------------------------------------------------------

_COVERED = """
SELECT k.patient FROM care k WHERE k.patient = ANY($1::text[])
AND k.principal = ANY($2::text[]) AND k.until > now()
UNION SELECT p.patient FROM person_link p JOIN care k ON k.patient = p.other
WHERE p.patient = ANY($1::text[]) AND k.principal = ANY($2::text[]) AND k.until > now()
"""


BEGINNING = frozenset({"registered", "encounter", "episode", "appointment"})
"""Kinds that one begins by oneself; nobody refers a person to himself, or hands himself care."""


async def check_new(connection: Any, scope: Scope, writes: Sequence[Write]) -> None:
    """ForbiddenError for a record about people of whom none is in the subject's care.

    What is written together counts: a visit begins care, and what is found at it comes with it.
    """
    wanted = [one for one in writes
              if one.type in scope.guarded_writes and one.type != "Patient"
              and one.kind != "delete" and one.patients]
    if not wanted:
        return
    own = set(scope.principals)
    covered = {each.patient for one in writes for each in one.care
               if each.principal in own and each.kind in BEGINNING}
    asked = {patient for one in wanted for patient in one.patients} - covered
    if asked:
        rows = await connection.fetch(_COVERED, sorted(asked), list(scope.principals))
        covered |= {row["patient"] for row in rows}
    for one in wanted:
        if not covered.intersection(one.patients):
            raise ForbiddenError(
                "There is no care relationship with the person of this record: begin one with "
                "a visit, or break the glass with a reason")


COLUMNS = ("bucket", "labels", "until", "patient", "principal", "kind", "source")
REGISTERED = "registered"
"""The kind of a Relation that a new card makes, and an update of one does not."""
REFUSAL = "refusal"
"""The kind of a Relation that is no care but its opposite; it goes to `care_refusal`."""


LOAD = f"""
WITH want AS (SELECT bucket, labels, until::timestamptz AS until, patient, principal, kind, source
    FROM unnest($1::smallint[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::text[]) AS t(bucket, labels, until, patient, principal, kind, source)),
refused AS (INSERT INTO care_refusal (bucket, labels, until, patient, principal, source)
    SELECT bucket, labels, until, patient, principal, source FROM want WHERE kind = '{REFUSAL}'
    ON CONFLICT DO NOTHING)
INSERT INTO care (bucket, labels, until, patient, principal, kind, source)
SELECT bucket, labels, until, patient, principal, kind, source FROM want
WHERE kind <> '{REFUSAL}' {{again}}
"""
"""Adds rows given as seven arrays in the order of COLUMNS; `again` is for those there already."""
KEEP = "ON CONFLICT DO NOTHING"
_LONGER = ("ON CONFLICT (patient, principal, kind, source, bucket) DO UPDATE SET "
           "until = excluded.until, labels = excluded.labels")


def rows_of(writes: Sequence[Write]) -> list[tuple[Any, ...]]:
    """The rows of `care` that these writes make, each key once, in one order for everybody."""
    found: dict[tuple[str, str, str, str], Relation] = {}
    for write in writes:
        if write.kind == "delete":
            continue
        for each in write.care:
            source = f"{type_number(write.type)}/{write.id}" if each.is_bound else ""
            key = (each.patient, each.principal, each.kind, source)
            old = found.get(key)
            found[key] = each if old is None else msgspec.structs.replace(
                each, until=max(old.until, each.until), labels=old.labels | each.labels)
    return [
        (person_bucket(each.patient), each.labels, each.until.isoformat(), each.patient,
         each.principal, each.kind, key[3])
        for key, each in sorted(found.items())]


def statements(rows: str, *, replaces: bool) -> list[str]:
    """Common table expressions that keep `care` beside a write; `rows` gives the new ones.

    A bound row is as long and as wide as its record says and goes with it; others only grow.
    """
    parts = [
        f"""care_want AS MATERIALIZED (SELECT bucket, labels, until::timestamptz AS until, patient,
            coalesce(principal, '') AS principal, kind, coalesce(source, '') AS source
            FROM {rows} WHERE (SELECT holds FROM whole) AND (kind <> '{REGISTERED}' OR EXISTS (
                SELECT FROM done JOIN w USING (n) WHERE done.kind = 'C' AND w.id = patient)))""",
        f"""care_new AS (INSERT INTO care AS k (bucket, labels, until, patient, principal, kind,
            source) SELECT bucket, labels, until, patient, principal, kind, source FROM care_want
            WHERE kind <> '{REFUSAL}'
            ON CONFLICT (patient, principal, kind, source, bucket) DO UPDATE SET
            labels = CASE WHEN k.source = '' THEN k.labels | excluded.labels
                     ELSE excluded.labels END,
            until = CASE WHEN k.source = '' THEN greatest(k.until, excluded.until)
                    ELSE excluded.until END
            WHERE CASE WHEN k.source = ''
                  THEN k.until < excluded.until OR (excluded.labels & ~k.labels) <> 0
                  ELSE (k.until, k.labels) IS DISTINCT FROM (excluded.until, excluded.labels)
                  END)""",
        f"""refused AS (INSERT INTO care_refusal AS k (bucket, labels, until, patient, principal,
            source) SELECT bucket, labels, until, patient, principal, source FROM care_want
            WHERE kind = '{REFUSAL}'
            ON CONFLICT (patient, principal, source, bucket) DO UPDATE SET
            until = excluded.until, labels = excluded.labels)""",
    ]
    if not replaces:
        return parts
    gone = ("k.patient = ANY (array_append(was.others, was.patient)) "
            "AND k.source = was.type || '/' || was.id AND NOT EXISTS (SELECT FROM care_want c "
            "WHERE c.patient = k.patient AND c.principal = k.principal AND c.source = k.source")
    return [
        *parts,
        f"""care_old AS (DELETE FROM care k USING was JOIN done USING (n)
            WHERE {gone} AND c.kind = k.kind))""",
        f"""refused_old AS (DELETE FROM care_refusal k USING was JOIN done USING (n)
            WHERE {gone} AND c.kind = '{REFUSAL}'))""",
    ]


# Standing of a subject: what the decision explains by -------------------------------------------


class Standing(msgspec.Struct, frozen=True):
    """What the store knows of a record and of a subject's standing with its people."""

    patients: tuple[str, ...]
    labels: int
    care: tuple[tuple[str, str, int], ...]
    """(patient, kind, labels) of living relationships of the subject's principals."""
    refusals: tuple[tuple[str, int], ...]
    """(patient, labels) of refusals that meet the subject."""


_FACTS = """
SELECT r.patient, r.others, r.labels FROM resource r
WHERE r.type = $2 AND r.id = $3 AND r.bucket = coalesce(
    $1::smallint, (SELECT bucket FROM id_claim WHERE type = $2 AND id = $3))
"""
_CARDS = """SELECT one AS patient, one AS card FROM unnest($1::text[]) AS one
UNION SELECT patient, other FROM person_link WHERE patient = ANY($1::text[])"""
_CARE = f"""
SELECT a.patient, k.kind, k.labels::int AS labels FROM ({_CARDS}) AS a
JOIN care k ON k.patient = a.card
WHERE k.principal = ANY($2::text[]) AND k.until > now() GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_REFUSED = f"""
SELECT DISTINCT a.patient, f.labels FROM ({_CARDS}) AS a JOIN care_refusal f ON f.patient = a.card
WHERE f.until > now() AND (f.principal = '' OR f.principal = ANY($2::text[])) ORDER BY 1, 2
"""


async def standing(db: Database, scope: Scope, type_: str, id_: str) -> Standing | None:
    """The facts by which a decision about a record is explained, without the record; None where
    there is no such record. Nothing of its content is told: the caller shows reasons alone.
    """
    async with db.connection() as connection:
        row = await connection.fetchrow(
            _FACTS, bucket_in(id_), type_number(type_), storable(id_))
        # A record that is not there is asked about as long as a hidden one: the time tells nothing.
        people = ([""] if row is None or row["patient"] is None
                  else [row["patient"], *(row["others"] or ())])
        care = await connection.fetch(_CARE, people, list(scope.principals))
        refused = await connection.fetch(_REFUSED, people, list(scope.principals))
    if row is None:
        return None
    return Standing(
        () if row["patient"] is None else tuple(people), row["labels"],
        tuple((one["patient"], one["kind"], one["labels"]) for one in care),
        tuple((one["patient"], one["labels"]) for one in refused))


class Begun(msgspec.Struct, frozen=True):
    """A record by which an institution began to treat a person whom nothing had led to it."""

    type: str
    id: str
    patient: str
    principal: str


_ALONE = """
SELECT r.type, r.id, k.patient, k.principal FROM resource r
JOIN care k ON k.source = r.type || '/' || r.id AND k.kind = ANY($3::text[]) AND k.until > now()
WHERE r.type = ANY($1::smallint[]) AND r.vid >= $2 AND NOT EXISTS (
    SELECT FROM care o WHERE o.patient = k.patient AND o.principal = k.principal
    AND o.source <> k.source AND o.kind <> ALL ('{act,glass}'))
ORDER BY r.type, r.vid LIMIT $4
"""


async def begun_alone(db: Database, scope: Scope, since: datetime, count: int) -> list[Begun]:
    """Visits, episodes and appointments written since a moment that began care by themselves: no
    attachment, booking, referral or earlier visit stands beside them. For the platform's own
    job; the scope must reach these types (ForbiddenError).
    """
    if scope.types is not None and not scope.types.issuperset(_BEGINNERS):
        raise ForbiddenError("visits are outside of what this sign-in may see")
    async with db.connection() as connection:
        rows = await connection.fetch(
            _ALONE, sorted(map(type_number, _BEGINNERS)),
            vid_at(int(since.timestamp() * 1000)), sorted(BEGINNING - {REGISTERED}), count)
    return [Begun(type_name(row["type"]), row["id"], row["patient"], row["principal"])
            for row in rows]


async def is_cared(connection: Any, scope: Scope, patient: str) -> bool:
    """Whether a person is in the care of the scope's principals at all."""
    return bool(await connection.fetchval(
        f"SELECT EXISTS ({_COVERED})", [patient], list(scope.principals)))


async def grant(connection: Any, scope: Scope, relation: Relation) -> None:
    """A relationship that no record says: broken glass. In the caller's transaction.

    ForbiddenError for anybody but the scope's own principals.
    """
    if relation.principal not in scope.principals:
        raise ForbiddenError("care is begun for oneself alone")
    await connection.execute(
        LOAD.format(again=_LONGER),
        [person_bucket(relation.patient)], [relation.labels], [relation.until.isoformat()],
        [relation.patient], [relation.principal], [relation.kind], [""])


# Facts of a request -----------------------------------------------------------------------------

# Down the tree and up from the institution, never sideways: what a department was entrusted with
# is not its sister's. `partof` of the index names the one above.
_TREE = f"""
WITH RECURSIVE below AS (
    SELECT $1::text COLLATE "C" AS id, 0 AS depth
    UNION
    SELECT r.id, b.depth + 1 FROM below b
    JOIN reference x ON x.param = {_PART_OF} AND x.id = b.id AND x.type = {_ORGANISATION}
    JOIN resource r ON r.type = {_ORGANISATION} AND r.vid = x.vid AND r.bucket = x.bucket
    WHERE b.depth < {_ABOVE_MAX}
), above AS (
    SELECT $1::text COLLATE "C" AS id, 0 AS depth
    UNION
    SELECT x.id, a.depth + 1 FROM above a
    JOIN resource r ON r.type = {_ORGANISATION} AND r.id = a.id
        AND r.bucket = coalesce(CASE WHEN a.id ~ '^[0-9a-fA-F]{{3}}-[0-9a-fA-F]{{20}}$'
            THEN (('x' || left(a.id, 3))::bit(12)::int)::smallint END,
            (SELECT c.bucket FROM id_claim c WHERE c.type = {_ORGANISATION} AND c.id = a.id))
    JOIN reference x ON x.param = {_PART_OF} AND x.vid = r.vid AND x.bucket = r.bucket
        AND x.type = {_ORGANISATION}
    WHERE a.depth < {_ABOVE_MAX}
)
SELECT id FROM (SELECT id, min(depth) AS depth FROM (
    SELECT * FROM below UNION ALL SELECT * FROM above) AS every GROUP BY id) AS t
ORDER BY depth, id LIMIT {ORGANISATIONS_MAX}
"""


def kept_tree(db: Database, organisation: str) -> tuple[str, ...] | None:
    """The institutions of a post as this worker knew them in the last half minute, or None."""
    known = db.kept.get("institutions")
    found = known.get(organisation) if known else None
    return found[0] if found is not None and time.monotonic() < found[1] else None


async def tree(db: Database, organisation: str) -> tuple[str, ...]:
    """The institutions that a post at one of them stands for: itself, those below, those above.

    Kept for half a minute, so a transfer takes effect within a minute.
    """
    found = kept_tree(db, organisation)
    if found is not None:
        return found
    async with db.connection() as connection:
        rows = await connection.fetch(_TREE, organisation)
    made = tuple(row["id"] for row in rows)
    known = db.kept.setdefault("institutions", {})
    if len(known) > 10_000:
        known.clear()
    known[organisation] = (made, time.monotonic() + _KEPT_SECONDS)
    return made
