"""The algorithms that are accepted, by their object identifiers; everything else is named and
refused. ECDSA and RSA through the library `cryptography`, the national ones in our own code.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from dmed.kit import der
from dmed.kit.gost import curve as gost_curve
from dmed.kit.gost import digest as gost_digest
from dmed.trust.signing.model import Reason, SignatureError

SHA256 = "2.16.840.1.101.3.4.2.1"
OZDST_DIGEST = "1.2.860.3.15.1.3.2.1.1"
OZDST_KEY = "1.2.860.3.15.1.1.2.1"
OZDST_KEY_A = "1.2.860.3.15.1.1.2.1.1"
OZDST_SIGNATURE = "1.2.860.3.15.1.1.2.2.2.2"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
_EC_KEY, _RSA_KEY = "1.2.840.10045.2.1", "1.2.840.113549.1.1.1"
_RSA_MIN_BITS = 2048
_RSA_MAX_BITS = 8192

_DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    SHA256: lambda data: hashlib.sha256(data).digest(),
    "2.16.840.1.101.3.4.2.2": lambda data: hashlib.sha384(data).digest(),
    "2.16.840.1.101.3.4.2.3": lambda data: hashlib.sha512(data).digest(),
    OZDST_DIGEST: gost_digest.digest,
    "1.2.860.3.15.2.3.2.1.1": gost_digest.digest,  # O'zMSt 285:2024, the same mathematics.
    "1.2.643.2.2.9": gost_digest.digest,  # GOST R 34.11-94 (RFC 4357).
}
_CURVES = {
    OZDST_KEY_A: gost_curve.A,
    "1.2.860.3.15.1.1.2.1.5": gost_curve.A,
    "1.2.860.3.15.2.1.2.1.1": gost_curve.A,  # O'zMSt 286:2024, set A.
    "1.2.643.2.2.35.1": gost_curve.A,
    "1.2.643.2.2.36.0": gost_curve.A,
    "1.2.643.2.2.35.2": gost_curve.B,
    "1.2.643.2.2.35.3": gost_curve.C,
    "1.2.643.2.2.36.1": gost_curve.C,
}
_GOST_KEYS = frozenset({OZDST_KEY, "1.2.860.3.15.2.1.2.1", "1.2.643.2.2.19"})
_GOST_SIGNATURES = frozenset({OZDST_SIGNATURE, "1.2.860.3.15.2.1.2.2.2.2", "1.2.643.2.2.3"})
_HASHES = {
    ECDSA_SHA256: hashes.SHA256(), "1.2.840.10045.4.3.3": hashes.SHA384(),
    "1.2.840.10045.4.3.4": hashes.SHA512(), "1.2.840.113549.1.1.11": hashes.SHA256(),
    "1.2.840.113549.1.1.12": hashes.SHA384(), "1.2.840.113549.1.1.13": hashes.SHA512(),
}  # fmt: skip  # Signature to hash.
_BY_DIGEST = {
    SHA256: hashes.SHA256(), "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}  # fmt: skip  # Same.
_WEAK = {
    "1.2.840.113549.2.5": "MD5", "1.2.840.113549.1.1.4": "MD5 with RSA",
    "1.3.14.3.2.26": "SHA-1", "1.2.840.113549.1.1.5": "SHA-1 with RSA",
    "1.2.840.10045.4.1": "SHA-1 with ECDSA", "1.2.840.10040.4.3": "SHA-1 with DSA",
    "1.2.643.2.2.4": "GOST R 34.10-94", "1.2.643.2.2.20": "a GOST R 34.10-94 key",
    "1.2.860.3.15.1.1.1.1": "O'zDSt 1092:2009, algorithm 1",
}  # fmt: skip  # Identifier to name.
NAMES = {
    ECDSA_SHA256: "ES256", OZDST_SIGNATURE: "O'zDSt 1092:2009 with O'zDSt 1106:2009",
    "1.2.860.3.15.2.1.2.2.2.2": "O'zMSt 286:2024 with O'zMSt 285:2024",
    "1.2.643.2.2.3": "GOST R 34.10-2001 with GOST R 34.11-94",
}  # fmt: skip  # Same.


class PublicKey(msgspec.Struct, frozen=True):
    """A public key out of a certificate: `raw` is its whole SubjectPublicKeyInfo."""

    algorithm: str
    curve: str
    """Identifier of the parameter set, "" for RSA."""
    raw: bytes
    bits: bytes


class PrivateKey(Protocol):
    """A key that signs: the authority's, its staff's, a simulator's."""

    digest: str
    """Identifier of the hash that goes with it."""
    signature: str
    """Identifier of its signature algorithm."""

    def sign(self, data: bytes) -> bytes:
        """The signature over data, in the encoding that CMS and X.509 carry."""

    def public(self) -> bytes:
        """Its SubjectPublicKeyInfo."""


class P256Key:
    """An ECDSA key on P-256 with SHA-256."""

    digest, signature = SHA256, ECDSA_SHA256

    def __init__(self, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def public(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class GostKey:
    """An O'zDSt 1092:2009 key of set A: for the simulator and tests, never for a real person."""

    digest, signature = OZDST_DIGEST, OZDST_SIGNATURE

    def __init__(self, private: int = 0) -> None:
        self.private = private or secrets.randbelow(gost_curve.A.q - 1) + 1
        self.point = gost_curve.public_point(gost_curve.A, self.private)

    def sign(self, data: bytes) -> bytes:
        return gost_curve.sign(gost_curve.A, self.private, gost_digest.digest(data))

    def public(self) -> bytes:
        algorithm = der.sequence(der.oid(OZDST_KEY), der.sequence(der.oid(OZDST_KEY_A)))
        return der.sequence(
            algorithm, der.bits(der.octets(gost_curve.write_point(self.point)))
        )


def refuse(oid: str) -> SignatureError:
    """The refusal of an algorithm: weak, or not known here."""
    if oid in _WEAK:
        return SignatureError(Reason.WEAK, f"{_WEAK[oid]} is too weak to be accepted ({oid})")
    return SignatureError(Reason.UNKNOWN_ALGORITHM, f"The algorithm {oid} is not accepted here")


def hashed(oid: str, data: bytes) -> bytes:
    """The hash of data; SignatureError for a weak or unknown algorithm."""
    make = _DIGESTS.get(oid)
    if make is None:
        raise refuse(oid)
    return make(data)


def read_algorithm(node: der.Node) -> str:
    """The identifier in an AlgorithmIdentifier without parameters; a NULL counts as none."""
    parts = node.expect(der.SEQUENCE).parts()
    oid = parts.next(der.OID).oid()
    nothing = parts.maybe(der.NULL)
    if nothing is not None and nothing.body:
        raise der.DerError("a NULL has content")
    parts.end()
    return oid


def read_key(node: der.Node) -> PublicKey:
    """A SubjectPublicKeyInfo; parameter sets that are not named by identifier are refused."""
    parts = node.expect(der.SEQUENCE).parts()
    kind = parts.next(der.SEQUENCE).parts()
    oid = kind.next(der.OID).oid()
    curve = ""
    if oid == _EC_KEY:
        curve = kind.next(der.OID).oid()
    elif oid in _GOST_KEYS:
        sets = kind.next(der.SEQUENCE).parts()
        curve = sets.next(der.OID).oid()
        for rest in sets:  # The sets of the hash and the cipher, where they are named.
            rest.oid()
    elif oid == _RSA_KEY:
        kind.maybe(der.NULL)
    else:
        raise refuse(oid)
    kind.end()
    bits = parts.next(der.BITS).bits()
    parts.end()
    return PublicKey(oid, curve, node.raw, bits)


def holds(key: PublicKey, oid: str, data: bytes, signature: bytes, digest: str = "") -> bool:
    """Whether a signature over data is by this key.

    `oid` may name only the key (as CMS allows); `digest` then says which hash goes with it.
    SignatureError for weak, unknown or unfitting algorithms and for keys that are no keys.
    """
    if key.algorithm in _GOST_KEYS:
        if oid not in _GOST_SIGNATURES | _GOST_KEYS:
            raise refuse(oid)
        return _gost_holds(key, data, signature)
    chosen = _HASHES.get(oid) or (
        _BY_DIGEST.get(digest) if oid in {_EC_KEY, _RSA_KEY} else None
    )
    if chosen is None:
        raise refuse(digest if oid in {_EC_KEY, _RSA_KEY} else oid)
    try:
        public = _loaded(key.raw)
        if isinstance(public, ec.EllipticCurvePublicKey):
            _check_curve(public)
            public.verify(signature, data, ec.ECDSA(chosen))
        elif isinstance(public, rsa.RSAPublicKey):
            _check_rsa(public)
            public.verify(signature, data, padding.PKCS1v15(), chosen)
        else:
            raise refuse(key.algorithm)
    except InvalidSignature:
        return False
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise SignatureError(Reason.MALFORMED, "The public key is no key") from error
    return True


@lru_cache(maxsize=512)
def _loaded(raw: bytes) -> PublicKeyTypes:
    return load_der_public_key(raw)


def _check_curve(key: ec.EllipticCurvePublicKey) -> None:
    if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
        raise SignatureError(Reason.WEAK, f"The curve {key.curve.name} is not accepted")


def _check_rsa(key: rsa.RSAPublicKey) -> None:
    if not _RSA_MIN_BITS <= key.key_size <= _RSA_MAX_BITS:
        raise SignatureError(Reason.WEAK, f"An RSA key of {key.key_size} bits is not accepted")


def _gost_holds(key: PublicKey, data: bytes, signature: bytes) -> bool:
    curve = _CURVES.get(key.curve)
    if curve is None:
        raise refuse(key.curve)
    try:
        point = gost_curve.read_point(curve, der.read(key.bits).octets())
    except ValueError as error:
        raise SignatureError(Reason.MALFORMED, "The public key is no point of its curve") from error
    return gost_curve.verify(curve, point, gost_digest.digest(data), signature)
