"""No public function of the store that reaches records can be called without a Scope."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import dmed.store

EXEMPT = {
    # Names of types, definitions, jobs, tables and the platform's own upkeep: no person's record.
    "care.tree": "the tree of institutions",
    "definitions": "definitions are nobody's records",
    "feed": "names of what was written; the gateway gives only definitions on",
    "jobs": "its own table", "reindex": "index rows, made of records by the platform itself",
    "reports.open_reports": "tables", "schema": "tables",
    "confirm": "audit rows, and names of what was written",
    "relabel": "labels that the platform puts down itself; what it reads it tells nobody",
    "upkeep": "the platform's own upkeep", "audit": "audit rows, no records",
    "seal": "audit rows", "pool": "connections", "connections": "connections",
    "links": "which cards are one person: ids for statements that carry a Scope of their own",
    "persons.disclose": "audit rows", "persons.is_whole": "how far the index of persons is made",
    "search_area.holding": "boundaries of places, which are nobody's records",
}  # fmt: skip  # A table.


BARE_BY_DESIGN = ["write.explain_duplicate", "write.send", "write.settle_buckets"]
"""Parts of a write whose Scope was checked by `write`, `unit` or the load before."""


def _functions() -> Iterator[tuple[str, Any]]:
    for found in pkgutil.iter_modules(dmed.store.__path__):
        module = importlib.import_module(f"dmed.store.{found.name}")
        for name, value in vars(module).items():
            is_own = getattr(value, "__module__", "") == module.__name__
            if not name.startswith("_") and is_own and inspect.iscoroutinefunction(value):
                yield f"{found.name}.{name}", value


def _has_scope(function: Any) -> bool:
    kinds = {str(each.annotation) for each in inspect.signature(function).parameters.values()}
    # A Unit, a Plan and a Job of a load carry the Scope with which they were made.
    return bool(kinds & {"Scope", "Unit", "Plan", "Job"})


def _is_exempt(name: str) -> bool:
    folder = name.partition(".")[0]
    return name in EXEMPT or folder in EXEMPT or folder.startswith(("audit", "seal"))


def test_every_function_that_reaches_records_asks_for_a_scope() -> None:
    """A function that takes a database or connection takes a Scope, or says why it need not."""
    bare = []
    for name, function in _functions():
        takes = set(inspect.signature(function).parameters)
        if takes & {"db", "connection", "database"} and not _has_scope(function):
            bare += [] if _is_exempt(name) else [name]

    assert sorted(bare) == BARE_BY_DESIGN




def test_no_scope_can_be_left_out() -> None:
    """A Scope is asked for by name and type: no default, and None is no Scope."""
    loose = []
    for name, function in _functions():
        for each in inspect.signature(function).parameters.values():
            if "Scope" in str(each.annotation):
                is_asked = str(each.annotation) == "Scope" and each.default is each.empty
                loose += [] if is_asked else [name]

    assert loose == []


async def test_a_call_without_a_scope_reaches_nothing() -> None:
    """Called without one, every such function ends before its first statement."""
    called = []
    for name, function in _functions():
        parameters = inspect.signature(function).parameters
        wanted = [each for each in parameters.values()
                  if each.default is each.empty and each.annotation != "Scope"
                  and each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}]
        if len(wanted) == len(parameters) or not any(
                each.annotation == "Scope" for each in parameters.values()):
            continue
        with pytest.raises(TypeError, match="scope"):
            await function(**{each.name: None for each in wanted})
        called.append(name)

    assert {"read.read", "history.history", "search.search", "write.write"} <= set(called)
