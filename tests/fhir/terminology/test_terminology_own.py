"""R5's own terminology, and the national guide's, as the library holds it."""

from __future__ import annotations

import time
from pathlib import Path

from dmed.fhir.facts import facts
from dmed.fhir.terminology import Library
from dmed.fhir.terminology.expand import Wish, expansion
from dmed.fhir.terminology.own import FILE, file_of, own_terms
from dmed.kit.errors import DmedError

KINDS = ("CodeSystem", "ValueSet", "ConceptMap")


def test_the_file_comes_of_the_same_package_as_the_facts() -> None:
    """The name, version and digest of the package are those of r5.facts."""
    file = file_of(FILE.read_bytes())

    assert (file.package, file.version, file.sha512) == (
        facts().package, facts().version, facts().sha512)


def test_required_sets_hold_what_the_facts_say() -> None:
    """Every value set that some element requires is here, code for code as in the facts."""
    library = Library()
    differing, absent = [], []
    for url, known in facts().value_sets.items():
        if library.value_set(url) is None:
            absent.append(url)
            continue
        members = library.members(url)
        mine = {(key[0], code) for key, part in members.parts.items() for code in part.codes()}
        if mine != {(system, code) for system, codes in known.systems.items() for code in codes}:
            differing.append(url)

    assert differing == []
    assert absent == ["http://loinc.org/LL2938-0/"]


def test_nothing_of_closed_systems_is_in_the_file() -> None:
    """No code list, no display and no map of SNOMED CT, LOINC or other owners lies in the file."""
    terms = own_terms()
    closed = ("snomed", "loinc", "rxnorm", "unstats", "dicom", "icd", "ada.org", "iso.org")
    listed = [
        include.system
        for each in terms.sets if each.compose
        for include in (*each.compose.include, *each.compose.exclude) if include.concept
    ]  # fmt: skip  # One clause a line.
    groups = [group for each in terms.maps for group in each.group]
    mapped = [end for group in groups for end in (group.source, group.target)]
    found = [each for each in (*listed, *mapped, *(s.url for s in terms.systems))
             if any(owner in each.lower() for owner in closed)]

    assert found == []
    assert not any(concept.definition for each in terms.systems for concept in each.concept)


def guide(shared_data: Path) -> Library:
    """A library with the three parts of the national guide."""
    library = Library()
    for part in ("core", "core-next", "integrations"):
        for kind in KINDS:
            for file in sorted((shared_data / "uz-core" / part / kind).glob("*.json")):
                library.put(file.read_bytes())
    return library


def test_the_national_guide_is_worked_out(shared_data: Path) -> None:
    """Every value set of the guide is listed, or names the systems of others that it needs."""
    began = time.process_time()
    library = guide(shared_data)
    listed, open_sets, failed = 0, 0, []
    for entry in library.entries("ValueSet"):
        if entry.is_own:
            continue
        try:
            members = library.members(entry.head.url)
        except DmedError as fault:
            failed.append((entry.head.url, str(fault)))
            continue
        open_sets += bool(members.unknown)
        if not members.unknown:
            listed += 1
            assert expansion(members, Wish(count=20), "")["total"] == members.count

    assert failed == []
    assert listed > 250
    assert time.process_time() - began < 10
    assert open_sets < 70


def test_uzbek_russian_and_karakalpak_names_are_found(shared_data: Path) -> None:
    """Names of the guide's codes and supplements answer in their languages and scripts."""
    library = guide(shared_data)
    gender = library.system("http://hl7.org/fhir/administrative-gender")
    assert gender is not None
    place = gender.find("female")
    assert place is not None
    names = {language: gender.display(place, (language,)) for language in ("en", "ru", "uz")}

    assert gender.supplements
    assert len(set(names.values())) == 3, names
