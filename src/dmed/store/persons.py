"""The index of persons: one row a name of each Patient, found by keys, ranked in the process. SQL.

It is one more index table (`rows.COLUMNS`), so every way of writing keeps it in the record's own
transaction. No search by trigrams: each key is a range of one b-tree, walked in its order and
bounded, so what a look-up costs does not depend on how many persons there are.
docs/reference/person-search.md; docs/decisions/0051-persons-by-keys.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from dmed.fhir.index import parameter_number
from dmed.fhir.persons import Probes
from dmed.store import audit as audits
from dmed.store import care
from dmed.store.keys import text_key, type_number
from dmed.store.model import AuditRow, Scope, Stored
from dmed.store.pool import Database
from dmed.store.read import check_type

TABLE = "person"
COLUMNS = ("vid", "bucket", "param", "family", "given", "patronymic", "pinfl", "phone", "born",
           "district", "traits")
# The widest first: nothing is lost to alignment, 88 bytes a row.
DDL = """
CREATE TABLE person (
    vid        bigint NOT NULL,
    family     bigint NOT NULL,
    given      bigint NOT NULL,
    patronymic bigint NOT NULL,
    pinfl      bigint NOT NULL,
    phone      bigint NOT NULL,
    param      integer NOT NULL,
    born       integer NOT NULL,
    district   integer NOT NULL,
    bucket     smallint NOT NULL,
    traits     smallint NOT NULL
);
ALTER TABLE person ALTER family SET STATISTICS 500, ALTER given SET STATISTICS 500;
"""
_DATED = "((born::bigint << 45) | ({name} >> 15))"
"""As `fhir.persons.dated`: the birth day, then nine letters of the name."""
INDEXES = {
    "person_names": "person (family, given, born, district)",
    "person_given": "person (given, patronymic)",
    "person_born_given": f"person ({_DATED.format(name='given')})",
    "person_born_family": f"person ({_DATED.format(name='family')})",
    "person_pinfl": "person (pinfl) WHERE pinfl <> 0",
    "person_phone": "person (phone) WHERE phone <> 0",
}
_READ = "vid, bucket, family, given, patronymic, pinfl, phone, born, district, traits"
_NUMBER = parameter_number("Patient", "identifier")
SCANNED_MAX = 2_000
"""Most rows that one probe passes by in the search for those that fit the rest of it."""


class Candidate(NamedTuple):
    """A row of a person that some key found; fields as `fhir.persons.PersonRow`."""

    vid: int
    bucket: int
    family: int
    given: int
    patronymic: int
    pinfl: int
    phone: int
    born: int
    district: int
    traits: int


def _probe(source: str, where: str, order: str) -> str:
    """Rows of one kind of key. The order that the index has anyhow keeps the planner on it,
    whatever its statistics say of a table that was filled a moment ago.
    """
    return (f"SELECT p.* FROM {source}, LATERAL (SELECT {_READ} FROM person p WHERE {where} "
            f"ORDER BY {order} LIMIT {{most}}) AS p")


def _born_with(name: str) -> str:
    key = _DATED.format(name=name)
    source = "unnest({0}::text::bigint[], {1}::text::bigint[]) AS q(low, high)"
    return _probe(source, f"{key} >= q.low AND {key} <= q.high", key)


_RANGES = (
    "unnest({0}::text::bigint[], {1}::text::bigint[], {2}::text::bigint[], {3}::text::bigint[], "
    "{4}::text::int[], {5}::text::int[]) "
    "AS q(low, high, third, third_last, place, place_last)")
_KINDS: dict[str, str] = {
    "pinfls": _probe("unnest({0}::text::bigint[]) AS q(value)",
                     "pinfl >= q.value AND pinfl <= q.value AND pinfl <> 0", "pinfl"),
    "phones": _probe("unnest({0}::text::bigint[]) AS q(value)",
                     "phone >= q.value AND phone <= q.value AND phone <> 0", "phone"),
    "numbers": (
        f"SELECT p.* FROM unnest({{0}}::text[]) AS q(value), LATERAL (SELECT t.vid FROM token t "
        f"WHERE t.param = {_NUMBER} AND t.code = q.value ORDER BY t.vid LIMIT {{most}}) AS t, "
        f"LATERAL (SELECT {_READ} FROM person WHERE person.vid = t.vid LIMIT 8) AS p"),
    "dated_given": _born_with("given"),
    "dated_family": _born_with("family"),
    "pairs": _probe(
        "unnest({0}::text::bigint[], {1}::text::bigint[], {2}::text::bigint[], "
        "{3}::text::int[], {4}::text::int[], {5}::text::int[], {6}::text::int[]) "
        "AS q(family, low, high, born, born_last, district, district_last)",
        "p.family = q.family AND p.given >= q.low AND p.given <= q.high AND p.born >= q.born "
        "AND p.born <= q.born_last AND p.district >= q.district AND p.district <= q.district_last",
        "p.given, p.born"),
    # A word alone is dense: at most so many rows are looked through for a patronymic.
    "families": (
        f"SELECT p.* FROM {_RANGES}, LATERAL (SELECT * FROM (SELECT {_READ} FROM person "
        "WHERE family >= q.low AND family <= q.high ORDER BY family, given, born "
        "LIMIT {scanned}) AS s WHERE s.patronymic >= q.third AND s.patronymic <= q.third_last "
        "AND s.district >= q.place AND s.district <= q.place_last LIMIT {most}) AS p"),
    "givens": (
        f"SELECT p.* FROM {_RANGES}, LATERAL (SELECT * FROM (SELECT {_READ} FROM person "
        "WHERE given >= q.low AND given <= q.high AND patronymic >= q.third "
        "AND patronymic <= q.third_last ORDER BY given, patronymic LIMIT {scanned}) AS s "
        "WHERE s.district >= q.place AND s.district <= q.place_last LIMIT {most}) AS p"),
}  # fmt: skip  # One entry a kind, in the order of Probes.
_WIDTHS = {"pinfls": 1, "phones": 1, "numbers": 1, "dated_given": 2, "dated_family": 2, "pairs": 7,
           "families": 6, "givens": 6}


@lru_cache(maxsize=256)
def _statement(kinds: tuple[str, ...], each_max: int, rows_max: int) -> str:
    at, parts = 0, []
    scanned = max(each_max, SCANNED_MAX)
    for kind in kinds:
        places = [f"${at + number + 1}" for number in range(_WIDTHS[kind])]
        at += len(places)
        most = 8 if kind == "pinfls" else each_max
        parts.append(f"({_KINDS[kind].format(*places, most=most, scanned=scanned)} "
                     f"LIMIT {rows_max})")
    return " UNION ALL ".join(parts)


def _column(numbers: Sequence[int]) -> str:
    """Numbers as one text: a native array is encoded element by element, which took longer than
    the rest of a search as one types.
    """
    return f"{{{','.join(map(str, numbers))}}}"


Fetch = Callable[..., Awaitable[Sequence[Any]]]
"""`fetch` of a connection or of an open unit."""


async def candidates(fetch: Fetch, probes: Probes) -> list[Candidate]:
    """The rows that these keys find, each once, those of the surest kinds first.

    They say nothing of a person by themselves that may be told: whoever calls reads the records
    by `records`, and audits which of them are told.
    """
    kinds = tuple(kind for kind in _KINDS if getattr(probes, kind))
    if not kinds:
        return []
    statement = _statement(kinds, probes.each_max, probes.rows_max)
    values: list[Any] = []
    for kind in kinds:
        asked: Sequence[Any] = getattr(probes, kind)
        if kind == "numbers":
            values.append([text_key(each) for each in asked])
        elif _WIDTHS[kind] == 1:
            values.append(_column(asked))
        else:
            values += map(_column, zip(*asked, strict=True))
    rows = await fetch(statement, *values)
    return list(dict.fromkeys(Candidate(*row) for row in rows))


_BEGUN = """
WITH RECURSIVE step AS (
    (SELECT family FROM person WHERE family >= $1 AND family <= $2 ORDER BY family LIMIT 1)
    UNION ALL
    SELECT (SELECT p.family FROM person p WHERE p.family > step.family AND p.family <= $2
            ORDER BY p.family LIMIT 1) FROM step WHERE step.family IS NOT NULL
)
SELECT family FROM step WHERE family IS NOT NULL LIMIT $3
"""


async def families(fetch: Fetch, first: int, last: int, most: int) -> list[int]:
    """The distinct surnames from one number to another, in order: one probe of the index each."""
    return [row["family"] for row in await fetch(_BEGUN, first, last, most)]


_RECORDS = f"""
SELECT q.n, r.id, r.bucket, r.vid, r.body FROM unnest($1::bigint[], $2::smallint[])
WITH ORDINALITY AS q(vid, bucket, n), LATERAL (
    SELECT id, bucket, vid, body, patient, others, labels FROM resource
    WHERE type = {type_number("Patient")} AND vid = q.vid AND bucket = q.bucket
    ORDER BY type, vid LIMIT 1) AS r
WHERE ($3::text[] IS NULL OR {care.seen("r", "$3")}) AND ($4::text[] IS NULL OR r.id = ANY($4))
ORDER BY q.n
"""


async def records(fetch: Fetch, scope: Scope, found: Sequence[Candidate]) -> list[Stored]:
    """The Patients of these candidates that the scope reaches, in order, each once. Not audited:
    the caller names to `disclose` whom he tells. ForbiddenError outside of the scope's types.
    """
    check_type(scope, "Patient")
    keys = list(dict.fromkeys((one.vid, one.bucket) for one in found))
    if not keys:
        return []
    within = None if scope.patients is None else list(scope.patients)
    rows = await fetch(
        _RECORDS, [vid for vid, _ in keys], [bucket for _, bucket in keys],
        care.principals_for(scope, "Patient"), within)
    return [Stored("Patient", row["id"], row["vid"], row["bucket"], row["body"]) for row in rows]


async def disclose(db: Database, audit: AuditRow, people: Sequence[str]) -> None:
    """Notes the look-up and each person it tells of; to be awaited before it is answered."""
    await audits.disclose(db, audit, people)


_WHOLE = "SELECT NOT EXISTS (SELECT FROM reindex WHERE type = $1 AND code = '*' AND state <> $2)"


async def is_whole(db: Database) -> bool:
    """Whether every Patient of before has its rows; until then other searches must help."""
    if not db.kept.get("persons whole"):
        async with db.connection() as connection:
            db.kept["persons whole"] = await connection.fetchval(
                _WHOLE, type_number("Patient"), "ready")
    return bool(db.kept["persons whole"])


def migration() -> str:
    """The table, and the order to make the rows of the Patients there are (store.reindex)."""
    number = type_number("Patient")
    return DDL + (
        f"INSERT INTO reindex (type, code) SELECT {number}, '*' "
        f"WHERE EXISTS (SELECT FROM resource WHERE type = {number}) "
        "ON CONFLICT (type, code) DO UPDATE SET state = 'waiting', at = 0, until = 0, done = 0, "
        "vids = '{}';")
