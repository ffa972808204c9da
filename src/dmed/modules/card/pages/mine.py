"""The citizen's own card in plain words, and those of children and wards; disputing an entry."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import NotFoundError
from dmed.modules.card import api
from dmed.modules.card.pages import drawn
from dmed.modules.medid import api as medid
from dmed.pages import view
from dmed.trust.manifest import Route
from dmed.trust.model import Role

CITIZENS = frozenset({Role.CITIZEN})
TABS = ("summary", "problems", "medicines", "allergies", "results", "vaccinations", "visits",
        "documents", "social")  # fmt: skip  # A list of names reads better filled.


async def _person(request: Request) -> str:
    """The Patient of the page: the one asked for if the citizen answers for him, else himself."""
    subject = view.signed_in(request)
    persons = await view.gateway(request).persons(subject)
    asked = request.path_params.get("id", subject.patient)
    if asked not in persons:
        gateway = view.gateway(request)
        await gateway.note(subject, "E", f"a card that is not the own: {asked[:64]}", outcome=404)
        raise NotFoundError("There is no such card among yours")
    return str(asked)


async def _facts(request: Request, found: api.Card) -> dict[str, Any]:
    gateway, subject = view.gateway(request), view.signed_in(request)
    language = view.speech(request).language
    persons = await gateway.persons(subject)
    names = [(one, (await medid.banner(gateway, subject, one, language)).name)
             for one in persons] if len(persons) > 1 else []
    id_ = found.banner.id
    return {
        "card": found, "tabs": TABS, "persons": names,
        "base": "/my" if id_ == subject.patient else f"/my/card/{id_}",
        "dispute_at": f"/my/card/{id_}/dispute",
        "sent": "sent" in request.query_params,
    }  # fmt: skip  # Facts.


async def card(request: Request) -> Response:
    """One part of the own card, or of a child's or ward's."""
    tab = request.query_params.get("tab", TABS[0])
    if tab not in TABS:
        raise NotFoundError(f"The card has no part {tab[:40]!r}")
    found = await api.open_card(
        view.gateway(request), view.signed_in(request), await _person(request),
        view.speech(request).language, tab, request.query_params.get("until", ""))
    return view.render(request, "card/my.html", await _facts(request, found))


async def measurement(request: Request) -> Response:
    """One measurement through the years, with what the band means."""
    t = view.speech(request)
    found, series = await api.history(
        view.gateway(request), view.signed_in(request), await _person(request),
        request.path_params["code"], t.language)
    facts = await _facts(request, found)
    return view.render(request, "card/my_measurement.html", {
        **facts, "series": series, "picture": drawn.picture(series, t),
        "growth": drawn.of_growth(found, series, t)})


async def ask(request: Request) -> Response:
    """The form: what is wrong with this entry?"""
    return await _ask(request, "")


async def _ask(request: Request, fault: str, typed: str = "") -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    t = view.speech(request)
    about = request.query_params.get("about", "")
    entry = await api.entry_of(gateway, subject, await _person(request), about, t.language)
    found = await api.open_card(gateway, subject, await _person(request), t.language, "allergies")
    facts = await _facts(request, found)
    return view.render(
        request, "card/dispute.html",
        {**facts, "entry": entry, "about": about, "fault": fault, "typed": typed},
        status=422 if fault else 200)


async def dispute(request: Request) -> Response:
    """Writes the objection down and marks the entry."""
    form = await view.form(request)
    said, about = view.field(form, "said"), request.query_params.get("about", "")
    if len(said) < api.SAID_MIN:
        return await _ask(request, "my.dispute.say", said)
    person = await _person(request)
    await api.dispute(view.gateway(request), view.signed_in(request), person, about, said)
    subject = view.signed_in(request)
    place = "/my" if person == subject.patient else f"/my/card/{person}"
    return view.redirect(request, f"{place}?sent=1")


async def printed(request: Request) -> Response:
    """The own summary as PDF."""
    made = await api.card_pdf(
        view.gateway(request), view.signed_in(request), await _person(request),
        view.speech(request).language)
    return Response(made, media_type="application/pdf", headers={"Cache-Control": "no-store"})


async def exported(request: Request) -> Response:
    """The own International Patient Summary as a file."""
    made = await api.summary(
        view.gateway(request), view.signed_in(request), await _person(request),
        view.speech(request).language)
    return Response(made, media_type="application/fhir+json", headers={
        "Cache-Control": "no-store",
        "Content-Disposition": 'attachment; filename="summary.fhir.json"'})


ROUTES: tuple[Route, ...] = (
    Route(path="/my", endpoint=card, roles=CITIZENS),
    Route(path="/my/card/{id}", endpoint=card, roles=CITIZENS),
    Route(path="/my/results/{code}", endpoint=measurement, roles=CITIZENS),
    Route(path="/my/card/{id}/results/{code}", endpoint=measurement, roles=CITIZENS),
    Route(path="/my/card/{id}/dispute", endpoint=ask, roles=CITIZENS),
    Route(path="/my/card/{id}/dispute", endpoint=dispute, roles=CITIZENS, methods=("POST",)),
    Route(path="/my/card/{id}/card.pdf", endpoint=printed, roles=CITIZENS, audit="card printed"),
    Route(path="/my/card/{id}/summary.json", endpoint=exported, roles=CITIZENS,
          audit="summary exported"),
)
