"""Turns among parties: nobody waits behind all that another one asked."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit.turns import Turns


def test_a_polite_party_waits_for_one_turn_of_a_greedy_one() -> None:
    """Behind a hundred things of one party, the single thing of another comes second."""
    turns: Turns[str] = Turns()
    for number in range(100):
        turns.push("greedy", f"g{number}")
    turns.push("polite", "p")

    assert [turns.pop(), turns.pop(), turns.pop()] == ["g0", "p", "g1"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers()), max_size=40))
def test_everything_comes_out_once_and_in_its_party_s_order(pushed: list[tuple[str, int]]) -> None:
    """What goes in comes out, each party's things in their order, and none waits for two rounds."""
    turns: Turns[tuple[str, int]] = Turns()
    for party, number in pushed:
        turns.push(party, (party, number))
    assert sorted(turns.all()) == sorted(pushed)
    out = []
    while (thing := turns.pop()) is not None:
        out.append(thing)

    assert len(turns) == 0
    for party in "abcd":
        assert [one for one in out if one[0] == party] == [one for one in pushed if one[0] == party]
    lines = [sum(1 for one in pushed if one[0] == party) for party in "abcd"]
    rounds = [one[0] for one in out[: min((n for n in lines if n), default=0)]]
    assert len(set(rounds)) == min(len(rounds), sum(1 for n in lines if n))
