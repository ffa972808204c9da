"""What a till may do by its scopes: the counter's operations, and nothing beside them."""

from __future__ import annotations

import msgspec
import pytest

from dmed.kit.errors import ForbiddenError
from dmed.modules.developers.model import Kind
from dmed.modules.developers.rules import live_scopes
from dmed.modules.pharmacy.service.counter import till_of
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import scopes


def _app(text: str, role: Role = Role.SERVICE, organisation: str = "p1") -> Subject:
    """A system with these scopes."""
    allowed = msgspec.structs.replace(scopes.parse(text), client="live-1")
    return Subject(user="live-1", role=role, organisation=organisation, scopes=allowed)


def test_a_joined_pharmacy_acts_at_the_counter_and_searches_nobody() -> None:
    """Its scopes open the operations of the counter; persons and prescriptions stay closed to a
    search, and only its own Tasks and hand-overs are open.
    """
    till = _app(live_scopes(Kind.PHARMACY, "p1"))

    assert till_of(till) == msgspec.structs.replace(till, scopes=scopes.EVERYTHING)
    for type_ in ("Patient", "MedicationRequest", "Encounter", "AuditEvent"):
        assert not scopes.allows(till.scopes, "search", type_)
        assert not scopes.allows(till.scopes, "read", type_)
    assert scopes.restriction(till.scopes, "search", "Task") == (("owner", "Organization/p1"),)
    assert not scopes.allows(till.scopes, "update", "Task")


def test_who_hands_nothing_over_is_no_till() -> None:
    """A clinic's system and a pharmacy's without a place are refused; a person's app and the
    platform's own session stay as they are.
    """
    with pytest.raises(ForbiddenError, match="MedicationDispense"):
        till_of(_app(live_scopes(Kind.CLINIC, "c1")))
    with pytest.raises(ForbiddenError, match="post of a pharmacy"):
        till_of(_app(live_scopes(Kind.PHARMACY, "p1"), organisation=""))
    for same in (_app("user/Task.rs", Role.PHARMACIST), Subject(user="s", role=Role.SERVICE)):
        assert till_of(same) is same
