"""What a trial of an expression may ask of terminology: R5's own definitions, and no others."""

from __future__ import annotations

from functools import cache
from typing import Any

from dmed.fhir.path.lab import Traces
from dmed.fhir.terminology.asked import terminology
from dmed.fhir.terminology.library import Library


@cache
def _own() -> Library:
    """Read when an expression first asks: most never do."""
    return Library()


class OwnTerms(Traces):
    """Hooks that keep what trace() tells and know R5's own code systems and value sets."""

    def terminology(self, operation: str, given: list[Any], parameters: str) -> Any | None:
        """The operations of `%terminologies`."""
        return terminology(_own(), operation, given, parameters)
