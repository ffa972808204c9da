"""The screen of claims to the fund: how they stand, and differences that a person settles."""

from __future__ import annotations

from datetime import date

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError, NotFoundError
from dmed.modules.insurance import tables
from dmed.modules.insurance.model import State
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

_ROLES = frozenset({Role.ADMINISTRATOR, Role.INSPECTOR})


async def start(request: Request) -> Response:
    """Counts by state, the latest claims, and open differences. No person is named."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    await gateway.note(subject, "E", "claims to the insurance fund")
    async with gateway.unit(subject) as unit:
        facts = {
            "claims": await tables.latest(unit), "counts": await tables.states(unit),
            "differences": await tables.differences(unit), "states": list(State),
            "compared": await tables.compared(unit), "is_connected": bool(gateway.settings.fund)}
    return view.render(request, "insurance/claims.html", facts)


async def settle(request: Request) -> Response:
    """A person dealt with a difference."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    form = await view.form(request)
    key, kind = view.field(form, "key")[:64], view.field(form, "kind")[:32]
    try:
        day = date.fromisoformat(view.field(form, "day"))
    except ValueError as wrong:
        raise InvalidError("The day of the difference cannot be read") from wrong
    async with gateway.unit(subject) as unit:
        if not await tables.settle(unit, day, key, kind, subject.user):
            raise NotFoundError("There is no such open difference")
    await gateway.note(subject, "E", f"difference {day} {key} {kind} settled")
    return view.redirect(request, "/insurance")


ROUTES: tuple[Route, ...] = (
    Route(path="/insurance", endpoint=view.screen(start), roles=_ROLES),
    Route(path="/insurance", endpoint=view.screen(settle), roles=_ROLES, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="insurance.menu", path="/insurance", icon="report", order=64, roles=_ROLES),
)
