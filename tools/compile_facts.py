"""Compile the npm package hl7.fhir.r5.core into src/dmed/fhir/data/r5.facts.

    python tools/compile_facts.py [--check] [hl7.fhir.r5.core-5.0.0.tgz | folder that holds it]

Without a path the package is fetched with `npm pack` into a temporary folder. Only facts are
taken: names, cardinalities, types, codes, expressions. No prose. With `--check` nothing is
written; the exit code tells whether the committed file is what the package gives.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from dmed.fhir import facts

PACKAGE, VERSION = "hl7.fhir.r5.core", "5.0.0"
DEFINITION = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
REGEX = "http://hl7.org/fhir/StructureDefinition/regex"
SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
KINDS = {"resource": "resource", "complex-type": "complex", "primitive-type": "primitive"}
WANTED = (
    "StructureDefinition",
    "ValueSet",
    "CodeSystem",
    "SearchParameter",
    "CompartmentDefinition",
    "OperationDefinition",
)
Json = dict[str, Any]


def fetch(folder: Path) -> Path:
    """Fetch the package with npm into the folder and return the path of its .tgz."""
    name = f"{PACKAGE}@{VERSION}"
    npm = shutil.which("npm") or str(Path(sys.executable).parent / "npm")
    subprocess.run([npm, "pack", name, "--silent"], cwd=folder, check=True, capture_output=True)
    return next(folder.glob("*.tgz"))


def read_package(tgz: Path) -> dict[str, list[Json]]:
    """All wanted resources of the package by resource type, in alphabetical order of id."""
    found: dict[str, list[Json]] = defaultdict(list)
    with tarfile.open(tgz) as tar:
        for member in tar:
            kind = Path(member.name).name.partition("-")[0]
            if kind not in WANTED or not member.name.endswith(".json"):
                continue
            stream = tar.extractfile(member)
            if stream is not None:
                found[kind].append(json.load(stream))
    for resources in found.values():
        resources.sort(key=lambda resource: resource["id"])
    return found


def tail(url: str) -> str:
    """The last part of an address, without version: the name of the type it defines."""
    return url.partition("|")[0].rpartition("/")[2]


def extension(of: Json, url: str) -> str:
    """The value of an extension that is a string or an address, or an empty text."""
    for each in of.get("extension", ()):
        if each["url"] == url:
            return str(each.get("valueUrl") or each.get("valueString") or "")
    return ""


def element_types(element: Json, path: str) -> tuple[facts.ElementType, ...]:
    """The types of an element; FHIRPath's System types become FHIR's own names."""
    made = []
    for each in element.get("type", ()):
        code = each["code"]
        if code.startswith(SYSTEM_TYPE):
            code = extension(each, FHIR_TYPE) or "string"
        if code in {"BackboneElement", "Element"} and "." in path:
            code = path
        targets = tuple(sorted({tail(url) for url in each.get("targetProfile", ())}))
        profile = tail(each["profile"][0]) if each.get("profile") else ""
        made.append(facts.ElementType(code, () if "Resource" in targets else targets, profile))
    return tuple(made)


def maximum(text: str) -> int:
    """A FHIR maximum as a number."""
    return facts.UNBOUNDED if text == "*" else int(text)


def element_facts(element: Json, has_children: bool) -> facts.Element:
    """The facts of one element of a snapshot."""
    path = element["path"]
    name = path.rpartition(".")[2]
    binding = element.get("binding", {})
    return facts.Element(
        name=name.removesuffix("[x]"),
        min=element["min"],
        max=maximum(element["max"]),
        types=element_types(element, path if has_children else ""),
        is_choice=name.endswith("[x]"),
        content=element.get("contentReference", "").partition("#")[2],
        is_modifier=element.get("isModifier", False),
        is_summary=element.get("isSummary", False),
        strength=binding.get("strength", ""),
        binding=binding.get("valueSet", "").partition("|")[0],
    )


def own_invariants(definition: Json, element: Json) -> Iterable[facts.Invariant]:
    """The rules that this definition itself puts on an element, not those it inherits."""
    for rule in element.get("constraint", ()):
        source = tail(rule.get("source", "")) or definition["name"]
        if source == definition["name"] and rule.get("expression"):
            yield facts.Invariant(
                rule["key"], rule["severity"], rule["expression"], element["path"]
            )


def type_facts(definition: Json) -> list[facts.TypeFacts]:
    """A type and its backbone elements."""
    elements = definition["snapshot"]["element"]
    children: dict[str, list[Json]] = {element["path"]: [] for element in elements}
    for element in elements[1:]:
        children[element["path"].rpartition(".")[0]].append(element)
    root, kind = elements[0]["path"], KINDS[definition["kind"]]
    made = []
    for element in elements:
        path, own = element["path"], children[element["path"]]
        if path != root and not own:
            continue
        rules = list(own_invariants(definition, element))
        for child in own:
            if not children[child["path"]]:
                rules.extend(own_invariants(definition, child))
        is_root = path == root
        made.append(
            facts.TypeFacts(
                name=definition["name"] if is_root else path,
                kind=kind if is_root else "backbone",
                base=tail(definition.get("baseDefinition", ""))
                if is_root
                else element["type"][0]["code"],
                is_abstract=definition["abstract"] and is_root,
                elements=tuple(
                    element_facts(c, bool(children[c["path"]]))
                    for c in own
                    if not (kind == "primitive" and c["path"].endswith(".value"))
                ),
                invariants=tuple(rules),
                pattern=pattern(own) if kind == "primitive" and is_root else "",
            )
        )
    return made


def pattern(elements: list[Json]) -> str:
    """The regular expression of a primitive type's value."""
    for element in elements:
        if element["path"].endswith(".value"):
            return extension(element["type"][0], REGEX)
    return ""


def compile_types(definitions: list[Json]) -> list[facts.TypeFacts]:
    """All types but profiles and logical models; of profiles only those of Quantity."""
    made = []
    for each in definitions:
        is_profile = each.get("derivation") == "constraint"
        if each["kind"] not in KINDS or (is_profile and each["name"] != "SimpleQuantity"):
            continue
        made.extend(type_facts(each))
    return made


class Expander:
    """Expands value sets over the package's own code systems."""

    def __init__(self, value_sets: list[Json], code_systems: list[Json]) -> None:
        self.value_sets = {each["url"]: each for each in value_sets}
        self.systems = {
            each["url"]: self._concepts(each)
            for each in code_systems
            if each["content"] == "complete"
        }

    @staticmethod
    def _concepts(system: Json) -> dict[str, Json]:
        """Every concept by code, each with `ancestors` and `properties`."""
        found: dict[str, Json] = {}

        def walk(concepts: list[Json], ancestors: tuple[str, ...]) -> None:
            for concept in concepts:
                properties = {
                    p["code"]: next(v for k, v in p.items() if k.startswith("value"))
                    for p in concept.get("property", ())
                }
                found[concept["code"]] = {"ancestors": ancestors, "properties": properties}
                walk(concept.get("concept", []), (*ancestors, concept["code"]))

        walk(system.get("concept", []), ())
        return found

    def expand(self, url: str) -> tuple[dict[str, set[str]], set[str]]:
        """Codes by system and the systems that cannot be listed."""
        compose = self.value_sets.get(url, {}).get("compose")
        if compose is None:
            return {}, {"*"}
        codes: dict[str, set[str]] = defaultdict(set)
        unchecked: set[str] = set()
        for include in compose.get("include", ()):
            got, missing = self._include(include)
            unchecked |= missing
            for system, listed in got.items():
                codes[system] |= listed
        for exclude in compose.get("exclude", ()):
            got, _ = self._include(exclude)
            for system, listed in got.items():
                codes[system] -= listed
        return dict(codes), unchecked

    def _include(self, include: Json) -> tuple[dict[str, set[str]], set[str]]:
        system = include.get("system")
        sets = [self.expand(url.partition("|")[0]) for url in include.get("valueSet", ())]
        if system is None:
            codes: dict[str, set[str]] = defaultdict(set)
            for got, _ in sets[:1]:
                codes.update({k: set(v) for k, v in got.items()})
            for got, _ in sets[1:]:
                codes = defaultdict(set, {k: v & got.get(k, set()) for k, v in codes.items()})
            return codes, set().union(*(missing for _, missing in sets))
        listed = self._system_codes(system, include)
        if listed is None or sets:
            return {}, {system}
        return {system: listed}, set()

    def _system_codes(self, system: str, include: Json) -> set[str] | None:
        if "concept" in include:
            return {concept["code"] for concept in include["concept"]}
        concepts = self.systems.get(system)
        if concepts is None:
            return None
        listed = set(concepts)
        for rule in include.get("filter", ()):
            kept = self._filtered(concepts, rule)
            if kept is None:
                return None
            listed &= kept
        return listed

    @staticmethod
    def _filtered(concepts: dict[str, Json], rule: Json) -> set[str] | None:
        operator, name, value = rule["op"], rule["property"], rule["value"]
        if operator in {"is-a", "descendent-of"} and name == "concept":
            below = {code for code, c in concepts.items() if value in c["ancestors"]}
            return below | ({value} if operator == "is-a" else set())
        if operator == "is-not-a" and name == "concept":
            return {
                code
                for code, c in concepts.items()
                if value not in c["ancestors"] and code != value
            }
        if operator == "=":
            return {
                code
                for code, c in concepts.items()
                if str(c["properties"].get(name, "")).lower() == value.lower()
            }
        return None


def compile_value_sets(
    types: list[facts.TypeFacts],
    package: dict[str, list[Json]],
) -> list[facts.ValueSetCodes]:
    """The codes of every value set with a required binding."""
    wanted = {e.binding for t in types for e in t.elements if e.strength == "required"} - {""}
    expander = Expander(package["ValueSet"], package["CodeSystem"])
    made = []
    for url in sorted(wanted):
        codes, unchecked = expander.expand(url)
        made.append(
            facts.ValueSetCodes(
                url, {s: tuple(sorted(codes[s])) for s in sorted(codes)}, tuple(sorted(unchecked))
            )
        )
    return made


def compile_search(parameters: list[Json]) -> list[facts.SearchFacts]:
    """Every real search parameter; the package also carries examples."""
    codes = {each["url"]: each["code"] for each in parameters}
    return [
        facts.SearchFacts(
            id=each["id"],
            url=each["url"],
            code=each["code"],
            base=tuple(each["base"]),
            type=each["type"],
            expression=each.get("expression", ""),
            targets=tuple(each.get("target", ())),
            comparators=tuple(each.get("comparator", ())),
            modifiers=tuple(each.get("modifier", ())),
            components=tuple(
                facts.SearchComponent(
                    codes.get(c["definition"], tail(c["definition"])),
                    c["definition"],
                    c["expression"],
                )
                for c in each.get("component", ())
            ),
            multiple_or=each.get("multipleOr", True),
            multiple_and=each.get("multipleAnd", True),
        )
        for each in parameters
        if not each["id"].startswith("example")
    ]


def compile_compartments(definitions: list[Json]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Compartment > resource type > parameter codes; types that never belong are left out."""
    return {
        each["code"]: {r["code"]: tuple(r["param"]) for r in each["resource"] if r.get("param")}
        for each in definitions
        if each["id"] != "example"
    }


def operation_parameter(each: Json) -> facts.OperationParameter:
    """One parameter of an operation, with its parts."""
    return facts.OperationParameter(
        each["name"],
        each["use"],
        each["min"],
        maximum(each["max"]),
        each.get("type", ""),
        tuple(operation_parameter(part) for part in each.get("part", ())),
    )


def compile_operations(definitions: list[Json]) -> list[facts.OperationFacts]:
    """Every operation that R5 defines."""
    return [
        facts.OperationFacts(
            each["code"],
            tuple(each.get("resource", ())),
            each["system"],
            each["type"],
            each["instance"],
            each.get("affectsState", False),
            tuple(operation_parameter(p) for p in each.get("parameter", ())),
        )
        for each in definitions
        if not each["id"].startswith("example")
    ]


def compile_package(tgz: Path) -> bytes:
    """The whole file of facts from the package."""
    package = read_package(tgz)
    types = compile_types(package["StructureDefinition"])
    sections: dict[str, object] = {
        "types": types,
        "value_sets": compile_value_sets(types, package),
        "search": compile_search(package["SearchParameter"]),
        "compartments": compile_compartments(package["CompartmentDefinition"]),
        "operations": compile_operations(package["OperationDefinition"]),
    }
    packed = {
        name: zlib.compress(msgspec.msgpack.encode(value), 9) for name, value in sections.items()
    }
    digest = hashlib.sha512(tgz.read_bytes()).hexdigest()
    return msgspec.msgpack.encode(facts.FactsFile(PACKAGE, VERSION, digest, packed))


def main(arguments: list[str]) -> int:
    """Compile and write the file, or check the one that is there; the exit code."""
    is_check = "--check" in arguments
    paths = [each for each in arguments if each != "--check"]
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(paths[0]) if paths else fetch(Path(scratch))
        if given.is_dir():
            given = next(given.glob(f"{PACKAGE}-{VERSION}.tgz"))
        packed = compile_package(given)
    if is_check:
        is_same = facts.FILE.read_bytes() == packed
        print(f"{facts.FILE.name}: {'as compiled' if is_same else 'differs from the package'}")
        return 0 if is_same else 1
    facts.FILE.parent.mkdir(exist_ok=True)
    facts.FILE.write_bytes(packed)
    made = facts.Facts(packed)
    print(
        f"{facts.FILE.name}: {len(packed)} bytes, {len(made.types)} types, "
        f"{len(made.value_sets)} value sets, {len(made.search)} search parameters, "
        f"{len(made.operations)} operations"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
