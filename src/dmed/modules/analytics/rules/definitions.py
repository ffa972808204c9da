"""The definition files of the indicators, read once, and whether a line fits a test."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import msgspec

from dmed.modules.analytics.model import Definition

_FOLDER = Path(__file__).resolve().parent.parent / "data"
COUNTING = 2
"""Raised when the way of counting changes: then everything is counted anew."""


@lru_cache(maxsize=1)
def definitions() -> dict[str, Definition]:
    """Indicator id > definition, in the order of the file names."""
    found = {}
    for path in sorted((_FOLDER / "indicators").glob("*.json")):
        made = msgspec.json.decode(path.read_bytes(), type=Definition)
        found[made.id] = made
    return found


@lru_cache(maxsize=1)
def lists() -> dict[str, tuple[str, ...]]:
    """Name > beginnings of ATC or ICD-10 codes, as data/lists.json has them."""
    raw = msgspec.json.decode((_FOLDER / "lists.json").read_bytes())
    return {name: tuple(entry["codes"]) for name, entry in raw.items()}


@lru_cache(maxsize=1)
def version() -> str:
    """A digest of all that decides how records are counted."""
    files = [*sorted((_FOLDER / "indicators").glob("*.json")), _FOLDER / "lists.json"]
    content = b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(content + str(COUNTING).encode()).hexdigest()[:16]


def whole_of(definition: Definition, part: str) -> str:
    """What a part is weighed within: the preparation of a product; "" for all that is one whole."""
    return part.partition("|")[0] if definition.part == "brand" else ""


@lru_cache(maxsize=256)
def codes(given: tuple[str, ...]) -> tuple[str, ...]:
    """Beginnings of codes with "@name" replaced by the list's own."""
    return tuple(code for one in given
                 for code in (lists()[one[1:]] if one.startswith("@") else (one,)))
