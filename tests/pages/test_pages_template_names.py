"""Every template that code or another template names is there."""

from __future__ import annotations

import re
from pathlib import Path

import dmed
from dmed.pages import view

_ROOT = Path(dmed.__file__).parent
_NAME = re.compile(r'"([a-z_]+/[a-z_]+\.html)"')


def test_each_named_template_can_be_loaded() -> None:
    """A page that was moved takes its templates' names with it; all that are named compile."""
    named = {
        (name, path.relative_to(_ROOT).as_posix())
        for pattern in ("*.py", "*.html") for path in _ROOT.rglob(pattern)
        for name in _NAME.findall(path.read_text(encoding="utf-8"))
    }  # fmt: skip  # One set.
    known = set(view.environment().list_templates())

    assert len(named) > 50
    assert sorted(each for each in named if each[0] not in known) == []
    for name in sorted({name for name, _ in named}):
        view.environment().get_template(name)
