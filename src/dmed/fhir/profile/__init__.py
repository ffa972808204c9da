"""Validation against the profiles of installed guides. https://hl7.org/fhir/R5/profiling.html

R5's own rules are checked by `fhir.validate`; here comes what profiles ask beyond. A profile is
compiled once to closures over the structs of `fhir.types`. docs/reference/validation.md tells all.
"""

from __future__ import annotations

from dmed.fhir.profile.catalogue import KINDS, Catalogue
from dmed.fhir.profile.check import check, examine, validate_with

__all__ = ["KINDS", "Catalogue", "check", "examine", "validate_with"]
