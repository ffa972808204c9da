"""Search parameters that an installation adds: read from SearchParameter records, and judged.

https://hl7.org/fhir/R5/searchparameter.html. What cannot be served is told when it is stored.
R5's own definitions may be stored too, as guides do: they add nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import UNSET

from dmed.fhir import params, path
from dmed.fhir.facts import SearchComponent, SearchFacts, facts
from dmed.fhir.index import parameter_number
from dmed.fhir.params_plan import branches, plain_path
from dmed.fhir.path.parser import parse
from dmed.kit.errors import Issue

SIMPLE = frozenset({"string", "token", "date", "number", "quantity", "reference", "uri"})
"""Types whose values may also be components of a composite."""
KINDS = SIMPLE | {"composite", "special"}
GEOLOCATION = "http://hl7.org/fhir/StructureDefinition/geolocation"
"""The extension by which an address, say, names a place on the earth."""
EXPRESSION_MAX = 4_000
"""Longest expression, in characters."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)


def definitions(resource: Any) -> dict[tuple[str, str], SearchFacts]:
    """What an active SearchParameter (a struct) adds, by (type, code); empty for one with faults,
    one that is not active, and R5's own.
    """
    if not _is_own(resource) or _faults(resource):
        return {}
    found = _facts_of(resource)
    return {(name, found.code): found for name in _types(found.base)
            if found.code not in params.standard(name)}


def faults(resource: Any) -> list[Issue]:
    """Why an active SearchParameter cannot take effect, each fault with its place."""
    if not _is_own(resource):
        return []
    return _faults(resource) or list(_taken(_facts_of(resource)))


def _is_own(resource: Any) -> bool:
    return resource.status == "active" and resource.url not in _standard_urls()


@cache
def _standard_urls() -> frozenset[str]:
    return frozenset(each.url for each in facts().search)


@cache
def _standard_numbers() -> dict[int, str]:
    return {each.number: f"{name}.{code}" for name in facts().resources
            for code, each in params.standard(name).items()}


def _facts_of(resource: Any) -> SearchFacts:
    def said(value: Any) -> Any:
        return () if value is UNSET else tuple(value)

    return SearchFacts(
        id=resource.id if isinstance(resource.id, str) else "", url=resource.url,
        code=resource.code, base=said(resource.base), type=resource.type,
        expression=resource.expression if isinstance(resource.expression, str) else "",
        targets=said(resource.target),
        components=tuple(
            SearchComponent("", each.definition, each.expression)
            for each in said(resource.component)))


def _types(base: tuple[str, ...]) -> tuple[str, ...]:
    """The concrete types of a definition's bases."""
    return tuple(name for name in facts().resources
                 if any(facts().is_a(name, each) for each in base))


def _faults(resource: Any) -> list[Issue]:
    found = _facts_of(resource)
    return (_shape(found) or [*_components(found), *_special(found)]
            or list(_expression(found)))


def _shape(found: SearchFacts) -> list[Issue]:
    issues = []
    if not _CODE.fullmatch(found.code):
        issues.append(_issue("code", f"{found.code[:70]!r} is no code that a search can name"))
    if found.type not in KINDS:
        issues.append(_issue(
            "type", f"parameters of type {found.type} are not served ({', '.join(sorted(KINDS))})",
            "not-supported"))
    for number, name in enumerate(found.base):
        known = facts().types.get(name)
        if known is None or known.kind != "resource":
            issues.append(_issue(f"base[{number}]", f"{name[:70]!r} is no resource type"))
    if not found.expression:
        issues.append(_issue("expression", "an active parameter needs an expression"))
    elif len(found.expression) > EXPRESSION_MAX:
        issues.append(_issue("expression", f"longer than {EXPRESSION_MAX} characters"))
    return issues


def _components(found: SearchFacts) -> Iterator[Issue]:
    """A composite joins values of one element, each of which a parameter of the type reads, too."""
    if found.type != "composite":
        if found.components:
            yield _issue("component", "only a composite has components")
        return
    if len(found.components) < 2:
        yield _issue("component", "a composite has two components or more")
    if not _is_plain(found.expression):
        yield _issue("expression", "the expression of a composite is a path, without functions")
    for number, each in enumerate(found.components):
        place = f"component[{number}]"
        named = params.referred(each.definition)
        if named is None:
            yield _issue(f"{place}.definition", f"{each.definition[:200]!r} is not known here")
        elif named.type not in SIMPLE:
            yield _issue(f"{place}.definition", f"a part of type {named.type} is not served",
                         "not-supported")
        else:
            for name in _types(found.base):
                if named.code not in params.parameters(name):
                    yield _issue(f"{place}.definition", f"{name} has no parameter {named.code}")
        if not _is_plain(each.expression):
            yield _issue(f"{place}.expression", f"{each.expression[:200]!r} is no path")


def _special(found: SearchFacts) -> Iterator[Issue]:
    """A special parameter of one's own finds by distance, as `near` does: it reads places."""
    if found.type != "special" or GEOLOCATION in found.expression:
        return
    for part in branches(parse(found.expression)) if _is_plain(found.expression) else ():
        steps = plain_path(part) or []
        if steps and steps[-1].name == "position":
            return
    yield _issue("expression", "a parameter of type special reads places: Location.position, or "
                 f"the extension {GEOLOCATION}", "not-supported")


def _is_plain(expression: str) -> bool:
    try:
        return all(plain_path(part) is not None for part in branches(parse(expression)))
    except path.PathError:
        return False


def _expression(found: SearchFacts) -> Iterator[Issue]:
    """Each alternative must be right for one of the bases, and each base needs a right one."""
    try:
        parts = list(branches(parse(found.expression)))
    except path.PathError as error:
        yield _issue("expression", str(error))
        return
    right: set[int] = set()
    errors: dict[int, str] = {}
    for name in found.base:
        has_any = False
        for number, part in enumerate(parts):
            try:
                path.compile(part, name, strict=True)
            except path.PathError as error:
                errors.setdefault(number, str(error))
            else:
                right.add(number)
                has_any = True
        if not has_any:
            yield _issue("expression", f"finds nothing in {name}: {errors[0]}")
    for number, why in errors.items():
        if right and number not in right:
            yield _issue("expression", why)
    fitting = [name for name in _types(found.base) if params.fits(name, found)]
    if right and not fitting:
        yield _issue("type", f"the values of the expression cannot be sought as {found.type}")


def _taken(found: SearchFacts) -> Iterator[Issue]:
    installed = params.installed()
    for name in _types(found.base):
        if found.code in params.standard(name):
            yield _issue("code", f"R5 itself defines {found.code} of {name}", "duplicate")
            return
        other = installed.get((name, found.code))
        if other is not None and other.url != found.url:
            yield _issue("code", f"{other.url} defines {found.code} of {name}", "duplicate")
            return
        same = _standard_numbers().get(parameter_number(name, found.code))
        if same is not None:
            yield _issue("code", f"its number is that of {same}: choose another code", "duplicate")
            return


def _issue(place: str, why: str, code: str = "invalid") -> Issue:
    return Issue(code, why, f"SearchParameter.{place}")
