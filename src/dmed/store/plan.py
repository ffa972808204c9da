"""How a search walks the tables: the choice of the driving criterion, and its matches as SQL. Pure.

A search is driven in one of three ways (docs/decisions, search plans):
walk    the driver is an equality, so its index gives newest first by itself, sparse or dense
values  the driver matches few rows: they are read whole, the other criteria are probed
type    every driver matches many rows: records of the type are walked newest first and probed
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from dmed.fhir import params
from dmed.fhir.index import modified_number
from dmed.fhir.params_rows import CONVERTED
from dmed.fhir.query_model import (
    Address,
    Composite,
    Criterion,
    Link,
    Logic,
    Match,
    Missing,
    Moment,
    Number,
    Quantity,
    SortKey,
    Staged,
    Token,
    Value,
)
from dmed.kit.ids import bucket_in
from dmed.store import care
from dmed.store.keys import type_number
from dmed.store.model import Scope
from dmed.store.plan_composite import parts_of, reduced_numbers
from dmed.store.plan_modifiers import distance
from dmed.store.plan_where import Arguments, arms, on_vid, ordered, table_of, where

WALKS_MAX = 8
"""Most values of one parameter that are walked side by side."""
_NEGATIVE = frozenset({"not", "not-in"})
PROBES_MAX = 6
"""Most criteria whose matches are counted before a plan is chosen."""

Bound = Callable[[str], str]
"""A further condition on a row, given its alias; "" for none."""
Mode = Literal["walk", "values", "type", "people"]


class Plan(msgspec.Struct, frozen=True):
    """A chosen way: the mode, the driver (if any) and the criteria that are probed on each row."""

    type: str
    scope: Scope
    mode: Mode
    driver: Match | Logic | None
    others: tuple[Staged, ...]


def plan_of(
    type_name: str, scope: Scope, criteria: Sequence[Staged], mode: Mode,
    driver: Match | Logic | None,
) -> Plan:
    """The plan that drives with one of the criteria and probes the others.

    The rows that a Logic gives may be too many, so it is probed itself too.
    """
    others = tuple(each for each in criteria if each is not driver or isinstance(each, Logic))
    return Plan(type_name, scope, mode, driver, others)


def flat(criteria: Sequence[Criterion]) -> list[Staged]:
    """Staged criteria with each single-valued composite of a whole record taken apart.

    On a whole record `code-value-quantity=a$b` says just `code=a&value-quantity=b`; inside a
    component it says more and stays.
    """
    found: list[Staged] = []
    for each in criteria:
        assert isinstance(each, Match | Missing | Logic), each
        if isinstance(each, Logic) and each.sign == "and":
            found += flat(each.parts)
        elif isinstance(each, Match) and each.kind == "composite" and len(each.values) == 1:
            split = parts_of(each.type, each.code, each.values[0])
            found += split.parts if split.is_whole else (each, *split.parts)
        else:
            found.append(each)
    return found


# Choice --------------------------------------------------------------------------------------


def is_driver(criterion: Staged) -> bool:
    """Whether the rows that match a criterion can be read by themselves."""
    if isinstance(criterion, Logic):
        parts = criterion.parts
        return criterion.sign == "or" and 0 < len(parts) <= WALKS_MAX and all(map(_leads, parts))
    if not isinstance(criterion, Match) or criterion.modifier in _NEGATIVE:
        return False
    if criterion.code in {"_id", "_lastUpdated"}:
        return criterion.code == "_id"
    if criterion.kind == "composite":
        return len(criterion.values) == 1
    return not any(
        (isinstance(value, Moment | Number) and value.prefix == "ne")
        or (isinstance(value, Quantity) and value.number.prefix == "ne")
        for value in criterion.values
    )


def _leads(part: Criterion) -> bool:
    """Whether a part of an `or` can be read by itself, or of an `and` within it any part."""
    assert isinstance(part, Match | Missing | Logic), part
    if isinstance(part, Logic) and part.sign == "and":
        return any(map(_leads, part.parts))
    return is_driver(part)


def is_walk(criterion: Match | Logic) -> bool:
    """Whether a criterion's index gives newest first by itself: few values, each an equality."""
    if isinstance(criterion, Logic) or criterion.modifier.startswith("~"):
        return False
    return not criterion.numbers and len(criterion.values) <= WALKS_MAX and all(
        _is_equality(criterion, value) for value in criterion.values
    )


def _is_equality(criterion: Match, value: Value) -> bool:
    match value:
        case Token(code=code):
            return code is not None and criterion.code != "_id"
        case Link():
            return not criterion.modifier
        case Address():
            return not criterion.modifier
    return criterion.modifier == "exact"


def is_local(criterion: Staged) -> bool:
    """Whether a criterion names one patient: her records are few and need no look at statistics."""
    if not isinstance(criterion, Match) or criterion.kind != "reference":
        return False
    if len(criterion.values) != 1:
        return False
    link = criterion.values[0]
    return isinstance(link, Link) and (link.type == "Patient" or (
        link.type is None and criterion.code in {"patient", "subject"}))


# Conditions on one row -----------------------------------------------------------------------


def holds(criterion: Staged, row: str, type_name: str, args: Arguments) -> str:
    """The criterion as a condition on a row with vid and bucket, probed for that row alone.

    OFFSET 0 keeps the planner from turning the probe into a join of everything.
    """
    if isinstance(criterion, Logic):
        return _joined(criterion, row, type_name, args)
    if isinstance(criterion, Missing):
        if not criterion.number:  # Every record has an id and a version.
            return "false" if criterion.missing else "true"
        number = args.bind(criterion.number, "int")
        found = _probe(table_of(criterion.kind), row, f"x.param = {number}")
        return f"NOT {found}" if criterion.missing else found
    if criterion.code == "_lastUpdated":
        return f"({on_vid(criterion, f'{row}.vid', args)})"
    if criterion.code == "_id":
        ids = args.bind(_ids(criterion), "text[]")
        number = args.bind(type_number(type_name), "smallint")
        found = (f"EXISTS (SELECT FROM resource x WHERE x.type = {number} AND x.vid = {row}.vid "
                 f"AND x.bucket = {row}.bucket AND x.id = ANY({ids}) OFFSET 0)")
    elif criterion.kind == "composite":
        found = " OR ".join(_composite(criterion, value, row, args) for value in criterion.values)
        found = f"({found})"
    else:
        found = _probe(table_of(criterion.kind), row, where(criterion, "x", args))
    return f"NOT {found}" if criterion.modifier in _NEGATIVE else found


def _joined(criterion: Logic, row: str, type_name: str, args: Arguments) -> str:
    parts = []
    for part in criterion.parts:
        assert isinstance(part, Match | Missing | Logic), part
        parts.append(holds(part, row, type_name, args))
    if criterion.sign == "not":
        return f"NOT {parts[0]}"
    between, empty = (" AND ", "true") if criterion.sign == "and" else (" OR ", "false")
    return f"({between.join(parts) or empty})"


def _probe(table: str, row: str, condition: str) -> str:
    return (f"EXISTS (SELECT FROM {table} x WHERE x.vid = {row}.vid AND x.bucket = {row}.bucket "
            f"AND {condition} OFFSET 0)")


def _composite(criterion: Match, value: Value, row: str, args: Arguments) -> str:
    split = parts_of(criterion.type, criterion.code, value)
    found = [holds(part, row, criterion.type, args) for part in split.parts]
    if not split.is_whole:
        found.append(_probe("composite", row, _composite_row(criterion, value, "x", args)))
    return f"({' AND '.join(found)})"


def _composite_row(criterion: Match, value: Value, alias: str, args: Arguments) -> str:
    assert isinstance(value, Composite)
    parameter = args.bind(criterion.number, "int")
    keys = reduced_numbers(criterion.number, value)
    key = (f"= {args.bind(keys[0], 'bigint')}" if len(keys) == 1
           else f"= ANY({args.bind(keys, 'bigint[]')})")
    bounds = [ordered(part, alias, args) for part in value.parts]
    return " AND ".join([f"{alias}.param = {parameter}", f"{alias}.key {key}",
                         *(bound for bound in bounds if bound)])


def _ids(criterion: Match) -> list[str]:
    return [value.code for value in criterion.values
            if isinstance(value, Token) and value.code is not None and not value.system]


# Rows of the driver --------------------------------------------------------------------------


def driver_rows(criterion: Match | Logic, args: Arguments) -> str:
    """All (vid, bucket) that match a driver, as a SELECT; a record may come several times.

    Of a Logic these may be more than match.
    """
    if isinstance(criterion, Logic):
        return " UNION ALL ".join(_leading(part, args) for part in criterion.parts)
    if criterion.code == "_id":
        ids = _ids(criterion)
        wanted = args.bind(ids, "text[]")
        buckets = args.bind([bucket_in(each) for each in ids], "smallint[]")
        number = args.bind(type_number(criterion.type), "smallint")
        return (
            f"SELECT d.vid, d.bucket FROM unnest({wanted}, {buckets}) AS w(id, bucket) "
            f"JOIN resource d ON d.type = {number} AND d.id = w.id AND d.bucket = coalesce("
            f"w.bucket, (SELECT c.bucket FROM id_claim c WHERE c.type = {number} "
            "AND c.id = w.id))"
        )
    if criterion.kind == "composite":
        condition = _composite_row(criterion, criterion.values[0], "d", args)
        return f"SELECT d.vid, d.bucket FROM composite d WHERE {condition}"
    table = table_of(criterion.kind)
    return " UNION ALL ".join(f"SELECT d.vid, d.bucket FROM {table} d WHERE {arm}"
                              for arm in arms(criterion, "d", args))


def _leading(part: Criterion, args: Arguments) -> str:
    """The rows of a part of an `or`; of an `and` within it those of a part that can lead."""
    if isinstance(part, Logic) and part.sign == "and":
        return _leading(next(filter(_leads, part.parts)), args)
    assert isinstance(part, Match | Logic), part
    return driver_rows(part, args)


def count_rows(
    criterion: Match | Logic, limit: int, args: Arguments, *, records: bool = False
) -> str:
    """How many rows match a driver, counted up to a limit: the probe of density.

    With `records` also how many records these rows belong to.
    """
    most = args.bind(limit, "int")
    what = "count(*), count(DISTINCT n.vid)" if records else "count(*)"
    return f"SELECT {what} FROM ({driver_rows(criterion, args)} LIMIT {most}) AS n"


# Matches -------------------------------------------------------------------------------------


def matches(
    plan: Plan, args: Arguments, *, order: str = "", limit: int | None = None,
    bound: Bound | None = None,
) -> str:
    """The (vid, bucket) of all records that match, each once, as a SELECT.

    `order` is DESC (newest first), ASC or "" for any; `bound` a further condition on a row.
    """
    several = (plan.mode == "walk" and isinstance(plan.driver, Match)
               and len(plan.driver.values) > 1)
    if several and order and limit is not None:
        return _side_by_side(plan, args, order=order, limit=limit, bound=bound)
    source, conditions = _source(plan, args)
    conditions += [holds(each, "t", plan.type, args) for each in plan.others]
    if plan.mode == "type":
        conditions.insert(0, f"t.type = {args.bind(type_number(plan.type), 'smallint')}")
    conditions += in_scope(plan.scope, "t", plan.type, args, is_among=plan.mode == "people")
    if bound is not None:
        conditions.append(bound("t"))
    condition = " AND ".join(conditions) or "true"
    sorting = f" ORDER BY t.vid {order}, t.bucket {order}" if order else ""
    most = "" if limit is None else f" LIMIT {args.bind(limit, 'int')}"
    once = "" if comes_once(plan) else (
        "DISTINCT ON (t.vid, t.bucket) " if order else "DISTINCT ")
    return f"SELECT {once}t.vid, t.bucket FROM {source} WHERE {condition}{sorting}{most}"


def comes_once(plan: Plan) -> bool:
    """Whether each record comes once by itself: it has one row of a system and code (store.rows).

    To sort out doubles costs three times the count of a frequent code.
    """
    if plan.mode == "type":
        return True
    driver = plan.driver
    if plan.mode != "walk" or not isinstance(driver, Match) or len(driver.values) != 1:
        return False
    value = driver.values[0]
    return (isinstance(value, Token) and value.system is not None and value.code is not None
            and not driver.modifier and not driver.numbers)


def _side_by_side(
    plan: Plan, args: Arguments, *, order: str, limit: int, bound: Bound | None
) -> str:
    """Each value of the driver is walked by itself as far as the page needs, then they are merged:
    one walk over several values would have to sort them all.
    """
    assert isinstance(plan.driver, Match)
    walks = []
    for value in plan.driver.values:
        driver = msgspec.structs.replace(plan.driver, values=(value,))
        alone = msgspec.structs.replace(plan, driver=driver)
        walks.append(f"({matches(alone, args, order=order, limit=limit, bound=bound)})")
    return (f"SELECT DISTINCT ON (t.vid, t.bucket) t.vid, t.bucket FROM "
            f"({' UNION ALL '.join(walks)}) t ORDER BY t.vid {order}, t.bucket {order} "
            f"LIMIT {args.bind(limit, 'int')}")


def _source(plan: Plan, args: Arguments) -> tuple[str, list[str]]:
    if plan.mode == "type":
        return "resource t", []
    if plan.mode == "people":
        assert plan.scope.patients is not None
        people = args.bind(list(plan.scope.patients), "text[]")
        number = args.bind(type_number(plan.type), "smallint")
        return (f"(SELECT c.vid, c.home AS bucket FROM compartment c "
                f"WHERE c.patient = ANY({people}) AND c.type = {number} OFFSET 0) t"), []
    assert plan.driver is not None
    if plan.mode == "values":
        return f"({driver_rows(plan.driver, args)} OFFSET 0) t", []
    assert isinstance(plan.driver, Match)
    each = [msgspec.structs.replace(plan.driver, values=(one,)) for one in plan.driver.values]
    if len(each) == 1:
        return f"{plan.driver.kind} t", [where(each[0], "t", args)]
    union = " UNION ALL ".join(driver_rows(one, args) for one in each)
    return f"({union}) t", []


def in_scope(
    scope: Scope, row: str, type_name: str, args: Arguments, *, is_among: bool = False
) -> list[str]:
    """What limits a row with vid and bucket to the scope; nothing where the scope has no limit.

    `is_among`: the row is known to be of the scope's patients.
    """
    if scope.types is not None and type_name not in scope.types:
        return ["false"]
    cared = care.probe(scope, row, type_name, args)
    if scope.patients is None or is_among:
        return cared
    people = args.bind(list(scope.patients), "text[]")
    number = args.bind(type_number(type_name), "smallint")
    belongs = f"c.patient = ANY({people}) AND c.type = {number}"
    here = f"c.vid = {row}.vid AND c.home = {row}.bucket"
    return [f"EXISTS (SELECT FROM compartment c WHERE {belongs} AND {here} OFFSET 0)", *cared]


# Sort keys -----------------------------------------------------------------------------------

SORT_COLUMNS = {
    "string": ("folded", "text"), "token": ("code", "text"), "date": ("low", "bigint"),
    "number": ("low", "float8"), "quantity": ("low", "float8"), "reference": ("id", "text"),
    "uri": ("value", "text"), "special": ("distance", "float8"),
}  # fmt: skip  # A table.


def sort_kind(type_name: str, code: str) -> str:
    """The PostgreSQL type of a sort key's values."""
    if code == "_id":
        return "text"
    if code == "_lastUpdated":
        return "bigint"
    return SORT_COLUMNS[params.parameters(type_name)[code].type][1]


def sort_value(type_name: str, key: SortKey, row: str, args: Arguments) -> str:
    """A record's value under a sort key: the least of its values, or the greatest if descending."""
    code, number, kind = key.code, key.number, key.kind
    if code == "_lastUpdated":
        return f"{row}.vid"
    if code == "_id":
        at = args.bind(type_number(type_name), "smallint")
        return (f"(SELECT x.id FROM resource x WHERE x.type = {at} AND x.vid = {row}.vid "
                f"AND x.bucket = {row}.bucket)")
    column = f"x.{SORT_COLUMNS[kind][0]}"
    if kind in {"number", "quantity"}:  # The value itself, not where its precision begins.
        column = "coalesce(x.middle, x.low)"
    if key.place is not None:  # In kilometres; the nearest of several places either way.
        column = distance(key.place, "x", args.bind)
    pick = "max" if key.descending and key.place is None else "min"

    def least(number: int) -> str:
        return (f"(SELECT {pick}({column}) FROM {table_of(kind)} x WHERE x.vid = {row}.vid "
                f"AND x.bucket = {row}.bucket AND x.param = {args.bind(number, 'int')})")

    if kind == "quantity":  # In canonical units where they differ, so that 900 g is before 1 kg.
        return f"coalesce({least(modified_number(number, CONVERTED))}, {least(number)})"
    return least(number)
