"""What FHIR adds to FHIRPath. https://hl7.org/fhir/R5/fhirpath.html#functions."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.path.code import (
    NONE,
    Code,
    Env,
    Items,
    Subsumption,
    boxed,
    condition,
    single,
    values,
)
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.functions.table import Arguments, function
from dmed.fhir.path.items import Stub, Typed, type_of
from dmed.fhir.path.navigate import navigate
from dmed.fhir.values import named_type

_EXTENSION_TYPES = ("Extension",)


@function("extension", 1)
def _extension(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run = navigate(source, "extension", strict=False).run
    address = values(compiler.code(arguments[0], scope))

    def keep(env: Env, this: Items) -> Items:
        found = run(env, this)
        if not found:
            return NONE
        wanted = single(address(env, this), "extension()")
        return [each for each in found if each.url == wanted]

    return Code(keep, _EXTENSION_TYPES)


@function("hasValue")
def _has_value(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = boxed(source)

    def test(env: Env, this: Items) -> bool:
        items = run(env, this)
        return len(items) == 1 and _value_of(items[0]) is not None

    return condition(test)


@function("getValue")
def _get_value(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = values(source)

    def give(env: Env, this: Items) -> Items:
        items = run(env, this)
        return items if len(items) == 1 and _value_of(items[0]) is not None else NONE

    return Code(give, None, many=False)


def _value_of(item: Any) -> Any:
    if type(item) is Typed:
        return item.value
    return None if isinstance(item, (msgspec.Struct, Stub)) else item


# References ----------------------------------------------------------------------------------


@function("resolve")
def _resolve(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    """What a reference points to: a contained record, an entry of the Bundle around it, or what
    the hooks find; otherwise a Stub that knows its type, enough for `resolve() is Patient`.
    """
    run = source.run

    def follow(env: Env, this: Items) -> Items:
        items = run(env, this)
        if not items:
            return NONE
        return [each for item in items if (each := _target(env, item)) is not None]

    return Code(follow)


def _target(env: Env, item: Any) -> Any:
    address, type_name = _address(item)
    if not address:
        return Stub(type_name, "") if type_name else None
    if address.startswith("#"):
        return _contained(env, address[1:])
    found = _entry(env.root, address)
    if found is None:
        found = env.hooks.resolve(address)
    if found is not None:
        return found
    kind, _, rest = address.partition("/")
    # Most references are Type/id, which needs no pattern.
    known = kind if kind in facts().types and "/" not in rest else named_type(address)
    return Stub(known or type_name, address)


def _address(item: Any) -> tuple[str, str]:
    if type(item) is Typed:
        return (item.value or "", "")
    if isinstance(item, str):
        return item, ""
    address = getattr(item, "reference", UNSET)
    if isinstance(address, msgspec.Struct):  # A CodeableReference holds a Reference.
        return _address(address)
    named = getattr(item, "type", UNSET)
    type_name = named if isinstance(named, str) else ""
    return (address if isinstance(address, str) else ""), type_name.rpartition("/")[2]


def _contained(env: Env, id_: str) -> Any:
    for holder in (env.resource, env.root):
        if not id_:
            return env.root
        for each in getattr(holder, "contained", UNSET) or ():
            if each.id == id_:
                return each
    return None


def _entry(root: Any, address: str) -> Any:
    """The record in a Bundle that has this address, absolute or relative."""
    if getattr(root, "fhir_type", "") != "Bundle" or root.entry is UNSET:
        return None
    for each in root.entry:
        url, resource = each.fullUrl, each.resource
        if resource is UNSET:
            continue
        if url == address or (url is not UNSET and url.endswith(f"/{address}")):
            return resource
        if resource.id is not UNSET and address == f"{resource.fhir_type}/{resource.id}":
            return resource
    return None


# What only the outside can answer --------------------------------------------------------------


@function("memberOf", 1)
def _member_of(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run, value_set = boxed(source), values(compiler.code(arguments[0], scope))

    def test(env: Env, this: Items) -> bool | None:
        item = single(run(env, this), "memberOf()")
        address = single(value_set(env, this), "memberOf()")
        if item is None or address is None:
            return None
        return env.hooks.member_of(item, address)

    return condition(test)


@function("conformsTo", 1)
def _conforms_to(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run, profile = source.run, values(compiler.code(arguments[0], scope))

    def test(env: Env, this: Items) -> bool | None:
        item, address = single(run(env, this), "conformsTo()"), single(profile(env, this), "it")
        if item is None or address is None:
            return None
        base = "http://hl7.org/fhir/StructureDefinition/"
        if isinstance(address, str) and address.startswith(base):
            name = address.removeprefix(base)
            if name in facts().types:
                return facts().is_a(type_of(item), name)
        found = env.hooks.conforms_to(item, address)
        if found is None:
            raise PathExecutionError(f"the profile {address} is not known here")
        return found

    return condition(test)


def _subsumption(name: str, *, turned: bool) -> None:
    """subsumes() and subsumedBy(), which hooks with that knowledge answer."""

    @function(name, 1)
    def build(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
        run, other = boxed(source), boxed(compiler.code(arguments[0], scope))

        def test(env: Env, this: Items) -> bool | None:
            one, two = single(run(env, this), f"{name}()"), single(other(env, this), f"{name}()")
            if one is None or two is None or not isinstance(env.hooks, Subsumption):
                return None
            return env.hooks.subsumes(two, one) if turned else env.hooks.subsumes(one, two)

        return condition(test)


_subsumption("subsumes", turned=False)
_subsumption("subsumedBy", turned=True)


@function("checkModifiers", 0, 50)
def _check_modifiers(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    """The input, when it has no modifier extension but the named ones; otherwise an error."""
    run = source.run
    named = [values(compiler.code(each, scope)) for each in arguments]

    def check(env: Env, this: Items) -> Items:
        items = run(env, this)
        known = {address for each in named for address in each(env, this)}
        for item in items:
            for extension in getattr(item, "modifierExtension", UNSET) or ():
                if extension.url not in known:
                    raise PathExecutionError(f"the modifier {extension.url} is not known here")
        return items

    return Code(check, source.types, source.many)


# Narrative -----------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAGS = _words(
    "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 "
    "h3 h4 h5 h6 hr i img li ol p pre q s samp small span strong sub sup table tbody td tfoot th "
    "thead tr tt u ul var"
)
_ATTRIBUTES = _words(
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign "
    "char charoff charset cite class colspan compact coords dir frame headers height href hreflang "
    "hspace id lang longdesc name nowrap rel rev rowspan rules scope shape span src start style "
    "summary tabindex title type valign value vspace width"
)
_XHTML = "{http://www.w3.org/1999/xhtml}"
_XML = "{http://www.w3.org/XML/1998/namespace}"
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9A-Fa-f]+);)\w+;")


def is_safe_narrative(text: str) -> bool:
    """Whether a narrative's div is well formed, has content, and only the elements and attributes
    that FHIR allows (https://hl7.org/fhir/R5/narrative.html#rules).
    """
    if "<!" in text.replace("<!--", "") or "<?" in text:
        return False
    try:
        # No document type is let through above, so there is no entity to expand.
        root = ET.fromstring(_ENTITY.sub(" ", text))  # noqa: S314  # Same reason.
    except ET.ParseError:
        return False
    if root.tag != f"{_XHTML}div":
        return False
    if not all(_is_safe(each) for each in root.iter()):
        return False
    return bool("".join(root.itertext()).strip()) or root.find(f".//{_XHTML}img") is not None


def _is_safe(element: ET.Element) -> bool:
    if not isinstance(element.tag, str) or element.tag.removeprefix(_XHTML) not in _TAGS:
        return False
    for name, value in element.attrib.items():
        if name.removeprefix(_XML) not in _ATTRIBUTES and name != f"{_XML}lang":
            return False
        if name in ("href", "src") and value.strip().lower().startswith("javascript:"):
            return False
    return True


@function("htmlChecks")
@function("htmlChecks2")
def _html_checks(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = boxed(source)

    def test(env: Env, this: Items) -> bool | None:
        item = single(run(env, this), "htmlChecks()")
        value = _value_of(item)
        if not isinstance(value, str):
            return None
        is_narrative = type(item) is Typed and item.type == "xhtml"
        return is_safe_narrative(
            value if is_narrative else f"<div xmlns='{_XHTML[1:-1]}'>{value}</div>"
        )

    return condition(test)
