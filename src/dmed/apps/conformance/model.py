"""What a suite's reader gives."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dmed.kit.errors import InvalidError


class Verdict(NamedTuple):
    """One case: its name (group and name), and why it fails; an empty reason is a pass."""

    case: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the case holds."""
        return not self.reason


def read(folder: Path, name: str) -> bytes:
    """A file that a suite names. Raises InvalidError where it is missing or leaves the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidError(f"{name} leaves the folder of the suite")
    if not path.is_file():
        raise InvalidError(f"the file {name} is not here")
    return path.read_bytes()
