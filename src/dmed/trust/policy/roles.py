"""Who may do what to which types: the policy by role, as data. docs/reference/roles.md shows it.

From the jobs: who treats writes what is known of health; who dispenses sees prescriptions; who
registers keeps persons and places; who administers keeps registers and never sees health.
tests/trust/role_matrix.txt says the same by hand, from the law, and a test asks the server.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

import msgspec

from dmed.fhir.facts import facts
from dmed.trust.model import Role
from dmed.trust.oauth.scopes import is_in_compartment


class Action(StrEnum):
    """What is asked; vread and history are reads."""

    READ = "read"
    SEARCH = "search"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


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


OF_MANY = frozenset({"Group", "Schedule"})
"""In the compartments of many at once: one of them would read who the others are."""


def own() -> frozenset[str]:
    """The types of which a citizen's own record is made: those of a Patient's compartment."""
    found = frozenset(name for name in facts().resources if is_in_compartment(name))
    return found - PLATFORM - OF_MANY


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
            # His question to the doctor is a Task of its own.
            Rule(frozenset({"Task"}), _SEE, _WRITE),
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
            # The inspector's view until inspectors have a role of their own; made of the audit.
            Rule(frozenset({"AuditEvent"}), _SEE, _SEE),
            # The authority holds and releases an item; it sees no more of a prescription.
            Rule(frozenset({"MedicationRequest", "Task"}), _NONE, _SEE | {Action.UPDATE}),
        ),
        # Answers for staff, not for the sick: no person's card and nothing of anybody's health.
        Role.HEAD: (
            Rule(shared - STAFF, _SEE, _SEE),
            # Orders about the staff of his institutions are acts of modules/workforce.
            Rule(STAFF, _SEE, _WRITE),
        ),
        # Sees who looked at whom and decides about it; the records themselves stay closed.
        Role.INSPECTOR: (
            Rule(shared, _SEE, _SEE),
            Rule(frozenset({"AuditEvent"}), _SEE, _SEE),
        ),
        # Everything about himself and nothing of anybody else: the Scope is limited to his
        # Patient and to those for whom he answers (trust.gateway.persons).
        Role.CITIZEN: (
            Rule(own() - {"Communication"}, _SEE, _SEE),
            # What he says against an entry of his record, in the card's own act.
            Rule(frozenset({"Communication"}), _SEE, _ADD),
            Rule(frozenset({"AuditEvent", "Provenance"}), _SEE, _SEE),
            Rule(PLACES | MEDICINES | DEFINITIONS, _SEE, _SEE),
            # Names of those who treated him, in the platform's own pages.
            Rule(STAFF, _NONE, _SEE),
        ),
        # A system speaks for its own users; what it may do shrinks with its scopes later.
        Role.SERVICE: (Rule(frozenset(facts().resources), _ALL, _ALL),),
    }


@lru_cache(maxsize=1)
def needs_care() -> dict[tuple[Role, bool], frozenset[str]]:
    """(role, is plain REST) > the types of which it sees only records of people in its care.

    A pharmacist in an act of the platform has shown the prescription's number and code, which is
    the relationship; on his own he needs the prescription in hand. Who is not named here has no
    clinical types at all (registrar, administrator), or answers for his own users (service).
    """
    treating = clinical() | PRESCRIBING | frozenset({"Provenance"})
    return {
        (Role.DOCTOR, True): treating,
        (Role.DOCTOR, False): treating,
        (Role.PHARMACIST, True): PRESCRIBING,
    }


def labelled_types() -> frozenset[str]:
    """Types whose records concern a person's health: those alone carry sensitivity labels."""
    return needs_care()[Role.DOCTOR, True]


PURPOSES: dict[Role, frozenset[str]] = {
    Role.DOCTOR: frozenset({"TREAT", "ETREAT"}),
    Role.PHARMACIST: frozenset({"TREAT"}),
    Role.REGISTRAR: frozenset({"TREAT", "HOPERAT"}),
    Role.ADMINISTRATOR: frozenset({"TREAT", "HOPERAT", "HSYSADMIN"}),
    Role.HEAD: frozenset({"TREAT", "HOPERAT"}),
    Role.INSPECTOR: frozenset({"TREAT", "HOPERAT", "HSYSADMIN"}),
    Role.CITIZEN: frozenset({"PATRQT"}),
    Role.SERVICE: frozenset({"TREAT", "ETREAT", "HOPERAT", "HPAYMT", "PUBHLTH", "HSYSADMIN"}),
}
"""Purposes of use (v3-ActReason) for which a role may see anything."""
