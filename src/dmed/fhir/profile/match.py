"""Fixed and pattern values. https://hl7.org/fhir/R5/elementdefinition-definitions.html

A pattern is contained in the value: every property of it is there and matches; of an array, each
item of the pattern matches some item of the value. A fixed value is equal to the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir.profile.definition import decimal_of
from dmed.fhir.types import attribute

Test = Callable[[Any], bool]


def fixed_test(expected: Any) -> Test:
    """Whether a value (struct or plain) equals decoded JSON in full."""
    if not isinstance(expected, Mapping):
        return _plain(expected)
    wanted = _decimals(expected)
    return lambda value: bool(
        isinstance(value, msgspec.Struct)
        and msgspec.to_builtins(value, builtin_types=(Decimal,)) == wanted
    )


def pattern_test(expected: Any) -> Test:
    """Whether a value (struct or plain) contains decoded JSON."""
    if not isinstance(expected, Mapping):
        return _plain(expected)
    parts: list[tuple[str, Test]] = []
    for key, inner in expected.items():
        if isinstance(inner, list):
            parts.append((attribute(key), _all_in([pattern_test(each) for each in inner])))
        else:
            parts.append((attribute(key), pattern_test(inner)))

    def test(value: Any) -> bool:
        for attr, one in parts:
            found = getattr(value, attr, UNSET)
            if found is UNSET or not one(found):
                return False
        return True

    return test


def _all_in(tests: list[Test]) -> Test:
    return lambda value: (
        isinstance(value, list)
        and all(any(test(each) for each in value if each is not None) for test in tests)
    )


def _plain(expected: Any) -> Test:
    number = decimal_of(expected)
    if number is not None:
        return lambda value: decimal_of(value) == number
    return lambda value: type(value) is type(expected) and value == expected


def _decimals(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _decimals(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_decimals(each) for each in value]
    return Decimal(str(value)) if isinstance(value, float) else value


def said(expected: Any) -> str:
    """A fixed or pattern value for a sentence, cut to a bearable length."""
    if isinstance(expected, str):
        return f"'{expected:.120}'"
    text = msgspec.json.encode(expected).decode()
    return text if len(text) <= 240 else text[:240] + "..."
