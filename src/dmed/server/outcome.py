"""Every refusal as an OperationOutcome. https://hl7.org/fhir/R5/operationoutcome.html"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dmed.kit.errors import DmedError, Issue

ISSUES_MAX = 200
"""Most faults that one answer lists; the rest is counted."""


def outcome(issues: Iterable[Issue]) -> bytes:
    """The OperationOutcome resource of some issues, at most ISSUES_MAX of them."""
    listed = list(issues)
    shown = [_issue(issue) for issue in listed[:ISSUES_MAX]]
    if len(listed) > ISSUES_MAX:
        shown.append(
            {
                "severity": "information",
                "code": "informational",
                "diagnostics": f"{len(listed) - ISSUES_MAX} more faults are not listed",
            }
        )
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": shown})


def outcome_of(error: DmedError) -> bytes:
    """The OperationOutcome of an expected error."""
    return outcome(error.issues)


def success(sentence: str) -> bytes:
    """The OperationOutcome that `Prefer: return=OperationOutcome` asks for."""
    return outcome((Issue("informational", sentence, severity="information"),))


def unexpected(request_id: str) -> bytes:
    """The answer to a fault of ours: its request id finds it in the log, nothing inner is told."""
    sentence = f"The server met an unexpected fault. Please report the request id {request_id}"
    return outcome((Issue("exception", sentence, severity="fatal"),))


def _issue(issue: Issue) -> dict[str, object]:
    made: dict[str, object] = {
        "severity": issue.severity,
        "code": issue.code,
        "diagnostics": issue.diagnostics,
    }
    if issue.expression:
        made["expression"] = [issue.expression]
    return made
