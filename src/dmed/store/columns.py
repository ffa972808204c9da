"""Columns of many rows as parameters of one statement.

A column travels as one text and the server takes it apart: to encode native arrays element by
element took half of a write's time in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_INTEGERS = {
    "vid": "bigint", "bucket": "smallint", "param": "int", "system": "bigint", "type": "smallint",
    "key": "bigint", "actor": "int", "outcome": "smallint", "expected": "bigint",
    "home": "smallint", "labels": "smallint", "family": "bigint", "given": "bigint",
    "patronymic": "bigint", "pinfl": "bigint", "phone": "bigint", "born": "int",
    "district": "int", "traits": "smallint",
}  # fmt: skip  # A small dictionary reads better in few lines.
_NULLABLE = {"exact", "version", "patient", "others", "query", "detail", "id", "grams"}
_BETWEEN, _NOTHING = "\x1f", "\x1e"
"""Between the texts of a column, and for NULL: control characters that no FHIR text may carry."""


class Parameters:
    """Hands out $1, $2... for columns in the order in which their values will be given.

    A column travels as one text ("{1,2}" or texts with a separator) and is taken apart by the
    server: encoding native arrays element by element took half of a write's time in Python.
    """

    def __init__(self) -> None:
        self.count = 0

    def rows(self, names: Sequence[str], bounds: str = "", *, numbered: bool = False) -> str:
        """An `unnest` of one array a name, as table `t` with columns of these names."""
        arrays = []
        for name in names:
            self.count += 1
            arrays.append(self._array(name, bounds))
        order = " WITH ORDINALITY" if numbered else ""
        columns = ", ".join([*names, "n"] if numbered else names)
        return f"unnest({', '.join(arrays)}){order} AS t({columns})"

    def _array(self, name: str, bounds: str) -> str:
        if name == "body":
            return f"${self.count}::bytea[]"
        if name == "wide":
            return f"${self.count}::text::boolean[]"
        kind = bounds if name in {"low", "high"} else _INTEGERS.get(name)
        if kind is not None:
            return f"${self.count}::text::{kind}[]"
        absent = f", '{_NOTHING}'" if name in _NULLABLE else ""
        return f"string_to_array(${self.count}::text, '{_BETWEEN}'{absent})"


def _integers(values: Sequence[Any]) -> str:
    return f"{{{','.join(map(str, values))}}}"


def _numbers(values: Sequence[Any]) -> str:
    return "{" + ",".join(["NULL" if one is None else str(one) for one in values]) + "}"


def _flags(values: Sequence[Any]) -> str:
    return "{" + ",".join(["t" if one else "f" for one in values]) + "}"


def _texts(values: Sequence[str]) -> str:
    joined = _BETWEEN.join(values)
    if joined.count(_BETWEEN) >= max(1, len(values)) or _NOTHING in joined:
        return _BETWEEN.join([_clean(one) for one in values])
    return joined


def _nullable(values: Sequence[str | None]) -> str:
    said = "".join([one for one in values if one is not None])
    if _BETWEEN in said or _NOTHING in said:
        values = [None if one is None else _clean(one) for one in values]
    return _BETWEEN.join([_NOTHING if one is None else one for one in values])


def _clean(text: str) -> str:
    """Without our own marks, which no FHIR text may hold: they would shift other rows' values."""
    return text.replace(_BETWEEN, " ").replace(_NOTHING, " ")


def _as_it_is(values: Sequence[Any]) -> Sequence[Any]:
    return values


_ENCODERS: dict[str, Callable[[Sequence[Any]], Any]] = {
    **dict.fromkeys(_INTEGERS, _integers),
    **dict.fromkeys(("vid", "expected", "low", "high"), _numbers),
    **dict.fromkeys(_NULLABLE, _nullable), "wide": _flags, "body": _as_it_is,
}


def one_column(name: str, values: Sequence[Any]) -> Any:
    """A column as `Parameters.rows` takes it apart."""
    encode = _ENCODERS.get(name)
    return _texts(values) if encode is None else encode(values)


def selected(names: Sequence[str]) -> str:
    """The columns as they are selected from `t`: one empty text alone comes apart as no text."""
    return ", ".join(
        "t.grams::int[]" if name == "grams"
        else f"t.{name}" if name in _INTEGERS or name in _NULLABLE | {"low", "high", "wide"}
        else f"coalesce(t.{name}, '')" for name in names)


def columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]], first: int = 0) -> list[Any]:
    """The columns of these rows, from the `first` on, each as `Parameters.rows` takes it."""
    parts = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return [one_column(names[at], parts[at]) for at in range(first, len(names))]
