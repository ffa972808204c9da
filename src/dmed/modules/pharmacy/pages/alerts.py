"""Screens of the packs that were put aside: the list, one pack, and how it ended."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import DmedError
from dmed.modules.pharmacy.pages.stock import KEEPERS, REFUSALS, facts, number
from dmed.modules.pharmacy.rules import alerts as rules
from dmed.modules.pharmacy.service import alerts
from dmed.modules.prescriptions import api as prescriptions
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

_SEES = KEEPERS | alerts.AUTHORITY


async def listed(request: Request) -> Response:
    """Packs put aside: of the own pharmacy, or of the country for the authority."""
    subject, t = view.signed_in(request), view.speech(request)
    closed = request.query_params.get("closed") == "1"
    fault = request.query_params.get("class", "")
    fault = fault if fault in alerts.FAULTS else ""
    found = await alerts.listed(view.gateway(request), subject, fault=fault, closed=closed)
    return view.render(request, "pharmacy/alerts.html", {
        **facts(request, "alerts"), "listed": found, "closed": closed, "fault": fault,
        "is_authority": subject.role in alerts.AUTHORITY, "show": prescriptions.show_number,
        "classes": [(name, t(f"pharmacy.alert.class.{name or 'all'}"))
                    for name in ("", *alerts.FAULTS)],
    })  # fmt: skip  # Facts of one page.


async def alert(request: Request) -> Response:
    """One pack: what is known of it, what to do, and the form that ends it."""
    return await _alert(request)


async def _alert(
    request: Request, refusal: DmedError | None = None, typed: tuple[str, str] = ("", "")
) -> Response:
    subject, t = view.signed_in(request), view.speech(request)
    found = await alerts.shown(view.gateway(request), subject, number(request))
    return view.render(request, "pharmacy/alert.html", {
        **facts(request, "alerts", refusal), "shown": found, "typed": typed,
        "is_authority": subject.role in alerts.AUTHORITY, "show": prescriptions.show_number,
        "group": rules.group_of(found.alert.reason),
        "outcomes": [(each.value, t(f"pharmacy.alert.outcome.{each.value}"))
                     for each in found.outcomes],
    })  # fmt: skip  # Facts of one page.


async def ended(request: Request) -> Response:
    """Ends an alert with an outcome and words."""
    form = await view.form(request)
    typed = (view.field(form, "outcome"), view.field(form, "words"))
    try:
        await alerts.close(
            view.gateway(request), view.signed_in(request), number(request), *typed)
    except REFUSALS as refusal:
        return await _alert(request, refusal, typed)
    return view.redirect(request, f"/stock/alerts/{number(request)}")


ROUTES: tuple[Route, ...] = (
    Route(path="/stock/alerts", endpoint=listed, roles=_SEES),
    Route(path="/stock/alerts/{number}", endpoint=alert, roles=_SEES),
    Route(path="/stock/alerts/{number}", endpoint=ended, roles=_SEES, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="pharmacy.stock.tab.alerts", path="/stock/alerts", icon="warning",
             roles=alerts.AUTHORITY, order=68, main=frozenset({Role.INSPECTOR})),
)
