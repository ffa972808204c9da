"""What other rooms may call of the way of newcomers: the invented licences of demonstrations."""

from __future__ import annotations

from dmed.modules.developers.model import Entry
from dmed.modules.developers.service.register import invented, invented_code

__all__ = ["Entry", "invented", "invented_code"]
