"""What other rooms may call of analytics."""

from __future__ import annotations

from dmed.modules.analytics.model import Definition, Figure, Verdict
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.service.figures import staff, tell, verdicts
from dmed.modules.analytics.service.following import follow

__all__ = ["Definition", "Figure", "Verdict", "definitions", "follow", "staff", "tell", "verdicts"]
