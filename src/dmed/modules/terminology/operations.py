"""The terminology operations over HTTP: https://hl7.org/fhir/R5/terminology-service.html

A FHIR service of everyone who is signed in. Nothing is changed, so GET and POST both serve; each
call leaves an audit row, though it tells of no person.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.fhir.terminology import Library, UnknownContentError
from dmed.fhir.terminology.check import Ask, in_set, in_system
from dmed.fhir.terminology.expand import Wish, expansion
from dmed.fhir.terminology.lookup import lookup as look_up
from dmed.fhir.terminology.lookup import subsumes as compare
from dmed.fhir.terminology.model import CodeSystem, Coding, ConceptMap, Head, ValueSet
from dmed.fhir.terminology.translate import Question
from dmed.fhir.terminology.translate import translate as translate_all
from dmed.kit import clock
from dmed.kit.errors import InvalidError, MediaTypeError, NotFoundError, NotSupportedError
from dmed.modules.terminology.model import CodeableConcept, Given, pairs_of_body
from dmed.modules.terminology.service import shelf_of
from dmed.trust.manifest import SIGNED_IN, Operation
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_encoder = msgspec.json.Encoder()
JSON_TYPE = "application/fhir+json; charset=utf-8"
Answer = Callable[[Library, Given, str, str], dict[str, Any]]
"""Of a library, what was given, the id of an instance or "", and the caller's languages."""


class Served:
    """The endpoint of an answer: reads the input, waits for the library, writes the audit row."""

    def __init__(self, type_: str, name: str, answer: Answer) -> None:
        self._type = type_
        self._name = name
        self.answer = answer
        self._act = f"{type_}/${name}"
        self.__doc__ = answer.__doc__

    async def __call__(self, request: Request) -> Response:
        """The answer to a request of any form."""
        pairs = await _pairs(request, self._name)
        instance = request.path_params.get("id", "")
        wish = request.headers.get("accept-language", "")
        body = await self.quick(
            request.app.state.gateway, request.state.subject, pairs, instance, wish)
        return Response(body, media_type=JSON_TYPE)

    async def quick(
        self, gateway: Gateway, subject: Subject, pairs: list[tuple[str, Any]], instance: str,
        accept_language: str,
    ) -> bytes:  # fmt: skip  # As trust.manifest.Quick has it.
        """The body of the answer to these parameters."""
        given = Given(pairs, self._type, self._name)
        supplements = given.texts("useSupplement")
        language = given.text("displayLanguage")
        if not language and accept_language != "*":
            language = accept_language[:200]

        def body(library: Library) -> bytes:
            for canonical in supplements:
                library.check_supplement(canonical)
            return _encoder.encode(self.answer(library, given, instance, language))

        return await shelf_of(gateway).answered(subject, self._act, body)


def _served(type_: str, name: str) -> Callable[[Answer], Served]:
    def made(answer: Answer) -> Served:
        return Served(type_, name, answer)

    return made


async def _pairs(request: Request, name: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = list(request.query_params.multi_items())
    body = await request.body() if request.method == "POST" else b""
    if body.strip():
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in {"application/fhir+json", "application/json", ""}:
            raise MediaTypeError(f"${name} reads application/fhir+json")
        pairs += pairs_of_body(body)
    return pairs


def _parameters(listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": listed}


def _instance(library: Library, type_: str, id_: str) -> Any:
    found = library.by_id(type_, id_)
    if found is None:
        raise NotFoundError(f"There is no {type_}/{id_[:64]} here")
    return found


# CodeSystem


@_served("CodeSystem", "lookup")
def lookup(library: Library, given: Given, _id: str, language: str) -> dict[str, Any]:
    """https://hl7.org/fhir/R5/codesystem-operation-lookup.html"""
    codings, _, _ = given.codings()
    coding = codings[0]
    return _parameters(look_up(
        library, coding.system, coding.code, version=coding.version or given.text("version"),
        language=language, properties=given.texts("property")))  # fmt: skip  # One thought.


@_served("CodeSystem", "validate-code")
def validate_in_system(library: Library, given: Given, id_: str, language: str) -> dict[str, Any]:
    """https://hl7.org/fhir/R5/codesystem-operation-validate-code.html"""
    url, version = given.text("url"), given.text("version")
    if id_:
        stored: CodeSystem = _instance(library, "CodeSystem", id_)
        url, version = stored.url, stored.version
    inline = given.structure("codeSystem", CodeSystem)
    if inline is not None:
        library = Library(with_own=False)
        library.put(msgspec.json.encode(inline))
        url, version = inline.url, inline.version
    return _parameters(in_system(library, url, version, _ask(given, language)))


def _ask(given: Given, language: str) -> Ask:
    codings, path, is_concept = given.codings()
    return Ask(
        codings=codings, path=path, is_concept=is_concept, language=language,
        no_abstract=given.flag("abstract") is False,
        infer_system=given.flag("inferSystem") is True,
        is_lenient=given.flag("lenient-display-validation") is True,
    )  # fmt: skip  # One thought.


@_served("CodeSystem", "subsumes")
def subsumes(library: Library, given: Given, id_: str, _language: str) -> dict[str, Any]:
    """https://hl7.org/fhir/R5/codesystem-operation-subsumes.html"""
    first, second = (_of_pair(given, letter) for letter in "AB")
    if first.system != second.system:
        raise InvalidError("Codes of two systems cannot be compared")
    url, version = first.system, first.version or given.text("version")
    if id_:
        stored: CodeSystem = _instance(library, "CodeSystem", id_)
        url, version = stored.url, stored.version
    outcome = compare(library, url, first.code, second.code, version)
    return _parameters([{"name": "outcome", "valueCode": outcome}])


def _of_pair(given: Given, letter: str) -> Coding:
    coding = given.structure(f"coding{letter}", Coding)
    if coding is None:
        coding = Coding(given.text("system"), "", given.text(f"code{letter}"))
    if not coding.code:
        raise InvalidError(f"code{letter} or coding{letter} is needed", f"code{letter}")
    return coding


# ValueSet


def _value_set(library: Library, given: Given, id_: str) -> tuple[str | ValueSet, Head]:
    """What to work out, an address or a definition, and the definition's head."""
    if given.has("context"):
        raise NotSupportedError("The parameter context is not served: name the set", "context")
    inline = given.structure("valueSet", ValueSet)
    if inline is not None:
        return inline, inline
    if id_:
        stored: ValueSet = _instance(library, "ValueSet", id_)
        return stored, stored
    url = given.text("url")
    if not url:
        raise InvalidError("Which value set is meant? Give its url, or the valueSet itself", "url")
    version = given.text("valueSetVersion")
    canonical = f"{url}|{version}" if version and "|" not in url else url
    head = library.head("ValueSet", canonical)
    if head is None:
        raise UnknownContentError(f"There is no value set {canonical[:200]} here")
    return canonical, head


@_served("ValueSet", "expand")
def expand(library: Library, given: Given, id_: str, language: str) -> dict[str, Any]:
    """https://hl7.org/fhir/R5/valueset-operation-expand.html"""
    asked, head = _value_set(library, given, id_)
    for name in ("exclude-system", "system-version", "check-system-version",
                 "force-system-version", "contextDirection"):  # fmt: skip  # A list of words.
        if given.has(name):
            raise NotSupportedError(f"The parameter {name} is not served yet", name)
    wish = Wish(
        filter=given.text("filter")[:200],
        offset=given.number("offset") or 0,
        count=given.number("count"),
        language=language,
        include_designations=given.flag("includeDesignations") is True,
        designations=tuple(given.texts("designation")),
        include_definition=given.flag("includeDefinition") is True,
        active_only=given.flag("activeOnly") is True,
        selectable_only=given.flag("excludeNotForUI") is True,
        properties=tuple(given.texts("property")),
    )
    made: dict[str, Any] = {"resourceType": "ValueSet"}
    for name in ("url", "version", "name", "title"):
        if value := getattr(head, name):
            made[name] = value
    made["status"] = head.status or "active"
    made["expansion"] = expansion(library.members(asked), wish, clock.instant(clock.now()))
    return made


@_served("ValueSet", "validate-code")
def validate_in_set(library: Library, given: Given, id_: str, language: str) -> dict[str, Any]:
    """https://hl7.org/fhir/R5/valueset-operation-validate-code.html"""
    asked, head = _value_set(library, given, id_)
    name = asked if isinstance(asked, str) else head.url or "that was given"
    return _parameters(in_set(library, library.members(asked), name, _ask(given, language)))


# ConceptMap


@_served("ConceptMap", "translate")
def translate(library: Library, given: Given, id_: str, _language: str) -> dict[str, Any]:
    """https://hl7.org/fhir/R5/conceptmap-operation-translate.html"""
    return _parameters(translate_all(library, _maps(library, given, id_), _question(given)))


def _maps(library: Library, given: Given, id_: str) -> list[ConceptMap]:
    if id_:
        return [_instance(library, "ConceptMap", id_)]
    inline = given.structure("conceptMap", ConceptMap)
    if inline is not None:
        return [inline]
    url, version = given.text("url"), given.text("conceptMapVersion")
    if not url:
        return library.concept_maps()
    found = library.concept_map(f"{url}|{version}" if version and "|" not in url else url)
    if found is None:
        raise UnknownContentError(f"There is no concept map {url[:200]} here")
    return [found]


def _question(given: Given) -> Question:
    """From source to target, or back where a target is given."""
    ways = [
        name
        for end in ("source", "target")
        for kind in ("Code", "Coding", "CodeableConcept")
        if given.has(name := end + kind)
    ]
    if len(ways) != 1:
        raise InvalidError(
            "One of sourceCode, sourceCoding, sourceCodeableConcept, targetCode, targetCoding and "
            "targetCodeableConcept is needed"
        )
    way = ways[0]
    if way.endswith("Concept"):
        concept = given.structure(way, CodeableConcept)
        codings = tuple(concept.coding[:50]) if concept else ()
    elif way.endswith("Coding"):
        coding = given.structure(way, Coding)
        codings = (coding,) if coding else ()
    else:
        codings = (Coding(_system(given, way), given.text("version"), given.text(way)),)
    is_reverse = way.startswith("target")
    wanted = given.text("sourceSystem") if is_reverse and given.has("sourceSystem") else (
        given.text("targetSystem"))  # fmt: skip  # One thought.
    return Question(
        codings=codings,
        is_reverse=is_reverse,
        source_scope=given.text("sourceScope"),
        target_scope=given.text("targetScope"),
        target_system=wanted,
    )


def _system(given: Given, way: str) -> str:
    """The system of a plain code: `system`, or what later releases of FHIR call it."""
    later = "targetSystem" if way == "targetCode" and given.has("sourceSystem") else "sourceSystem"
    system = given.text("system") or given.text(later)
    if not system:
        raise InvalidError(f"{way} needs the parameter system", "system")
    return system


def _both(name: str, type_: str, served: Served) -> tuple[Operation, Operation]:
    type_level, instance = (
        Operation(name=name, type=type_, endpoint=served, roles=SIGNED_IN, affects_state=False,
                  instance=is_instance, quick=served.quick)
        for is_instance in (False, True)
    )  # fmt: skip  # One thought.
    return type_level, instance


OPERATIONS = (
    *_both("lookup", "CodeSystem", lookup)[:1],
    *_both("validate-code", "CodeSystem", validate_in_system),
    *_both("subsumes", "CodeSystem", subsumes),
    *_both("expand", "ValueSet", expand),
    *_both("validate-code", "ValueSet", validate_in_set),
    *_both("translate", "ConceptMap", translate),
)
