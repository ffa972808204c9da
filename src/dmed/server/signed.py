"""A system's prescription stands on its doctor's signature: verified before anything is stored.

decisions.md 19. What is signed and by which keys: `dmed.trust.signatures`.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from dmed.fhir import codec
from dmed.kit.errors import Issue, UnprocessableError
from dmed.server.door import Door
from dmed.server.entries import Plan
from dmed.trust import signatures
from dmed.trust.gateway import decoded
from dmed.trust.model import Subject


async def check_signatures(door: Door, subject: Subject, made: list[Plan]) -> None:
    """Verify every signed Provenance over an entry that a module answers for.

    UnprocessableError names each that does not hold; with settings.accept_unverified_signatures
    nothing is asked. Entries are taken as they were sent, before references are resolved.
    """
    if door.settings.accept_unverified_signatures:
        return
    bound = {one.full_url for one in made if one.full_url and one.type in door.interceptors}
    over = [one for one in made if one.type == "Provenance" and _targets(one) & bound]
    if not over:
        return
    keys = await door.plain.signature_keys(subject)
    known = {one.full_url: one for one in made if one.full_url and one.resource is not None}
    issues: list[Issue] = []
    for one in over:
        try:
            signatures.check(_plain(one), [_plain(each) for each in _signed(one, known)], keys)
        except UnprocessableError as refusal:
            issues += [Issue(issue.code, issue.diagnostics, f"{one.place}.resource.signature")
                       for issue in refusal.issues]  # fmt: skip  # One row a fault.
    if issues:
        raise UnprocessableError(issues=tuple(issues))


def _targets(one: Plan) -> frozenset[str]:
    if one.resource is None or one.resource.target is UNSET or not one.resource.signature:
        return frozenset()
    return frozenset(
        reference.reference for reference in one.resource.target if reference.reference is not UNSET
    )


def _signed(one: Plan, known: dict[str, Plan]) -> list[Plan]:
    """The entries that a Provenance signs, in its order."""
    found = [known.get(reference.reference) for reference in one.resource.target]
    if None in found:
        raise UnprocessableError(
            "A signed Provenance names only entries of its own Bundle as targets"
        )
    return [each for each in found if each is not None]


def _plain(one: Plan) -> dict[str, Any]:
    return decoded(codec.encode(one.resource))
