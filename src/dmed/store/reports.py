"""SQL access for reports: a role of the database that sees by row what its Scope would see.

The second wall (PostgreSQL row-level security). It stands on `resource` and `resource_version`
once reports are opened, for every login in the role `dmed_report`; what a login may see lies in
`report_reader`, which it cannot write, so that no setting of a session widens it. The owner and
the application pass by: their wall is the Scope of every statement, at no cost to reads.
"""

from __future__ import annotations

from typing import Any

import asyncpg

from dmed.store import care
from dmed.store.keys import type_names, type_number
from dmed.store.model import Scope
from dmed.store.schema import APPLICATION_ROLE

REPORT_ROLE = "dmed_report"
_OPEN = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{REPORT_ROLE}') THEN
        CREATE ROLE {REPORT_ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS;
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS report_reader (
    login      text COLLATE "C" PRIMARY KEY,
    types      smallint[] NOT NULL,
    guarded    smallint[] NOT NULL,
    principals text[] COLLATE "C" NOT NULL,
    patients   text[] COLLATE "C"
);
CREATE OR REPLACE FUNCTION report_sees(
    kind smallint, patient text, others text[], labels smallint
) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT EXISTS (
        SELECT FROM report_reader q
        CROSS JOIN (SELECT report_sees.patient, report_sees.others, report_sees.labels) AS r
        WHERE q.login = session_user AND kind = ANY(q.types)
        AND (q.patients IS NULL OR r.patient = ANY(q.patients) OR r.others && q.patients)
        AND (NOT (kind = ANY(q.guarded)) OR {care.seen("r", "q.principals")}))
$$;
REVOKE ALL ON FUNCTION report_sees(smallint, text, text[], smallint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION report_sees(smallint, text, text[], smallint) TO {REPORT_ROLE};
GRANT USAGE ON SCHEMA public TO {REPORT_ROLE};
GRANT SELECT ON resource, resource_version TO {REPORT_ROLE};
"""
_WALL = """
DROP POLICY IF EXISTS report_reads ON {table};
CREATE POLICY report_reads ON {table} FOR SELECT TO {report}
    USING (report_sees(type, patient, others, labels));
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{application}') THEN
        DROP POLICY IF EXISTS application_acts ON {table};
        CREATE POLICY application_acts ON {table} TO {application} USING (true) WITH CHECK (true);
    END IF;
END $$;
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
"""
_ADMIT = """
INSERT INTO report_reader (login, types, guarded, principals, patients)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (login) DO UPDATE SET types = excluded.types,
    guarded = excluded.guarded, principals = excluded.principals, patients = excluded.patients
"""


async def open_reports(url: str) -> None:
    """Make the role and raise the wall; repeatable. `url` is the owner's, who may make roles."""
    connection: Any = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(_OPEN)
            for table in ("resource", "resource_version"):
                await connection.execute(_WALL.format(
                    table=table, report=REPORT_ROLE, application=APPLICATION_ROLE))
    finally:
        await connection.close()


async def admit(connection: Any, scope: Scope, login: str) -> None:
    """Let a login of the role see what a Scope reaches; a Scope of every type names them all."""
    types = type_names() if scope.types is None else sorted(scope.types)
    await connection.execute(
        _ADMIT, login, [type_number(name) for name in types], care.guarded_numbers(scope),
        list(scope.principals), None if scope.patients is None else list(scope.patients))
