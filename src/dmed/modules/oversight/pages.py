"""Screens: who looked at a record, the review queue with its cases, canaries and bulk requests.

The person's page is opened by the person (a citizen, also for children and wards), or by a
registrar or doctor beside somebody who has no sign-in.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import clock
from dmed.kit.errors import NotFoundError
from dmed.modules.medid import api as medid
from dmed.modules.oversight import service
from dmed.modules.oversight.model import Case, Verdict
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

SEES_LOOKS = frozenset({Role.CITIZEN, Role.DOCTOR, Role.REGISTRAR})
"""The person, and who may open the page at the person's side."""


async def mine(request: Request) -> Response:
    """The citizen's own page, under an address that needs no number."""
    subject = view.signed_in(request)
    if not await view.gateway(request).persons(subject):
        raise NotFoundError("There is no card for this sign-in")
    return view.redirect(request, f"/card/{subject.patient}/looked")


async def looked(request: Request) -> Response:
    """Who looked at this record, in plain words."""
    return await _looked(request)


async def _looked(
    request: Request, *, fault: str = "", event: str = "", status: int = 200
) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    patient = request.path_params["id"]
    t = view.speech(request)
    lines = await service.looked(gateway, subject, patient)
    facts = {
        "persons": await service.persons(gateway, subject, t.language),
        "banner": await medid.banner(gateway, subject, patient, t.language),
        "lines": lines, "disputes": await service.disputes(gateway, subject, patient),
        "fault": fault, "event": event or request.query_params.get("dispute", ""),
        "done": request.query_params.get("done", ""),
    }
    return view.render(request, "oversight/looked.html", facts, status=status)


async def dispute(request: Request) -> Response:
    """Opens a case about one look."""
    form = await view.form(request)
    event, text = view.field(form, "event"), view.field(form, "said")
    if len(text) < 3:
        return await _looked(request, fault="oversight.say", event=event, status=422)
    patient = request.path_params["id"]
    number = await service.dispute(
        view.gateway(request), view.signed_in(request), patient, event, text)
    return view.redirect(request, f"/card/{patient}/looked?done={number}")


async def queue(request: Request) -> Response:
    """Open cases, the heaviest first; closed ones by ?closed=1."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    closed = request.query_params.get("closed") == "1"
    cases = await service.queue(gateway, subject, closed=closed)
    return view.render(request, "oversight/queue.html", {
        "cases": cases, "closed": closed, "names": await _names(request, cases),
        "found": request.query_params.get("found", ""),
        "canaries": await service.canaries(gateway, subject)
        if subject.role in service.REVIEWERS else None})


async def _names(request: Request, cases: list[Case]) -> dict[str, str]:
    known = await view.gateway(request).audits().people(
        [one.subject for one in cases] + [one.reviewer for one in cases])
    return {name: shown for name, (shown, _) in known.items()}


async def run(request: Request) -> Response:
    """Looks through the last day now."""
    gateway = view.gateway(request)
    subject = view.signed_in(request)
    await gateway.note(subject, "E", "unusual access looked for")
    await service.look_through(gateway)
    now = clock.now()
    made = await service.find_unusual(gateway, now - service.DAY, now)
    return view.redirect(request, f"/oversight?found={made}")


async def case(request: Request) -> Response:
    """One case with its reasons, and the reviewer's verdict."""
    number = _number(request)
    found = await service.case(view.gateway(request), view.signed_in(request), number)
    return view.render(request, "oversight/case.html", {
        "case": found, "names": await _names(request, [found]), "verdicts": list(Verdict)})


async def close(request: Request) -> Response:
    """Ends a case."""
    form = await view.form(request)
    number = _number(request)
    await service.close(
        view.gateway(request), view.signed_in(request), number, view.field(form, "verdict"),
        view.field(form, "words"))
    return view.redirect(request, "/oversight")


async def canary(request: Request) -> Response:
    """Marks an invented person."""
    form = await view.form(request)
    await service.mark_canary(
        view.gateway(request), view.signed_in(request), view.field(form, "patient"),
        view.field(form, "said"))
    return view.redirect(request, "/oversight")


async def bulk(request: Request) -> Response:
    """Requests for bulk reading."""
    return view.render(request, "oversight/bulk.html", {
        "requests": await service.bulks(view.gateway(request), view.signed_in(request)),
        "purposes": service.PURPOSES, "now": clock.now()})


async def ask_bulk(request: Request) -> Response:
    """Asks for bulk reading."""
    form = await view.form(request)
    days = view.field(form, "days", "7")
    await service.ask_bulk(
        view.gateway(request), view.signed_in(request), view.field(form, "purpose"),
        view.field(form, "said"), days=int(days) if days.isdecimal() and len(days) < 4 else 0,
        standing=bool(form.get("standing")))
    return view.redirect(request, "/oversight/bulk")


async def approve_bulk(request: Request) -> Response:
    """The second person's approval."""
    await service.approve_bulk(
        view.gateway(request), view.signed_in(request), _number(request))
    return view.redirect(request, "/oversight/bulk")


def _number(request: Request) -> int:
    text = request.path_params["number"]
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


_REVIEW = service.REVIEWERS
_CASES = service.SEES_CASES
ROUTES: tuple[Route, ...] = (
    Route(path="/my/looked", endpoint=mine, roles=frozenset({Role.CITIZEN})),
    Route(path="/card/{id}/looked", endpoint=looked, roles=SEES_LOOKS),
    Route(path="/card/{id}/looked", endpoint=dispute, roles=SEES_LOOKS, methods=("POST",)),
    Route(path="/oversight", endpoint=queue, roles=_CASES),
    Route(path="/oversight/run", endpoint=run, roles=_REVIEW, methods=("POST",)),
    Route(path="/oversight/canary", endpoint=canary, roles=_REVIEW, methods=("POST",)),
    Route(path="/oversight/bulk", endpoint=bulk, roles=_REVIEW, audit="bulk requests"),
    Route(path="/oversight/bulk", endpoint=ask_bulk, roles=_REVIEW, methods=("POST",)),
    Route(path="/oversight/bulk/{number}", endpoint=approve_bulk, roles=_REVIEW,
          methods=("POST",)),
    Route(path="/oversight/case/{number}", endpoint=case, roles=_CASES),
    Route(path="/oversight/case/{number}", endpoint=close, roles=_CASES, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="oversight.menu", path="/oversight", icon="warning", order=60, roles=_CASES,
             main=frozenset({Role.INSPECTOR})),
    MenuItem(key="oversight.mine", path="/my/looked", icon="journal", order=30,
             roles=frozenset({Role.CITIZEN})),
)
