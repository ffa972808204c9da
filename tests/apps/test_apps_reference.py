"""Docs are tested: generated pages are current, every setting and command stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmed.apps import reference
from dmed.kit import settings
from dmed.kit.errors import InvalidError

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_generated_pages_are_current(name: str) -> None:
    """What `dmed docs` would write is what is committed."""
    assert (FOLDER / name).read_text() == reference.pages()[name], "run `dmed docs`"


def test_every_setting_says_what_it_means() -> None:
    """No field of Settings is without its sentence."""
    assert all(line.count("|") == 4 and not line.endswith("|  |")
               for line in reference.settings_page().splitlines() if line.startswith("| `"))


@pytest.mark.parametrize(("variable", "value"), [
    ("DMED_PORT", "eighty"), ("DMED_IF_MATCH_REQUIRED", "perhaps"), ("DMED_WORKERS", "-1")])
def test_a_wrong_setting_names_its_variable(variable: str, value: str) -> None:
    """A value that does not fit is refused with the variable's name, and a right one is taken."""
    with pytest.raises(InvalidError, match=variable):
        settings.load({variable: value})

    assert settings.load({"DMED_PORT": "8081"}).port == 8081
