"""The signing key of bearer tokens: a file of mode 0600 under settings.data, never in PostgreSQL.

JSON Web Key: https://www.rfc-editor.org/rfc/rfc7517, ES256: https://www.rfc-editor.org/rfc/rfc7518
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Any

import msgspec
from joserfc.jwk import ECKey

from dmed.kit.errors import DmedError

_FILE = "token-signing.pem"


class Keys(msgspec.Struct, frozen=True):
    """The key that signs and checks bearer tokens; `number` is its JWK thumbprint (RFC 7638)."""

    signing: ECKey
    number: str

    def public(self) -> dict[str, Any]:
        """The JSON Web Key Set by which others check our tokens; holds no private part."""
        key = self.signing.as_dict(private=False)
        return {"keys": [{**key, "kid": self.number, "alg": "ES256", "use": "sig"}]}


def load_keys(data: Path) -> Keys:
    """The signing key of this installation, made on first use in `data`/keys.

    Workers may start together: each writes a private draft and links it to the one name, so that
    exactly one wins. A key that others than its owner can read is refused with a DmedError.
    """
    folder = data / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / _FILE
    if not path.exists():
        _make(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise DmedError(f"{path} can be read by others (mode {mode:o}); set it to 600")
    key = ECKey.import_key(path.read_bytes())
    return Keys(signing=key, number=key.thumbprint())


def _make(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(ECKey.generate_key("P-256").as_pem(private=True))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
