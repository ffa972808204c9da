"""Times carry a zone, always; the country's is Asia/Tashkent."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

TASHKENT = ZoneInfo("Asia/Tashkent")


def now() -> datetime:
    """The present moment in UTC, with its zone."""
    return datetime.now(UTC)


def today() -> date:
    """The calendar day in Tashkent: what a date on a prescription means."""
    return datetime.now(TASHKENT).date()


def instant(moment: datetime) -> str:
    """A FHIR instant in milliseconds with zone Z, as `meta.lastUpdated` carries it."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
