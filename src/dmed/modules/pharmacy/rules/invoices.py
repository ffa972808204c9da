"""A supplier's invoice as a file: JSON, or CSV with a head. Pure; every fault names its line.

CSV: columns gtin, lot, expiry, packs, price, shelf in any order, separated by ; , or a tab; what
the head of the invoice says (supplier, number, day, funding) is given beside it. JSON: an object
with supplier, supplier_name, number, date, funding and lines of the same names.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from dmed.kit.errors import InvalidError, Issue
from dmed.modules.pharmacy.rules import gs1
from dmed.modules.pharmacy.rules.stock import FUNDINGS

LINES_MAX = 2_000
PACKS_MAX = 30_000
"""Of one invoice: what the marking operator takes in one report."""
_NAMES = {
    "gtin": "gtin", "lot": "lot", "batch": "lot", "series": "lot", "seriya": "lot",
    "серия": "lot", "expiry": "expiry", "muddat": "expiry", "срок": "expiry", "packs": "packs",
    "quantity": "packs", "soni": "packs", "количество": "packs", "price": "price",
    "narx": "price", "цена": "price", "shelf": "shelf", "javon": "shelf", "полка": "shelf",
}  # fmt: skip  # Words of a head -> our names.


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """So many packs of one batch at a price for each."""

    gtin: str
    packs: int
    lot: str = ""
    expiry: date | None = None
    price: Decimal | None = None
    shelf: str = ""


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """A supplier's invoice."""

    supplier: str
    """Tax number: 9 digits."""
    number: str
    day: date
    lines: tuple[InvoiceLine, ...]
    supplier_name: str = ""
    funding: str = "own"


def digest(invoice: Invoice) -> str:
    """What the invoice says as a hash: the same invoice again is known by it."""
    return hashlib.sha256(msgspec.json.encode(invoice, order="sorted")).hexdigest()


def read(text: str, head: Mapping[str, str], today: date) -> Invoice:
    """The invoice of a file, its head from the file (JSON) or from `head` (CSV). InvalidError lists
    every fault with its line; nothing is guessed.
    """
    text = text.lstrip("\ufeff").strip()
    given: dict[str, Any] = dict(head)
    if text.startswith("{"):
        told = _json(text)
        given |= {name: str(value) for name, value in told.items() if name != "lines"}
        given["day"] = told.get("date", given.get("day", ""))
        rows = told.get("lines", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InvalidError("The lines of the invoice must be a list of objects")
        first = 1
    else:
        rows, first = _csv(text), 2
    faults: list[str] = []
    lines = [_line(row, place, faults) for place, row in enumerate(rows, first)]
    if not rows:
        faults.append("The invoice has no lines")
    if len(rows) > LINES_MAX or sum(line.packs for line in lines) > PACKS_MAX:
        faults.append(f"An invoice has at most {LINES_MAX} lines and {PACKS_MAX} packs")
    made = _headed(given, tuple(lines), today, faults)
    if faults or made is None:
        raise InvalidError(issues=tuple(Issue("invalid", one) for one in faults[:50]))
    return made


def _json(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as fault:
        raise InvalidError("The file is no valid JSON") from fault
    return told if isinstance(told, dict) else {}


def _csv(text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    head = text.splitlines()[0]
    mark = max(";,\t", key=head.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=mark, strict=True) if row]
    except csv.Error as fault:
        raise InvalidError(f"The table cannot be read: {fault}") from fault
    names = [_NAMES.get(cell.strip().lower(), "") for cell in rows[0]]
    if "gtin" not in names or "packs" not in names:
        raise InvalidError("The first line must name the columns, gtin and packs among them")
    return [
        {name: cell.strip() for name, cell in zip(names, row, strict=False) if name}
        for row in rows[1:]
    ]


def _headed(
    given: Mapping[str, Any], lines: tuple[InvoiceLine, ...], today: date, faults: list[str]
) -> Invoice | None:
    supplier = str(given.get("supplier", "")).strip()
    number = " ".join(str(given.get("number", "")).split())
    day = _day(given.get("day", ""))
    funding = str(given.get("funding", "")).strip() or "own"
    if not re.fullmatch(r"[0-9]{9}", supplier):
        faults.append("The tax number of the supplier has 9 digits")
    if not 1 <= len(number) <= 50:
        faults.append("The number of the invoice is missing or longer than 50 signs")
    if day is None or day > today:
        faults.append("The day of the invoice is missing, no day, or in the future")
    if funding not in FUNDINGS:
        faults.append(f"The funding must be one of: {', '.join(FUNDINGS)}")
    if faults or day is None:
        return None
    name = " ".join(str(given.get("supplier_name", "")).split())[:200]
    return Invoice(supplier=supplier, number=number, day=day, lines=lines, supplier_name=name,
                   funding=funding)  # fmt: skip  # Facts of one invoice.


def _line(row: Mapping[str, Any], place: int, faults: list[str]) -> InvoiceLine:
    """A line; what is wrong goes to the faults."""
    gtin = str(row.get("gtin") or "").strip()
    if re.fullmatch(r"[0-9]{13}", gtin):
        gtin = f"0{gtin}"  # A spreadsheet drops the leading zero.
    if not (re.fullmatch(r"[0-9]{14}", gtin) and gs1.is_gtin(gtin)):
        faults.append(f"Line {place}: {gtin[:30]!r} is no GTIN with a right check digit")
    packs = str(row.get("packs") or "").strip()
    if not re.fullmatch(r"[0-9]{1,6}", packs) or int(packs) < 1:
        faults.append(f"Line {place}: {packs[:30]!r} is no number of packs")
        packs = "1"
    told = str(row.get("expiry") or "").strip()
    expiry = _day(told)
    if told and expiry is None:
        faults.append(f"Line {place}: {told[:30]!r} is no day")
    price = _price(row.get("price"))
    if price is not None and not 0 <= price < Decimal(10) ** 12:
        faults.append(f"Line {place}: {str(row.get('price'))[:30]!r} is no price")
        price = None
    return InvoiceLine(
        gtin=gtin, packs=int(packs), lot=str(row.get("lot") or "").strip()[:20],
        expiry=expiry, price=price, shelf=shelf_of(str(row.get("shelf") or "")),
    )  # fmt: skip  # Facts of one line.


def _price(told: Any) -> Decimal | None:
    """A price; None where none is told, below zero for what is none."""
    text = re.sub(r"[\s\u00a0]", "", str(told if told is not None else "")).replace(",", ".")
    if not text:
        return None
    try:
        price = Decimal(text)
    except InvalidOperation:
        return Decimal(-1)
    return price if price.is_finite() else Decimal(-1)


def _day(told: Any) -> date | None:
    """2028-08-31 or 31.08.2028; None for what is no day."""
    if isinstance(told, date):
        return told
    text = str(told).strip()
    found = re.fullmatch(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})", text)
    if found:
        text = f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def shelf_of(text: str) -> str:
    """The name of a shelf as it is kept: capitals, no blanks, at most 20 signs: "a-3" -> "A-3"."""
    return re.sub(r"\s+", "", text).upper()[:20]
