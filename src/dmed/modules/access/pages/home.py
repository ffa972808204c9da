"""My work today of each role, the language, and the one search box."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dmed.kit import clock, i18n
from dmed.kit.errors import NotFoundError
from dmed.modules.access import rules, service
from dmed.modules.access.rules import Place
from dmed.modules.medicines import api as medicines
from dmed.modules.medid import api as medid
from dmed.modules.pharmacy import api as pharmacy
from dmed.modules.prescriptions import api as prescriptions
from dmed.pages import view
from dmed.trust.guard import is_secure, session_cookie
from dmed.trust.manifest import SIGNED_IN
from dmed.trust.model import Role, Subject

_YEAR_SECONDS = 31_536_000


async def language(request: Request) -> Response:
    """Keeps the chosen language, in the session too, and goes back to where the reader was."""
    form = await view.form(request)
    code = view.field(form, "code")
    if code not in i18n.LANGUAGES:
        raise NotFoundError(f"The language {code[:20]!r} is not shipped")
    cookie = session_cookie(request.headers.get("cookie", "").encode("latin-1"))
    if cookie and view.subject_of(request) is not None:
        await request.app.state.guard.identity.set_language(cookie, code)
    answer = RedirectResponse(view.local_path(view.field(form, "next", "/")), 303)
    is_safe = is_secure(request.scope, request.app.state.settings)
    name = f"__Host-{view.LANGUAGE_COOKIE}" if is_safe else view.LANGUAGE_COOKIE
    answer.set_cookie(name, code, max_age=_YEAR_SECONDS, samesite="lax", secure=is_safe,
                      httponly=True)
    return answer


async def home(request: Request) -> Response:
    """My work today; the pharmacist's is the counter."""
    subject = view.signed_in(request)
    if subject.role == Role.PHARMACIST:
        return RedirectResponse("/counter", 303)
    if subject.role == Role.HEAD:
        return RedirectResponse("/staff", 303)
    if subject.role == Role.INSPECTOR:
        return RedirectResponse("/oversight", 303)
    if subject.role == Role.CITIZEN:
        return RedirectResponse("/my", 303)
    facts: dict[str, Any] = {"today": clock.today()}
    gateway = view.gateway(request)
    if subject.role == Role.DOCTOR:
        facts["drafts"] = await _drafts(request, subject)
        facts["signed"] = await service.signed_lately(gateway, subject)
        facts["visits"] = await service.visits_lately(gateway, subject)
    elif subject.role == Role.REGISTRAR:
        facts["registered"] = await service.registered_lately(gateway, subject)
    elif subject.role == Role.ADMINISTRATOR:
        facts["accounts"] = await request.app.state.guard.identity.accounts(most=20)
    return view.render(request, "access/home.html", facts)


async def _drafts(request: Request, subject: Subject) -> list[dict[str, Any]]:
    gateway, t = view.gateway(request), view.speech(request)
    rows = []
    for draft in (await prescriptions.drafts(gateway, subject))[:8]:
        banner = await medid.banner(gateway, subject, draft.patient, t.language)
        names = service.medicine_names([item.preparation for item in draft.items], t.language)
        rows.append({"draft": draft, "person": banner.name, "medicines": ", ".join(names)})
    return rows


async def search(request: Request) -> Response:
    """The one box: persons, a prescription, medicines, screens; as list for htmx, else as page."""
    text = request.query_params.get("q", "").strip()[: rules.QUERY_CHARACTERS_MAX]
    found = await _found(request, view.signed_in(request), text) if text else []
    template = "access/found.html" if view.is_fragment(request) else "access/search.html"
    return view.render(request, template, {"found": found, "q": text})


async def _found(request: Request, subject: Subject, text: str) -> list[dict[str, str]]:
    gateway, t = view.gateway(request), view.speech(request)
    rows: list[dict[str, str]] = []
    if subject.role in rules.SEES_PRESCRIPTIONS and pharmacy.is_prescription_code(text):
        number = service.digits_of_number(text)
        counter = subject.role == Role.PHARMACIST
        rows.append(
            {
                "icon": "prescription",
                "title": t("search.prescription", number=number),
                "detail": "",
                "href": f"/counter?number={number}" if counter else f"/prescriptions/{number}",
            }
        )
    elif rules.may_be_person(text, subject.role):
        rows += [service.person_row(t, hit) for hit in await medid.find(gateway, subject, text, 8)]
    if rules.may_be_medicine(text, subject.role):
        card = rules.card_in(request.headers.get("hx-current-url", ""))
        rows += [
            service.medicine_row(t, hit, card if subject.role == Role.DOCTOR else "")
            for hit in medicines.search(text, t.language, 5)
        ]
    named = [(place, t(place.key)) for place in PLACES]
    rows += [
        {"icon": place.icon, "title": title, "detail": t("search.screen"), "href": place.path}
        for place, title in rules.places_for(text, subject.role, named)
    ]
    return rows


PLACES: tuple[Place, ...] = (
    Place("menu.home", "/", "home", SIGNED_IN),
    Place("menu.persons", "/persons", "persons", rules.SEES_PERSONS),
    Place("persons.new", "/persons/new", "person-add", frozenset({Role.REGISTRAR, Role.DOCTOR})),
    Place("menu.counter", "/counter", "scan", frozenset({Role.PHARMACIST})),
    Place("counter.today", "/counter/today", "journal", frozenset({Role.PHARMACIST})),
    Place("me.title", "/me", "person", SIGNED_IN),
    Place("access.apps", "/apps", "grid", SIGNED_IN),
    Place("gallery.title", "/pages/gallery", "grid", SIGNED_IN),
)
"""Screens that the search box knows by name."""
