"""A search over the few records of a sandbox, in memory: values against a record's index rows."""

from __future__ import annotations

from typing import Any

from dmed.fhir import params
from dmed.fhir.index import Index
from dmed.fhir.query_model import Link, Match, Moment, Query, Text, Token
from dmed.kit.errors import InvalidError


def meets(asked: Query, id_: str, resource: Any) -> bool:
    """Whether a record meets every criterion; InvalidError for one that is not served here."""
    rows = params.extract(resource)
    return all(_meets(one, id_, rows) for one in asked.criteria)


def _meets(criterion: Any, id_: str, rows: Index) -> bool:
    if not isinstance(criterion, Match) or criterion.modifier:
        raise InvalidError("The sandbox serves plain parameters, without modifiers and chains")
    return any(_has(criterion, value, id_, rows) for value in criterion.values)


def _has(criterion: Match, value: Any, id_: str, rows: Index) -> bool:
    numbers = set(criterion.numbers or (criterion.number,))
    if criterion.code == "_id":
        return str(getattr(value, "code", "") or getattr(value, "text", "")) == id_
    if isinstance(value, Token):
        return any(number in numbers and value.system in {None, system}
                   and value.code in {None, code} for number, system, code in rows.tokens)
    if isinstance(value, Text):
        return any(number in numbers and folded.startswith(value.key)
                   for number, folded, _ in rows.strings)
    if isinstance(value, Link):
        return any(number in numbers and value.type in {None, type_} and value.id == target
                   for number, type_, target, _ in rows.references)
    if isinstance(value, Moment):
        return any(number in numbers and _when(value, low, high)
                   for number, low, high in rows.dates)
    raise InvalidError(f"The sandbox does not serve the parameter {criterion.code}")


def _when(value: Moment, low: int, high: int) -> bool:
    match value.prefix:
        case "" | "eq":
            return value.low <= low and high <= value.high
        case "ge":
            return high >= value.low
        case "le":
            return low <= value.high
        case "gt":
            return high > value.high
        case "lt":
            return low < value.low
    raise InvalidError(f"The sandbox does not serve the prefix {value.prefix}")
