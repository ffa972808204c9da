"""What a collection holds at run time, and how two items are compared.

Items are structs of `fhir.types`, System values (bool, int, Decimal, str, Temporal, Quantity),
FHIR primitives as plain Python values where the compiler knows their type, and `Typed` where it
does not or where the primitive carries an id or extensions. `Stub` stands for the target of a
reference that nobody resolved: its type is known, its content is not.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.path import temporal
from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.quantity import Quantity, common, identity
from dmed.fhir.path.temporal import Temporal, parse_date, parse_datetime, parse_time
from dmed.fhir.path.units import UCUM

SYSTEM = "System."
_TEMPORAL_PARSERS = {
    "date": parse_date, "dateTime": parse_datetime, "instant": parse_datetime, "time": parse_time,
}  # fmt: skip  # A short table.
PARSED = frozenset({*_TEMPORAL_PARSERS, "integer64"})
"""FHIR primitives whose plain value is text but whose System value is not."""
_SYSTEM_TYPES = {
    bool: "System.Boolean", int: "System.Integer", Decimal: "System.Decimal",
    str: "System.String", Quantity: "System.Quantity",
}  # fmt: skip  # A short table.


class Typed:
    """A FHIR primitive with its type; `value` is None when only extensions are there."""

    __slots__ = ("element", "type", "value")

    def __init__(self, value: Any, type_name: str, element: Any = None) -> None:
        self.value = value
        self.type = type_name
        self.element = element

    def system(self) -> Any:
        """The System value, None if there is none."""
        return None if self.value is None else system_value(self.value, self.type)


class Stub(NamedTuple):
    """The target of a reference, unresolved; `type` may be ""."""

    type: str
    address: str


class TypeInfo(NamedTuple):
    """What type() answers; children `namespace` and `name`."""

    namespace: str
    name: str


def system_value(value: Any, type_name: str) -> Any:
    """The System value of a plain FHIR primitive: dates parsed, integer64 as int."""
    parser = _TEMPORAL_PARSERS.get(type_name)
    if parser is not None:
        parsed = parser(value)
        return value if parsed is None else parsed
    return int(value) if type_name == "integer64" else value


def type_of(item: Any) -> str:
    """The FHIR type, or `System.X`, of an item; a plain value counts as System."""
    if isinstance(item, (Typed, Stub)):
        return item.type
    if isinstance(item, Temporal):
        return SYSTEM + item.kind
    if isinstance(item, TypeInfo):
        return "System.TypeInfo"
    known = _SYSTEM_TYPES.get(type(item))
    return item.fhir_type if known is None else known


@lru_cache(maxsize=8192)
def is_of(name: str, wanted: str) -> bool:
    """Whether a type is another or derives from it; `System.Any` and the like take no part."""
    return name == wanted or facts().is_a(name, wanted)


def quantity_of(item: Any) -> Quantity | None:
    """A FHIR Quantity struct, a Quantity or a number as a Quantity; None for others."""
    if isinstance(item, Quantity):
        return item
    if isinstance(item, (int, Decimal)) and not isinstance(item, bool):
        return Quantity(Decimal(item), "1")
    if not isinstance(item, msgspec.Struct) or not is_of(type_of(item), "Quantity"):
        return None
    value, code = item.value, item.code  # type: ignore[attr-defined]  # Every Quantity struct has them.
    if value is UNSET or item.comparator is not UNSET:  # type: ignore[attr-defined]  # Same.
        return None
    if code is not UNSET:
        return Quantity(value, code) if item.system == UCUM else None  # type: ignore[attr-defined]  # Same.
    return Quantity(value, "1" if item.unit is UNSET else item.unit)  # type: ignore[attr-defined]  # Same.


def plain(item: Any) -> Any:
    """An item as callers of the engine get it: the plain value of a Typed, else itself."""
    return item.value if isinstance(item, Typed) else item


# Comparison of two System values or structs --------------------------------------------------


def equal(left: Any, right: Any) -> bool | None:
    """`=` of two items: True, False, or None where precision or units do not decide."""
    if isinstance(left, Temporal) or isinstance(right, Temporal):
        left, right = _meet(left, right), _meet(right, left)
        if isinstance(left, Temporal) and isinstance(right, Temporal):
            return temporal.equal(left, right)
        return False
    if isinstance(left, bool) or isinstance(right, bool):
        return type(left) is type(right) and left == right
    complex_types = (Quantity, msgspec.Struct)
    if isinstance(left, complex_types) or isinstance(right, complex_types):
        return _equal_complex(left, right)
    return bool(left == right)


def _meet(value: Any, other: Any) -> Any:
    """A text beside a Temporal is read as one: a date literal may face a FHIR string."""
    if isinstance(value, str) and isinstance(other, Temporal):
        parser = {"Date": parse_date, "DateTime": parse_datetime, "Time": parse_time}[other.kind]
        return parser(value) or value
    return value


def _equal_complex(left: Any, right: Any) -> bool | None:
    if isinstance(left, Quantity) or isinstance(right, Quantity):
        one, other = quantity_of(left), quantity_of(right)
        if one is None or other is None:
            return False
        values = common(one, other)
        # Units of different kinds, and a month of the calendar beside UCUM's `mo`: not decided.
        return None if values is None else values[0] == values[1]
    return type(left) is type(right) and bool(left == right)


def equivalent(left: Any, right: Any) -> bool:
    """`~` of two items: letter case, blanks, trailing digits and order do not matter."""
    if isinstance(left, Temporal) and isinstance(right, Temporal):
        return temporal.equivalent(left, right)
    if isinstance(left, str) and isinstance(right, str):
        return _loose(left) == _loose(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return type(left) is type(right) and bool(left == right)
    if isinstance(left, (int, Decimal)) and isinstance(right, (int, Decimal)):
        return _close(Decimal(left), Decimal(right))
    one, other = quantity_of(left), quantity_of(right)
    if one is not None and other is not None:
        values = common(one, other, loose=True)
        return values is not None and _close(*values)
    if isinstance(left, msgspec.Struct) and type(left) is type(right):
        return _loose_struct(left, right)
    return bool(left == right)


def _loose(text: str) -> str:
    """Any blank counts as a space; how many there are is not touched."""
    return re.sub(r"\s", " ", text).casefold()


def _close(left: Decimal, right: Decimal) -> bool:
    """Equal when rounded to the digits of the less precise one."""
    digits = min(_digits(left), _digits(right))
    return round(left, digits) == round(right, digits)


def _digits(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _loose_struct(left: Any, right: Any) -> bool:
    for name in left.__struct_fields__:
        one, other = getattr(left, name), getattr(right, name)
        if name == "id" or one is other:
            continue
        if one is UNSET or other is UNSET:
            return False
        if isinstance(one, list):
            if not equivalent_collections(one, other):
                return False
        elif not equivalent(one, other):
            return False
    return True


def equal_collections(left: list[Any], right: list[Any]) -> bool | None:
    """`=` of two collections, in order; None if either is empty or a pair does not decide."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    outcome: bool | None = True
    for one, other in zip(left, right, strict=True):
        found = equal(one, other)
        if found is False:
            return False
        if found is None:
            outcome = None
    return outcome


def equivalent_collections(left: list[Any], right: list[Any]) -> bool:
    """`~` of two collections, in any order; two empty ones are equivalent."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        at = next((at for at, other in enumerate(rest) if equivalent(one, other)), None)
        if at is None:
            return False
        del rest[at]
    return True


def order(left: Any, right: Any) -> int | None:
    """-1, 0 or 1 of two items, None where precision or units do not decide.

    Raises PathExecutionError for items that have no order.
    """
    if isinstance(left, Temporal) or isinstance(right, Temporal):
        left, right = _meet(left, right), _meet(right, left)
        if isinstance(left, Temporal) and isinstance(right, Temporal):
            if (left.kind == "Time") != (right.kind == "Time"):
                raise PathExecutionError("a time has no order with a date")
            return temporal.compare(left, right)
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    if _is_number(left) and _is_number(right):
        return int(left > right) - int(left < right)
    one, other = quantity_of(left), quantity_of(right)
    if one is None or other is None or _is_number(left) or _is_number(right):
        if (one is None) != (other is None) or (one is None and not _both_structs(left, right)):
            raise PathExecutionError(f"{type_of(left)} and {type_of(right)} have no order")
        if one is None or other is None:
            return None
    values = common(one, other)
    return None if values is None else int(values[0] > values[1]) - int(values[0] < values[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _both_structs(left: Any, right: Any) -> bool:
    return isinstance(left, msgspec.Struct) and isinstance(right, msgspec.Struct)


def key(item: Any) -> Any:
    """A hashable that two System values or structs share exactly when they are equal (moments of
    different zones and quantities in different units are brought to one).
    """
    if isinstance(item, bool):
        return ("b", item)
    if isinstance(item, msgspec.Struct):
        return (type(item), msgspec.json.encode(item))
    if isinstance(item, Temporal):
        return ("t", item.kind == "Time", temporal.normal(item))
    if isinstance(item, Quantity):
        return ("q", *identity(item))
    return item
