"""`dmed persons learn` and `dmed persons deduplicate`; the command line imports this last."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from dmed.apps.cli import _FILE as FILE
from dmed.apps.cli import _chosen as chosen
from dmed.apps.cli import _plainly as plainly
from dmed.apps.persons_cli import persons
from dmed.kit.errors import InvalidError

_FOLDER = click.Path(file_okay=False, path_type=Path)


def _need_batch() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("splink", "duckdb")):
        raise InvalidError("batch matching needs its own packages: make batch")


@persons.command("learn")
@click.argument("files", nargs=-1, type=FILE)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="File to write instead of the installation's weights.")
@plainly
def persons_learn(files: tuple[Path, ...], out: Path | None) -> None:
    """Learns the weights of matching from records, without labels.

    From NDJSON of Patients, or from this installation where no file is named. Servers take new
    weights at their next start. Needs `make batch` (docs/reference/matching.md).
    """
    _need_batch()
    from dmed.apps.matching.batch import learn

    click.echo(learn(chosen(), files, out))


@persons.command("deduplicate")
@click.argument("files", nargs=-1, type=FILE)
@click.option("--out", type=_FOLDER, default=Path("matching"), show_default=True,
              help="Folder for pairs.csv and clusters.csv.")
@click.option("--propose", is_flag=True, help="Put the pairs up for review (/persons/review).")
@plainly
def persons_deduplicate(files: tuple[Path, ...], out: Path, propose: bool) -> None:
    """Finds records of one person in NDJSON of Patients, or in this installation.

    Every pair is decided by the platform's own scorer, and says why. Nothing is merged: people
    decide, or `Patient/$merge`. Needs `make batch`.
    """
    _need_batch()
    from dmed.apps.matching.batch import deduplicate

    if propose and files:
        raise click.UsageError("--propose is for the records of this installation")
    found = deduplicate(chosen(), files, out, propose=propose)
    for grade in ("certain", "probable", "possible"):
        click.echo(f"{grade}: {found[grade]:,} pairs")
    click.echo(out / "pairs.csv")
