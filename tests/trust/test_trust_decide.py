"""The single decision and its table."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir.facts import facts
from dmed.trust.decide import (
    Action,
    Context,
    clinical,
    decide,
    matrix,
    policy,
    readable,
)
from dmed.trust.model import Role, Subject

PLAIN = Context(is_plain=True)
TYPES = st.sampled_from([*facts().resources, "Nonsense", ""])


def subject(role: Role) -> Subject:
    """Somebody in a role."""
    return Subject(user="u", role=role)


@given(st.sampled_from(Role), st.sampled_from(Action), TYPES, st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_question_has_an_answer_with_a_reason(
    role: Role, action: Action, type_: str, is_plain: bool
) -> None:
    """The decision is total, pure, and plain REST never may more than the platform's acts."""
    verdict = decide(subject(role), action, type_, Context(is_plain))
    assert verdict == decide(subject(role), action, type_, Context(is_plain))
    assert verdict.reasons[0].sentence
    if is_plain and verdict.allowed:
        assert decide(subject(role), action, type_).allowed


def test_a_type_stands_in_one_rule_of_a_role() -> None:
    """Two rules for one type would hide each other."""
    for role, rules in policy().items():
        names = [name for rule in rules for name in rule.types]
        assert len(names) == len(set(names)), role
        assert set(names) <= set(facts().resources)


def test_clinical_records_are_for_doctors_and_systems() -> None:
    """Registrar, pharmacist and administrator read no clinical type, not even in acts."""
    for role in (Role.REGISTRAR, Role.ADMINISTRATOR, Role.PHARMACIST):
        seen = readable(role, False) or frozenset()
        notices = {"Communication", "DetectedIssue", "Flag"} if role is Role.PHARMACIST else set()
        assert not (seen & clinical()) - notices
    plain = readable(Role.PHARMACIST, True) or frozenset()
    assert not plain & clinical()
    assert readable(Role.SERVICE, True) is None
    assert clinical() <= (readable(Role.DOCTOR, True) or frozenset())


def test_what_only_the_platform_does_is_told_apart() -> None:
    """A pharmacist's dispense updates the request; he himself may not, and is told why."""
    pharmacist = subject(Role.PHARMACIST)
    assert decide(pharmacist, Action.UPDATE, "MedicationRequest").allowed
    refused = decide(pharmacist, Action.UPDATE, "MedicationRequest", PLAIN)
    assert not refused.allowed
    assert refused.reasons[0].key == "trust.reason.act"


def test_the_page_of_roles_is_current() -> None:
    """docs/reference/roles.md is what the table says; `python -m dmed.trust.decide` writes it."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "roles.md"
    assert page.read_text() == "\n".join(matrix()) + "\n"
