"""What one validation against profiles carries along: resources around the focus, and issues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from msgspec import UNSET

from dmed.fhir.bindings import ValueSets
from dmed.fhir.facts import facts
from dmed.fhir.profile.definition import Definition, Node
from dmed.fhir.validate_run import Place, place_text
from dmed.kit.errors import Issue

_LITERAL = re.compile(
    r"(?:(?P<base>https?://.{1,400})/)?(?P<type>[A-Z][A-Za-z]{1,40})/(?P<id>[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)


class Item(NamedTuple):
    """One value of an element: the plain value or struct (None where only extensions are there),
    the Element that holds a primitive's extensions, its type, and its place.
    """

    value: Any
    ext: Any
    type: str
    place: Place


class Library(Protocol):
    """Where profiles are found, compiled."""

    value_sets: ValueSets

    def definition(self, canonical: str) -> Definition | None:
        """The tree of a profile, or None when it is not installed."""

    def version_of(self, canonical: str) -> str:
        """The installed version of a definition, or ""."""

    def questionnaire(self, canonical: str) -> Mapping[str, Any] | None:
        """A Questionnaire as decoded JSON, or None when it is not here."""

    def check_of(self, canonical: str) -> Check | None:
        """The check of a profile, or None when it is not installed."""

    def root_of(self, canonical: str) -> Node | None:
        """The tree of a profile, or None when it is not installed."""

    def type_of(self, canonical: str) -> str:
        """The type that a canonical address of a type or profile speaks of, or ""."""


class Check(Protocol):
    """Looks at one item and notes its faults."""

    def __call__(self, item: Item, run: ProfileRun, /) -> None: ...


class ProfileRun:
    """One validation.

    `root` is the outermost resource that owns contained ones, `resource` the one that holds the
    focus, `bundle` the Bundle whose entries references may name.
    """

    __slots__ = (
        "_depth", "_errors_only", "_index", "bundle", "issues", "library", "resource", "root",
        "seen",
    )  # fmt: skip  # One look.
    DEPTH_MAX = 40

    def __init__(self, root: Any, library: Library, *, errors_only: bool = False) -> None:
        self._errors_only = errors_only
        self.root = root
        self.resource = root
        self.library = library
        self.bundle: Any = root if root.fhir_type == "Bundle" else None
        self.issues: list[Issue] = []
        self.seen: set[tuple[int, str]] = set()
        """(struct, profile) pairs that are checked already, or are being checked."""
        self._index: dict[str, tuple[Any, Place]] | None = None
        self._depth = 0

    def note(self, code: str, text: str, place: Place, severity: str = "error") -> None:
        """Add an issue; the sentence begins with its place."""
        if self._errors_only and severity != "error":
            return
        # Extensions of a primitive stand in JSON's `_birthDate`; FHIRPath knows birthDate alone.
        where = place_text(place).replace("._", ".")
        self.issues.append(Issue(code, f"{where}: {text}", where, severity))

    def is_sound(self, check: Check, item: Item) -> bool:
        """Whether a check finds no error, without noting any."""
        if self._depth > self.DEPTH_MAX:
            return True
        kept, seen = self.issues, self.seen
        self.issues, self.seen = [], set(seen)
        self._depth += 1
        try:
            check(item, self)
            return not any(issue.severity in {"error", "fatal"} for issue in self.issues)
        finally:
            self._depth -= 1
            self.issues, self.seen = kept, seen

    def within(self, check: Check, item: Item, *, owns: bool) -> None:
        """Check an item that is a resource of its own; `owns`: it is no contained one."""
        outer = self.resource, self.root
        self.resource = item.value
        if owns:
            self.root = item.value
        try:
            check(item, self)
        finally:
            self.resource, self.root = outer

    def conforms(self, item: Item, canonical: str) -> bool | None:
        """Whether a struct conforms to a profile; None when the profile is not installed."""
        check = self.library.check_of(canonical)
        if check is None or item.value is None:
            return None
        key = id(item.value), canonical
        if key in self.seen:
            return True
        return self.is_sound(_marked(check, key), item)

    def resolve(self, reference: str) -> tuple[Any, Place] | None:
        """The resource that a reference names: contained, or an entry of the Bundle."""
        if reference.startswith("#"):
            return self._contained(reference[1:])
        if self.bundle is None:
            return None
        if self._index is None:
            self._index = dict(_entries(self.bundle))
        found = self._index.get(reference)
        if found is not None:
            return found
        match = _LITERAL.fullmatch(reference)
        return None if match is None else self._index.get(f"{match['type']}/{match['id']}")

    def _contained(self, name: str) -> tuple[Any, Place] | None:
        if not name:
            return self.root, (None, self.root.fhir_type, -1)
        contained = getattr(self.root, "contained", UNSET)
        for index, each in enumerate(() if contained is UNSET else contained):
            if each.id == name:
                return each, ((None, self.root.fhir_type, -1), "contained", index)
        return None


def _marked(check: Check, key: tuple[int, str]) -> Check:
    def marked(item: Item, run: ProfileRun, /) -> None:
        run.seen.add(key)
        check(item, run)

    return marked


def _entries(bundle: Any) -> Iterator[tuple[str, tuple[Any, Place]]]:
    """The addresses under which entries are known: fullUrl, and Type/id."""
    top: Place = (None, "Bundle", -1)
    for index, entry in enumerate(() if bundle.entry is UNSET else bundle.entry):
        if entry.resource is UNSET:
            continue
        found = entry.resource, ((top, "entry", index), "resource", -1)
        if entry.resource.id is not UNSET:
            yield f"{entry.resource.fhir_type}/{entry.resource.id}", found
        if entry.fullUrl is not UNSET:
            yield entry.fullUrl, found


def type_in(reference: str) -> str:
    """The resource type that a literal reference names, or ""."""
    match = _LITERAL.fullmatch(reference)
    name = "" if match is None else match["type"]
    return name if name in facts().resources else ""
