"""What other rooms may call of oversight."""

from __future__ import annotations

from dmed.modules.oversight.model import BulkRequest, Seen
from dmed.modules.oversight.service import (
    approve_bulk,
    ask_bulk,
    find_unusual,
    look_through,
    looked,
    mark_canary,
    use_bulk,
)

__all__ = [
    "BulkRequest", "Seen", "approve_bulk", "ask_bulk", "find_unusual", "look_through", "looked",
    "mark_canary", "use_bulk",
]  # fmt: skip  # A list of names reads better filled.
