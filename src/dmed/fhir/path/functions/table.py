"""The table of functions: each with the number of its arguments and what compiles it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias

import msgspec

from dmed.fhir.path.code import NONE, Code, Env, Items, Run, single, values
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError, PathSemanticError
from dmed.fhir.path.items import SYSTEM, quantity_of, type_of
from dmed.fhir.path.parser import children
from dmed.fhir.path.quantity import Quantity
from dmed.fhir.path.tree import Node, Special

Arguments: TypeAlias = tuple[Node, ...]
Build = Callable[[Compiler, Code, Arguments, Scope], Code]


class Function(NamedTuple):
    """How many arguments a function takes, and what compiles a call of it."""

    least: int
    most: int
    build: Build


FUNCTIONS: dict[str, Function] = {}


def function(name: str, least: int = 0, most: int | None = None) -> Callable[[Build], Build]:
    """Enter what compiles a function into the table."""

    def enter(build: Build) -> Build:
        FUNCTIONS[name] = Function(least, least if most is None else most, build)
        return build

    return enter


TEXTS = (str,)


def scalar(
    name: str,
    takes: tuple[type, ...],
    gives: str,
    least: int = 0,
    most: int | None = None,
    given: tuple[type, ...] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function of one value and single arguments; empty in, empty out.

    `takes` are the Python types of its input, `given` those of its arguments (by default the
    same); `gives` is the System type of its result. A result of None is empty. Values of another
    type are an error. A FHIR Quantity counts as the language's own.
    """

    def enter(work: Callable[..., Any]) -> Callable[..., Any]:
        def build(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
            _static_check(name, takes, source)
            # Arguments see the focus of the whole expression, not the input of this function.
            runs = [values(compiler.code(each, scope)) for each in arguments]
            run = _scalar_run(name, (takes, given or takes), values(source), runs, work)
            return Code(run, None if gives == "Any" else (SYSTEM + gives,), many=False)

        FUNCTIONS[name] = Function(least, least if most is None else most, build)
        return work

    return enter


def _static_check(name: str, takes: tuple[type, ...], source: Code) -> None:
    """A text function on a complex type can never be right."""
    if takes != TEXTS or not source.types:
        return
    from dmed.fhir.path.model import is_open, is_primitive

    if not any(
        each.startswith(SYSTEM) or is_primitive(each) or is_open(each) for each in source.types
    ):
        raise PathSemanticError(f"{name}() takes a text, not {' or '.join(source.types)}")


def _scalar_run(
    name: str,
    kinds: tuple[tuple[type, ...], tuple[type, ...]],
    source: Run,
    arguments: list[Run],
    work: Callable[..., Any],
) -> Run:
    takes, takes_given = kinds
    usual, usual_given = takes[0], takes_given[0]
    forgives = _FORGIVING.get(name, len(arguments))

    def run(env: Env, this: Items) -> Items:
        value = single(source(env, this), f"{name}()")
        if value is None:
            return NONE
        given = []
        for at, each in enumerate(arguments):
            found = single(each(env, this), f"an argument of {name}()")
            if found is None:
                if at >= forgives:
                    break
                return NONE
            given.append(
                found if type(found) is usual_given else _suited(name, found, takes_given)
            )
        if type(value) is not usual:
            value = _suited(name, value, takes)
        result = work(value, *given)
        return NONE if result is None else [result]

    return run


_FORGIVING = {"substring": 1}
"""Where an empty argument counts as none: from which place on."""


def _suited(name: str, value: Any, takes: tuple[type, ...]) -> Any:
    """A value that a function takes. Raises PathExecutionError for another."""
    if Quantity in takes and isinstance(value, msgspec.Struct):
        value = quantity_of(value) or value
    if not isinstance(value, takes) or (
        isinstance(value, bool) and bool not in takes and object not in takes
    ):
        raise PathExecutionError(f"{name}() does not take {type_of(value)}")
    return value


def loop(compiler: Compiler, source: Code, body: Node, scope: Scope) -> Code:
    """An argument that runs once for each item, which is its $this."""
    return compiler.code(body, scope.inside(source))


def counted(env: Env, items: Items) -> Generator[Any]:
    """The items one after the other, each with its place as $index while it is looked at."""
    outer = env.index
    try:
        for env.index, item in enumerate(items):
            yield item
    finally:
        env.index = outer


def counts(node: Node) -> bool:
    """Whether a tree asks for $index anywhere, so that a loop must keep it."""
    if isinstance(node, Special):
        return node.name == "index"
    return any(counts(child) for child in children(node))
