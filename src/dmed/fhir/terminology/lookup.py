"""$lookup and $subsumes: what a system says of a code.

https://hl7.org/fhir/R5/codesystem-operation-lookup.html and ...-subsumes.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dmed.fhir.terminology.library import Library
from dmed.fhir.terminology.model import UnknownContentError
from dmed.fhir.terminology.system import System, languages
from dmed.kit.errors import InvalidError

Parameter = dict[str, Any]


def system_or_refuse(library: Library, url: str, version: str = "") -> System:
    """A code system with content here; UnknownContentError says what is missing."""
    if not url:
        raise InvalidError("Which code system is meant? The parameter system is missing")
    found = library.system(url, version)
    if found is None or not found.codes_are_known:
        of = f", version {version[:60]}" if version else ""
        raise UnknownContentError(f"There is no content here of the code system {url[:200]}{of}")
    return found


def place_or_refuse(system: System, code: str) -> int:
    """The place of a code; UnknownContentError where the system has none such."""
    place = system.find(code)
    if place is None:
        raise UnknownContentError(f"The code {code[:100]!r} is not in {system.canonical[:200]}")
    return place


def lookup(
    library: Library,
    url: str,
    code: str,
    *,
    version: str = "",
    language: str = "",
    properties: Sequence[str] = (),
) -> list[Parameter]:
    """The output parameters of $lookup. UnknownContentError for a system or code not known."""
    system = system_or_refuse(library, url, version)
    place = place_or_refuse(system, code)
    made: list[Parameter] = [{"name": "name", "valueString": system.name or system.url}]
    if system.version:
        made.append({"name": "version", "valueString": system.version})
    display = system.display(place, languages(language) if language else ())
    made += [
        {"name": "display", "valueString": display or system.codes[place]},
        {"name": "code", "valueCode": system.codes[place]},
        {"name": "system", "valueUri": system.url},
    ]
    if place in system.abstract:
        made.append({"name": "abstract", "valueBoolean": True})
    wanted = frozenset(properties)
    everything = not wanted or "*" in wanted
    if (everything or "definition" in wanted) and place in system.definitions:
        made.append({"name": "definition", "valueString": system.definitions[place]})
    if everything or "designation" in wanted:
        made.extend(_designation(msgspec.to_builtins(name)) for name in system.names(place))
    return made + _properties(system, place, None if everything else wanted)


def _designation(name: dict[str, Any]) -> Parameter:
    parts: list[Parameter] = []
    if "language" in name:
        parts.append({"name": "language", "valueCode": name["language"]})
    if "use" in name:
        parts.append({"name": "use", "valueCoding": name["use"]})
    parts.append({"name": "value", "valueString": name.get("value", "")})
    return {"name": "designation", "part": parts}


def _properties(system: System, place: int, wanted: frozenset[str] | None) -> list[Parameter]:
    found: list[tuple[str, str, Any]] = []
    for name, links in (("parent", system.parents), ("child", system.children)):
        found += [(name, "valueCode", system.codes[other]) for other in links.get(place, ())]
    if place in system.inactive or wanted is not None:
        found.append(("inactive", "valueBoolean", place in system.inactive))
    for one in system.properties.get(place, ()):
        if system.meaning(one.code) not in {"parent", "child", "inactive"}:
            kind, value = one.pair()
            found.append((one.code, kind, msgspec.to_builtins(value)))
    return [
        {
            "name": "property",
            "part": [{"name": "code", "valueCode": name}, {"name": "value", kind: value}],
        }
        for name, kind, value in found
        if wanted is None or name in wanted
    ]


def subsumes(library: Library, url: str, code_a: str, code_b: str, version: str = "") -> str:
    """equivalent, subsumes (A is above B), subsumed-by or not-subsumed."""
    system = system_or_refuse(library, url, version)
    first, second = place_or_refuse(system, code_a), place_or_refuse(system, code_b)
    if first == second:
        return "equivalent"
    if system.is_below(second, first):
        return "subsumes"
    return "subsumed-by" if system.is_below(first, second) else "not-subsumed"
