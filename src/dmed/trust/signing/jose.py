"""Compact JWS with ES256 (RFC 7515, RFC 7518), attached or detached, by a key or a certificate."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from dmed.trust.signing.model import Reason, SignatureError

_HALF_BYTES = 32


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    """The bytes of base64url without padding; ValueError for anything else, also other spellings
    of the same bytes: one signature has one text.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    if encode(data) != text:
        raise ValueError("it is no base64url without padding")
    return data


def public_key(x: str, y: str) -> ec.EllipticCurvePublicKey:
    """The P-256 key of two coordinates in base64url; ValueError for what is no point of it."""
    first, second = (int.from_bytes(decode(part), "big") for part in (x, y))
    return ec.EllipticCurvePublicNumbers(first, second, ec.SECP256R1()).public_key()


def thumbprint(x: str, y: str) -> str:
    """RFC 7638 of a P-256 key by its coordinates in base64url. Pure."""
    named = msgspec.json.encode({"crv": "P-256", "kty": "EC", "x": x, "y": y})
    return encode(hashlib.sha256(named).digest())


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """The 64 bytes r and s of ES256."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(_HALF_BYTES, "big") + s.to_bytes(_HALF_BYTES, "big")


def raw_holds(key: ec.EllipticCurvePublicKey, data: bytes, signature: bytes) -> bool:
    """Whether 64 bytes are the ES256 signature of a P-256 key over data."""
    if len(signature) != 2 * _HALF_BYTES or not isinstance(key.curve, ec.SECP256R1):
        return False
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def sign(
    key: ec.EllipticCurvePrivateKey, payload: bytes, header: dict[str, Any], *, detached: bool
) -> bytes:
    """A compact JWS; detached, the middle is empty and the payload travels elsewhere."""
    head = encode(msgspec.json.encode({"alg": "ES256", **header}))
    body = encode(payload)
    signature = encode(raw_signature(key, f"{head}.{body}".encode()))
    return f"{head}.{'' if detached else body}.{signature}".encode()


def read(text: bytes, payload: bytes | None = None) -> tuple[dict[str, Any], bytes, bytes, bytes]:
    """Header, payload, what was signed and the signature; SignatureError for what is no JWS.

    `payload` is what a detached one is over. Any algorithm but ES256 is refused.
    """
    try:
        head, body, seal = text.decode("ascii").split(".")
        header = msgspec.json.decode(decode(head), type=dict[str, Any])
        if not body and payload is not None:
            body = encode(payload)
        found, signature = decode(body), decode(seal)
    except (ValueError, msgspec.DecodeError) as error:
        raise SignatureError(Reason.MALFORMED, "The signature is no compact JWS") from error
    if header.get("alg") != "ES256" or "crit" in header:
        raise SignatureError(
            Reason.WEAK, f"The algorithm {header.get('alg')!r} of a JWS is not accepted; ES256 is"
        )
    return header, found, f"{head}.{body}".encode(), signature
