"""What changed between two versions of a record, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_STAMPS = ("meta.versionId", "meta.lastUpdated")


class Change(msgspec.Struct, frozen=True):
    """One element: its path, what stood there and what stands there now ("" for nothing)."""

    path: str
    before: str
    after: str


def changes(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[Change]:
    """All differing elements in the order of their paths; the platform's own stamps left out."""
    old, new = dict(_flat(before or {}, "")), dict(_flat(after or {}, ""))
    return [Change(path, old.get(path, ""), new.get(path, ""))
            for path in sorted(old.keys() | new.keys())
            if old.get(path) != new.get(path) and not path.startswith(_STAMPS)]


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{number}]")
    else:
        yield path, str(value)
