"""Index rows of contained resources, and how they are asked for. Pure.

A contained resource is a part of its record, so its rows stand with those of the record, under
numbers of their own: one for each parameter and place among the contained resources of its type.
All that one of them says is thus found together, and a plain search never meets it. A record
that contains nothing has no such row. https://hl7.org/fhir/R5/search.html#contained
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from msgspec import UNSET

from dmed.fhir.index import Index, modified_number, parameter_number

PARTS_MAX = 16
"""So many contained resources of one type are indexed in a record, the first ones."""
POINTS = "contained"
"""The modifier under whose number the references of a record into itself stand, as tokens."""
_TABLES = ("strings", "tokens", "dates", "numbers", "quantities", "references", "uris")
_FHIR = "http://hl7.org/fhir"


@lru_cache(maxsize=65_536)
def part_number(number: int, part: int) -> int:
    """The number of a parameter's rows for the contained resource at a place of its type."""
    return modified_number(number, f"contained.{part}")


def part_numbers(number: int) -> list[int]:
    """The numbers of a parameter's rows at all places, in order."""
    return [part_number(number, part) for part in range(PARTS_MAX)]


def presence(type_name: str) -> list[int]:
    """The numbers of the token rows that each contained resource of a type has, by place.

    Their code is its id, their system the type of the record that contains it.
    """
    return part_numbers(parameter_number(type_name, "_id"))


def add(resource: Any, rows: Index, extract: Callable[[Any], Index]) -> None:
    """Add the rows of all that a record contains; `extract` makes those of one resource."""
    for part, contained in _parts(resource.contained):
        type_name = contained.fhir_type
        if part >= PARTS_MAX:
            continue
        id_ = "" if contained.id is UNSET else contained.id
        number = part_number(parameter_number(type_name, "_id"), part)
        rows.tokens.append((number, resource.fhir_type, id_))
        made = extract(contained)
        for name in _TABLES:
            into = getattr(rows, name)
            into.extend((part_number(row[0], part), *row[1:]) for row in getattr(made, name))


POINTING = frozenset({"Reference", "CodeableReference"})
"""Types of values by which a record can refer to what it contains."""


def inward(type_name: str, number: int) -> Callable[[Any, Index], None]:
    """What writes the token row of a reference into the record itself: the id it names."""
    inwards = modified_number(number, POINTS)

    def write(value: Any, rows: Index) -> None:
        reference = value.reference if type_name == "CodeableReference" else value
        address = UNSET if reference is UNSET else reference.reference
        if address is not UNSET and address.startswith("#"):
            rows.tokens.append((inwards, "", address[1:]))

    return write


def _parts(contained: list[Any]) -> Iterator[tuple[int, Any]]:
    counts: dict[str, int] = {}
    for each in contained:
        if each is None:
            continue
        part = counts.get(each.fhir_type, 0)
        counts[each.fhir_type] = part + 1
        yield part, each
