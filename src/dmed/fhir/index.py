"""What search needs to know of one record: the rows of the typed index tables.

Made by `fhir.params.extract`, stored by `store`. A parameter is named by a stable 32-bit
number, `parameter_number("Patient", "family")`. Specification: https://hl7.org/fhir/R5/search.html
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from decimal import Decimal

import msgspec


def parameter_number(resource_type: str, code: str) -> int:
    """The signed 32-bit number of a search parameter; a test proves that R5 has no collision."""
    return zlib.crc32(f"{resource_type}.{code}".encode()) - 2**31


def modified_number(number: int, modifier: str) -> int:
    """The number of the rows that only a modifier asks for, from its parameter's number.

    It is that of `parameter_number(type, "code:modifier")`: a checksum can be carried on.
    """
    return zlib.crc32(f":{modifier}".encode(), number + 2**31) - 2**31


def shared_number(numbers: Iterable[int]) -> int:
    """The number that stands for several parameters which index the same place of a record.

    It depends on the set alone; of one parameter it is its own, and 0 for 0: nothing is wanted.
    """
    distinct = sorted(set(numbers))
    if len(distinct) == 1:
        return distinct[0]
    return zlib.crc32(",".join(map(str, distinct)).encode()) - 2**31


class Index(msgspec.Struct):
    """Index rows of one record, a list a kind, without duplicates.

    strings     (parameter, folded text, text as it stands)
    tokens      (parameter, system or "", code or ""): Coding, Identifier, code, boolean, contact
    dates       (parameter, low, high): microseconds since 1970 UTC, both inclusive;
                an open end is MIN_INSTANT or MAX_INSTANT
    numbers     (parameter, low, high): the value with its implicit precision
    quantities  (parameter, low, high, system or "", code or unit or ""): as given, and once more
                in UCUM-canonical units where that differs, under `modified_number(n, "ucum")`
    references  (parameter, target type or "", target id, version or ""); an absolute address that
                is not ours has type "" and the whole address as id
    uris        (parameter, address)
    composites  (parameter, key, low, high): key joins the components' token, string or reference
                keys with "$"; low and high hold the one ordered component (number, quantity,
                date), if any; a Location's position is one with key "", latitude and longitude
    persons     of a Patient alone, one a name: `fhir.persons.PersonRow`

    What modifiers ask for stands under numbers of its own (`modified_number`): displays and texts
    of tokens and references ("text") as strings, `type|value` of identifiers ("of-type") and
    identifiers of references ("identifier") as tokens.
    """

    strings: list[tuple[int, str, str]] = msgspec.field(default_factory=list)
    tokens: list[tuple[int, str, str]] = msgspec.field(default_factory=list)
    dates: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    numbers: list[tuple[int, Decimal, Decimal]] = msgspec.field(default_factory=list)
    quantities: list[tuple[int, Decimal, Decimal, str, str]] = msgspec.field(default_factory=list)
    references: list[tuple[int, str, str, str]] = msgspec.field(default_factory=list)
    uris: list[tuple[int, str]] = msgspec.field(default_factory=list)
    composites: list[tuple[int, str, Decimal | None, Decimal | None]] = msgspec.field(
        default_factory=list)
    persons: list[tuple[int, int, int, int, int, int, int, int, int]] = msgspec.field(
        default_factory=list)


MIN_INSTANT = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z
MAX_INSTANT = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z
