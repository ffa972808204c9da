"""What the synthetic country says of itself in the country's own terms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dmed.apps import demo


def _inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _inside(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _inside(inner)


@pytest.fixture(scope="module")
def bodies():
    """The records of forty persons and their institutions."""
    return [json.loads(record.body) for record in demo.generate(40)]


def _concepts(found: list[dict[str, Any]]) -> Iterator[str]:
    for one in found:
        yield one["code"]
        yield from _concepts(one.get("concept", []))


def _lists(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in sorted(folder.glob("core*/CodeSystem/*.json")):
        listed = json.loads(file.read_text())
        found.setdefault(listed["url"], set()).update(_concepts(listed.get("concept", [])))
    return found


def test_national_codes_are_in_the_national_lists(bodies, shared_data):
    """Every code of a list on the country's terminology server is in that list."""
    lists = _lists(shared_data / "uz-core")
    base = "https://terminology.dhp.uz/"
    used = {(one["system"], one["code"]) for body in bodies for one in _inside(body)
            if str(one.get("system", "")).startswith(base) and "code" in one}
    missing = {(system, code) for system, code in used if code not in lists.get(system, set())}

    assert len(used) > 20
    assert missing == set()


def test_profiles_are_those_of_the_guide(bodies, shared_data):
    """Every record states a profile that the guide or its open branch defines."""
    known = {json.loads(file.read_text())["url"]
             for file in (shared_data / "uz-core").glob("core*/StructureDefinition/*.json")}
    stated = {profile for body in bodies for profile in body["meta"].get("profile", [])}

    assert stated <= known
    assert all(body["meta"].get("profile") for body in bodies)


def test_identifier_slices_are_exact(bodies):
    """Patients carry PINFL and health card number in the slices of the guide, type and use set."""
    patients = [body for body in bodies if body["resourceType"] == "Patient"]
    slices = {(one["system"].rpartition("/sid/")[2], one["type"]["coding"][0]["code"], one["use"])
              for body in patients for one in body["identifier"]}

    assert slices == {("pid/uz/ni", "NI", "official"), ("pid/uz/hc", "HC", "official")}
