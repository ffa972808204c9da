"""The catalogue of errors, made of the error classes themselves."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dmed.kit.errors import DmedError


class Known(msgspec.Struct, frozen=True, order=True):
    """One kind of refusal: HTTP status, FHIR issue code, name, and when it comes."""

    status: int
    code: str
    name: str
    when: str


def catalogue() -> list[Known]:
    """Every kind of refusal by status; those that differ in nothing a caller sees stand once."""
    found: dict[tuple[int, str], Known] = {}
    for kind in _all(DmedError):
        if kind.__module__ == DmedError.__module__:
            when = " ".join((kind.__doc__ or "").split()).removesuffix(f": {kind.status}.")
            found.setdefault((kind.status, kind.code), Known(
                kind.status, kind.code, kind.__name__, when))
    return sorted(found.values())


def _all(kind: type[DmedError]) -> Iterator[type[DmedError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _all(each)
