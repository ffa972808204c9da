"""From JSON to structs and back. https://hl7.org/fhir/R5/json.html

The stored body is the canonical encoding of what came in: value-equal, keys in the definition's
order, arrays in theirs, decimals with their digits. What msgspec alone would let pass is found by
comparing the canonical encoding with the input, which costs a microsecond:

- a duplicate key, or a decimal sent as text, loses quotation marks on the way;
- nulls, empty arrays and objects, control characters and huge exponents survive and are seen.

Whatever looks wrong goes to `codec_faults`, which reads the body again slowly and lists every
fault with its FHIRPath; only it decides.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from dmed.fhir.codec_faults import DEPTH_MAX, find_faults
from dmed.fhir.facts import facts
from dmed.fhir.types import any_resource, struct_of
from dmed.kit.errors import InvalidError, Issue

_encoder = msgspec.json.Encoder(decimal_format="number")
_NOT_BRACKETS = bytes(b for b in range(256) if b not in b"[]{}")
_EMPTY = (b":[]", b",[]", b"[[]", b":{}", b",{}", b"[{}")
_NULL = (b"[null", b",null")
_CONTROL = re.compile(rb"\\(?:u00|b|f)")
_LARGE_EXPONENT = re.compile(rb"E[+-][0-9]{3}")


@cache
def _resource_decoder() -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(any_resource())


@cache
def _type_decoder(type_name: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(struct_of(type_name))


def decode(body: bytes, type_name: str | None = None) -> Any:
    """The struct of a resource (or of a data type, when one is named).

    Raises InvalidError with every fault, each with its FHIRPath: broken JSON or UTF-8, unknown
    fields, wrong JSON types, duplicate keys, nulls, empty values, control characters, nesting
    over DEPTH_MAX, and a resourceType other than `type_name`.
    """
    is_resource = type_name is None or facts().types[type_name].kind == "resource"
    decoder = _resource_decoder() if is_resource else _type_decoder(str(type_name))
    try:
        found = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        issues = find_faults(body, type_name) or (_from_msgspec(error, type_name),)
        raise InvalidError(issues=issues) from error
    if type_name is not None and found.fhir_type != type_name:
        raise InvalidError(f"resourceType is {found.fhir_type}, expected {type_name}", type_name)
    if _is_suspect(body, _encoder.encode(found)):
        issues = find_faults(body, type_name)
        if issues:
            raise InvalidError(issues=issues)
    return found


def encode(resource: Any) -> bytes:
    """The canonical encoding: compact, keys in the definition's order, decimals as they came."""
    return _encoder.encode(resource)


def _is_suspect(body: bytes, encoded: bytes) -> bool:
    """Whether something may have been lost or let pass; true is no verdict yet.

    Every quotation mark of the input is either structure or an escaped one in a text, and both
    kinds are written again, unless a text spells its mark as an escape by number.
    """
    if body != encoded and body.count(b'"') != encoded.count(b'"'):
        return True
    if b"\\" in body and (b"\\u0022" in body or _CONTROL.search(encoded)):
        return True
    if (b"[]" in encoded or b"{}" in encoded) and any(each in encoded for each in _EMPTY):
        return True
    if b"null" in encoded and any(each in encoded for each in _NULL):
        return True
    if (b"E+" in encoded or b"E-" in encoded) and _LARGE_EXPONENT.search(encoded):
        return True
    return encoded.count(b"{") > DEPTH_MAX and _may_be_deep(encoded)


def _may_be_deep(encoded: bytes) -> bool:
    """Whether brackets nest deeper than DEPTH_MAX, or texts hold brackets that hide the answer."""
    brackets = encoded.translate(None, _NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _from_msgspec(error: Exception, type_name: str | None) -> Issue:
    """A fault that only msgspec saw; its `$.a[0]` becomes a FHIRPath."""
    message, _, path = str(error).partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    return Issue("structure", message, ".".join(part for part in (type_name, path) if part))
