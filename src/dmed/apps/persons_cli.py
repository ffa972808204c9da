"""`dmed persons`: commands of the person index; the command line imports this last."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dmed.apps.cli import _FILE as FILE
from dmed.apps.cli import _chosen as chosen
from dmed.apps.cli import _plainly as plainly
from dmed.apps.cli import main


@main.group()
def persons() -> None:
    """The person index: the national feed and matching."""


@persons.command("import")
@click.argument("file", type=FILE)
@click.option("--changes", is_flag=True, help="Compare every line with the card of its PINFL.")
@click.option("--encoding", default="", help="How the file is written [utf-8].")
@click.option("--language", type=click.Choice(["uz", "ru", "en"]), default="en",
              show_default=True, help="Language of the sentences about lines.")
@plainly
def persons_import(file: Path, changes: bool, encoding: str, language: str) -> None:
    """Takes over persons from CSV (with a heading) or NDJSON, plain or .gz.

    An interrupted import goes on where it stopped when it is called again. What is wrong with a
    line is kept with the line and written to a report; the exit status is 1 when a line was
    refused or contradicts a card (docs/reference/med-id.md).
    """
    from dmed.apps.persons_feed import import_persons

    done = import_persons(chosen(), file, changes=changes, encoding=encoding, language=language)
    sys.exit(1 if done.refused or done.conflict else 0)
