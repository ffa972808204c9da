"""Claims and answers as FHIR, and what differs: pure functions.

https://hl7.org/fhir/R5/claim.html, https://hl7.org/fhir/R5/claimresponse.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from dmed.kit.clock import TASHKENT
from dmed.kit.errors import UnavailableError
from dmed.modules.insurance.model import (
    Answer,
    Claim,
    Decided,
    Difference,
    Kind,
    Outcome,
    State,
)
from dmed.modules.pharmacy.api import charge_in

CLAIM_SYSTEM = "https://dhp.uz/fhir/core/sid/claim"
REASON_SYSTEM = "https://dhp.uz/fhir/core/CodeSystem/claim-refusal"
FUND = "Davlat tibbiy sug‘urtasi jamg‘armasi"
REFUSALS = ("not-insured", "not-covered", "quantity", "duplicate", "late", "prescriber", "pharmacy",
            "documents", "other")
"""Codes of a refusal; texts under `insurance.reason.<code>`."""
CURRENCY = "UZS"
_PAUSE_MAX = timedelta(hours=1)
_THO = "http://terminology.hl7.org/CodeSystem/"


def key_of(number: str, item: int) -> str:
    """The key of a claim: an item is claimed once."""
    return f"{number}-{item}"


def claim(
    key: str, request: dict[str, Any], dispenses: Sequence[dict[str, Any]], pharmacy: str,
    amount: Decimal | None, at: datetime,
) -> dict[str, Any]:
    """The FHIR Claim of a dispensed item: one line a hand-over."""
    concept = request["medication"].get("concept") or {"text": key}
    lines = [{
        "sequence": place,
        "productOrService": concept,
        **({"servicedDate": str(one["whenHandedOver"])[:10]} if one.get("whenHandedOver") else {}),
        **({"quantity": one["quantity"]} if one.get("quantity") else {}),
        **({"net": _money(asked.fund)} if (asked := charge_in(one)) else {}),
    } for place, one in enumerate(dispenses, 1)]  # fmt: skip  # One line of the claim.
    return {
        "resourceType": "Claim",
        "identifier": [{"system": CLAIM_SYSTEM, "value": key}],
        "status": "active",
        "type": {"coding": [{"system": f"{_THO}claim-type", "code": "pharmacy"}]},
        "use": "claim",
        "patient": {"reference": request["subject"]["reference"]},
        "created": _moment(at),
        "insurer": {"display": FUND},
        **({"provider": {"reference": f"Organization/{pharmacy}"}} if pharmacy else {}),
        "priority": {"coding": [{"system": f"{_THO}processpriority", "code": "normal"}]},
        "prescription": {"reference": f"MedicationRequest/{request['id']}"},
        "item": lines or [{"sequence": 1, "productOrService": concept}],
        **({"total": _money(amount)} if amount is not None else {}),
    }


def response(claim_: dict[str, Any], answer: Answer, at: datetime) -> dict[str, Any]:
    """The FHIR ClaimResponse of an answer, as the fund gives it and as it is kept."""
    made: dict[str, Any] = {
        "resourceType": "ClaimResponse",
        **({"identifier": [{"value": answer.number}]} if answer.number else {}),
        "status": "active",
        "type": claim_["type"],
        "use": "claim",
        "patient": claim_["patient"],
        "created": _moment(at),
        "insurer": {"display": FUND},
        "request": {**({"reference": f"Claim/{claim_['id']}"} if claim_.get("id") else {}),
                    "identifier": {"system": CLAIM_SYSTEM, "value": answer.key}},
        "outcome": "queued" if answer.outcome is Outcome.PENDING else "complete",
        "disposition": answer.outcome.value,
    }
    if answer.outcome is Outcome.REFUSED:
        made["item"] = [{"itemSequence": 1, "adjudication": [{
            "category": {"coding": [{"system": f"{_THO}adjudication", "code": "benefit"}]},
            "reason": {"coding": [{"system": REASON_SYSTEM, "code": answer.reason}]}}]}]
    if answer.outcome is Outcome.PAID and answer.amount is not None:
        made["payment"] = {
            "type": {"coding": [{"system": f"{_THO}ex-paymenttype", "code": "complete"}]},
            "amount": _money(answer.amount)}
    return made


def answer_of(record: Any, key: str) -> Answer:
    """What a ClaimResponse of the fund says; UnavailableError where it cannot be understood or is
    about another claim: such an answer is none.
    """
    try:
        if record["resourceType"] != "ClaimResponse" or (
                record["request"]["identifier"]["value"] != key):
            raise UnavailableError("The fund answered about another claim")
        outcome = Outcome(record["disposition"])
        amount = (record.get("payment") or {}).get("amount") or {}
        reason = ""
        if outcome is Outcome.REFUSED:
            reason = record["item"][0]["adjudication"][0]["reason"]["coding"][0]["code"]
        return Answer(
            key=key, outcome=outcome, reason=str(reason)[:64],
            number=str((record.get("identifier") or [{}])[0].get("value", ""))[:64],
            amount=Decimal(str(amount["value"])) if "value" in amount else None)
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError) as wrong:
        raise UnavailableError("The fund's answer cannot be read") from wrong


def pause(attempts: int) -> timedelta:
    """How long to wait after so many tries without an answer: doubled each time up to an hour."""
    return min(timedelta(minutes=2 ** min(attempts, 10)), _PAUSE_MAX)


def differences(
    day: date, ours: Iterable[Claim], theirs: Iterable[Decided]
) -> list[Difference]:
    """What the claims answered here on a day and the fund's list of that day say differently.

    `ours` holds, beside those of the day, every claim that the list names.
    """
    own = {one.key: one for one in ours}
    listed = {one.key: one for one in theirs}
    found = []

    def add(key: str, kind: Kind, mine: str, other: str) -> None:
        found.append(Difference(day=day, key=key, kind=kind, ours=mine, theirs=other))

    for key, line in sorted(listed.items()):
        claim_ = own.get(key)
        if claim_ is None:
            add(key, Kind.MISSING_HERE, "", line.outcome.value)
        elif claim_.state.value != line.outcome.value:
            add(key, Kind.OUTCOME, claim_.state.value, line.outcome.value)
        elif line.outcome is Outcome.PAID and claim_.paid != line.amount:
            add(key, Kind.AMOUNT, _shown(claim_.paid), _shown(line.amount))
    for key, claim_ in sorted(own.items()):
        is_settled = claim_.state in {State.PAID, State.REFUSED}
        if key not in listed and is_settled:
            add(key, Kind.MISSING_THERE, claim_.state.value, "")
    return found


def _shown(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:f}"


def _money(amount: Decimal) -> dict[str, Any]:
    return {"value": amount, "currency": CURRENCY}


def _moment(at: datetime) -> str:
    return at.astimezone(TASHKENT).isoformat(timespec="seconds")
