"""FHIR packages from the npm registry, fetched once into build/npm and checked by their digest."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "npm"
SHA512 = {
    "hl7.fhir.r5.examples@5.0.0":
        "f9f3aed5de43a8040ca2bbd3571d1b62b9d33e5f99d98a2f0642cc7097fa13e8"
        "cc87ad7e49b780116ab3c723bfc04ecb068b6cee1057c32f2d37b9fa8814633b",
}
"""Digests (sha512, hex) of the packed packages as they were checked."""


def package_folder(name: str, version: str) -> Path:
    """Folder `package/` of an npm package; OSError where it cannot be had."""
    target = CACHE / f"{name}-{version}"
    if (target / "package").is_dir():
        return target / "package"
    npm = shutil.which("npm") or str(ROOT / ".venv" / "bin" / "npm")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        try:
            done = subprocess.run([npm, "pack", f"{name}@{version}", "--silent"], cwd=folder,
                                  capture_output=True, text=True, check=False, timeout=300)
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise OSError(f"npm pack {name}: {error}") from error
        if done.returncode != 0:
            raise OSError(f"npm pack {name} failed: {done.stderr.strip()[:200]}")
        packed = next(Path(folder).glob("*.tgz"))
        _check(f"{name}@{version}", packed)
        with tarfile.open(packed) as archive:
            archive.extractall(Path(folder) / "whole", filter="data")
        target.mkdir(exist_ok=True)
        (Path(folder) / "whole" / "package").rename(target / "package")
    return target / "package"


def _check(name: str, packed: Path) -> None:
    expected = SHA512[name]
    found = hashlib.sha512(packed.read_bytes()).hexdigest()
    if found != expected:
        raise OSError(f"{name} is not the package that was checked: sha512 {found}")
