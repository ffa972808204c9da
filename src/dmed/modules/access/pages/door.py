"""The way in, step by step: password, second factor, post; the counter that several share; out."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dmed.kit import qr
from dmed.kit.errors import (
    DmedError,
    ForbiddenError,
    InvalidError,
    ThrottledError,
    UnauthorizedError,
)
from dmed.modules.access import service
from dmed.pages import view
from dmed.trust.guard import DEVICE_COOKIE, Guard, session_cookie
from dmed.trust.identity import DEMO_PASSWORDS
from dmed.trust.sessions import About, Session, SignedIn, Stage

_FORGET = {"Clear-Site-Data": '"cache"'}
"""Pages and pictures that the browser still holds go, also those behind its button "back"; the
storage stays, since hand-overs that a counter made without a network wait there, sealed."""
_FOREIGN = {"cross-site", "same-site"}
_NEXT = {
    Stage.FACTOR: "/signin/factor",
    Stage.ENROL: "/signin/enrol",
    Stage.PASSWORD: "/signin/password",
    Stage.POST: "/signin/post",
}


def guard_of(request: Request) -> Guard:
    """Who knows who asks."""
    found: Guard = request.app.state.guard
    return found


def cookie_of(request: Request) -> str:
    """The value of this browser's session cookie, or ""."""
    return session_cookie(request.headers.get("cookie", "").encode("latin-1"))


def _device_of(request: Request) -> str:
    return session_cookie(request.headers.get("cookie", "").encode("latin-1"), DEVICE_COOKIE)


async def sign_in_page(request: Request) -> Response:
    """The form; somebody already signed in goes home."""
    if view.subject_of(request) is not None:
        return RedirectResponse("/", 303)
    return await _door(request)


async def sign_in(request: Request) -> Response:
    """Name and password against a page session; wrong ones come back with a sentence."""
    if request.headers.get("sec-fetch-site", "") in _FOREIGN:
        raise ForbiddenError("The request comes from a foreign page")
    form = await view.form(request)
    user = view.field(form, "user")
    password = form.get("password")
    guard = guard_of(request)
    address = guard.address(request.scope)
    about = About(
        agent=request.headers.get("user-agent", ""),
        is_shared=view.field(form, "shared") == "1",
        place=view.local_path(view.field(form, "next", "/")),
    )
    try:
        opened = await guard.identity.sign_in(
            user, password if isinstance(password, str) else "", address, _device_of(request), about
        )
    except (UnauthorizedError, ThrottledError, ForbiddenError) as refusal:
        told = await guard.identity.failure(user, address)
        if told:
            await view.gateway(request).note_stranger("E", told, outcome=refusal.status)
        fault, seconds = _fault(refusal)
        return await _door(request, user=user, fault=fault, seconds=seconds, status=refusal.status)
    said = "sign-in" if opened.stage == Stage.OPEN else "sign-in: the password was right"
    await view.gateway(request).note(opened.subject, "E", said)
    return onward(request, opened)


def _fault(refusal: DmedError) -> tuple[str, str]:
    """Locale key and seconds of what the door says."""
    seconds = refusal.headers.get("Retry-After", "")
    if isinstance(refusal, ForbiddenError):
        is_first = refusal.issues[0].expression == "password.first"
        return ("access.first_ended" if is_first else "access.no_post"), ""
    return ("signin.wait" if seconds else "signin.wrong"), seconds


def onward(request: Request, opened: SignedIn) -> Response:
    """To the next stage, or to where the person wanted to go, under the new cookie."""
    target = _NEXT.get(opened.stage, "") or view.local_path(opened.place or "/")
    answer = RedirectResponse(target, 303)
    guard = guard_of(request)
    answer.headers.append("Set-Cookie", guard.cookie_header(opened.cookie, request.scope))
    if opened.device:
        answer.headers.append("Set-Cookie", guard.device_header(opened.device, request.scope))
    return answer


async def _door(
    request: Request, *, user: str = "", fault: str = "", seconds: str = "", status: int = 200
) -> Response:
    identity = guard_of(request).identity
    return view.render(
        request,
        "access/signin.html",
        {
            "user": user,
            "fault": fault,
            "seconds": seconds,
            "next": view.local_path(request.query_params.get("next", "/")),
            "demo": service.demo_users(await identity.demo_accounts(), DEMO_PASSWORDS),
            "waiting": await identity.locked_here(_device_of(request)),
        },
        status=status,
    )


def _pending(request: Request, stage: Stage) -> Session:
    """The session that waits at this stage; UnauthorizedError (the door) where none does."""
    found: Session | None = getattr(request.state, "session", None)
    if found is None or found.stage != stage:
        raise UnauthorizedError("Sign in first")
    return found


async def factor_page(request: Request) -> Response:
    """Asks for a code of the second factor."""
    return _factor(request, _pending(request, Stage.FACTOR))


def _factor(request: Request, pending: Session, fault: str = "", seconds: str = "",
            status: int = 200) -> Response:  # fmt: skip  # One signature.
    facts = {"who": pending.subject, "fault": fault, "seconds": seconds}
    return view.render(request, "access/factor.html", facts, status=status)


async def factor(request: Request) -> Response:
    """A time code or a recovery code; a wrong one is told and counted."""
    pending = _pending(request, Stage.FACTOR)
    code = view.field(await view.form(request), "code")
    identity = guard_of(request).identity
    try:
        opened = await identity.pass_factor(cookie_of(request), code, _device_of(request))
    except (UnauthorizedError, ThrottledError) as refusal:
        await view.gateway(request).note(pending.subject, "E", "second factor refused")
        seconds = refusal.headers.get("Retry-After", "")
        fault = "signin.wait" if seconds else "access.code_wrong"
        return _factor(request, pending, fault, seconds, refusal.status)
    await view.gateway(request).note(opened.subject, "E", "sign-in: second factor passed")
    return onward(request, opened)


async def enrol_page(request: Request) -> Response:
    """The role demands a second factor: the code to scan, and a field for its first number."""
    return await _enrol(request, _pending(request, Stage.ENROL))


async def _enrol(
    request: Request, pending: Session, fault: str = "", status: int = 200
) -> Response:
    made = await guard_of(request).identity.factors.pending(pending.subject.user)
    facts = enrolment_facts(made.uri, made.secret, "/signin/enrol", fault)
    return view.render(request, "access/enrol.html", {**facts, "who": pending.subject},
                       status=status)  # fmt: skip  # One call.


def enrolment_facts(uri: str, secret: str, action: str, fault: str = "") -> dict[str, Any]:
    """What the page of enrolment shows: the picture, and the letters for who cannot scan."""
    letters = " ".join(secret[n : n + 4] for n in range(0, len(secret), 4))
    return {"picture": qr.svg(uri), "letters": letters, "action": action, "fault": fault,
            "asks_password": False}


async def enrol(request: Request) -> Response:
    """The first code is right: the recovery codes, once, and the way on."""
    pending = _pending(request, Stage.ENROL)
    code = view.field(await view.form(request), "code")
    try:
        opened, codes = await guard_of(request).identity.enrol(
            cookie_of(request), code, _device_of(request)
        )
    except (InvalidError, ThrottledError) as refusal:
        return await _enrol(request, pending, "access.code_wrong", refusal.status)
    await view.gateway(request).note(opened.subject, "E", "second factor set")
    on = onward(request, opened)
    facts = {"codes": codes, "next": on.headers["location"], "who": pending.subject}
    answer = view.render(request, "access/codes.html", facts)
    for value in on.headers.getlist("set-cookie"):
        answer.headers.append("Set-Cookie", value)
    return answer


async def own_page(request: Request) -> Response:
    """The first password was the administrator's: an own one now."""
    return _own(request, _pending(request, Stage.PASSWORD))


def _own(request: Request, pending: Session, fault: str = "", status: int = 200) -> Response:
    facts = {"who": pending.subject, "fault": fault}
    return view.render(request, "access/own.html", facts, status=status)


async def own(request: Request) -> Response:
    """The person's own password: the session goes on."""
    pending = _pending(request, Stage.PASSWORD)
    form = await view.form(request)
    new, again = (str(form.get(name) or "") for name in ("new", "again"))
    if new != again:
        return _own(request, pending, "access.password_differs", 422)
    enlisting = guard_of(request).identity.enlisting
    try:
        opened = await enlisting.choose_own(cookie_of(request), new, _device_of(request))
    except InvalidError as refusal:
        kind = refusal.issues[0].expression.rpartition(".")[2]
        return _own(request, pending, f"access.password_{kind}", 422)
    await view.gateway(request).note(opened.subject, "E", "sign-in: own password chosen")
    return onward(request, opened)


async def post_page(request: Request) -> Response:
    """Several posts: which one now?"""
    pending = _pending(request, Stage.POST)
    posts = await guard_of(request).identity.sessions.posts(pending.subject.user)
    return view.render(request, "access/posts.html", {"posts": posts, "who": pending.subject})


async def post(request: Request) -> Response:
    """The post that decides from now on; also the later switch from my page."""
    chosen = view.field(await view.form(request), "post")
    opened = await guard_of(request).identity.sessions.choose_post(cookie_of(request), chosen)
    said = f"sign-in: post {opened.subject.practitioner_role or 'of the account'}"
    await view.gateway(request).note(opened.subject, "E", said)
    return onward(request, opened)


async def lock(request: Request) -> Response:
    """Somebody else wants to work here: my session waits for me."""
    form = await view.form(request)
    place = view.local_path(view.field(form, "place", "/"))
    await view.gateway(request).note(view.signed_in(request), "E", "session locked")
    await guard_of(request).identity.sessions.lock(cookie_of(request), place)
    answer = RedirectResponse("/signin", 303, _FORGET)
    answer.headers["Set-Cookie"] = guard_of(request).cookie_header("", request.scope)
    return answer


async def unlock(request: Request) -> Response:
    """PIN or password of a locked session of this browser."""
    if request.headers.get("sec-fetch-site", "") in _FOREIGN:
        raise ForbiddenError("The request comes from a foreign page")
    form = await view.form(request)
    word = form.get("word")
    identity = guard_of(request).identity
    try:
        opened = await identity.unlock(
            _device_of(request), view.field(form, "number"), word if isinstance(word, str) else ""
        )
    except (UnauthorizedError, ThrottledError) as refusal:
        await view.gateway(request).note_stranger(
            "E", "a locked session was not opened", outcome=refusal.status
        )
        seconds = refusal.headers.get("Retry-After", "")
        fault = "signin.wait" if seconds else "access.unlock_wrong"
        return await _door(request, fault=fault, seconds=seconds, status=refusal.status)
    await view.gateway(request).note(opened.subject, "E", "session unlocked")
    return onward(request, opened)


async def sign_out(request: Request) -> Response:
    """Ends the session here and in the database."""
    guard = guard_of(request)
    await view.gateway(request).note(view.signed_in(request), "E", "sign-out")
    await guard.identity.sign_out(cookie_of(request))
    answer = RedirectResponse("/signin", 303, _FORGET)
    answer.headers["Set-Cookie"] = guard.cookie_header("", request.scope)
    return answer


def to_door(request: Request, query: str = "") -> Response:
    """To the door and back to exactly this address, query and all; with `query` in its place."""
    query = query or request.url.query
    back = request.url.path + (f"?{query}" if query else "")
    return RedirectResponse(f"/signin?next={quote(back, safe='')}", 303)
