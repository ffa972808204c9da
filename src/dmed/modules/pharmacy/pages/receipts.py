"""Screens of receipts and counts: scanner first, every answer shows the whole again."""

from __future__ import annotations

from decimal import Decimal

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.clock import today
from dmed.kit.errors import DmedError, InvalidError
from dmed.modules.pharmacy.pages.stock import KEEPERS, REFUSALS, facts, number, quantity
from dmed.modules.pharmacy.rules.stock import FUNDINGS, Counted
from dmed.modules.pharmacy.service import counts, receipts
from dmed.pages import view
from dmed.trust.manifest import Route

FILE_BYTES_MAX = 1_000_000
_HEAD = ("supplier", "supplier_name", "number", "day", "funding")


# Receipts


async def receipts_listed(request: Request) -> Response:
    """Open receipts, the latest others, and the form of a new one."""
    return await _receipts(request)


async def _receipts(
    request: Request, refusal: DmedError | None = None, typed: dict[str, str] | None = None
) -> Response:
    found = await receipts.listed(view.gateway(request), view.signed_in(request))
    t = view.speech(request)
    return view.render(request, "pharmacy/stock_receipts.html", {
        **facts(request, "receipts", refusal), "rows": found,
        "typed": typed or dict.fromkeys((*_HEAD, "lines"), "") | {"day": today().isoformat()},
        "fundings": [(code, t(f"pharmacy.stock.funding.{code}")) for code in FUNDINGS],
    })  # fmt: skip  # Facts of one page.


async def receipt_begun(request: Request) -> Response:
    """A new receipt from a file, or from lines that were pasted."""
    try:
        # One file beside the fields; the limit of a request's body holds for it.
        form = await request.form(max_fields=view.FORM_FIELDS_MAX, max_files=1)
    except ValueError as fault:
        raise InvalidError(f"the form cannot be read: {fault}") from fault
    typed = {name: view.field(form, name) for name in (*_HEAD, "lines")}
    try:
        text = await _file(form) or typed["lines"]
        made = await receipts.begin(
            view.gateway(request), view.signed_in(request), text, typed)
    except REFUSALS as refusal:
        return await _receipts(request, refusal, typed)
    return view.redirect(request, f"/stock/receipts/{made}")


async def _file(form: FormData) -> str:
    given = form.get("file")
    if not isinstance(given, UploadFile) or not given.filename:
        return ""
    raw = await given.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise InvalidError("The file of an invoice has at most 1 MB")
    for name in ("utf-8-sig", "cp1251"):
        try:
            return raw.decode(name).replace("\0", "")
        except UnicodeDecodeError:
            continue
    raise InvalidError("The file is no text")


async def receipt(request: Request) -> Response:
    """One receipt: the invoice beside what was scanned."""
    return await _receipt(request)


async def _receipt(
    request: Request, refusal: DmedError | None = None, scanned: receipts.Scanned | None = None
) -> Response:
    found = await receipts.receipt(
        view.gateway(request), view.signed_in(request), number(request))
    bad = [one for one in scanned.packs if one.fault] if scanned else []
    return view.render(request, "pharmacy/stock_receipt.html", {
        **facts(request, "receipts", refusal), "receipt": found, "scanned": scanned, "bad": bad,
        "is_open": found.head["state"] == "open"})


async def receipt_scanned(request: Request) -> Response:
    """What the scanner brought: a pack, or a transport box."""
    form = await view.form(request)
    raw = form.get("scan")
    try:
        scanned = await receipts.scan(
            view.gateway(request), view.signed_in(request), number(request),
            raw if isinstance(raw, str) else "")  # fmt: skip  # One scan.
    except REFUSALS as refusal:
        return await _receipt(request, refusal)
    return await _receipt(request, scanned=scanned)


async def receipt_ended(request: Request) -> Response:
    """Accepts or drops a receipt, or takes a pack out of it."""
    form = await view.form(request)
    gateway, subject, which = view.gateway(request), view.signed_in(request), number(request)
    what, _, pack = view.field(form, "act").partition(":")
    gtin, _, serial = pack.partition(":")
    try:
        if what == "accept":
            await receipts.accept(gateway, subject, which)
        elif what == "drop":
            await receipts.drop(gateway, subject, which)
        elif what == "unscan":
            await receipts.unscan(gateway, subject, which, gtin, serial)
        else:
            raise InvalidError(f"A receipt has no act {what!r}")
    except REFUSALS as refusal:
        return await _receipt(request, refusal)
    return await _receipt(request)


# Counts


async def counts_listed(request: Request) -> Response:
    """Counts, and the form of a new one."""
    return await _counts(request)


async def _counts(request: Request, refusal: DmedError | None = None) -> Response:
    found = await counts.listed(view.gateway(request), view.signed_in(request))
    return view.render(request, "pharmacy/stock_counts.html", {
        **facts(request, "counts", refusal), "rows": found})


async def count_begun(request: Request) -> Response:
    """Begins a count."""
    form = await view.form(request)
    try:
        made = await counts.begin(
            view.gateway(request), view.signed_in(request), view.field(form, "shelf"))
    except REFUSALS as refusal:
        return await _counts(request, refusal)
    return view.redirect(request, f"/stock/counts/{made}")


async def count(request: Request) -> Response:
    """One count: entries while it is open, differences after."""
    return await _count(request)


async def _count(
    request: Request, refusal: DmedError | None = None, said: str = "", shelf: str = ""
) -> Response:
    found = await counts.count(view.gateway(request), view.signed_in(request), number(request))
    return view.render(request, "pharmacy/stock_count.html", {
        **facts(request, "counts", refusal), "count": found, "said": said, "shelf": shelf,
        "is_open": found.head["state"] == "open",
        "is_first": view.signed_in(request).user in {
            found.head["opened_by"], found.head["done_by"]}})


async def count_scanned(request: Request) -> Response:
    """Counts one pack by its code."""
    form = await view.form(request)
    raw, shelf = form.get("scan"), view.field(form, "shelf")[:20]
    try:
        units: Decimal | None = quantity(form, "units") if view.field(form, "units") else None
        is_new = await counts.scan(
            view.gateway(request), view.signed_in(request), number(request),
            raw if isinstance(raw, str) else "", shelf, units)  # fmt: skip  # One scan.
    except REFUSALS as refusal:
        return await _count(request, refusal, shelf=shelf)
    return await _count(request, said="" if is_new else "pharmacy.stock.counted_before",
                        shelf=shelf)


async def count_acted(request: Request) -> Response:
    """Enters by hand, takes an entry back, ends the counting, closes or drops the count."""
    form = await view.form(request)
    gateway, subject, which = view.gateway(request), view.signed_in(request), number(request)
    what, _, line = view.field(form, "act").partition(":")
    try:
        if what == "enter":
            gtin = view.field(form, "gtin")
            await counts.enter(gateway, subject, which, Counted(
                gtin=gtin.zfill(14) if gtin.isdecimal() else gtin, lot=view.field(form, "lot"),
                shelf=view.field(form, "shelf"), quantity=quantity(form)))
        elif what == "back" and line.isdecimal() and len(line) < 16:
            await counts.take_back(gateway, subject, which, int(line))
        elif what == "done":
            await counts.end_counting(gateway, subject, which)
        elif what == "close":
            await counts.close(gateway, subject, which)
        elif what == "drop":
            await counts.drop(gateway, subject, which)
        else:
            raise InvalidError(f"A count has no act {what!r}")
    except REFUSALS as refusal:
        return await _count(request, refusal)
    return await _count(request)


ROUTES: tuple[Route, ...] = (
    Route(path="/stock/receipts", endpoint=receipts_listed, roles=KEEPERS),
    Route(path="/stock/receipts", endpoint=receipt_begun, roles=KEEPERS, methods=("POST",)),
    Route(path="/stock/receipts/{number}", endpoint=receipt, roles=KEEPERS),
    Route(path="/stock/receipts/{number}", endpoint=receipt_ended, roles=KEEPERS,
          methods=("POST",)),
    Route(path="/stock/receipts/{number}/scan", endpoint=receipt_scanned, roles=KEEPERS,
          methods=("POST",)),
    Route(path="/stock/counts", endpoint=counts_listed, roles=KEEPERS),
    Route(path="/stock/counts", endpoint=count_begun, roles=KEEPERS, methods=("POST",)),
    Route(path="/stock/counts/{number}", endpoint=count, roles=KEEPERS),
    Route(path="/stock/counts/{number}", endpoint=count_acted, roles=KEEPERS, methods=("POST",)),
    Route(path="/stock/counts/{number}/scan", endpoint=count_scanned, roles=KEEPERS,
          methods=("POST",)),
)  # fmt: skip  # A table.
