"""The pharmacy's journals 131-141 of the ministry's order no. 399, as views over the ledger.

Titles: national code list composition-type-cs, emdoc-0010-0194 to 0204 (11 pharmacy forms, volume
4; which number belongs to which title follows from their order). The order's own columns are not at
hand: those here are a draft until the ministry approves them. Nothing in a journal is typed twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal

import msgspec

from dmed.kit.clock import TASHKENT
from dmed.modules.pharmacy.rules.stock import Balance, Kind, Movement

Cell = str | int | Decimal | date | datetime | None
OUT = frozenset({Kind.DISPENSE, Kind.UNDO, Kind.ISSUE, Kind.WRITE_OFF})
"""What a turnover counts as going out; an undone hand-over is taken off it."""
_DAYS_OF_MONTH = Decimal(30)
_CENT = Decimal("0.01")


class Ware(msgspec.Struct, frozen=True, kw_only=True):
    """A product as a journal shows it."""

    name: str
    unit: str
    content: Decimal
    """Of a pack, in units of presentation."""
    preparation: str


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an accepted invoice."""

    receipt: int
    day: date
    invoice: str
    supplier: str
    gtin: str
    lot: str
    invoiced: int
    accepted: int
    made_by: str
    ended_by: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a journal of a period is made of."""

    days: int
    opening: tuple[Balance, ...]
    closing: tuple[Balance, ...]
    movements: tuple[Movement, ...]
    """Of the period, oldest first."""
    accepted: tuple[Accepted, ...]
    ware: Callable[[str], Ware]


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """A journal: its number, the code of its form and the keys of its columns."""

    number: int
    code: str
    columns: tuple[str, ...]
    """Texts under `pharmacy.journal.column.<key>`."""
    rows: Callable[[Facts], list[tuple[Cell, ...]]]


def worth(quantity: Decimal, price: Decimal | None, ware: Ware) -> Decimal:
    """UZS of a quantity at the price of a whole pack, to the tiyin; 0 where no price is known."""
    return (quantity / ware.content * (price or 0)).quantize(_CENT)


def _day(one: Movement) -> date:
    assert one.at is not None  # What comes from the ledger has its time.
    return one.at.astimezone(TASHKENT).date()


def _need(facts: Facts) -> list[tuple[Cell, ...]]:
    """131: the average month, from what went out to patients and departments."""
    out: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    there: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one in facts.movements:
        if one.kind in OUT - {Kind.WRITE_OFF}:
            ware = facts.ware(one.gtin)
            out[ware.preparation, ware.unit] -= one.quantity
    for balance in facts.closing:
        ware = facts.ware(balance.gtin)
        there[ware.preparation, ware.unit] += balance.quantity
    rows: list[tuple[Cell, ...]] = []
    for key in sorted({*out, *there}):
        month = (out[key] * _DAYS_OF_MONTH / facts.days).quantize(Decimal("0.1"))
        rows.append((*key, out[key], month, there[key], max(month - there[key], Decimal(0))))
    return rows


def _came(facts: Facts) -> list[tuple[Cell, ...]]:
    """132: what came in, a line an invoice, batch and price."""
    sums: dict[tuple[Cell, ...], Decimal] = defaultdict(Decimal)
    for one in facts.movements:
        if one.kind is Kind.RECEIPT:
            key = (_day(one), one.note, one.gtin, one.lot, one.expiry, one.price, one.funding)
            sums[key] += one.quantity
    rows: list[tuple[Cell, ...]] = []
    for (day, invoice, gtin, lot, expiry, price, funding), quantity in sums.items():
        ware = facts.ware(str(gtin))
        known = price if isinstance(price, Decimal) else None
        rows.append((day, invoice, ware.name, lot, expiry, ware.unit, quantity,
                     quantity / ware.content, known, worth(quantity, known, ware),
                     funding))  # fmt: skip  # One line.
    return rows


def _commission(facts: Facts) -> list[tuple[Cell, ...]]:
    """133: each invoice against what was accepted of it, and by whom."""
    return [
        (one.receipt, one.day, one.invoice, one.supplier, facts.ware(one.gtin).name, one.lot,
         one.invoiced, one.accepted, one.accepted - one.invoiced, one.made_by, one.ended_by)
        for one in facts.accepted
    ]  # fmt: skip  # One line.


def _requisitions(facts: Facts) -> list[tuple[Cell, ...]]:
    """134: each issue to a department."""
    return [
        (_day(one), one.document, ware.name, one.lot, ware.unit, -one.quantity, one.price,
         worth(-one.quantity, one.price, ware), one.by)
        for one in facts.movements if one.kind is Kind.ISSUE for ware in [facts.ware(one.gtin)]
    ]  # fmt: skip  # One line.


def _daily(facts: Facts) -> list[tuple[Cell, ...]]:
    """135: what patients got, a line a day and product."""
    sums: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
    for one in facts.movements:
        if one.kind in {Kind.DISPENSE, Kind.UNDO}:
            sums[_day(one), one.gtin] -= one.quantity
    return [
        (day, facts.ware(gtin).name, facts.ware(gtin).unit, quantity)
        for (day, gtin), quantity in sorted(sums.items()) if quantity
    ]  # fmt: skip  # One line.


def _departments(facts: Facts) -> list[tuple[Cell, ...]]:
    """136: what each department got."""
    sums: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for one in facts.movements:
        if one.kind is Kind.ISSUE:
            key = (one.document, one.gtin)
            quantity, money = sums.get(key, (Decimal(0), Decimal(0)))
            sums[key] = (quantity - one.quantity,
                         money + worth(-one.quantity, one.price, facts.ware(one.gtin)))
    return [
        (department, facts.ware(gtin).name, facts.ware(gtin).unit, quantity, money)
        for (department, gtin), (quantity, money) in sorted(sums.items())
    ]


def _sheets(facts: Facts) -> list[tuple[Cell, ...]]:
    """137: the sheet of each product, line by line with what was left after it."""
    left: dict[str, Decimal] = defaultdict(Decimal)
    for balance in facts.opening:
        left[balance.gtin] += balance.quantity
    rows: list[tuple[Cell, ...]] = []
    for gtin in sorted({*(key for key, rest in left.items() if rest),
                        *(one.gtin for one in facts.movements)}):
        ware, rest = facts.ware(gtin), left[gtin]
        rows.append((ware.name, ware.unit, None, "opening", "", None, None, rest))
        for one in facts.movements:
            if one.gtin == gtin and one.kind is not Kind.MOVE:
                rest += one.quantity
                came = one.quantity if one.quantity > 0 else None
                went = -one.quantity if one.quantity < 0 else None
                rows.append((ware.name, ware.unit, _day(one), one.kind.value,
                             one.note or one.document, came, went, rest))
    return rows


def _turnover(facts: Facts, *, is_money: bool) -> list[tuple[Cell, ...]]:
    """138 in units, 140 in money: opening, in, out, closing by funding and product."""
    sums: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 3)

    def put(key: tuple[str, str], place: int, quantity: Decimal, amount: Decimal) -> None:
        value = amount / facts.ware(key[1]).content if is_money else quantity
        sums[key] = [each + value if at == place else each for at, each in enumerate(sums[key])]

    for balance in facts.opening:
        put((balance.funding, balance.gtin), 0, balance.quantity, balance.amount)
    for one in facts.movements:
        if one.kind is Kind.MOVE:
            continue
        is_out = one.kind in OUT or (one.kind is Kind.COUNT and one.quantity < 0)
        sign = -1 if is_out else 1
        amount = one.quantity * (one.price or 0)
        put((one.funding, one.gtin), 2 if is_out else 1, sign * one.quantity, sign * amount)
    rows: list[tuple[Cell, ...]] = []
    for (funding, gtin), (before, came, went) in sorted(sums.items()):
        ware = facts.ware(gtin)
        figures = [before, came, went, before + came - went]
        told = [each.quantize(_CENT) for each in figures] if is_money else figures
        if any(told):
            rows.append((funding, ware.name, *(() if is_money else (ware.unit,)), *told))
    return rows


def _outgoing(facts: Facts) -> list[tuple[Cell, ...]]:
    """139: every single thing that went out, with its paper."""
    return [
        (one.at, one.kind.value, one.document if one.kind is Kind.ISSUE else one.note, ware.name,
         one.lot, ware.unit, -one.quantity, one.price, worth(-one.quantity, one.price, ware))
        for one in facts.movements if one.kind in OUT for ware in [facts.ware(one.gtin)]
    ]  # fmt: skip  # One line.


def _rest(facts: Facts) -> list[tuple[Cell, ...]]:
    """141: what stands at the end of the period."""
    rows: Iterable[tuple[Ware, Balance]] = (
        (facts.ware(one.gtin), one) for one in facts.closing if one.quantity
    )
    return [
        (ware.name, one.lot, one.expiry, one.shelf, one.funding, ware.unit, one.quantity,
         one.price, worth(one.quantity, one.price, ware))
        for ware, one in sorted(rows, key=lambda row: (row[0].name, row[1].lot, row[1].shelf))
    ]  # fmt: skip  # One line.


_MONEY = ("price", "sum")
FIGURES = frozenset({
    "out", "month", "rest", "need", "quantity", "packs", *_MONEY, "invoiced", "accepted",
    "difference", "came", "went", "opening", "closing",
})  # fmt: skip  # Columns of numbers.
JOURNALS: dict[int, Journal] = {
    one.number: one
    for one in (
        Journal(number=131, code="emdoc-0010-0194", rows=_need, columns=(
            "preparation", "unit", "out", "month", "rest", "need")),
        Journal(number=132, code="emdoc-0010-0195", rows=_came, columns=(
            "day", "invoice", "medicine", "lot", "expiry", "unit", "quantity", "packs", *_MONEY,
            "funding")),
        Journal(number=133, code="emdoc-0010-0196", rows=_commission, columns=(
            "receipt", "day", "invoice", "supplier", "medicine", "lot", "invoiced", "accepted",
            "difference", "made_by", "accepted_by")),
        Journal(number=134, code="emdoc-0010-0197", rows=_requisitions, columns=(
            "day", "department", "medicine", "lot", "unit", "quantity", *_MONEY, "made_by")),
        Journal(number=135, code="emdoc-0010-0198", rows=_daily, columns=(
            "day", "medicine", "unit", "quantity")),
        Journal(number=136, code="emdoc-0010-0199", rows=_departments, columns=(
            "department", "medicine", "unit", "quantity", "sum")),
        Journal(number=137, code="emdoc-0010-0200", rows=_sheets, columns=(
            "medicine", "unit", "day", "kind", "document", "came", "went", "rest")),
        Journal(number=138, code="emdoc-0010-0201",
                rows=lambda facts: _turnover(facts, is_money=False), columns=(
            "funding", "medicine", "unit", "opening", "came", "went", "closing")),
        Journal(number=139, code="emdoc-0010-0202", rows=_outgoing, columns=(
            "time", "kind", "document", "medicine", "lot", "unit", "quantity", *_MONEY)),
        Journal(number=140, code="emdoc-0010-0203",
                rows=lambda facts: _turnover(facts, is_money=True), columns=(
            "funding", "medicine", "opening", "came", "went", "closing")),
        Journal(number=141, code="emdoc-0010-0204", rows=_rest, columns=(
            "medicine", "lot", "expiry", "shelf", "funding", "unit", "quantity", *_MONEY)),
    )
}  # fmt: skip  # A table.


def csv_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that begins as such gets a quote."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
