"""What the operations of `_filter` ask of an index row, where no search modifier asks the same.

Pure. https://hl7.org/fhir/R5/search_filter.html: each holds when one value of the set does, `ne`
too. Texts compare folded, codes and addresses as they stand; both to the length that an index
keeps (keys.TEXT_BYTES_MAX).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dmed.fhir.query_model import Address, Match, Text, Token, Value
from dmed.store.keys import system_number, text_key

Bind = Callable[[object, str], str]
_COLUMNS = {"string": "folded", "token": "code", "uri": "value"}
_ORDERED = {"gt": ">", "lt": "<", "ge": ">=", "le": "<="}


def condition(
    match: Match, alias: str, bind: Bind, equal: Callable[[Match], str],
    starting: Callable[[str, str], str],
) -> str:
    """The condition of a Match whose modifier is `~` and an operation.

    `equal` gives the plain condition of a Match, `starting` that of a column and a prefix.
    """
    operation = match.modifier[1:]
    if operation == "ne" and match.kind != "string":
        return f"({equal(msgspec.structs.replace(match, modifier=''))}) IS NOT TRUE"
    return " OR ".join(_one(operation, match.kind, value, alias, bind, starting)
                       for value in match.values)


def _one(
    operation: str, kind: str, value: Value, alias: str, bind: Bind,
    starting: Callable[[str, str], str],
) -> str:
    column, text = f"{alias}.{_COLUMNS[kind]}", _text(value)
    match operation:
        case "eq":
            found = f"{column} = {bind(text_key(text), 'text')}"
        case "ne":
            found = f"{column} <> {bind(text_key(text), 'text')}"
        case "sw":
            found = starting(column, text)
        case "ew":
            found = f"right({column}, {bind(len(text), 'int')}) = {bind(text, 'text')}"
        case "co":
            found = f"strpos({column}, {bind(text, 'text')}) > 0"
        case _:
            found = f"{column} {_ORDERED[operation]} {bind(text_key(text), 'text')}"
    if isinstance(value, Token) and value.system is not None:
        found += f" AND {alias}.system = {bind(system_number(value.system), 'bigint')}"
    return f"({found})"


def _text(value: Value) -> str:
    match value:
        case Text(key=key):
            return key
        case Token(code=code):
            return code or ""
        case Address(text=text):
            return text
    raise AssertionError(value)
