"""Compile R5's own profiles (vital signs and others) into src/dmed/fhir/data/r5.profiles.

    python tools/compile_profiles.py [--check] [hl7.fhir.r5.core-5.0.0.tgz | folder that holds it]

Only what a validator needs of the differentials is taken, no prose. Profiles whose fixed values
hold displays of a licensed code system keep the code alone, as a pattern. With `--check`
nothing is written; the exit code tells whether the committed file is what the package gives.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

from compile_facts import fetch, read_package

TARGET = Path(__file__).parent.parent / "src" / "dmed" / "fhir" / "data" / "r5.profiles"
HEAD = ("resourceType", "url", "version", "name", "kind", "type", "derivation", "baseDefinition",
        "context")  # fmt: skip  # One list.
KEYS = {"id", "path", "sliceName", "min", "max", "type", "slicing", "maxLength", "binding",
        "constraint"}  # fmt: skip  # One list.
VALUES = ("fixed", "pattern", "minValue", "maxValue")
NOT_KEPT = {"human", "source", "xpath", "requirements", "description", "extension", "comment",
            "documentation", "shortDoco", "display"}  # fmt: skip  # One list.
Json = dict[str, Any]


def trimmed(resource: Json) -> Json:
    """The head and the differential of a profile, without prose."""
    made = {key: resource[key] for key in HEAD if key in resource}
    made["differential"] = {
        "element": [
            {_named(key, value): _facts(value) for key, value in element.items()
             if key in KEYS or key.startswith(VALUES)}
            for element in resource["differential"]["element"]
        ]
    }  # fmt: skip  # One look.
    return made


def _named(key: str, value: Any) -> str:
    """A fixed concept whose display is left out is fixed no more: it becomes a pattern."""
    return key.replace("fixed", "pattern") if isinstance(value, dict) else key


def _facts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _facts(each) for key, each in value.items() if key not in NOT_KEPT}
    return [_facts(each) for each in value] if isinstance(value, list) else value


def compiled(tgz: Path) -> bytes:
    """The packed file: one definition a line, in the order of their addresses."""
    found = [each for each in read_package(tgz)["StructureDefinition"]
             if each.get("derivation") == "constraint"]  # fmt: skip  # One look.
    lines = sorted(json.dumps(trimmed(each), separators=(",", ":")) for each in found)
    return zlib.compress("\n".join(lines).encode(), 9)


def main() -> int:
    """Write the file, or compare it."""
    given = [Path(each) for each in sys.argv[1:] if each != "--check"]
    with tempfile.TemporaryDirectory() as folder:
        path = given[0] if given else fetch(Path(folder))
        tgz = next(path.glob("*.tgz")) if path.is_dir() else path
        made = compiled(tgz)
    if "--check" in sys.argv:
        return 0 if TARGET.read_bytes() == made else 1
    TARGET.write_bytes(made)
    print(f"{TARGET.name}: {len(made):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
