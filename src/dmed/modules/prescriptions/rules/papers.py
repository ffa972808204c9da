"""The form of paper for when the line is down: what may be typed in from it, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta

from dmed.kit.clock import TASHKENT
from dmed.kit.errors import InvalidError, UnprocessableError
from dmed.modules.prescriptions.model import PAPER_REASONS, Paper

ENTER_WITHIN = timedelta(days=10)
"""Settled for this platform: the validity of an antibiotic, the shortest there is."""
FORMS_MAX = 50
"""Blank forms that one doctor may hold."""


def check_written(paper: Paper, now: datetime) -> None:
    """A form is typed in within ten days of its writing and not before it, with a reason of the
    list; UnprocessableError or InvalidError say what is wrong.
    """
    if paper.reason not in PAPER_REASONS:
        raise InvalidError(f"{paper.reason!r} is no reason for paper: {', '.join(PAPER_REASONS)}")
    if paper.written > now:
        raise UnprocessableError("The day on the paper lies in the future")
    if now - paper.written > ENTER_WITHIN:
        raise UnprocessableError(
            f"Written on {paper.written.astimezone(TASHKENT).date()}: a form of paper is typed in "
            f"within {ENTER_WITHIN.days} days"
        )
