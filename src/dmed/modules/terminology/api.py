"""What other modules may ask of terminology."""

from __future__ import annotations

from dmed.modules.terminology.service import current, library_of

__all__ = ["current", "library_of"]
