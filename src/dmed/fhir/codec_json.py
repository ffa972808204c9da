"""JSON as it was written: duplicate keys, numbers as text. Only for bodies that were refused."""

from __future__ import annotations

import json
from typing import Any


class JsonObject:
    """A JSON object with its keys as they came, duplicates too."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


class JsonNumber(str):
    """A JSON number as it was written."""

    __slots__ = ()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def parse(body: bytes) -> Any:
    """The JSON of a body; raises UnicodeDecodeError, ValueError or RecursionError."""
    return json.loads(
        body.decode(),
        object_pairs_hook=JsonObject,
        parse_float=JsonNumber,
        parse_int=JsonNumber,
        parse_constant=_refuse_constant,
    )
