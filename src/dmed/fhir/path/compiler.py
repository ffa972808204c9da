"""A tree to closures. Types are followed by the facts of R5, so that most steps are plain
attribute access; what a function does stands in `functions`, what an operator does in `operators`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from dmed.fhir.facts import facts
from dmed.fhir.path.code import (
    Code,
    Env,
    Items,
    NoHooks,
    Run,
    Types,
    constant,
    empty,
    itself,
    single,
    values,
)
from dmed.fhir.path.errors import PathExecutionError, PathSemanticError, PathSyntaxError
from dmed.fhir.path.items import Stub, Typed, TypeInfo, is_of, type_of
from dmed.fhir.path.model import is_open, resolve_type, steps
from dmed.fhir.path.navigate import narrowed, navigate
from dmed.fhir.path.parser import type_name
from dmed.fhir.path.quantity import Quantity
from dmed.fhir.path.temporal import parse_date, parse_datetime, parse_time
from dmed.fhir.path.tree import (
    Binary,
    Call,
    Empty,
    Indexer,
    Instance,
    Literal,
    Member,
    Node,
    QuantityLiteral,
    Special,
    TypeName,
    TypeTest,
    Unary,
    Variable,
)

CONSTANTS = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
_PREFIXES = {
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
    "vs-": "http://hl7.org/fhir/ValueSet/",
}
NODES_MAX = 20_000
"""Most nodes compiled for one expression; some functions compile their argument twice."""
RESERVED = frozenset({
    "resource", "rootResource", "context", "factory", "terminologies", *CONSTANTS,
})  # fmt: skip  # One list.
_WHOLE_DIGITS_MAX = 19
"""Most digits of a whole number of 64 bits."""
FACTORY = ("System.TypeFactory",)
TERMINOLOGIES = ("System.TerminologyServer",)
_SERVICE = TypeInfo("System", "Service")
"""Stands for %factory and %terminologies, of which only functions can be called."""


class Defined(msgspec.Struct, frozen=True):
    """A variable in scope: the key of its slot at run time, and its types."""

    slot: object
    types: Types


class Scope(msgspec.Struct, frozen=True):
    """What a node can see: the types of its focus, and the variables defined before it."""

    types: Types
    many: bool
    variables: Mapping[str, Defined]
    total: Types = None

    def inside(self, focus: Code) -> Scope:
        """The scope of an argument that runs once for each item of `focus`."""
        return msgspec.structs.replace(self, types=focus.types, many=False)

    def over(self, focus: Code) -> Scope:
        """The scope of an argument that runs once on the whole of `focus`."""
        return msgspec.structs.replace(self, types=focus.types, many=focus.many)

    def defining(self, name: str, types: Types) -> tuple[object, Scope]:
        """A new slot, and the scope that sees it."""
        slot = object()
        known = {**self.variables, name: Defined(slot, types)}
        return slot, msgspec.structs.replace(self, variables=known)


class Compiler:
    """Compiles the nodes of one expression for a root type."""

    def __init__(self, root_type: str, *, strict: bool) -> None:
        self.strict = strict
        self._nodes_left = NODES_MAX
        self.root_type = root_type
        owner = facts().types.get(root_type.partition(".")[0])
        is_resource = owner is not None and owner.kind == "resource" and not is_open(owner.name)
        self.resource_types: Types = (owner.name,) if owner and is_resource else None

    def code(self, node: Node, scope: Scope) -> Code:
        """A node's code. Raises PathSemanticError."""
        return self.chain(node, scope)[0]

    def chain(self, node: Node, scope: Scope) -> tuple[Code, Scope]:
        """A node's code, and the scope that later members of its chain see."""
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise PathSemanticError("the expression is too large")
        if isinstance(node, Call) and node.name in ("ofType", "as") and node.source is not None:
            if len(node.arguments) != 1:
                raise PathSemanticError(f"{node.name}() takes one type")
            wanted = self.wanted(type_name(node.arguments[0]))
            return self._restricted(node.name, node.source, wanted, scope)
        if isinstance(node, (Member, Call, Indexer)):
            source, after = self._source(node, scope)
            if isinstance(node, Member):
                return self._member(node, source), after
            if isinstance(node, Indexer):
                return self._indexed(node, source, after), after
            return self._call(node, source, after)
        return self._simple(node, scope), scope

    def _source(self, node: Member | Call | Indexer, scope: Scope) -> tuple[Code, Scope]:
        if node.source is None:
            return focus(scope), scope
        return self.chain(node.source, scope)

    def _simple(self, node: Node, scope: Scope) -> Code:
        from dmed.fhir.path import operators

        match node:
            case Literal():
                return _literal(node)
            case QuantityLiteral():
                value = Quantity(Decimal(node.number), node.unit, node.is_calendar)
                return constant(value, "Quantity")
            case Empty():
                return empty()
            case Special():
                return _special(node, scope)
            case Variable():
                return self._variable(node, scope)
            case Unary():
                return operators.unary(node.sign, self.code(node.operand, scope))
            case Binary():
                left, right = self.code(node.left, scope), self.code(node.right, scope)
                return operators.binary(node.sign, left, right)
            case TypeTest():
                wanted = self.wanted(node.type)
                if node.sign == "as":
                    return self._restricted("as", node.operand, wanted, scope)[0]
                return is_type(self.code(node.operand, scope), wanted)
            case Instance():
                from dmed.fhir.path.functions import factory

                return factory.instance(self, node, scope)
        raise AssertionError(node)

    # Names and variables ---------------------------------------------------------------------

    def _member(self, node: Member, source: Code) -> Code:
        if node.source is None and node.name in facts().types and node.name[0].isupper():
            at_head = self._head(node.name, source)
            if at_head is not None:
                return at_head
        return navigate(source, node.name, strict=self.strict)

    def _head(self, name: str, source: Code) -> Code | None:
        """A type name at the head of a path stands for the focus, if the focus is of that type."""
        if source.types is None or any(is_open(each) for each in source.types):
            return of_type(source, (name,))
        if any(is_of(each, name) for each in source.types):
            return source
        if any(steps(each, name) for each in source.types):
            return None
        if self.strict:
            raise PathSemanticError(f"the focus is {' or '.join(source.types)}, not {name}")
        return empty()

    def _variable(self, node: Variable, scope: Scope) -> Code:
        defined = scope.variables.get(node.name)
        if defined is not None:
            slot = defined.slot
            return Code(lambda env, _this: env.slots.get(slot, []), defined.types)
        match node.name:
            case "resource":
                return Code(lambda env, _this: [env.resource], self.resource_types, many=False)
            case "rootResource":
                return Code(lambda env, _this: [env.root], None, many=False)
            case "context":
                return Code(lambda env, _this: env.context, (self.root_type,), many=False)
            case "factory":
                return Code(lambda _env, _this: [_SERVICE], FACTORY, many=False)
            case "terminologies":
                return Code(lambda _env, _this: [_SERVICE], TERMINOLOGIES, many=False)
        text = CONSTANTS.get(node.name)
        for prefix, address in _PREFIXES.items():
            if text is None and node.name.startswith(prefix):
                text = address + node.name.removeprefix(prefix)
        if text is None:
            raise PathSemanticError(f"%{node.name} is not defined")
        return constant(text, "String")

    # Types -----------------------------------------------------------------------------------

    def wanted(self, name: TypeName | None) -> tuple[str, ...]:
        """The types that a specifier means. Raises PathSemanticError for an unknown one."""
        found = resolve_type(name) if name else ()
        if not found and name is not None and name.namespace not in ("System", "FHIR"):
            raise PathSemanticError(f"{name.name!r} is no type")
        return found

    def _restricted(
        self, sign: str, operand: Node, wanted: tuple[str, ...], scope: Scope
    ) -> tuple[Code, Scope]:
        """`as` and ofType(): the items that have one of the types."""
        if isinstance(operand, Member):
            source, after = self._source(operand, scope)
            code = self._member(operand, source)
            kept = narrowed(source, operand.name, wanted) or of_type(code, wanted)
        else:
            code, after = self.chain(operand, scope)
            kept = of_type(code, wanted)
        return only_one(kept, code) if sign == "as" else kept, after

    # Calls -----------------------------------------------------------------------------------

    def _call(self, node: Call, source: Code, scope: Scope) -> tuple[Code, Scope]:
        from dmed.fhir.path.functions import FUNCTIONS, factory, services

        if source.types == FACTORY:
            return factory.build(self, node, scope), scope
        if source.types == TERMINOLOGIES:
            return services.build(self, node, scope), scope
        function = FUNCTIONS.get(node.name)
        if function is None:
            raise PathSemanticError(f"there is no function {node.name}()")
        if not function.least <= len(node.arguments) <= function.most:
            raise PathSemanticError(f"{node.name}() does not take {len(node.arguments)} arguments")
        if node.name == "defineVariable":
            return self._define(node, source, scope)
        if node.name == "elementDefinition" and scope.types and len(scope.types) == 1:
            return services.defined(source, services.path_of(node.source, scope.types[0])), scope
        return function.build(self, source, node.arguments, scope), scope

    def _define(self, node: Call, source: Code, scope: Scope) -> tuple[Code, Scope]:
        name = self._fixed_text(node.arguments[0], scope)
        if name in scope.variables or name in RESERVED:
            raise PathSemanticError(f"%{name} is defined already")
        over = scope.over(source)
        value = self.code(node.arguments[1], over) if len(node.arguments) > 1 else source
        slot, after = scope.defining(name, value.types)
        run, give = source.run, value.run
        is_same = value is source

        def define(env: Env, this: Items) -> Items:
            items = run(env, this)
            env.slots[slot] = items if is_same else give(env, items)
            return items

        return Code(define, source.types, source.many), after

    def _fixed_text(self, node: Node, scope: Scope) -> str:
        """A text that must be known now: a literal, or an expression that needs no record."""
        if isinstance(node, Literal):
            return node.text
        nothing = Stub("", "")
        try:
            found = values(self.code(node, scope))(Env([], None, None, NoHooks()), [nothing])
        except AttributeError:  # It asks for something of a record.
            found = []
        if len(found) != 1 or not isinstance(found[0], str):
            raise PathSemanticError("defineVariable() takes its name as a fixed text")
        return found[0]

    def _indexed(self, node: Indexer, source: Code, scope: Scope) -> Code:
        run, index = source.run, values(self.code(node.index, scope))

        def at(env: Env, this: Items) -> Items:
            place = single(index(env, this), "an index")
            if place is None:
                return []
            if not isinstance(place, int):
                raise PathExecutionError("an index is a whole number")
            return run(env, this)[place : place + 1] if place >= 0 else []

        return Code(at, source.types, many=False)


def focus(scope: Scope) -> Code:
    """The focus itself."""
    return Code(itself, scope.types, scope.many, is_pure=True)


def of_type(code: Code, wanted: tuple[str, ...]) -> Code:
    """The items that have one of the types."""
    types = code.types
    if types is not None and not any(is_open(each) for each in types):
        kept = tuple(each for each in types if any(is_of(each, one) for one in wanted))
        if not kept:
            return empty()
        if len(kept) == len(types):
            return code
    else:
        kept = ()  # What was met at run time may be a Stub, so the steps after look at the class.
    run = _typed_run(code)

    def keep(env: Env, this: Items) -> Items:
        return [item for item in run(env, this) if _has_type(item, wanted)]

    return Code(keep, kept or None, code.many, is_pure=code.is_pure)


def only_one(kept: Code, code: Code) -> Code:
    """`as` takes one item: with several it is an error, unlike ofType()."""
    if not code.many:
        return kept
    run, give = code.run, kept.run

    def check(env: Env, this: Items) -> Items:
        single(run(env, this), "`as`")
        return give(env, this)

    return Code(check, kept.types, many=False)


def is_type(code: Code, wanted: tuple[str, ...]) -> Code:
    """Whether the one item has one of the types; empty stays empty."""
    from dmed.fhir.path.code import condition

    run = _typed_run(code)

    def test(env: Env, this: Items) -> bool | None:
        items = run(env, this)
        item = items[0] if len(items) == 1 else single(items, "`is`")
        return None if item is None else _has_type(item, wanted)

    return condition(test)


def _typed_run(code: Code) -> Run:
    from dmed.fhir.path.code import boxed

    return boxed(code)


def _has_type(item: object, wanted: tuple[str, ...]) -> bool:
    name = item.type if type(item) is Typed or type(item) is Stub else type_of(item)
    for each in wanted:  # noqa: SIM110  # A generator would cost more than the question.
        if is_of(name, each):
            return True
    return False


_PARSERS: Mapping[str, Callable[[str], object | None]] = {
    "Boolean": lambda text: text == "true",
    "String": lambda text: text,
    "Integer": int,
    "Long": int,
    "Decimal": Decimal,
    "Date": parse_date,
    "DateTime": parse_datetime,
    "Time": parse_time,
}


def _literal(node: Literal) -> Code:
    if node.kind in ("Integer", "Long") and len(node.text.lstrip("0")) > _WHOLE_DIGITS_MAX:
        raise PathSyntaxError(f"{node.text[:20]}… at {node.at} is too large a number")
    value = _PARSERS[node.kind](node.text)
    if value is None and node.kind == "Time" and re.search(r"Z|[+-]", node.text):
        return _zoned_time(node)
    if value is None:
        raise PathSyntaxError(f"@{node.text} at {node.at} is no date or time")
    return constant(value, node.kind)


def _zoned_time(node: Literal) -> Code:
    """A time of day has no zone; the official suite wants this told when it is evaluated."""

    def refuse(_env: Env, _this: Items) -> Items:
        raise PathExecutionError(f"@T{node.text} at {node.at} is a time with a zone, which is none")

    return Code(refuse, ("System.Time",), many=False)


def _special(node: Special, scope: Scope) -> Code:
    if node.name == "this":
        return focus(scope)
    if node.name == "total":
        return Code(lambda env, _this: env.total, scope.total)
    return Code(
        lambda env, _this: [] if env.index is None else [env.index],
        ("System.Integer",),
        many=False,
    )
