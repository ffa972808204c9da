"""`dmed analytics count`; the command line imports this last."""

from __future__ import annotations

import click

from dmed.apps.cli import _chosen as chosen
from dmed.apps.cli import _plainly as plainly
from dmed.apps.cli import main


@main.group()
def analytics() -> None:
    """Indicators of prescribing."""


@analytics.command("count")
@click.option("--stretch", type=click.IntRange(1, 10_000), default=2_000, show_default=True,
              help="Changes counted in one transaction.")
@plainly
def analytics_count(stretch: int) -> None:
    """Counts the whole change feed now, then judges the last year and tells prescribers of flags.

    For the first day of a large installation, or new definitions: servers count at most twenty
    seconds a minute, and leave it alone while this runs. It may be interrupted and called again.
    """
    from dmed.apps.counting import count

    count(chosen(), stretch)
