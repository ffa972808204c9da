"""trace, now, type, boundaries and precision.

https://hl7.org/fhirpath/#utility-functions and https://build.fhir.org/ig/HL7/FHIRPath/.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from dmed.fhir.facts import facts
from dmed.fhir.path.boundaries import boundary, precision
from dmed.fhir.path.code import NONE, Code, Env, Items, boxed, condition, single, values
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.functions.table import Arguments, counted, function, loop, scalar
from dmed.fhir.path.items import SYSTEM, Typed, TypeInfo, quantity_of, type_of
from dmed.fhir.path.quantity import Quantity, common
from dmed.fhir.path.temporal import Temporal, parse_datetime
from dmed.kit import clock


@function("defineVariable", 1, 2)
def _define(_compiler: Compiler, _source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    raise AssertionError  # The compiler handles it, since it changes what later steps can see.


@function("trace", 1, 2)
def _trace(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run, name = source.run, values(compiler.code(arguments[0], scope))
    body = boxed(loop(compiler, source, arguments[1], scope)) if len(arguments) > 1 else None
    kind = source.primitive

    def note(env: Env, this: Items) -> Items:
        items = run(env, this)
        if body is not None:
            shown = [each for item in counted(env, items) for each in body(env, [item])]
        else:
            shown = items if not kind else [_with_type(each, kind) for each in items]
        env.hooks.trace(str(single(name(env, this), "trace()") or ""), shown)
        return items

    return Code(note, source.types, source.many)


def _with_type(item: Any, kind: str) -> Typed:
    return item if isinstance(item, Typed) else Typed(item, kind)


def _now(env: Env) -> Temporal:
    """The moment of this evaluation: the same wherever an expression asks for it."""
    if "now" not in env.slots:
        local = clock.now().astimezone(clock.TASHKENT)
        env.slots["now"] = [parse_datetime(local.isoformat(timespec="milliseconds"))]
    found: Temporal = env.slots["now"][0]
    return found


def _moment(name: str, kind: str, take: Callable[[Temporal], Temporal]) -> None:
    @function(name)
    def build(_compiler: Compiler, _source: Code, _arguments: Arguments, _scope: Scope) -> Code:
        def give(env: Env, _this: Items) -> Items:
            return [take(_now(env))]

        return Code(give, (SYSTEM + kind,), many=False)


_moment("now", "DateTime", lambda moment: moment)
_moment("today", "Date", lambda moment: Temporal("Date", moment.parts[:3]))
_moment("timeOfDay", "Time", lambda moment: Temporal("Time", moment.parts[3:], None, moment.digits))


@function("type")
def _type(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = boxed(source)

    def give(env: Env, this: Items) -> Items:
        return [_info(type_of(item)) for item in run(env, this)]

    return Code(give, ("System.TypeInfo",), source.many)


def _info(name: str) -> TypeInfo:
    if name.startswith(SYSTEM):
        return TypeInfo("System", name.removeprefix(SYSTEM))
    # Parts of a record have no type of their own: they are BackboneElement or Element.
    return TypeInfo("FHIR", facts().types[name].base if "." in name else name)


# Boundaries ----------------------------------------------------------------------------------


def _bounded(name: str, *, high: bool) -> None:
    @function(name, 0, 1)
    def build(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
        run = values(source)
        digits = values(compiler.code(arguments[0], scope)) if arguments else None

        def give(env: Env, this: Items) -> Items:
            value = single(run(env, this), f"{name}()")
            if value is None:
                return NONE
            wanted = None if digits is None else single(digits(env, this), f"{name}()")
            if wanted is not None and not isinstance(wanted, int):
                raise PathExecutionError(f"{name}() takes a number of digits")
            if isinstance(value, msgspec.Struct):
                return _of_struct(value, wanted, high=high)
            found = boundary(value, wanted, high=high)
            return NONE if found is None else [found]

        return Code(give, None, many=False)


def _of_struct(value: Any, digits: int | None, *, high: bool) -> Items:
    found = quantity_of(value)
    if found is None:
        return NONE
    moved = boundary(found, digits, high=high)
    return NONE if moved is None else [moved]


_bounded("lowBoundary", high=False)
_bounded("highBoundary", high=True)


@scalar("precision", (int, Decimal, Temporal), "Integer")
def _precision(value: int | Decimal | Temporal) -> int:
    return precision(value)


@function("comparable", 1)
def _comparable(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    one, other = values(source), values(compiler.code(arguments[0], scope))

    def test(env: Env, this: Items) -> bool | None:
        mine, theirs = single(one(env, this), "comparable()"), single(other(env, this), "it")
        left, right = quantity_of(mine), quantity_of(theirs)
        if left is None or right is None:
            return None
        return _have_common_unit(left, right)

    return condition(test)


def _have_common_unit(left: Quantity, right: Quantity) -> bool:
    return common(left, right) is not None
