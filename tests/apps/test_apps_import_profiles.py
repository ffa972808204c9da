"""`dmed import` holds records to the installed profiles that they claim, as the door does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dmed.apps.guides import install_guide
from dmed.apps.importing import import_files
from dmed.fhir import codec
from dmed.kit.errors import UnprocessableError
from dmed.kit.settings import Settings
from dmed.trust import guides
from dmed.trust.gateway import prepare

PROFILE = "https://x.uz/fhir/StructureDefinition/dated"
CODES = "https://x.uz/fhir/ValueSet/wed"


def definitions() -> list[dict[str, Any]]:
    """A profile of Patient that needs a birth date and a marital status of two codes."""
    element = [
        {"id": "Patient.birthDate", "path": "Patient.birthDate", "min": 1},
        {"id": "Patient.maritalStatus", "path": "Patient.maritalStatus",
         "binding": {"strength": "required", "valueSet": CODES}},
    ]  # fmt: skip  # An element a line.
    system = "https://x.uz/fhir/CodeSystem/wed"
    return [
        {"resourceType": "StructureDefinition", "id": "dated", "url": PROFILE, "name": "Dated",
         "status": "active", "kind": "resource", "abstract": False, "type": "Patient",
         "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
         "derivation": "constraint", "differential": {"element": element}},
        {"resourceType": "ValueSet", "id": "wed", "url": CODES, "status": "active",
         "compose": {"include": [{"system": system}]}},
        {"resourceType": "CodeSystem", "id": "wed", "url": system, "status": "active",
         "content": "complete", "concept": [{"code": "yes"}, {"code": "no"}]},
    ]  # fmt: skip  # A definition each.


def patient(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "meta": {"profile": [PROFILE]}, **more}


@pytest.fixture
def records(tmp_path: Path) -> list[dict[str, Any]]:
    """A sound record, one without a date, and one with a code that the set does not have."""
    wed = {"coding": [{"system": "https://x.uz/fhir/CodeSystem/wed", "code": "maybe"}]}
    return [patient("sound", birthDate="1990-01-01"), patient("undated"),
            patient("wrong", birthDate="1990-01-01", maritalStatus=wed)]  # fmt: skip  # Three.


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An installation with the guide."""
    folder = tmp_path / "guide"
    folder.mkdir()
    for each in definitions():
        (folder / f"{each['resourceType']}.json").write_text(json.dumps(each))
    made = Settings(data=tmp_path / "data", database_url=database_url)
    install_guide(made, folder)
    return made


def written(folder: Path, records: list[dict[str, Any]]) -> Path:
    file = folder / "patients.ndjson"
    file.write_text("\n".join(json.dumps(each) for each in records))
    return file


def test_an_import_refuses_what_the_door_refuses(
    tmp_path: Path, settings: Settings, records: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip  # Four fixtures.
    """Records that break a claimed profile are refused with the door's own places and sentences."""
    assert import_files(settings, [written(tmp_path, records)], replace=False) == 2
    told = capsys.readouterr().err

    guides.learn([json.dumps(each).encode() for each in definitions()])
    try:
        for number, record in enumerate(records[1:], 2):
            resource = codec.decode(json.dumps(record).encode())
            with pytest.raises(UnprocessableError) as refusal:
                prepare.check(resource)
            for issue in refusal.value.issues:
                said = f"patients.ndjson:{number}: {issue.expression}: {issue.diagnostics}"
                assert said in told
    finally:
        guides.forget()
    assert "Patient.maritalStatus" in told


def test_profiles_can_be_left_aside(
    tmp_path: Path, settings: Settings, records: list[dict[str, Any]]
) -> None:
    """Without profiles R5's rules alone count; the setting for writes says so too."""
    import msgspec

    file = written(tmp_path, records)
    assert import_files(settings, [file], replace=False, profiles=False) == 0
    other = msgspec.structs.replace(settings, validate_profiles=False)
    file.write_text(json.dumps(patient("later")))

    assert import_files(other, [file], replace=False) == 0
