"""Reads one search value of each parameter type, and writes it back in canonical form.

Specification: https://hl7.org/fhir/R5/search.html#ptypes
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from dmed.fhir import values
from dmed.fhir.query_model import (
    Address,
    CodeSet,
    Composite,
    Link,
    Moment,
    Near,
    Number,
    Quantity,
    Simple,
    Text,
    Token,
    Value,
    Words,
)
from dmed.fhir.values import split_escaped, unescape
from dmed.kit.errors import InvalidError
from dmed.kit.text import fold, name_key

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
DIGITS_MAX = 60
"""Longest number, in characters: nothing in medicine needs more."""
EXPONENT_MAX = 30
"""Numbers from 1e30 stand for open ends in the index."""
NEAR_KM = Decimal(10)
"""How far `near` reaches where the search names no distance."""
_KILOMETRES = {
    "km": 1.0, "m": 0.001, "cm": 0.00001, "[mi_us]": 1.609347, "[mi_i]": 1.609344, "mi": 1.609344,
    "[ft_i]": 0.0003048, "[nmi_i]": 1.852,
}  # fmt: skip  # A small table.
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


class Field(msgspec.Struct, frozen=True):
    """What reading a value needs to know of its parameter."""

    label: str
    """The parameter as the caller wrote it, for messages."""
    kind: str
    code: str = ""
    targets: tuple[str, ...] = ()
    only: str = ""
    """Type modifier of a reference parameter."""
    components: tuple[str, ...] = ()
    """Kinds of the components of a composite."""
    base: str = ""
    """Own FHIR base address without a slash at the end."""

    def wrong(self, text: str, why: str) -> InvalidError:
        """The 400 that names the parameter."""
        return InvalidError(f"Search parameter {self.label}: {text[:100]!r} {why}", self.label)


def read(field: Field, text: str) -> Value:
    """The value that one escaped piece stands for, or InvalidError naming the parameter."""
    if field.kind != "composite":
        return _READERS[field.kind](field, text)
    pieces = split_escaped(text, "$")
    if len(pieces) != len(field.components):
        raise field.wrong(text, f"needs {len(field.components)} parts joined by '$'")
    parts = []
    for kind, piece in zip(field.components, pieces, strict=True):
        if not piece:
            raise field.wrong(text, "has an empty part")
        part = Field(field.label, kind, base=field.base)
        read_part = _SIMPLE[kind](part, piece)
        if isinstance(read_part, Token) and read_part.code is None:
            raise field.wrong(text, "needs a code in each part")
        parts.append(read_part)
    return Composite(tuple(parts))


def write(value: Value, modifier: str = "") -> str:
    """The canonical escaped piece of a value: reading it again gives an equal value."""
    if modifier == "of-type" and isinstance(value, Token):
        # Type and value of an identifier are one key, joined by a plain bar.
        type_, _, held = (value.code or "").partition("|")
        return f"{escape(value.system or '')}|{escape(type_)}|{escape(held)}"
    match value:
        case Token(system, code):
            head = "" if system is None else f"{escape(system)}|"
            return head + ("" if code is None else escape(code))
        case Text(text=text) | Address(text=text):
            return escape(text)
        case Moment(prefix=prefix, text=text) | Number(prefix=prefix, text=text):
            return _written(prefix) + text
        case Quantity(number, system, code):
            head = _written(number.prefix) + number.text
            if system is None and code is None:
                return head
            return f"{head}|{escape(system or '')}|{escape(code or '')}"
        case Link():
            return _write_link(value)
        case Near(text=text) | CodeSet(text=text):
            return text
        case Words(text=text):
            return escape(text)
        case Composite(parts):
            return "$".join(write(part) for part in parts)
    raise AssertionError(value)


def _written(prefix: str) -> str:
    return "" if prefix == "eq" else prefix


def _write_link(link: Link) -> str:
    if link.type is None:
        return link.id
    if not link.type:
        return escape(f"{link.id}|{link.version}" if link.version else link.id)
    return f"{link.type}/{link.id}" + (f"/_history/{link.version}" if link.version else "")


def escape(text: str) -> str:
    """The piece that stands for a text, so that `unescape(escape(text)) == text`."""
    return "".join(f"\\{sign}" if sign in ",|$\\" else sign for sign in text)


def _prefixed(text: str) -> tuple[str, str]:
    head = text[:2]
    return (head, text[2:]) if head in PREFIXES else ("eq", text)


def _string(field: Field, text: str) -> Simple:
    plain = unescape(text)
    # A name that is listened for, not read, is compared by its skeleton (params_rows.PHONETIC).
    return Text(plain, name_key(plain) if field.code == "phonetic" else fold(plain))


def _token(field: Field, text: str) -> Simple:
    pieces = [unescape(piece) for piece in split_escaped(text, "|")]
    if len(pieces) == 1:
        return Token(None, pieces[0])
    if len(pieces) > 2 or not any(pieces):
        raise field.wrong(text, r"is no code, system|code, system| or |code (write \| inside one)")
    return Token(pieces[0], pieces[1] or None)


def _date(field: Field, text: str) -> Simple:
    prefix, rest = _prefixed(text)
    # A '+' that nobody escaped in the address arrives as a blank before the zone.
    rest = re.sub(r"(?<=[0-9]) (?=[0-9]{2}:[0-9]{2}$)", "+", rest)
    try:
        low, high = values.date_bounds(rest)
    except InvalidError:
        raise field.wrong(
            text, "is no date, such as 2024, 2024-05, ge2024-05-31 or lt2024-05-31T10:00:00Z"
        ) from None
    return Moment(prefix, rest, low, high)


def _read_number(field: Field, text: str) -> Number:
    prefix, rest = _prefixed(text)
    try:
        value = values.number(rest)
    except InvalidError:
        raise field.wrong(text, "is no number, such as 5.4, gt100 or 1e-3") from None
    if len(rest) > DIGITS_MAX or abs(value.adjusted()) >= EXPONENT_MAX:
        raise field.wrong(text, f"has over {DIGITS_MAX} digits or reaches 1e{EXPONENT_MAX}")
    low, high = values.number_bounds(value)
    return Number(prefix, rest, value, low, high)


def _number(field: Field, text: str) -> Simple:
    return _read_number(field, text)


def _quantity(field: Field, text: str) -> Simple:
    pieces = split_escaped(text, "|")
    if len(pieces) not in {1, 3}:
        raise field.wrong(text, "is no number, number|system|code or number||unit")
    number = _read_number(field, pieces[0])
    if len(pieces) == 1:
        return Quantity(number, None, None)
    return Quantity(number, unescape(pieces[1]) or None, unescape(pieces[2]) or None)


def _reference(field: Field, text: str) -> Simple:
    plain = values.relative(unescape(text), field.base) if field.base else unescape(text)
    found = values.reference(plain)
    if found.type:
        if field.only and found.type != field.only:
            raise field.wrong(text, f"is no reference to {field.only}")
        return Link(found.type, found.id, found.version)
    if _ID.fullmatch(plain):
        single = field.targets[0] if len(field.targets) == 1 else None
        return Link(field.only or single, plain)
    if _SCHEME.fullmatch(plain) and found.id:
        return Link("", found.id, found.version)
    raise field.wrong(text, "is no id, Type/id or absolute address")


def _uri(field: Field, text: str) -> Simple:
    plain = unescape(text)
    if any(sign.isspace() for sign in plain):
        raise field.wrong(text, "is no uri: it holds a blank")
    return Address(plain)


def _near(field: Field, text: str) -> Near:
    """`latitude|longitude|distance|unit`: the last two may be left out."""
    parts = [unescape(part) for part in split_escaped(text, "|")]
    if field.code == "contains" and len(parts) != 2:
        raise field.wrong(text, "is no latitude|longitude")
    if not 2 <= len(parts) <= 4:
        raise field.wrong(text, "is no latitude|longitude|distance|unit")
    try:
        latitude, longitude = values.number(parts[0]), values.number(parts[1])
        given = parts[2] if len(parts) > 2 else ""
        distance = values.number(given) if given else NEAR_KM
    except InvalidError:
        raise field.wrong(text, "is no latitude|longitude|distance|unit") from None
    unit = parts[3] if len(parts) > 3 and given else "km"
    if unit not in _KILOMETRES:
        raise field.wrong(text, f"has a unit that is none of {', '.join(_KILOMETRES)}")
    if abs(latitude) > 90 or abs(longitude) > 180 or not 0 <= distance < 10**9:
        raise field.wrong(text, "lies outside the earth")
    return Near(text, float(latitude), float(longitude), float(distance) * _KILOMETRES[unit])


_SIMPLE: Mapping[str, Callable[[Field, str], Simple]] = {
    "string": _string,
    "token": _token,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
    "reference": _reference,
    "uri": _uri,
}
_READERS: Mapping[str, Callable[[Field, str], Value]] = {**_SIMPLE, "special": _near}
SIMPLE_KINDS = frozenset(_SIMPLE)
"""The parameter types whose values may be parts of a composite."""
KINDS = frozenset(_READERS) | {"composite"}
"""The parameter types that are served; `special` is a place on the earth, or a point in an area."""
