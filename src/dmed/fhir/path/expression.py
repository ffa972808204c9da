"""A compiled expression, as callers hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from dmed.fhir.path.code import Code, Env, Hooks, NoHooks, boxed, tester
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.items import Typed, plain, type_of
from dmed.fhir.path.model import is_open
from dmed.fhir.path.parser import parse
from dmed.fhir.path.tree import Node

_NO_HOOKS = NoHooks()
_NOWHERE = Env([], None, None, _NO_HOOKS)
"""The surroundings of expressions that ask nothing of them."""


class Expression:
    """An expression compiled for one type of focus. Immutable; usable from several threads."""

    __slots__ = ("_boxed", "_code", "_is_pure", "_run", "_slots", "_test", "text", "type")

    def __init__(self, text: str, type_name: str, code: Code, slots: Mapping[str, object]) -> None:
        self.text = text
        self.type = type_name
        self._code = code
        self._run = code.run
        self._is_pure = code.is_pure
        self._slots = slots
        self._boxed = boxed(code)
        self._test = tester(code)

    def __call__(self, focus: Any) -> list[Any]:
        """The values of `evaluate` for a record."""
        items = self._run(_NOWHERE if self._is_pure else self._env(focus), [focus])
        return [item.value if type(item) is Typed else item for item in items] if items else []

    def evaluate(
        self,
        focus: Any,
        *,
        resource: Any = None,
        root: Any = None,
        hooks: Hooks = _NO_HOOKS,
        variables: Mapping[str, Sequence[Any]] | None = None,
    ) -> list[Any]:
        """The resulting structs and plain values; a primitive with extensions alone is None.

        `focus` is a record or an element of it, then `resource` is the record that holds it and
        `root` the outermost one (both default to `focus` and `resource`). `variables` fills the
        names that were given to `compile`. Raises PathExecutionError.
        """
        env = self._env(focus, resource, root, hooks, variables)
        return [plain(item) for item in self._code.run(env, [focus])]

    def typed(
        self,
        focus: Any,
        *,
        resource: Any = None,
        root: Any = None,
        hooks: Hooks = _NO_HOOKS,
        variables: Mapping[str, Sequence[Any]] | None = None,
    ) -> list[tuple[str, Any]]:
        """Like `evaluate`, each value with its type: Patient.contact, date, System.Integer."""
        env = self._env(focus, resource, root, hooks, variables)
        return [(type_of(item), plain(item)) for item in self._boxed(env, [focus])]

    def test(
        self,
        focus: Any,
        *,
        resource: Any = None,
        root: Any = None,
        hooks: Hooks = _NO_HOOKS,
        variables: Mapping[str, Sequence[Any]] | None = None,
    ) -> bool | None:
        """The expression as a condition in three-valued logic; None is neither true nor false."""
        return self._test(self._env(focus, resource, root, hooks, variables), [focus])

    def _env(
        self,
        focus: Any,
        resource: Any = None,
        root: Any = None,
        hooks: Hooks = _NO_HOOKS,
        variables: Mapping[str, Sequence[Any]] | None = None,
    ) -> Env:
        resource = focus if resource is None else resource
        env = Env([focus], resource, resource if root is None else root, hooks)
        for name, slot in self._slots.items() if self._slots else ():
            env.slots[slot] = list((variables or {}).get(name, ()))
        return env


@lru_cache(maxsize=8192)
def compile(  # noqa: A001  # The word of the field; callers write path.compile.
    expression: str | Node, type_name: str, *, strict: bool = False, variables: Iterable[str] = ()
) -> Expression:
    """Compile an expression (text or tree) for a focus of a FHIR type such as `Patient`,
    `Patient.contact` or `date`; "" for any type.

    Strict refuses names that no static type has; otherwise they are empty. `variables` (a tuple)
    are names that `evaluate` fills. Raises PathSyntaxError or PathSemanticError.
    """
    slots = {name: object() for name in variables}
    compiler = Compiler(type_name, strict=strict)
    node = parse(expression) if isinstance(expression, str) else expression
    code = compiler.code(node, _scope(type_name, slots))
    text = expression if isinstance(expression, str) else ""
    return Expression(text, type_name, code, slots)


def _scope(type_name: str, slots: Mapping[str, object]) -> Scope:
    from dmed.fhir.path.compiler import Defined

    types = None if not type_name or is_open(type_name) else (type_name,)
    return Scope(types, many=False, variables={n: Defined(s, None) for n, s in slots.items()})
