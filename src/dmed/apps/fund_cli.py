"""`dmed sim fund`: the command of the simulator; the command line imports this last."""

from __future__ import annotations

import click

from dmed.apps.cli import _plainly as plainly
from dmed.apps.cli import sim


@sim.command("fund")
@click.option("--port", type=int, default=64_649, show_default=True)
@plainly
def sim_fund(port: int) -> None:
    """Runs the State Health Insurance Fund's service; prints the setting for it.

    POST /sim/mode with a word makes it fail (down, slow, lost, nonsense, refuse, pending...).
    """
    from dmed.apps.sim_fund import run

    run(port)
