"""All functions, one file a family. Adding one is a decorated function in its family's file."""

from dmed.fhir.path.functions import (  # noqa: F401  # Each family enters itself into the table.
    collections,
    conversion,
    dates,
    existence,
    fhir,
    numbers,
    services,
    strings,
    totals,
    trees,
    utility,
)
from dmed.fhir.path.functions.table import FUNCTIONS

__all__ = ["FUNCTIONS"]
