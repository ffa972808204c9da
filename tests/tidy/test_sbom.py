"""The bill of materials names everything that the locks do, and says when an audit did not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import audit_dependencies
import sbom

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("lock", ["run.lock", "dev.lock", "node.lock"])
def test_every_locked_package_is_named(lock: str) -> None:
    """Name and version of every pin of every lock stand in the bill, and none twice."""
    pins = {line.partition(" ")[0].partition(";")[0].strip()
            for line in (ROOT / "requirements" / lock).read_text().splitlines()
            if "==" in line and not line.startswith((" ", "#"))}
    names = [(one["name"], one["version"]) for one in sbom.bill(dev=True)["components"]]

    assert pins
    assert {tuple(pin.split("==")) for pin in pins} <= {
        (name, version) for name, version in names} | {
        (name.replace("-", "_"), version) for name, version in names}
    assert len(names) == len(set(names))


def test_the_bill_is_the_same_for_the_same_locks() -> None:
    """Made twice, it is the same document, and it has what CycloneDX asks for."""
    first, second = sbom.bill(), sbom.bill()

    assert json.dumps(first) == json.dumps(second)
    assert first["bomFormat"] == "CycloneDX"
    assert {"htmx.org", "asyncpg"} <= {one["name"] for one in first["components"]}
    assert all(one["purl"].startswith("pkg:") for one in first["components"])


def test_every_pin_is_held_by_a_hash() -> None:
    """No package is installed that a registry could have exchanged."""
    for lock in ("run.lock", "dev.lock", "node.lock"):
        for name, (_, hashes) in sbom.locked(ROOT / "requirements" / lock).items():
            assert hashes, f"{lock}: {name} without hash"


def test_an_audit_that_could_not_ask_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where the auditor cannot be had, the words are "not run" and the status is not 0."""
    monkeypatch.setattr(audit_dependencies, "ROOM", tmp_path)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pip-audit"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)

    assert audit_dependencies.main() == 2
    assert capsys.readouterr().out.count("not run") == 3


def test_what_is_known_is_told_with_the_version_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A known weakness names package, number and mended version, and the status is 1."""
    monkeypatch.setattr(audit_dependencies, "ROOM", tmp_path)
    (tmp_path / "bin").mkdir()
    answer = {"dependencies": [{"name": "x", "version": "1", "vulns": [
        {"id": "CVE-1", "fix_versions": ["2"]}]}]}  # fmt: skip  # One answer.
    program = tmp_path / "bin" / "pip-audit"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\nexit 1\n")
    program.chmod(0o755)

    assert audit_dependencies.main() == 1
    assert "x 1: CVE-1, mended in 2" in capsys.readouterr().out
