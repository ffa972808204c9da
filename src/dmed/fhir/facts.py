"""R5's definitions as typed facts, read from one compact file. https://hl7.org/fhir/R5/

`data/r5.facts` is made by `tools/compile_facts.py` from the npm package hl7.fhir.r5.core. It
holds no prose. Each section is decoded when it is first asked for, so a command that never
searches does not pay for search parameters.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import msgspec

FILE = Path(__file__).parent / "data" / "r5.facts"
UNBOUNDED = -1
_T = TypeVar("_T")


class ElementType(msgspec.Struct, frozen=True, array_like=True):
    """One type that an element may have.

    `targets` are the types a Reference or canonical may point to (empty: any); `profile` names
    a constrained type such as SimpleQuantity.
    """

    code: str
    targets: tuple[str, ...] = ()
    profile: str = ""


class Element(msgspec.Struct, frozen=True, array_like=True):
    """One child of a type, as its definition lists it.

    `name` has no `[x]`; `max` is UNBOUNDED for `*`; `content` is the path whose children it
    shares (contentReference) or empty; `binding` is a value set address without version.
    """

    name: str
    min: int
    max: int
    types: tuple[ElementType, ...]
    is_choice: bool = False
    content: str = ""
    is_modifier: bool = False
    is_summary: bool = False
    strength: str = ""
    binding: str = ""

    @property
    def is_list(self) -> bool:
        """Whether its JSON is an array."""
        return self.max not in (0, 1)

    def json_name(self, type_code: str) -> str:
        """The JSON property for one of its types: `valueQuantity` for value[x], else the name."""
        if not self.is_choice:
            return self.name
        return self.name + type_code[0].upper() + type_code[1:]


class Invariant(msgspec.Struct, frozen=True, array_like=True):
    """One rule; `path` is the element it stands on, `expression` is FHIRPath with that as focus."""

    key: str
    severity: str
    expression: str
    path: str


class TypeFacts(msgspec.Struct, frozen=True, array_like=True):
    """A resource, data type or backbone element.

    `name` is `Patient`, `Coding` or a path such as `Patient.contact`. `kind` is one of resource,
    complex, primitive, backbone. `base` is the type it derives from. `elements` include the
    inherited ones, in the order of the definition. `invariants` are its own and those standing
    on its elements, not the inherited ones. `pattern` is a primitive's regular expression.
    """

    name: str
    kind: str
    base: str
    is_abstract: bool
    elements: tuple[Element, ...]
    invariants: tuple[Invariant, ...] = ()
    pattern: str = ""


class ValueSetCodes(msgspec.Struct, frozen=True, array_like=True):
    """The codes of a required value set, by system.

    `unchecked` lists the systems (or `*`) of which the package has no content: a code that is
    not found is then "not checked", never wrong.
    """

    url: str
    systems: dict[str, tuple[str, ...]]
    unchecked: tuple[str, ...] = ()


class SearchComponent(msgspec.Struct, frozen=True, array_like=True):
    """One part of a composite search parameter; `code` is the parameter that it refers to."""

    code: str
    definition: str
    expression: str


class SearchFacts(msgspec.Struct, frozen=True, array_like=True):
    """One search parameter of the specification, for all its base types."""

    id: str
    url: str
    code: str
    base: tuple[str, ...]
    type: str
    expression: str
    targets: tuple[str, ...] = ()
    comparators: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    components: tuple[SearchComponent, ...] = ()
    multiple_or: bool = True
    multiple_and: bool = True


class OperationParameter(msgspec.Struct, frozen=True, array_like=True):
    """One parameter of an operation; `use` is in or out, `max` is UNBOUNDED for `*`."""

    name: str
    use: str
    min: int
    max: int
    type: str = ""
    parts: tuple[OperationParameter, ...] = ()


class OperationFacts(msgspec.Struct, frozen=True, array_like=True):
    """One operation of the specification: `code` without `$`, and where it may be called."""

    code: str
    resources: tuple[str, ...]
    on_system: bool
    on_type: bool
    on_instance: bool
    affects_state: bool
    parameters: tuple[OperationParameter, ...]


class FactsFile(msgspec.Struct, frozen=True):
    """The file as it lies on disk: where it came from, and sections of zlib-packed msgpack."""

    package: str
    version: str
    sha512: str
    sections: dict[str, bytes]


class Facts:
    """All facts of R5. Make it with `facts()`, which reads the file once."""

    def __init__(self, packed: bytes) -> None:
        self._file = msgspec.msgpack.decode(packed, type=FactsFile)

    @property
    def package(self) -> str:
        """Name of the npm package."""
        return self._file.package

    @property
    def version(self) -> str:
        """Version of the package, which is that of FHIR: `5.0.0`."""
        return self._file.version

    @property
    def sha512(self) -> str:
        """Hex digest of the package file, to prove which one was compiled."""
        return self._file.sha512

    def _section(self, name: str, kind: type[_T]) -> _T:
        return msgspec.msgpack.decode(zlib.decompress(self._file.sections[name]), type=kind)

    @cached_property
    def types(self) -> Mapping[str, TypeFacts]:
        """Every type by name or, for backbone elements, by path."""
        return {each.name: each for each in self._section("types", list[TypeFacts])}

    @cached_property
    def resources(self) -> tuple[str, ...]:
        """Names of the concrete resources, in alphabetical order."""
        return tuple(
            sorted(
                t.name for t in self.types.values() if t.kind == "resource" and not t.is_abstract
            )
        )

    @cached_property
    def value_sets(self) -> Mapping[str, ValueSetCodes]:
        """Codes of the value sets that some element requires, by address without version."""
        return {each.url: each for each in self._section("value_sets", list[ValueSetCodes])}

    @cached_property
    def search(self) -> tuple[SearchFacts, ...]:
        """Every search parameter, by id in alphabetical order."""
        return self._section("search", tuple[SearchFacts, ...])

    @cached_property
    def compartments(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """Compartment name > resource type > codes of the parameters that put it there."""
        return self._section("compartments", dict[str, dict[str, tuple[str, ...]]])

    @cached_property
    def operations(self) -> tuple[OperationFacts, ...]:
        """Every operation of the specification, by code."""
        return self._section("operations", tuple[OperationFacts, ...])

    def is_a(self, name: str, ancestor: str) -> bool:
        """Whether a type is the ancestor or derives from it, at any distance."""
        while name:
            if name == ancestor:
                return True
            found = self.types.get(name)
            name = found.base if found else ""
        return False


@cache
def facts() -> Facts:
    """The facts of R5, read once a process; under 100 ms with every section."""
    return Facts(FILE.read_bytes())
