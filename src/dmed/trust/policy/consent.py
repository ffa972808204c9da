"""What a Consent refuses: https://hl7.org/fhir/R5/consent.html, opt-out as the country has it.

Everything that is needed to treat is permitted until the person says no. Understood is: a
Consent that permits with provisions as exceptions (each names institutions or practitioners it
denies, or labels, or both), and one that denies: then everybody is refused. Exceptions to a
denial are not understood and change nothing, which is the strict side. Broken glass passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from dmed.fhir import params
from dmed.fhir.values import date_bounds
from dmed.kit.clock import now
from dmed.store.model import Relation
from dmed.trust.policy.sensitivity import CODES, SYSTEM

FOR_EVER = datetime(2999, 12, 31, tzinfo=UTC)
EVERYBODY = ""
_LABELS = {code: label for label, code in CODES.items()}
_ACTOR = re.compile(r"(?:Organization|Practitioner)/[A-Za-z0-9\-.]{1,64}")


def refusals(resource: Any) -> Iterator[Relation]:
    """The refusals of a Consent struct that is active, as Relations of kind "refusal"."""
    if resource.status != "active":
        return
    for patient in params.patients(resource):
        for principal, labels, until in _said(resource):
            if until > now():
                yield Relation(patient, principal, "refusal", until, labels)


def _said(resource: Any) -> Iterator[tuple[str, int, datetime]]:
    """(principal, labels, until); labels of one principal are joined, as one row holds them."""
    until = _end(resource.period)
    if resource.decision == "deny":
        yield EVERYBODY, 0, until
        return
    found: dict[str, tuple[int, datetime]] = {}
    for provision in resource.provision if isinstance(resource.provision, list) else []:
        labels = _labels(provision)
        if labels is None:
            continue  # It speaks of labels that we do not keep.
        end = min(until, _end(provision.period))
        for principal in _actors(provision):
            old = found.get(principal)
            # All records (0) holds more than any label.
            joined = labels if old is None else (old[0] | labels if old[0] and labels else 0)
            found[principal] = (joined, end if old is None else max(end, old[1]))
    for principal, (labels, end) in found.items():
        yield principal, labels, end


def _actors(provision: Any) -> list[str]:
    if provision.actor is msgspec.UNSET or not provision.actor:
        return [EVERYBODY]
    texts = (getattr(each.reference, "reference", None) for each in provision.actor)
    return [text for text in texts if isinstance(text, str) and _ACTOR.fullmatch(text)]


def _labels(provision: Any) -> int | None:
    """0 for all records, else the bits; None where only labels of others are named."""
    if provision.securityLabel is msgspec.UNSET or not provision.securityLabel:
        return 0
    found = 0
    for coding in provision.securityLabel:
        if coding.system == SYSTEM and coding.code in _LABELS:
            found |= _LABELS[coding.code]
    return found or None


def _end(period: Any) -> datetime:
    end = msgspec.UNSET if period is msgspec.UNSET else period.end
    if not isinstance(end, str):
        return FOR_EVER
    try:
        return datetime.fromtimestamp(date_bounds(end)[1] / 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return FOR_EVER
