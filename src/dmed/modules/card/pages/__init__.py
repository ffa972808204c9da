"""Screens of the unified card."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import NotFoundError
from dmed.modules.card.pages import entries
from dmed.modules.medid import api as medid
from dmed.pages import view
from dmed.trust.manifest import Route
from dmed.trust.model import Role

TABS = ("summary", "timeline", "problems", "medicines", "results", "visits", "documents")
SEES = frozenset({Role.DOCTOR, Role.REGISTRAR})


async def card(request: Request) -> Response:
    """The card: banner and one tab; htmx takes the tab alone."""
    tab = request.query_params.get("tab", TABS[0])
    if tab not in TABS:
        raise NotFoundError(f"The card has no tab {tab!r}")
    language = view.speech(request).language
    found = await medid.card(
        view.gateway(request), view.signed_in(request), request.path_params["id"], language
    )
    is_open = await view.gateway(request).is_in_care(view.signed_in(request), found.banner.id)
    facts = {"card": found, "tab": tab, "is_closed": not is_open,
             "registered": "registered" in request.query_params}  # fmt: skip  # Facts.
    return view.render(request, "card/card.html", facts)


ROUTES: tuple[Route, ...] = (
    Route(path="/card/{id}", endpoint=card, roles=SEES),
    *entries.ROUTES,
)
