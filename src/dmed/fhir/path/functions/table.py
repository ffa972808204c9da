"""The table of functions: each with the number of its arguments and what compiles it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from dmed.fhir.path.code import NONE, Code, Env, Items, Run, single, values
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError, PathSemanticError
from dmed.fhir.path.items import SYSTEM, type_of
from dmed.fhir.path.parser import children
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
    name: str, takes: tuple[type, ...], gives: str, least: int = 0, most: int | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function of one value and single arguments; empty in, empty out.

    `takes` are the Python types of its input; `gives` is the System type of its result. A result
    of None is empty. Input of another type is an error.
    """

    def enter(work: Callable[..., Any]) -> Callable[..., Any]:
        def build(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
            _static_check(name, takes, source)
            # Arguments see the focus of the whole expression, not the input of this function.
            runs = [values(compiler.code(each, scope)) for each in arguments]
            return Code(
                _scalar_run(name, takes, values(source), runs, work), (SYSTEM + gives,), many=False
            )

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
    name: str, takes: tuple[type, ...], source: Run, arguments: list[Run], work: Callable[..., Any]
) -> Run:
    def run(env: Env, this: Items) -> Items:
        value = single(source(env, this), f"{name}()")
        if value is None:
            return NONE
        given = []
        for each in arguments:
            found = single(each(env, this), f"an argument of {name}()")
            if found is None:
                return NONE
            given.append(found)
        if not isinstance(value, takes) or (isinstance(value, bool) and bool not in takes):
            raise PathExecutionError(f"{name}() does not take {type_of(value)}")
        result = work(value, *given)
        return NONE if result is None else [result]

    return run


def loop(compiler: Compiler, source: Code, body: Node, scope: Scope) -> Code:
    """An argument that runs once for each item, which is its $this."""
    return compiler.code(body, scope.inside(source))


def counts(node: Node) -> bool:
    """Whether a tree asks for $index anywhere, so that a loop must keep it."""
    if isinstance(node, Special):
        return node.name == "index"
    return any(counts(child) for child in children(node))
