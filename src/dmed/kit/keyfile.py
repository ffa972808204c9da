"""Files of secrets: mode 0600, made once by whoever comes first, refused where others can read."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from dmed.kit.errors import DmedError


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a secret file, made on first use with its folder (0700).

    Workers may start together: each writes a draft of its own and links it to the one name.
    DmedError for a file that others than its owner can read.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
