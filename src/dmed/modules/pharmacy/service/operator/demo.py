"""The stand-in of the marking operator that demo data and tests use."""

from __future__ import annotations

import calendar
import hashlib
from datetime import date
from decimal import Decimal

from dmed.modules.pharmacy.model import PackState
from dmed.modules.pharmacy.rules.packs import Seen

DEMO_PREFIX = "0952"
"""GTINs of the GS1 demonstration prefix: invented packs (decisions 24)."""
PRICE_MAX = Decimal(20_000)
"""Highest retail price of a pack whose serial begins with MAX."""
_STATES = {
    "REC": PackState.RECALLED,
    "WDR": PackState.WITHDRAWN,
    "STL": PackState.STOLEN,
    "EXP": PackState.EXPIRED,
}


def invented(gtin: str, serial: str) -> Seen | None:
    """What it says of a serial of the demonstration prefix, the same each time: every serial that
    does not begin with a small letter is known; one that begins with REC, WDR, STL, EXP or UNK is
    recalled, withdrawn, stolen, expired or unknown; one with MAX has a highest retail price. Batch
    and expiry follow from the GTIN, so that packs of a product share them. Pure.
    """
    kind = serial[:3]
    if not gtin.startswith(DEMO_PREFIX) or kind == "UNK" or serial[:1].islower():
        return None
    digest = hashlib.blake2s(gtin.encode()).digest()
    year, month = 2029 + digest[0] % 2, 1 + digest[1] % 12
    expiry = date(year, month, calendar.monthrange(year, month)[1])
    if kind == "EXP":
        expiry = date(2025, 8, 31)
    lot = f"{digest[2] % 10}{chr(65 + digest[3] % 26)}{100 + digest[4]}"
    state = _STATES.get(kind, PackState.IN_CIRCULATION)
    price_max = PRICE_MAX if kind == "MAX" else None
    return Seen(state=state, lot=lot, expiry=expiry, price_max=price_max)
