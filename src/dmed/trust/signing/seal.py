"""The platform's seal: for documents without a human signer, and over what people signed.

P-256 keys in files under settings.data/keys; the newest seals, all of them verify for ever. JWS
(RFC 7515) for JSON, COSE_Sign1 (RFC 9052) where few bytes fit. The public keys are published as JWK
Set (RFC 7517) and COSE_KeySet, by the thumbprint of RFC 7638.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from dmed.kit import cbor
from dmed.kit.errors import DmedError, NotFoundError
from dmed.kit.keyfile import kept
from dmed.trust.signing import jose
from dmed.trust.signing.model import Reason, SignatureError

FIRST = "prescription-signing.pem"
"""The first key of an installation; it has signed prescriptions since before there was a seal."""
FOLDER = "seal"
WITHDRAWN = "withdrawn.json"
"""Number of a key > since when its seals count no more."""
_NUMBER_MIN = 8
_COSE_SIGN1 = 18
_ALG, _KID, _ES256 = 1, 4, -7


class SealKey(msgspec.Struct, frozen=True):
    """One key: `number` is its thumbprint (kid)."""

    private: ec.EllipticCurvePrivateKey
    number: str
    withdrawn: datetime | None = None
    """Since when its seals no longer count by themselves: the key was stolen or lost."""

    def numbers(self) -> tuple[bytes, bytes]:
        """The coordinates of the public key."""
        public = self.private.public_key().public_numbers()
        return public.x.to_bytes(32, "big"), public.y.to_bytes(32, "big")

    def jwk(self) -> dict[str, str]:
        """The public key as JWK."""
        x, y = self.numbers()
        return {"kty": "EC", "crv": "P-256", "x": jose.encode(x), "y": jose.encode(y),
                "kid": self.number, "alg": "ES256", "use": "sig"}  # fmt: skip  # One object.


class Seal:
    """The seal of one installation; `keys` are oldest first, the last one that counts seals."""

    def __init__(self, keys: tuple[SealKey, ...]) -> None:
        self.keys = keys
        counting = [key for key in keys if key.withdrawn is None]
        self.active = (counting or list(keys))[-1]
        self._by_number = {key.number: key for key in keys}

    def key(self, number: str, proved: datetime | None = None) -> SealKey:
        """The key of a number or of its first eight signs; SignatureError where none is ours.

        A withdrawn key counts only over what is proved to have lain here before (`proved`: the
        moment at which the platform stored it, which the sealed audit holds): who stole the key
        can write any moment into a document, but not into the past of the store.
        """
        for key in self.keys:
            if number and number in {key.number, key.number[:8]}:
                if key.withdrawn is not None and (proved is None or proved >= key.withdrawn):
                    raise SignatureError(
                        Reason.REVOKED,
                        f"The platform's key {key.number[:8]} was withdrawn on "
                        f"{key.withdrawn:%d.%m.%Y %H:%M} UTC: this seal does not count")
                return key
        raise SignatureError(
            Reason.CHAIN, f"The seal is by the key {number[:43]!r}, which is not the platform's"
        )

    def jws(self, payload: bytes, *, detached: bool = False) -> bytes:
        """A compact JWS over a payload."""
        return jose.sign(self.active.private, payload, {"kid": self.active.number},
                         detached=detached)  # fmt: skip  # One call.

    def opened_jws(
        self, text: bytes, payload: bytes | None = None, *, proved: datetime | None = None
    ) -> bytes:
        """The payload of a JWS whose seal holds; SignatureError otherwise (`proved` as `key`)."""
        header, found, signed, signature = jose.read(text, payload)
        key = self.key(str(header.get("kid", "")), proved)
        if not jose.raw_holds(key.private.public_key(), signed, signature):
            raise SignatureError(
                Reason.DOES_NOT_HOLD, "The platform's seal does not hold: the document was changed"
            )
        return found

    def cose(self, payload: bytes) -> bytes:
        """A COSE_Sign1 over a payload, which it carries."""
        protected = cbor.encode({_ALG: _ES256, _KID: self.active.number[:8].encode()})
        signature = jose.raw_signature(self.active.private, _to_be_signed(protected, payload))
        return cbor.tagged(_COSE_SIGN1, cbor.encode([protected, {}, payload, signature]))

    def opened_cose(self, data: bytes) -> bytes:
        """The payload of a COSE_Sign1 whose seal holds; SignatureError otherwise."""
        try:
            protected, _, payload, signature = cbor.decode(data, _COSE_SIGN1)
            header = cbor.decode(protected)
            number = bytes(header[_KID]).decode("ascii")
            algorithm = header[_ALG]
            is_whole = isinstance(payload, bytes) and isinstance(signature, bytes)
        except (ValueError, TypeError, KeyError) as error:
            raise SignatureError(Reason.MALFORMED, "This is no COSE_Sign1") from error
        if not is_whole or algorithm != _ES256 or set(header) != {_ALG, _KID}:
            raise SignatureError(Reason.WEAK, "Only ES256 with a named key is accepted")
        key = self.key(number)
        if not jose.raw_holds(
            key.private.public_key(), _to_be_signed(protected, payload), signature
        ):
            raise SignatureError(
                Reason.DOES_NOT_HOLD, "The platform's seal does not hold: the document was changed"
            )
        return bytes(payload)

    def jwk_set(self) -> dict[str, Any]:
        """The public keys that count, newest first (RFC 7517), and which were withdrawn when."""
        withdrawn = [{"kid": key.number, "since": key.withdrawn.isoformat(timespec="seconds")}
                     for key in reversed(self.keys) if key.withdrawn is not None]
        return {"keys": [key.jwk() for key in self._counting()], "withdrawn": withdrawn}

    def _counting(self) -> list[SealKey]:
        return [key for key in reversed(self.keys) if key.withdrawn is None]

    def cose_keys(self) -> bytes:
        """The public keys as COSE_KeySet (RFC 9052, 7), named by eight signs of the thumbprint."""
        made = []
        for key in self._counting():
            x, y = key.numbers()
            made.append({1: 2, 2: key.number[:8].encode(), 3: _ES256, -1: 1, -2: x, -3: y})
        return cbor.encode(made)


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    return cbor.encode(["Signature1", protected, b"", payload])


def load(data: Path) -> Seal:
    """The seal of the installation in a folder; its first key is made on first use.

    Read again when a key was added or withdrawn, so that neither needs a restart.
    """
    folder = data / "keys" / FOLDER
    names = tuple(sorted(path.name for path in folder.glob("*.pem")))
    listed = folder / WITHDRAWN
    return _loaded(data, names, listed.stat().st_mtime_ns if listed.exists() else 0)


@lru_cache(maxsize=8)
def _loaded(data: Path, names: tuple[str, ...], _changed: int) -> Seal:
    folder = data / "keys"
    paths = [folder / FIRST, *(folder / FOLDER / name for name in names)]
    since = _withdrawn(data)
    found = [_read(kept(path, _new)) for path in paths]
    return Seal(tuple(SealKey(key.private, key.number, since.get(key.number)) for key in found))


def _withdrawn(data: Path) -> dict[str, datetime]:
    path = data / "keys" / FOLDER / WITHDRAWN
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, datetime])


def withdraw(data: Path, number: str, since: datetime) -> str:
    """A key was stolen: its seals count no more from a moment on; the number of the key that seals.

    `number` may be its first eight signs. A new key is added where this one sealed. NotFoundError
    for a key that is not ours. A moment that was said before is only ever moved back.
    """
    found = next((key for key in load(data).keys
                  if len(number) >= _NUMBER_MIN and key.number.startswith(number)), None)
    if found is None:
        raise NotFoundError(f"{number!r} is no key of the platform's seal")
    if load(data).active.number == found.number:
        rotate(data)
    rows = _withdrawn(data)
    rows[found.number] = min(since, rows.get(found.number, since))
    path = data / "keys" / FOLDER / WITHDRAWN
    draft = path.with_name(f"withdrawn.{secrets.token_hex(4)}")
    draft.write_bytes(msgspec.json.encode(rows))
    draft.replace(path)
    return load(data).active.number


def _new() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read(pem: bytes) -> SealKey:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DmedError("a file of the seal holds no key on P-256")
    made = SealKey(key, "")
    jwk = made.jwk()
    named = msgspec.json.encode({name: jwk[name] for name in ("crv", "kty", "x", "y")})
    return SealKey(key, jose.encode(hashlib.sha256(named).digest()))


def rotate(data: Path) -> str:
    """Add a key, which seals from now on; its number. Older keys verify as before."""
    load(data)  # The first key stays the first.
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    kept(data / "keys" / FOLDER / f"{stamp}.pem", _new)
    return load(data).active.number
