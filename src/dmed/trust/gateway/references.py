"""References of records to be written: conditional ones resolved, missing ones found.

https://hl7.org/fhir/R5/http.html#trules
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.fhir import walk
from dmed.kit.errors import Issue, PreconditionError
from dmed.store.unit import Unit
from dmed.trust.gateway.common import audit_of
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway.unit import GatewayUnit

_LITERAL = re.compile(r"([A-Z][A-Za-z]{2,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/\S{1,64})?")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]{2,63})\?(.+)", re.DOTALL)


def texts(resource: Any) -> Iterator[tuple[str, Any, str]]:
    """(FHIRPath, Reference, its text) of every reference of a record that has a text."""
    for path, reference in walk.references(resource):
        text = reference.reference
        if text is not msgspec.UNSET and text is not None:
            yield path, reference, text


async def make_literal(unit: GatewayUnit, resources: Sequence[Any]) -> None:
    """Replace `Patient?identifier=x` by the one match; PreconditionError where it is not one."""
    known: dict[str, str] = {}
    for resource in resources:
        if resource.fhir_type == "Bundle":
            continue  # What a stored Bundle holds speaks of its own world.
        if walk.first_address(resource, _CONDITIONAL.fullmatch) is None:
            continue  # The way with places, which errors need, is ten times as slow.
        for path, reference, text in texts(resource):
            found = _CONDITIONAL.fullmatch(text)
            if found is None:
                continue
            if text not in known:
                records = await unit.match(found.group(1), found.group(2), lock=False)
                if len(records) != 1:
                    count = "several records" if records else "no record"
                    raise PreconditionError(f"The reference {text} matches {count}", path)
                known[text] = f"{records[0].type}/{records[0].id}"
            reference.reference = known[text]


async def missing(
    unit: Unit, subject: Subject, resources: Sequence[Any], known: set[str]
) -> tuple[Issue, ...]:
    """An issue for each literal reference to a missing record; `known` are about to be written."""
    asked: dict[str, bool] = dict.fromkeys(known, True)
    issues: list[Issue] = []
    for resource in resources:
        for path, _, text in texts(resource):
            found = _LITERAL.fullmatch(text)
            if found is None:
                continue
            name = f"{found.group(1)}/{found.group(2)}"
            if name not in asked:
                audit = audit_of(subject, "R", found.group(1), found.group(2), detail="integrity")
                stored = await unit.read(audit, found.group(1), found.group(2))
                asked[name] = stored is not None and not stored.deleted
            if not asked[name]:
                issues.append(Issue("not-found", f"There is no {name}", f"{path}.reference"))
    return tuple(issues)
