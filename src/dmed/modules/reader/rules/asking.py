"""The search form: made from the capability statement, and turned into a FHIR search and back.

https://hl7.org/fhir/R5/search.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from dmed.modules.reader.model import Criterion, Parameter

LINES_MAX = 20
PREFIXES = ("ge", "gt", "le", "lt", "ne", "sa", "eb", "ap")
_PREFIXED = {"date", "number", "quantity"}
_RESULT = ("_sort", "_count", "_include", "_revinclude", "_summary", "_elements", "_total")
_SPOKEN = "Modifiers: "


@lru_cache(maxsize=4)
def types(capability: bytes) -> Mapping[str, tuple[Parameter, ...]]:
    """Type > its search parameters, as a capability statement declares them."""
    rest = msgspec.json.decode(capability)["rest"][0]
    return {one["type"]: tuple(_parameters(one)) for one in rest["resource"]}


def _parameters(resource: Mapping[str, Any]) -> Iterable[Parameter]:
    for each in resource.get("searchParam", ()):
        ways = [f":{name}" for name in _modifiers(each.get("documentation", ""))]
        if each["type"] in _PREFIXED:
            ways = [*PREFIXES, *ways]
        yield Parameter(each["name"], each["type"], tuple(ways))
    for name in _RESULT:
        yield Parameter(name, "result")


def _modifiers(documentation: str) -> list[str]:
    if not documentation.startswith(_SPOKEN):
        return []
    return documentation.removeprefix(_SPOKEN).rstrip(".").split(", ")


def criteria(query: str, known: Sequence[Parameter]) -> list[Criterion]:
    """The lines of the form for a search as it stands in an address; cursors are left out."""
    kinds = {one.name: one for one in known}
    lines = []
    for name, value in parse_qsl(query, keep_blank_values=True)[:LINES_MAX]:
        if name in {"_cursor", "_view"}:
            continue
        code, colon, modifier = name.partition(":")
        parameter = kinds.get(code)
        if parameter is None or (colon and f":{modifier}" not in parameter.ways):
            lines.append(Criterion(name, "", value))
        elif not colon and value[:2] in parameter.ways:
            lines.append(Criterion(code, value[:2], value[2:]))
        else:
            lines.append(Criterion(code, f":{modifier}" if colon else "", value))
    return lines


def query_of(lines: Iterable[Criterion]) -> str:
    """The query of an address; lines without a name or a value say nothing.

    >>> query_of([Criterion("birthdate", "ge", "2000"), Criterion("name", ":exact", "A b")])
    'birthdate=ge2000&name:exact=A+b'
    """
    pairs = []
    for line in lines:
        if not line.name or not line.value:
            continue
        if line.way.startswith(":"):
            pairs.append((line.name + line.way, line.value))
        else:
            pairs.append((line.name, line.way + line.value))
    return urlencode(pairs, safe=":/|,$*")
