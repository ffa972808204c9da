"""`%terminologies` of FHIRPath, answered by a library: https://hl7.org/fhir/R5/fhirpath.html#txapi"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from dmed.fhir import codec
from dmed.fhir.path import Typed
from dmed.fhir.terminology.check import Ask, in_set, in_system
from dmed.fhir.terminology.expand import Wish, expansion
from dmed.fhir.terminology.library import Library, split
from dmed.fhir.terminology.lookup import lookup, subsumes
from dmed.fhir.terminology.model import Coding, ConceptMap, ValueSet
from dmed.fhir.terminology.translate import Question, translate
from dmed.kit.errors import DmedError, InvalidError

_COUNT_MAX = 1_000
"""Most codes of an expansion inside an expression, where it does not say how many."""


def terminology(library: Library, operation: str, given: list[Any], parameters: str) -> Any | None:
    """The answer of an operation of `%terminologies` as a struct or Typed; None where the library
    does not know or the question cannot be read.
    """
    try:
        return _OPERATIONS[operation](library, given, dict(parse_qsl(parameters)))
    except (DmedError, ValueError):
        return None


def _expand(library: Library, given: list[Any], more: dict[str, str]) -> Any:
    asked = _definition(given[0], ValueSet)
    head = library.head("ValueSet", asked) if isinstance(asked, str) else asked
    wish = Wish(
        filter=more.get("filter", ""), offset=int(more.get("offset", "0")),
        count=int(more.get("count", _COUNT_MAX)), language=more.get("displayLanguage", ""),
        active_only=more.get("activeOnly") == "true",
        include_designations=more.get("includeDesignations") == "true")  # fmt: skip  # One wish.
    made = {"resourceType": "ValueSet", "url": head.url if head else "", "status": "active",
            "expansion": expansion(library.members(asked), wish, "1970-01-01T00:00:00Z")}
    return _struct({key: value for key, value in made.items() if value})


def _lookup(library: Library, given: list[Any], more: dict[str, str]) -> Any:
    coding = _codings(given[0], more)[0]
    return _parameters(lookup(
        library, coding.system, coding.code, version=coding.version,
        language=more.get("displayLanguage", "")))  # fmt: skip  # One thought.


def _validate_set(library: Library, given: list[Any], more: dict[str, str]) -> Any:
    asked = _definition(given[0], ValueSet)
    name = asked if isinstance(asked, str) else asked.url
    return _parameters(in_set(library, library.members(asked), name, _ask(given[1], more)))


def _validate_system(library: Library, given: list[Any], more: dict[str, str]) -> Any:
    asked = given[0].value if isinstance(given[0], Typed) else given[0]
    url, version = split(asked) if isinstance(asked, str) else (str(asked.url), "")
    return _parameters(in_system(library, url, version, _ask(given[1], {"system": url, **more})))


def _subsumes(library: Library, given: list[Any], _more: dict[str, str]) -> Any:
    system = _plain(given[0])
    one, two = (_codings(each, {"system": system})[0] for each in given[1:3])
    return Typed(subsumes(library, system, one.code, two.code), "code")


def _translate(library: Library, given: list[Any], more: dict[str, str]) -> Any:
    asked = _definition(given[0], ConceptMap)
    found = library.concept_map(asked) if isinstance(asked, str) else asked
    if found is None:
        return None
    question = Question(
        codings=_codings(given[1], more), target_system=more.get("targetSystem", ""),
        is_reverse=more.get("reverse") == "true", source_scope="", target_scope="")
    return _parameters(translate(library, [found], question))


_OPERATIONS = {
    "expand": _expand, "lookup": _lookup, "validateVS": _validate_set,
    "validateCS": _validate_system, "subsumes": _subsumes, "translate": _translate,
}  # fmt: skip  # A table.


def _plain(item: Any) -> str:
    found = item.value if isinstance(item, Typed) else item
    if not isinstance(found, str):
        raise InvalidError("a text is wanted")
    return found


def _definition(item: Any, kind: type[Any]) -> Any:
    """The address that is given, or the definition itself as terminology reads it."""
    if isinstance(item, Typed | str):
        return _plain(item)
    return msgspec.json.decode(codec.encode(item), type=kind)


def _codings(item: Any, more: dict[str, str]) -> tuple[Coding, ...]:
    """The codings of a code, Coding or CodeableConcept; a plain code takes its system apart."""
    if isinstance(item, Typed | str):
        return (Coding(more.get("system", ""), more.get("version", ""), _plain(item)),)
    body = msgspec.to_builtins(item)
    listed = body.get("coding", [body])
    found = tuple(msgspec.convert(each, Coding) for each in listed if each.get("code"))
    if not found:
        raise InvalidError("there is no code")
    return found


def _ask(item: Any, more: dict[str, str]) -> Ask:
    codings = _codings(item, more)
    is_concept = not isinstance(item, Typed | str) and hasattr(item, "coding")
    return Ask(codings=codings, is_concept=is_concept, language=more.get("displayLanguage", ""),
               infer_system=more.get("inferSystem") == "true")  # fmt: skip  # One thought.


def _parameters(listed: list[dict[str, Any]]) -> Any:
    return _struct({"resourceType": "Parameters", "parameter": listed})


def _struct(body: dict[str, Any]) -> Any:
    return codec.decode(msgspec.json.encode(body))
