"""What an invariant says when one only knows which fields are there.

Many rules are about presence alone (`code.empty() or system.exists()`), and most others hold of
themselves while some field is absent. Deciding those from a bit mask saves calling FHIRPath for
almost every rule on almost every record.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from dmed.fhir.path.tree import Binary, Call, Indexer, Member, Node, TypeTest
from dmed.fhir.validate_run import words


class Known(Enum):
    """What is known of an expression's result."""

    TRUE = "true"
    FALSE = "false"
    NOTHING = "empty"
    SOMETHING = "not empty"
    OPEN = "only evaluation can tell"


_T, _F, _NOTHING, _SOMETHING, _OPEN = Known
_PRESENCE = {True: _SOMETHING, False: _NOTHING, None: _OPEN}
_NOT = {_T: _F, _F: _T, _NOTHING: _NOTHING}
# What functions of the specification give for an empty input.
_OF_NOTHING = {
    "exists": _F,
    "empty": _T,
    "hasValue": _F,
    "all": _T,
    "allTrue": _T,
    "allFalse": _T,
    "isDistinct": _T,
    "not": _NOTHING,
}
_KEEP_NOTHING = words(
    "where select first last tail skip take single ofType as trace resolve repeat children "
    "descendants distinct substring startsWith endsWith contains matches toInteger length lower "
    "upper lowBoundary highBoundary comparable is"
)
_COMPARE = frozenset({"=", "<", ">", "<=", ">=", "!=", "~", "in", "+", "-"})


def names_in(node: Node, type_name: str) -> frozenset[str]:
    """The fields of the focus that decide anything: those that stand at the start of a path."""
    found: set[str] = set()

    def walk(each: Node | None) -> None:
        if isinstance(each, Member):
            if _is_field(each, type_name):
                found.add(each.name)
            walk(each.source)
        elif isinstance(each, Binary):
            walk(each.left)
            walk(each.right)
        elif isinstance(each, Call | Indexer):
            walk(each.source)
        elif isinstance(each, TypeTest):
            walk(each.operand)

    walk(node)
    return frozenset(found)


def _is_field(node: Member, type_name: str) -> bool:
    """Whether a member is a field of the focus: `value` or `Observation.value`."""
    if node.source is None:
        return node.name != type_name
    return isinstance(node.source, Member) and node.source == Member(
        None, type_name, node.source.at
    )


def decide(node: Node, type_name: str, is_present: Callable[[str], bool | None]) -> Known:
    """What an expression gives, from the presence of the focus's fields alone.

    `is_present` answers None for a name that is no field.
    """

    def of(each: Node | None) -> Known:
        if isinstance(each, Member):
            if _is_field(each, type_name):
                return _PRESENCE[is_present(each.name)]
            return _NOTHING if each.source is not None and of(each.source) is _NOTHING else _OPEN
        if isinstance(each, Call) and each.source is not None:
            return _call(each.name, bool(each.arguments), of(each.source))
        if isinstance(each, Binary):
            return _binary(each.sign, of(each.left), of(each.right))
        if isinstance(each, TypeTest | Indexer):
            source = each.operand if isinstance(each, TypeTest) else each.source
            return _NOTHING if of(source) is _NOTHING else _OPEN
        return _OPEN

    return of(node)


def _call(name: str, has_arguments: bool, source: Known) -> Known:
    if name == "not":
        return _NOT.get(source, _OPEN)
    if source is _NOTHING:
        return _NOTHING if name in _KEEP_NOTHING else _OF_NOTHING.get(name, _OPEN)
    if source is _SOMETHING and not has_arguments:
        return {"exists": _T, "empty": _F}.get(name, _OPEN)
    return _OPEN


def _binary(sign: str, left: Known, right: Known) -> Known:
    if sign == "or":
        return _or(left, right)
    if sign == "and":
        return _and(left, right)
    if sign == "implies":
        return _or(_NOT.get(left, _OPEN), right)
    both = (left, right)
    if sign in {"=", "!=", "xor"} and set(both) <= {_T, _F}:
        return _T if (left is right) == (sign == "=") else _F
    return _NOTHING if sign in _COMPARE and _NOTHING in both else _OPEN


def _or(left: Known, right: Known) -> Known:
    both = {left, right}
    if _T in both:
        return _T
    if both == {_F}:
        return _F
    return _NOTHING if both <= {_F, _NOTHING} else _OPEN


def _and(left: Known, right: Known) -> Known:
    both = {left, right}
    if _F in both:
        return _F
    if both == {_T}:
        return _T
    return _NOTHING if both <= {_T, _NOTHING} else _OPEN
