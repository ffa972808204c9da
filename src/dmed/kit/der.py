"""ASN.1 in its distinguished encoding (DER), read strictly and written: as much as certificates and
signed messages need. https://www.itu.int/rec/T-REC-X.690

What is not the one encoding of its value is refused: indefinite or padded lengths, several bytes
of tag, anything left over. `definite` turns the looser BER of some signing programs into DER.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec

DEPTH_MAX = 32
SIZE_MAX_BYTES = 1 << 20
BOOLEAN, INTEGER, BITS, OCTETS, NULL, OID, ENUM = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A
UTF8, PRINTABLE, IA5, UTC_TIME, GENERAL_TIME = 0x0C, 0x13, 0x16, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
_TEXTS = {0x0C: "utf-8", 0x12: "ascii", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii",
          0x1A: "ascii", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}  # fmt: skip  # Tag to characters.


class DerError(ValueError):
    """The bytes are no DER; the text says what is wrong."""


class Node(msgspec.Struct, frozen=True):
    """One element: its tag byte, its content, and both with the length as they lay there."""

    tag: int
    body: bytes
    raw: bytes

    def parts(self) -> Parts:
        """Its elements, if it is constructed."""
        if not self.tag & 0x20:
            raise DerError(f"the element {self.tag:#04x} has no parts")
        return Parts(self.body)

    def number(self) -> int:
        """The value of an INTEGER or ENUMERATED; DerError where it is padded or empty."""
        self.expect(INTEGER, ENUM)
        body = self.body
        if not body or (len(body) > 1 and body[0] in {0, 255} and (body[0] ^ body[1]) < 0x80):
            raise DerError("a number is empty or padded")
        return int.from_bytes(body, "big", signed=True)

    def boolean(self) -> bool:
        """The value of a BOOLEAN."""
        self.expect(BOOLEAN)
        if self.body not in {b"\x00", b"\xff"}:
            raise DerError("a truth value is neither 00 nor FF")
        return self.body == b"\xff"

    def oid(self) -> str:
        """The numbers of an OBJECT IDENTIFIER with dots."""
        self.expect(OID)
        if not self.body or self.body[-1] & 0x80 or len(self.body) > 64:
            raise DerError("an object identifier is empty or cut off")
        numbers, value, is_first = [], 0, True
        for byte in self.body:
            if is_first and byte == 0x80:
                raise DerError("an object identifier is padded")
            value, is_first = value << 7 | byte & 0x7F, not byte & 0x80
            if is_first:
                numbers.append(value)
                value = 0
        top = min(numbers[0] // 40, 2)
        return ".".join(map(str, [top, numbers[0] - 40 * top, *numbers[1:]]))

    def bits(self) -> bytes:
        """The bytes of a BIT STRING whose bits fill them: keys and signatures."""
        self.expect(BITS)
        if not self.body or self.body[0]:
            raise DerError("a string of bits does not fill its bytes")
        return self.body[1:]

    def flags(self) -> frozenset[int]:
        """The numbers of the bits that are set in a BIT STRING."""
        self.expect(BITS)
        if not self.body or self.body[0] > 7:
            raise DerError("a string of bits is cut off")
        return frozenset(8 * place + bit for place, byte in enumerate(self.body[1:])
                         for bit in range(8) if byte << bit & 0x80)  # fmt: skip  # One walk.

    def octets(self) -> bytes:
        """The content of an OCTET STRING."""
        return self.expect(OCTETS).body

    def text(self) -> str:
        """The value of any kind of text."""
        code = _TEXTS.get(self.tag)
        if code is None:
            raise DerError(f"the element {self.tag:#04x} is no text")
        try:
            return self.body.decode(code)
        except UnicodeDecodeError as error:
            raise DerError("a text is not of its alphabet") from error

    def moment(self) -> datetime:
        """The moment of a UTCTime or GeneralizedTime, which must end in Z."""
        self.expect(UTC_TIME, GENERAL_TIME)
        text = self.body.decode("ascii", "replace")
        if self.tag == UTC_TIME:
            text = ("19" if text[:2] >= "50" else "20") + text
        whole, _, part = text.removesuffix("Z").partition(".")
        if not text.endswith("Z") or not (whole + part).isdecimal() or len(whole) != 14:
            raise DerError("a moment is not written as YYYYMMDDHHMMSSZ")
        try:
            return datetime.strptime(whole + "+0000", "%Y%m%d%H%M%S%z").astimezone(UTC)
        except ValueError as error:
            raise DerError("a moment is no day or hour") from error

    def expect(self, *tags: int) -> Node:
        """Itself, if it is one of these kinds."""
        if self.tag not in tags:
            raise DerError(f"{self.tag:#04x} stands where {tags[0]:#04x} is expected")
        return self


class Parts:
    """Elements one after another; `end` says that there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __iter__(self) -> Iterator[Node]:
        while self._at < len(self._data):
            yield self.next()

    def peek(self) -> int:
        """The tag of the next element, 0 at the end."""
        return self._data[self._at] if self._at < len(self._data) else 0

    def next(self, *tags: int) -> Node:
        """The next element, of one of these kinds if any are named."""
        node, self._at = _element(self._data, self._at)
        return node.expect(*tags) if tags else node

    def maybe(self, tag: int) -> Node | None:
        """The next element if it is of this kind."""
        return self.next() if self.peek() == tag else None

    def end(self) -> None:
        """DerError where something is left over."""
        if self._at != len(self._data):
            raise DerError("something is left over")


def _length(data: bytes, at: int) -> tuple[int, int]:
    """The length that stands at a place, -1 for indefinite, and where the content begins."""
    if at >= len(data):
        raise DerError("the length is cut off")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    if first == 0x80:
        return -1, at + 1
    count = first & 0x7F
    raw = data[at + 1 : at + 1 + count]
    if count > 4 or len(raw) != count:
        raise DerError("a length is too long or cut off")
    return int.from_bytes(raw, "big"), at + 1 + count


def _element(data: bytes, at: int) -> tuple[Node, int]:
    if at >= len(data):
        raise DerError("an element is missing")
    tag = data[at]
    if tag & 0x1F == 0x1F or not tag:
        raise DerError("a tag of several bytes, or none")
    length, begin = _length(data, at + 1)
    if length < 0:
        raise DerError("a length is indefinite")
    if begin - at > 2 and length < (0x80 if begin - at == 3 else 1 << 8 * (begin - at - 3)):
        raise DerError("a length is padded")
    end = begin + length
    if end > len(data):
        raise DerError("an element is cut off")
    return Node(tag, data[begin:end], data[at:end]), end


def read(data: bytes) -> Node:
    """The one element that these bytes are; DerError otherwise, also for what follows it."""
    if len(data) > SIZE_MAX_BYTES:
        raise DerError("too long")
    node, end = _element(data, 0)
    if end != len(data):
        raise DerError("something follows the element")
    return node


def definite(data: bytes) -> bytes:
    """The same value with definite lengths and whole strings, where it begins as BER."""
    if len(data) > SIZE_MAX_BYTES:
        raise DerError("too long")
    if data[1:2] != b"\x80":
        return data
    made, end = _definite(data, 0, 0)
    if end != len(data):
        raise DerError("something follows the element")
    return made


def _definite(data: bytes, at: int, depth: int) -> tuple[bytes, int]:
    if depth > DEPTH_MAX:
        raise DerError("nested too deep")
    if at >= len(data) or data[at] & 0x1F == 0x1F or not data[at]:
        raise DerError("an element is missing or has a tag of several bytes")
    tag = data[at]
    length, begin = _length(data, at + 1)
    if not tag & 0x20:
        if length < 0 or begin + length > len(data):
            raise DerError("an element is cut off")
        return write(tag, data[begin : begin + length]), begin + length
    parts, end = [], begin
    stop = len(data) if length < 0 else begin + length
    while end < stop and not (length < 0 and data[end : end + 2] == b"\x00\x00"):
        part, end = _definite(data, end, depth + 1)
        parts.append(part)
    if stop > len(data) or (end >= stop if length < 0 else end != stop):
        raise DerError("an element is cut off")
    if tag == OCTETS | 0x20:
        return write(OCTETS, b"".join(read(part).octets() for part in parts)), end + (
            2 if length < 0 else 0
        )
    return write(tag, *parts), end + (2 if length < 0 else 0)


# Writing


def write(tag: int, *parts: bytes) -> bytes:
    """An element of these parts."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE."""
    return write(SEQUENCE, *parts)


def set_of(parts: Iterable[bytes]) -> bytes:
    """A SET OF, in the order that DER demands."""
    return write(SET, *sorted(parts))


def number(value: int) -> bytes:
    """An INTEGER in the fewest bytes: of -128 that is one, as of 127."""
    size_bytes = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return write(INTEGER, value.to_bytes(size_bytes, "big", signed=True))


def oid(text: str) -> bytes:
    """An OBJECT IDENTIFIER."""
    first, second, *rest = map(int, text.split("."))
    body = b""
    for value in [40 * first + second, *rest]:
        digits = [value & 0x7F]
        while value := value >> 7:
            digits.append(value & 0x7F | 0x80)
        body += bytes(reversed(digits))
    return write(OID, body)


def octets(value: bytes) -> bytes:
    """An OCTET STRING."""
    return write(OCTETS, value)


def bits(value: bytes) -> bytes:
    """A BIT STRING that fills its bytes."""
    return write(BITS, b"\x00", value)


def flags(*numbers: int) -> bytes:
    """A BIT STRING of named bits without zeros at its end."""
    size = max(numbers) // 8 + 1
    value = sum(1 << (8 * size - 1 - each) for each in numbers)
    spare = 8 * size - 1 - max(numbers)
    return write(BITS, bytes((spare,)), value.to_bytes(size, "big"))


def text(value: str) -> bytes:
    """A UTF8String."""
    return write(UTF8, value.encode())


def moment(at: datetime) -> bytes:
    """A moment of whole seconds: UTCTime until 2049 as X.509 wants it, then GeneralizedTime."""
    at = at.astimezone(UTC)
    if 1950 <= at.year < 2050:
        return write(UTC_TIME, at.strftime("%y%m%d%H%M%SZ").encode())
    return general_moment(at)


def general_moment(at: datetime) -> bytes:
    """A GeneralizedTime of whole seconds."""
    return write(GENERAL_TIME, at.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode())


NOTHING = bytes((NULL, 0))
