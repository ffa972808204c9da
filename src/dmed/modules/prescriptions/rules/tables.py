"""The tables behind the checks: small files of facts, each with owner, version and source.

They are files of this package and marked draft until a clinician approves them. Reading a file
of the package is no I/O of the platform: it happens once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec


class Table(msgspec.Struct, frozen=True):
    """Rows by column, and who answers for them."""

    name: str
    owner: str
    version: str
    source: str
    is_draft: bool
    rows: tuple[Mapping[str, str], ...]


def parse(name: str, text: str) -> Table:
    """A table from its text: `# field: value` lines, a line of columns, rows. A ragged row is a
    ValueError.
    """
    about: dict[str, str] = {}
    lines = []
    for line in text.splitlines():
        if line.startswith("#"):
            field, _, value = line[1:].partition(":")
            about[field.strip()] = value.strip()
        elif line:
            lines.append(line)
    columns = lines[0].split("\t")
    return Table(
        name=name,
        owner=about.get("owner", ""),
        version=about.get("version", ""),
        source=about.get("source", ""),
        is_draft=about.get("status", "").startswith("draft"),
        rows=tuple(dict(zip(columns, line.split("\t"), strict=True)) for line in lines[1:]),
    )


@cache
def table(name: str) -> Table:
    """A table of data/rules: "max_daily", "min_age", "pregnancy", "allergy_groups", "validity"."""
    folder = files("dmed.modules.prescriptions").joinpath("data", "rules")
    return parse(name, folder.joinpath(f"{name}.tsv").read_text(encoding="utf-8"))
