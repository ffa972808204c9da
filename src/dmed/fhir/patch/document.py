"""JSON documents as patches change them: order of keys and digits of decimals kept."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import msgspec

from dmed.kit.errors import InvalidError, UnprocessableError

OPERATIONS_MAX = 1_000
"""Most operations of one patch."""
_INTEGER_DIGITS_MAX = 18
_encoder = msgspec.json.Encoder(decimal_format="number")


class PatchError(UnprocessableError):
    """The patch is well formed but cannot be applied to this record: 422."""

    code: ClassVar[str] = "processing"


def parse(body: bytes, what: str) -> Any:
    """The JSON of a body; `what` names it in the InvalidError of one that is broken."""
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_float=Decimal,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError, InvalidOperation) as fault:
        raise InvalidError(f"The {what} is no valid JSON: {str(fault)[:200]}") from fault


def encode(document: Any) -> bytes:
    """The document as compact JSON."""
    try:
        return _encoder.encode(document)
    except (ValueError, RecursionError) as fault:
        raise InvalidError("The patched document cannot be written as JSON") from fault


def without_empty(value: Any) -> Any:
    """The value without members that are empty objects or arrays, which FHIR does not allow.

    They are what a patch leaves behind that removes the last thing in them.
    """
    if isinstance(value, dict):
        kept = {name: without_empty(member) for name, member in value.items()}
        return {name: member for name, member in kept.items() if not _is_empty(member)}
    if isinstance(value, list):
        return [each for each in map(without_empty, value) if not _is_empty(each)]
    return value


def is_equal(left: Any, right: Any) -> bool:
    """Whether two values are equal JSON: numbers by value, objects in any order of keys."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_equal(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_equal, left, right))
    return bool(left == right)


def _is_empty(value: Any) -> bool:
    return isinstance(value, dict | list) and not value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} stands twice in one object")
    return made


def _integer(text: str) -> int | Decimal:
    # What JSON allows but no machine integer holds, and -0, keep their digits as Decimal.
    return Decimal(text) if len(text) > _INTEGER_DIGITS_MAX or text == "-0" else int(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")
