"""The form of paper for when the line is down: what may be typed in from it, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dmed.kit.clock import TASHKENT
from dmed.kit.errors import InvalidError, UnprocessableError
from dmed.modules.prescriptions.model import OFFLINE_REASON, PAPER_REASONS, Paper
from dmed.modules.prescriptions.rules import resources

ENTER_WITHIN = timedelta(days=10)
"""Settled for this platform: the validity of an antibiotic, the shortest there is."""
FORMS_MAX = 50
"""Blank forms that one doctor may hold."""


def check_written(paper: Paper, now: datetime) -> None:
    """A form is typed in within ten days of its writing and not before it, with a reason of the
    list; UnprocessableError or InvalidError say what is wrong.
    """
    if paper.reason not in {*PAPER_REASONS, OFFLINE_REASON}:
        raise InvalidError(f"{paper.reason!r} is no reason for paper: {', '.join(PAPER_REASONS)}")
    if paper.written > now:
        raise UnprocessableError("The day on the paper lies in the future")
    if now - paper.written > ENTER_WITHIN:
        raise UnprocessableError(
            f"Written on {paper.written.astimezone(TASHKENT).date()}: a form is typed in "
            f"within {ENTER_WITHIN.days} days"
        )


def commission_of(request: dict[str, Any]) -> str:
    """The commission's decision on a request, or ""."""
    found = [each for each in request.get("extension", ())
             if each.get("url") == resources.COMMISSION]  # fmt: skip  # One filter.
    return str(found[0].get("valueString", "")) if found else ""


def paper_of(request: dict[str, Any]) -> Paper | None:
    """The form of paper that a request was typed in from, or None."""
    for extension in request.get("extension", ()):
        if extension.get("url") == resources.PAPER:
            parts = {each.get("url"): each for each in extension.get("extension", ())}
            return Paper(
                number=resources.number_of(request),
                written=resources.moment_of(str(parts["written"]["valueDateTime"])),
                reason=str(parts["reason"]["valueCoding"]["code"]),
            )
    return None
