"""Migration of the audit to its compact form, and the tables of its seals.

Rows are few bytes, for there is one a request: ids are packed (`audit.pack_sql`), people are found
by four bytes of their id, times and transactions by a block-range index. A row's digest is of its
texts, so rows of before keep theirs and are verified with it.

audit_seal     one row a sealed batch (`store.seal`): the rows of a transaction range and month.
audit_root     seals that were signed and lodged outside, hourly.
audit_retired  months whose rows were exported and dropped; their seals stay.
audit_told     the audit as people read it: ids as texts, actors by name.
"""

from __future__ import annotations

from dmed.store.audit import PERSON_KEY, pack_sql, unpack_sql

PERSON_ON = f"audit (({PERSON_KEY.format(patient='patient')})) WHERE patient IS NOT NULL"
"""What the index of people in the audit is on."""

_COMPACT = f"""
DROP INDEX audit_person;
DROP INDEX audit_time;
ALTER TABLE audit ALTER xid DROP DEFAULT;
ALTER TABLE audit
    ALTER xid TYPE bigint USING xid::text::bigint,
    ALTER id TYPE bytea USING {pack_sql("id")},
    ALTER patient TYPE bytea USING {pack_sql("patient")};
ALTER TABLE audit ALTER xid SET DEFAULT pg_current_xact_id()::text::bigint;
CREATE INDEX audit_person ON {PERSON_ON};
CREATE INDEX audit_time ON audit USING brin (at, xid)
    WITH (pages_per_range = 64, autosummarize = on);
"""

_SEALS = f"""
CREATE TABLE audit_seal (
    number   bigint PRIMARY KEY,
    era      integer NOT NULL,
    since    timestamptz NOT NULL,
    month    date NOT NULL,
    low      bigint NOT NULL,
    high     bigint NOT NULL,
    first    timestamptz NOT NULL,
    last     timestamptz NOT NULL,
    rows     integer NOT NULL,
    leaves   bytea NOT NULL,
    root     bytea NOT NULL,
    previous bytea NOT NULL,
    hash     bytea NOT NULL,
    made     timestamptz NOT NULL,
    key      text COLLATE "C" NOT NULL,
    proof    bytea NOT NULL
);
CREATE TABLE audit_root (
    seal   bigint PRIMARY KEY,
    hash   bytea NOT NULL,
    made   timestamptz NOT NULL,
    token  text NOT NULL,
    lodged timestamptz
);
CREATE TABLE audit_retired (
    month  date PRIMARY KEY,
    rows   bigint NOT NULL,
    digest bytea NOT NULL,
    made   timestamptz NOT NULL,
    token  text NOT NULL
);
CREATE VIEW audit_told AS
SELECT a.at, a.xid, a.vid, a.actor, a.bucket, a.type, a.outcome, a.action, a.digest, a.request,
       {unpack_sql("a.id")} AS id, {unpack_sql("a.patient")} AS patient, a.query, a.detail
FROM audit a;
"""

DDL = _COMPACT + _SEALS
"""The statements of the migration, after which the audit is as this version writes it."""

ONLY_ADDED = ("audit_actor", "audit_seal", "audit_retired")
"""Tables to which the application may add rows and never change or remove them."""
