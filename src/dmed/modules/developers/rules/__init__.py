"""Decisions about newcomers: whether a licence opens the door, and whether a system calls right."""

from __future__ import annotations

from dmed.modules.developers.rules.conformance import judge
from dmed.modules.developers.rules.joining import admits, live_scopes, read_application

__all__ = ["admits", "judge", "live_scopes", "read_application"]
