"""Profiles of types, and what references may point to.

https://hl7.org/fhir/R5/elementdefinition.html#type. A target is judged by the type that the
reference names; where the resource itself is at hand (contained, or in the Bundle), by its profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.profile.definition import CORE, Node, TypeRef
from dmed.fhir.profile.run import Check, Item, Library, ProfileRun, type_in
from dmed.fhir.validate_run import any_of

_ANY = CORE + "Resource"


def type_profiles_check(node: Node) -> Check | None:
    """A value against the profiles of its type: one of them must hold."""
    wanted: dict[str, tuple[str, ...]] = {
        each.code: each.profiles for each in node.types if each.profiles
    }
    if not wanted:
        return None

    def check(item: Item, run: ProfileRun, /) -> None:
        profiles = wanted.get(item.type) or wanted.get("Resource")
        if profiles and item.value is not None:
            against(item, profiles, run)

    return check


def against(item: Item, profiles: Sequence[str], run: ProfileRun) -> None:
    """Check an item against the one profile, or note that none of several holds."""
    known = [(each, run.library.check_of(each)) for each in profiles]
    checks = [(each, check) for each, check in known if check is not None]
    if not checks:
        if not any(each.startswith(CORE) for each in profiles):
            run.note("not-supported", f"not checked: the profile {any_of(profiles)} is not "
                     "installed", item.place, "information")  # fmt: skip  # One sentence.
        return
    if len(known) == 1:
        url, check = checks[0]
        key = id(item.value), url
        if key not in run.seen:
            run.seen.add(key)
            check(item, run)
        return
    if len(checks) == len(known) and not any(run.is_sound(check, item) for _, check in checks):
        run.note("structure", f"the value fits none of the profiles {any_of(profiles)}", item.place)


def target_check(node: Node) -> Check | None:
    """References and canonicals whose targets a profile restricts."""
    wanted = {each.code: each for each in node.types if each.targets or each.aggregation}
    if not wanted:
        return None

    def check(item: Item, run: ProfileRun, /) -> None:
        given = wanted.get(item.type)
        if given is None or item.type == "canonical" or item.value is None:
            return
        reference = item.value.reference if item.type == "CodeableReference" else item.value
        if reference is not UNSET:
            _refer(given, reference, item, run)

    return check


def _refer(given: TypeRef, reference: Any, item: Item, run: ProfileRun) -> None:
    address = "" if reference.reference is UNSET else reference.reference
    found = run.resolve(address) if address else None
    if given.aggregation and address:
        mode = "contained" if address.startswith("#") else "bundled" if found else "referenced"
        # Outside a Bundle nobody can tell what a Bundle will carry.
        unknown = mode == "referenced" and run.bundle is None and "bundled" in given.aggregation
        # A resource that stands in the Bundle may be referred to as any other.
        allowed = {*given.aggregation, *({"bundled"} if "referenced" in given.aggregation else ())}
        if mode not in allowed and not unknown:
            run.note("structure", f"the reference is {mode}, it must be "
                     f"{any_of(given.aggregation)}", item.place)  # fmt: skip  # One sentence.
    if not given.targets or _ANY in given.targets:
        return
    named = "" if reference.type is UNSET else reference.type
    actual = found[0].fhir_type if found else type_in(address) or named
    types = target_types(given.targets, run.library)
    if actual and types and not any(facts().is_a(actual, each) for each in types):
        run.note("structure", f"the reference is to a {actual}, allowed are {any_of(types)}",
                 item.place)  # fmt: skip  # One sentence.
    elif found:
        _conforming(given.targets, found, item, run)


def _conforming(
    targets: Sequence[str], found: tuple[Any, Any], item: Item, run: ProfileRun
) -> None:
    """The resource that is at hand must fit one of the target profiles of its type."""
    resource, place = found
    verdicts: list[bool | None] = []
    profiles: list[str] = []
    for each in targets:
        kind = run.library.type_of(each)
        if not kind or not facts().is_a(resource.fhir_type, kind):
            continue
        if each.removeprefix(CORE) in facts().types:
            return
        target = Item(resource, None, resource.fhir_type, place)
        verdicts.append(_fits(target, each, run))
        profiles.append(each)
    if verdicts and not any(each is not False for each in verdicts):
        run.note("structure", f"the {resource.fhir_type} that is referred to does not fit the "
                 f"profile {any_of(profiles)}", item.place)  # fmt: skip  # One sentence.


def _fits(target: Item, profile: str, run: ProfileRun) -> bool | None:
    outer = run.resource, run.root
    run.resource = target.value
    if target.place[1] != "contained":
        run.root = target.value
    try:
        return run.conforms(target, profile)
    finally:
        run.resource, run.root = outer


def target_types(targets: Sequence[str], library: Library) -> tuple[str, ...]:
    """The types of target profiles; empty when one is not known, so that nothing is refused."""
    found = [library.type_of(each) for each in targets]
    return () if "" in found else tuple(dict.fromkeys(found))
