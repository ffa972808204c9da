"""Going through records: references found, temporary addresses replaced."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from dmed.fhir import codec, walk

OLD = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"
NEW = "Patient/001-abc"


def record(fields: dict[str, Any]) -> Any:
    """A decoded resource."""
    return codec.decode(msgspec.json.encode(fields))


def test_references_are_found_wherever_they_stand():
    """In fields, arrays, extensions, primitive extensions, contained records and Bundle entries."""
    to = {"reference": OLD}
    extension = [{"url": "http://x.uz", "valueReference": to}]
    found = record(
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "resource": {
                        "resourceType": "Observation",
                        "contained": [{"resourceType": "Specimen", "subject": to}],
                        "extension": extension,
                        "status": "final",
                        "_status": {"extension": extension},
                        "code": {"text": "x"},
                        "performer": [{"display": "no address"}, to],
                        "component": [{"code": {"extension": extension}}],
                    }
                }
            ],
        }
    )
    base = "Bundle.entry[0].resource"
    assert [path for path, _ in walk.references(found)] == [
        f"{base}.contained[0].subject",
        f"{base}.extension[0].valueReference",
        f"{base}._status.extension[0].valueReference",
        f"{base}.performer[0]",
        f"{base}.performer[1]",
        f"{base}.component[0].code.extension[0].valueReference",
    ]


def test_references_are_the_structs_themselves():
    """Changing a found Reference changes the record."""
    found = record({"resourceType": "Encounter", "subject": {"reference": OLD}})
    [(_, reference)] = walk.references(found)
    reference.reference = NEW
    assert NEW.encode() in codec.encode(found)


def test_rewriting_reaches_references_addresses_and_narrative():
    """A temporary address is replaced in references, uri-like values and narrative links."""
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{OLD}">x</a> {OLD}</div>'
    found = record(
        {
            "resourceType": "Task",
            "text": {"status": "generated", "div": div},
            "instantiatesUri": OLD,
            "for": {"reference": OLD},
            "focus": {"reference": f"{OLD}#part"},
            "description": OLD,
            "input": [{"type": {"text": "x"}, "valueUuid": OLD}],
            "meta": {"profile": [OLD, "http://x.uz/p"]},
        }
    )
    assert walk.rewrite_urls(found, {OLD: NEW}) == 6
    assert found.for_.reference == found.instantiatesUri == found.input[0].valueUuid == NEW
    assert found.focus.reference == f"{NEW}#part"
    assert found.meta.profile == [NEW, "http://x.uz/p"]
    assert found.description == OLD
    assert f'href="{NEW}"' in found.text.div
    assert f" {OLD}</div>" in found.text.div


def test_rewriting_leaves_the_rest_alone():
    """Addresses that only resemble a key stay, and so do nulls in arrays."""
    found = record(
        {
            "resourceType": "Encounter",
            "meta": {"profile": [None, OLD + "0"], "_profile": [{"id": "x"}, None]},
            "subject": {"reference": OLD.upper()},
        }
    )
    before = codec.encode(found)
    assert walk.rewrite_urls(found, {OLD: NEW}) == 0
    assert walk.rewrite_urls(found, {}) == 0
    assert codec.encode(found) == before


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([OLD, NEW, "urn:uuid:other", "#x"]), min_size=1, max_size=8))
def test_rewriting_replaces_each_key_once(addresses):
    """As many changes are reported as there were keys, and none is left."""
    found = record(
        {"resourceType": "Group", "member": [{"entity": {"reference": a}} for a in addresses]}
    )
    assert walk.rewrite_urls(found, {OLD: NEW}) == addresses.count(OLD)
    assert [r.reference for _, r in walk.references(found)] == [
        NEW if a == OLD else a for a in addresses
    ]


def test_the_first_address_is_that_of_the_walk(shared_data):
    """Written-out finders agree with the walk, for the first address of any kind and of a type."""
    compared = 0
    for file in sorted((shared_data / "uz-core" / "core" / "examples").glob("*.json")):
        resource = codec.decode(file.read_bytes())
        every = [each.reference for _, each in walk.references(resource)
                 if each.reference is not UNSET]
        people = [each for each in every if each.startswith("Patient/")]

        assert walk.first_address(resource, str) == next(iter(every), None)
        assert walk.first_address(
            resource, lambda each: each if each.startswith("Patient/") else None
        ) == next(iter(people), None)
        compared += len(every)
    assert compared > 50
