"""What the gateway and its unit share: the decision, the Scope and the audit row of an act."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from dmed.fhir.facts import facts
from dmed.kit.errors import ForbiddenError, InvalidError, Issue, NotFoundError, PreconditionError
from dmed.store.care import Standing
from dmed.store.model import AuditRow, Scope, SearchPage, Stored
from dmed.trust.decide import Action, Care, Context, Record, Refusal, Verdict, readable
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import scopes as smart
from dmed.trust.policy.care import principals_of
from dmed.trust.policy.roles import needs_care
from dmed.trust.request import request_id

LETTERS = {
    Action.READ: "R",
    Action.SEARCH: "E",
    Action.CREATE: "C",
    Action.UPDATE: "U",
    Action.DELETE: "D",
}
VERSION_MISMATCH = "Version is mismatch"
"""The country's wording for a missing or stale If-Match."""
QUERY_MAX = 2_000
"""Characters of a search that its audit row keeps."""
_CARDS = frozenset({"Patient", "RelatedPerson"})
"""Seen by who begins care, changed by who has begun it."""
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class RefusedError(ForbiddenError):
    """The decision is no; `reasons` say why, for people in their language."""

    def __init__(self, verdict: Verdict) -> None:
        self.reasons = verdict.reasons
        super().__init__(
            issues=tuple(Issue("forbidden", reason.sentence) for reason in verdict.reasons)
        )


def needs_institutions(subject: Subject, context: Context) -> bool:
    """Whether the Scope of a subject depends on the tree of his institutions."""
    return (subject.role, context.is_plain) in needs_care()


def scope_of(subject: Subject, context: Context, institutions: tuple[str, ...] = ()) -> Scope:
    """What the subject may reach at all; the store puts it on every alias of every statement."""
    return _scope(
        subject.user, subject.role, subject.practitioner, context.is_plain, institutions
    )


@lru_cache(maxsize=10_000)
def _scope(
    user: str, role: Role, practitioner: str, is_plain: bool, institutions: tuple[str, ...]
) -> Scope:
    guarded = needs_care().get((role, is_plain), frozenset())
    subject = Subject(user=user, role=role, practitioner=practitioner)
    return Scope(
        user,
        None,
        readable(role, is_plain),
        principals=principals_of(subject, institutions) if (role, True) in needs_care() else (),
        guarded=guarded,
        guarded_writes=guarded | _CARDS if role is Role.DOCTOR else guarded,
    )


def app_scope(scope: Scope, subject: Subject, action: Action, type_: str) -> Scope:
    """The Scope narrowed to what an app was allowed (trust.oauth.scopes says how)."""
    scopes = subject.scopes
    if not scopes.is_app:
        return scope
    allowed = smart.readable(scopes)
    patients = smart.patients(scopes, action.value, type_) if type_ else None
    types = allowed.types
    if scope.patients is not None:
        # A citizen's app sees no more persons than he does.
        own = scope.patients
        patients = own if patients is None else tuple(one for one in patients if one in own)
    if patients is None and not type_ and types is not None and not types:
        # Nothing may be seen whole: a search of no type stays in the one compartment.
        patients = (scopes.patient,) if scopes.patient else ()
    if patients is not None and types is not None:
        types = types | allowed.confined
    if types is not None and type_:
        types = types | {type_}
    if types is not None and scope.types is not None:
        types &= scope.types
    return msgspec.structs.replace(
        scope, patients=patients, types=scope.types if types is None else types)


def within(scope: Scope, patient: str) -> Scope:
    """The Scope in one patient's compartment alone; nobody, where it is limited to others."""
    if not patient:
        return scope
    inside = scope.patients is None or patient in scope.patients
    return msgspec.structs.replace(scope, patients=(patient,) if inside else ())


def audit_of(
    subject: Subject,
    action: str,
    type_: str = "",
    id_: str = "",
    *,
    query: str = "",
    patient: str = "",
    outcome: int = 200,
    detail: str = "",
) -> AuditRow:
    """The audit row of one act of a subject."""
    return AuditRow(
        request=request_id(),
        action=action,
        subject=subject.user,
        role=subject.role.value,
        organisation=subject.organisation,
        purpose=subject.purpose,
        type=type_,
        id=id_,
        patient=patient,
        query=query,
        outcome=outcome,
        detail=detail,
    )


def check_type(type_: str) -> None:
    """Refuse a name that is no resource type (404)."""
    found = facts().types.get(type_)
    if found is None or found.kind != "resource" or found.is_abstract:
        raise NotFoundError(f"{type_[:70]!r} is no resource type of FHIR R5")


def mismatch() -> PreconditionError:
    """412 in the country's words."""
    return PreconditionError(issues=(Issue("invalid", VERSION_MISMATCH),))


def pairs_of(criteria: str) -> list[tuple[str, str]]:
    """The pairs of a query string; InvalidError where it cannot be read."""
    try:
        return parse_qsl(
            criteria.removeprefix("?"), keep_blank_values=True, max_num_fields=100, errors="strict"
        )
    except ValueError as fault:
        raise InvalidError("The search criteria cannot be read") from fault


def asked_text(pairs: Iterable[tuple[str, str]]) -> str:
    """What was asked, for the audit: as it was asked, to a length that a row can hold."""
    return "&".join([f"{name}={value}" for name, value in pairs])[:QUERY_MAX]


def decoded(body: bytes) -> dict[str, Any]:
    """A stored body as a dict whose decimals are Decimal."""
    record: dict[str, Any] = _decoder.decode(body)
    return record


def bodies(page: SearchPage) -> list[dict[str, Any]]:
    """The records of a page, matches first, as dicts."""
    return [decoded(hit.record.body) for hit in page.hits]


def only_matches(page: SearchPage) -> list[Stored]:
    """The matches of a page without what was included."""
    return [hit.record for hit in page.hits if hit.mode == "match"]


def told_ids(records: Iterable[Stored]) -> str:
    """A few ids for a sentence."""
    return ", ".join(f"{record.type}/{record.id}" for record in list(records)[:3])


def facts_of(known: Standing | None) -> Record:
    """What the store knows of a record and of who asks, as the decision takes it."""
    if known is None:
        return Record(patients=("-",))
    return Record(
        known.patients,
        known.labels,
        tuple(Care(*one) for one in known.care),
        tuple(Refusal(*one) for one in known.refusals),
    )
