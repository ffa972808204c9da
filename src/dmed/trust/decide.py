"""The single decision: may this subject do this to this record or type of record, and why (not).

Pure and total over facts that are loaded once: role x institutions x care relationship x
sensitivity label x consent x purpose of use x what an app was allowed (SMART scopes). The policy
is data in trust/policy. What it says of records the store says again in SQL, in the statement
that reads (store/care.py), so that a query is narrowed and never filtered; a test holds both
to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from dmed.fhir.facts import facts
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import scopes as smart
from dmed.trust.policy.fields import HIDDEN
from dmed.trust.policy.roles import (
    DEFINITIONS,
    MEDICINES,
    PERSONS,
    PLACES,
    PLATFORM,
    PRESCRIBING,
    PURPOSES,
    STAFF,
    Action,
    Rule,
    clinical,
    needs_care,
    policy,
)
from dmed.trust.policy.sensitivity import names_of


class Care(msgspec.Struct, frozen=True):
    """A living relationship of the subject, or of an institution of his, with a person."""

    patient: str
    kind: str
    """attached, registered, encounter, episode, referral, appointment, prescription, act, glass"""
    labels: int = 0
    """Sensitivity labels that it opens."""


class Refusal(msgspec.Struct, frozen=True):
    """A person said no (Consent, opt-out) to this subject's institutions or to everybody."""

    patient: str
    labels: int = 0
    """Only records with one of these labels; 0 is all."""


class Record(msgspec.Struct, frozen=True):
    """What the decision needs to know of a record and of the subject's standing with its people."""

    patients: tuple[str, ...]
    labels: int = 0
    care: tuple[Care, ...] = ()
    refusals: tuple[Refusal, ...] = ()


class Context(msgspec.Struct, frozen=True):
    """The circumstances of a request that a decision may depend on.

    `is_plain`: the caller speaks FHIR REST on his own. Otherwise a use case of a module acts for
    him, after its own rules: a pharmacist never edits a MedicationRequest, but his dispense does.
    `record` None asks of the type alone: the store then narrows the statement itself.
    """

    is_plain: bool = False
    record: Record | None = None
    persons: tuple[str, ...] | None = None
    """The people whose records alone are open to the subject (a citizen); None: no such limit."""


class Reason(msgspec.Struct, frozen=True):
    """Why: a key that i18n translates, and the sentence for API answers."""

    key: str
    sentence: str
    values: dict[str, str] = {}


class Verdict(msgspec.Struct, frozen=True):
    """The answer of a decision with its reasons."""

    allowed: bool
    reasons: tuple[Reason, ...]


@lru_cache(maxsize=1)
def _table() -> dict[tuple[Role, str], Rule]:
    return {(role, name): rule for role, rules in policy().items() for rule in rules
            for name in rule.types}  # fmt: skip


def decide(
    subject: Subject, action: Action, resource_type: str, context: Context | None = None
) -> Verdict:
    """Whether the subject may do this to this type, or to the record of the context; and why.

    Never raises. The first wall that stands is the reason of a refusal; of a permission every
    one that was passed is told.
    """
    is_plain = context is not None and context.is_plain
    verdict = _decide(subject.role, action, resource_type, is_plain, subject.purpose)
    if not verdict.allowed:
        return verdict
    if subject.scopes.is_app and not smart.allows(subject.scopes, action.value, resource_type):
        values = {"action": action.value, "type": resource_type, "client": subject.scopes.client}
        sentence = f"The app was not allowed to {action.value} {resource_type}"
        return Verdict(False, (Reason("trust.reason.scope", sentence, values),))
    if context is None or context.record is None:
        return verdict
    persons = context.persons
    if persons is not None and not set(persons).intersection(context.record.patients):
        return _said(False, "own", "The record is not that of this person or of somebody for whom "
                     "this person answers")
    if resource_type not in needs_care().get((subject.role, is_plain), ()):
        return verdict
    standing = _of_record(context.record)
    if not standing.allowed:
        return standing
    return Verdict(True, (*verdict.reasons, *standing.reasons))


def _of_record(record: Record) -> Verdict:
    """What care, labels and consent say. Of several people one is enough: it is his record too."""
    if not record.patients:
        return _said(True, "nobody", "The record is about no person")
    standing = [care for care in record.care if care.patient in record.patients]
    if not standing:
        return _said(False, "no_care", "There is no care relationship with this person: begin one "
                     "with a visit, or break the glass with a reason")
    opening = [care for care in standing if not record.labels & ~care.labels]
    if not opening:
        names = ", ".join(names_of(record.labels))
        return _said(False, "label", f"The record is marked sensitive ({names}), and the care "
                     "relationship does not reach that far", labels=names)
    for care in opening:
        if care.kind == "glass":
            return _said(True, "glass", "The glass was broken for this person; it will be reviewed")
        if not _is_refused(record, care.patient):
            return _said(True, "care", f"There is a care relationship ({care.kind})",
                         kind=care.kind)
    return _said(False, "consent", "The person has refused this use of the record")


def _is_refused(record: Record, patient: str) -> bool:
    return any(
        one.patient == patient and (one.labels == 0 or one.labels & record.labels)
        for one in record.refusals
    )


def _said(allowed: bool, key: str, sentence: str, **values: str) -> Verdict:
    return Verdict(allowed, (Reason(f"trust.reason.{key}", sentence, values),))


@lru_cache(maxsize=8192)
def _decide(
    role: Role, action: Action, resource_type: str, is_plain: bool, purpose: str
) -> Verdict:
    rule = _table().get((role, resource_type))
    values = {"role": role.value, "action": action.value, "type": resource_type}
    if purpose not in PURPOSES[role]:
        sentence = f"The role {role.value} has no access for the purpose {purpose[:40]}"
        return Verdict(False, (Reason("trust.reason.purpose", sentence, values),))
    if rule is None:
        sentence = f"The role {role.value} has no access to {resource_type}"
        return Verdict(False, (Reason("trust.reason.type", sentence, values),))
    if action in (rule.plain if is_plain else rule.plain | rule.acts):
        sentence = f"The role {role.value} may {action.value} {resource_type}"
        return Verdict(True, (Reason("trust.reason.role", sentence, values),))
    if action in rule.acts:
        sentence = (
            f"{resource_type} is not open to {action.value} by the role {role.value} directly: "
            "the platform does it as part of its own acts"
        )
        return Verdict(False, (Reason("trust.reason.act", sentence, values),))
    sentence = f"The role {role.value} may not {action.value} {resource_type}"
    return Verdict(False, (Reason("trust.reason.action", sentence, values),))


@lru_cache(maxsize=64)
def readable(role: Role, is_plain: bool) -> frozenset[str] | None:
    """The types a role may see at all, for the Scope of every statement; None means every type."""
    seen = {rule_type for (of, rule_type), rule in _table().items() if of is role
            and Action.READ in (rule.plain if is_plain else rule.plain | rule.acts)}  # fmt: skip
    return None if len(seen) == len(facts().resources) else frozenset(seen)


def matrix() -> Iterator[str]:
    """docs/reference/roles.md line by line: types against roles, R S C U D for plain REST."""
    roles = list(Role)
    groups = (
        ("Persons", PERSONS),
        ("Places", PLACES),
        ("Staff", STAFF),
        ("Medicines", MEDICINES),
        ("Definitions and terminology", DEFINITIONS),
        ("Prescribing and dispensing", PRESCRIBING),
        ("Written by the platform", PLATFORM),
        ("Clinical records", clinical()),
    )
    yield "# Who may do what"
    yield ""
    yield "Made from `src/dmed/trust/policy/roles.py` by `python -m dmed.trust.decide`; a test"
    yield "compares. R read, S search, C create, U update, D delete in plain FHIR REST; in brackets"
    yield "what the platform's own acts add for this role (a dispense updates the prescription). A"
    yield "dash is a refusal (403). A star: only records of people in the care of the subject's"
    yield "institutions ([decision.md](decision.md))."
    for title, names in groups:
        yield ""
        yield f"## {title}"
        yield ""
        yield "| type | " + " | ".join(role.value for role in roles) + " |"
        yield "|---|" + "---|" * len(roles)
        for name in sorted(names):
            yield f"| {name} | " + " | ".join(_letters(role, name) for role in roles) + " |"
    yield from _fields()


def _fields() -> Iterator[str]:
    yield ""
    yield "## Fields"
    yield ""
    yield "What a role does not see of a type that is open to it, in plain FHIR REST: the answer is"
    yield "without it and tagged SUBSETTED, and no search may ask for it (403). Data:"
    yield "`src/dmed/trust/policy/fields.py`. Who may write a type sees all of it."
    yield ""
    yield "| role | type | not seen |"
    yield "|---|---|---|"
    for role, types in HIDDEN.items():
        for name, closed in types.items():
            numbers = [f"identifiers of {one}..." for one in closed.systems]
            yield f"| {role.value} | {name} | {', '.join([*sorted(closed.elements), *numbers])} |"


def _letters(role: Role, name: str) -> str:
    rule = _table().get((role, name))
    if rule is None:
        return "-"
    plain = "".join(a.value[0].upper() for a in Action if a in rule.plain)
    more = "".join(a.value[0].upper() for a in Action if a in rule.acts - rule.plain)
    star = "*" if plain and name in needs_care().get((role, True), ()) else ""
    return (plain + star + (f" ({more})" if more else "")).strip() or "-"


__all__ = [
    "DEFINITIONS",
    "Action",
    "Care",
    "Context",
    "Reason",
    "Record",
    "Refusal",
    "Verdict",
    "clinical",
    "decide",
    "matrix",
    "policy",
    "readable",
]

if __name__ == "__main__":
    # The page of roles is made by: python -m dmed.trust.decide > docs/reference/roles.md
    import sys

    sys.stdout.write("\n".join(matrix()) + "\n")
