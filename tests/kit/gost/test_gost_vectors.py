"""The national algorithms against published examples: RFC 5831, RFC 5832, RFC 4357."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit.gost import curve, digest

HASHES = [
    # RFC 5831, 7.3, with its own boxes; the second column is the widely published result of the
    # same messages with the boxes of RFC 4357, 11.2.
    (b"", "ce85b99cc46752fffee35cab9a7b0278abb4c2d2055cff685af4912c49490f8d",
     "981e5f3ca30c841487830f84fb433e13ac1101569b9c13584ac483234cd656c0"),
    (b"This is message, length=32 bytes",
     "b1c466d37519b82e8319819ff32595e047a28cb6f83eff1c6916a815a637fffa",
     "2cefc2f7b7bdc514e18ea57fa74ff357e7fa17d652c75f69cb1be7893ede48eb"),
    (b"Suppose the original message has length = 50 bytes",
     "471aba57a60a770d3a76130635c1fbea4ef14de51f78b4ae57dd893b62f55208",
     "c3730c5cbccacf915ac292676f21e8bd4ef75331d9405e5f1a61dc3130a65011"),
]  # fmt: skip  # A table.
D = 0x7A929ADE789BB9BE10ED359DD39A72C11B60961F49397EEE1D19CE9891EC3B28
E = 0x2DFBC1B372D89A1188C09C52E0EEC61FCE52032AB1022E8E67ECE6672B043EE5
K = 0x77105C9B20BCD3122823C8CF6FCC7B956DE33814E95B7FE64FED924594DCEAB3
X = 0x7F2B49E270DB6D90D8595BEC458B50C58585BA1D4E9B788F6689DBD8E56FD80B
Y = 0x26F1B489D6701DD185C8413A977B3CBBAF64D1C593D26627DFFB101A87FF77DA
R = 0x41AA28D2F1AB148280CD9ED56FEDA41974053554A42767B83AD043FD39DC0493
S = 0x1456C64BA4642A1653C235A98A60249BCD6D3F746B631DF928014F6C5BF9C40
SIGNATURE = S.to_bytes(32, "big") + R.to_bytes(32, "big")
HASH = E.to_bytes(32, "little")


@pytest.mark.parametrize(("message", "test", "cryptopro"), HASHES)
def test_the_published_hashes(message: bytes, test: str, cryptopro: str) -> None:
    """The hash gives what RFC 5831 publishes, with either set of S-boxes."""
    assert digest.digest(message, digest.TEST).hex() == test
    assert digest.digest(message).hex() == cryptopro


def test_the_published_signature() -> None:
    """RFC 5832, 7.1: the same key, hash and random number give the same signature, which holds."""
    assert curve.public_point(curve.TEST, D) == (X, Y)
    assert curve.sign(curve.TEST, D, HASH, nonce=K) == SIGNATURE
    assert curve.verify(curve.TEST, (X, Y), HASH, SIGNATURE)


@pytest.mark.parametrize("each", [curve.TEST, curve.A, curve.B, curve.C])
def test_the_curves_are_what_they_should_be(each: curve.Curve) -> None:
    """The base point lies on its curve and has the stated order."""
    assert each.holds(each.x, each.y)
    assert curve.public_point(each, each.q - 1) == (each.x, each.p - each.y)
    assert curve.public_point(each, 1) == (each.x, each.y)


@given(position=st.integers(0, 511))
@settings(max_examples=30, deadline=None)
def test_any_changed_bit_of_a_signature_is_noticed(position: int) -> None:
    """A signature with one bit turned does not hold."""
    changed = bytearray(SIGNATURE)
    changed[position // 8] ^= 1 << position % 8

    assert not curve.verify(curve.TEST, (X, Y), HASH, bytes(changed))


@given(message=st.binary(max_size=100), private=st.integers(1, curve.A.q - 1))
@settings(max_examples=15, deadline=None)
def test_what_is_signed_verifies(message: bytes, private: int) -> None:
    """Any key's signature over any message holds, and over another message it does not."""
    hashed = digest.digest(message)
    point = curve.public_point(curve.A, private)
    signature = curve.sign(curve.A, private, hashed)

    assert curve.verify(curve.A, point, hashed, signature)
    assert not curve.verify(curve.A, point, digest.digest(message + b"."), signature)


@pytest.mark.parametrize(("s", "r"), [
    (0, R), (S, 0), (curve.TEST.q, R), (S, curve.TEST.q), (S + curve.TEST.q, R),
    (S, R + curve.TEST.q), (2**256 - 1, R),
])  # fmt: skip  # A table.
def test_numbers_out_of_range_are_refused(s: int, r: int) -> None:
    """R and s lie between 1 and q - 1, or the signature does not hold."""
    signature = s.to_bytes(32, "big") + (r % 2**256).to_bytes(32, "big")

    assert not curve.verify(curve.TEST, (X, Y), HASH, signature)


def test_points_off_the_curve_are_refused() -> None:
    """A public key is a point of its curve, with coordinates in the field, of 64 bytes."""
    good = curve.write_point((X, Y))
    assert curve.read_point(curve.TEST, good) == (X, Y)
    for raw in (
        good[:-1], good + b"\0", bytes(64), curve.write_point((X, Y + 1)),
        curve.write_point((X + curve.TEST.p, Y)),
    ):  # fmt: skip  # A list.
        with pytest.raises(ValueError, match="public key"):
            curve.read_point(curve.TEST, raw)
    assert not curve.verify(curve.TEST, (X, Y + 1), HASH, SIGNATURE)


def test_a_hash_of_zero_is_signed_as_one() -> None:
    """RFC 5832, 6.1: where the hash is 0 modulo q, it counts as 1."""
    zero = bytes(32)
    signature = curve.sign(curve.TEST, D, zero)

    assert curve.verify(curve.TEST, (X, Y), zero, signature)
    assert curve.verify(curve.TEST, (X, Y), (1).to_bytes(32, "little"), signature)
