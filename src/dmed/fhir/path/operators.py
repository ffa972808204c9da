"""What operators do. https://hl7.org/fhirpath/#operations."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, DecimalException, localcontext
from typing import Any

import msgspec

from dmed.fhir.path.code import (
    NONE,
    Code,
    Env,
    Items,
    Test,
    condition,
    join,
    single,
    tester,
    values,
)
from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.items import (
    SYSTEM,
    Typed,
    equal,
    equal_collections,
    equivalent_collections,
    key,
    order,
    quantity_of,
    type_of,
)
from dmed.fhir.path.quantity import Quantity, add, calendar_of, divide, multiply
from dmed.fhir.path.temporal import Temporal, shift

_INTEGER_MAX = 2**63 - 1
_EXPONENT_MAX = 60
"""Most digits before the point of a decimal that arithmetic gives; the language asks for 20."""


def binary(sign: str, left: Code, right: Code) -> Code:
    """The code of `left sign right`."""
    if sign == "|":
        return union(left, right)
    if sign in _LOGIC:
        return condition(_LOGIC[sign](tester(left), tester(right)))
    if sign in _EQUALITY:
        return condition(_EQUALITY[sign](left, right))
    if sign in _ORDER:
        return condition(_ordered(_ORDER[sign], left, right))
    if sign in ("in", "contains"):
        return condition(_inside(left, right) if sign == "in" else _inside(right, left))
    return _arithmetic(sign, left, right)


# Collections -------------------------------------------------------------------------------


_FEW = 16
"""Up to so many structs are compared with one another."""


def union(left: Code, right: Code) -> Code:
    """Both collections without duplicates."""
    (one, other), types = join(left, right)

    def both(env: Env, this: Items) -> Items:
        first, second = one(env, this), other(env, this)
        if not second:
            return distinct(first)
        return distinct([*first, *second] if first else second)

    return Code(both, types, is_pure=left.is_pure and right.is_pure)


def distinct(items: Items) -> Items:
    """The first of each set of equal items, in order."""
    if len(items) < 2:
        return items
    if len(items) <= _FEW and all(isinstance(item, msgspec.Struct) for item in items):
        # Structs are compared in C; a key would encode each of them.
        kept: Items = []
        for item in items:
            if item not in kept:
                kept.append(item)
        return kept
    seen = set()
    found = []
    for item in items:
        mark = item_key(item)
        if mark not in seen:
            seen.add(mark)
            found.append(item)
    return found


def item_key(item: Any) -> Any:
    """A hashable that equal items share; a Typed without value equals itself alone."""
    if type(item) is Typed:
        value = item.system()
        return ("id", id(item)) if value is None else key(value)
    return key(item)


# Logic -------------------------------------------------------------------------------------


def _and(left: Test, right: Test) -> Test:
    def test(env: Env, this: Items) -> bool | None:
        one = left(env, this)
        if one is False:
            return False
        other = right(env, this)
        return other if one is True or other is False else None

    return test


def _or(left: Test, right: Test) -> Test:
    def test(env: Env, this: Items) -> bool | None:
        one = left(env, this)
        if one is True:
            return True
        other = right(env, this)
        return other if one is False or other is True else None

    return test


def _xor(left: Test, right: Test) -> Test:
    def test(env: Env, this: Items) -> bool | None:
        one, other = left(env, this), right(env, this)
        return None if one is None or other is None else one is not other

    return test


def _implies(left: Test, right: Test) -> Test:
    def test(env: Env, this: Items) -> bool | None:
        one = left(env, this)
        if one is False:
            return True
        other = right(env, this)
        return other if one is True or other is True else None

    return test


_LOGIC: dict[str, Callable[[Test, Test], Test]] = {
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
}


# Comparison --------------------------------------------------------------------------------


def _same(left: Code, right: Code) -> Test:
    one, other = values(left), values(right)

    def test(env: Env, this: Items) -> bool | None:
        mine, theirs = one(env, this), other(env, this)
        if len(mine) == 1 and len(theirs) == 1 and type(mine[0]) is type(theirs[0]) is str:
            return bool(mine[0] == theirs[0])
        return equal_collections(mine, theirs)

    return test


def _different(left: Code, right: Code) -> Test:
    same = _same(left, right)

    def test(env: Env, this: Items) -> bool | None:
        found = same(env, this)
        return None if found is None else not found

    return test


def _alike(left: Code, right: Code) -> Test:
    one, other = values(left), values(right)
    return lambda env, this: equivalent_collections(one(env, this), other(env, this))


def _unlike(left: Code, right: Code) -> Test:
    alike = _alike(left, right)
    return lambda env, this: not alike(env, this)


_EQUALITY: dict[str, Callable[[Code, Code], Test]] = {
    "=": _same,
    "!=": _different,
    "~": _alike,
    "!~": _unlike,
}
_ORDER: dict[str, Callable[[int], bool]] = {
    "<": lambda found: found < 0,
    ">": lambda found: found > 0,
    "<=": lambda found: found <= 0,
    ">=": lambda found: found >= 0,
}


def _ordered(holds: Callable[[int], bool], left: Code, right: Code) -> Test:
    one, other = values(left), values(right)

    def test(env: Env, this: Items) -> bool | None:
        mine, theirs = single(one(env, this), "a comparison"), single(other(env, this), "it")
        if mine is None or theirs is None:
            return None
        found = order(mine, theirs)
        return None if found is None else holds(found)

    return test


def _inside(item: Code, collection: Code) -> Test:
    one, many = values(item), values(collection)

    def test(env: Env, this: Items) -> bool | None:
        found = single(one(env, this), "membership")
        if found is None:
            return None
        return any(equal(found, each) for each in many(env, this))

    return test


# Arithmetic --------------------------------------------------------------------------------


def unary(sign: str, operand: Code) -> Code:
    """The code of +x and -x."""
    run = values(operand)

    def negate(env: Env, this: Items) -> Items:
        value = _operand(single(run(env, this), sign))
        if value is None:
            return NONE
        if isinstance(value, Quantity):
            return [value._replace(value=-value.value) if sign == "-" else value]
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise PathExecutionError(f"{sign} takes a number, not {type_of(value)}")
        return [-value if sign == "-" else value]

    is_system = operand.types and all(each.startswith(SYSTEM) for each in operand.types)
    return Code(negate, operand.types if is_system else None, many=False)


def _arithmetic(sign: str, left: Code, right: Code) -> Code:
    one, other = values(left), values(right)
    work = WORK[sign]

    def run(env: Env, this: Items) -> Items:
        mine, theirs = single(one(env, this), sign), single(other(env, this), sign)
        if sign == "&":
            return [_text(mine) + _text(theirs)]
        if mine is None or theirs is None:
            return NONE
        try:
            found = _bounded(work(_operand(mine), _operand(theirs, beside=mine)))
        except DecimalException:  # Too large, or by nothing: the language gives empty.
            return NONE
        return NONE if found is None else [found]

    return Code(run, _result_types(sign, left, right), many=False)


def _operand(value: Any, beside: Any = None) -> Any:
    """What arithmetic works on: a FHIR Quantity as the language's own, beside a date as words of
    the calendar.
    """
    found = quantity_of(value) if isinstance(value, msgspec.Struct) else None
    if found is None:
        return value
    return calendar_of(found) if isinstance(beside, Temporal) else found


def _result_types(sign: str, left: Code, right: Code) -> tuple[str, ...] | None:
    if sign == "&":
        return ("System.String",)
    if sign == "/":
        both = {left.types, right.types}
        numbers = {("System.Integer",), ("System.Decimal",)}
        return ("System.Decimal",) if both <= numbers else None
    is_system = left.types and all(each.startswith(SYSTEM) for each in left.types)
    return left.types if is_system and left.types == right.types else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, Decimal, Temporal, Quantity)):
        return as_text(value)
    raise PathExecutionError(f"& takes texts, not {type_of(value)}")


def as_text(value: Any) -> str:
    """A System value as toString() writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _is_number(*every: Any) -> bool:
    return all(isinstance(each, (int, Decimal)) and not isinstance(each, bool) for each in every)


def _wrong(sign: str, left: Any, right: Any) -> PathExecutionError:
    return PathExecutionError(f"{type_of(left)} {sign} {type_of(right)} has no meaning")


def _bounded(value: Any) -> Any:
    """A number that fits; overflow gives empty."""
    if isinstance(value, int) and not -_INTEGER_MAX - 1 <= value <= _INTEGER_MAX:
        return None
    amount = value.value if isinstance(value, Quantity) else value
    if isinstance(amount, Decimal) and amount.adjusted() > _EXPONENT_MAX:
        return None
    return value


def _add(left: Any, right: Any) -> Any:
    if _is_number(left, right):
        return left + right
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return _moved("+", left, right, 1)


def _subtract(left: Any, right: Any) -> Any:
    if _is_number(left, right):
        return left - right
    return _moved("-", left, right, -1)


def _moved(sign: str, left: Any, right: Any, direction: int) -> Any:
    if isinstance(left, Temporal) and isinstance(right, Quantity):
        return shift(left, right.value * direction, right.unit)
    one, other = _amounts(left, right)
    if one is None or other is None:
        raise _wrong(sign, left, right)
    return add(one, other._replace(value=direction * other.value))


def _multiply(left: Any, right: Any) -> Any:
    if _is_number(left, right):
        return left * right
    one, other = _amounts(left, right)
    if one is None or other is None:
        raise _wrong("*", left, right)
    return multiply(one, other)


def _divide(left: Any, right: Any) -> Any:
    if not _is_number(left, right):
        one, other = _amounts(left, right)
        if one is None or other is None:
            raise _wrong("/", left, right)
        return divide(one, other)
    with localcontext(prec=28):
        return Decimal(left) / Decimal(right)


def _amounts(left: Any, right: Any) -> tuple[Quantity | None, Quantity | None]:
    def amount(value: Any) -> Quantity | None:
        if isinstance(value, Quantity):
            return value
        return Quantity(Decimal(value), "1") if _is_number(value) else None

    return amount(left), amount(right)


def _whole(left: Any, right: Any) -> Any:
    if not _is_number(left, right):
        raise _wrong("div", left, right)
    if right == 0:
        return None
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return Decimal(int(Decimal(left) / Decimal(right)))
    return int(abs(left) // abs(right)) * (1 if (left < 0) == (right < 0) else -1)


def _rest(left: Any, right: Any) -> Any:
    if not _is_number(left, right):
        raise _wrong("mod", left, right)
    if right == 0:
        return None
    with localcontext(prec=2 * _EXPONENT_MAX):
        rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


WORK: dict[str, Callable[[Any, Any], Any]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "div": _whole,
    "mod": _rest,
    "&": lambda left, right: _text(left) + _text(right),
}
