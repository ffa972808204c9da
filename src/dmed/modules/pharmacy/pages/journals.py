"""Screens of recalls and of the journals 131-141, with CSV and a print."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime, timedelta
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.clock import TASHKENT, today
from dmed.kit.errors import DmedError, InvalidError
from dmed.kit.i18n import Speech
from dmed.modules.pharmacy.pages.stock import KEEPERS, REFUSALS, amount, facts, number
from dmed.modules.pharmacy.rules.journals import FIGURES, JOURNALS, Cell, csv_cell
from dmed.modules.pharmacy.service import journals, recalls
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route

_PERIOD_DAYS = 30
_CODED = {"kind": "pharmacy.stock.kind", "funding": "pharmacy.stock.funding"}
_SEES = KEEPERS | recalls.AUTHORITY


# Recalls


async def recalls_listed(request: Request) -> Response:
    """Every recall; for the authority with the form of a new one."""
    return await _recalls(request)


async def _recalls(
    request: Request, refusal: DmedError | None = None, typed: dict[str, str] | None = None
) -> Response:
    subject = view.signed_in(request)
    found = await recalls.listed(view.gateway(request), subject)
    t = view.speech(request)
    return view.render(request, "pharmacy/stock_recalls.html", {
        **facts(request, "recalls", refusal), "rows": found,
        "typed": typed or dict.fromkeys(("gtin", "lot", "grade", "reason", "document"), ""),
        "is_authority": subject.role in recalls.AUTHORITY,
        "grades": [(str(grade), t(f"pharmacy.stock.grade.{grade}")) for grade in (1, 2, 3)],
    })  # fmt: skip  # Facts of one page.


async def recall_announced(request: Request) -> Response:
    """A new recall."""
    form = await view.form(request)
    names = ("gtin", "lot", "grade", "reason", "document")
    typed = {name: view.field(form, name)[:500] for name in names}
    gtin, grade = typed["gtin"], typed["grade"]
    try:
        made = await recalls.announce(
            view.gateway(request), view.signed_in(request),
            gtin.zfill(14) if gtin.isdecimal() else gtin, typed["lot"],
            int(grade) if grade in {"1", "2", "3"} else 0, typed["reason"], typed["document"],
        )  # fmt: skip  # One recall.
    except REFUSALS as refusal:
        return await _recalls(request, refusal, typed)
    return view.redirect(request, f"/stock/recalls/{made}")


async def recall(request: Request) -> Response:
    """Where a recalled batch is: pharmacies for the authority, own persons for a pharmacy."""
    subject = view.signed_in(request)
    found = await recalls.reach(view.gateway(request), subject, number(request))
    return view.render(request, "pharmacy/stock_recall.html", {
        **facts(request, "recalls"), "reach": found,
        "is_authority": subject.role in recalls.AUTHORITY})


async def recall_ended(request: Request) -> Response:
    """Ends a recall."""
    await recalls.end(view.gateway(request), view.signed_in(request), number(request))
    return view.redirect(request, f"/stock/recalls/{number(request)}")


# Journals


async def journals_listed(request: Request) -> Response:
    """The eleven journals."""
    return view.render(request, "pharmacy/stock_journals.html", {
        **facts(request, "journals"), "journals": list(JOURNALS.values())})


async def journal(request: Request) -> Response:
    """One journal of a period, as it prints."""
    since, until = _period(request)
    t = view.speech(request)
    found = await journals.journal(
        view.gateway(request), view.signed_in(request), number(request), since, until,
        t.language)  # fmt: skip  # One journal.
    return view.render(request, "pharmacy/stock_journal.html", {
        **facts(request, "journals"), "journal": found, "subject": view.signed_in(request),
        "figures": [name in FIGURES for name in found.journal.columns],
        "rows": [[_said(t, name, cell) for name, cell in zip(
            found.journal.columns, row, strict=True)] for row in found.rows],
    })  # fmt: skip  # Facts of one page.


async def journal_csv(request: Request) -> Response:
    """The same as a table for a spreadsheet: UTF-8 with its mark, semicolons, decimal points."""
    since, until = _period(request)
    t = view.speech(request)
    found = await journals.journal(
        view.gateway(request), view.signed_in(request), number(request), since, until,
        t.language)  # fmt: skip  # One journal.
    out = io.StringIO()
    table = csv.writer(out, delimiter=";", lineterminator="\r\n")
    columns = found.journal.columns
    table.writerow([t("pharmacy.journal.column.place"),
                    *(t(f"pharmacy.journal.column.{name}") for name in columns)])
    for place, row in enumerate(found.rows, 1):
        table.writerow([place, *(_plain(t, name, cell)
                                 for name, cell in zip(columns, row, strict=True))])
    name = f"journal-{found.journal.number}-{since}-{until}.csv"
    return Response("\ufeff" + out.getvalue(), media_type="text/csv; charset=utf-8", headers={
        "Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"})


def _period(request: Request) -> tuple[date, date]:
    """The asked days, or the last thirty."""
    told = [request.query_params.get(name, "") for name in ("since", "until")]
    try:
        until = date.fromisoformat(told[1]) if told[1] else today()
        since = date.fromisoformat(told[0]) if told[0] else until - timedelta(days=_PERIOD_DAYS - 1)
    except (ValueError, OverflowError) as fault:
        raise InvalidError("A day of the period is no day") from fault
    if not date(2000, 1, 1) <= since <= date(2100, 1, 1) >= until:
        raise InvalidError("A day of the period is no day")
    return since, until


def _said(t: Speech, name: str, cell: Cell) -> str:
    if isinstance(cell, datetime):
        return f"{t.date(cell)} {t.time(cell)}"
    if isinstance(cell, date):
        return t.date(cell)
    if isinstance(cell, Decimal):
        return t.number(cell, 2) if name in {"sum", "price"} else amount(t, cell)
    if isinstance(cell, int):
        return t.number(Decimal(cell))
    return _word(t, name, cell or "")


def _word(t: Speech, name: str, cell: str) -> str:
    if name in _CODED and cell:
        return t(f"{_CODED[name]}.{cell}")
    return t.script(cell)


def _plain(t: Speech, name: str, cell: Cell) -> str:
    if isinstance(cell, datetime):
        return f"{cell.astimezone(TASHKENT):%Y-%m-%d %H:%M:%S}"
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, Decimal | int):
        return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)
    return csv_cell(_word(t, name, cell or ""))


ROUTES: tuple[Route, ...] = (
    Route(path="/stock/recalls", endpoint=recalls_listed, roles=_SEES),
    Route(path="/stock/recalls", endpoint=recall_announced, roles=recalls.AUTHORITY,
          methods=("POST",)),
    Route(path="/stock/recalls/{number}", endpoint=recall, roles=_SEES),
    Route(path="/stock/recalls/{number}/end", endpoint=recall_ended, roles=recalls.AUTHORITY,
          methods=("POST",)),
    Route(path="/stock/journals", endpoint=journals_listed, roles=KEEPERS,
          audit="journals of the pharmacy"),
    Route(path="/stock/journals/{number}", endpoint=journal, roles=KEEPERS),
    Route(path="/stock/journals/{number}/csv", endpoint=journal_csv, roles=KEEPERS),
)  # fmt: skip  # A table.
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="pharmacy.stock.tab.recalls", path="/stock/recalls", icon="warning",
             roles=recalls.AUTHORITY, order=70),
)
