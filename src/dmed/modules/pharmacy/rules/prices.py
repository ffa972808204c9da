"""What a pack costs at the counter, what limits that, and who pays which part. Pure functions.

Money is in so'm, to the tiyin; a price is that of a whole pack, and a part of a pack costs its part
of it. Two limits hold: the register's ceiling and the highest retail price that the marking
operator tells of the pack; the lower one counts. What the fund pays of an insured item is a table
of the prescriptions (`data/rules/law_limits.tsv`), a draft until the fund tells its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

import msgspec

from dmed.kit.errors import InvalidError
from dmed.modules.pharmacy.model import PackVerdict, ScannedPack
from dmed.modules.prescriptions.api import Reason

EXTENSION = "https://dhp.uz/fhir/core/StructureDefinition/dispense-price"
"""Additive extension of MedicationDispense: R5 has no place for money there."""
CURRENCY = "UZS"
PRICE_MAX = Decimal(10) ** 10
_TIYIN = Decimal("0.01")
_HUNDRED = Decimal(100)


class Source(StrEnum):
    """Where a price comes from; texts `pharmacy.price.<value>`."""

    TYPED = "typed"
    SET = "set"
    """The retail price that this pharmacy keeps for the product."""
    BOUGHT = "bought"
    """What the pack cost on receipt: nobody set a retail price."""
    NONE = "none"


class Limit(msgspec.Struct, frozen=True):
    """The highest price of a pack, and whose word it is: "register" or "operator"."""

    price: Decimal
    by: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The price that a pack would be sold at; None: nobody told one."""

    price: Decimal | None
    source: Source
    limit: Limit | None = None


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What one hand-over costs, and who pays it: `fund` and `patient` add up to `total`."""

    price: Decimal
    """Of the whole pack."""
    total: Decimal
    fund: Decimal
    patient: Decimal


def is_price(value: Decimal | None) -> bool:
    """Whether a price can be one: above 0, of at most ten billion, written in so'm and tiyin."""
    if value is None or not _is_in_range(value):
        return False
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -2


def _is_in_range(value: Decimal) -> bool:
    return value.is_finite() and 0 < value <= PRICE_MAX


def read(value: Decimal | None) -> Decimal | None:
    """A price as somebody typed it, or InvalidError where it is none; more noughts do no harm."""
    if value is None:
        return None
    if not _is_in_range(value) or value != _money(value):
        raise InvalidError("The price of a pack is a number above 0, in so'm and tiyin")
    return value


def limit_of(ceiling: Decimal | None, operator: Decimal | None) -> Limit | None:
    """The lower of the register's ceiling and the operator's highest price; None without either."""
    told = [Limit(price, by) for price, by in ((ceiling, "register"), (operator, "operator"))
            if price is not None and price > 0]  # fmt: skip  # A filter.
    return min(told, key=lambda one: one.price, default=None)


def asked(
    typed: Decimal | None, kept: Decimal | None, bought: Decimal | None, limit: Limit | None
) -> Asked:
    """The price that counts: typed now, else kept for the product, else what the pack cost, which
    is never offered above the limit.
    """
    for price, source in ((typed, Source.TYPED), (kept, Source.SET)):
        if price is not None:
            return Asked(price=price, source=source, limit=limit)
    if bought is not None and bought > 0:
        offered = bought if limit is None else min(bought, limit.price)
        return Asked(price=offered, source=Source.BOUGHT, limit=limit)
    return Asked(price=None, source=Source.NONE, limit=limit)


def checked(verdict: PackVerdict, told: Asked) -> PackVerdict:
    """A green verdict with its price; red where the price is above its limit. That is nobody's
    suspect: the pack may be handed over for less.
    """
    limit = told.limit
    if told.price is None or limit is None or told.price <= limit.price:
        return msgspec.structs.replace(
            verdict, price=told.price, price_source=told.source.value)
    values = {"price": f"{told.price:f}", "most": f"{limit.price:f}"}
    whose = ("the register's ceiling" if limit.by == "register"
             else "the marking operator's highest retail price")  # fmt: skip  # Two words.
    return msgspec.structs.replace(
        verdict, ok=False, reason=Reason(f"pharmacy.verdict.price_{limit.by}", values),
        sentence=f"{told.price:f} so'm is above {whose}, {limit.price:f} so'm",
        advice=Reason("pharmacy.advice.price"), fault="data", is_quarantine=False, note=None,
        note_sentence="",
    )  # fmt: skip  # One verdict.


def charge(
    price: Decimal | None, content: Decimal, quantity: Decimal, percent: Decimal
) -> Charge | None:
    """What so much of a pack costs and who pays; None where the price is not known. `content`: of
    the whole pack, above 0; `percent`: what the fund pays of it, 0 to 100.
    """
    if price is None:
        return None
    total = _money(price * quantity / content)
    fund = _money(total * percent / _HUNDRED)
    return Charge(price=price, total=total, fund=fund, patient=total - fund)


def _money(value: Decimal) -> Decimal:
    return value.quantize(_TIYIN, rounding=ROUND_HALF_UP)


def added(charges: Iterable[Charge | None]) -> Charge | None:
    """Several charges as one (its price is then the total); None where none is known."""
    known = [one for one in charges if one is not None]
    if not known:
        return None
    total = sum((one.total for one in known), Decimal(0))
    fund = sum((one.fund for one in known), Decimal(0))
    return Charge(price=total, total=total, fund=fund, patient=total - fund)


def extension(made: Charge) -> dict[str, Any]:
    """A charge as it stands in a MedicationDispense."""
    return {"url": EXTENSION, "extension": [
        {"url": name, "valueMoney": {"value": value, "currency": CURRENCY}}
        for name, value in (("pack", made.price), ("total", made.total), ("fund", made.fund),
                            ("patient", made.patient))
    ]}  # fmt: skip  # One nested extension.


def in_record(record: dict[str, Any]) -> Charge | None:
    """The charge of a MedicationDispense; None where it has none, or not a whole one in so'm."""
    found = next((each for each in record.get("extension") or ()
                  if each.get("url") == EXTENSION), None)  # fmt: skip  # A search.
    told: dict[str, Decimal] = {}
    for part in (found or {}).get("extension") or ():
        money = part.get("valueMoney") or {}
        if money.get("currency", CURRENCY) == CURRENCY and "value" in money:
            told[str(part.get("url"))] = Decimal(str(money["value"]))
    if not {"pack", "total", "fund", "patient"} <= set(told):
        return None
    return Charge(price=told["pack"], total=told["total"], fund=told["fund"],
                  patient=told["patient"])  # fmt: skip  # Four sums.


def of_pack(pack: ScannedPack, content: Decimal, percent: Decimal) -> Charge | None:
    """What a scanned pack costs."""
    return charge(pack.price, content, pack.quantity, percent)
