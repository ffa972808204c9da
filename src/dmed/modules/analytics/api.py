"""What other rooms may call of analytics."""

from __future__ import annotations

from dmed.modules.analytics.model import Definition, Figure, Verdict
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.service.figures import judge_year, judged, staff, tell, verdicts
from dmed.modules.analytics.service.following import Step, follow, position, steps

__all__ = ["Definition", "Figure", "Step", "Verdict", "definitions", "follow", "judge_year",
           "judged", "position", "staff", "steps", "tell", "verdicts"]  # fmt: skip  # One list.
