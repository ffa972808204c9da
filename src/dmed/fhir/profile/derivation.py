"""A profile beside the one that it derives from: it may narrow, never widen.

https://hl7.org/fhir/R5/profiling.html#limitations. Whatever fits a profile must fit its base too.
Compared is what a differential says with what the base says of the same element, without slices:
cardinality, types, targets of references, required bindings, and what is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from dmed.fhir.facts import UNBOUNDED, facts
from dmed.fhir.profile.definition import CORE, Node, TypeRef
from dmed.fhir.profile.fields import element_of, kinds
from dmed.fhir.profile.locate import steps_of
from dmed.fhir.profile.run import Library, ProfileRun
from dmed.fhir.types import struct_of
from dmed.fhir.validate_run import Place, any_of

_DEPTH_MAX = 20
_OPEN = frozenset({"Resource", "DomainResource", "Element", "BackboneElement"})


def derivation_issues(resource: Any, place: Place, run: ProfileRun) -> None:
    """Compare a StructureDefinition that constrains with its base, where that is known."""
    if resource.fhir_type != "StructureDefinition" or resource.derivation != "constraint":
        return
    base = resource.baseDefinition
    name = resource.type.removeprefix(CORE) if resource.type is not UNSET else ""
    if base is UNSET or name not in facts().types or resource.differential is UNSET:
        return
    root = run.library.root_of(base)
    for index, element in enumerate(resource.differential.element):
        where: Place = ((place, "differential", -1), "element", index)
        _one(element, name, root, where, run)


def _one(element: Any, type_name: str, root: Node | None, where: Place, run: ProfileRun) -> None:
    path = element.path
    slice_name = element.sliceName
    if path is UNSET or slice_name is not UNSET or ":" in (element.id or ""):
        return  # A slice may ask for less than the whole element does.
    names = path.split(".")[1:]
    found = _owner(type_name, names)
    if found is None:
        return
    node = root
    for name in names:
        node = None if node is None else node.children.get(name.removesuffix("[x]"))
    own = kinds(found, names[-1].removesuffix("[x]")) if names else ()
    _discriminators(element, own, where, run)
    if names:
        _cardinality(element, (found, names[-1]), node, where, run)
    _types(element, own, node, where, run)
    if node is not None:
        _values(element, node, where, run)


def _owner(type_name: str, names: Sequence[str]) -> str | None:
    """The type that an element belongs to; None where a path leaves what R5 says itself."""
    owner = type_name
    for name in names[:-1]:
        found = kinds(owner, name.removesuffix("[x]"))
        if len(found) != 1:
            return None
        owner = found[0]
    if names and element_of(owner, names[-1].removesuffix("[x]")) is None:
        return None
    return owner


def _cardinality(
    element: Any, at: tuple[str, str], node: Node | None, where: Place, run: ProfileRun
) -> None:
    known = element_of(at[0], at[1].removesuffix("[x]"))
    assert known is not None, "the owner was found by it"
    low = known.min if node is None else max(known.min, node.min)
    high = known.max
    if node is not None and node.max != UNBOUNDED:
        high = node.max if high == UNBOUNDED else min(high, node.max)
    if element.min is not UNSET and element.min < low:
        run.note("structure", f"min {element.min} is less than {low} of the base",
                 (where, "min", -1))  # fmt: skip  # One sentence.
    if element.max is UNSET or high == UNBOUNDED:
        return
    if element.max == "*" or (element.max.isdecimal() and int(element.max) > high):
        run.note("structure", f"max {element.max} is more than {high} of the base",
                 (where, "max", -1))  # fmt: skip  # One sentence.


def _types(
    element: Any, allowed: tuple[str, ...], node: Node | None, where: Place, run: ProfileRun
) -> None:
    if element.type is UNSET:
        return
    above = {each.code: each for each in node.types if each.code} if node is not None else {}
    codes = tuple(above) or allowed
    for index, each in enumerate(element.type):
        code = each.code
        place: Place = (where, "type", index)
        if code is not UNSET and each.profile is not UNSET:
            _profiles(code, each.profile, place, run)
        if code is UNSET or "/" in code or not codes or _OPEN.intersection(codes):
            continue
        if not any(facts().is_a(code, one) for one in codes):
            run.note("structure", f"the type {code} is none of the base's {any_of(codes)}", place)
        elif code in above and each.targetProfile is not UNSET:
            _targets(above[code], each.targetProfile, place, run)


def _profiles(code: str, profiles: Sequence[Any], place: Place, run: ProfileRun) -> None:
    """A profile of a type is one of that type, or of what derives from it."""
    for number, profile in enumerate(profiles):
        kind = run.library.type_of(profile) if profile else ""
        if kind and code in facts().types and not facts().is_a(kind, code):
            run.note("structure", f"{profile:.200} is a profile of {kind}, the element is a {code}",
                     (place, "profile", number))  # fmt: skip  # One sentence.


def _discriminators(
    element: Any, allowed: tuple[str, ...], where: Place, run: ProfileRun
) -> None:
    """The path of a discriminator leads to an element of what is sliced. A warning, since R5's
    own subscription-notification-bundle has one that does not.
    """
    slicing = element.slicing
    given = UNSET if slicing is UNSET else slicing.discriminator
    known = [kind for kind in allowed if kind in facts().types and kind not in _OPEN]
    if given is UNSET or len(known) != len(allowed) or not known:
        return
    for number, each in enumerate(given):
        steps = () if each.path is UNSET else steps_of(each.path)
        first = steps[0] if steps else None
        if first is None or first.kind != "child":
            continue
        if not any(kinds(kind, first.name) for kind in known):
            run.note("structure", f"'{each.path:.100}' is no element of {any_of(known)}",
                     ((where, "slicing", -1), "discriminator", number), "warning")  # fmt: skip


def _targets(base: TypeRef, targets: Sequence[Any], place: Place, run: ProfileRun) -> None:
    if not base.targets:
        return
    for number, target in enumerate(targets):
        if target is None or _is_below(target, base.targets, run.library, 0) is not False:
            continue
        run.note("structure", f"{target} is no profile of {any_of(base.targets)}, to which the "
                 "base lets the reference point", (place, "targetProfile", number))  # fmt: skip


def _is_below(
    target: str, wanted: Sequence[str], library: Library, depth: int
) -> bool | None:
    """Whether what fits a profile fits one of the wanted ones; None where that is not known."""
    url = target.partition("|")[0]
    if url in {each.partition("|")[0] for each in wanted}:
        return True
    name = url.removeprefix(CORE)
    if name in facts().types:
        return any(
            facts().is_a(name, each.removeprefix(CORE))
            for each in wanted if each.removeprefix(CORE) in facts().types
        )
    found = library.definition(url)
    if found is None or depth > _DEPTH_MAX:
        return None
    verdicts = [_is_below(each, wanted, library, depth + 1)
                for each in (found.base, *found.imposed) if each]  # fmt: skip  # One list.
    return True if True in verdicts else None if None in verdicts else False


_FIXED = tuple(name for name in struct_of("ElementDefinition").__struct_fields__
               if name.startswith(("fixed", "pattern")) and not name.endswith("__ext"))


def _values(element: Any, node: Node, where: Place, run: ProfileRun) -> None:
    """What the base fixes stays fixed; a required binding stays required."""
    if node.fixed is not None:
        for name in _FIXED:
            given = getattr(element, name)
            if given is not UNSET and isinstance(given, str) and given != node.fixed.value:
                run.note("value", f"the base fixes this to '{node.fixed.value!s:.100}'",
                         (where, name, -1))  # fmt: skip  # One sentence.
    binding = element.binding
    required = [each for each in node.bindings if each.strength == "required" and not each.usage]
    if binding is not UNSET and required and binding.strength not in {"required", UNSET}:
        run.note("structure", f"the binding is required in the base, here {binding.strength}",
                 ((where, "binding", -1), "strength", -1))  # fmt: skip  # One sentence.
