"""What is known of a broken glass."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

REASONS = ("emergency", "consultation", "patient-present", "public-health", "other")
"""Codes of reasons; "patient-present" is a pharmacist's before whom the person stands."""
VERDICTS = ("justified", "questioned", "abuse")
OPEN_FOR = timedelta(hours=4)
TEXT_CHARACTERS = (10, 500)
"""Fewest and most characters of the reason in words."""


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the review queue."""

    number: int
    patient: str
    user: str
    name: str
    organisation: str
    code: str
    reason: str
    at: datetime
    until: datetime
    verdict: str = ""
    """One of VERDICTS once it was reviewed."""
    reviewer: str = ""
