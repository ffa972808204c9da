"""The gallery: each component once, with invented data; it is their documentation and test."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import NotFoundError
from dmed.pages import chart, view

COMPONENTS: tuple[str, ...] = (
    "button", "field", "picker", "badge", "card", "table", "tabs", "timeline", "chart", "note",
    "scan", "person", "progress", "empty", "dialog", "icon",
)  # fmt: skip  # A list of names reads better filled.
ICONS: tuple[str, ...] = (
    "home", "person", "persons", "person-add", "flask", "sign", "bars", "scan", "box", "journal",
    "pill", "prescription", "search", "theme", "visit", "syringe", "problem", "report", "print",
    "warning", "camera", "key", "plus", "close", "institution", "grid", "settings",
)  # fmt: skip  # Same.


async def page(request: Request) -> Response:
    """Every component with one example, in the reader's language, light or dark. NotFoundError in
    an installation that is no demo: what is there to try things out is not served to staff.
    """
    guard = getattr(request.app.state, "guard", None)
    if guard is not None and not await guard.identity.demo_accounts():
        raise NotFoundError("There is no gallery here: this installation is no demo")
    return view.render(request, "gallery.html", {
        "components": COMPONENTS,
        "icons": ICONS,
        "drawn": chart.trend(
            [("2026-01-10", 121.0), ("2026-03-12", 118.0), ("2026-06-02", 112.0),
             ("2026-08-20", 104.0), ("2026-11-18", 98.0)], 110, 150),
    })  # fmt: skip  # Points of a line read better in rows.
