"""Whether a decoded record keeps R5's rules. https://hl7.org/fhir/R5/validation.html

The codec has refused what is no FHIR JSON; here come cardinality, choices, formats, required
bindings, types of references and the base invariants. docs/reference/validation.md tells all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dmed.fhir.validate_checks import check_resource
from dmed.fhir.validate_run import Inner, Met, Run
from dmed.kit.errors import Issue


class Report(msgspec.Struct, frozen=True):
    """What a validation found.

    `unchecked` counts, by value set, codes of systems that have no content here: they are neither
    right nor wrong (decisions.md 12). `extensions` and `inner` are the extensions and resources
    that stand inside, for the profiles that speak of them.
    """

    issues: list[Issue]
    unchecked: Mapping[str, int]
    extensions: Sequence[Met] = ()
    inner: Sequence[Inner] = ()


def validate(resource: Any) -> list[Issue]:
    """Every fault of a decoded resource or data type, each with its FHIRPath; empty when sound."""
    return report(resource).issues


def report(resource: Any) -> Report:
    """Every fault, and how many codes could not be checked."""
    run = Run(resource)
    try:
        check_resource(resource, (None, resource.fhir_type, -1), run)
    except RecursionError:
        run.fault("structure", "objects are nested too deep", (None, resource.fhir_type, -1))
    return Report(run.issues, run.unchecked, run.extensions, run.inner)
