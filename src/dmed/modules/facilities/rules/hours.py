"""Opening hours as people write them, and as FHIR's Availability says them.

"Mo-Fr 08:00-18:00; Sa 09:00-14:00", "24/7"; https://hl7.org/fhir/R5/metadatatypes.html#Availability
"""

from __future__ import annotations

import re
from typing import Any

from dmed.modules.facilities.model import Fault

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHORT = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_SPAN = re.compile(
    r"(?P<days>[A-Za-z,\- ]+?) +(?P<open>\d{2}:\d{2}) ?[-–] ?(?P<close>\d{2}:\d{2})", re.ASCII)
_ALWAYS = "24/7"
SPANS_MAX = 14


def read(text: str) -> tuple[dict[str, Any] | None, list[Fault]]:
    """An Availability, None for no text; or what cannot be understood."""
    bare = text.strip()
    if not bare:
        return None, []
    if bare == _ALWAYS:
        return {"availableTime": [{"daysOfWeek": list(DAYS), "allDay": True}]}, []
    spans = []
    pieces = [piece.strip() for piece in bare.split(";") if piece.strip()]
    for piece in pieces[:SPANS_MAX]:
        match = _SPAN.fullmatch(piece)
        days = _days(match["days"]) if match else None
        if match is None or days is None or not _is_span(match["open"], match["close"]):
            return None, [Fault("hours", "facilities.fault.hours", {"text": piece[:60]})]
        spans.append({"daysOfWeek": days, "availableStartTime": match["open"] + ":00",
                      "availableEndTime": match["close"] + ":00"})
    return {"availableTime": spans}, []


def _is_span(start: str, end: str) -> bool:
    return all(part[:2] <= "23" and part[3:] <= "59" for part in (start, end)) and start < end


def _days(text: str) -> list[str] | None:
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        ends = [_SHORT.index(name) if name in _SHORT else -1
                for name in (end.capitalize() for end in part.split("-"))]
        if -1 in ends or len(ends) > 2 or ends[0] > ends[-1]:
            return None
        found |= set(range(ends[0], ends[-1] + 1))
    return [DAYS[place] for place in sorted(found)]


def written(availability: dict[str, Any] | None) -> str:
    """The text that `read` reads."""
    pieces = []
    for span in (availability or {}).get("availableTime", []):
        places = sorted(DAYS.index(day) for day in span.get("daysOfWeek", []) if day in DAYS)
        if span.get("allDay") and len(places) == len(DAYS):
            return _ALWAYS
        start, end = span.get("availableStartTime", ""), span.get("availableEndTime", "")
        if places and start and end:
            pieces.append(f"{_runs(places)} {start[:5]}-{end[:5]}")
    return "; ".join(pieces)


def _runs(places: list[int]) -> str:
    """Days in a row as a run: Mo-Fr, Su."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return ",".join(_SHORT[run[0]] + (f"-{_SHORT[run[-1]]}" if len(run) > 1 else "")
                    for run in runs)
