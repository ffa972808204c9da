"""`dmed sim darmon`, `marking`, `scanner`: services of others that cannot be had here."""

from __future__ import annotations

import click

from dmed.apps.cli import _plainly, sim


@sim.command("darmon")
@click.option("--port", type=int, default=64_647, show_default=True)
@click.option("--packs", type=click.IntRange(0, 200_000), default=0, show_default=True,
              help="So many packs made of the starting catalogue; 0: the catalogue as it is.")
@_plainly
def sim_darmon(port: int, packs: int) -> None:
    """Runs the feed of a national register of medicines; prints the setting for it.

    POST /sim/day brings a day of changes, POST /sim/mode a bad day (torn, shrunken, doubled...).
    """
    from dmed.apps.sim_darmon import run

    run(port, packs)


@sim.command("marking")
@click.option("--port", type=int, default=64_648, show_default=True)
@_plainly
def sim_marking(port: int) -> None:
    """Runs the marking operator (Asl Belgisi) with invented packs; prints the setting for it.

    It lets 100 requests a minute in; POST /sim/mode brings a bad day (down, slow, torn...).
    """
    from dmed.apps.sim_marking import run

    run(port)


@sim.command("scanner")
@click.option("--port", type=int, default=64_650, show_default=True)
@_plainly
def sim_scanner(port: int) -> None:
    """Runs a scanner of files (clamd) that knows EICAR's test file; prints the setting."""
    from dmed.apps.sim_scanner import run

    run(port)
