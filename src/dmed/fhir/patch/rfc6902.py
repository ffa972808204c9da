"""JSON Patch: https://www.rfc-editor.org/rfc/rfc6902, with pointers of RFC 6901."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from dmed.fhir.patch.document import OPERATIONS_MAX, PatchError, encode, is_equal, parse
from dmed.kit.errors import InvalidError

VALUES_COPIED_MAX = 100_000
"""Most values that the copies of one patch make: each may double the document."""
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_ESCAPE = re.compile(r"~(?![01])")
_NEEDS_VALUE = frozenset({"add", "replace", "test"})
_NEEDS_FROM = frozenset({"move", "copy"})
_NAMES = _NEEDS_VALUE | _NEEDS_FROM | {"remove"}


class Operation(NamedTuple):
    """One operation, checked: pointers are lists of keys, unescaped."""

    name: str
    path: list[str]
    source: list[str]
    value: Any
    told: str
    """How a refusal calls it."""

    def fails(self, why: str) -> PatchError:
        """The error of an operation that cannot be done on this document."""
        return PatchError(f"{self.told}: {why}")


def json_patch(resource: bytes, patch: bytes) -> bytes:
    """The resource after all operations, in order; any that fails fails the whole.

    Both are JSON, the result is compact JSON with the order of keys kept and new ones last.
    InvalidError for a patch that breaks the RFC, PatchError for one that does not fit.
    """
    document = parse(resource, "document")
    operations = read_operations(parse(patch, "patch"))
    try:
        return encode(apply_operations(document, operations))
    except RecursionError as fault:
        raise InvalidError("The patch is nested too deep") from fault


def read_operations(patch: Any) -> list[Operation]:
    """The checked operations; InvalidError names the first that breaks the RFC."""
    if not isinstance(patch, list):
        raise InvalidError("A JSON Patch is an array of operations")
    if len(patch) > OPERATIONS_MAX:
        raise InvalidError(f"A patch has at most {OPERATIONS_MAX} operations")
    return [_operation(number, each) for number, each in enumerate(patch)]


def apply_operations(document: Any, operations: list[Operation]) -> Any:
    """The document after the operations; it may be changed in place."""
    budget = [VALUES_COPIED_MAX]
    for each in operations:
        document = _applied(document, each, budget)
    return document


def _operation(number: int, given: Any) -> Operation:
    told = f"Operation {number}"
    if not isinstance(given, dict):
        raise InvalidError(f"{told} is no object")
    name = given.get("op")
    if not isinstance(name, str) or name not in _NAMES:
        raise InvalidError(f"{told}: op is one of {', '.join(sorted(_NAMES))}")
    told = f"{told} ({name} {str(given.get('path'))[:100]})"
    path = _pointer(given.get("path"), "path", told)
    source = _pointer(given.get("from"), "from", told) if name in _NEEDS_FROM else []
    if name in _NEEDS_VALUE and "value" not in given:
        raise InvalidError(f"{told} needs a value")
    return Operation(name, path, source, given.get("value"), told)


def _pointer(text: Any, member: str, told: str) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise InvalidError(f"{told} needs {member}: a JSON Pointer such as /name/0/family")
    if _ESCAPE.search(text):
        raise InvalidError(f"{told}: in a pointer ~ is written ~0 and / is written ~1")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _applied(document: Any, each: Operation, budget: list[int]) -> Any:
    match each.name:
        case "add":
            return _added(document, each, each.value)
        case "remove":
            return _removed(document, each, each.path)[0]
        case "replace":
            if not each.path:
                return each.value
            holder, key = _holder(document, each, each.path)
            holder[_existing(holder, key, each)] = each.value
            return document
        case "move":
            if each.path[: len(each.source)] == each.source and each.path != each.source:
                raise each.fails("a value cannot move into itself")
            document, taken = _removed(document, each, each.source)
            return _added(document, each, taken)
        case "copy":
            return _added(document, each, _copied(_found(document, each, each.source), budget))
    if not is_equal(_found(document, each, each.path), each.value):
        raise each.fails("the value is another one")
    return document


def _added(document: Any, each: Operation, value: Any) -> Any:
    if not each.path:
        return value
    holder, key = _holder(document, each, each.path)
    if isinstance(holder, dict):
        holder[key] = value
    else:
        holder.insert(len(holder) if key == "-" else _index(key, len(holder), each), value)
    return document


def _removed(document: Any, each: Operation, path: list[str]) -> tuple[Any, Any]:
    """The document without what stood at a path, and what stood there."""
    if not path:
        if each.name == "move":
            return None, document
        raise each.fails("the whole document cannot be removed")
    holder, key = _holder(document, each, path)
    return document, holder.pop(_existing(holder, key, each))


def _found(document: Any, each: Operation, path: list[str]) -> Any:
    if not path:
        return document
    holder, key = _holder(document, each, path)
    return holder[_existing(holder, key, each)]


def _holder(document: Any, each: Operation, path: list[str]) -> tuple[Any, str]:
    """The object or array that holds the last key of a path, and that key."""
    found = document
    for key in path[:-1]:
        if not isinstance(found, dict | list):
            raise each.fails("the path leads through a plain value")
        found = found[_existing(found, key, each)]
    if not isinstance(found, dict | list):
        raise each.fails("the path leads into a plain value")
    return found, path[-1]


def _existing(holder: Any, key: str, each: Operation) -> Any:
    """The key of what is there: text in an object, a number in an array."""
    if isinstance(holder, list):
        return _index(key, len(holder) - 1, each)
    if key not in holder:
        raise each.fails(f"there is no {key[:60]!r}")
    return key


def _index(key: str, most: int, each: Operation) -> int:
    if not _INDEX.fullmatch(key) or int(key) > most:
        raise each.fails(f"there is no place {key[:60]!r} in this array")
    return int(key)


def _copied(value: Any, budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0:
        raise InvalidError(f"The copies of a patch make at most {VALUES_COPIED_MAX} values")
    if isinstance(value, dict):
        return {name: _copied(member, budget) for name, member in value.items()}
    if isinstance(value, list):
        return [_copied(each, budget) for each in value]
    return value
