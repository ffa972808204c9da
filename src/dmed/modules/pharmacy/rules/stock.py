"""The stock of a pharmacy: movements, balances, receipts, counts, orders; decisions only.

Quantities are in units of presentation (decisions 20), prices in UZS for a whole pack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

import msgspec

from dmed.modules.pharmacy.model import PackVerdict
from dmed.modules.pharmacy.rules import gs1, packs

WARNING_DAYS = (7, 30, 90)
"""Steps at which a batch that is about to expire is shown."""
DEPARTMENTS_CHARACTERS_MAX = 100
ORDER_DAYS = 30
"""What went out in so many days says what a pharmacy needs where nobody set a least and a most."""


class Kind(StrEnum):
    """Why stock moved; texts `pharmacy.stock.kind.<value>`."""

    RECEIPT = "receipt"
    DISPENSE = "dispense"
    UNDO = "undo"
    WRITE_OFF = "write-off"
    MOVE = "move"
    ISSUE = "issue"
    """To a department of the institution that the pharmacy serves."""
    COUNT = "count"


WRITE_OFF_REASONS = ("expired", "damaged", "recalled", "stolen", "returned-to-supplier", "other")
"""Texts under `pharmacy.stock.reason.<code>`."""
FUNDINGS = ("own", "budget", "insurance", "humanitarian")
"""Sources of funding; texts under `pharmacy.stock.funding.<code>`."""


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ledger: above zero came in, below zero went out."""

    pharmacy: str
    kind: Kind
    gtin: str
    quantity: Decimal
    by: str
    """Sign-in name."""
    lot: str = ""
    shelf: str = ""
    funding: str = ""
    expiry: date | None = None
    serial: str = ""
    document: str = ""
    """Receipt, MedicationDispense or count that it belongs to; a department for an issue."""
    note: str = ""
    """A reason, or the number of a prescription."""
    price: Decimal | None = None
    """Of a whole pack, in UZS, as it was bought."""
    at: datetime | None = None
    id: int = 0


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What stands of one product, batch and funding on one shelf."""

    gtin: str
    quantity: Decimal
    lot: str = ""
    shelf: str = ""
    funding: str = ""
    expiry: date | None = None
    price: Decimal | None = None
    amount: Decimal = Decimal(0)
    """Sum of quantity times price of a pack: divided by the pack's content it is the worth."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A pack scanned on receipt, with what the check found; `fault` is "" for a good one."""

    gtin: str
    serial: str
    box: str = ""
    """SSCC of the transport box that it came in."""
    lot: str = ""
    expiry: date | None = None
    fault: str = ""
    """Texts under `pharmacy.stock.fault.<fault>`."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a count."""

    gtin: str
    quantity: Decimal
    lot: str = ""
    shelf: str = ""
    serial: str = ""
    line: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a count and the ledger do not agree."""

    gtin: str
    lot: str
    shelf: str
    expected: Decimal
    counted: Decimal

    @property
    def quantity(self) -> Decimal:
        """What the correction adds, below zero takes away."""
        return self.counted - self.expected


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """The authority stops a batch, or with lot "" every batch of a product."""

    id: int
    gtin: str
    lot: str
    grade: int
    """Class 1 (may kill or harm for good), 2 (may harm), 3 (unlikely to harm)."""
    reason: str
    document: str
    by: str
    since: datetime
    ended_at: datetime | None = None


def recalled(verdict: PackVerdict) -> PackVerdict:
    """A green verdict on a pack whose batch or product the authority has recalled: red."""
    return packs.refuse(
        "recalled",
        "This pack was recalled",
        fault="pack",
        advice="put_aside",
        quarantine=True,
        pack=verdict.pack,
        trade=verdict.trade,
        code_sentence=verdict.code_sentence,
    )


# Reading what a scanner brings on receipt


def read_sscc(raw: str) -> str | gs1.Fault | None:
    """The 18 digits of a transport box's code, a fault for one with a wrong check digit, None for
    a text that is no such code. https://www.gs1.org/standards/id-keys/sscc
    """
    text = re.sub(r"^\](?:C1|d2|d1|e0|Q3)", "", raw.strip().strip("\x1d"), flags=re.IGNORECASE)
    text = re.sub(r"^\(00\)", "00", text.replace("\x1d", "")).replace(" ", "")
    if not re.fullmatch(r"00[0-9]{18}", text):
        return None
    digits = text[2:]
    if gs1.gtin_check_digit(digits[:-1]) != digits[-1]:
        return gs1.fault("sscc_check", "The check digit of this box code is wrong: scan once more")
    return digits


# Receipt: the invoice against what was scanned


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an invoice beside what was scanned of it."""

    gtin: str
    lot: str
    expiry: date | None
    invoiced: int
    scanned: int
    other_lots: tuple[str, ...] = ()
    """Batches that came instead of the one on the invoice."""
    other_expiry: date | None = None
    """Expiry of the batch as it is registered, where the invoice says another day."""

    @property
    def missing(self) -> int:
        """Packs of the invoice that nobody scanned."""
        return self.invoiced - self.scanned

    @property
    def is_right(self) -> bool:
        """Everything came as the invoice says."""
        return not (self.missing or self.other_lots or self.other_expiry)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice against the scanned packs."""

    lines: tuple[Line, ...]
    taken: tuple[tuple[Checked, int], ...]
    """Good packs with the place of their line, counted from 0: what accepting puts into stock."""
    surplus: tuple[Checked, ...]
    """Good packs that no line asks for."""
    bad: tuple[Checked, ...]

    @property
    def is_right(self) -> bool:
        """Nothing differs."""
        return not self.surplus and not self.bad and all(line.is_right for line in self.lines)


class Invoiced(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing needs to know of an invoice's line."""

    gtin: str
    lot: str
    expiry: date | None
    packs: int


def compare(lines: Sequence[Invoiced], packs: Iterable[Checked]) -> Comparison:
    """Each good pack goes to a line of its product with room: one of its batch first, then one
    without a batch, then one of another batch, which is then told as a difference.
    """
    room = [line.packs for line in lines]
    taken: list[tuple[Checked, int]] = []
    waiting: list[Checked] = []
    surplus: list[Checked] = []
    bad = [pack for pack in packs if pack.fault]
    good = [pack for pack in packs if not pack.fault]
    for is_exact in (True, False):
        for pack in good if is_exact else waiting:
            place = _place(lines, room, pack, is_exact=is_exact)
            if place is not None:
                room[place] -= 1
                taken.append((pack, place))
            elif is_exact:
                waiting.append(pack)
            else:
                surplus.append(pack)
    told = tuple(_line(line, [pack for pack, at in taken if at == place])
                 for place, line in enumerate(lines))  # fmt: skip  # One line each.
    return Comparison(lines=told, taken=tuple(taken), surplus=tuple(surplus), bad=tuple(bad))


def _place(
    lines: Sequence[Invoiced], room: list[int], pack: Checked, *, is_exact: bool
) -> int | None:
    fitting = [place for place, line in enumerate(lines)
               if line.gtin == pack.gtin and room[place] > 0]  # fmt: skip  # A filter.
    if is_exact:
        return next((place for place in fitting
                     if lines[place].lot.upper() == pack.lot.upper()), None)
    return min(fitting, key=lambda place: bool(lines[place].lot), default=None)


def _line(line: Invoiced, packs: list[Checked]) -> Line:
    lots = {pack.lot for pack in packs if pack.lot.upper() != line.lot.upper()}
    days = {pack.expiry for pack in packs if pack.expiry and pack.expiry != line.expiry}
    return Line(
        gtin=line.gtin, lot=line.lot, expiry=line.expiry, invoiced=line.packs, scanned=len(packs),
        other_lots=tuple(sorted(lots)) if line.lot else (),
        other_expiry=min(days) if days and line.expiry else None,
    )  # fmt: skip  # Facts of one line.


# Counts


def count_of(
    counted: Iterable[Counted], expected: Mapping[tuple[str, str, str], Decimal]
) -> list[Difference]:
    """Every product, batch and shelf that was counted or expected, by GTIN; also where they agree,
    with a difference of 0.
    """
    sums: dict[tuple[str, str, str], Decimal] = {}
    for one in counted:
        key = (one.gtin, one.lot, one.shelf)
        sums[key] = sums.get(key, Decimal(0)) + one.quantity
    return [
        Difference(gtin=key[0], lot=key[1], shelf=key[2],
                   expected=expected.get(key, Decimal(0)), counted=sums.get(key, Decimal(0)))
        for key in sorted({*sums, *expected})
    ]  # fmt: skip  # One difference.


def correction(
    difference: Difference, standing: Sequence[Balance]
) -> list[tuple[Balance | None, Decimal]]:
    """How a difference spreads over the fundings that stand there: a loss is taken from each up to
    what it has, a gain goes to the largest (None: to none that is known).
    """
    left = difference.quantity
    places = sorted(standing, key=lambda one: (-one.quantity, one.funding))
    out: list[tuple[Balance | None, Decimal]] = []
    if left < 0:
        for one in places:
            part = min(-left, max(one.quantity, Decimal(0)))
            if part > 0:
                out.append((one, -part))
                left += part
    if left:
        out.append((places[0] if places else None, left))
    return out


def mean_price(quantity: Decimal, amount: Decimal) -> Decimal | None:
    """What a pack cost on the average, to the tiyin; None where nothing is there or known."""
    if quantity <= 0 or amount <= 0:
        return None
    return (amount / quantity).quantize(Decimal("0.01"))


# Expiry, order of going out, orders


def band(expiry: date | None, today: date) -> str:
    """How near a batch's end is: "expired" (its last day is over), "7", "30" or "90" for so many
    days to go at most, "" for later and for unknown.
    """
    if expiry is None:
        return ""
    left = (expiry - today).days
    if left < 0:
        return "expired"
    return next((str(step) for step in WARNING_DAYS if left <= step), "")


def first_out(balances: Iterable[Balance], today: date) -> Balance | None:
    """What is to be handed over first: of what has not expired, what expires first; of equals the
    smaller rest, so that shelves are emptied.
    """
    usable = [
        one for one in balances if one.quantity > 0 and band(one.expiry, today) != "expired"
    ]
    return min(usable, default=None, key=lambda one: (
        one.expiry or date.max, one.quantity, one.shelf, one.lot))  # fmt: skip  # A key.


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a pharmacy has and wants of one preparation, in units of presentation."""

    preparation: str
    balance: Decimal
    out: Decimal
    """Went out in the last 30 days."""
    least: Decimal | None = None
    most: Decimal | None = None
    pack: Decimal = Decimal(1)
    """Content of the pack that would be ordered."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal: so many packs of a preparation, and why (`pharmacy.stock.order.<why>`)."""

    preparation: str
    balance: Decimal
    out: Decimal
    least: Decimal
    most: Decimal
    packs: int
    why: str


def order_of(need: Need) -> Order | None:
    """What to order, or None. With a least and a most: below the least, up to the most. Without:
    where the rest would not last 15 days as the last 30 went, so much as lasts 30.
    """
    if need.least is not None and need.most is not None:
        least, most, why = need.least, need.most, "limits"
    else:
        least, most, why = need.out / 2, need.out, "consumption"
    if need.balance >= least or most <= need.balance:
        return None
    short = most - max(need.balance, Decimal(0))
    # Decimal's // cuts towards zero, so a part of a pack is rounded up by its name.
    packs = int((short / need.pack).to_integral_value(ROUND_CEILING))
    return Order(
        preparation=need.preparation, balance=need.balance, out=need.out, least=least, most=most,
        packs=packs, why=why,
    )  # fmt: skip  # Facts of one proposal.
