"""What the tests of profiles share: a profile made from its differential."""

from __future__ import annotations

from typing import Any

import msgspec

BASE = "http://hl7.org/fhir/StructureDefinition/"
URL = "https://example.uz/StructureDefinition/p"


def definition(type_name: str, *elements: dict[str, Any], url: str = URL, **more: Any) -> bytes:
    """A profile with a differential; ids are paths with slice names."""
    for element in elements:
        names = [part.partition(":") for part in element["id"].split(".")]
        element["path"] = ".".join(name for name, _, _ in names)
        if names[-1][2]:
            element["sliceName"] = names[-1][2]
    return msgspec.json.encode({
        "resourceType": "StructureDefinition", "url": url, "name": "P", "status": "active",
        "kind": "resource", "abstract": False, "type": type_name, "derivation": "constraint",
        "baseDefinition": BASE + type_name, "differential": {"element": list(elements)},
        **more})  # fmt: skip  # A record reads better filled.
