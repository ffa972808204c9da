"""Composite search parameters: components read from one and the same element.

https://hl7.org/fhir/R5/search.html#composite. A row's key joins one part for each component with
`$`: a token is `code|system`, a quantity `unit|system` (with `~` behind it where the value is
converted to its canonical unit), a string its folded text, a reference
`Type/id` or an address, a date or number the empty text. Low and high are those of the first
component that has an order.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import product
from typing import Any, TypeAlias

from dmed.fhir.index import Index
from dmed.fhir.params_plan import Branch, Plan, branches, lay, plain_path
from dmed.fhir.params_rows import Write
from dmed.fhir.path.parser import parse
from dmed.fhir.values import composite_token

Part: TypeAlias = tuple[str, Decimal | None, Decimal | None]
Components: TypeAlias = tuple[tuple[str, str], ...]
"""Kind and expression of each component."""


CONVERTED_MARK = "~"
"""Ends the part of a quantity that is converted to its canonical unit."""


class Composites:
    """The composites of a resource type while its plan is laid out; those that read the same
    components of the same element share one writer.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[Branch, str, Components], list[int]] = {}

    def add(self, place: Branch, type_name: str, components: Components, number: int) -> None:
        """Index a parameter's components for each value of that type at a place of the tree."""
        self._found.setdefault((place, type_name, components), []).append(number)

    @property
    def are_served(self) -> bool:
        """Whether each component reads something at each place."""
        return not any(
            _plan(type_name, *each).is_idle
            for _, type_name, components in self._found for each in components)

    def lay(self) -> None:
        """Add the writers to their places."""
        for (place, type_name, components), numbers in self._found.items():
            place.actions.append(_writer(type_name, components, tuple(dict.fromkeys(numbers))))


def _writer(type_name: str, components: Components, numbers: tuple[int, ...]) -> Write:
    readers = [(_plan(type_name, *each), _READERS.get(each[0], _nothing)) for each in components]
    # The last component is the value; most often it is the one that is absent.
    backwards = readers[::-1]

    def write(value: Any, rows: Index) -> None:
        for plan, _ in backwards:
            if not plan.touches(value):
                return
        parts = []
        for plan, read in backwards:
            found = Index()
            plan.walk(value, found)
            part = read(found)
            if not part:
                return
            parts.append(part)
        for chosen in product(*parts[::-1]):
            key, low, high = _joined(chosen)
            for number in numbers:
                rows.composites.append((number, key, low, high))

    return write


def _joined(chosen: tuple[Part, ...]) -> Part:
    key = "$".join([part[0] for part in chosen])
    for _, low, high in chosen:
        if low is not None:
            return key, low, high
    return key, None, None


def _plan(type_name: str, kind: str, expression: str) -> Plan:
    root = Branch()
    for node in branches(parse(expression)):
        steps = plain_path(node)
        assert steps is not None, expression
        lay(root, type_name, steps, kind, 0)
    return root.finished()


def _nothing(_rows: Index) -> list[Part]:
    """A component of type special has no key, so its composite has no rows."""
    return []


_READERS: dict[str, Callable[[Index], list[Part]]] = {
    "token": lambda rows: [
        (composite_token(system, code), None, None) for _, system, code in rows.tokens
    ],
    "quantity": lambda rows: [
        (composite_token(system, unit) + (CONVERTED_MARK if number else ""), low, high)
        for number, low, high, system, unit in rows.quantities
    ],
    "date": lambda rows: [("", Decimal(low), Decimal(high)) for _, low, high in rows.dates],
    "number": lambda rows: [("", low, high) for _, low, high in rows.numbers],
    "string": lambda rows: [(key, None, None) for _, key, _ in rows.strings],
    "reference": lambda rows: [
        (f"{type_}/{id_}" if type_ else id_, None, None) for _, type_, id_, _ in rows.references
    ],
    "uri": lambda rows: [(address, None, None) for _, address in rows.uris],
}
"""The rows of a component as parts of a key."""
