"""Handing over what is not in the register: the orphan exception at the counter.

Such a pack has no code that our register or the marking operator could know, so nothing is scanned
and nobody is suspected: batch and expiry are typed, the commission's decision is looked at again,
and the MedicationDispense says that it was supplied outside the register.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import UnprocessableError
from dmed.modules.pharmacy.model import ScannedPack
from dmed.modules.pharmacy.rules import prices
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Case

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit

LOT_CHARACTERS_MAX = 20
TRADE_CHARACTERS_MAX = 100


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """What the pharmacist reads off a pack that no register knows."""

    quantity: Decimal | None
    """Units of presentation; None: what the item still needs."""
    lot: str
    expiry: date | None
    price: Decimal | None = None
    """Of all that is handed over, in so'm."""
    trade: str = ""


async def supplied(unit: GatewayUnit, case: Case, item: int, given: Supply) -> ScannedPack:
    """A pack without a code for an item that was prescribed outside the register; inside the unit
    of the hand-over. UnprocessableError says what is missing or no longer allowed.
    """
    stated = prescriptions.stated(case.item(item).request)
    if stated is None:
        raise UnprocessableError(
            f"Item {item} is a registered medicine: the marking of its pack is missing",
            "Parameters.parameter",
        )
    lot = " ".join(given.lot.split())
    if not lot or len(lot) > LOT_CHARACTERS_MAX or given.expiry is None:
        raise UnprocessableError(
            "Of a pack outside the register the batch and the expiry are typed",
            "Parameters.parameter",
        )
    if given.expiry < clock.today():
        raise UnprocessableError(
            f"This pack expired on {given.expiry}: put it aside", "Parameters.parameter"
        )
    await prescriptions.may_hand_over(unit, case.patient, stated, clock.today())
    standing = case.item(item).standing
    quantity = given.quantity
    if quantity is None:
        quantity = standing.quantity - standing.dispensed
    trade = " ".join(given.trade.split())[:TRADE_CHARACTERS_MAX]
    return ScannedPack(
        item=item, gtin="", serial="", trade=trade, quantity=quantity, lot=lot,
        expiry=given.expiry, marking="", price=prices.read(given.price),
    )  # fmt: skip  # Facts of one pack.
