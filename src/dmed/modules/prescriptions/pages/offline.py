"""The page on which a doctor writes while the line is down; the browser keeps it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.pages import offline as shells
from dmed.pages import view
from dmed.trust.manifest import ANYBODY, MenuItem, Route
from dmed.trust.model import Role

DOCTORS = frozenset({Role.DOCTOR})
PAGE = "/prescribing/offline"
_FILES = ("prescribing.js",)
_PLAIN = ("/static/prescribing-desk.js", "/static/prescribing-rules.js",
          "/static/vendor/qrcode/qrcode.js", "/prescribing.webmanifest")  # fmt: skip  # A list.
"""What the browser keeps of this page, beside what every such page has."""
_OTHERS = {
    "as_needed": "prescribe.as_needed", "days": "prescribe.days",
    "days_after": "prescribe.days_after", "dosage": "prescriptions.dosage.line",
    "dose": "prescribe.dose", "nothing": "search.nothing", "quantity": "prescribe.quantity",
    "remove": "prescribe.remove", "times": "prescribe.times",
    "times_after": "prescribe.times_after", "until": "rx.until",
}  # fmt: skip  # One table.
"""Words of the ordinary workspace, by their names in this page."""


async def page(request: Request) -> Response:
    """The form that the browser keeps for the time without a line; it names no patient."""
    facts = shells.facts(request, "prescriptions.offline.", _FILES, _PLAIN, _OTHERS)
    return view.render(request, "prescriptions/offline.html", facts)


async def manifest(request: Request) -> Response:
    """Prescribing without a line as an app that can be installed."""
    return shells.manifest(request, "/prescribing", PAGE, "prescriptions.offline.menu")


ROUTES: tuple[Route, ...] = (
    Route(path=PAGE, endpoint=page, roles=DOCTORS),
    Route(path="/prescribing-worker.js", endpoint=shells.worker, roles=ANYBODY),
    Route(path="/prescribing.webmanifest", endpoint=manifest, roles=ANYBODY),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="prescriptions.offline.menu", path=PAGE, icon="sign", roles=DOCTORS, order=61),
)
