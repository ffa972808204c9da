"""DER: one encoding of a value, everything else refused; CBOR likewise."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dmed.kit import cbor, der


@given(value=st.integers(-(2**130), 2**130))
@example(value=-128)
@example(value=-(2**63))
@settings(max_examples=60)
def test_numbers_come_back(value: int) -> None:
    """Any whole number is read as it was written."""
    assert der.read(der.number(value)).number() == value


@given(numbers=st.lists(st.integers(0, 2**40), min_size=1, max_size=8), top=st.integers(0, 2),
       second=st.integers(0, 39))  # fmt: skip  # One line of strategies.
@settings(max_examples=60)
def test_identifiers_come_back(numbers: list[int], top: int, second: int) -> None:
    """Any object identifier is read as it was written."""
    text = ".".join(map(str, [top, second, *numbers]))
    assert der.read(der.oid(text)).oid() == text


@given(data=st.binary(max_size=60))
@settings(max_examples=200)
def test_any_bytes_are_der_or_refused(data: bytes) -> None:
    """Whatever comes is read or refused by DerError, and what is read is written the same way."""
    for ask in (der.read, lambda raw: der.read(der.definite(raw))):
        try:
            node = ask(data)
            if node.tag & 0x20:
                assert b"".join(one.raw for one in node.parts()) == node.body
        except der.DerError:
            continue
        assert der.write(node.tag, node.body) == node.raw


@pytest.mark.parametrize("raw", [
    "", "30", "3080", "30800000", "308101 00", "30820001 00", "3003 0201", "0500 00", "1f8101 00",
    "30850000000000",
])  # fmt: skip  # A table.
def test_other_encodings_are_refused(raw: str) -> None:
    """Indefinite, padded and cut lengths, long tags and trailing bytes are no DER."""
    with pytest.raises(der.DerError):
        der.read(bytes.fromhex(raw))


@pytest.mark.parametrize(("raw", "ask"), [
    ("02020001", "number"), ("0202ff80", "number"), ("0200", "number"), ("010101", "boolean"),
    ("06028081", "oid"), ("060181", "oid"), ("03020101", "bits"),
    ("170b3230303130313030303030", "moment"), ("180e323032363133303130303030305a", "moment"),
    ("0c01ff", "text"), ("0401ff", "text"),
])  # fmt: skip  # A table.
def test_wrong_values_are_refused(raw: str, ask: str) -> None:
    """Padded numbers, odd truth values, cut identifiers, spare bits, impossible moments."""
    node = der.read(bytes.fromhex(raw))
    with pytest.raises(der.DerError):
        getattr(node, ask)()


def test_ber_becomes_der() -> None:
    """Indefinite lengths and strings in pieces become the one encoding of the same value."""
    loose = bytes.fromhex("3080 2480 0401aa 0402bbcc 0000 020105 0000".replace(" ", ""))
    assert der.definite(loose) == der.sequence(der.octets(b"\xaa\xbb\xcc"), der.number(5))
    with pytest.raises(der.DerError):
        der.definite(loose[:-2])
    with pytest.raises(der.DerError):
        der.definite(b"\x30\x80" * 40)


def test_moments_come_back() -> None:
    """Both forms of a moment, on either side of 2050."""
    for year in (1999, 2026, 2049, 2050, 2120):
        at = datetime(year, 2, 28, 23, 59, 58, tzinfo=UTC)
        assert der.read(der.moment(at)).moment() == at


VALUES = st.recursive(
    st.integers(-(2**63), 2**63) | st.binary(max_size=30) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.integers(-9, 99) | st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(value=VALUES)
@settings(max_examples=100)
def test_cbor_comes_back(value: object) -> None:
    """Any value of these kinds is read as it was written."""
    assert cbor.decode(cbor.encode(value)) == value


@given(data=st.binary(max_size=40))
@settings(max_examples=200)
def test_any_bytes_are_cbor_or_refused(data: bytes) -> None:
    """Whatever comes is read or refused by CborError."""
    try:
        value = cbor.decode(data)
    except cbor.CborError:
        return
    assert len(cbor.encode(value)) == len(data)
