"""What a suite's reader gives."""

from __future__ import annotations

from collections.abc import Callable
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


def judged(case: str, judge: Callable[[], str]) -> Verdict:
    """The verdict of one case. A fault of ours that nobody expected fails it, and it alone."""
    try:
        return Verdict(case, judge())
    except Exception as error:  # noqa: BLE001  # One case must not hide what the others say.
        return Verdict(case, f"unexpected {type(error).__name__}: {error}")


def read(folder: Path, name: str) -> bytes:
    """A file that a suite names. Raises InvalidError where it is missing or leaves the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidError(f"{name} leaves the folder of the suite")
    if not path.is_file():
        raise InvalidError(f"the file {name} is not here")
    return path.read_bytes()
