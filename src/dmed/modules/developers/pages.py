"""Screens for those who build: the developers' page, the errors, and the way to live."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import ConflictError, DmedError, InvalidError, NotFoundError, UnavailableError
from dmed.modules.developers import tables
from dmed.modules.developers.model import Application, Kind, Reason, Result, State
from dmed.modules.developers.rules.errors import catalogue
from dmed.modules.developers.rules.joining import live_scopes
from dmed.modules.developers.service import joining
from dmed.modules.developers.service.register import Invented, invented, invented_code
from dmed.pages import view
from dmed.trust.guard import Guard
from dmed.trust.manifest import ANYBODY, MenuItem, Route
from dmed.trust.model import Role
from dmed.trust.oauth.clients import KEYS_MAX_CHARACTERS

_ADMIN = frozenset({Role.ADMINISTRATOR})
_KEY_MAX = 64
_SHOWN_CALLS = 30


def _guard(request: Request) -> Guard:
    found: Guard = request.app.state.guard
    return found


@cache
def examples() -> dict[str, str]:
    """The example scripts by file name, in order."""
    folder = files("dmed.modules.developers").joinpath("data/examples")
    return {one.name: one.read_text() for one in sorted(folder.iterdir(), key=lambda f: f.name)
            if one.name.endswith(".sh")}


def _base(request: Request) -> str:
    address: str = request.app.state.settings.public_url.rstrip("/")
    return address or str(request.base_url).rstrip("/")


async def developers(request: Request) -> Response:
    """How a system joins, examples that run, the errors and the policy of changes."""
    return view.render(request, "developers/developers.html", {
        "examples": examples(), "base": _base(request), "errors": catalogue()})


async def example(request: Request) -> Response:
    """One example as a file."""
    text = examples().get(request.path_params["name"])
    if text is None:
        raise NotFoundError("There is no such example")
    return Response(text, media_type="text/x-shellscript; charset=utf-8",
                    headers={"X-Content-Type-Options": "nosniff"})


async def join_page(request: Request) -> Response:
    """The empty application."""
    return await _join(request, {"kind": Kind.CLINIC.value}, {})


async def _join(
    request: Request, values: dict[str, str], wrong: dict[str, Reason], *, status: int = 200
) -> Response:
    t = view.speech(request)
    try:
        register = await joining.register_here(view.gateway(request), _guard(request))
        is_demo = isinstance(register, Invented)
    except UnavailableError:
        is_demo = False
    filled = {name: values.get(name, "") for name in ("licence", "tax_id", "email", "kind")}
    return view.render(request, "developers/join.html", {
        "values": filled, "wrong": {name: t(one.key, **one.values) for name, one in wrong.items()},
        "kinds": [(kind.value, t(f"developers.kind.{kind}")) for kind in Kind],
        "demo": [one for one in invented().values() if one.status == "active"][:4]
        if is_demo else []}, status=status)


async def join(request: Request) -> Response:
    """Checks the licence and begins an application."""
    form = await view.form(request)
    values = {name: view.field(form, name)[:200] for name in ("licence", "tax_id", "email", "kind")}
    gateway = view.gateway(request)
    try:
        register = await joining.register_here(gateway, _guard(request))
        key, _ = await joining.apply(gateway, register, values)
    except joining.RefusedError as refused:
        return await _join(request, values, refused.wrong, status=422)
    except UnavailableError:
        return await _join(request, values, {"licence": Reason("developers.fault.away")},
                           status=503)
    return view.redirect(request, f"/join/{key}")


async def way(request: Request) -> Response:
    """Where an application stands: code, keys, check, live."""
    return await _way(request)


async def _way(
    request: Request, *, fault: Reason | None = None, token: str = "", status: int = 200
) -> Response:
    gateway = view.gateway(request)
    found = await joining.find(gateway, _key(request))
    steps = await joining.check(gateway, found)
    async with gateway.unit(joining.PLATFORM) as unit:
        calls = await tables.calls(unit, found.client) if found.client else []
    t = view.speech(request)
    return view.render(request, "developers/way.html", {
        "one": found, "states": State, "results": Result, "key": _key(request), "steps": steps,
        "passed": sum(step.result is Result.PASSED for step in steps), "base": _base(request),
        "calls": calls[::-1][:_SHOWN_CALLS], "token": token,
        "fault": t(fault.key, **fault.values) if fault else "",
        "demo_code": await _demo_code(request, found),
        "scopes": live_scopes(found.kind, found.organisation).split()
        if found.state is State.LIVE else []}, status=status)


async def _demo_code(request: Request, found: Application) -> str:
    if found.state is not State.CODE:
        return ""
    try:
        register = await joining.register_here(view.gateway(request), _guard(request))
    except DmedError:
        return ""
    return invented_code(found.licence) if isinstance(register, Invented) else ""


def _key(request: Request) -> str:
    key: str = request.path_params["key"]
    if len(key) > _KEY_MAX:
        raise NotFoundError("There is no application at this address")
    return key


async def act(request: Request) -> Response:
    """One act of an application: code, keys, token, again or live."""
    doing = _ACTS.get(request.path_params["act"])
    if doing is None:
        raise NotFoundError("There is no such act")
    form = await view.form(request)
    await joining.find(view.gateway(request), _key(request))
    try:
        return await doing(request, form)
    except UnavailableError:
        return await _way(request, fault=Reason("developers.fault.away"), status=503)
    except joining.RefusedError as refused:
        return await _way(request, fault=next(iter(refused.wrong.values())), status=422)
    except (ConflictError, InvalidError) as refused:
        said = Reason("developers.fault.said", {"said": refused.issues[0].diagnostics})
        return await _way(request, fault=said, status=refused.status)


async def _code(request: Request, form: Any) -> Response:
    gateway = view.gateway(request)
    register = await joining.register_here(gateway, _guard(request))
    if await joining.prove(gateway, register, _key(request), view.field(form, "code")[:20]):
        return _back(request)
    return await _way(request, fault=Reason("developers.fault.code"), status=422)


async def _keys(request: Request, form: Any) -> Response:
    text = view.field(form, "keys")
    if len(text) > KEYS_MAX_CHARACTERS:
        raise InvalidError("The keys are too long")
    await joining.register_keys(view.gateway(request), _guard(request), _key(request), text)
    return _back(request)


async def _token(request: Request, _form: Any) -> Response:
    token = await joining.token_by_hand(view.gateway(request), _guard(request), _key(request))
    return await _way(request, token=token)


async def _again(request: Request, _form: Any) -> Response:
    await joining.start_again(view.gateway(request), _key(request))
    return _back(request)


async def _live(request: Request, _form: Any) -> Response:
    gateway = view.gateway(request)
    register = await joining.register_here(gateway, _guard(request))
    await joining.go_live(gateway, _guard(request), register, _key(request))
    return _back(request)


def _back(request: Request) -> Response:
    return view.redirect(request, f"/join/{_key(request)}")


_ACTS = {"code": _code, "keys": _keys, "token": _token, "again": _again, "live": _live}


# The administrator's view


async def applications(request: Request) -> Response:
    """Applications, the latest first."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    async with gateway.unit(subject) as unit:
        found = await tables.listed(unit)
    return view.render(request, "developers/applications.html", {
        "applications": found, "states": State})


async def close(request: Request) -> Response:
    """Ends an application with its clients."""
    number = request.path_params["number"]
    if not (number.isascii() and number.isdecimal() and len(number) < 16):
        raise NotFoundError("There is no such application")
    await joining.close(view.gateway(request), _guard(request), view.signed_in(request),
                        int(number))
    return view.redirect(request, "/applications")


def _open(path: str, endpoint: Any, *methods: str) -> Route:
    return Route(path=path, endpoint=endpoint, roles=ANYBODY, methods=methods or ("GET",))


ROUTES: tuple[Route, ...] = (
    _open("/developers", developers),
    _open("/developers/examples/{name}", example),
    _open("/join", join_page),
    _open("/join", join, "POST"),
    _open("/join/{key}", way),
    _open("/join/{key}/{act}", act, "POST"),
    Route(path="/applications", endpoint=applications, roles=_ADMIN, audit="applications seen"),
    Route(path="/applications/{number}/close", endpoint=close, roles=_ADMIN, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="developers.menu", path="/applications", icon="key", order=70, roles=_ADMIN),
)
