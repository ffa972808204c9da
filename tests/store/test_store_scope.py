"""No public function of the store that reaches records can be called without a Scope."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import dmed.store

EXEMPT = {
    # Names of types, definitions, jobs, tables and the platform's own upkeep: no person's record.
    "care.tree": "the tree of institutions",
    "definitions": "definitions are nobody's records",
    "feed": "names of what was written; the gateway gives only definitions on",
    "jobs": "its own table", "reindex": "index rows, made of records by the platform itself",
    "reports.open_reports": "tables", "schema": "tables",
    "upkeep": "the platform's own upkeep", "audit": "audit rows, no records",
    "seal": "audit rows", "pool": "connections", "connections": "connections",
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


