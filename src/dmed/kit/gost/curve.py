"""Signatures GOST R 34.10-2001 over 256 bits: https://www.rfc-editor.org/rfc/rfc5832

O'zDSt 1092:2009 (algorithm 2) is this algorithm with the parameters of RFC 4357. A signature is 64
bytes, s and then r, high byte first; a public key is x and y, low byte first; the integer that is
signed is the hash read with its lowest byte first (RFC 4491, 2.3.2).
"""

from __future__ import annotations

import secrets
from functools import lru_cache

import msgspec

_BYTES = 32
_Jacobian = tuple[int, int, int]
"""(x, y, z) means the point (x / z^2, y / z^3); z of 0 is the point at infinity."""


class Curve(msgspec.Struct, frozen=True):
    """y^2 = x^3 + ax + b over the field of p, with a point (x, y) of prime order q."""

    p: int
    a: int
    b: int
    q: int
    x: int
    y: int

    def holds(self, x: int, y: int) -> bool:
        """Whether a point is on the curve, with coordinates in the field."""
        if not (0 <= x < self.p and 0 <= y < self.p):
            return False
        return (y * y - x * x * x - self.a * x - self.b) % self.p == 0


TEST = Curve(
    p=0x8000000000000000000000000000000000000000000000000000000000000431,
    a=7,
    b=0x5FBFF498AA938CE739B8E022FBAFEF40563F6E6A3472FC2A514C0CE9DAE23B7E,
    q=0x8000000000000000000000000000000150FE8A1892976154C59CFC193ACCF5B3,
    x=2,
    y=0x08E2A8A0E65147D4BD6316030E16D19C85C97F0A9CA267122B96ABBCEA7E8FC8,
)
"""The example of RFC 5832, 7.1."""
A = Curve(
    p=2**256 - 617,
    a=2**256 - 620,
    b=166,
    q=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF6C611070995AD10045841B09B761B893,
    x=1,
    y=0x8D91E471E0989CDA27DF505A453F2B7635294F2DDF23E3B122ACC99C9E9F1E14,
)
"""CryptoPro-A of RFC 4357, 11.4: the curve of O'zDSt 1092:2009, parameter set A."""
B = Curve(
    p=2**255 + 0xC99,
    a=2**255 + 0xC96,
    b=0x3E1AF419A269A5F866A7D3C25C3DF80AE979259373FF2B182F49D4CE7E1BBC8B,
    q=0x800000000000000000000000000000015F700CFFF1A624E5E497161BCC8A198F,
    x=1,
    y=0x3FA8124359F96680B83D1C3EB2C070E5C545C9858D03ECFB744BF8D717717EFC,
)
"""CryptoPro-B of RFC 4357."""
C = Curve(
    p=0x9B9F605F5A858107AB1EC85E6B41C8AACF846E86789051D37998F7B9022D759B,
    a=0x9B9F605F5A858107AB1EC85E6B41C8AACF846E86789051D37998F7B9022D7598,
    b=0x805A,
    q=0x9B9F605F5A858107AB1EC85E6B41C8AA582CA3511EDDFB74F02F3A6598980BB9,
    x=0,
    y=0x41ECE55743711A8C3CBF3783CD08C0EE4D4DC440D4641A8F366E550DFDB3BB67,
)
"""CryptoPro-C of RFC 4357."""


def _double(curve: Curve, point: _Jacobian) -> _Jacobian:
    x, y, z = point
    p = curve.p
    if not z or not y:
        return 0, 1, 0
    yy = y * y % p
    s = 4 * x * yy % p
    zz = z * z % p
    m = 3 * (x - zz) * (x + zz) if curve.a == p - 3 else 3 * x * x + curve.a * zz * zz
    x3 = (m * m - 2 * s) % p
    return x3, (m * (s - x3) - 8 * yy * yy) % p, 2 * y * z % p


def _add(curve: Curve, one: _Jacobian, other: _Jacobian) -> _Jacobian:
    x1, y1, z1 = one
    x2, y2, z2 = other
    p = curve.p
    if not z1:
        return other
    if not z2:
        return one
    zz1, zz2 = z1 * z1 % p, z2 * z2 % p
    u1, s1 = x1 * zz2 % p, y1 * zz2 * z2 % p
    h, r = (x2 * zz1 - u1) % p, (y2 * zz1 * z1 - s1) % p
    if not h:
        return (0, 1, 0) if r else _double(curve, one)
    hh = h * h % p
    hhh, v = h * hh % p, u1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - s1 * hhh) % p, z1 * z2 * h % p


def _odd_multiples(curve: Curve, point: _Jacobian, width: int) -> list[_Jacobian]:
    """The point once, three times, five times ... below 2^(width - 1)."""
    twice = _double(curve, point)
    made = [point]
    for _ in range((1 << (width - 2)) - 1):
        made.append(_add(curve, made[-1], twice))
    return made


@lru_cache(maxsize=4)
def _base_multiples(curve: Curve) -> list[_Jacobian]:
    return _odd_multiples(curve, (curve.x, curve.y, 1), _BASE_WIDTH)


_BASE_WIDTH, _KEY_WIDTH = 8, 5


def _sparse(number: int, width: int) -> list[int]:
    """Signed odd digits of a number, lowest first, of which few are not zero (wNAF)."""
    digits = []
    while number:
        digit = 0
        if number & 1:
            digit = number & ((1 << width) - 1)
            if digit >> (width - 1):
                digit -= 1 << width
            number -= digit
        digits.append(digit)
        number >>= 1
    return digits


def _sum(curve: Curve, base: int, times: int, key: tuple[int, int] | None) -> tuple[int, int]:
    """Base * P + times * key as affine point; (-1, -1) is the point at infinity."""
    tables = [(_sparse(base, _BASE_WIDTH), _base_multiples(curve))]
    if key is not None:
        multiples = _odd_multiples(curve, (*key, 1), _KEY_WIDTH)
        tables.append((_sparse(times, _KEY_WIDTH), multiples))
    reached: _Jacobian = (0, 1, 0)
    for place in range(max(len(digits) for digits, _ in tables) - 1, -1, -1):
        reached = _double(curve, reached)
        for digits, multiples in tables:
            digit = digits[place] if place < len(digits) else 0
            if digit:
                x, y, z = multiples[abs(digit) // 2]
                reached = _add(curve, reached, (x, y if digit > 0 else -y, z))
    x, y, z = reached
    if not z:
        return -1, -1
    inverse = pow(z, -1, curve.p)
    square = inverse * inverse % curve.p
    return x * square % curve.p, y * square * inverse % curve.p


def read_point(curve: Curve, raw: bytes) -> tuple[int, int]:
    """The public key of 64 bytes (x, y, low byte first); ValueError for what is no such point."""
    if len(raw) != 2 * _BYTES:
        raise ValueError("a public key has 64 bytes")
    x, y = int.from_bytes(raw[:_BYTES], "little"), int.from_bytes(raw[_BYTES:], "little")
    if not curve.holds(x, y):
        raise ValueError("the public key is no point of its curve")
    return x, y


def write_point(point: tuple[int, int]) -> bytes:
    """The 64 bytes of a public key."""
    return point[0].to_bytes(_BYTES, "little") + point[1].to_bytes(_BYTES, "little")


def public_point(curve: Curve, private: int) -> tuple[int, int]:
    """The public key of a private one, 0 < private < q."""
    return _sum(curve, private, 0, None)


def verify(curve: Curve, point: tuple[int, int], hashed: bytes, signature: bytes) -> bool:
    """Whether 64 bytes are the signature of a point's owner over a hash of 32 bytes."""
    if len(signature) != 2 * _BYTES or len(hashed) != _BYTES:
        return False
    s, r = int.from_bytes(signature[:_BYTES], "big"), int.from_bytes(signature[_BYTES:], "big")
    if not (0 < r < curve.q and 0 < s < curve.q) or not curve.holds(*point):
        return False
    e = int.from_bytes(hashed, "little") % curve.q or 1
    inverse = pow(e, -1, curve.q)
    x, _ = _sum(curve, s * inverse % curve.q, -r * inverse % curve.q, point)
    return x >= 0 and x % curve.q == r


def sign(curve: Curve, private: int, hashed: bytes, *, nonce: int = 0) -> bytes:
    """The signature of a private key over a hash: for simulators and tests, never real keys.

    `nonce` is for published examples only; 0 draws one.
    """
    e = int.from_bytes(hashed, "little") % curve.q or 1
    while True:
        k = nonce or secrets.randbelow(curve.q - 1) + 1
        r = _sum(curve, k, 0, None)[0] % curve.q
        s = (r * private + k * e) % curve.q
        if r and s:
            return s.to_bytes(_BYTES, "big") + r.to_bytes(_BYTES, "big")
        nonce = 0
