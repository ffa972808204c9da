"""`dmed fhirpath EXPR FILE`: one expression on one record, for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dmed.fhir import codec, path, xml
from dmed.fhir.path.code import NoHooks
from dmed.fhir.path.items import plain, type_of
from dmed.fhir.path.lab import line
from dmed.kit.errors import InvalidError


class _Told(NoHooks):
    """Traces go to standard error, as they come."""

    def trace(self, name: str, items: list[Any]) -> None:
        """One line for each traced value."""
        for item in items:
            click.echo(f"trace {name}: {type_of(item)} {line(plain(item))}", err=True)


def evaluate(expression: str, body: bytes, type_: str, say: Callable[[str], object]) -> None:
    """Tell each value with its type. Raises InvalidError for a wrong record or expression."""
    if body.lstrip().startswith((b"<", b"\xef\xbb\xbf<")):
        body = xml.to_json(body)
    try:
        record = codec.decode(body, type_ or None)
    except KeyError:
        raise InvalidError(f"{type_!r} is no type of R5") from None
    for kind, value in path.compile(expression, record.fhir_type).typed(record, hooks=_Told()):
        say(f"{kind} {line(value)}")
