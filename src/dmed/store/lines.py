"""Index rows as lines of COPY's text format, for makers that write many records of one pattern.

A load of millions of like records need not make and encode a tuple for each index row: whoever
knows the pattern of his records may give a Write with `lines` instead of an index. They must be
the very lines that `lines_of(index_rows([write]))` would give; its maker's tests hold him to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NULL = "\\N"
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def lines_of(rows: Mapping[str, Sequence[tuple[Any, ...]]]) -> dict[str, str]:
    """The lines of `rows.index_rows` by table; tables without rows are left out."""
    return {table: "".join(map(_line, some)) for table, some in rows.items() if some}


def together(written: Iterable[Mapping[str, str]], table: str) -> bytes:
    """The lines of many records for one table, as they are sent."""
    return "".join([one.get(table, "") for one in written]).encode()


def field(text: str) -> str:
    """A text as it stands in a line."""
    return text.translate(_ESCAPED)


def array(numbers: Iterable[int]) -> str:
    """Distinct numbers in rising order as they stand in a line, NULL for none."""
    return f"{{{','.join(map(str, sorted(numbers)))}}}" if numbers else NULL


def _line(row: tuple[Any, ...]) -> str:
    return "\t".join(map(_value, row)) + "\n"


def _value(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, str):
        return field(value)
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, list):
        return f"{{{','.join(map(str, value))}}}"
    return str(value)
