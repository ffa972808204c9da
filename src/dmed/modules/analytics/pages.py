"""Screens: my prescribing for the doctor, the staff's for a head, the country's for an inspector,
and the cases.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.modules.analytics.model import Outcome
from dmed.modules.analytics.rules.definitions import definitions
from dmed.modules.analytics.service import cases, figures, showing
from dmed.modules.facilities import api as facilities
from dmed.modules.medicines import api as medicines
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role


async def start(request: Request) -> Response:
    """The own figures of a doctor; for others those they answer for."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    await gateway.note(subject, "R", "indicators of prescribing")
    if subject.role is Role.DOCTOR:
        sheet = await showing.own(gateway, subject)
        return view.render(request, "analytics/sheet.html", {
            "sheet": sheet, "is_own": True, "definitions": definitions(),
            "is_counting": await showing.is_counting(gateway)})
    level, at = request.query_params.get("by", ""), request.query_params.get("at", "")
    is_wide = subject.role in cases.INSPECTORS
    lines = (await showing.country(gateway, subject, level) if is_wide and level != "prescriber"
             else await showing.prescribers(gateway, subject, at))
    levels = (*showing.LEVELS, "prescriber") if is_wide else ()
    return view.render(request, "analytics/many.html", {
        "lines": lines, "levels": levels, "level": level if level in levels else showing.LEVELS[0],
        "cases": await cases.opened(gateway, subject), "definitions": definitions(),
        "leading": [definitions()[id_] for id_ in showing.LEADING],
        "regions": dict(facilities.regions(view.speech(request).language)),
        "names": await _names(request), "links": level == "prescriber" or not is_wide,
        "house": await _house(request, at) if is_wide and level == "prescriber" else "",
        "is_counting": await showing.is_counting(gateway)})


async def _house(request: Request, id_: str) -> str:
    found = (await figures.staff(view.gateway(request))).houses.get(id_)
    return found.name if found else ""


async def _names(request: Request) -> dict[str, str]:
    known = await figures.staff(view.gateway(request))
    return {id_: post.name for id_, post in known.posts.items()}


async def prescriber(request: Request) -> Response:
    """The figures of one prescriber for those who answer for them."""
    sheet = await showing.of_prescriber(
        view.gateway(request), view.signed_in(request), request.path_params["id"])
    return view.render(request, "analytics/sheet.html", {
        "sheet": sheet, "is_own": False, "definitions": definitions(), "is_counting": False})


async def case(request: Request) -> Response:
    """One case."""
    found = await cases.case(view.gateway(request), view.signed_in(request), _number(request))
    return view.render(request, "analytics/case.html", {
        "case": found, "definition": definitions().get(found.indicator),
        "names": await _names(request), "outcomes": list(Outcome),
        "may_work": view.signed_in(request).role in cases.INSPECTORS,
        "sees_lines": view.signed_in(request).role in cases.SEES_LINES})


async def act(request: Request) -> Response:
    """The prescriber answers; an inspector takes it, notes or closes it."""
    gateway, subject, number = view.gateway(request), view.signed_in(request), _number(request)
    form = await view.form(request)
    words, what = view.field(form, "words"), view.field(form, "act")
    if what == "answer":
        await cases.answer(gateway, subject, number, words)
    elif what == "take":
        await cases.take(gateway, subject, number)
    elif what == "close":
        await cases.close(gateway, subject, number, view.field(form, "outcome"), words)
    else:
        await cases.note(gateway, subject, number, words)
    return view.redirect(request, f"/indicators/case/{number}")


async def behind(request: Request) -> Response:
    """The prescriptions behind a case, page by page."""
    gateway, subject, t = view.gateway(request), view.signed_in(request), view.speech(request)
    asked = request.query_params.get("page", "")
    at = int(asked) - 1 if asked.isascii() and asked.isdecimal() and len(asked) < 6 else 0
    found = await showing.behind(gateway, subject, _number(request), at)
    houses = (await figures.staff(gateway)).houses
    return view.render(request, "analytics/behind.html", {
        "found": found, "case": found.case, "definition": definitions().get(found.case.indicator),
        "is_own": subject.role is Role.DOCTOR,
        "medicines": {one.atc: _medicine(one.atc, t.language) for one in found.lines},
        "pharmacies": {one.pharmacy: houses[one.pharmacy].name for one in found.lines
                       if one.pharmacy in houses}})


def _medicine(atc: str, language: str) -> str:
    key = medicines.inn_of_atc(atc) if atc else ""
    return medicines.inn(key).name(language) if key else atc


def _number(request: Request) -> int:
    text = request.path_params["number"]
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


ROUTES: tuple[Route, ...] = (
    Route(path="/indicators", endpoint=view.screen(start), roles=cases.SEES_FIGURES),
    Route(path="/indicators/prescriber/{id}", endpoint=view.screen(prescriber),
          roles=cases.SEES_OTHERS),
    Route(path="/indicators/case/{number}", endpoint=view.screen(case), roles=cases.SEES_FIGURES),
    Route(path="/indicators/case/{number}/lines", endpoint=view.screen(behind),
          roles=cases.SEES_FIGURES),
    Route(path="/indicators/case/{number}", endpoint=view.screen(act), roles=cases.SEES_FIGURES,
          methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="analytics.menu", path="/indicators", icon="bars", order=62,
             roles=cases.SEES_FIGURES, main=frozenset({Role.INSPECTOR})),
)
