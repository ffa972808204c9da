"""Every official R5 example and every national one comes back equal, digit for digit."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dmed.fhir import codec

LARGE_BYTES = 200_000


_reader = msgspec.json.Decoder(float_hook=lambda number: Decimal(number).as_tuple())


def exact(body: bytes) -> Any:
    """JSON with each decimal as sign, digits and exponent, so that 1.0 and 1.00 differ."""
    return _reader.decode(body)


def unequal(files: list[Path]) -> list[str]:
    """Names of the files that do not come back equal, or whose encoding is not stable."""
    found = []
    for file in files:
        body = file.read_bytes()
        encoded = codec.encode(codec.decode(body))
        if exact(encoded) != exact(body):
            found.append(file.name)
        elif len(body) < LARGE_BYTES and codec.encode(codec.decode(encoded)) != encoded:
            found.append(f"{file.name}: not stable")
    return found


def instances(folder: Path) -> list[Path]:
    """The resources of a package folder."""
    return [
        f for f in sorted(folder.glob("*.json")) if f.name not in {"package.json", ".index.json"}
    ]


def test_national_examples_come_back_equal(shared_data):
    """The 97 examples of the national guide keep every value and digit."""
    files = instances(shared_data / "uz-core" / "core" / "examples")
    assert len(files) == 97
    assert unequal(files) == []


@pytest.mark.slow
def test_official_examples_come_back_equal(r5_examples):
    """All 2,822 official R5 examples keep every value and digit."""
    files = instances(r5_examples)
    assert len(files) == 2822
    assert unequal(files) == []
