"""CBOR (RFC 8949) of whole numbers, bytes, texts, lists and maps, in the deterministic form."""

from __future__ import annotations

from typing import Any

_DEPTH_MAX = 8


class CborError(ValueError):
    """The bytes are no CBOR of this kind."""


def encode(value: Any) -> bytes:
    """The one encoding of int, bytes, str, list, tuple and dict; TypeError for anything else."""
    if isinstance(value, bool):
        raise TypeError("no truth values")
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return _head(3, len(raw)) + raw
    if isinstance(value, list | tuple):
        return _head(4, len(value)) + b"".join(encode(one) for one in value)
    if isinstance(value, dict):
        rows = sorted((encode(key), encode(one)) for key, one in value.items())
        return _head(5, len(rows)) + b"".join(key + one for key, one in rows)
    raise TypeError(f"{type(value).__name__} is not written as CBOR here")


def tagged(tag: int, content: bytes) -> bytes:
    """An encoded value under a tag."""
    return _head(6, tag) + content


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes((major << 5 | value,))
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes((major << 5 | extra,)) + value.to_bytes(size, "big")
    raise TypeError("the number is too large")


def decode(data: bytes, tag: int | None = None) -> Any:
    """The value of these bytes, under `tag` if one is named; CborError for any other encoding."""
    at = 0
    if tag is not None:
        major, found, at = _read_head(data, 0)
        if (major, found) != (6, tag):
            raise CborError(f"the tag {tag} is missing")
    value, end = _decode(data, at, 0)
    if end != len(data):
        raise CborError("something follows the value")
    return value


def _read_head(data: bytes, at: int) -> tuple[int, int, int]:
    if at >= len(data):
        raise CborError("cut off")
    major, low = data[at] >> 5, data[at] & 31
    if low < 24:
        return major, low, at + 1
    if low > 27:
        raise CborError("a length is indefinite")
    size = 1 << (low - 24)
    raw = data[at + 1 : at + 1 + size]
    value = int.from_bytes(raw, "big")
    if len(raw) != size or value < (24 if size == 1 else 1 << 4 * size):
        raise CborError("a number is cut off or padded")
    return major, value, at + 1 + size


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > _DEPTH_MAX:
        raise CborError("nested too deep")
    major, value, at = _read_head(data, at)
    if major < 2:
        return (value if major == 0 else -1 - value), at
    if major < 4:
        raw = data[at : at + value]
        if len(raw) != value:
            raise CborError("cut off")
        return (raw if major == 2 else _text(raw)), at + value
    if major == 4:
        items = []
        for _ in range(value):
            item, at = _decode(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        return _map(data, at, value, depth)
    raise CborError("a kind of value that is not read here")


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[Any, Any], int]:
    found: dict[Any, Any] = {}
    for _ in range(count):
        key, at = _decode(data, at, depth + 1)
        if not isinstance(key, int | str | bytes) or key in found:
            raise CborError("a key stands twice or is no key")
        found[key], at = _decode(data, at, depth + 1)
    return found, at


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise CborError("a text is not UTF-8") from error
