"""Does a system call right? Judged from the calls it made in its sandbox, by rules alone.

Each step looks for a call that proves it; where there is none, the nearest one tells why. Calls
with the token of the page prove nothing of the system and are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dmed.modules.developers.model import Call, Kind, Reason, Result, Step

Rule = Callable[[Sequence[Call]], Step]
REPEATS_MAX = 2
"""How often the same refused request may come; more is a loop."""


def judge(kind: Kind, calls: Iterable[Call]) -> tuple[Step, ...]:
    """The steps of the check of a kind, each with its outcome and why."""
    own = [call for call in calls if not call.by_hand]
    return tuple(rule(own) for rule in _RULES[kind])


def _passed(key: str, call: Call) -> Step:
    return Step(key=key, result=Result.PASSED, call=call.number)


def _waiting(key: str) -> Step:
    return Step(key=key, result=Result.WAITING)


def _failed(key: str, call: Call, why: str, **values: str) -> Step:
    return Step(key=key, result=Result.FAILED, call=call.number,
                why=Reason(f"developers.why.{why}", {"number": str(call.number), **values}))


def _of(calls: Sequence[Call], method: str, type_: str) -> list[Call]:
    return [call for call in calls if call.method == method and call.facts.get("type") == type_]


def _token(calls: Sequence[Call]) -> Step:
    """The system obtained a token with its own key and used it."""
    return _passed("token", calls[0]) if calls else _waiting("token")


def _metadata(calls: Sequence[Call]) -> Step:
    """It reads what the server can."""
    found = [call for call in calls if call.path == "metadata" and call.status == 200]
    return _passed("metadata", found[0]) if found else _waiting("metadata")


def _looks_first(calls: Sequence[Call]) -> Step:
    """A person is searched for by number before a card is made."""
    key = "search"
    made = [call for call in _of(calls, "POST", "Patient") if call.status == 201]
    searches = [call for call in _of(calls, "GET", "Patient")
                if call.status == 200 and call.facts.get("search")]
    by_number = [call for call in searches if call.facts.get("by_pinfl")]
    early = [call for call in by_number if not made or call.number < made[0].number]
    if early:
        return _passed(key, early[0])
    if made:
        return _failed(key, made[0], "made-unsearched")
    return _failed(key, searches[-1], "search-without-number") if searches else _waiting(key)


def _creates(calls: Sequence[Call]) -> Step:
    """A card with the national number, on the condition that there is none."""
    key = "create"
    tried = _of(calls, "POST", "Patient")
    for call in tried:
        if call.status == 201 and call.facts.get("if_none_exist") and not call.facts.get("lacks"):
            return _passed(key, call)
    if not tried:
        return _waiting(key)
    last = tried[-1]
    if last.status >= 400:
        return _failed(key, last, "refused", status=str(last.status),
                       said=str(last.facts.get("said", "")))
    if last.facts.get("lacks"):
        return _failed(key, last, "lacks", what=", ".join(last.facts["lacks"]))
    return _failed(key, last, "unconditional")


def _updates(calls: Sequence[Call]) -> Step:
    """A change names the version it is made from."""
    key = "update"
    tried = _of(calls, "PUT", "Patient")
    for call in tried:
        if call.status == 200 and call.facts.get("if_match"):
            return _passed(key, call)
    if not tried:
        return _waiting(key)
    if not tried[-1].facts.get("if_match"):
        return _failed(key, tried[-1], "no-if-match")
    return _failed(key, tried[-1], "refused", status=str(tried[-1].status),
                   said=str(tried[-1].facts.get("said", "")))


def _plain(key: str, method: str, type_: str, demands: tuple[str, ...]) -> Rule:
    """A request of a type that was accepted and held all that the country demands."""

    def rule(calls: Sequence[Call]) -> Step:
        tried = _of(calls, method, type_)
        good = [call for call in tried if call.status in {200, 201}]
        for call in good:
            if not call.facts.get("lacks") and all(call.facts.get(one) for one in demands):
                return _passed(key, call)
        if not tried:
            return _waiting(key)
        last = (good or tried)[-1]
        if last.status >= 400:
            return _failed(key, last, "refused", status=str(last.status),
                           said=str(last.facts.get("said", "")))
        lacks: list[Any] = [*last.facts.get("lacks", []),
                            *(one for one in demands if not last.facts.get(one))]
        return _failed(key, last, "lacks", what=", ".join(map(str, lacks)))

    return rule


def _retries(calls: Sequence[Call]) -> Step:
    """After 503 the same request comes again, not before Retry-After has passed."""
    key = "retry"
    refused = [call for call in calls if call.status == 503]
    for first in refused:
        wait = float(first.facts.get("retry_after", 1))
        later = [call for call in calls
                 if call.number > first.number and call.digest == first.digest]
        if not later:
            continue
        passed = (later[0].made - first.made).total_seconds()
        if passed + 0.05 < wait:
            return _failed(key, later[0], "too-soon", seconds=f"{passed:.1f}")
        good = [call for call in later if call.status in {200, 201}]
        if good:
            return _passed(key, good[0])
    return _failed(key, refused[-1], "not-again") if refused else _waiting(key)


def _learns(calls: Sequence[Call]) -> Step:
    """A refused request is not sent again and again; at least one refusal was seen."""
    key = "refusals"
    refused = [call for call in calls if 400 <= call.status < 500]
    counts = Counter(call.digest for call in refused)
    for call in reversed(refused):
        if counts[call.digest] > REPEATS_MAX:
            return _failed(key, call, "loop", count=str(counts[call.digest]))
    return _passed(key, refused[0]) if refused else _waiting(key)


_RULES: dict[Kind, tuple[Rule, ...]] = {
    Kind.CLINIC: (
        _token, _metadata, _looks_first, _creates, _updates,
        _plain("encounter", "POST", "Encounter", ()),
        _plain("transaction", "POST", "Bundle", ("linked", "ucum")), _retries, _learns),
    Kind.PHARMACY: (
        _token, _metadata,
        _plain("prescription", "GET", "MedicationRequest", ("by_number",)),
        _plain("dispense", "POST", "MedicationDispense", ()),
        _plain("read-back", "GET", "MedicationDispense", ("by_prescription",)),
        _retries, _learns),
}
