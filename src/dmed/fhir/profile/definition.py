"""A StructureDefinition as a tree of what it asks. https://hl7.org/fhir/R5/elementdefinition.html

A snapshot is taken as it is. Where a profile has a differential only, it is laid over the elements
of the profile that it derives from; elements that nobody constrains need no node, because the
rules of R5's own types are checked before and apart (`fhir.validate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from dmed.fhir.facts import UNBOUNDED, facts

CORE = "http://hl7.org/fhir/StructureDefinition/"
_SYSTEM = "http://hl7.org/fhirpath/System."
_MAX_VALUE_SET = CORE + "elementdefinition-maxValueSet"
_REGEX = CORE + "regex"
_MIN_LENGTH = CORE + "minLength"
_IMPOSED = frozenset({
    CORE + "structuredefinition-imposeProfile", CORE + "structuredefinition-compliesWithProfile",
})  # fmt: skip  # Two.
_DEPTH_MAX = 20
Element = Mapping[str, Any]


class TypeRef(NamedTuple):
    """One type that an element may have, with its profiles and those of a reference's target."""

    code: str
    profiles: tuple[str, ...]
    targets: tuple[str, ...]
    aggregation: tuple[str, ...]


class Constraint(NamedTuple):
    """One invariant with its sentence for people."""

    key: str
    severity: str
    expression: str
    human: str


class Usage(NamedTuple):
    """When an additional binding applies: the element that says so, and the code it must hold."""

    path: str
    system: str
    code: str


class Binding(NamedTuple):
    """One binding to a value set; with `usage` it applies to some records only."""

    strength: str
    value_set: str
    usage: tuple[Usage, ...] = ()


class Discriminator(NamedTuple):
    """What tells slices apart: value, pattern, exists, type, profile or position, and where."""

    type: str
    path: str


class Slicing(NamedTuple):
    """How an element is sliced; `rules` are open, closed or openAtEnd."""

    discriminators: tuple[Discriminator, ...]
    rules: str
    is_ordered: bool


class Value(NamedTuple):
    """A fixed or pattern value with its type code: ("Coding", {...})."""

    type: str
    value: Any


class Node:
    """What a profile says of one element or slice. `max` is UNBOUNDED for `*`."""

    __slots__ = (
        "alternatives", "bindings", "children", "constraints", "content", "fixed", "id", "max",
        "max_length", "max_value", "min", "min_length", "min_value", "must_have_value", "name",
        "pattern", "regex", "slice_name", "slices", "slicing", "types",
    )  # fmt: skip  # One look.

    def __init__(self, id_: str, name: str, slice_name: str = "") -> None:
        self.id = id_
        self.name = name
        self.slice_name = slice_name
        self.min = 0
        self.max = UNBOUNDED
        self.types: tuple[TypeRef, ...] = ()
        self.fixed: Value | None = None
        self.pattern: Value | None = None
        self.min_value: Value | None = None
        self.max_value: Value | None = None
        self.must_have_value = False
        self.alternatives: tuple[str, ...] = ()
        """Extensions that may stand instead of a value."""
        self.max_length: int | None = None
        self.min_length: int | None = None
        self.regex = ""
        self.content: Node | None = None
        """The element of the same profile whose rules count inside this one (contentReference)."""
        self.bindings: tuple[Binding, ...] = ()
        self.constraints: tuple[Constraint, ...] = ()
        self.slicing: Slicing | None = None
        self.slices: dict[str, Node] = {}
        self.children: dict[str, Node] = {}

    def child(self, name: str) -> Node:
        """The node of a child element, made when it is not there."""
        if name not in self.children:
            self.children[name] = Node(f"{self.id}.{name}", name)
        return self.children[name]

    def slice(self, name: str) -> Node:
        """The node of a slice (`a/b` is a slice of slice a), made when it is not there."""
        outer, bar, inner = name.partition("/")
        if bar and outer in self.slices:
            return self.slices[outer].slice(inner)
        if name not in self.slices:
            self.slices[name] = Node(f"{self.id}:{name}", self.name, name)
        return self.slices[name]

    def read(self, element: Element) -> None:
        """Take over what an ElementDefinition says."""
        if "min" in element:
            self.min = int(element["min"])
        if "max" in element:
            self.max = UNBOUNDED if element["max"] == "*" else int(element["max"])
        if "type" in element:
            self.types = tuple(_type(each) for each in element["type"])
        self.fixed = _value(element, "fixed") or self.fixed
        self.pattern = _value(element, "pattern") or self.pattern
        self.min_value = _value(element, "minValue") or self.min_value
        self.max_value = _value(element, "maxValue") or self.max_value
        self.max_length = element.get("maxLength", self.max_length)
        self.must_have_value = element.get("mustHaveValue", self.must_have_value) is True
        if "valueAlternatives" in element:
            self.alternatives = tuple(
                str(each).partition("|")[0] for each in element["valueAlternatives"] if each)
        for each in _extensions(element):
            if each.get("url") == _REGEX and each.get("valueString"):
                self.regex = str(each["valueString"])
            elif each.get("url") == _MIN_LENGTH:
                self.min_length = int(each.get("valueInteger", 0)) or None
        if "binding" in element:
            self.bindings = tuple(_bindings(element["binding"]))
        if "constraint" in element:
            self.constraints = tuple(
                Constraint(
                    str(each.get("key", "")),
                    str(each.get("severity", "error")),
                    str(each["expression"]),
                    str(each.get("human", "")),
                )
                for each in element["constraint"]
                if each.get("expression")
            )
        if "slicing" in element:
            self.slicing = _slicing(element["slicing"])


def _extensions(element: Element) -> Iterator[Mapping[str, Any]]:
    """Those of an element and of its types, where R5 puts what it has no property for."""
    if "extension" in element:
        yield from element["extension"]
    for each in element.get("type", ()):
        if "extension" in each:
            yield from each["extension"]


class Definition(NamedTuple):
    """A profile: its addresses, the type it constrains, and its tree."""

    url: str
    version: str
    type: str
    base: str
    title: str
    root: Node
    contexts: tuple[tuple[str, str], ...]
    """Where an extension may stand: (element | extension | fhirpath, expression)."""
    invariants: tuple[str, ...]
    """FHIRPath that the place of an extension must fulfil (contextInvariant)."""
    imposed: tuple[str, ...] = ()
    """Profiles that every record of this one fits too, by its own account."""


def _type(given: Mapping[str, Any]) -> TypeRef:
    code = str(given.get("code", ""))
    return TypeRef(
        "" if code.startswith(_SYSTEM) else code,
        tuple(map(str, given.get("profile", ()))),
        tuple(map(str, given.get("targetProfile", ()))),
        tuple(map(str, given.get("aggregation", ()))),
    )


def _value(element: Element, prefix: str) -> Value | None:
    for key, value in element.items():
        if key.startswith(prefix) and key[len(prefix) : len(prefix) + 1].isupper():
            code = key[len(prefix) :]
            lower = code[0].lower() + code[1:]
            return Value(lower if lower in facts().types else code, value)
    return None


def _bindings(given: Mapping[str, Any]) -> list[Binding]:
    found = []
    if given.get("valueSet"):
        found.append(Binding(str(given.get("strength", "example")), str(given["valueSet"])))
    found += [
        Binding("maximum", str(each.get("valueCanonical") or each.get("valueUri", "")))
        for each in given.get("extension", ())
        if each.get("url") == _MAX_VALUE_SET
    ]
    for each in given.get("additional", ()):
        purpose, given_usage = each.get("purpose"), each.get("usage", ())
        usage = tuple(use for one in given_usage for use in _usages(one))
        # A use that is no element of the record is known to the people around it alone.
        is_known = len(usage) >= len(given_usage)
        if purpose in {"maximum", "required", "extensible"} and is_known:
            found.append(Binding(purpose, str(each.get("valueSet", "")), usage))
    return found


def _usages(given: Mapping[str, Any]) -> list[Usage]:
    """The uses that name an element, as `Observation.category`, with the codes they ask for."""
    path = str(given.get("code", {}).get("code", ""))
    if path.partition(".")[0] not in facts().types or "." not in path:
        return []
    return [
        Usage(path, str(each.get("system", "")), str(each.get("code", "")))
        for each in given.get("valueCodeableConcept", {}).get("coding", ())
    ]


def _slicing(given: Mapping[str, Any]) -> Slicing:
    return Slicing(
        tuple(
            Discriminator(str(each.get("type", "value")), str(each.get("path", "$this")))
            for each in given.get("discriminator", ())
        ),
        str(given.get("rules", "open")),
        given.get("ordered") is True,
    )


Found = Callable[[str], "Mapping[str, Any] | None"]


def define(resource: Mapping[str, Any], find: Found) -> Definition:
    """The definition of a StructureDefinition as decoded JSON.

    `find` gives other StructureDefinitions by canonical address, for profiles without a snapshot.
    """
    type_name = str(resource.get("type", "")).removeprefix(CORE)
    root = Node(type_name, type_name)
    elements = _elements(resource, find, 0)
    referring: list[tuple[Node, list[str]]] = []
    for places, element in elements.items():
        node = root
        for place in places[1:]:
            name, _, slice_name = place.partition(":")
            choice = _choices().get(name, "")
            node = node.child(choice or name.removesuffix("[x]"))
            if choice or slice_name:
                node = node.slice(slice_name or name)
        node.read(_of_choice(element, places[-1]))
        content = str(element.get("contentReference", ""))
        if content.startswith("#"):
            referring.append((node, content[1:].split(".")))
    for node, names in referring:
        # A reference to R5's own element, as the publisher writes it, is a whole address.
        if not node.children:
            node.content = _found(root, names)
    root.min, root.max = 0, UNBOUNDED
    return Definition(
        str(resource.get("url", "")),
        str(resource.get("version", "")),
        type_name,
        str(resource.get("baseDefinition", "")),
        str(resource.get("title") or resource.get("name") or ""),
        root,
        tuple(
            (str(each.get("type", "element")), str(each.get("expression", "")))
            for each in resource.get("context", ())
            if _is_of_this_version(each)
        ),
        tuple(map(str, resource.get("contextInvariant", ()))),
        tuple(
            str(each["valueCanonical"]).partition("|")[0]
            for each in resource.get("extension", ())
            if each.get("url") in _IMPOSED and each.get("valueCanonical")
        ),
    )


@cache
def _choices() -> dict[str, str]:
    """The elements with a choice of types by the names that JSON gives them: valueCode > value."""
    every = [each for known in facts().types.values() for each in known.elements]
    plain = {each.name for each in every}
    return {
        each.json_name(one.code): each.name
        for each in every
        if each.is_choice
        for one in each.types
        if each.json_name(one.code) not in plain
    }


def _of_choice(element: Element, place: str) -> Element:
    """What is said of `valueCode` alone is a slice of `value[x]` by that type."""
    name = place.partition(":")[0]
    choice = _choices().get(name, "")
    if not choice or "type" in element:
        return element
    code = name.removeprefix(choice)
    lower = code[0].lower() + code[1:]
    return {**element, "type": [{"code": lower if lower in facts().types else code}]}


def _found(root: Node, names: Sequence[str]) -> Node | None:
    """The node of a path without slices, or None where the profile says nothing of it."""
    node: Node | None = root
    for name in names[1:]:
        node = None if node is None else node.children.get(name.removesuffix("[x]"))
    return node


def _is_of_this_version(context: Mapping[str, Any]) -> bool:
    """Whether a context counts in R5: some are bound to a range of FHIR's versions."""
    for each in context.get("extension", ()):
        if each.get("url") != CORE + "version-specific-use":
            continue
        bounds = {one.get("url"): str(one.get("valueCode", "")) for one in each["extension"]}
        low = bounds.get("startFhirVersion", "")
        high = bounds.get("endFhirVersion", "")
        own = facts().version[:3]
        if (low and own < low) or (high and own > high):
            return False
    return True


def _elements(
    resource: Mapping[str, Any], find: Found, depth: int
) -> dict[tuple[str, ...], dict[str, Any]]:
    """Elements by their place, in order; a differential lies over its base."""
    snapshot = resource.get("snapshot", {}).get("element")
    if snapshot:
        return _placed(snapshot)
    base = str(resource.get("baseDefinition", ""))
    is_core = base.removeprefix(CORE) in facts().types
    above = None if is_core or depth > _DEPTH_MAX else find(base)
    found = {} if above is None else _elements(above, find, depth + 1)
    for place, element in _placed(resource.get("differential", {}).get("element", ())).items():
        old = found.get(place, {})
        merged = {**old, **element}
        if "constraint" in old and "constraint" in element:
            merged["constraint"] = [*old["constraint"], *element["constraint"]]
        found[place] = merged
    return found


def _placed(elements: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Elements by the parts of their id; by path and slice name where the id does not fit."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    last: dict[str, tuple[str, ...]] = {}
    # Some authors write ids without the names of slices: then the order of the paths counts.
    has_ids = all(":" in str(e.get("id", "")).rpartition(".")[2] for e in elements
                  if e.get("sliceName"))  # fmt: skip  # One question.
    for element in elements:
        path = str(element.get("path", ""))
        names = path.split(".")
        place = tuple(str(element.get("id", "")).split("."))
        if not has_ids or [part.partition(":")[0] for part in place] != names:
            own = names[-1]
            if element.get("sliceName"):
                own += f":{element['sliceName']}"
            place = (*last.get(".".join(names[:-1]), tuple(names[:-1])), own)
        last[path] = place
        found[place] = dict(element)
    return found


def sign(one: Decimal, other: Decimal) -> int:
    """-1, 0 or 1: how one number lies beside another."""
    return (one > other) - (one < other)


def decimal_of(value: Any) -> Decimal | None:
    """A number as Decimal; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return value if isinstance(value, Decimal) else Decimal(str(value))
