"""A slow reading of searches over a handful of records: what the store must find.

Values come from the search expressions run as FHIRPath, and are compared as the specification
says, without any of the index, plans or SQL. `expected` gives None for what it cannot judge.
https://hl7.org/fhir/R5/search.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from functools import cache
from math import asin, cos, radians, sin, sqrt
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from dmed.fhir import codec, params, path
from dmed.fhir.params_plan import branches
from dmed.fhir.path.parser import parse
from dmed.fhir.values import canonical_quantity, date_bounds, period_bounds, split_escaped
from dmed.kit.text import fold, name_key

Record = dict[str, Any]
Found = list[tuple[str, Any]]
Pairs = list[tuple[str, str]]
_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_SILENT = {"_count", "_summary", "_total", "_elements", "_sort", "_include", "_include:iterate",
           "_revinclude"}


class UnjudgedError(Exception):
    """A search that this reading does not understand."""


def pairs_of(query: str) -> Pairs:
    """The decoded pairs of a query string."""
    parts = (part.partition("=") for part in query.split("&") if part)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in parts]


@cache
def _expressions(type_name: str, code: str) -> tuple[Any, ...]:
    found = []
    for node in branches(parse(params.parameters(type_name)[code].expression)):
        with suppress(path.PathSemanticError):  # An alternative that belongs to another type.
            found.append(path.compile(node, type_name))
    return tuple(found)


class Reading:
    """The records, and which of them a search means."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = [codec.decode(json.dumps(each).encode()) for each in records]
        self._values: dict[tuple[str, str, str], Found] = {}

    def expected(self, type_name: str, pairs: Pairs) -> set[str] | None:
        """Ids of the records of a type that match; None where it is not judged."""
        try:
            tests = [self._test(type_name, name, value) for name, value in pairs
                     if name not in _SILENT]
        except UnjudgedError:
            return None
        return {each.id for each in self._of(type_name) if all(test(each) for test in tests)}

    def _of(self, type_name: str) -> list[Any]:
        return [each for each in self.records if each.fhir_type == type_name]

    def values(self, record: Any, code: str) -> Found:
        """What a parameter reads in a record: (FHIR type, value as plain data)."""
        key = (record.fhir_type, record.id, code)
        if key not in self._values:
            self._values[key] = [
                (kind, msgspec.to_builtins(value, builtin_types=(Decimal,)))
                for expression in _expressions(record.fhir_type, code)
                for kind, value in expression.typed(record) if value is not None]
        return self._values[key]

    # Names ---------------------------------------------------------------------------------

    def _test(self, type_name: str, name: str, text: str) -> Callable[[Any], bool]:
        if name.startswith("_has:"):
            return self._has(type_name, name, text)
        head, dot, rest = name.partition(".")
        code, _, modifier = (head if dot else name).partition(":")
        if code == "_id" and not modifier:
            wanted = set(text.split(","))
            return lambda record: record.id in wanted
        if code == "_lastUpdated" and text in {"gt2020", "lt2100-01-01"}:
            return lambda _record: True
        found = params.parameters(type_name).get(code)
        if found is None or not found.is_indexed or found.type == "composite":
            raise UnjudgedError
        if dot:
            return self._chain(found, modifier, rest, text)
        if modifier == "missing":
            return lambda record: (not self.values(record, code)) == (text == "true")
        test = _value_test(found, modifier, split_escaped(text, ","))
        if modifier == "not":
            return lambda record: not test(self.values(record, code))
        return lambda record: test(self.values(record, code))

    def _chain(
        self, found: params.SearchParameter, target: str, rest: str, text: str
    ) -> Callable[[Any], bool]:
        if not target:
            raise UnjudgedError
        test = self._test(target, rest, text)
        good = {f"{target}/{each.id}" for each in self._of(target) if test(each)}
        # A chain ends in a contained resource, too, where what is asked has rows of it.
        is_contained_asked = not rest.startswith(("_lastUpdated", "_has:")) and "." not in rest

        def leads(record: Any) -> bool:
            here = {f"#{each.id}" for each in record.contained or ()
                    if is_contained_asked and each.fhir_type == target and test(each)}
            return any(_address(value) in good | here
                       for value in self.values(record, found.code))

        return leads

    def _has(self, type_name: str, name: str, text: str) -> Callable[[Any], bool]:
        _, source, code, rest = name.split(":", 3)
        test = self._test(source, rest, text)
        good = {_address(value) for each in self._of(source) if test(each)
                for value in self.values(each, code)}
        return lambda record: f"{type_name}/{record.id}" in good


def _address(value: tuple[str, Any]) -> str:
    kind, content = value
    if kind == "CodeableReference":
        content = content.get("reference", {})
    return str(content.get("reference", "")) if isinstance(content, dict) else str(content)


# Values --------------------------------------------------------------------------------------


def _value_test(
    found: params.SearchParameter, modifier: str, pieces: list[str]
) -> Callable[[Found], bool]:
    read = _READERS.get(found.type)
    if read is None or any("\\" in piece for piece in pieces):
        raise UnjudgedError
    one = [read(found, modifier, piece) for piece in pieces if piece]
    if not one:
        raise UnjudgedError
    return lambda values: any(test(value) for test in one for value in values)


def _string(found: params.SearchParameter, modifier: str, piece: str) -> Callable[[Any], bool]:
    if found.code == "phonetic":
        if modifier:
            raise UnjudgedError
        key = name_key(piece)
        return lambda value: any(word.startswith(key) for text in _texts(value)
                                 for word in name_key(text).split())
    key = fold(piece)
    match modifier:
        case "":
            return lambda value: any(fold(text).startswith(key) for text in _texts(value))
        case "contains":
            return lambda value: any(key in fold(text) for text in _texts(value))
        case "exact":
            return lambda value: piece in _texts(value)
        case "text":
            return lambda value: any(_has_words(text, piece) for text in _texts(value))
    raise UnjudgedError


def _has_words(text: str, wanted: str) -> bool:
    def words(each: str) -> set[str]:
        return set("".join(sign if sign.isalnum() else " " for sign in fold(each)).split())

    return words(wanted) <= words(text)


def _texts(value: tuple[str, Any]) -> list[str]:
    kind, content = value
    if isinstance(content, str):
        return [content]
    names = {"HumanName": ("family", "given", "prefix", "suffix", "text"),
             "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
             "Identifier": ("value",), "CodeableConcept": ("text",), "Annotation": ("text",)}
    found: list[str] = []
    for name in names.get(kind, ()):
        part = content.get(name, [])
        found += [part] if isinstance(part, str) else part
    return found


def _token(_found: params.SearchParameter, modifier: str, piece: str) -> Callable[[Any], bool]:
    if modifier in {"text", "code-text", "text-advanced"}:
        key = fold(piece)
        if modifier == "text-advanced":
            return lambda value: any(_has_words(text, piece) for text in _displays(value))
        return lambda value: any(fold(text).startswith(key) for text in _displays(value)) or (
            modifier == "code-text"
            and any(code.lower().startswith(piece.lower()) for _, code in _codings(value)))
    if modifier not in {"", "not"}:
        raise UnjudgedError
    system, bar, code = piece.rpartition("|")
    return lambda value: any((not bar or system == own_system) and code in {"", own_code}
                             for own_system, own_code in _codings(value))


def _codings(value: tuple[str, Any]) -> list[tuple[str, str]]:
    kind, content = value
    if isinstance(content, bool):
        return [("", "true" if content else "false")]
    if isinstance(content, str):
        return [("", content)]
    if not isinstance(content, dict):
        return []
    if kind == "CodeableReference":
        kind, content = "CodeableConcept", content.get("concept", {})
    if kind == "CodeableConcept":
        return [(each.get("system", ""), each.get("code", "")) for each in
                content.get("coding", [])]
    name = "code" if kind == "Coding" else "value"
    if name not in content and "system" not in content:
        return []
    return [(content.get("system", ""), content.get(name, ""))]


def _displays(value: tuple[str, Any]) -> list[str]:
    kind, content = value
    if not isinstance(content, dict):
        return []
    if kind == "CodeableReference":
        content = content.get("concept", {})
    if kind == "Identifier":
        content = content.get("type", {})
        return [content["text"]] if "text" in content else []
    found = [each.get("display", "") for each in content.get("coding", [])]
    return [each for each in [*found, content.get("text", ""), content.get("display", "")] if each]


def _prefixed(piece: str) -> tuple[str, str]:
    return (piece[:2], piece[2:]) if piece[:2] in _PREFIXES else ("eq", piece)


def _date(_found: params.SearchParameter, modifier: str, piece: str) -> Callable[[Any], bool]:
    prefix, text = _prefixed(piece)
    if modifier or prefix == "ap":
        raise UnjudgedError
    start, end = date_bounds(text)

    def test(value: tuple[str, Any]) -> bool:
        bounds = _span(value)
        if bounds is None:
            return False
        low, high = bounds
        inside = low >= start and high <= end
        return {"eq": inside, "ne": not inside, "gt": high > end, "ge": high > end or
                low >= start, "lt": low < start, "le": low < start or high <= end,
                "sa": low > end, "eb": high < start}[prefix]

    return test


def _span(value: tuple[str, Any]) -> tuple[int, int] | None:
    kind, content = value
    if isinstance(content, str):
        return date_bounds(content)
    if kind == "Period" and ("start" in content or "end" in content):
        return period_bounds(content.get("start"), content.get("end"))
    if kind == "Timing":
        raise UnjudgedError
    return None


def _compared(prefix: str, text: str, value: Decimal, factor: Decimal) -> bool:
    wanted = Decimal(text)
    exponent = wanted.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5).scaleb(exponent - 1) * factor
    wanted *= factor
    inside = wanted - half <= value < wanted + half
    margin = max(abs(wanted) / 10, half)
    return {"eq": inside, "ne": not inside, "gt": value > wanted, "sa": value > wanted,
            "ge": value >= wanted, "lt": value < wanted, "eb": value < wanted,
            "le": value <= wanted, "ap": wanted - margin <= value <= wanted + margin}[prefix]


def _number(_found: params.SearchParameter, modifier: str, piece: str) -> Callable[[Any], bool]:
    prefix, text = _prefixed(piece)
    if modifier:
        raise UnjudgedError
    return lambda value: isinstance(value[1], int | Decimal) and _compared(
        prefix, text, Decimal(value[1]), Decimal(1))


def _quantity(_found: params.SearchParameter, modifier: str, piece: str) -> Callable[[Any], bool]:
    parts = piece.split("|")
    prefix, text = _prefixed(parts[0])
    if modifier:
        raise UnjudgedError

    def test(value: tuple[str, Any]) -> bool:
        kind, content = value
        if kind not in {"Quantity", "Age", "Duration"} or "value" not in content:
            if kind in {"Range", "Money"}:
                raise UnjudgedError
            return False
        own = (content.get("system", ""), content.get("code", content.get("unit", "")))
        if len(parts) == 1:
            return _compared(prefix, text, Decimal(content["value"]), Decimal(1))
        system, unit = parts[1], parts[2]
        if unit == own[1] and system in {"", own[0]}:
            return _compared(prefix, text, Decimal(content["value"]), Decimal(1))
        ours, theirs = (canonical_quantity(Decimal(1), Decimal(1), "http://unitsofmeasure.org", one)
                        for one in (own[1], unit))
        if own[0] and system and ours and theirs and ours.unit == theirs.unit:
            raise UnjudgedError  # Conversions have tests of their own.
        return False

    return test


def _reference(found: params.SearchParameter, modifier: str, piece: str) -> Callable[[Any], bool]:
    match modifier:
        case "":
            return lambda value: _address(value) == piece or (
                "/" not in piece and ":" not in piece
                and _address(value).rpartition("/")[2] == piece)
        case "text" | "code-text":
            key = fold(piece)
            return lambda value: any(fold(text).startswith(key) for text in _said(value))
        case "text-advanced":
            return lambda value: any(_has_words(text, piece) for text in _said(value))
        case "identifier":
            token = _token(found, "", piece)
            return lambda value: isinstance(value[1], dict) and "identifier" in value[1] and token(
                ("Identifier", value[1]["identifier"]))
    raise UnjudgedError


def _said(value: tuple[str, Any]) -> list[str]:
    kind, content = value
    if kind == "CodeableReference":
        content = content.get("reference", {})
    return [content["display"]] if isinstance(content, dict) and "display" in content else []


def _uri(_found: params.SearchParameter, modifier: str, piece: str) -> Callable[[Any], bool]:
    base = piece.rstrip("/")
    match modifier:
        case "":
            return lambda value: value[1] == piece
        case "contains":
            return lambda value: piece in value[1]
        case "below":
            return lambda value: value[1] in {piece, base} or value[1].startswith(f"{base}/")
        case "above":
            return lambda value: value[1] == piece or base.startswith(
                f"{value[1].rstrip('/')}/") or value[1].rstrip("/") == base
    raise UnjudgedError


def _near(found: params.SearchParameter, modifier: str, piece: str) -> Callable[[Any], bool]:
    if found.code != "near" or modifier:
        raise UnjudgedError
    parts = piece.split("|")
    scale = {"km": 1.0, "m": 0.001}[parts[3] if len(parts) > 3 else "km"]
    reach = float(parts[2]) * scale if len(parts) > 2 else 10.0
    here = (radians(float(parts[0])), radians(float(parts[1])))

    def test(value: tuple[str, Any]) -> bool:
        there = (radians(float(value[1]["latitude"])), radians(float(value[1]["longitude"])))
        half = sin((there[0] - here[0]) / 2) ** 2 + cos(here[0]) * cos(there[0]) * sin(
            (there[1] - here[1]) / 2) ** 2
        return 2 * 6371.0088 * asin(min(1.0, sqrt(half))) <= reach

    return test


_READERS: dict[str, Callable[[params.SearchParameter, str, str], Callable[[Any], bool]]] = {
    "string": _string, "token": _token, "date": _date, "number": _number, "quantity": _quantity,
    "reference": _reference, "uri": _uri, "special": _near,
}  # fmt: skip  # A table.


# The judgement ---------------------------------------------------------------------------------


def judged(reading: Reading, type_name: str, query: str, body: bytes) -> str:
    """"equal", "unjudged", or what is wrong with the answer (a searchset) to a search."""
    pairs = pairs_of(query)
    try:
        wanted = reading.expected(type_name, pairs)
    except (UnjudgedError, InvalidOperation):
        wanted = None
    if wanted is None:
        return "unjudged"
    answer = json.loads(body)
    asked = dict(pairs)
    count = int(asked.get("_count", "20"))
    found = [each["resource"]["id"] for each in answer.get("entry", ())
             if each["search"]["mode"] == "match"]
    total = answer.get("total")
    if total is not None and total != len(wanted):
        return f"total {total}, not {len(wanted)}"
    if asked.get("_summary") == "count":
        return "equal"
    if len(found) != min(count, len(wanted)) or not set(found) <= wanted:
        return f"found {sorted(found)[:9]}, not {sorted(wanted)[:9]}"
    return "equal"
