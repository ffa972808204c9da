"""The card for those who treat or register: its parts, one measurement, print and export."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import NotFoundError
from dmed.modules.card import api
from dmed.modules.card.pages import drawn
from dmed.modules.oversight import api as oversight
from dmed.pages import view
from dmed.trust.manifest import Route
from dmed.trust.model import Role

SEES = frozenset({Role.DOCTOR, Role.REGISTRAR})
TREATS = frozenset({Role.DOCTOR})
LOOKED = "looked"
LOOKED_MAX = 50


async def beside(request: Request, patient_id: str) -> dict[str, Any]:
    """What the template of the card needs where it stands beside a workspace."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    found = await api.open_card(gateway, subject, patient_id, view.speech(request).language)
    return {"card": found}


async def card(request: Request) -> Response:
    """The card: banner and one part."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    t = view.speech(request)
    tab = request.query_params.get("tab", api.TABS[0])
    id_ = request.path_params["id"]
    if tab == LOOKED:
        found = await api.open_card(gateway, subject, id_, t.language, "allergies")
        found = msgspec.structs.replace(found, tab=LOOKED)
        lines = (await oversight.looked(gateway, subject, found.banner.id))[:LOOKED_MAX]
    else:
        until = request.query_params.get("until", "")
        found, lines = await api.open_card(gateway, subject, id_, t.language, tab, until), []
    is_open = await gateway.is_in_care(subject, found.banner.id)
    return view.render(request, "card/card.html", {
        "card": found, "is_closed": not is_open, "lines": lines, "asked": id_,
        "registered": "registered" in request.query_params})


async def measurement(request: Request) -> Response:
    """One measurement through the years: picture, table, sources."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    t = view.speech(request)
    found, series = await api.history(
        gateway, subject, request.path_params["id"], request.path_params["code"], t.language)
    return view.render(request, "card/measurement.html", {
        "card": found, "series": series, "picture": drawn.picture(series, t),
        "growth": drawn.of_growth(found, series, t)})


async def printed(request: Request) -> Response:
    """The summary as PDF; the print is written to the audit."""
    made = await api.card_pdf(
        view.gateway(request), view.signed_in(request), request.path_params["id"],
        view.speech(request).language)
    return Response(made, media_type="application/pdf", headers={"Cache-Control": "no-store"})


async def exported(request: Request) -> Response:
    """The International Patient Summary as a file."""
    made = await api.summary(
        view.gateway(request), view.signed_in(request), request.path_params["id"],
        view.speech(request).language)
    return Response(made, media_type="application/fhir+json", headers={
        "Cache-Control": "no-store",
        "Content-Disposition": 'attachment; filename="summary.fhir.json"'})


async def answer(request: Request) -> Response:
    """The answer to what the person said against an entry."""
    form = await view.form(request)
    id_ = request.path_params["id"]
    found = await api.answer_dispute(
        view.gateway(request), view.signed_in(request), id_, request.path_params["dispute"],
        view.field(form, "said"))
    if not found:
        raise NotFoundError("There is no such objection on this card")
    return view.redirect(request, f"/card/{id_}?tab=problems")


ROUTES: tuple[Route, ...] = (
    Route(path="/card/{id}", endpoint=card, roles=SEES),
    Route(path="/card/{id}/results/{code}", endpoint=measurement, roles=TREATS),
    Route(path="/card/{id}/card.pdf", endpoint=printed, roles=TREATS, audit="card printed"),
    Route(path="/card/{id}/summary.json", endpoint=exported, roles=TREATS,
          audit="summary exported"),
    Route(path="/card/{id}/disputes/{dispute}", endpoint=answer, roles=TREATS, methods=("POST",)),
)
