"""What a person governs alone: posts, sessions, second factor, PIN, apps; and the administrator's
page of somebody's sessions.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, ThrottledError, UnauthorizedError
from dmed.modules.access import rules
from dmed.modules.access.pages.door import cookie_of, enrolment_facts, guard_of
from dmed.pages import view


async def me(request: Request) -> Response:
    """Who I am here, in which post, where else I am signed in, and the way out."""
    return await _me(request)


async def _me(request: Request, fault: str = "", said: str = "", status: int = 200) -> Response:
    subject = view.signed_in(request)
    guard = guard_of(request)
    sessions = guard.identity.sessions
    facts = {
        "today": clock.now(),
        "fault": fault,
        "said": said,
        "posts": await sessions.posts(subject.user),
        "sessions": [
            {**row, "browser": rules.browser_of(row["agent"])}
            for row in await sessions.of(subject.user)
        ],
        "has_factor": await guard.identity.factors.is_set(subject.user),
        "recovery_left": await guard.identity.factors.recovery_left(subject.user),
        "apps": await guard.grants.consents(subject.user),
        "remembered": await guard.grants.remembered.of(subject.user),
    }
    return view.render(request, "access/me.html", facts, status=status)


async def end_session(request: Request) -> Response:
    """Ends one of my other sessions, or all of them."""
    subject = view.signed_in(request)
    number = view.field(await view.form(request), "number")
    sessions = guard_of(request).identity.sessions
    if number:
        await sessions.end(subject.user, number)
    else:
        await sessions.end_others(subject.user, cookie_of(request))
    await view.gateway(request).note(subject, "E", "sessions ended")
    return RedirectResponse("/me", 303)


async def end_app(request: Request) -> Response:
    """Takes an app's access back."""
    subject = view.signed_in(request)
    family = view.field(await view.form(request), "app")
    await guard_of(request).grants.end_consent(subject.user, family)
    await view.gateway(request).note(subject, "E", "an app's access was taken back")
    return RedirectResponse("/me", 303)


async def forget_app(request: Request) -> Response:
    """Asks again the next time, and takes back what the app has now."""
    subject = view.signed_in(request)
    client = view.field(await view.form(request), "client")
    if client:
        await guard_of(request).grants.forget(subject.user, client)
        await view.gateway(request).note(subject, "E", f"app {client} is asked about again")
    return RedirectResponse("/me", 303)


async def set_pin(request: Request) -> Response:
    """The PIN for the counter, after the password."""
    subject = view.signed_in(request)
    form = await view.form(request)
    password = form.get("password")
    try:
        await guard_of(request).identity.set_pin(
            subject.user, password if isinstance(password, str) else "", view.field(form, "pin")
        )
    except (InvalidError, UnauthorizedError, ThrottledError) as refusal:
        fault = "access.pin_simple" if isinstance(refusal, InvalidError) else "signin.wrong"
        return await _me(request, fault=fault, status=refusal.status)
    await view.gateway(request).note(subject, "E", "PIN set")
    return await _me(request, said="access.pin_set")


async def password_page(request: Request) -> Response:
    """My password: the old one, and the new one twice."""
    return _password(request)


def _password(request: Request, fault: str = "", status: int = 200) -> Response:
    view.signed_in(request)
    return view.render(request, "access/password.html", {"fault": fault}, status=status)


async def set_password(request: Request) -> Response:
    """Changes it; everywhere else I am signed out."""
    subject = view.signed_in(request)
    form = await view.form(request)
    old, new, again = (str(form.get(name) or "") for name in ("old", "new", "again"))
    if new != again:
        return _password(request, "access.password_differs", 422)
    identity = guard_of(request).identity
    try:
        await identity.change_password(subject.user, old, new, cookie_of(request))
    except (UnauthorizedError, ThrottledError) as refusal:
        await view.gateway(request).note(subject, "E", "change of password refused", outcome=401)
        return _password(request, "signin.wrong", refusal.status)
    except ForbiddenError as refusal:
        return _password(request, "access.password_demo", refusal.status)
    except InvalidError as refusal:
        kind = refusal.issues[0].expression.rpartition(".")[2]
        return _password(request, f"access.password_{kind}", 422)
    await view.gateway(request).note(subject, "E", "password changed")
    return await _me(request, said="access.password_changed")


async def factor_page(request: Request) -> Response:
    """My second factor: set it up, or take it away with a code."""
    return await _factor(request)


async def _factor(request: Request, fault: str = "", status: int = 200) -> Response:
    subject = view.signed_in(request)
    factors = guard_of(request).identity.factors
    if await factors.is_set(subject.user):
        facts = {"fault": fault, "left": await factors.recovery_left(subject.user)}
        return view.render(request, "access/factor_set.html", facts, status=status)
    made = await factors.pending(subject.user)
    facts = {**enrolment_facts(made.uri, made.secret, "/me/factor", fault), "asks_password": True}
    return view.render(request, "access/factor_new.html", facts, status=status)


async def set_factor(request: Request) -> Response:
    """The password and the first code make it stand; the recovery codes are shown once, and
    everywhere else I am signed out.
    """
    subject = view.signed_in(request)
    form = await view.form(request)
    password = form.get("password")
    try:
        codes = await guard_of(request).identity.own_factor.set(
            subject.user, password if isinstance(password, str) else "",
            view.field(form, "code"), cookie_of(request))
    except InvalidError as refusal:
        return await _factor(request, "access.code_wrong", refusal.status)
    except (UnauthorizedError, ThrottledError) as refusal:
        await view.gateway(request).note(
            subject, "E", "second factor refused: the password was not right", outcome=401)
        return await _factor(request, "signin.wrong", refusal.status)
    await view.gateway(request).note(subject, "E", "second factor set")
    facts = {"codes": codes, "next": "/me", "who": subject}
    return view.render(request, "access/codes.html", facts)


async def drop_factor(request: Request) -> Response:
    """Takes my second factor away, after the password and a code: a stolen session alone cannot."""
    subject = view.signed_in(request)
    form = await view.form(request)
    password = form.get("password")
    try:
        await guard_of(request).identity.own_factor.drop(
            subject.user, password if isinstance(password, str) else "",
            view.field(form, "code"), cookie_of(request))
    except (UnauthorizedError, ThrottledError) as refusal:
        await view.gateway(request).note(
            subject, "E", "second factor not taken away", outcome=refusal.status)
        is_password = refusal.issues[0].expression == "password"
        fault = "signin.wrong" if is_password else "access.code_wrong"
        return await _factor(request, fault, refusal.status)
    await view.gateway(request).note(subject, "E", "second factor taken away")
    return RedirectResponse("/me", 303)
