"""`dmed facilities import` and `dmed sim licences`: institutions and the register of licences."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dmed.apps.cli import _FILE, _chosen, _plainly, main, sim


@sim.command("licences")
@click.option("--port", type=int, default=64_650, show_default=True)
@_plainly
def sim_licences(port: int) -> None:
    """Runs the register of licences with invented licences; prints its setting and the codes.

    `POST /sim/mode` with down, error, nonsense, other or slow makes it fail so.
    """
    from dmed.apps.licence_sim import run

    run(port)


@main.group()
def facilities() -> None:
    """Institutions: the tree from files."""


@facilities.command("import")
@click.argument("file", type=_FILE)
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path),
              help="Write every fault to this CSV file.")
@_plainly
def facilities_import(file: Path, ledger: Path | None) -> None:
    """Imports institutions, departments, beds, services and equipment from CSV or NDJSON.

    Rows may stand in any order. An interrupted import goes on where it stopped when it is called
    again; a wrong row goes to the ledger, and the exit status is 1.
    """
    from dmed.apps.facilities_import import import_facilities

    sys.exit(0 if import_facilities(_chosen(), file, ledger, click.echo) else 1)
