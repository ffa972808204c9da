"""toX and convertsToX. https://hl7.org/fhirpath/#conversion."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from dmed.fhir.path.code import NONE, Code, Env, Items, condition, single, values
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.functions.formats import moment
from dmed.fhir.path.functions.table import Arguments, function
from dmed.fhir.path.items import quantity_of, type_of
from dmed.fhir.path.operators import as_text
from dmed.fhir.path.quantity import Quantity, calendar_word, converted
from dmed.fhir.path.temporal import Temporal, parse_date, parse_datetime, parse_time

_INTEGER = re.compile(r"[+-]?\d{1,10}", re.ASCII)
_LONG = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:'([^']+)'|([a-z]+))?", re.ASCII)
_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, Decimal)):
        return bool(value) if value in (0, 1) else None
    if isinstance(value, str):
        lower = value.lower()
        return True if lower in _TRUE else False if lower in _FALSE else None
    return None


def _integer(value: Any) -> int | None:
    if isinstance(value, (bool, int)):
        return int(value)
    found = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None
    return found if found is not None and -(2**31) <= found < 2**31 else None


def _long(value: Any) -> int | None:
    if isinstance(value, (bool, int)):
        return int(value)
    found = int(value) if isinstance(value, str) and _LONG.fullmatch(value) else None
    return found if found is not None and -(2**63) <= found < 2**63 else None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, (bool, int, Decimal)):
        return Decimal(value)
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def _string(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, Decimal, Temporal, Quantity)):
        return as_text(value)
    found = quantity_of(value)
    return None if found is None else str(found)


def _date(value: Any) -> Temporal | None:
    if isinstance(value, Temporal):
        return None if value.kind == "Time" else Temporal("Date", value.parts[:3])
    found = parse_datetime(value) if isinstance(value, str) else None
    return None if found is None else Temporal("Date", found.parts[:3])


def _converts_to_date(value: Any) -> bool:
    return parse_date(value) is not None if isinstance(value, str) else _date(value) is not None


def _datetime(value: Any) -> Temporal | None:
    if isinstance(value, Temporal):
        return None if value.kind == "Time" else value._replace(kind="DateTime")
    return parse_datetime(value) if isinstance(value, str) else None


def _time(value: Any) -> Temporal | None:
    if isinstance(value, Temporal):
        return value if value.kind == "Time" else None
    return parse_time(value) if isinstance(value, str) else None


def _quantity(value: Any) -> Quantity | None:
    if isinstance(value, bool):
        return Quantity(Decimal(value), "1")
    if isinstance(value, str):
        return _quantity_text(value)
    return quantity_of(value)


def _quantity_text(text: str) -> Quantity | None:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    word = match[3]
    if word is None:
        return Quantity(Decimal(match[1]), match[2] or "1")
    unit = calendar_word(word)
    return Quantity(Decimal(match[1]), unit, is_calendar=True) if unit else None


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "Boolean": _boolean,
    "Integer": _integer,
    "Long": _long,
    "Decimal": _decimal,
    "String": _string,
    "Date": _date,
    "DateTime": _datetime,
    "Time": _time,
}


def _enter(name: str, convert: Callable[[Any], Any]) -> None:
    most = 1 if name in _BY_FORMAT else 0

    @function(f"to{name}", 0, most)
    def to(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
        run, form = values(source), _format_run(compiler, arguments, scope)

        def give(env: Env, this: Items) -> Items:
            value = single(run(env, this), f"to{name}()")
            if form is not None and isinstance(value, str):
                value = moment(value, form(env, this))
            found = None if value is None else convert(value)
            return NONE if found is None else [found]

        return Code(give, (f"System.{name}",), many=False)

    @function(f"convertsTo{name}", 0, most)
    def converts(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
        run, form = values(source), _format_run(compiler, arguments, scope)

        def test(env: Env, this: Items) -> bool | None:
            value = single(run(env, this), f"convertsTo{name}()")
            if value is None:
                return None
            if form is not None and isinstance(value, str):
                return moment(value, form(env, this)) is not None
            return _converts_to_date(value) if name == "Date" else convert(value) is not None

        return condition(test)


_BY_FORMAT = frozenset({"Date", "DateTime"})


def _format_run(
    compiler: Compiler, arguments: Arguments, scope: Scope
) -> Callable[[Env, Items], str] | None:
    """What gives the format of a date; None where none is given."""
    if not arguments:
        return None
    run = values(compiler.code(arguments[0], scope))

    def give(env: Env, this: Items) -> str:
        form = single(run(env, this), "a format")
        if not isinstance(form, str):
            raise PathExecutionError("a format of a date is a text such as 'yyyy-MM-dd'")
        return form

    return give


for _name, _convert in _CONVERSIONS.items():
    _enter(_name, _convert)


def _in_unit(value: Any, unit: object) -> Quantity | None:
    found = _quantity(value)
    if found is None or unit is None:
        return found
    if not isinstance(unit, str):
        raise PathExecutionError(f"a unit is a text, not {type_of(unit)}")
    return converted(found, unit)


@function("toQuantity", 0, 1)
def _to_quantity(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run = values(source)
    unit = values(compiler.code(arguments[0], scope)) if arguments else None

    def give(env: Env, this: Items) -> Items:
        value = single(run(env, this), "toQuantity()")
        wanted = None if unit is None else single(unit(env, this), "toQuantity()")
        found = None if value is None else _in_unit(value, wanted)
        return NONE if found is None else [found]

    return Code(give, ("System.Quantity",), many=False)


@function("convertsToQuantity", 0, 1)
def _converts_to_quantity(
    compiler: Compiler, source: Code, arguments: Arguments, scope: Scope
) -> Code:
    run, give = values(source), _to_quantity(compiler, source, arguments, scope).run
    return condition(lambda env, this: bool(give(env, this)) if run(env, this) else None)
