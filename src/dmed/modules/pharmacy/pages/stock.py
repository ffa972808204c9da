"""Screens of the stock: what is there, one product, what to order."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import ids
from dmed.kit.errors import (
    ConflictError,
    DmedError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from dmed.kit.i18n import Speech
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules.stock import WRITE_OFF_REASONS
from dmed.modules.pharmacy.service import journals, stock
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

KEEPERS = frozenset({Role.PHARMACIST})
REFUSALS = (ConflictError, ForbiddenError, InvalidError, NotFoundError, UnprocessableError)
"""What the person at the screen can do something about: shown in place."""
TEXT_MAX = 100
SHOWN_MAX = 500
_TABS = ("stock", "receipts", "counts", "order", "recalls", "alerts", "journals")
_FILTERS = ("", "expiry", "minus", "recalled")


def facts(request: Request, tab: str, refusal: DmedError | None = None) -> dict[str, Any]:
    """What every screen of the stock shows: its tabs, names of products, refusals."""
    t = view.speech(request)
    paths = {name: f"/stock/{name}" if name != "stock" else "/stock" for name in _TABS}
    return {
        "tab": tab,
        "tabs": [(name, t(f"pharmacy.stock.tab.{name}"), paths[name], None) for name in _TABS],
        "ware": lambda gtin: journals.ware(gtin, t.language),
        "label": lambda key: t.script(medicines.label(key, t.language)),
        "amount": lambda value: amount(t, value),
        "key": ids.secret(128),
        "refusals": view.sentences(t, refusal) if refusal else [],
    }


def amount(t: Speech, value: Decimal | None) -> str:
    """A quantity without needless zeros; "" for none."""
    if value is None:
        return ""
    return t.number(value.normalize() if value else Decimal(0))


def quantity(form: FormData, name: str = "quantity") -> Decimal:
    """A number of a form, or InvalidError."""
    text = "".join(view.field(form, name).split()).replace(",", ".")[:20]
    try:
        value = Decimal(text)
    except InvalidOperation as fault:
        raise InvalidError(f"{text!r} is no number") from fault
    if not value.is_finite():
        raise InvalidError(f"{text!r} is no number")
    return value


def number(request: Request) -> int:
    """The number in an address; 0, which nothing has, for what is no number."""
    text = str(request.path_params["number"])
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


async def there(request: Request) -> Response:
    """What this pharmacy has, the first to expire first."""
    text = request.query_params.get("q", "").strip()[:TEXT_MAX]
    only = request.query_params.get("only", "")
    only = only if only in _FILTERS else ""
    gateway, subject = view.gateway(request), view.signed_in(request)
    found = await stock.batches(gateway, subject, text=text, only=only)
    t = view.speech(request)
    return view.render(request, "pharmacy/stock.html", {
        **facts(request, "stock"), "batches": found[:SHOWN_MAX], "count": len(found), "q": text,
        "only": only, "expiring": sum(
            1 for one in found if one.band and one.balance.quantity > 0),
        "filters": [(name, t(f"pharmacy.stock.only.{name or 'all'}")) for name in _FILTERS],
    })  # fmt: skip  # Facts of one page.


async def look(request: Request) -> Response:
    """A scanned pack, or a typed GTIN, opens its product; words search."""
    form = await view.form(request)
    raw = form.get("scan")
    text = raw.strip(" \t\r\n") if isinstance(raw, str) else ""
    try:
        gtin = text.zfill(14) if text.isdecimal() and 12 < len(text) < 15 else (
            stock.read_pack(text).gtin)
        if medicines.product_or_none(gtin) is None:
            raise NotFoundError(f"No registered medicine has GTIN {gtin}")
    except REFUSALS as refusal:
        gateway, subject = view.gateway(request), view.signed_in(request)
        found = await stock.batches(gateway, subject, text=text[:TEXT_MAX])
        t = view.speech(request)
        return view.render(request, "pharmacy/stock.html", {
            **facts(request, "stock", None if found else refusal), "batches": found[:SHOWN_MAX],
            "count": len(found), "q": text[:TEXT_MAX], "only": "", "expiring": 0,
            "filters": [(name, t(f"pharmacy.stock.only.{name or 'all'}")) for name in _FILTERS],
        })  # fmt: skip  # Facts of one page.
    return view.redirect(request, f"/stock/product/{gtin}")


async def product(request: Request) -> Response:
    """One product: batches, packs, last movements, and what may be done with them."""
    return await _product(request)


async def _product(
    request: Request, refusal: DmedError | None = None, done: str = ""
) -> Response:
    found = await stock.sheet(
        view.gateway(request), view.signed_in(request), request.path_params["gtin"])
    t = view.speech(request)
    return view.render(request, "pharmacy/stock_product.html", {
        **facts(request, "stock", refusal), "sheet": found, "done": done,
        "reasons": [(code, t(f"pharmacy.stock.reason.{code}")) for code in WRITE_OFF_REASONS],
        "places": [(json.dumps([one.balance.lot, one.balance.shelf, one.balance.funding]),
                    _place_name(t, one)) for one in found.batches if one.balance.quantity > 0]
        + [(f"pack {row['serial']}", t("pharmacy.stock.one_pack", serial=row["serial"]))
           for row in found.packs],
    })  # fmt: skip  # Facts of one page.


def _place_name(t: Speech, one: stock.Batch) -> str:
    parts = (one.balance.lot, one.balance.shelf or "—", amount(t, one.balance.quantity))
    return " · ".join(part for part in parts if part)


async def act(request: Request) -> Response:
    """Writes off, moves, issues, or keeps the least and the most of a product."""
    form = await view.form(request)
    try:
        done = await _acted(request, form)
    except REFUSALS as refusal:
        return await _product(request, refusal)
    return await _product(request, done=done)


async def _acted(request: Request, form: FormData) -> str:
    gateway, subject = view.gateway(request), view.signed_in(request)
    gtin, key, what = request.path_params["gtin"], view.field(form, "key"), view.field(form, "act")
    if what == "limits":
        found = await stock.sheet(gateway, subject, gtin)
        await stock.set_limits(gateway, subject, found.product.preparation.key,
                               quantity(form, "least"), quantity(form, "most"))
        return "pharmacy.stock.done.limits"
    if what == "price":
        typed = quantity(form, "retail") if view.field(form, "retail") else None
        await stock.set_price(gateway, subject, gtin, typed)
        return "pharmacy.stock.done.price"
    place = await _place(request, form)
    if what == "write-off":
        reason = view.field(form, "reason")
        await stock.write_off(gateway, subject, place, reason, key=key,
                              note=view.field(form, "note")[:TEXT_MAX])
    elif what == "move":
        await stock.move(gateway, subject, place, view.field(form, "to"), key=key)
    elif what == "issue":
        await stock.issue(gateway, subject, place, view.field(form, "department"), key=key)
    else:
        raise InvalidError(f"The stock has no act {what!r}")
    return f"pharmacy.stock.done.{what}"


async def _place(request: Request, form: FormData) -> stock.Place:
    """The place of stock that a form names: batch, shelf and funding, or one pack."""
    gtin, chosen = request.path_params["gtin"], view.field(form, "place")
    if chosen.startswith("pack "):
        return stock.Place(gtin=gtin, serial=chosen.removeprefix("pack "))
    try:
        lot, shelf, funding = msgspec.json.decode(chosen, type=tuple[str, str, str])
    except msgspec.DecodeError as fault:
        raise InvalidError("Choose what it is about") from fault
    return stock.Place(gtin=gtin, lot=lot, shelf=shelf, funding=funding, quantity=quantity(form))


async def order(request: Request) -> Response:
    """What to order now."""
    found = await stock.orders(view.gateway(request), view.signed_in(request))
    return view.render(request, "pharmacy/stock_order.html", {
        **facts(request, "order"), "orders": found})


ROUTES: tuple[Route, ...] = (
    Route(path="/stock", endpoint=there, roles=KEEPERS),
    Route(path="/stock", endpoint=look, roles=KEEPERS, methods=("POST",)),
    Route(path="/stock/order", endpoint=order, roles=KEEPERS),
    Route(path="/stock/product/{gtin}", endpoint=product, roles=KEEPERS),
    Route(path="/stock/product/{gtin}", endpoint=act, roles=KEEPERS, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="pharmacy.stock.menu", path="/stock", icon="box", roles=KEEPERS, order=30),
)
