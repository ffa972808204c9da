"""The keys that sign tokens: files of mode 0600 under settings.data, never in PostgreSQL.

JSON Web Key: https://www.rfc-editor.org/rfc/rfc7517, ES256: https://www.rfc-editor.org/rfc/rfc7518
One key signs. Rotation puts it aside under its number: what it signed is verified until it ends.
Beside them lies the key that encrypts the secrets of second factors.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey

from dmed.kit.errors import DmedError

_FILE = "token-signing.pem"
_RETIRED = "token-retired-{}.pem"
_SEALING = "factor-secrets.key"
_LOOK_S = 5.0
"""A rotation is seen by every running worker within so many seconds."""
RETIRED_TOKENS_S = 86_400
"""So long after its retirement a key verifies tokens, none of which lives longer."""
RETIRED_KEPT_S = 366 * 86_400
"""So long it verifies device cookies; then the next rotation removes it."""


class Keys:
    """The key that signs, and the retired ones that still verify.

    Numbers are JWK thumbprints (RFC 7638). Every process follows the files by itself.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._due = 0.0
        self._seen = (0, 0)
        self._signing: ECKey
        self._number = ""
        self._retired: dict[str, tuple[ECKey, float]] = {}
        self._look()
        self.sealing = _kept(folder / _SEALING, secrets.token_bytes(32))
        """32 bytes for AES-256-GCM of second-factor secrets in the database."""

    @property
    def signing(self) -> ECKey:
        """The key that signs now."""
        self._look()
        return self._signing

    @property
    def number(self) -> str:
        """Its number (kid)."""
        self._look()
        return self._number

    def verifying(self, number: str, *, retired_s_max: float = RETIRED_TOKENS_S) -> ECKey | None:
        """The key of this number, unless it was put aside longer ago than `retired_s_max`."""
        self._look()
        if number == self._number:
            return self._signing
        key, retired = self._retired.get(number, (None, 0.0))
        return key if time.time() - retired < retired_s_max else None

    def public(self) -> dict[str, Any]:
        """The JSON Web Key Set by which others check our tokens; holds no private part."""
        self._look()
        keys = {self._number: self._signing}
        for number, (key, retired) in self._retired.items():
            if time.time() - retired < RETIRED_TOKENS_S:
                keys[number] = key
        return {
            "keys": [
                {**key.as_dict(private=False), "kid": number, "alg": "ES256", "use": "sig"}
                for number, key in keys.items()
            ]
        }

    def _look(self) -> None:
        at = time.monotonic()
        if at < self._due:
            return
        path = self._folder / _FILE
        found = path.stat()
        if (found.st_ino, found.st_mtime_ns) != self._seen:
            self._signing = _read(path)
            self._number = self._signing.thumbprint()
            self._retired = {
                key.thumbprint(): (key, file.stat().st_mtime)
                for file in self._folder.glob(_RETIRED.format("*"))
                for key in (_read(file),)
            }
            self._seen = (found.st_ino, found.st_mtime_ns)
        self._due = at + _LOOK_S


def load_keys(data: Path) -> Keys:
    """The keys of this installation, made on first use in `data`/keys.

    Workers may start together: each writes a private draft and links it to the one name, so that
    exactly one wins. A key that others than its owner can read is refused with a DmedError.
    """
    folder = data / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _kept(folder / _FILE, _fresh())
    return Keys(folder)


def rotate(data: Path, *, is_compromised: bool = False) -> str:
    """A new key signs from now on; its number. The old one verifies what it signed until that
    ends, except where it `is_compromised`: then nothing signed before is accepted any more.
    """
    load_keys(data)
    folder = data / "keys"
    path = folder / _FILE
    for file in folder.glob(_RETIRED.format("*")):
        if is_compromised or time.time() - file.stat().st_mtime > RETIRED_KEPT_S:
            file.unlink()
    if not is_compromised:
        aside = folder / _RETIRED.format(_read(path).thumbprint())
        if not aside.exists():
            os.link(path, aside)
        # The link shares its inode with the key until that is replaced, so the time is right.
        os.utime(aside)
    draft = _draft(path, _fresh())
    draft.replace(path)
    return load_keys(data).number


def _fresh() -> bytes:
    return ECKey.generate_key("P-256").as_pem(private=True)


def _read(path: Path) -> ECKey:
    _check_private(path)
    return ECKey.import_key(path.read_bytes())


def _check_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise DmedError(f"{path} can be read by others (mode {mode:o}); set it to 600")


def _kept(path: Path, content: bytes) -> bytes:
    """What lies at `path`, which is `content` where there was nothing."""
    if not path.exists():
        draft = _draft(path, content)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    _check_private(path)
    return path.read_bytes()


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
