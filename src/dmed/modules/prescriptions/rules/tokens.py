"""The signed token in the QR code: what a pharmacy can trust without a line (decisions 22).

msgpack of a short array, then 64 bytes of ES256 (r and s), then base45: at most 400 characters
with five items. It carries no name, no diagnosis and no PINFL, hashed or not.
ES256: https://www.rfc-editor.org/rfc/rfc7518#section-3.4
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from dmed.kit.errors import InvalidError
from dmed.modules.prescriptions.rules.numbers import base45, from_base45

TOKEN_LENGTH_MAX = 400
_EPOCH = date(2020, 1, 1)
_SIGNATURE_BYTES = 64


class TokenItem(msgspec.Struct, frozen=True, array_like=True):
    """One item: INN as national code (or ATC where it has none), form, strength, quantity."""

    inn: int | str
    form: str
    strength: str
    quantity: int | str


class Token(msgspec.Struct, frozen=True, array_like=True):
    """What the token says; days count from 2020-01-01."""

    number: int
    signed_day: int
    valid_day: int
    prescriber_key: str
    """Eight characters of the signing key's thumbprint."""
    person: bytes
    """Opaque MED-ID: eight bytes that only the platform can turn back into a person."""
    initials: str
    birth_year: int
    items: tuple[TokenItem, ...]

    @property
    def signed_on(self) -> date:
        """The day of the signature."""
        return _EPOCH + timedelta(days=self.signed_day)

    @property
    def valid_until(self) -> date:
        """Last day of validity."""
        return _EPOCH + timedelta(days=self.valid_day)


def day_number(day: date) -> int:
    """Days since 2020-01-01."""
    return (day - _EPOCH).days


def opaque(key: bytes, patient: str) -> bytes:
    """Eight bytes that stand for a person and tell nothing of him without the key."""
    return hashlib.blake2b(
        patient.encode(), key=key[:64], digest_size=8, person=b"dmed med-id"
    ).digest()


def short_strength(text: str) -> str:
    """A strength without blanks and without the size of the bottle: "250mg/5ml"; the parts of a
    combination in one unit name it once: "150+400+275+75mg".
    """
    bare = text.split(", ", 1)[0].replace(" ", "")
    parts, _, inside = bare.partition("/")
    units = {part.lstrip("0123456789.") for part in parts.split("+")}
    if len(units) == 1 and "+" in parts:
        unit = units.pop()
        parts = parts.replace(unit + "+", "+")
    # A form of doses says itself that its strength is a dose's.
    return (f"{parts}/{inside}" if inside and inside != "dose" else parts)[:20]


def sign(token: Token, key: EllipticCurvePrivateKey) -> str:
    """The token as base45 text; ValueError if it would be longer than a QR code should carry."""
    payload = msgspec.msgpack.encode(token)
    text = " "
    # Base45 has a blank, and whatever reads a scan strips the last one: sign until none is there.
    while text.endswith(" "):
        r, s = decode_dss_signature(key.sign(payload, ECDSA(hashes.SHA256())))
        text = base45(payload + r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    if len(text) > TOKEN_LENGTH_MAX:
        raise ValueError(f"the signed token has {len(text)} characters")
    return text


def named_key(text: str) -> str:
    """The number of the key that a token names, not yet believed; InvalidError for no token."""
    data = from_base45(text)
    try:
        return msgspec.msgpack.decode(data[:-_SIGNATURE_BYTES], type=Token).prescriber_key
    except msgspec.DecodeError:
        raise InvalidError("The signed token is damaged") from None


def verify(text: str, key: EllipticCurvePublicKey) -> Token:
    """The token of a text whose signature holds; InvalidError otherwise."""
    data = from_base45(text)
    if len(data) <= _SIGNATURE_BYTES:
        raise InvalidError("The signed token is cut off")
    payload, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    der = encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )
    try:
        key.verify(der, payload, ECDSA(hashes.SHA256()))
        return msgspec.msgpack.decode(payload, type=Token)
    except InvalidSignature:
        raise InvalidError("The signature of this prescription does not hold") from None
    except msgspec.DecodeError:
        raise InvalidError("The signed token is damaged") from None
