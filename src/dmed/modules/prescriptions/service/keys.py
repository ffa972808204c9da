"""Secrets of prescriptions: files of mode 0600 under settings.data/keys, never in PostgreSQL.

The platform's seal signs tokens and electronic confirmations (ES256); the code key derives access
codes and opaque person marks.
"""

from __future__ import annotations

import secrets
from functools import lru_cache
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from dmed.kit.keyfile import kept
from dmed.kit.settings import Settings
from dmed.trust.signing import seal
from dmed.trust.signing.seal import Seal

_CODES = "prescription-codes.key"
_CODE_KEY_BYTES = 32


class Keys(msgspec.Struct, frozen=True):
    """The platform's seal and the code key of an installation."""

    seal: Seal
    codes: bytes

    @property
    def private(self) -> EllipticCurvePrivateKey:
        """The key that signs tokens now."""
        return self.seal.active.private

    @property
    def number(self) -> str:
        """Eight signs of its thumbprint (RFC 7638): they name the key in a token."""
        return self.seal.active.number[:8]

    def confirm(self, payload: bytes) -> str:
        """A compact JWS (RFC 7515) over a payload, by the platform's seal."""
        return self.seal.jws(payload).decode()

    def confirmed(self, text: str) -> bytes:
        """The payload of a compact JWS whose seal holds; SignatureError otherwise."""
        return self.seal.opened_jws(text.encode())


def keys(settings: Settings) -> Keys:
    """The keys of this installation, made on first use; a rotation of the seal is seen at once."""
    return Keys(seal.load(settings.data), _codes(settings.data))


@lru_cache(maxsize=8)
def _codes(data: Path) -> bytes:
    return kept(data / "keys" / _CODES, lambda: secrets.token_bytes(_CODE_KEY_BYTES))
