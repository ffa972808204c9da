"""What one validation carries along: the places it passes and the faults it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from dmed.kit.errors import Issue

Place: TypeAlias = tuple[Any, str, int]
"""A place in a record: the place above (None at the root), a field, an index or -1.

Text is made for faults only.
"""


def place_text(place: Place) -> str:
    """The FHIRPath of a place: `Patient.name[0].given[1]`."""
    parts: list[str] = []
    above: Place | None = place
    while above is not None:
        above, name, index = above
        parts.append(name if index < 0 else f"{name}[{index}]")
    return ".".join(reversed(parts))


class Met(NamedTuple):
    """An extension, with its place and the resources around it."""

    value: Any
    place: Place
    resource: Any
    root: Any


class Inner(NamedTuple):
    """A resource inside another; `root` is itself, but the outer one of a contained resource."""

    resource: Any
    place: Place
    root: Any


class Run:
    """One validation: its faults, what could not be checked, and the resources around the focus.

    `root` is the outermost resource that owns contained ones (`%rootResource`); `resource` is the
    one that holds the focus (`%resource`), a contained one included.
    """

    __slots__ = ("extensions", "inner", "issues", "resource", "root", "unchecked")

    def __init__(self, root: Any) -> None:
        self.root = root
        self.resource = root
        self.issues: list[Issue] = []
        self.unchecked: dict[str, int] = {}
        self.extensions: list[Met] = []
        self.inner: list[Inner] = []

    def fault(self, code: str, text: str, place: Place) -> None:
        """Note a fault; the sentence begins with its place."""
        where = place_text(place)
        self.issues.append(Issue(code, f"{where}: {text}", where))

    def not_checked(self, value_set: str) -> None:
        """Count a code whose system has no content here."""
        self.unchecked[value_set] = self.unchecked.get(value_set, 0) + 1


def any_of(words: Sequence[str], most: int = 12) -> str:
    """Words for a sentence, joined by bars; a long list is cut."""
    shown = "|".join(words[:most])
    return shown if len(words) <= most else f"{shown}|... ({len(words)} codes)"


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set: for tables of names."""
    return frozenset(text.split())
