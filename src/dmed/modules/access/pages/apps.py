"""Apps of others: opened for a person's card, and what a person allows them (the consent screen).

SMART App Launch: https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, NotFoundError
from dmed.modules.access import rules
from dmed.modules.access.pages.door import cookie_of, guard_of, to_door
from dmed.modules.medid import api as medid
from dmed.pages import view
from dmed.trust import strength
from dmed.trust.model import Role, Subject
from dmed.trust.oauth import requests
from dmed.trust.oauth.addresses import Addresses, addresses
from dmed.trust.oauth.clients import Client, origin
from dmed.trust.oauth.errors import OAuthError

_FOUND_MAX = 8


def _at(request: Request) -> Addresses:
    return addresses(request.scope, request.app.state.settings)


def answer_to(response: Response, *places: str) -> Response:
    """Lets the form of this page lead to an app: its policy names the app's origin beside ours."""
    allowed = " ".join(dict.fromkeys(origin(place) for place in places if place))
    policy = response.headers["Content-Security-Policy"]
    response.headers["Content-Security-Policy"] = policy.replace(
        "form-action 'self'", f"form-action 'self' {allowed}".rstrip()
    )
    return response


async def authorize(request: Request) -> Response:
    """Where an app sends its person: checked, kept, and put before them.

    A fault of the client or its address is shown here; any other goes back to the app.
    """
    guard, at = guard_of(request), _at(request)
    try:
        given = requests.once(request.query_params.multi_items())
    except OAuthError as fault:
        raise InvalidError(fault.description) from fault
    client = await guard.clients.get(given.get("client_id", ""))
    if client is None:
        raise InvalidError("The app is not registered here")
    place = requests.place_of(client, given)
    try:
        wanted = requests.read(client, given, at.fhir)
        subject = view.subject_of(request)
        if subject is None and given.get("prompt") != "none":
            return to_door(request)
        subject = _person(subject)
        if strength.must_prove(
            given, await guard.grants.signed_in_at(cookie_of(request)), clock.now()
        ):
            return await _again(request, given)
        number = await guard.grants.ask(subject, cookie_of(request), wanted)
        let_in = await _unasked(request, subject, number, strength.prompts(given))
    except OAuthError as fault:
        values = {"error": fault.code, "error_description": fault.description,
                  "state": given.get("state", "")}  # fmt: skip  # One answer.
        return RedirectResponse(requests.answer(place, values, at.issuer), 303)
    return let_in or RedirectResponse(f"/oauth/consent?request={number}", 303)


async def _again(request: Request, given: Mapping[str, str]) -> Response:
    """To the door for a sign-in of now: the session that there is ends."""
    if "none" in strength.prompts(given):
        raise OAuthError("login_required", "the sign-in is older than the app allows")
    await guard_of(request).identity.sign_out(cookie_of(request))
    return to_door(request, urlencode(strength.proved(given)))


async def _unasked(
    request: Request, subject: Subject, number: str, prompt: list[str]
) -> Response | None:
    """The answer without a question where one is remembered and the app does not forbid that."""
    found = None if "consent" in prompt else await _remembered(request, subject, number)
    if found is None and "none" in prompt:
        raise OAuthError("consent_required", "the person must be asked")
    return found


async def _remembered(request: Request, subject: Subject, number: str) -> Response | None:
    """The answer to the app that the person remembered; None where the person must be asked."""
    grants, cookie = guard_of(request).grants, cookie_of(request)
    asked = await grants.asked(number, cookie)
    if asked.waits_for_patient:
        return None
    ticks = await grants.remembered.ticks(subject.user, asked.client.id, asked.scopes)
    if ticks is None:
        return None
    code = await grants.allow(subject, number, cookie, ticks)
    said = f"app {asked.client.id} allowed as remembered"
    await view.gateway(request).note(subject, "E", said, patient=asked.patient)
    values = {"code": code, "state": asked.state}
    return RedirectResponse(
        requests.answer(asked.redirect_uri, values, _at(request).issuer), 303)


def _person(subject: Subject | None) -> Subject:
    """Who may allow something to an app: a person at a page session."""
    if subject is None:
        raise OAuthError("login_required", "nobody is signed in")
    if subject.scopes.is_app or subject.role == Role.SERVICE:
        raise OAuthError("access_denied", "this account is no person's")
    return subject


async def consent_page(request: Request) -> Response:
    """First whose record, where the app wants one; then what it may do, each right with a tick."""
    subject = view.signed_in(request)
    number = request.query_params.get("request", "")
    asked = await guard_of(request).grants.asked(number, cookie_of(request))
    facts: dict[str, Any] = {"asked": asked, "number": number, "q": "", "found": [],
                             "person": None, "place": origin(asked.redirect_uri)}  # fmt: skip
    if asked.waits_for_patient:
        text = request.query_params.get("q", "").strip()[: rules.QUERY_CHARACTERS_MAX]
        facts |= {"q": text, "found": await _persons(request, subject, text)}
        shown = view.render(request, "access/pick.html", facts)
    else:
        if asked.patient:
            t = view.speech(request)
            gateway = view.gateway(request)
            facts["person"] = await medid.banner(gateway, subject, asked.patient, t.language)
        facts["rights"] = rules.rights_of(asked.scopes)
        shown = view.render(request, "access/consent.html", facts)
    return answer_to(shown, asked.redirect_uri)


async def _persons(request: Request, subject: Subject, text: str) -> list[Any]:
    if subject.role == Role.CITIZEN:
        language = view.speech(request).language
        gateway = view.gateway(request)
        return [await medid.banner(gateway, subject, each, language)
                for each in await gateway.persons(subject)]
    if subject.role not in rules.SEES_PERSONS or len(text) < rules.PERSONS_MIN_CHARACTERS:
        return []
    return await medid.find(view.gateway(request), subject, text, _FOUND_MAX)


async def pick(request: Request) -> Response:
    """The person whose record the app gets, if the reader may see that card."""
    subject = view.signed_in(request)
    form = await view.form(request)
    number, patient = view.field(form, "request"), view.field(form, "patient")
    await view.gateway(request).read(subject, "Patient", patient)
    await guard_of(request).grants.choose_patient(number, cookie_of(request), patient)
    asked = await guard_of(request).grants.asked(number, cookie_of(request))
    try:
        let_in = await _remembered(request, subject, number)
    except OAuthError as fault:
        values = {"error": fault.code, "error_description": fault.description,
                  "state": asked.state}  # fmt: skip  # One answer.
        return RedirectResponse(
            requests.answer(asked.redirect_uri, values, _at(request).issuer), 303)
    if let_in is not None:
        return let_in
    return RedirectResponse(f"/oauth/consent?request={number}", 303)


async def consent(request: Request) -> Response:
    """Yes to what is ticked, or no; either goes back to the app."""
    subject = view.signed_in(request)
    form = await view.form(request)
    number, cookie = view.field(form, "request"), cookie_of(request)
    grants, at = guard_of(request).grants, _at(request)
    asked = await grants.asked(number, cookie)
    if view.field(form, "answer") != "allow":
        await grants.deny(number, cookie)
        values = {"error": "access_denied", "error_description": "the person said no"}
    else:
        ticks = [value for value in form.getlist("tick") if isinstance(value, str)]
        try:
            values = {"code": await grants.allow(subject, number, cookie, ticks)}
            if form.get("remember"):
                await grants.remembered.keep(subject.user, asked.client.id, asked.scopes, ticks)
        except OAuthError as fault:
            values = {"error": fault.code, "error_description": fault.description}
    said = f"app {asked.client.id} {'allowed' if 'code' in values else 'not allowed'}"
    await view.gateway(request).note(subject, "E", said, patient=asked.patient)
    target = requests.answer(asked.redirect_uri, {**values, "state": asked.state}, at.issuer)
    return RedirectResponse(target, 303)


async def apps(request: Request) -> Response:
    """The apps that can be opened from here, for the person of `patient`."""
    subject = view.signed_in(request)
    patient = request.query_params.get("patient", "")
    text = request.query_params.get("q", "").strip()[: rules.QUERY_CHARACTERS_MAX]
    t = view.speech(request)
    found = [each for each in await guard_of(request).clients.all() if each.launch_uri]
    facts = {
        "clients": found,
        "patient": patient,
        "person": await medid.banner(view.gateway(request), subject, patient, t.language)
        if patient
        else None,
        "q": text,
        "found": await _persons(request, subject, text),
    }
    shown = view.render(request, "access/apps.html", facts)
    return answer_to(shown, *(each.launch_uri for each in found))


async def open_app(request: Request) -> Response:
    """EHR launch: the app is opened once for this person's card."""
    subject = view.signed_in(request)
    form = await view.form(request)
    patient = view.field(form, "patient")
    client: Client | None = await guard_of(request).clients.get(view.field(form, "client"))
    if client is None or not client.launch_uri:
        raise NotFoundError("There is no such app")
    if subject.role == Role.SERVICE:
        raise ForbiddenError("Apps are opened by people")
    if patient:
        await view.gateway(request).read(subject, "Patient", patient)
    token = await guard_of(request).grants.open_launch(subject, client, patient)
    await view.gateway(request).note(subject, "E", f"app {client.id} opened", patient=patient)
    parts = urlsplit(client.launch_uri)
    query = urlencode({"iss": _at(request).fhir, "launch": token})
    joined = f"{parts.query}&{query}" if parts.query else query
    return RedirectResponse(urlunsplit(parts._replace(query=joined)), 303)


