"""`_total=estimate`: about how many records match, without counting them.

The planner's statistics tell how many rows the driver has; the other criteria are tried on a
sample of these. Specification: https://hl7.org/fhir/R5/search.html#total
"""

from __future__ import annotations

import json
from typing import Any

from dmed.store.keys import type_number
from dmed.store.plan import Plan, driver_rows, holds, in_scope, matches
from dmed.store.plan_where import Arguments

SAMPLE_ROWS = 1_000
"""Rows of the driver on which the other criteria are tried."""


async def about(connection: Any, plan: Plan, exact_max: int) -> tuple[int, bool]:
    """How many records match, and whether that is an estimate: exact up to `exact_max`.

    Where more match, the estimate says at least so.
    """
    args = Arguments()
    most = args.bind(exact_max + 1, "int")
    sql = f"SELECT count(*) FROM (SELECT FROM ({matches(plan, args)}) AS o LIMIT {most}) AS m"
    count = int(await connection.fetchval(sql, *args.values))
    if count <= exact_max or plan.mode == "people":
        return count, count > exact_max
    args = Arguments()
    told = json.loads(await connection.fetchval(
        f"EXPLAIN (FORMAT JSON) {_driven(plan, args)}", *args.values))
    rows = told[0]["Plan"]["Plan Rows"]
    args = Arguments()
    seen, fit = await connection.fetchrow(_sampled(plan, args), *args.values)
    return max(exact_max + 1, round(rows * fit / max(1, seen))), True


def _driven(plan: Plan, args: Arguments) -> str:
    """The rows that the plan's driver has, or the records of the type."""
    if plan.driver is None:
        number = args.bind(type_number(plan.type), "smallint")
        return f"SELECT d.vid, d.bucket FROM resource d WHERE d.type = {number}"
    return driver_rows(plan.driver, args)


def _sampled(plan: Plan, args: Arguments) -> str:
    """Rows of a sample, and the records among them that match everything else."""
    conditions = [holds(each, "t", plan.type, args) for each in plan.others]
    conditions += in_scope(plan.scope, "t", plan.type, args)
    rest = " AND ".join(conditions) or "true"
    most = args.bind(SAMPLE_ROWS, "int")
    return (f"SELECT count(*), count(DISTINCT (t.vid, t.bucket)) FILTER (WHERE {rest}) "
            f"FROM ({_driven(plan, args)} LIMIT {most}) AS t")
