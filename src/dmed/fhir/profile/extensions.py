"""Extensions: known ones against their definition and the places where it lets them stand.

https://hl7.org/fhir/R5/extensibility.html and .../defining-extensions.html#context
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from dmed.fhir import path
from dmed.fhir.facts import facts
from dmed.fhir.profile.definition import Definition
from dmed.fhir.profile.fields import element_of, fields
from dmed.fhir.profile.run import Item, ProfileRun
from dmed.fhir.types import attribute
from dmed.fhir.validate_run import Met, Place, any_of

_HL7 = ("http://hl7.org/fhir/", "https://hl7.org/fhir/")
_RESOURCES_INSIDE = frozenset({"contained", "resource", "outcome"})


def extension_issues(met: Sequence[Met], run: ProfileRun) -> None:
    """Check every extension of a resource, those inside its contained ones too."""
    by_place = {id(each.place): each.value for each in met}
    for each in met:
        url = each.value.url
        if not isinstance(url, str):
            continue
        if ":" not in url:
            _inner(each, url, by_place, run)
            continue
        found = run.library.definition(url)
        if found is None:
            _unknown(each, url, run)
            continue
        check = run.library.check_of(url)
        key = id(each.value), found.url
        if check is not None and key not in run.seen:
            run.seen.add(key)
            outer = run.resource, run.root
            run.resource, run.root = each.resource, each.root
            check(Item(each.value, None, "Extension", each.place), run)
            run.resource, run.root = outer
        _context(each, found, by_place, run)


def _inner(met: Met, url: str, by_place: dict[int, Any], run: ProfileRun) -> None:
    """A short name is that of a part of the extension around it, and has no meaning elsewhere."""
    above = met.place[0]
    outer = None if above is None else by_place.get(id(above))
    if outer is None:
        run.note("value", f"'{url:.100}' is no absolute address of an extension", met.place)
        return
    found = run.library.definition(outer.url) if isinstance(outer.url, str) else None
    parts = None if found is None else _parts_of(found)
    if parts and url not in parts:
        run.note("structure", f"the extension {outer.url:.200} has no part '{url:.100}', only "
                 f"{any_of(sorted(parts))}", met.place)  # fmt: skip  # One sentence.


def _parts_of(found: Definition) -> frozenset[str]:
    """The names of the parts that a definition fixes; none where one of them is not fixed."""
    inner = found.root.children.get("extension")
    names = []
    for each in () if inner is None else inner.slices.values():
        fixed = each.children.get("url")
        if fixed is None or fixed.fixed is None:
            return frozenset()
        names.append(str(fixed.fixed.value))
    return frozenset(names)


def _unknown(met: Met, url: str, run: ProfileRun) -> None:
    if url.startswith(_HL7):
        return
    if met.place[1] == "modifierExtension":
        run.note("extension", f"the modifier extension {url:.200} is not known here: its meaning "
                 "cannot be kept", met.place, "warning")  # fmt: skip  # One sentence.
        return
    run.note("extension", f"the extension {url:.200} is not known here: not checked", met.place,
             "information")  # fmt: skip  # One sentence.


def _is_inside(above: Place, outer: Any, url: str, by_place: dict[int, Any]) -> bool:
    """Whether an extension stands in the extension of that address, or on its value."""
    if outer is None and above[1].startswith(("value", "_value")):
        outer = by_place.get(id(above[0]))
    return outer is not None and outer.url == url


_CANONICAL = {"CanonicalResource", "MetadataResource"}
"""Interfaces of R5 that stand in contexts, but are the base of no type."""


def _is_canonical(path: str) -> bool:
    found = facts().types.get(path)
    names = {each.name for each in found.elements} if found else set()
    return {"url", "version", "status"} <= names


def _context(met: Met, found: Definition, by_place: dict[int, Any], run: ProfileRun) -> None:
    above = met.place[0]
    if not (found.contexts or found.invariants) or above is None:
        return
    outer = by_place.get(id(above))
    path, kinds = place_of(above, met.resource.fhir_type)
    focus = _element_at(above, met.root)
    _invariants(met, found, focus, run)
    for kind, expression in found.contexts:
        if kind == "fhirpath" and _is_selected(expression, focus, met):
            return
        if kind == "extension" and _is_inside(above, outer, expression, by_place):
            return
        if kind == "element" and expression in _CANONICAL and _is_canonical(path):
            return
        if kind == "element" and _stands(expression.partition("#")[2] or expression, path, kinds):
            return
    if not found.contexts:
        return
    allowed = any_of([expression for _, expression in found.contexts])
    run.note("structure", f"the extension {found.url} may not stand on {path}, only on {allowed}",
             met.place)  # fmt: skip  # One sentence.


def _element_at(place: Place, root: Any) -> Any:
    """The struct, or the primitive's own value, that stands at a place; None where it is gone."""
    up, name, index = place
    if up is None:
        return root
    if name in _RESOURCES_INSIDE and name != "contained":
        return root  # An entry of a Bundle is a root of its own.
    outer = _element_at(up, root)
    found = getattr(outer, attribute(name), UNSET)
    if found is UNSET and name.startswith("_"):
        found = getattr(outer, attribute(name[1:]), UNSET)
    if index >= 0 and isinstance(found, list):
        found = found[index] if index < len(found) else UNSET
    return None if found is UNSET else found


def _is_selected(expression: str, focus: Any, met: Met) -> bool:
    """Whether a FHIRPath on the record selects the element; true where it cannot be run."""
    try:
        compiled = path.compile(expression, met.resource.fhir_type)
        found = compiled.evaluate(met.resource, resource=met.resource, root=met.root)
    except path.PathError:
        return True
    return any(each is focus or each == focus for each in found)


def _invariants(met: Met, found: Definition, focus: Any, run: ProfileRun) -> None:
    """Rules on the element that carries the extension, which they know as %extension."""
    kind = getattr(focus, "fhir_type", "")
    for each in found.invariants:
        try:
            compiled = path.compile(each, kind, variables=("extension",))
            said = compiled.evaluate(
                focus, resource=met.resource, root=met.root, variables={"extension": [met.value]})
        except path.PathError as error:
            run.note("not-supported", f"the rule of {found.url} cannot be run: {error}", met.place,
                     "information")  # fmt: skip  # One sentence.
            continue
        if said != [True]:
            run.note("invariant", f"the extension {found.url} may not stand here: {each:.300}",
                     met.place)  # fmt: skip  # One sentence.


def _stands(expression: str, path: str, kinds: tuple[str, ...]) -> bool:
    wanted = expression.replace("[x]", "").removeprefix("http://hl7.org/fhir/StructureDefinition/")
    if wanted == path or wanted in {"Element", "*"} or wanted in kinds:
        return True
    if wanted in {"CanonicalResource", "MetadataResource"}:
        return element_of(path, "url") is not None and element_of(path, "experimental") is not None
    head, _, rest = wanted.partition(".")
    own_head, _, own_rest = path.partition(".")
    return bool(rest) and rest == own_rest and facts().is_a(own_head, head)


def place_of(place: Place, resource_type: str) -> tuple[str, tuple[str, ...]]:
    """The element path of a place in its resource, and every type that the element is."""
    names: list[str] = []
    above: Place | None = place
    while above is not None:
        up, name, _ = above
        if up is None or name in _RESOURCES_INSIDE:
            break
        names.append(name)
        above = up
    path, owner = resource_type, resource_type
    suffixes = [resource_type]
    for name in reversed(names):
        plain = name.removeprefix("_")
        element = element_of(owner, plain)
        shown = plain if element is None else element.name
        # An element of a data type is known by the data type too: HumanName.family.
        suffixes = [f"{each}.{shown}" for each in suffixes]
        path = f"{path}.{shown}"
        known = fields(owner, plain)
        owner = known[0].type if known else owner
        suffixes.append(owner)
    kinds = list(suffixes)
    name = owner
    while name in facts().types and facts().types[name].base:
        name = facts().types[name].base
        kinds.append(name)
    return path, tuple(kinds)
