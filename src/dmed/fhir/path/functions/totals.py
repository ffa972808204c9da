"""sum, avg, min and max of a collection. https://build.fhir.org/ig/HL7/FHIRPath/#aggregates."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from dmed.fhir.path.code import NONE, Code, Env, Items, values
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.functions.table import Arguments, function
from dmed.fhir.path.items import order, quantity_of, type_of
from dmed.fhir.path.operators import WORK


def _total(name: str, work: Callable[[Items], Any]) -> None:
    """A function of a whole collection; nothing gives nothing, and so does None."""

    @function(name)
    def build(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
        run = values(source)

        def give(env: Env, this: Items) -> Items:
            items = run(env, this)
            found = work(items) if items else None
            return NONE if found is None else [found]

        return Code(give, None, many=False)


def _sum(items: Items) -> Any:
    for item in items:
        if quantity_of(item) is None:
            raise PathExecutionError(f"there is no sum of {type_of(item)}")
    total = _number(items[0])
    for item in items[1:]:
        total = WORK["+"](total, _number(item)) if total is not None else None
    return total


def _number(item: Any) -> Any:
    """A FHIR Quantity as a System one; numbers as they are."""
    return item if isinstance(item, (int, Decimal)) else quantity_of(item)


def _average(items: Items) -> Any:
    total = _sum(items)
    return None if total is None else WORK["/"](total, Decimal(len(items)))


def _edge(wanted: int) -> Callable[[Items], Any]:
    """The first item that no other lies before (-1) or after (1); None where that is not told."""

    def work(items: Items) -> Any:
        best = items[0]
        for item in items[1:]:
            found = order(item, best)
            if found is None:
                return None
            best = item if found == wanted else best
        return best

    return work


_total("sum", _sum)
_total("avg", _average)
_total("min", _edge(-1))
_total("max", _edge(1))
