"""The parts of CodeSystem, ValueSet and ConceptMap that terminology reads; the rest is passed over.

https://hl7.org/fhir/R5/codesystem.html, valueset.html, conceptmap.html. The same shapes are read
from a resource's JSON and from the compiled file of R5's own definitions.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from dmed.kit.errors import DmedError

CODES_MAX = 500_000
"""Most codes that one value set may come to; above it the answer is too-costly."""
EXPANSION_MAX = 10_000
"""Most codes of one $expand answer; a larger set is read in pages or with a filter."""


class TooCostlyError(DmedError):
    """The value set is too large to be listed whole: 422, too-costly."""

    status, code = 422, "too-costly"


class UnknownContentError(DmedError):
    """A code system, value set or map that is needed has no content here: 404."""

    status, code = 404, "not-found"


class _Part(msgspec.Struct, omit_defaults=True, gc=False):
    """A piece of a resource that holds no other; unknown fields are passed over."""


class Coding(_Part):
    """A code of a system, with the name that it was given."""

    system: str = ""
    version: str = ""
    code: str = ""
    display: str = ""


class Designation(msgspec.Struct, omit_defaults=True):
    """Another name of a concept, in a language or for a use."""

    value: str = ""
    language: str = ""
    use: Coding | None = None


class Property(msgspec.Struct, omit_defaults=True):
    """What a concept has of a property; exactly one value is given."""

    code: str
    valueCode: str | None = None  # noqa: N815  # FHIR's own name, as in the JSON.
    valueCoding: Coding | None = None  # noqa: N815  # Same.
    valueString: str | None = None  # noqa: N815  # Same.
    valueInteger: int | None = None  # noqa: N815  # Same.
    valueBoolean: bool | None = None  # noqa: N815  # Same.
    valueDateTime: str | None = None  # noqa: N815  # Same.
    valueDecimal: Decimal | None = None  # noqa: N815  # Same.

    def pair(self) -> tuple[str, Any]:
        """The FHIR name of the value that is given, and the value."""
        for name in VALUE_NAMES:
            value = getattr(self, name)
            if value is not None:
                return name, value
        return "valueString", ""

    def text(self) -> str:
        """The value as a text: of a coding its code."""
        return self.texts()[0]

    def texts(self) -> tuple[str, ...]:
        """The values that a filter may give for it: a coding is also `system|code`, and
        `system#code` as the FSH language of guides writes it.
        """
        _, value = self.pair()
        if isinstance(value, bool):
            return ("true" if value else "false",)
        if isinstance(value, Coding):
            return value.code, f"{value.system}|{value.code}", f"{value.system}#{value.code}"
        return (str(value),)


VALUE_NAMES = (
    "valueCode", "valueBoolean", "valueString", "valueCoding", "valueInteger", "valueDateTime",
    "valueDecimal",
)  # fmt: skip  # In the order of how often they are met.


class Concept(msgspec.Struct, omit_defaults=True):
    """One concept with those below it."""

    code: str = ""
    display: str = ""
    definition: str = ""
    designation: list[Designation] = []
    property: list[Property] = []
    concept: list[Concept] = []


class PropertyDefinition(_Part):
    """A property that the concepts of a system may have."""

    code: str = ""
    uri: str = ""
    type: str = ""


class Head(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What every definition says of itself: enough to put it on the shelf."""

    resourceType: str = ""  # noqa: N815  # FHIR's own name, as in the JSON.
    id: str = ""
    url: str = ""
    version: str = ""
    name: str = ""
    title: str = ""
    status: str = ""
    language: str = ""
    content: str = ""
    supplements: str = ""
    valueSet: str = ""  # noqa: N815  # FHIR's own name: the set of all codes of a code system.


class CodeSystem(Head, kw_only=True):
    """A code system, or a supplement to one."""

    caseSensitive: bool = True  # noqa: N815  # FHIR's own name, as in the JSON.
    hierarchyMeaning: str = ""  # noqa: N815  # Same.
    property: list[PropertyDefinition] = []
    concept: list[Concept] = []


class Listed(msgspec.Struct, omit_defaults=True):
    """A code that a value set names one by one."""

    code: str = ""
    display: str = ""
    designation: list[Designation] = []


class Filter(_Part):
    """A condition on the concepts of a system."""

    property: str = ""
    op: str = ""
    value: str = ""


class Include(msgspec.Struct, omit_defaults=True):
    """One rule of a value set: a system's codes, other sets, or what they share."""

    system: str = ""
    version: str = ""
    concept: list[Listed] = []
    filter: list[Filter] = []
    valueSet: list[str] = []  # noqa: N815  # FHIR's own name, as in the JSON.


class Compose(msgspec.Struct, omit_defaults=True):
    """The rules of a value set."""

    inactive: bool | None = None
    include: list[Include] = []
    exclude: list[Include] = []


class Contained(msgspec.Struct, omit_defaults=True):
    """A code of an expansion that came with its value set."""

    system: str = ""
    version: str = ""
    code: str = ""
    display: str = ""
    abstract: bool = False
    inactive: bool = False
    designation: list[Designation] = []
    contains: list[Contained] = []


class Expansion(msgspec.Struct, omit_defaults=True):
    """The codes that came with a value set."""

    contains: list[Contained] = []


class Extension(_Part):
    """An extension, as far as it names another definition."""

    url: str = ""
    valueCanonical: str = ""  # noqa: N815  # FHIR's own name, as in the JSON.


class ValueSet(Head, kw_only=True):
    """A value set: its rules, or the codes that came with it."""

    extension: list[Extension] = []
    compose: Compose | None = None
    expansion: Expansion | None = None


class MapTarget(msgspec.Struct, omit_defaults=True):
    """A code that a source code is mapped to."""

    code: str = ""
    display: str = ""
    relationship: str = ""
    valueSet: str = ""  # noqa: N815  # FHIR's own name, as in the JSON.
    property: list[dict[str, Any]] = []
    dependsOn: list[dict[str, Any]] = []  # noqa: N815  # Same.
    product: list[dict[str, Any]] = []


class MapElement(msgspec.Struct, omit_defaults=True):
    """A source code and what it is mapped to."""

    code: str = ""
    display: str = ""
    valueSet: str = ""  # noqa: N815  # FHIR's own name, as in the JSON.
    noMap: bool = False  # noqa: N815  # Same.
    target: list[MapTarget] = []


class Unmapped(msgspec.Struct, omit_defaults=True):
    """What is said of source codes that a group does not name."""

    mode: str = ""
    code: str = ""
    display: str = ""
    relationship: str = ""
    otherMap: str = ""  # noqa: N815  # FHIR's own name, as in the JSON.


class MapGroup(msgspec.Struct, omit_defaults=True):
    """The mappings from one system to another."""

    source: str = ""
    target: str = ""
    element: list[MapElement] = []
    unmapped: Unmapped | None = None


class ConceptMap(Head, kw_only=True):
    """Mappings between codes."""

    sourceScopeUri: str = ""  # noqa: N815  # FHIR's own name, as in the JSON.
    sourceScopeCanonical: str = ""  # noqa: N815  # Same.
    targetScopeUri: str = ""  # noqa: N815  # Same.
    targetScopeCanonical: str = ""  # noqa: N815  # Same.
    group: list[MapGroup] = []


KINDS: dict[str, type[CodeSystem | ValueSet | ConceptMap]] = {
    "CodeSystem": CodeSystem,
    "ValueSet": ValueSet,
    "ConceptMap": ConceptMap,
}
"""The resource types that a library holds."""
