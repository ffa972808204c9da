"""The marking operator as a port, and the stand-in that demo data and tests use.

The real operator answers batch and expiry, which are not in the code (eprescription B5), about 100
requests a minute: its adapter asks ahead, on receipt of stock.
"""

from __future__ import annotations

import calendar
import hashlib
from datetime import date
from typing import Protocol

from dmed.modules.pharmacy.model import PackState
from dmed.modules.pharmacy.rules.packs import Seen

DEMO_PREFIX = "0952"
"""GTINs of the GS1 demonstration prefix: invented packs (decisions 24)."""
_STATES = {
    "REC": PackState.RECALLED,
    "WDR": PackState.WITHDRAWN,
    "STL": PackState.STOLEN,
    "EXP": PackState.EXPIRED,
}


class Operator(Protocol):
    """Whoever knows the packs of the country."""

    async def look_up(self, gtin: str, serial: str) -> Seen | None:
        """State, batch and expiry of a pack, or None for a serial that was never given out."""
        ...


class DemoOperator:
    """Knows every serial of the demonstration prefix that has a capital or a digit first, and
    answers the same each time. A serial that begins with REC, WDR, STL, EXP or UNK is recalled,
    withdrawn, stolen, expired or unknown.
    """

    async def look_up(self, gtin: str, serial: str) -> Seen | None:
        """Batch and expiry are derived from the GTIN, so that packs of a product share them."""
        kind = serial[:3]
        if not gtin.startswith(DEMO_PREFIX) or kind == "UNK" or serial[0].islower():
            return None
        digest = hashlib.blake2s(gtin.encode()).digest()
        year, month = 2029 + digest[0] % 2, 1 + digest[1] % 12
        expiry = date(year, month, calendar.monthrange(year, month)[1])
        if kind == "EXP":
            expiry = date(2025, 8, 31)
        lot = f"{digest[2] % 10}{chr(65 + digest[3] % 26)}{100 + digest[4]}"
        state = _STATES.get(kind, PackState.IN_CIRCULATION)
        return Seen(state=state, lot=lot, expiry=expiry)


OPERATOR: Operator = DemoOperator()
"""Which adapter answers; an installation in service puts its own here."""
