"""Compile R5's own terminology from hl7.fhir.r5.core into src/dmed/fhir/data/r5.terms.

    python tools/compile_terms.py [--check] [hl7.fhir.r5.core-5.0.0.tgz | folder that holds it]

Without a path the package is fetched with `npm pack` into a temporary folder. Taken are code
systems of hl7.org/fhir with all content, and the value sets and concept maps that speak of them:
codes, displays, hierarchy and rules. No prose, and nothing that enumerates codes of other owners
(SNOMED CT, LOINC and the like). With `--check` nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from compile_facts import PACKAGE, VERSION, fetch
from dmed.fhir.terminology.model import KINDS, CodeSystem, Concept, ConceptMap, Include, ValueSet
from dmed.fhir.terminology.own import FILE, OwnTerms, packed_terms

OURS = ("http://hl7.org/fhir/", "http://hl7.org/fhirpath/")
OPEN = (*OURS, "http://terminology.hl7.org/", "urn:ietf:", "http://unitsofmeasure.org")
"""Systems whose codes may be named one by one here."""
Json = dict[str, Any]


def read_package(tgz: Path) -> dict[str, list[Json]]:
    """The terminology resources of the package by type, by address."""
    found: dict[str, list[Json]] = {kind: [] for kind in KINDS}
    with tarfile.open(tgz) as tar:
        for member in tar:
            kind = Path(member.name).name.partition("-")[0]
            if kind in found and member.name.endswith(".json"):
                stream = tar.extractfile(member)
                assert stream is not None
                found[kind].append(json.load(stream))
    for resources in found.values():
        resources.sort(key=lambda each: (each["url"], each["id"]))
    return found


def is_ours(system: str) -> bool:
    """Whether a system is the specification's own; those under /sid/ name codes of others."""
    return system.startswith(OURS) and "/sid/" not in system


def without_prose(concepts: list[Concept]) -> None:
    """Definitions are sentences of the specification: they are read there."""
    for concept in concepts:
        concept.definition = ""
        without_prose(concept.concept)


def systems(resources: list[Json]) -> list[CodeSystem]:
    """The specification's own code systems with all content, and its supplements."""
    made = []
    for each in resources:
        if is_ours(each["url"]) and each["content"] in {"complete", "supplement"}:
            system = msgspec.convert(each, CodeSystem)
            without_prose(system.concept)
            made.append(system)
    return made


def is_allowed(include: Include) -> bool:
    """Whether a rule names no codes of closed systems one by one."""
    is_open = include.system.startswith(OPEN) and "/sid/" not in include.system
    return is_open or not include.concept


def sets(resources: list[Json]) -> list[ValueSet]:
    """The value sets whose rules name codes of open systems alone."""
    made = []
    for each in resources:
        one = msgspec.convert(each, ValueSet)
        one.expansion = None
        rules = [*one.compose.include, *one.compose.exclude] if one.compose else []
        if rules and all(map(is_allowed, rules)):
            made.append(one)
    return made


def maps(resources: list[Json]) -> list[ConceptMap]:
    """The concept maps between systems of the specification and of HL7's terminology."""
    made = []
    for each in resources:
        one = msgspec.convert(each, ConceptMap)
        owners = {end for group in one.group for end in (group.source, group.target)}
        if one.group and all(is_ours(end) or "terminology.hl7.org" in end for end in owners):
            made.append(one)
    return made


def compile_file(tgz: Path) -> bytes:
    """The bytes of r5.terms for a package file."""
    found = read_package(tgz)
    terms = OwnTerms(
        systems(found["CodeSystem"]), sets(found["ValueSet"]), maps(found["ConceptMap"])
    )
    for each in (*terms.systems, *terms.sets, *terms.maps):
        each.id = each.resourceType = ""
    print(f"{len(terms.systems)} systems, {len(terms.sets)} value sets, {len(terms.maps)} maps")
    return packed_terms(PACKAGE, VERSION, hashlib.sha512(tgz.read_bytes()).hexdigest(), terms)


def main(arguments: list[str]) -> int:
    """Compile; with --check compare with the committed file."""
    paths = [Path(each) for each in arguments if not each.startswith("--")]
    with tempfile.TemporaryDirectory() as folder:
        tgz = paths[0] if paths else fetch(Path(folder))
        if tgz.is_dir():
            tgz = next(tgz.glob("*.tgz"))
        made = compile_file(tgz)
    if "--check" in arguments:
        return 0 if FILE.read_bytes() == made else 1
    FILE.write_bytes(made)
    print(f"{FILE.name}: {len(made):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
