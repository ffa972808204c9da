"""where, select, first, combine: collections to collections.

https://hl7.org/fhirpath/#filtering-and-projection, #subsetting, #combining.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from dmed.fhir.path.code import NONE, Code, Env, Items, Run, boxed, join, single, tester, values
from dmed.fhir.path.compiler import Compiler, Scope, is_type, of_type, only_one
from dmed.fhir.path.errors import PathExecutionError, PathSemanticError
from dmed.fhir.path.functions.table import Arguments, counted, counts, function, loop
from dmed.fhir.path.items import order
from dmed.fhir.path.operators import distinct, item_key, union
from dmed.fhir.path.parser import type_name
from dmed.fhir.path.tree import Node, Unary

_MANY = 50
"""Most arguments of the functions that take any number."""
_REPEAT_MAX = 100_000
"""Most items that repeat() may gather; more is taken for an endless loop."""


# Filtering and projection --------------------------------------------------------------------


@function("where", 1)
def where(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    """The items for which the condition is true."""
    run, test = source.run, tester(loop(compiler, source, arguments[0], scope))
    if counts(arguments[0]):

        def keep_counting(env: Env, this: Items) -> Items:
            return [item for item in counted(env, run(env, this)) if test(env, [item]) is True]

        return Code(keep_counting, source.types, source.many)

    def keep(env: Env, this: Items) -> Items:
        return [item for item in run(env, this) if test(env, [item]) is True]

    return Code(keep, source.types, source.many)


@function("select", 1)
def _select(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run, body = source.run, loop(compiler, source, arguments[0], scope)
    give = body.run
    many = source.many or body.many
    if counts(arguments[0]):

        def project_counting(env: Env, this: Items) -> Items:
            return [child for item in counted(env, run(env, this)) for child in give(env, [item])]

        return Code(project_counting, body.types, many)

    def project(env: Env, this: Items) -> Items:
        return [child for item in run(env, this) for child in give(env, [item])]

    return Code(project, body.types, many)


@function("repeat", 1)
def _repeat(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    """Its result may be of other types than its input, so the body is compiled for any type."""
    return _repeated(compiler, source, arguments[0], scope, unique=True)


@function("repeatAll", 1)
def _repeat_all(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    return _repeated(compiler, source, arguments[0], scope, unique=False)


def _repeated(compiler: Compiler, source: Code, body: Node, scope: Scope, *, unique: bool) -> Code:
    first = loop(compiler, source, body, scope)
    # The second round meets what the first one gave; when types stay the same, they are known.
    anything = Code(boxed(source), None)
    if first.types == source.types and first.types is not None:
        give, start, types = first.run, source.run, first.types
    else:
        again = loop(compiler, anything, body, scope)
        give, start, types = boxed(again), anything.run, None

    def gather(env: Env, this: Items) -> Items:
        found: Items = []
        seen: set[Any] = set()
        level = start(env, this)
        while level:
            children: Items = []
            for item in level:
                for child in give(env, [item]):
                    mark = item_key(child) if unique else None
                    if unique and mark in seen:
                        continue
                    seen.add(mark)
                    children.append(child)
            found += children
            if len(found) > _REPEAT_MAX:
                raise PathExecutionError("repeat() does not come to an end")
            level = children
        return found

    return Code(gather, types)


@function("ofType", 1)
def _of_type(compiler: Compiler, source: Code, arguments: Arguments, _scope: Scope) -> Code:
    return of_type(source, compiler.wanted(type_name(arguments[0])))


@function("as", 1)
def _as(compiler: Compiler, source: Code, arguments: Arguments, _scope: Scope) -> Code:
    return only_one(of_type(source, compiler.wanted(type_name(arguments[0]))), source)


@function("is", 1)
def _is(compiler: Compiler, source: Code, arguments: Arguments, _scope: Scope) -> Code:
    return is_type(source, compiler.wanted(type_name(arguments[0])))


_DIRECTIONS = {"asc": (1, 1), "desc": (-1, -1), "-": (-1, 1)}
"""What a sign makes of the order of items with a key, and of those without one."""


@function("sort", 0, _MANY)
def _sort(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    """`-key` turns the order of what has a key, as `key desc` turns it of all."""
    run = source.run
    keys: list[tuple[Run, int, int]] = []
    for node in arguments:
        sign = node.sign if isinstance(node, Unary) else ""
        body = node.operand if isinstance(node, Unary) and sign in _DIRECTIONS else node
        with_key, without = _DIRECTIONS.get(sign, (1, 1))
        keys.append((values(loop(compiler, source, body, scope)), with_key, without))
    if not keys:
        itself = Code(lambda _env, this: this, source.types, many=False)
        keys.append((values(itself), 1, 1))

    def compare(left: tuple[Items, ...], right: tuple[Items, ...]) -> int:
        for mine, theirs, (_, direction, outside) in zip(left[1:], right[1:], keys, strict=True):
            one, other = single(mine, "sort()"), single(theirs, "sort()")
            if one is None or other is None:
                # What has no key is lower than all that has one.
                found = (int(other is None) - int(one is None)) * outside
            else:
                found = (order(one, other) or 0) * direction
            if found:
                return found
        return 0

    def arrange(env: Env, this: Items) -> Items:
        rows = [([item], *(give(env, [item]) for give, _, _ in keys)) for item in run(env, this)]
        return [row[0][0] for row in sorted(rows, key=cmp_to_key(compare))]

    return Code(arrange, source.types, source.many)


# Subsetting ----------------------------------------------------------------------------------


def _check_order(compiler: Compiler, name: str, source: Code) -> None:
    if compiler.strict and not source.is_ordered:
        raise PathSemanticError(f"{name}() of children that have no order")


def _cut(name: str, cut: Callable[[Items], Items], *, many: bool) -> None:
    @function(name)
    def build(compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
        _check_order(compiler, name, source)
        run = source.run
        return Code(lambda env, this: cut(run(env, this)), source.types, many and source.many)


def _only(items: Items) -> Items:
    single(items, "single()")
    return items


_cut("single", _only, many=False)
_cut("first", lambda items: items[:1], many=False)
_cut("last", lambda items: items[-1:], many=False)
_cut("tail", lambda items: items[1:], many=True)


def _counted(name: str, cut: Callable[[Items, int], Items]) -> None:
    @function(name, 1)
    def build(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
        _check_order(compiler, name, source)
        run, number = source.run, values(compiler.code(arguments[0], scope))

        def slice_(env: Env, this: Items) -> Items:
            count = single(number(env, this), f"{name}()")
            if count is None:
                return NONE
            if not isinstance(count, int):
                raise PathExecutionError(f"{name}() takes a whole number")
            return cut(run(env, this), max(0, count))

        return Code(slice_, source.types, source.many)


_counted("skip", lambda items, count: items[count:])
_counted("take", lambda items, count: items[:count])


# Combining -----------------------------------------------------------------------------------


@function("union", 1)
def _union(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    return union(source, compiler.code(arguments[0], scope))


@function("combine", 1, 2)
def _combine(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    (one, other), types = join(source, compiler.code(arguments[0], scope))
    return Code(lambda env, this: [*one(env, this), *other(env, this)], types)


@function("intersect", 1)
def _intersect(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    (one, other), _ = join(source, compiler.code(arguments[0], scope))

    def keep(env: Env, this: Items) -> Items:
        marks = {item_key(item) for item in other(env, this)}
        return distinct([item for item in one(env, this) if item_key(item) in marks])

    return Code(keep, source.types, source.many)


@function("exclude", 1)
def _exclude(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    (one, other), _ = join(source, compiler.code(arguments[0], scope))

    def keep(env: Env, this: Items) -> Items:
        marks = {item_key(item) for item in other(env, this)}
        return [item for item in one(env, this) if item_key(item) not in marks]

    return Code(keep, source.types, source.many)


@function("coalesce", 1, _MANY)
def _coalesce(compiler: Compiler, _source: Code, arguments: Arguments, scope: Scope) -> Code:
    runs, types = join(*(compiler.code(each, scope) for each in arguments))

    def first(env: Env, this: Items) -> Items:
        return next((found for run in runs if (found := run(env, this))), NONE)

    return Code(first, types)


@function("aggregate", 1, 2)
def _aggregate(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run = source.run
    start = values(compiler.code(arguments[1], scope)) if len(arguments) > 1 else None
    body = loop(compiler, source, arguments[0], scope)
    give = boxed(body)

    def gather(env: Env, this: Items) -> Items:
        outer_total, outer_index = env.total, env.index
        total = NONE if start is None else start(env, this)
        for index, item in enumerate(run(env, this)):
            env.total, env.index = total, index
            total = give(env, [item])
        env.total, env.index = outer_total, outer_index
        return total

    return Code(gather)


@function("iif", 2, 3)
def _iif(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    """Without an input of its own it sees the focus; with one, each argument sees that input."""
    inner = scope.over(source)
    criterion = compiler.code(arguments[0], inner)
    # One item that is no boolean counts as true; several never can.
    types_ = {*criterion.types} if criterion.many and criterion.types else set()
    if types_ and not types_ & {"System.Boolean", "boolean"}:
        raise PathSemanticError(f"iif() takes a condition, not {' or '.join(sorted(types_))}")
    test, run = tester(criterion), source.run
    codes = [compiler.code(each, inner) for each in arguments[1:]]
    runs, types = join(*codes)
    otherwise: Run = runs[1] if len(runs) > 1 else lambda _env, _this: NONE

    def choose(env: Env, this: Items) -> Items:
        items = run(env, this)
        if len(items) > 1:
            raise PathExecutionError("iif() takes one item")
        return runs[0](env, items) if test(env, items) is True else otherwise(env, items)

    return Code(choose, types, many=any(code.many for code in codes))
