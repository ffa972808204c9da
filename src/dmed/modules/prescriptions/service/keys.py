"""Secrets of prescriptions: files of mode 0600 under settings.data/keys, never in PostgreSQL.

The signing key signs tokens and electronic confirmations (ES256); the code key derives access
codes and opaque person marks.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jws
from joserfc.jwk import ECKey

from dmed.kit.errors import DmedError
from dmed.kit.settings import Settings

_SIGNING = "prescription-signing.pem"
_CODES = "prescription-codes.key"
_CODE_KEY_BYTES = 32


class Keys(msgspec.Struct, frozen=True):
    """Both secrets of an installation; `number` names the signing key (8 signs of its RFC 7638
    thumbprint).
    """

    signing: ECKey
    private: EllipticCurvePrivateKey
    codes: bytes
    number: str

    def confirm(self, payload: bytes) -> str:
        """A compact JWS (RFC 7515) over a payload."""
        header = {"alg": "ES256", "kid": self.signing.thumbprint()}
        return jws.serialize_compact(header, payload, self.signing)

    def confirmed(self, text: str) -> bytes:
        """The payload of a compact JWS whose signature holds; joserfc's error otherwise."""
        return bytes(jws.deserialize_compact(text, self.signing, algorithms=["ES256"]).payload)


def keys(settings: Settings) -> Keys:
    """The keys of this installation, made on first use; read once a process."""
    return _load(settings.data)


@lru_cache(maxsize=8)
def _load(data: Path) -> Keys:
    folder = data / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = _secret(folder / _SIGNING, lambda: ECKey.generate_key("P-256").as_pem(private=True))
    codes = _secret(folder / _CODES, lambda: secrets.token_bytes(_CODE_KEY_BYTES))
    private = load_pem_private_key(pem, password=None)
    if not isinstance(private, EllipticCurvePrivateKey):
        raise DmedError(f"{_SIGNING} holds no key of an elliptic curve")
    signing = ECKey.import_key(pem)
    return Keys(signing, private, codes, signing.thumbprint()[:8])


def _secret(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a secret file, made on first use.

    Workers may start together: each writes a draft of its own and links it to the one name.
    """
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise DmedError(f"{path} can be read by others (mode {mode:o}); set it to 600")
    return path.read_bytes()
