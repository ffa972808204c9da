"""Which official and national examples keep the rules, and why the others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmed.fhir import codec, validate

REFUSED = {
    # References whose type the element does not allow, most of them plain slips.
    "BiologicallyDerivedProduct-allogeneicHCT": "refers to a BiologicallyDerivedProduct",
    "BiologicallyDerivedProduct-autologousHCT": "refers to a BiologicallyDerivedProduct",
    "DocumentReference-xray": "refers to a DocumentReference",
    "Encounter-example": "refers to a Encounter",
    "ImagingStudy-example-xr": "refers to a Procedure",
    "Transport-simpledelivery": "refers to a Transport",
    # References that are no Type/id: an underscore in the id, no type at all.
    "GenomicStudy-example-lungMass": "no reference of the form Type/id",
    "ResearchSubject-example-crossover-placebo-to-drug": "no reference of the form Type/id",
    # An identifier with an id and nothing else.
    "Medication-med0301": "ele-1",
    # Logical models with a base definition and no derivation.
    "StructureDefinition-Definition": "sdf-27",
    "StructureDefinition-Event": "sdf-27",
    "StructureDefinition-FiveWs": "sdf-27",
    "StructureDefinition-Participant": "sdf-27",
    "StructureDefinition-ParticipantContactable": "sdf-27",
    "StructureDefinition-ParticipantLiving": "sdf-27",
    "StructureDefinition-Product": "sdf-27",
    "StructureDefinition-Publishable": "sdf-27",
    "StructureDefinition-Request": "sdf-27",
    "StructureDefinition-Shareable": "sdf-27",
}
LARGE_BYTES = 400_000


def refused(folder: Path) -> dict[str, list[str]]:
    """The faults of each example that has some; the 39 largest files are left to the API's test."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        if file.name in {"package.json", ".index.json"} or file.stat().st_size > LARGE_BYTES:
            continue
        issues = validate.validate(codec.decode(file.read_bytes()))
        if issues:
            found[file.stem] = [issue.diagnostics for issue in issues]
    return found


def test_national_examples_keep_the_rules(shared_data):
    """All 97 examples of the national guide are valid R5."""
    assert refused(shared_data / "uz-core" / "core" / "examples") == {}


@pytest.mark.slow
def test_official_examples_are_refused_only_for_reviewed_reasons(r5_examples):
    """Exactly the listed official examples break a rule, each the one that is written here."""
    found = refused(r5_examples)
    assert sorted(found) == sorted(REFUSED)
    for name, reason in REFUSED.items():
        assert all(reason in sentence for sentence in found[name])
