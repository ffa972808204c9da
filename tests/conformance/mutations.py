"""Records made from profiles, and for each demand of a profile a record that breaks just it.

A record is generated from the tree of a profile: what is required, and the way down to the one
element, slice or binding that is to be broken. The broken record
must get an error, at the place, that the unbroken one has not; a binding whose content is not here
counts as not checked.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from dmed.fhir import codec, validate
from dmed.fhir.bindings import GuideValueSets, base_systems
from dmed.fhir.facts import facts
from dmed.fhir.profile import Catalogue, check
from dmed.fhir.profile.definition import CORE, Node
from dmed.fhir.profile.fields import element_of, fields, kinds
from dmed.fhir.profile.run import Item, ProfileRun
from dmed.kit.errors import DmedError, Issue

PLAIN: dict[str, Any] = {
    "boolean": True, "integer": 1, "decimal": 1, "positiveInt": 1, "unsignedInt": 1,
    "integer64": "1", "string": "text", "markdown": "text", "code": "code", "id": "an-id",
    "uri": "http://example.org/a", "url": "http://example.org/a", "oid": "urn:oid:1.2.3",
    "canonical": "http://example.org/a", "uuid": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
    "date": "2024-01-01", "dateTime": "2024-01-01", "time": "10:00:00",
    "instant": "2024-01-01T10:00:00Z", "base64Binary": "AAAA",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml">text</div>',
}  # fmt: skip  # A table.
WHOLE: dict[str, Any] = {
    "Quantity": {"value": 1}, "Period": {"start": "2024-01-01"}, "Range": {"low": {"value": 1}},
    "HumanName": {"text": "text"}, "Address": {"text": "text"}, "Identifier": {"value": "1"},
    "ContactPoint": {"system": "phone", "value": "1"}, "Annotation": {"text": "text"},
    "Attachment": {"contentType": "text/plain", "data": "AAAA"}, "Money": {"value": 1},
    "Narrative": {"status": "generated", "div": PLAIN["xhtml"]}, "Age": {
        "value": 1, "unit": "a", "system": "http://unitsofmeasure.org", "code": "a"},
    "Ratio": {"numerator": {"value": 1}, "denominator": {"value": 1}}, "Dosage": {"text": "text"},
    "Timing": {"event": ["2024-01-01"]}, "CodeableConcept": {"text": "text"},
    "Coding": {"display": "text"}, "Reference": {"display": "text"},
    "CodeableReference": {"concept": {"text": "text"}}, "SampledData": {
        "origin": {"value": 1}, "intervalUnit": "s", "dimensions": 1, "data": "E"},
    "Duration": {"value": 1, "unit": "h", "system": "http://unitsofmeasure.org", "code": "h"},
    "UsageContext": {"code": {"code": "focus"}, "valueCodeableConcept": {"text": "text"}},
    "Expression": {"language": "text/fhirpath", "expression": "true"},
    "RelatedArtifact": {"type": "citation"}, "TriggerDefinition": {"type": "named-event",
                                                                   "name": "x"},
    "ExtendedContactDetail": {"purpose": {"text": "text"}},
    "VirtualServiceDetail": {"addressUrl": "http://example.org"}, "Availability": {},
    "DataRequirement": {"type": "Patient"}, "Signature": {}, "Count": {"value": 1},
    "ParameterDefinition": {"use": "in", "type": "string"},
}  # fmt: skip  # A table.


EXTRA = {
    "ImmunizationRecommendation.recommendation": ("vaccineCode",),
    "ServiceRequest": ("code",),
    "Composition.section": ("text",),
    "Patient.contact": ("name",),
    "Ratio": ("numerator", "denominator"),
}
"""What invariants ask of a type beside its required elements."""
SPECIAL = {"uzcore-org-1": "ABC123456"}
"""Values that fit a rule about the text itself."""


class Target(NamedTuple):
    """One demand of a profile: its node, the nodes above it, and what is asked."""

    kind: str
    node: Node
    above: tuple[Node, ...]


class Result(NamedTuple):
    """What came of one mutation: refused, passed, not-checked or not-made, with why."""

    verdict: str
    said: str = ""


def targets(root: Node, type_name: str) -> Iterator[Target]:
    """Every required element, slice and required binding of a tree."""

    def walk(node: Node, owner: str, above: tuple[Node, ...]) -> Iterator[Target]:
        for child in node.children.values():
            element = element_of(owner, child.name)
            if element is None or child.max == 0 or _is_primitive(owner):
                continue
            kind = _kind(child, owner)
            here = (*above, child)
            if child.min >= 1 and not child.slices:
                yield Target("element", child, here)
            if any(each.strength == "required" and not each.usage for each in child.bindings):
                yield Target("binding", child, here)
            yield from walk(child, kind, here)
            for each in child.slices.values():
                if each.max == 0:
                    continue
                inside = (*above, each)
                yield Target("slice", each, inside)
                if any(one.strength == "required" and not one.usage for one in each.bindings):
                    yield Target("binding", each, inside)
                yield from walk(each, _kind(each, owner), inside)

    yield from walk(root, type_name, (root,))


def _is_primitive(name: str) -> bool:
    known = facts().types.get(name)
    return known is not None and known.kind == "primitive"


def _kind(node: Node, owner: str) -> str:
    found = kinds(owner, node.name)
    named = [each.code for each in node.types if each.code in found]
    return (named or list(found) or [""])[0]


class Maker:
    """Makes records of one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        sets = catalogue.value_sets
        assert isinstance(sets, GuideValueSets)
        self._sets = sets
        self._want: frozenset[int] = frozenset()
        self._target: Node | None = None
        self._name = ""
        self._base: dict[int, Node] = {}
        self.place: tuple[Any, Any, str, str] | None = None
        """(container, key or index, path of the parent, path of the value) of the target."""

    def make(self, root: Node, type_name: str, target: Target | None) -> dict[str, Any]:
        """A record (or extension) that fits a tree and goes down to a target."""
        self._want = frozenset(id(each) for each in (target.above if target else ()))
        self._target = target.node if target else None
        self.place = None
        known = facts().types[type_name]
        start = {"resourceType": type_name} if known.kind == "resource" else {}
        return self._object(root, type_name, start, type_name, in_slice=False)

    def _object(
        self, node: Node | None, kind: str, made: dict[str, Any], path: str, *, in_slice: bool
    ) -> dict[str, Any]:
        names = [each.name for each in facts().types[kind].elements if each.min > 0]
        names += EXTRA.get(kind, ())
        children = {} if node is None else node.children
        for name, child in children.items():
            if self._needed(child, in_slice=in_slice) and name not in names:
                names.append(name)
        order = [each.name for each in facts().types[kind].elements]
        for name in sorted(names, key=lambda each: order.index(each) if each in order else 99):
            self._fill(made, kind, name, children.get(name), path, in_slice=in_slice)
        if kind == "Extension" and "extension" in made:
            for key in [each for each in made if each.startswith("value")]:
                del made[key]
        elif kind == "Extension" and not any(each.startswith("value") for each in made):
            value = children.get("value") or Node("value", "value")
            if value.max != 0:
                self._fill(made, kind, "value", value, path, in_slice=False, at_least=1)
        return made

    def _needed(self, node: Node, *, in_slice: bool) -> bool:
        if node.max == 0:
            return False
        wanted = node.min > 0 or id(node) in self._want
        wanted = wanted or any(s.min > 0 or id(s) in self._want for s in node.slices.values())
        return wanted or (in_slice and _has_value(node))

    def _fill(
        self, made: dict[str, Any], owner: str, name: str, node: Node | None, path: str, *,
        in_slice: bool, at_least: int = 0
    ) -> None:  # fmt: skip  # One look.
        element = element_of(owner, name)
        if element is None or (node is not None and node.max == 0):
            return
        known = {each.type: each for each in fields(owner, name)}
        items: list[tuple[str, Node | None]] = []
        for each in node.slices.values() if node else ():
            if each.max != 0 and (each.min > 0 or id(each) in self._want):
                items += [(_kind(each, owner), each)] * max(each.min, 1)
        low = max(element.min, node.min if node else 0, at_least, int(name in EXTRA.get(owner, ())),
                  1 if node and id(node) in self._want else 0)  # fmt: skip  # One sum.
        low = max(low, 1) if in_slice and node and _has_value(node) else low
        plain = _kind(node, owner) if node else next(iter(known), "")
        while len(items) < low or (node is not None and node is self._target and not items):
            items.append((plain, _by_type(node, plain) if element.is_choice else node))
        for kind, which in items:
            field = known.get(kind)
            if field is None or (
                not element.is_list
                and any(f.name in made for f in known.values())
                and which is not self._target
            ):
                continue
            key: Any = field.name
            container: Any = made
            where = f"{path}.{field.name}"
            old = made.get(field.name)
            if field.is_list:
                container = made.setdefault(field.name, [])
                # What a pattern put there is this item.
                key = 0 if container and which is node and len(items) == 1 else len(container)
                old = container[key] if key < len(container) else None
                where += f"[{key}]"
            if which is not None and node is not None and which is not node:
                self._base[id(which)] = node
            self._name = name
            value = self._value(which, kind, owner, where, old)
            if value is None:
                continue
            if field.is_list and key == len(container):
                container.append(value)
            else:
                container[key] = value
            stands_for = element.is_choice and node is self._target
            if which is not None and (which is self._target or stands_for):
                self.place = container, key, path, where

    def _value(self, node: Node | None, kind: str, owner: str, path: str, old: Any) -> Any:
        name = self._name
        if node is not None and (node.fixed or node.pattern):
            expected = node.fixed or node.pattern
            assert expected is not None
            old = copy.deepcopy(expected.value)
        if kind == "Resource":
            return {"resourceType": "Basic", "code": {"text": "text"}, "id": "inner"}
        if _is_primitive(kind):
            return old if old is not None else self._plain(node, kind, owner, name)
        made = old if isinstance(old, dict) else {}
        profiles = [p for each in (node.types if node else ()) for p in each.profiles]
        root = self.catalogue.root_of(profiles[0]) if profiles else None
        own = node is not None and {"extension", "value"} & set(node.children)
        if root is not None and kind == "Extension" and not own:
            made = self._object(root, kind, made, path, in_slice=True)
        if kind == "Extension" and profiles:
            made["url"] = profiles[0]
            if root is None:
                made.setdefault("valueString", "text")
        if not made:
            self._coded(made, node, kind, owner, name)
        made = self._object(node, kind, made, path, in_slice=True)
        if (
            kind == "CodeableConcept"
            and made
            and not any("code" in each for each in made.get("coding", ()))
        ):
            found = self._code(node, owner, name)
            if found is not None:
                coding = made.setdefault("coding", [{}])
                coding[0].update(system=found[0], code=found[1])
        if kind == "Quantity" and "code" in made:
            made.setdefault("system", "http://unitsofmeasure.org")
        if kind == "Reference" and not made:
            made = self._reference(node)
        if kind == "CodeableReference" and not made:
            made = {"reference": self._reference(node)}
        return made or copy.deepcopy(WHOLE.get(kind, {"id": "x"}))

    def _reference(self, node: Node | None) -> dict[str, Any]:
        for each in node.types if node else ():
            for target in each.targets:
                name = self.catalogue.type_of(target)
                if name in facts().resources:
                    return {"reference": f"{name}/x"}
        return {"display": "text"}

    def _plain(self, node: Node | None, kind: str, owner: str, name: str) -> Any:
        found = self._code(node, owner, name)
        for rule in node.constraints if node else ():
            if rule.key in SPECIAL:
                return SPECIAL[rule.key]
        if found is not None and kind in {"code", "uri", "string"}:
            return found[1]
        return PLAIN[kind]

    def _coded(
        self, made: dict[str, Any], node: Node | None, kind: str, owner: str, name: str
    ) -> None:
        found = self._code(node, owner, name)
        if found is None:
            return
        coding = {"system": found[0], "code": found[1]}
        if kind == "Coding":
            made.update(coding)
        elif kind == "CodeableConcept" and not _is_made(node, "coding"):
            made["coding"] = [coding]
        elif kind == "CodeableReference" and not _is_made(node, "concept"):
            made["concept"] = {"coding": [coding]}
        elif kind == "Quantity":
            made.update(value=1, **coding)

    def _code(self, node: Node | None, owner: str, name: str) -> tuple[str, str] | None:
        element = element_of(owner, name) if name else None
        nodes = [each for each in (node, self._base.get(id(node))) if each is not None]
        urls = [
            b.value_set
            for n in nodes
            for b in n.bindings
            if b.strength == "required" and not b.usage
        ]
        if element is not None and element.strength == "required":
            urls.append(element.binding)
        for url in urls:
            found = self.code_of(url)
            if found is not None:
                return found
        return None

    def code_of(self, url: str) -> tuple[str, str] | None:
        """Some code of a value set, or None where its content is not here."""
        plain = url.partition("|")[0]
        known = facts().value_sets.get(plain)
        if known is not None:
            for system, codes in known.systems.items():
                if codes:
                    return system, codes[0]
            for system in known.unchecked:
                return system, "some-code"
        for part in (self._sets._composed(plain) or ([], []))[0]:
            for code in sorted(part.codes or base_systems().get(part.system, ())):
                if self._sets.holds(url, part.system, code):
                    return part.system, code
            if part.system and part.codes is None:
                return part.system, "some-code"
        unknown = "http://example.org/unknown", "some-code"
        return unknown if self._sets.holds(url, *unknown) is None else None


def _by_type(node: Node | None, kind: str) -> Node | None:
    """The slice of a choice that speaks of a type, where there is one."""
    for each in node.slices.values() if node else ():
        if [one.code for one in each.types] == [kind]:
            return each
    return node


def _is_made(node: Node | None, name: str) -> bool:
    """Whether a child will be made for its own sake."""
    child = node.children.get(name) if node else None
    return child is not None and (
        child.min > 0 or _has_value(child) or any(s.min > 0 for s in child.slices.values())
    )


def _has_value(node: Node) -> bool:
    return bool(node.fixed or node.pattern) or any(
        _has_value(each) for each in node.children.values()
    )


def errors(catalogue: Catalogue, url: str, type_name: str, made: dict[str, Any]) -> list[Issue]:
    """The errors of a record, or of an extension on its own, under a profile."""
    try:
        value = codec.decode(msgspec.json.encode(made), type_name)
    except DmedError as error:
        return list(error.issues)
    report = validate.report(value)
    if facts().types[type_name].kind == "resource":
        found = [*report.issues, *check(value, report, catalogue, [url])]
    else:
        run = ProfileRun(codec.decode(b'{"resourceType":"Basic","code":{"text":"x"}}'), catalogue)
        one = catalogue.check_of(url)
        assert one is not None
        one(Item(value, None, type_name, (None, type_name, -1)), run)
        found = [*report.issues, *run.issues]
    return [issue for issue in found if issue.severity in {"error", "fatal"}]


def mutate(maker: Maker, url: str, target: Target) -> Result:
    """Break one demand and look at what is said."""
    catalogue = maker.catalogue
    found = catalogue.definition(url)
    assert found is not None
    made = maker.make(found.root, found.type, target)
    if maker.place is None:
        return Result("not-made", "the element was not reached")
    # A rule across the record may be broken already; then the break must add an error of its own.
    before = set(errors(catalogue, url, found.type, made))
    container, key, parent, where = maker.place
    home = _left_slice(target)
    if target.kind == "binding":
        urls = [
            b.value_set for b in target.node.bindings if b.strength == "required" and not b.usage
        ]
        wanted = where
        if not any(_foreign(container, key, catalogue, each) for each in urls):
            return Result("not-checked", urls[0])
    elif target.kind == "element" or target.node.min >= 1:
        _remove(container, key, made)
        wanted = parent
    else:
        wanted, home = _break_slice(target.node, container, key, parent, where), None
        if not wanted:
            return Result("asks-nothing", "any value of the slice is right")
    after = [each for each in errors(catalogue, url, found.type, made) if each not in before]
    if not after and home is not None and home.min == 0:
        return Result("left", "without it the value is outside the slice, which is open")
    if not after and before:
        return Result("not-made", next(iter(before)).diagnostics[:200])
    if not after:
        return Result("passed", f"{wanted}: {msgspec.json.encode(made).decode()[:300]}")
    places = [each.expression for each in after]
    if home is not None and any(wanted.startswith(each) for each in places):
        return Result("refused")
    if not any(each == wanted or each.startswith((f"{wanted}.", f"{wanted}[")) for each in places):
        return Result("wrong-place", f"{wanted}, told {places[:3]}")
    return Result("refused")


def _left_slice(target: Target) -> Node | None:
    """The slice that a value leaves when this demand is broken, because the slice is told by it."""
    for index, node in enumerate(target.above):
        if not node.slice_name or (node is target.node and target.kind != "binding"):
            continue
        sliced = target.above[index - 1].children.get(node.name)
        slicing = None if sliced is None else sliced.slicing
        rest = ".".join(each.name for each in target.above[index + 1 :])
        for each in slicing.discriminators if slicing else ():
            path = each.path.replace("$this", "").replace("[x]", "")
            if (
                path == rest
                or not path
                or not rest
                or path.startswith(f"{rest}.")
                or (rest.startswith(f"{path}."))
            ):
                return node
    return None


def _remove(container: Any, key: Any, made: dict[str, Any]) -> None:
    del container[key]
    _prune(made)


def _prune(value: Any) -> None:
    """Take away what became empty."""
    if isinstance(value, dict):
        for key in list(value):
            _prune(value[key])
            if value[key] in ({}, []):
                value[key] = {"id": "x"} if value[key] == {} else None
                if value[key] is None:
                    del value[key]
    elif isinstance(value, list):
        for each in value:
            _prune(each)
        for index, each in enumerate(value):
            if each == {}:
                value[index] = {"id": "x"}


def _foreign(container: Any, key: Any, catalogue: Catalogue, url: str) -> bool:
    """Put a code that is not in the value set, in the same system where that is known whole."""
    value = container[key]
    holds = catalogue.value_sets.holds
    if isinstance(value, str):
        container[key] = "no-such-code"
        return holds(url, None, "no-such-code") is False
    inner = value.get("concept", value)
    coding = (inner.get("coding") or [inner if "code" in inner else {}])[0]
    system = coding.get("system", "")
    if holds(url, system, "no-such-code") is not False:
        system = "http://example.org/none"
    if holds(url, system, "no-such-code") is not False:
        return False
    is_coding = "system" in inner and "coding" not in inner
    if is_coding or not inner.keys().isdisjoint({"code", "value", "display"}):
        inner.update(system=system, code="no-such-code")
    else:
        inner["coding"] = [{"system": system, "code": "no-such-code"}]
    if "reference" in value and "concept" not in value:
        del value["reference"]
        value.pop("coding", None)
        value["concept"] = {"coding": [{"system": system, "code": "no-such-code"}]}
    return True


def _break_slice(node: Node, container: Any, key: Any, parent: str, where: str) -> str:
    """Break an optional slice: once too often, or without something that it needs."""
    if isinstance(container, list) and node.max == len(container):
        container.append(copy.deepcopy(container[key]))
        return parent
    if isinstance(container, list) and node.max == 1:
        container.append(copy.deepcopy(container[key]))
        return parent
    for child in node.children.values():
        if (
            child.min >= 1
            and not child.fixed
            and not child.pattern
            and isinstance(container[key], dict)
            and child.name in container[key]
        ):
            del container[key][child.name]
            return where
    profiles = [p for each in node.types for p in each.profiles if not p.startswith(CORE)]
    if profiles and isinstance(container[key], dict):
        for name in [each for each in container[key] if each.startswith(("value", "extension"))]:
            del container[key][name]
        container[key]["valueInteger64"] = "1"
        return where
    return ""
