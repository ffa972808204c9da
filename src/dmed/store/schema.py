"""The tables of the record store, and the migrations that make them.

A record version is named by `(bucket, vid)`: `vid` is time-ordered and one per version, so it is
at once identity, newest-first sort key, paging key and `meta.lastUpdated` (`ids.milliseconds_of`).
Types are small numbers (`keys.type_number`), systems 64-bit numbers (`keys.system_number`), texts
pass through `keys.text_key` and compare by bytes (COLLATE "C"). Instants of `date`
are bigint microseconds since 1970.

resource          current version of each live record. Deleted records are NOT here, so every row
                  counts. PRIMARY KEY (bucket, type, id); UNIQUE (type, vid, bucket) is the
                  newest-first walk of a type and the join from index rows. `patient` is the first
                  patient in whose compartment it lies, `others` the further ones (NULL if none).
                  `_id` and `_lastUpdated` are answered here: `id`, and `vid` through `ids.vid_at`.
resource_version  superseded versions and tombstones (body NULL = deleted), same columns. Plain, not
                  partitioned: an instance's history would have to probe every month.
id_claim          ids that clients chose -> bucket. Kept after delete: the bucket is for ever.
identity_claim    (type, system, value) of unique official identifiers -> the active record.
compartment       one row a patient and record: (patient, type, vid) -> home bucket of the record,
                  walked newest first for a card, `Patient/x/*` and a Scope limited to patients.
care              care relationships: who may see a patient (kind, until when); store.care.
person_link       pairs of cards that are one person's, after a merge; store.links.
token             (param, code, vid) INCLUDE (system, bucket). `code` and `system` "" / 0 if absent.
string            (param, folded, vid) INCLUDE (bucket): prefix search by range on folded;
                  `exact` is NULL when equal to folded; `grams` (GIN) for :contains on names.
date              (param, low, vid) INCLUDE (high, bucket) WHERE NOT wide, and
                  (param, low, high, vid) INCLUDE (bucket) WHERE wide; wide: keys.WIDE_MICROSECONDS.
number, quantity  (param, middle, vid) INCLUDE ([code, system,] bucket), double precision. `middle`
                  is NULL for a real range, whose low and high then count.
reference         (param, id, vid) INCLUDE (type, bucket): target id, target type number (0 and the
                  whole address for a foreign one), `version` NULL if none. A covering walk for
                  chains; the target's own columns serve includes.
uri               (param, value, vid) INCLUDE (bucket).
composite         (param, key, low, vid) INCLUDE (high, bucket); key = keys.composite_number.
                  low/high NULL where no component is ordered.
                  All eight carry (bucket, vid) and an index on (vid) for the probe of one record
                  and for removal; rows of one record lie side by side in the heap.
                  Newest-first walks read these indexes backward: ascending vid keeps pages full.
audit             who did what, partitioned by month of `at`; `actor` -> audit_actor (user, role,
                  organisation, purpose said once). Each row carries its own digest; `xid` lets the
                  sealer follow commits. The application may add and read rows, never change them.
                  Packed ids, seals and the view `audit_told`: store.audit_tables.
feed              one row a write, partitioned by month of `vid`; readers take (xid, vid) below
                  pg_snapshot_xmin, in that order. `vid` rises within a transaction: it is the seq.
criteria_lock     a row a conditional's criteria, locked for the length of its transaction.
idempotency       answers to requests that carried an idempotency key.
person            a row a name of each Patient: the index of persons (store.persons).
words             (param, document): the words of a narrative or of a whole record, as the text of a
                  tsvector, with GIN over it (store.text).
reindex           search parameters that are not R5's own, and work on old records (store.reindex):
                  by (type, code) its definition, its state and how far it has come (`at`, a vid).
job               work to do later, enqueued in the caller's transaction, taken with SKIP LOCKED.
load_ledger       the chunks of each imported file that have been committed, with their faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from dmed.kit.ids import milliseconds_of
from dmed.store import audit_tables, budget, care, links, persons
from dmed.store.keys import type_names, type_number

APPLICATION_ROLE = "dmed_app"
MIGRATION_LOCK = 7_305_516_208_331_001
"""Key of the advisory lock under which tables and indexes are made."""
_MONTHS_AHEAD = 3

_RECORDS = """
CREATE TABLE resource (
    bucket  smallint NOT NULL,
    type    smallint NOT NULL,
    vid     bigint NOT NULL,
    id      text COLLATE "C" NOT NULL,
    patient text COLLATE "C",
    others  text[] COLLATE "C",
    body    bytea NOT NULL,
    PRIMARY KEY (bucket, type, id)
);
ALTER TABLE resource ALTER body SET STORAGE MAIN;
CREATE UNIQUE INDEX resource_walk ON resource (type, vid, bucket);
CREATE TABLE resource_version (
    bucket  smallint NOT NULL,
    type    smallint NOT NULL,
    vid     bigint NOT NULL,
    id      text COLLATE "C" NOT NULL,
    patient text COLLATE "C",
    others  text[] COLLATE "C",
    body    bytea,
    PRIMARY KEY (bucket, type, id, vid)
);
ALTER TABLE resource_version ALTER body SET STORAGE MAIN;
CREATE INDEX resource_version_walk ON resource_version (type, vid);
CREATE TABLE id_claim (
    type   smallint NOT NULL,
    id     text COLLATE "C" NOT NULL,
    bucket smallint NOT NULL,
    PRIMARY KEY (type, id)
);
CREATE TABLE identity_claim (
    type   smallint NOT NULL,
    system bigint NOT NULL,
    value  text COLLATE "C" NOT NULL,
    bucket smallint NOT NULL,
    id     text COLLATE "C" NOT NULL,
    PRIMARY KEY (type, system, value)
);
CREATE INDEX identity_claim_holder ON identity_claim (id);
CREATE TABLE compartment (
    bucket  smallint NOT NULL,
    type    smallint NOT NULL,
    home    smallint NOT NULL,
    vid     bigint NOT NULL,
    patient text COLLATE "C" NOT NULL
);
CREATE TABLE care (
    bucket       smallint NOT NULL,
    patient      text COLLATE "C" NOT NULL,
    organisation text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    until        timestamptz NOT NULL,
    PRIMARY KEY (bucket, patient, organisation, kind)
);
"""

# Half a unit of the last digit is at most half the value: what is wider is a real range.
_MIDDLE = (
    "CASE WHEN high - low > greatest(abs(low + high) / 2, 1) * 1.000001 THEN NULL "
    "ELSE (low + high) / 2 END"
)
_INDEX = """
CREATE TABLE token (
    vid bigint NOT NULL, system bigint NOT NULL, param integer NOT NULL, bucket smallint NOT NULL,
    code text COLLATE "C" NOT NULL
);
CREATE TABLE string (
    vid bigint NOT NULL, param integer NOT NULL, bucket smallint NOT NULL,
    folded text COLLATE "C" NOT NULL, exact text COLLATE "C", grams integer[]
);
CREATE TABLE date (
    vid bigint NOT NULL, low bigint NOT NULL, high bigint NOT NULL, param integer NOT NULL,
    bucket smallint NOT NULL, wide boolean NOT NULL
);
CREATE TABLE number (
    vid bigint NOT NULL, low double precision NOT NULL, high double precision NOT NULL,
    param integer NOT NULL, bucket smallint NOT NULL,
    middle double precision GENERATED ALWAYS AS ({middle}) STORED
);
CREATE TABLE quantity (
    vid bigint NOT NULL, low double precision NOT NULL, high double precision NOT NULL,
    system bigint NOT NULL, param integer NOT NULL, bucket smallint NOT NULL,
    code text COLLATE "C" NOT NULL,
    middle double precision GENERATED ALWAYS AS ({middle}) STORED
);
CREATE TABLE reference (
    vid bigint NOT NULL, param integer NOT NULL, type smallint NOT NULL, bucket smallint NOT NULL,
    id text COLLATE "C" NOT NULL, version text COLLATE "C"
);
CREATE TABLE uri (
    vid bigint NOT NULL, param integer NOT NULL, bucket smallint NOT NULL,
    value text COLLATE "C" NOT NULL
);
CREATE TABLE composite (
    vid bigint NOT NULL, key bigint NOT NULL, low double precision, high double precision,
    param integer NOT NULL, bucket smallint NOT NULL
);
"""

INDEX_TABLES = (
    "token", "string", "date", "number", "quantity", "reference", "uri", "composite",
)  # fmt: skip  # One line reads as the list it is.

# Kept apart, since a first load builds them after its rows: sorted, so full pages and less time.
# The longest stand first, for two are built at a time.
_ON = {
    "string_grams": "string USING gin (grams) WITH (fastupdate = off) "
    "WHERE grams IS NOT NULL",
    # New words wait in a short list: to sort each in at once took longer than the rest of a write.
    "words_document": "words USING gin ((document::tsvector)) "
    "WITH (fastupdate = on, gin_pending_list_limit = 1024)",
    "compartment_walk": "compartment (patient, type, vid) INCLUDE (home)",
    "token_value": "token (param, code, vid) INCLUDE (system, bucket)",
    "string_value": "string (param, folded, vid) INCLUDE (bucket)",
    "date_value": "date (param, low, vid) INCLUDE (high, bucket) WHERE NOT wide",
    "date_wide": "date (param, low, high, vid) INCLUDE (bucket) WHERE wide",
    "number_value": "number (param, middle, vid) INCLUDE (bucket)",
    "quantity_value": "quantity (param, middle, vid) INCLUDE (system, bucket, code)",
    "reference_value": "reference (param, id, vid) INCLUDE (type, bucket)",
    "uri_value": "uri (param, value, vid) INCLUDE (bucket)",
    "composite_value": "composite (param, key, low, vid) INCLUDE (high, bucket)",
    **persons.INDEXES,
    **{f"{table}_record": f"{table} (vid)" for table in (*INDEX_TABLES, "words", "person")},
    # Who holds a number is asked by updates, what was done to a person by who looks at the audit.
    "identity_claim_holder": "identity_claim (id)",
    "audit_person": audit_tables.PERSON_ON,
}
SEARCH_INDEXES = {name: f"CREATE INDEX IF NOT EXISTS {name} ON {on}" for name, on in _ON.items()}
"""The indexes that only searches and updates need, by name; each statement is repeatable."""

# The planner must see how values spread within a parameter: a peer gained 506 times by this alone.
_STATISTICS = """
CREATE STATISTICS token_spread (mcv, ndistinct) ON param, code FROM token;
CREATE STATISTICS string_spread (mcv, ndistinct) ON param, folded FROM string;
CREATE STATISTICS reference_spread (mcv, ndistinct) ON param, id FROM reference;
CREATE STATISTICS uri_spread (mcv, ndistinct) ON param, value FROM uri;
CREATE STATISTICS composite_spread (mcv, ndistinct) ON param, key FROM composite;
CREATE STATISTICS date_spread (mcv, ndistinct) ON param, wide FROM date;
CREATE STATISTICS compartment_spread (ndistinct) ON patient, type FROM compartment;
ALTER STATISTICS token_spread SET STATISTICS 1000;
ALTER STATISTICS string_spread SET STATISTICS 500;
ALTER STATISTICS reference_spread SET STATISTICS 500;
ALTER STATISTICS composite_spread SET STATISTICS 500;
ALTER TABLE token ALTER code SET STATISTICS 1000, ALTER param SET STATISTICS 1000;
ALTER TABLE reference ALTER id SET STATISTICS 500, ALTER param SET STATISTICS 500;
"""

_FLOW = """
CREATE TABLE audit_actor (
    number       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject      text COLLATE "C" NOT NULL,
    role         text COLLATE "C" NOT NULL,
    organisation text COLLATE "C" NOT NULL,
    purpose      text COLLATE "C" NOT NULL,
    UNIQUE (subject, role, organisation, purpose)
);
CREATE TABLE audit (
    at      timestamptz NOT NULL,
    xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    vid     bigint,
    actor   integer NOT NULL,
    bucket  smallint NOT NULL,
    type    smallint NOT NULL,
    outcome smallint NOT NULL,
    action  "char" NOT NULL,
    digest  bytea NOT NULL,
    request text COLLATE "C" NOT NULL,
    id      text COLLATE "C",
    patient text COLLATE "C",
    query   text,
    detail  text
) PARTITION BY RANGE (at);
CREATE INDEX audit_person ON audit (hashtext(patient), at) WHERE patient IS NOT NULL;
CREATE INDEX audit_time ON audit USING brin (at);
CREATE TABLE feed (
    xid    xid8 NOT NULL DEFAULT pg_current_xact_id(),
    vid    bigint NOT NULL,
    bucket smallint NOT NULL,
    type   smallint NOT NULL,
    kind   "char" NOT NULL,
    id     text COLLATE "C" NOT NULL
) PARTITION BY RANGE (vid);
CREATE INDEX feed_order ON feed (xid, vid);
CREATE TABLE audit_rest PARTITION OF audit DEFAULT;
CREATE TABLE feed_rest PARTITION OF feed DEFAULT;
CREATE TABLE criteria_lock (
    criteria text COLLATE "C" PRIMARY KEY,
    at       timestamptz NOT NULL
);
CREATE TABLE idempotency (
    key     text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    digest  bytea NOT NULL,
    status  smallint NOT NULL,
    headers jsonb NOT NULL,
    body    bytea NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, key)
);
CREATE TABLE job (
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind     text COLLATE "C" NOT NULL,
    payload  bytea NOT NULL,
    due      timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    error    text NOT NULL DEFAULT ''
);
CREATE INDEX job_due ON job (due, number);
CREATE TABLE job_failed (LIKE job, failed timestamptz NOT NULL DEFAULT now());
CREATE TABLE load_ledger (
    digest text COLLATE "C" NOT NULL,
    line   bigint NOT NULL,
    items  integer NOT NULL,
    loaded integer NOT NULL,
    faults jsonb NOT NULL,
    at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (digest, line)
);
"""

# The application role may not make tables; this function makes the months ahead for it.
_MONTHS = """
CREATE OR REPLACE FUNCTION make_months(ahead integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public AS $$
DECLARE
    first timestamptz; after timestamptz; name text; part regclass;
BEGIN
    FOR step IN 0 .. least(ahead, 24) LOOP
        first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => step))
                 AT TIME ZONE 'UTC';
        after := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => step + 1))
                 AT TIME ZONE 'UTC';
        name := to_char(first AT TIME ZONE 'UTC', 'YYYYMM');
        IF to_regclass('public.audit_' || name) IS NULL THEN
            EXECUTE format('CREATE TABLE public.audit_%s PARTITION OF public.audit '
                           'FOR VALUES FROM (%L) TO (%L)', name, first, after);
        END IF;
        IF to_regclass('public.feed_' || name) IS NULL THEN
            EXECUTE format('CREATE TABLE public.feed_%s PARTITION OF public.feed '
                           'FOR VALUES FROM (%s) TO (%s)', name,
                           public.vid_at(first), public.vid_at(after));
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'dmed_app')
       AND current_user <> 'dmed_app' THEN
        -- Only where there is something to take: each REVOKE makes every session plan anew.
        FOR part IN SELECT relid FROM pg_partition_tree('public.audit')
                    WHERE has_table_privilege('dmed_app', relid, 'UPDATE, DELETE, TRUNCATE') LOOP
            EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM dmed_app', part);
        END LOOP;
    END IF;
END $$;
"""

# Rows arrive all day: small scale factors keep the visibility map and the statistics fresh.
_UPKEEP = """
ALTER TABLE {table} SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_threshold = 1000, autovacuum_vacuum_cost_delay = 1
);
"""

_QUEUES = """
ALTER TABLE job SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
ALTER TABLE criteria_lock SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,
                               autovacuum_vacuum_threshold = 1000);
"""


def _vid_function() -> str:
    epoch_ms = milliseconds_of(0)
    return (
        "CREATE FUNCTION vid_at(moment timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ "
        f"SELECT greatest(0, (extract(epoch FROM moment) * 1000)::bigint - {epoch_ms}) << 21 $$;"
    )


def _first() -> str:
    upkeep = "".join(
        _UPKEEP.format(table=table)
        for table in ("resource", "resource_version", "compartment", "identity_claim",
                      *INDEX_TABLES)
    )
    index = _INDEX.replace("{middle}", _MIDDLE)
    return _RECORDS + index + _STATISTICS + _FLOW + _QUEUES + _vid_function() + upkeep


def _middles() -> str:
    """Installations of the first day get the middle of numbers; new ones have it already."""
    return "".join(
        f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS middle double precision "
        f"GENERATED ALWAYS AS ({_MIDDLE}) STORED; DROP INDEX IF EXISTS {table}_value; "
        f"CREATE INDEX {table}_value ON {_ON[f'{table}_value']};"
        for table in ("number", "quantity")
    )


_WORDS = """
CREATE TABLE words (
    vid bigint NOT NULL, param integer NOT NULL, bucket smallint NOT NULL,
    document text COLLATE "C" NOT NULL
);
CREATE TABLE reindex (
    type       smallint NOT NULL,
    code       text COLLATE "C" NOT NULL,
    state      text COLLATE "C" NOT NULL DEFAULT 'waiting',
    url        text COLLATE "C" NOT NULL DEFAULT '',
    definition bytea NOT NULL DEFAULT '',
    fault      text NOT NULL DEFAULT '',
    at         bigint NOT NULL DEFAULT 0,
    until      bigint NOT NULL DEFAULT 0,
    done       bigint NOT NULL DEFAULT 0,
    vids       bigint[] NOT NULL DEFAULT '{}',
    since      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (type, code)
);
"""


def _words() -> str:
    """Tables of words and of reindexing; records of before are indexed anew by the workers."""
    types = ", ".join(f"({type_number(name)}::smallint)" for name in type_names())
    return _WORDS + _UPKEEP.format(table="words") + (
        "INSERT INTO reindex (type, code) SELECT t.type, c.code "
        f"FROM (VALUES {types}) AS t(type), (VALUES ('_text'), ('_content'), ('*')) AS c(code) "
        "WHERE EXISTS (SELECT FROM resource r WHERE r.type = t.type);"
    )


def _sections() -> str:
    """Narratives of sections are words too: documents of before are indexed anew."""
    return (f"INSERT INTO reindex (type, code) SELECT {type_number('Composition')}, c.code "
            "FROM (VALUES ('section-text'), ('_content')) AS c(code) WHERE EXISTS "
            f"(SELECT FROM resource r WHERE r.type = {type_number('Composition')}) "
            "ON CONFLICT (type, code) DO UPDATE SET state = 'waiting', at = 0, until = 0, "
            "done = 0, vids = '{}';")


MIGRATIONS: tuple[tuple[int, str], ...] = (
    (1, _first()), (2, _middles()), (3, _words()), (4, audit_tables.DDL),
    (5, care.migration()), (6, budget.DDL), (7, links.DDL),
    (8, persons.migration()), (9, _sections()),
)  # fmt: skip  # One line reads as the list it is.
"""Numbered once and for ever; a change of the tables is a new number at the end."""

_GRANTS = f"""
DO $$ BEGIN
IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{APPLICATION_ROLE}')
   AND current_user <> '{APPLICATION_ROLE}' THEN
    GRANT USAGE ON SCHEMA public TO {APPLICATION_ROLE};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APPLICATION_ROLE};
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {APPLICATION_ROLE};
    GRANT EXECUTE ON FUNCTION make_months(integer) TO {APPLICATION_ROLE};
    REVOKE UPDATE, DELETE, TRUNCATE ON {", ".join(audit_tables.ONLY_ADDED)}
        FROM {APPLICATION_ROLE};
END IF; END $$
"""


async def migrate(
    url: str, extra_ddl: Sequence[str] = (), *, search_indexes: bool = True
) -> list[int]:
    """Brings the database at `url` (its owner's address) to the present tables.

    Repeatable, and safe when several processes call it at once (advisory lock). `extra_ddl` are
    the modules' own repeatable statements, run after the store's. Without `search_indexes` those
    that a first load left out stay out: for who goes on with it. Returns the numbers applied.
    """
    connection: Any = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            applied = await _apply(connection)
            for statement in extra_ddl:
                await connection.execute(statement)
            await connection.execute(_MONTHS)
            if search_indexes or applied:
                await connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
                for ddl in SEARCH_INDEXES.values():
                    # A first load that was interrupted may have left some out.
                    await connection.execute(ddl)
            await connection.execute(_GRANTS)
            await connection.execute(f"SELECT make_months({_MONTHS_AHEAD})")
    finally:
        await connection.close()
    return applied


async def _apply(connection: Any) -> list[int]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migration "
        "(number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
    )
    known = {row["number"] for row in await connection.fetch("SELECT number FROM migration")}
    applied = []
    for number, ddl in MIGRATIONS:
        if number not in known:
            await connection.execute(ddl)
            await connection.execute("INSERT INTO migration (number) VALUES ($1)", number)
            applied.append(number)
    return applied
