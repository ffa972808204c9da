"""empty, exists, all and their kin. https://hl7.org/fhirpath/#existence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from dmed.fhir.path.code import Code, Env, Items, condition, join, tester, values
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.functions.collections import where
from dmed.fhir.path.functions.table import Arguments, counted, counts, function, loop
from dmed.fhir.path.items import type_of
from dmed.fhir.path.operators import distinct, item_key


@function("empty")
def _empty(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = source.run
    return condition(lambda env, this: not run(env, this))


@function("exists", 0, 1)
def _exists(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run = where(compiler, source, arguments, scope).run if arguments else source.run
    return condition(lambda env, this: bool(run(env, this)))


@function("all", 1)
def _all(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run, test = source.run, tester(loop(compiler, source, arguments[0], scope))
    if counts(arguments[0]):

        def hold_counting(env: Env, this: Items) -> bool:
            with closing(counted(env, run(env, this))) as items:  # It may end before the last.
                return all(test(env, [item]) is True for item in items)

        return condition(hold_counting)
    return condition(lambda env, this: all(test(env, [item]) is True for item in run(env, this)))


@function("not")
def _not(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    test = tester(source)

    def negate(env: Env, this: Items) -> bool | None:
        found = test(env, this)
        return None if found is None else not found

    return condition(negate)


def _of_booleans(name: str, holds: Callable[[Items], bool]) -> None:
    @function(name)
    def build(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
        run = values(source)

        def test(env: Env, this: Items) -> bool:
            items = run(env, this)
            for item in items:
                if not isinstance(item, bool):
                    raise PathExecutionError(f"{name}() takes booleans, not {type_of(item)}")
            return holds(items)

        return condition(test)


_of_booleans("allTrue", all)
_of_booleans("anyTrue", any)
_of_booleans("allFalse", lambda items: not any(items))
_of_booleans("anyFalse", lambda items: not all(items))


def _of_sets(name: str, *, turned: bool) -> None:
    @function(name, 1)
    def build(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
        (one, other), _ = join(source, compiler.code(arguments[0], scope))

        def test(env: Env, this: Items) -> bool:
            mine = {item_key(item) for item in one(env, this)}
            theirs = {item_key(item) for item in other(env, this)}
            return mine >= theirs if turned else mine <= theirs

        return condition(test)


_of_sets("subsetOf", turned=False)
_of_sets("supersetOf", turned=True)


@function("count")
def _count(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = source.run
    return Code(lambda env, this: [len(run(env, this))], ("System.Integer",), many=False)


@function("distinct")
def _distinct(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = source.run
    return Code(lambda env, this: distinct(run(env, this)), source.types, source.many)


@function("isDistinct")
def _is_distinct(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = source.run

    def test(env: Env, this: Items) -> bool:
        items = run(env, this)
        return len(distinct(items)) == len(items)

    return condition(test)
