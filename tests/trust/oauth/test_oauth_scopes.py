"""SMART scopes as a pure model: what is parsed, what is allowed, what is narrowed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit.errors import InvalidError
from dmed.trust.oauth import scopes
from dmed.trust.oauth.scopes import EVERYTHING, Grant, Scopes

LAB = "patient/Observation.rs?category=laboratory"


def app(text: str, patient: str = "p1") -> Scopes:
    return msgspec.structs.replace(scopes.parse(text), client="app", patient=patient)


def test_session_of_the_platform_is_not_narrowed() -> None:
    """The default allows everything, without limits."""
    assert scopes.allows(EVERYTHING, "delete", "Patient")
    assert scopes.patients(EVERYTHING, "read", "Observation") is None
    assert scopes.restriction(EVERYTHING, "search", "Observation") == ()
    assert scopes.readable(EVERYTHING).types is None


def test_letters_are_rights() -> None:
    """Each letter of cruds opens its own action and no other."""
    found = app("user/Encounter.cs")
    allowed = {a for a in ("create", "read", "update", "delete", "search")
               if scopes.allows(found, a, "Encounter")}  # fmt: skip  # One set.

    assert allowed == {"create", "search"}
    assert not scopes.allows(found, "search", "Patient")


def test_version_1_scopes_are_understood() -> None:
    """`.read` is rs, `.write` is cud, `.*` is all."""
    grants = scopes.parse("patient/*.read user/Task.write system/Patient.*").grants

    assert [grant.letters for grant in grants] == ["rs", "cud", "cruds"]


def test_patient_level_reaches_one_compartment() -> None:
    """Rights at level patient are limited to the patient in context, and void without one."""
    found = app("patient/*.rs")

    assert scopes.patients(found, "read", "Observation") == ("p1",)
    assert scopes.patients(found, "read", "Patient") == ("p1",)
    assert scopes.patients(found, "read", "Practitioner") is None
    assert not scopes.allows(app("patient/*.rs", patient=""), "read", "Observation")


def test_patient_level_writes_nothing_outside_the_compartment() -> None:
    """A type that lies in no compartment has no patient to be written for."""
    found = app("patient/*.cruds")

    assert scopes.patients(found, "create", "Organization") == ("p1",)


def test_wider_level_wins() -> None:
    """A user-level right to a type is not limited by a patient-level one beside it."""
    assert scopes.patients(app("patient/*.rs user/Observation.rs"), "read", "Observation") is None


def test_restriction_becomes_search_pairs() -> None:
    """`?param=` is added to the search; two values of one parameter are one search."""
    two = app(f"{LAB} patient/Observation.rs?category=vital-signs")

    assert scopes.restriction(app(LAB), "search", "Observation") == (("category", "laboratory"),)
    assert scopes.restriction(two, "read", "Observation") == (
        ("category", "laboratory,vital-signs"),
    )
    assert scopes.restriction(app(f"{LAB} patient/*.rs"), "read", "Observation") == ()


def test_limits_of_one_grant_are_not_lifted_by_another() -> None:
    """All of this patient beside the laboratory of anybody is never all of anybody."""
    found = app("patient/Observation.rs user/Observation.rs?category=laboratory")

    assert scopes.patients(found, "search", "Observation") == ("p1",)
    assert scopes.restriction(found, "search", "Observation") == ()
    assert scopes.readable(found).confined == {"Observation"}


def test_readable_leaves_restricted_types_out() -> None:
    """What criteria bind cannot be reached by an include."""
    found = scopes.readable(app(f"{LAB} patient/Condition.rs user/Encounter.r"))

    assert found.types == {"Encounter"}
    assert found.confined == {"Condition"}


@pytest.mark.parametrize(
    "text",
    [
        "patient/Nothing.rs", "patient/Patient.sr", "patient/Patient.", "root/Patient.r", "admin",
        "patient/*.rs?code=x", "patient/Task.cruds?status=x", "patient/Observation.rs?_count=5",
        "patient/Observation.rs?", f"{LAB} patient/Observation.rs?code=1", "x" * 3000,
    ],
)  # fmt: skip
def test_bad_scopes_are_refused(text: str) -> None:
    """What is not understood is never granted."""
    with pytest.raises(InvalidError):
        scopes.parse(text)


def test_narrowed_by_registration() -> None:
    """A client gets letter by letter what both it asked for and it is registered for."""
    asked = scopes.parse("openid launch patient/Patient.cruds user/Task.r")
    allowed = scopes.parse("openid patient/*.rs")

    assert scopes.narrowed(asked, allowed).text() == "openid patient/Patient.rs"


GRANTS = st.builds(
    Grant,
    level=st.sampled_from(scopes.LEVELS),
    type=st.sampled_from(["*", "Patient", "Observation", "Practitioner"]),
    letters=st.sets(st.sampled_from(scopes.LETTERS), min_size=1).map(
        lambda chosen: "".join(each for each in scopes.LETTERS if each in chosen)
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(GRANTS, max_size=5), st.lists(GRANTS, max_size=5))
def test_narrowing_never_adds(asked: list[Grant], allowed: list[Grant]) -> None:
    """Whatever is narrowed allows no more than either side, and its text reads back as itself."""
    one, two = Scopes("app", tuple(asked), patient="p"), Scopes("app", tuple(allowed), patient="p")
    both = scopes.narrowed(one, two)
    for action in ("create", "read", "update", "delete", "search"):
        for type_ in ("Patient", "Observation", "Practitioner", "Task"):
            if scopes.allows(both, action, type_):
                assert scopes.allows(one, action, type_)
                assert scopes.allows(two, action, type_)
    assert set(scopes.parse(both.text()).grants) == set(both.grants)


def test_restricted_grants_read_back() -> None:
    """The text of a restricted scope is parsed to the same grant."""
    found = scopes.parse("user/Observation.rs?category=http://x.uz/cs|a%26b")

    assert scopes.parse(found.text()) == found
