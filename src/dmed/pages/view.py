"""From a template and its facts to an answer: the environment, the shell's facts, and refusals.

Pages carry no inline script and no inline style, so that the content security policy can forbid
both; a template escapes everything it is given.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import msgspec
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dmed.kit import i18n
from dmed.kit.errors import DmedError, InvalidError, UnauthorizedError
from dmed.pages import chart
from dmed.pages.sentences import said
from dmed.trust.gateway import Gateway
from dmed.trust.manifest import MenuItem
from dmed.trust.model import Role, Subject

PACKAGE = Path(__file__).resolve().parent
STATIC = PACKAGE / "static"
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'"
)
FORM_FIELDS_MAX = 200
BAR_MAX = 5
"""So many places a thumb tells apart in the bar of a phone, "more" among them."""
LANGUAGE_COOKIE = "dmed_language"
Given = TypeVar("Given")
Screen = Callable[[Request], Awaitable[Response]]


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The one Jinja2 environment: `shell.html` of pages, `medid/card.html` of a module."""
    modules = {
        folder.parent.name: jinja2.FileSystemLoader(folder)
        for folder in sorted((PACKAGE.parent / "modules").glob("*/templates"))
    }
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.FileSystemLoader(PACKAGE / "templates"), jinja2.PrefixLoader(modules)]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(
        static=static,
        trend=chart.trend,
        languages=[(code, i18n.SHORT[code], i18n.NAMES[code]) for code in i18n.LANGUAGES],
    )
    return made


@lru_cache(maxsize=64)
def static(name: str) -> str:
    """The address of a static file, with its content's digest, so that it may be cached for ever.

    A file that the set-up did not bring (vendor/) has no digest and is asked for all the same.
    """
    path = STATIC / name
    if not path.exists():
        return f"/static/{name}"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def kept(request: Request, name: str) -> str:
    """A choice that the browser keeps: under the name that no other host can plant, or, without
    TLS, under the plain one; "" without such.
    """
    return request.cookies.get(f"__Host-{name}", "") or request.cookies.get(name, "")


def language_of(request: Request) -> str:
    """The language of a page: the reader's last choice, the account's, the browser's, Uzbek."""
    chosen = kept(request, LANGUAGE_COOKIE)
    if chosen in i18n.LANGUAGES:
        return chosen
    subject = subject_of(request)
    if subject and subject.language in i18n.LANGUAGES:
        return subject.language
    asked = request.headers.get("accept-language", "")[:2].lower()
    return asked if asked in i18n.WRITTEN else i18n.BASE


def speech(request: Request) -> i18n.Speech:
    """Texts, dates and numbers in the language of this request."""
    return i18n.translator().speech(language_of(request))


def subject_of(request: Request) -> Subject | None:
    """Who is signed in, or None."""
    found: Subject | None = getattr(request.state, "subject", None)
    return found


def signed_in(request: Request) -> Subject:
    """Who is signed in; raises UnauthorizedError (the sign-in page) where nobody is."""
    subject = subject_of(request)
    if subject is None:
        raise UnauthorizedError("sign in first")
    return subject


def gateway(request: Request) -> Gateway:
    """The door to the records."""
    found: Gateway = request.app.state.gateway
    return found


def is_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of the page that it already shows."""
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def render(
    request: Request, template: str, facts: Mapping[str, Any] | None = None, *, status: int = 200
) -> HTMLResponse:
    """The page or fragment of a template with the shell's facts beside its own."""
    text = environment().get_template(template).render({**shell(request), **(facts or {})})
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-store",
        "Vary": "HX-Request, Cookie, Accept-Language",
    }
    return HTMLResponse(text, status, headers)


def shell(request: Request) -> dict[str, Any]:
    """What the shell shows: language, person, rail, connection; every template gets it."""
    subject = subject_of(request)
    menu: tuple[MenuItem, ...] = getattr(request.app.state, "menu", ())
    theme = kept(request, "dmed_theme")
    return {
        "t": speech(request),
        "subject": subject,
        "csrf": getattr(request.state, "csrf", ""),
        "path": request.url.path,
        "address": str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""),
        "theme": theme if theme in ("light", "dark") else "",
        "fragment": is_fragment(request),
        "roles": Role,
        "htmx_config": HTMX_CONFIG,
        **places(menu, subject),
    }


def places(menu: Sequence[MenuItem], subject: Subject | None) -> dict[str, list[MenuItem]]:
    """The places of a role, and those of them for which a phone's bar has no room: they stand
    behind "more".
    """
    if subject is None:
        return {"rail": [], "rest": []}
    role = subject.role
    rail = sorted((item for item in menu if role in item.roles),
                  key=lambda item: (item.order, item.key))
    if len(rail) <= BAR_MAX:
        return {"rail": rail, "rest": []}
    bar = sorted(rail, key=lambda item: role not in item.main)[: BAR_MAX - 1]
    return {"rail": rail, "rest": [item for item in rail if item not in bar]}


HTMX_CONFIG = json.dumps(
    {
        # No inline style, no eval: the policy of the page forbids both.
        "includeIndicatorStyles": False,
        "allowEval": False,
        "selfRequestsOnly": True,
        "historyCacheSize": 0,  # A shared computer keeps no patient's page in its storage.
        "refreshOnHistoryMiss": True,
        "attributesToSettle": ["class"],
        "responseHandling": [
            {"code": "204", "swap": False},
            {"code": "[23]..", "swap": True},
            {"code": "422", "swap": True},
            {"code": "[45]..", "swap": True, "error": True, "target": "#notices"},
        ],
    }
)


def screen(handler: Screen) -> Screen:
    """A handler whose refusals are shown to people: a page with the reason, or a note in place.

    Nobody signed in: the sign-in page, which leads back here.
    """

    @functools.wraps(handler)
    async def shown(request: Request) -> Response:
        try:
            return await handler(request)
        except UnauthorizedError as refusal:
            if "authorization" in request.headers:
                return not_accepted(refusal)
            return to_sign_in(request)
        except DmedError as refusal:
            return refused(request, refusal)

    return shown


def not_accepted(refusal: UnauthorizedError) -> Response:
    """What a program hears whose token is not accepted: 401 as OperationOutcome, never a page."""
    issues = [{"severity": "error", "code": one.code, "diagnostics": one.diagnostics}
              for one in refusal.issues]
    body = json.dumps({"resourceType": "OperationOutcome", "issue": issues})
    return Response(body, refusal.status, {"WWW-Authenticate": 'Bearer error="invalid_token"'},
                    media_type="application/fhir+json")


def to_sign_in(request: Request) -> Response:
    """The way to the sign-in page and back to the present address."""
    back = request.url.path if request.method == "GET" else "/"
    target = f"/signin?next={back}"
    if is_fragment(request):
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def refused(request: Request, refusal: DmedError) -> Response:
    """One sentence with the reason and what to do next, as page or as note."""
    template = "notice.html" if is_fragment(request) else "refusal.html"
    return render(
        request,
        template,
        {"status": refusal.status, "sentences": sentences(speech(request), refusal)},
        status=refusal.status,
    )


def sentences(t: i18n.Speech, refusal: DmedError) -> list[str]:
    """What a refusal says, one sentence an issue, in the reader's language where it is known."""
    return [said(t, issue.diagnostics) for issue in refusal.issues]


async def form(request: Request) -> FormData:
    """The fields of a posted form; more than 200 fields are refused."""
    try:
        return await request.form(max_fields=FORM_FIELDS_MAX, max_files=0)
    except ValueError as fault:
        raise InvalidError(f"the form cannot be read: {fault}") from fault


def field(form: FormData, name: str, default: str = "") -> str:
    """One text field without blanks around it."""
    value = form.get(name, default)
    return value.strip() if isinstance(value, str) else default


async def json_of(request: Request, type_: type[Given], bytes_max: int = 500_000) -> Given:
    """What a page's script sent, as this type; InvalidError for anything else, and for too much."""
    body = await request.body()
    if len(body) > bytes_max:
        raise InvalidError(f"At most {bytes_max} bytes are read at once")
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.DecodeError as error:
        raise InvalidError(f"The body cannot be read: {error}") from error


def json_answer(value: Any, kind: str = "application/json") -> Response:
    """The answer to a page's script."""
    return Response(msgspec.json.encode(value), media_type=kind)


def redirect(request: Request, target: str) -> Response:
    """After a successful act to another address, for htmx and for plain forms."""
    if is_fragment(request):
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def local_path(target: str) -> str:
    """A path of this site, or "/" for anything that would lead elsewhere."""
    if target.startswith("/") and not target.startswith(("//", "/\\")) and "\n" not in target:
        return target
    return "/"
