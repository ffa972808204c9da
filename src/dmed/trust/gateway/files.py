"""Files inside of records are looked at by the scanner before anything is stored.

A file is base64 in an element named `data`: of an Attachment or of a Binary. Without a scanner in
the settings nothing is looked at. With one that does not answer nothing with a file is stored.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any

from dmed.kit.errors import UnprocessableError
from dmed.kit.scanner import Clamd, Scanner
from dmed.kit.settings import Settings
from dmed.store.model import Write
from dmed.trust.gateway.common import decoded


class InfectedError(UnprocessableError):
    """The scanner found something in a file: nothing was stored."""


async def scan(settings: Settings, writes: Iterable[Write]) -> None:
    """InfectedError, with the place, where the scanner finds something in a file of these records;
    UnavailableError where it does not answer.
    """
    if not settings.scanner:
        return
    scanner: Scanner = Clamd(settings.scanner)
    for write in writes:
        # Nearly no record holds a file: its bytes are searched before it is read.
        if b'"data":"' not in write.body:
            continue
        for place, content in _files(decoded(write.body), write.type):
            if name := await scanner.found(content):
                raise InfectedError(
                    f"The scanner of files found {name[:100]!r}: nothing was stored", place)


def _files(value: Any, place: str) -> Iterator[tuple[str, bytes]]:
    """(place, content) of every file in a record; what is no base64 is no file."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _files(each, f"{place}[{number}]")
    elif isinstance(value, dict):
        for name, each in value.items():
            inner = f"{place}.{name}"
            if name != "data" or not isinstance(each, str):
                yield from _files(each, inner)
                continue
            try:
                yield inner, base64.b64decode(each)
            except (binascii.Error, ValueError):
                continue  # The series of a SampledData.
