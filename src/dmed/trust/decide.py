"""The single decision: may this subject do this to this type of record, and why (not).

Pure and total. The policy is one table of data; docs/reference/roles.md is made from it and a
test compares. Care relationship, consent, purpose and sensitivity come into `Context` later:
the function and its call sites stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache

import msgspec

from dmed.fhir.facts import facts
from dmed.trust.model import Role, Subject


class Action(StrEnum):
    """What is asked; vread and history are reads."""

    READ = "read"
    SEARCH = "search"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Context(msgspec.Struct, frozen=True):
    """The circumstances of a request that a decision may depend on.

    `is_plain`: the caller speaks FHIR REST on his own. Otherwise a use case of a module acts for
    him, after its own rules: a pharmacist never edits a MedicationRequest, but his dispense does.
    """

    is_plain: bool = False


class Reason(msgspec.Struct, frozen=True):
    """Why: a key that i18n translates, and the sentence for API answers."""

    key: str
    sentence: str
    values: dict[str, str] = {}


class Verdict(msgspec.Struct, frozen=True):
    """The answer of a decision with its reasons."""

    allowed: bool
    reasons: tuple[Reason, ...]


class Rule(msgspec.Struct, frozen=True):
    """What a role may do to some types: in plain REST, and more in acts of modules."""

    types: frozenset[str]
    plain: frozenset[Action]
    acts: frozenset[Action] = frozenset()


_SEE = frozenset({Action.READ, Action.SEARCH})
_ADD = _SEE | {Action.CREATE}
_WRITE = _ADD | {Action.UPDATE}
_ALL = _WRITE | {Action.DELETE}
_NONE: frozenset[Action] = frozenset()

PERSONS = frozenset({"Patient", "Person", "RelatedPerson"})
PLACES = frozenset({"HealthcareService", "Location", "Organization", "OrganizationAffiliation"})
STAFF = frozenset({"Practitioner", "PractitionerRole"})
MEDICINES = frozenset(
    {
        "AdministrableProductDefinition",
        "ClinicalUseDefinition",
        "FormularyItem",
        "Ingredient",
        "ManufacturedItemDefinition",
        "Medication",
        "MedicationKnowledge",
        "MedicinalProductDefinition",
        "PackagedProductDefinition",
        "RegulatedAuthorization",
        "Substance",
        "SubstanceDefinition",
    }
)
DEFINITIONS = frozenset(
    {
        "ActivityDefinition",
        "CapabilityStatement",
        "ChargeItemDefinition",
        "CodeSystem",
        "CompartmentDefinition",
        "ConceptMap",
        "ConditionDefinition",
        "EventDefinition",
        "ExampleScenario",
        "GraphDefinition",
        "ImplementationGuide",
        "Library",
        "Measure",
        "MessageDefinition",
        "NamingSystem",
        "ObservationDefinition",
        "OperationDefinition",
        "PlanDefinition",
        "Questionnaire",
        "Requirements",
        "SearchParameter",
        "SpecimenDefinition",
        "StructureDefinition",
        "StructureMap",
        "SubscriptionTopic",
        "TerminologyCapabilities",
        "TestPlan",
        "TestScript",
        "ValueSet",
    }
)
PRESCRIBING = frozenset({"MedicationDispense", "MedicationRequest", "Task"})
PLATFORM = frozenset({"AuditEvent", "Provenance", "Subscription", "SubscriptionStatus"})
"""Written by the platform; a person's plain REST never makes one."""


def clinical() -> frozenset[str]:
    """Every other type: what is known of a person's health."""
    named = PERSONS | PLACES | STAFF | MEDICINES | DEFINITIONS | PRESCRIBING | PLATFORM
    return frozenset(facts().resources) - named


@lru_cache(maxsize=1)
def policy() -> dict[Role, tuple[Rule, ...]]:
    """Role > rules; what no rule names is refused. A type stands in at most one rule of a role."""
    shared = PLACES | STAFF | MEDICINES | DEFINITIONS
    provenance = frozenset({"Provenance"})
    notices = frozenset({"Communication", "DetectedIssue", "Flag"})
    return {
        Role.DOCTOR: (
            Rule(clinical(), _WRITE, _WRITE),
            Rule(PERSONS, _WRITE, _WRITE),
            Rule(shared, _SEE, _SEE),
            # A plain POST goes through the prescribing module's rules (decisions 19).
            Rule(frozenset({"MedicationRequest"}), _ADD, _WRITE),
            Rule(frozenset({"MedicationDispense"}), _SEE, _SEE),
            Rule(frozenset({"Task"}), _SEE, _WRITE),
            Rule(provenance, _SEE, _ADD),
        ),
        Role.PHARMACIST: (
            Rule(frozenset({"Patient"}), _SEE, _SEE),
            Rule(shared, _SEE, _SEE),
            Rule(frozenset({"MedicationDispense"}), _ADD, _WRITE),
            Rule(frozenset({"MedicationRequest"}), _SEE, _SEE | {Action.UPDATE}),
            Rule(frozenset({"Task"}), _SEE, _SEE | {Action.UPDATE}),
            Rule(provenance, _NONE, _ADD),
            Rule(notices, _NONE, _ADD),
        ),
        Role.REGISTRAR: (
            Rule(PERSONS, _WRITE, _WRITE),
            Rule(PLACES, _WRITE, _WRITE),
            Rule(STAFF | MEDICINES | DEFINITIONS, _SEE, _SEE),
            Rule(provenance, _NONE, _ADD),
        ),
        Role.ADMINISTRATOR: (
            Rule(PLACES | STAFF | MEDICINES | DEFINITIONS, _ALL, _ALL),
            Rule(frozenset({"Subscription"}), _ALL, _ALL),
            # The authority holds and releases an item; it sees no more of a prescription.
            Rule(frozenset({"MedicationRequest", "Task"}), _NONE, _SEE | {Action.UPDATE}),
        ),
        # A system speaks for its own users; what it may do shrinks with its scopes later.
        Role.SERVICE: (Rule(frozenset(facts().resources), _ALL, _ALL),),
    }


@lru_cache(maxsize=1)
def _table() -> dict[tuple[Role, str], Rule]:
    return {(role, name): rule for role, rules in policy().items() for rule in rules
            for name in rule.types}  # fmt: skip


def decide(
    subject: Subject, action: Action, resource_type: str, context: Context | None = None
) -> Verdict:
    """Whether the subject may do this to records of this type, with the reason. Never raises."""
    return _decide(subject.role, action, resource_type, context is not None and context.is_plain)


@lru_cache(maxsize=4096)
def _decide(role: Role, action: Action, resource_type: str, is_plain: bool) -> Verdict:
    rule = _table().get((role, resource_type))
    values = {"role": role.value, "action": action.value, "type": resource_type}
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


@lru_cache(maxsize=32)
def readable(role: Role, is_plain: bool) -> frozenset[str] | None:
    """The types a role may see at all, for the Scope of every statement; None means every type."""
    names = frozenset(
        name for name in facts().resources if _decide(role, Action.READ, name, is_plain).allowed
    )
    return None if len(names) == len(facts().resources) else names


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
    yield "Made from `src/dmed/trust/decide.py`; a test compares. R read, S search, C create,"
    yield "U update, D delete in plain FHIR REST; in brackets what the platform's own acts add"
    yield "for this role (a dispense updates the prescription). A dash is a refusal (403)."
    for title, names in groups:
        yield ""
        yield f"## {title}"
        yield ""
        yield "| type | " + " | ".join(role.value for role in roles) + " |"
        yield "|---|" + "---|" * len(roles)
        for name in sorted(names):
            yield f"| {name} | " + " | ".join(_letters(role, name) for role in roles) + " |"


def _letters(role: Role, name: str) -> str:
    rule = _table().get((role, name))
    if rule is None:
        return "-"
    plain = "".join(a.value[0].upper() for a in Action if a in rule.plain)
    more = "".join(a.value[0].upper() for a in Action if a in rule.acts - rule.plain)
    return (plain + (f" ({more})" if more else "")).strip() or "-"


if __name__ == "__main__":
    # The page of roles is made by: python -m dmed.trust.decide > docs/reference/roles.md
    import sys

    sys.stdout.write("\n".join(matrix()) + "\n")
