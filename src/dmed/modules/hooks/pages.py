"""The screen of how well alerts work: which rule is heeded, which is passed, which to look at."""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.clock import today
from dmed.modules.hooks import rules
from dmed.modules.hooks.operations import DAYS_USUAL, READERS
from dmed.modules.prescriptions import api as prescriptions
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route

SPANS = (30, DAYS_USUAL, 365)
"""Days that can be looked at."""


async def precision(request: Request) -> Response:
    """Each rule over the last days: shown, passed with which reason, heeded, and what to do."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    asked = request.query_params.get("days", "")
    days = next((span for span in SPANS if str(span) == asked), DAYS_USUAL)
    until = today()
    since = until - timedelta(days=days - 1)
    found = await prescriptions.alert_precision(gateway, subject, since, until)
    await gateway.note(subject, "E", f"precision of alerts over {days} days")
    asking = [one for one in found if one.tier == "interrupt"]
    return view.render(request, "hooks/precision.html", {
        "lines": [(one, rules.advice(one)) for one in found], "since": since, "until": until,
        "days": days, "spans": SPANS, "rule_key": rules.rule_key,
        "shown": sum(one.shown for one in asking),
        "overridden": sum(one.overridden for one in asking),
        "for_review": [one for one in found if one.is_for_review]})


ROUTES: tuple[Route, ...] = (
    Route(path="/alerts", endpoint=view.screen(precision), roles=READERS),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="hooks.menu", path="/alerts", icon="problem", order=63, roles=READERS),
)
