"""The compiled form of a node, and the surroundings it runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import msgspec

from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.items import PARSED, SYSTEM, Typed, system_value
from dmed.fhir.path.model import is_primitive

Items = list[Any]
NONE: Items = []
"""The empty collection; results are never changed in place, so one will do."""


class Hooks(Protocol):
    """What an expression may ask of the world outside the record."""

    def resolve(self, address: str) -> Any | None:
        """The struct that an address points to, or None when it cannot be had."""

    def member_of(self, item: Any, value_set: str) -> bool | None:
        """Whether a coded item is in a value set; None when that cannot be told."""

    def conforms_to(self, item: Any, profile: str) -> bool | None:
        """Whether a struct conforms to a profile; None when that cannot be told."""

    def trace(self, name: str, items: Items) -> None:
        """Take note of a traced collection."""


@runtime_checkable
class Subsumption(Protocol):
    """What hooks may answer besides: how codes of one system lie to each other."""

    def subsumes(self, one: Any, other: Any) -> bool | None:
        """Whether a coded item is the same as another or above it; None if that is not told."""


@runtime_checkable
class Terminology(Protocol):
    """What hooks may answer besides: the operations of `%terminologies`."""

    def terminology(self, operation: str, given: list[Any], parameters: str) -> Any | None:
        """The answer of `expand`, `lookup`, `validateVS`, `validateCS`, `subsumes` or `translate`:
        a struct, a Typed, or None where the service does not know. `parameters` is `a=b&c=d`.
        """


@runtime_checkable
class Profiles(Protocol):
    """What hooks may answer besides: which items lie in a slice."""

    def slice(self, items: Items, profile: str, name: str) -> Items | None:
        """Those of the items that belong to a slice of a profile; None where it is not known."""


class NoHooks:
    """Nothing outside the record is known."""

    def resolve(self, address: str) -> Any | None:  # noqa: ARG002  # The interface's argument.
        """Nothing is found."""
        return None

    def member_of(self, item: Any, value_set: str) -> bool | None:  # noqa: ARG002  # Same.
        """Cannot be told."""
        return None

    def conforms_to(self, item: Any, profile: str) -> bool | None:  # noqa: ARG002  # Same.
        """Cannot be told."""
        return None

    def trace(self, name: str, items: Items) -> None:
        """Not noted."""


class Env:
    """The surroundings of one evaluation: %resource, %rootResource, %context and variables.

    `slots` hold what defineVariable and callers define; `index` and `total` are those of the
    innermost loop that asks for them.
    """

    __slots__ = ("context", "hooks", "index", "resource", "root", "slots", "total")

    def __init__(self, context: Items, resource: Any, root: Any, hooks: Hooks) -> None:
        self.context = context
        self.resource = resource
        self.root = root
        self.hooks = hooks
        self.index: int | None = None
        self.total: Items = NONE
        self.slots: dict[object, Items] = {}


Run = Callable[[Env, Items], Items]
Test = Callable[[Env, Items], bool | None]
Types = tuple[str, ...] | None


class Code(msgspec.Struct):
    """A compiled node.

    `run` takes the surroundings and the focus. `types` are all types that its items can have,
    None if unknown. Where `types` is one FHIR primitive its items may be plain values; in every
    other case a FHIR primitive is a Typed. `many` says whether there can be several items.
    `test` is the same as three-valued logic, where the node is a condition. `is_ordered` is false
    where the specification gives the items no order (children). `is_pure` is true where the run
    asks nothing of its surroundings, so that none need be made.
    """

    run: Run
    types: Types = None
    many: bool = True
    test: Test | None = None
    is_ordered: bool = True
    is_pure: bool = False

    @property
    def primitive(self) -> str:
        """The one FHIR primitive type of all its items, or ""."""
        if self.types is not None and len(self.types) == 1 and is_primitive(self.types[0]):
            return self.types[0]
        return ""


def itself(_env: Env, this: Items) -> Items:
    """The run of the focus; steps that begin there go over it themselves."""
    return this


def condition(test: Test) -> Code:
    """A node of three-valued logic as code."""

    def run(env: Env, this: Items) -> Items:
        found = test(env, this)
        return NONE if found is None else [found]

    return Code(run, ("System.Boolean",), many=False, test=test)


def constant(value: Any, type_name: str) -> Code:
    """A node that is always the same System value."""
    items = [value]
    return Code(lambda _env, _this: items, (SYSTEM + type_name,), many=False)


def empty() -> Code:
    """A node that is always empty."""
    return Code(lambda _env, _this: NONE, (), many=False, test=lambda _env, _this: None)


def join(*codes: Code) -> tuple[list[Run], Types]:
    """Runs whose items may stand in one collection, and the types of that collection."""
    types = join_types(*(code.types for code in codes))
    if types is not None and len(types) == 1:
        return [code.run for code in codes], types
    return [boxed(code) for code in codes], types


def join_types(*every: Types) -> Types:
    """The union of types; unknown if one is."""
    found: dict[str, None] = {}
    for types in every:
        if types is None:
            return None
        found.update(dict.fromkeys(types))
    return tuple(found)


def boxed(code: Code) -> Run:
    """A run whose FHIR primitives are all Typed, fit for a collection of mixed types."""
    name, run = code.primitive, code.run
    if not name:
        return run

    def box(env: Env, this: Items) -> Items:
        items = run(env, this)
        if not items:
            return NONE
        return [item if type(item) is Typed else Typed(item, name) for item in items]

    return box


def values(code: Code) -> Run:
    """A run that gives System values for FHIR primitives (those without value are left out)."""
    name, run = code.primitive, code.run
    if name in PARSED:
        return lambda env, this: _parsed(run(env, this), name)
    if code.types is not None and all(each.startswith(SYSTEM) for each in code.types):
        return run
    return lambda env, this: unwrap(run(env, this))


def _parsed(items: Items, name: str) -> Items:
    made = []
    for item in items:
        if type(item) is Typed:
            found = item.system()
            if found is not None:
                made.append(found)
        else:
            made.append(system_value(item, name))
    return made


def unwrap(items: Items) -> Items:
    """System values in place of Typed; the same list where there is none."""
    for item in items:
        if type(item) is Typed:
            break
    else:
        return items
    found = (item.system() if type(item) is Typed else item for item in items)
    return [item for item in found if item is not None]


def tester(code: Code) -> Test:
    """A node as a condition: one item that is no boolean counts as true, several are an error."""
    if code.test is not None:
        return code.test
    run = values(code)

    def test(env: Env, this: Items) -> bool | None:
        items = run(env, this)
        if not items:
            return None
        if len(items) > 1:
            raise PathExecutionError(f"{len(items)} items where one condition is wanted")
        found = items[0]
        return found if isinstance(found, bool) else True

    return test


def single(items: Items, what: str) -> Any:
    """The only item or None of none; raises PathExecutionError for several."""
    if not items:
        return None
    if len(items) > 1:
        raise PathExecutionError(f"{what} takes one item, not {len(items)}")
    return items[0]
