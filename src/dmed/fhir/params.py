"""Search parameters of R5: what they are, and the index rows that a record gives them.

Specification: https://hl7.org/fhir/R5/searchparameter-registry.html. Not indexed: `_id` (it is
the key), `_lastUpdated` (it is in the version id), `_in` (membership, which stands in the group),
and parameters of type special that are neither a place (`near`) nor an area (`contains`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir import params_contained, path, persons
from dmed.fhir.facts import SearchComponent, SearchFacts, facts
from dmed.fhir.index import Index, modified_number, parameter_number
from dmed.fhir.params_composites import Composites
from dmed.fhir.params_plan import Branch, Plan, Step, branches, lay, places, plain_path
from dmed.fhir.params_rows import reference_owners, writer_of_any
from dmed.fhir.path.parser import parse
from dmed.fhir.path.tree import Node
from dmed.kit.errors import InvalidError

_SHARED = ("Resource", "DomainResource")
_UNINDEXED = frozenset({"_id", "_lastUpdated", "_in"})
_OWN = "{def}"
"""In a compartment's definition: the record itself is the compartment."""


class Component(msgspec.Struct, frozen=True):
    """One part of a composite parameter: the code and kind of the parameter it refers to."""

    code: str
    type: str
    expression: str


class SearchParameter(msgspec.Struct, frozen=True):
    """One search parameter of one resource type.

    `type` is string, token, date, number, quantity, reference, uri, composite or special;
    `targets` are the types that a reference may point to (empty: any); `is_indexed` is false
    where no row is ever written for it.
    """

    resource: str
    code: str
    type: str
    number: int
    expression: str = ""
    url: str = ""
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    comparators: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    multiple_or: bool = True
    multiple_and: bool = True
    is_own: bool = False
    """Whether the installation added it to those of R5."""

    @property
    def is_indexed(self) -> bool:
        """Whether `extract` writes rows for it."""
        if self.type == "special":
            return self.is_place or self.is_area
        return bool(self.expression) and self.code not in _UNINDEXED

    @property
    def is_place(self) -> bool:
        """Whether it is special and asks for points on the earth, as `near` of Location does."""
        return self.type == "special" and (self.is_own or self.code == "near")

    @property
    def is_area(self) -> bool:
        """Whether it asks which areas hold a point, as `contains` of Location does."""
        return (self.resource, self.code, self.type) == ("Location", "contains", "special")


# Definitions -------------------------------------------------------------------------------


@cache
def _by_base() -> Mapping[str, list[SearchFacts]]:
    found: dict[str, list[SearchFacts]] = {}
    for each in facts().search:
        for base in each.base:
            found.setdefault(base, []).append(each)
    return found


@cache
def _by_url() -> Mapping[str, SearchFacts]:
    return {each.url: each for each in facts().search}


@cache
def parameters(type_name: str) -> Mapping[str, SearchParameter]:
    """All search parameters of a resource type by code: those of Resource and DomainResource
    included, and those that were installed; empty for a name that is no concrete resource type.
    """
    return {**_installed.get(type_name, {}), **standard(type_name)}


@cache
def standard(type_name: str) -> Mapping[str, SearchParameter]:
    """The search parameters that R5 itself defines for a resource type, by code."""
    if type_name not in facts().resources:
        return {}
    own = _by_base()
    bases = [base for base in _SHARED if facts().is_a(type_name, base)]
    found = [each for base in (*bases, type_name) for each in own.get(base, ())]
    return {each.code: _parameter(type_name, each) for each in found}


_installed: dict[str, dict[str, SearchParameter]] = {}
_own_urls: dict[str, SearchFacts] = {}
_waiting: frozenset[tuple[str, str]] = frozenset()
_generation = 0


def install(
    definitions: Mapping[tuple[str, str], SearchFacts], waiting: Iterable[tuple[str, str]] = ()
) -> None:
    """Serve these parameters, by (type, code), besides R5's own from now on, in this process.

    They replace those installed before. R5's own keep their codes. `waiting` are those (R5's own
    too) for which older records are still being indexed: they are written but not yet searched.
    """
    global _waiting, _generation  # noqa: PLW0603  # The one registry of this process.
    _installed.clear()
    _own_urls.clear()
    _own_urls.update({each.url: each for each in definitions.values()})
    for (type_name, code), found in definitions.items():
        made = msgspec.structs.replace(_parameter(type_name, found), is_own=True)
        _installed.setdefault(type_name, {})[code] = made
    _waiting = frozenset(waiting)
    _generation += 1
    for known in (parameters, _installed_plans, modified_numbers, place_types):
        known.cache_clear()


def installed() -> Mapping[tuple[str, str], SearchParameter]:
    """The parameters that are served besides R5's own, by (type, code)."""
    return {(name, code): each for name, codes in _installed.items()
            for code, each in codes.items()}


def generation() -> int:
    """Rises with every `install`: what was made of `parameters` before may be out of date."""
    return _generation


def waiting() -> frozenset[tuple[str, str]]:
    """(type, code) of parameters for which older records are still being indexed."""
    return _waiting


def _parameter(type_name: str, found: SearchFacts) -> SearchParameter:
    return SearchParameter(
        resource=type_name,
        code=found.code,
        type=found.type,
        number=parameter_number(type_name, found.code),
        expression=found.expression,
        url=found.url,
        targets=found.targets,
        components=tuple(_component(each) for each in found.components),
        comparators=found.comparators,
        modifiers=found.modifiers,
        multiple_or=found.multiple_or,
        multiple_and=found.multiple_and,
    )


def referred(definition: str) -> SearchFacts | None:
    """The parameter, of R5 or installed, that a component's definition names by its address."""
    url = definition.partition("|")[0]
    return _by_url().get(url) or _own_urls.get(url)


def _component(found: SearchComponent) -> Component:
    named = referred(found.definition)
    if named is None:
        # R5 refers to DeviceDefinition-version, which it does not define; it is a plain text.
        return Component(found.code, "string", found.expression)
    return Component(named.code, named.type, found.expression)


def compartment_params(compartment: str, type_name: str) -> tuple[str, ...]:
    """Codes of the reference parameters that put a record of a type into a compartment (Patient,
    Practitioner, Encounter, Device, RelatedPerson); empty where the type is in none.
    """
    codes = facts().compartments.get(compartment, {}).get(type_name, ())
    return tuple(code for code in codes if code != _OWN)


# Extraction --------------------------------------------------------------------------------


def extract(resource: Any) -> Index:
    """The index rows of a record (a struct of `fhir.types`), without duplicates.

    Raises InvalidError where a date or a number in it cannot be read; a validated record holds
    none such.
    """
    rows = Index()
    _plan(resource.fhir_type).walk(resource, rows)
    for plan in _installed_plans(resource.fhir_type).values():
        _walk_guarded(plan, resource, rows)
    if getattr(resource, "contained", UNSET) is not UNSET:
        params_contained.add(resource, rows, _of_part)
        _inward_plan(resource.fhir_type).walk(resource, rows)
    if resource.fhir_type == "Patient":
        rows.persons += persons.rows_of(resource)
    return _distinct(rows)


def _of_part(contained: Any) -> Index:
    """The rows of a contained resource: those of R5's own parameters."""
    rows = Index()
    _plan(contained.fhir_type).walk(contained, rows)
    return rows


@cache
def _inward_plan(type_name: str) -> Plan:
    """What finds the references of a record to what it contains."""
    root = Branch()
    for parameter in standard(type_name).values():
        if parameter.type != "reference" or not parameter.is_indexed:
            continue
        for node in branches(parse(parameter.expression)):
            for place, type_, _ in places(root, type_name, _steps(parameter, node) or []):
                if type_ in params_contained.POINTING:
                    place.actions.append(params_contained.inward(type_, parameter.number))
    return root.finished()


def _distinct(rows: Index) -> Index:
    for name in Index.__struct_fields__:
        found = getattr(rows, name)
        if len(found) > 1:
            setattr(rows, name, list(dict.fromkeys(found)))
    return rows


def patients(resource: Any) -> tuple[str, ...]:
    """Ids of the patients in whose compartments a record lies, in order of appearance.

    A Patient lies in its own first. https://hl7.org/fhir/R5/compartmentdefinition-patient.html
    """
    rows = Index()
    _compartment_plan(resource.fhir_type).walk(resource, rows)
    found = [id_ for _, type_, id_, _ in rows.references if type_ == "Patient"]
    if resource.fhir_type == "Patient" and resource.id is not UNSET:
        found.insert(0, resource.id)
    return tuple(dict.fromkeys(found))


@cache
def _plan(type_name: str) -> Plan:
    return _laid(standard(type_name).values()).finished()


@cache
def _installed_plans(type_name: str) -> Mapping[str, Plan]:
    # Each by itself: R5's own rows must not change with what is installed.
    return {code: _laid([each]).finished() for code, each in _installed.get(type_name, {}).items()}


def _walk_guarded(plan: Plan, resource: Any, rows: Index) -> None:
    """An installed expression that fails for a record gives no (more) rows: no write is lost."""
    with suppress(path.PathError, InvalidError):
        plan.walk(resource, rows)


def extract_installed(resource: Any, code: str) -> Index:
    """The index rows of a record for one installed parameter alone; none where it is not."""
    rows = Index()
    plan = _installed_plans(resource.fhir_type).get(code)
    if plan is not None:
        _walk_guarded(plan, resource, rows)
    return _distinct(rows)


def fits(type_name: str, found: SearchFacts) -> bool:
    """Whether any value can come of a definition at a type: of a composite, of each component."""
    parameter = msgspec.structs.replace(_parameter(type_name, found), is_own=True)
    root, composites = Branch(), Composites()
    _lay_parameter(root, composites, parameter)
    composites.lay()
    return composites.are_served and not root.finished().is_idle


@cache
def _compartment_plan(type_name: str) -> Plan:
    # Number 0: only the targets are wanted, nothing of what modifiers ask for.
    wanted = (parameters(type_name)[code] for code in compartment_params("Patient", type_name))
    return _laid(msgspec.structs.replace(each, number=0) for each in wanted).finished()


def _laid(wanted: Iterable[SearchParameter]) -> Branch:
    root, composites = Branch(), Composites()
    for parameter in wanted:
        if parameter.is_indexed:
            _lay_parameter(root, composites, parameter)
    composites.lay()
    return root


@cache
def modified_numbers(type_name: str, code: str, modifier: str) -> tuple[int, ...]:
    """Under which numbers the rows lie that a modifier (text, identifier, of-type) asks for.

    Parameters that index the same place of the record share these rows; there is one number for
    each place that the parameter reads.
    """
    parameter = parameters(type_name)[code]
    owners = set(_owners(type_name).get(parameter.number, ()))
    if not owners or not all(map(plain_path, branches(parse(parameter.expression)))):
        owners.add(parameter.number)  # What runs as FHIRPath shares with nobody.
    return tuple(sorted(modified_number(owner, modifier) for owner in owners))


@cache
def place_types(type_name: str, code: str) -> frozenset[str]:
    """The FHIR types of the values that a parameter reads; "" where only a record can tell."""
    parameter = parameters(type_name)[code]
    found = set()
    if not all(map(plain_path, branches(parse(parameter.expression)))):
        found.add("")
    wait = [_laid([parameter])]
    while wait:
        place = wait.pop()
        wait += [*place.children.values(), *place.filters.values()]
        found |= {type_ for _, type_ in place.leaves}
    return frozenset(found)


@cache
def _owners(type_name: str) -> Mapping[int, set[int]]:
    """By parameter, the numbers that its places have for rows of modifiers."""
    found: dict[int, set[int]] = {}
    wait = [_laid(standard(type_name).values())]
    while wait:
        place = wait.pop()
        wait += [*place.children.values(), *place.filters.values()]
        for (kind, type_), leaf in place.leaves.items():
            if kind not in {"token", "reference"}:
                continue
            # Only a plain Reference can be told apart by the type of its target.
            numbers = leaf if type_ == "Reference" else [(number, "") for number, _ in leaf]
            for shared, only in reference_owners(tuple(numbers)):
                for number, mine in numbers:
                    if mine == only:
                        found.setdefault(number, set()).add(shared)
    return found


def _lay_parameter(root: Branch, composites: Composites, parameter: SearchParameter) -> None:
    for node in branches(parse(parameter.expression)):
        if plain_path(node) is None:
            _lay_expression(root, parameter, node)
            continue
        steps = _steps(parameter, node)
        if steps is None:
            continue
        if parameter.type != "composite":
            lay(root, parameter.resource, steps, parameter.type, parameter.number)
            continue
        parts = tuple((each.type, each.expression) for each in parameter.components)
        for place, type_, _ in places(root, parameter.resource, steps):
            composites.add(place, type_, parts, parameter.number)


def _steps(parameter: SearchParameter, node: Node) -> list[Step] | None:
    """The steps of a plain path from its record on; None for what is none, or of another type."""
    steps = plain_path(node)
    if steps is None:
        return None
    head = steps[0].name
    if head in (parameter.resource, *_SHARED):
        return steps[1:]
    return None if head in facts().types else steps


def _lay_expression(root: Branch, parameter: SearchParameter, node: Node) -> None:
    """What is no plain path runs as FHIRPath on the whole record.

    One definition serves many types, so an alternative that does not compile for this type
    belongs to another.
    """
    try:
        expression = path.compile(node, parameter.resource, strict=True)
    except path.PathSemanticError:
        return
    kind, numbers = parameter.type, (parameter.number,)

    def write(resource: Any, rows: Index) -> None:
        for type_name, value in expression.typed(resource):
            made = writer_of_any(kind, type_name, numbers)
            if made is not None and value is not None:
                made(value, rows)

    root.actions.append(write)
