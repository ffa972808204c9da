"""The rules of unusual access, each alone, and the lines of the person's page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dmed.modules.oversight import rules
from dmed.modules.oversight.model import Peer
from dmed.trust.gateway.audits import Look, Noted

NOON = datetime(2026, 3, 2, 7, tzinfo=UTC)


def look(**more: object) -> Look:
    """An ordinary look of a doctor at somebody in care."""
    return Look(**({
        "subject": "d", "role": "doctor", "organisation": "o", "patient": "p", "looks": 3,
        "night": 0, "first": NOON, "last": NOON, "is_in_care": True, "is_self": False,
        "is_colleague": False, "is_namesake": False} | more))  # type: ignore[arg-type]  # By name.


def peer(**more: object) -> Peer:
    return Peer(**({"subject": "d", "role": "doctor", "organisation": "o", "persons": 5,
                    "looks": 9, "night": 0, "uncared": 0} | more))  # type: ignore[arg-type]  # Same.


@pytest.mark.parametrize(("more", "keys"), [
    ({}, []),
    ({"is_self": True, "is_namesake": True}, ["self"]),
    ({"is_colleague": True}, ["colleague"]),
    ({"is_namesake": True}, []),
    ({"is_namesake": True, "is_in_care": False, "looks": 1}, ["namesake"]),
    ({"is_in_care": False}, ["no_care"]),
    ({"is_in_care": False, "looks": 1}, []),
    ({"is_in_care": False, "role": "registrar"}, []),
    ({"is_in_care": False, "night": 2}, ["no_care", "night"]),
    ({"night": 3}, []),
])  # fmt: skip
def test_a_pair_is_judged_by_each_rule(more: dict[str, object], keys: list[str]) -> None:
    """Every rule speaks where its facts are there and is silent elsewhere."""
    assert [one.key.rpartition(".")[2] for one in rules.judge(look(**more))] == keys


def test_care_lightens_a_colleague() -> None:
    """A colleague in care is no case by itself; one who is not is."""
    assert rules.weight(rules.judge(look(is_colleague=True))) < rules.CASE_WEIGHT
    assert rules.weight(rules.judge(
        look(is_colleague=True, is_in_care=False, looks=1))) >= rules.CASE_WEIGHT


def test_volume_is_against_peers() -> None:
    """Forty persons are much where others have five, and nothing where others have thirty."""
    many = peer(subject="x", persons=40)
    quiet = [many, *(peer(subject=f"q{at}", persons=5) for at in range(4))]
    busy = [many, *(peer(subject=f"b{at}", persons=30) for at in range(4))]

    assert [one.key for one in rules.judge_day(many, quiet)] == ["oversight.reason.volume"]
    assert rules.judge_day(many, busy) == ()
    assert rules.judge_day(many, [many]) == ()


def test_nights_and_browsing() -> None:
    """Mostly at night, or many who are in nobody's care: each is its own reason."""
    assert [one.key for one in rules.judge_day(peer(night=8), [])] == ["oversight.reason.nights"]
    assert [one.key for one in rules.judge_day(peer(uncared=12), [])] == [
        "oversight.reason.browsing"]
    assert rules.judge_day(peer(uncared=12, role="registrar"), []) == ()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans()), max_size=30))
@hypothesis_settings(max_examples=100)
def test_peers_lose_nobody(given_: list[tuple[str, int, bool]]) -> None:
    """The figures of users add up to those of the pairs."""
    looks = [look(subject=name, looks=count, is_in_care=cared, patient=str(at))
             for at, (name, count, cared) in enumerate(given_)]
    found = rules.peers(looks)

    assert sum(one.persons for one in found) == len(looks)
    assert sum(one.looks for one in found) == sum(one.looks for one in looks)
    assert sum(one.uncared for one in found) == sum(not one.is_in_care for one in looks)


def noted(**more: object) -> Noted:
    return Noted(**({
        "at": NOON, "digest": b"d", "vid": 0, "type": "Patient", "outcome": 200, "action": "R",
        "request": "r", "id": "p", "patient": "p", "query": "", "detail": "", "subject": "d",
        "role": "doctor", "organisation": "o", "purpose": "TREAT"} | more))  # type: ignore[arg-type]  # Same.


def test_the_same_act_of_a_day_is_one_line() -> None:
    """Three reads of a card on one day are one line with three times; another day is another."""
    rows = [noted(request=str(at), at=NOON + timedelta(minutes=at)) for at in range(3)]
    rows += [noted(at=NOON + timedelta(days=1)), noted(action="C", type="Condition")]
    lines = rules.seen(rows, {"d": ("Karimova Nilufar", "x")}, lambda row: row.request)

    assert [(line.act, line.times) for line in lines] == [
        ("oversight.act.read.card", 1), ("oversight.act.read.card", 3),
        ("oversight.act.wrote.record", 1)]
    assert {line.name for line in lines} == {"Karimova Nilufar"}


@pytest.mark.parametrize(("more", "act"), [
    ({"type": "MedicationRequest"}, "read.prescription"),
    ({"type": "Observation", "action": "E"}, "found.result"),
    ({"type": "Condition", "action": "U"}, "changed.record"),
    ({"type": "", "action": "E", "detail": "print slip"}, "printed"),
    ({"type": "", "action": "E", "detail": "break"}, "other"),
    ({"type": "AuditEvent", "action": "E"}, "audit"),
])  # fmt: skip
def test_acts_have_words(more: dict[str, object], act: str) -> None:
    """Each kind of row has a word of its own, and every word is in the locale."""
    from dmed.kit import i18n

    found = rules.act_of(noted(**more))
    assert found == f"oversight.act.{act}"
    assert i18n.translator().has(found)
