"""The software bill of materials: CycloneDX JSON of everything that the locks name.

`python tools/sbom.py [FILE]` (`make sbom`) reads requirements/run.lock and node.lock, and with
`--dev` the builders' lock too; what the environment knows of licences is added. Nothing is asked of
the network, and the same locks give the same file. Format: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from install_browser_parts import PARTS

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def locked(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """Each package of a lock: its version and the hashes of its files."""
    text = lock.read_text()
    found = {}
    pins = list(_PIN.finditer(text))
    for number, pin in enumerate(pins):
        end = pins[number + 1].start() if number + 1 < len(pins) else len(text)
        found[normal(pin[1])] = (pin[2], _HASH.findall(text[pin.end():end]))
    return found


def normal(name: str) -> str:
    """A package's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(name: str) -> str:
    try:
        told = metadata.distribution(name).metadata
    except metadata.PackageNotFoundError:
        return ""
    expression: str = told["License-Expression"] or ""
    return expression or next(
        (line.rpartition(":: ")[2] for line in told.get_all("Classifier", [])
         if line.startswith("License ::")), "")


def _component(name: str, version: str, hashes: list[str], scope: str) -> dict[str, Any]:
    address = f"pkg:pypi/{name}@{version}"
    made: dict[str, Any] = {
        "type": "library", "bom-ref": address, "name": name, "version": version, "purl": address,
        "scope": scope}
    if len(hashes) == 1:
        made["hashes"] = [{"alg": "SHA-256", "content": hashes[0]}]
    elif hashes:
        # One of several files is installed, by the platform: all are named, none is claimed.
        made["properties"] = [{"name": "dmed:sha256", "value": one} for one in sorted(hashes)]
    licence = _licence(name)
    if licence:
        made["licenses"] = [{"license": {"name": licence}}]
    return made


def _browser_parts() -> list[dict[str, Any]]:
    """The packages that the set-up brings from npm, as their script pins them."""
    made = []
    for part in sorted(PARTS):
        address = f"pkg:npm/{part.name.replace('@', '%40')}@{part.version}"
        algorithm, _, digest = part.integrity.partition("-")
        made.append({
            "type": "library", "bom-ref": address, "name": part.name, "version": part.version,
            "purl": address, "scope": "required", "hashes": [
                {"alg": algorithm.upper().replace("SHA", "SHA-"),
                 "content": base64.b64decode(digest).hex()}]})
    return made


def bill(*, dev: bool = False) -> dict[str, Any]:
    """The document; the same locks give the same one, its serial number too."""
    locks = {"required": ["run.lock"], "optional": ["node.lock", *(["dev.lock"] if dev else [])]}
    components: dict[str, dict[str, Any]] = {}
    for scope, names in locks.items():
        for lock in names:
            for name, (version, hashes) in locked(ROOT / "requirements" / lock).items():
                components.setdefault(name, _component(name, version, hashes, scope))
    listed = [components[name] for name in sorted(components)] + _browser_parts()
    digest = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
    told = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    own = {"type": "application", "bom-ref": "dmed", "name": "dmed",
           "version": told[1] if told else "0"}
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.UUID(digest[:32], version=4)}",
        "metadata": {"component": own, "tools": {"components": [
            {"type": "application", "name": "tools/sbom.py"}]}},
        "components": listed,
        "dependencies": [{"ref": "dmed", "dependsOn": [
            one["bom-ref"] for one in listed if one["scope"] == "required"]}],
    }


def main() -> int:
    """Writes the bill and tells how many components it names."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("file", nargs="?", type=Path, default=ROOT / "build" / "sbom.cdx.json")
    options.add_argument("--dev", action="store_true", help="the builders' packages too")
    given = options.parse_args()
    made = bill(dev=given.dev)
    given.file.parent.mkdir(parents=True, exist_ok=True)
    given.file.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    print(f"{given.file}: {len(made['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
