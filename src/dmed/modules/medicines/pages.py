"""Screens of the register: search, a product and its past, versions and what they changed,
deliveries with what was put aside, substances that wait for a link, the feed's freshness.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import clock
from dmed.kit.errors import InvalidError, NotFoundError
from dmed.kit.text import fold
from dmed.modules.medicines import rules, tables
from dmed.modules.medicines.model import Entry
from dmed.modules.medicines.service import feeding, force, looking
from dmed.pages import view
from dmed.trust.manifest import SIGNED_IN, MenuItem, Route

TEXT_CHARACTERS_MAX = 80


async def register(request: Request) -> Response:
    """The register: search, and beside it feeds, versions and deliveries."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    text = request.query_params.get("q", "").strip()[:TEXT_CHARACTERS_MAX]
    t = view.speech(request)
    found = await looking.find(gateway, subject, text, t.language)
    state = await looking.state(gateway, subject)
    now = clock.now()
    stale = {feed.name for feed in state.feeds
             if feeding.is_stale(feed, now, gateway.settings.medicine_stale_hours)}
    return view.render(request, "medicines/register.html", {
        "q": text, "hits": found.hits, "others": found.others, "state": state, "stale": stale,
        "catalogue": force.catalogue(), "inns": inns_in_force(),
        "version": force.register().version, "has_feed": bool(gateway.settings.medicine_feed),
        "is_keeper": subject.role in feeding.KEEPERS,
        "done": request.query_params.get("done", "")})


def inns_in_force() -> int:
    """How many single INNs may be prescribed."""
    used = {one.inn.key for one in force.catalogue().preparations.values()}
    return len({part for key in used for part in key.split("+")})


async def product(request: Request) -> Response:
    """One product with its identifiers, and all that it was before."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    key = request.path_params["key"]
    past = await looking.past(gateway, subject, key)
    try:
        found = force.find_product(key)
    except NotFoundError:
        if not past.lines:
            raise
        found = None
    t = view.speech(request)
    return view.render(request, "medicines/product.html", {
        "key": key, "found": found, "past": past, "t_name": _labels(t.language),
        "is_current": key in force.catalogue().products})


def _labels(language: str) -> object:
    return lambda preparation: rules.label(preparation, language)


async def version(request: Request) -> Response:
    """What a version changed."""
    found = await looking.version(
        view.gateway(request), view.signed_in(request), request.path_params["number"])
    return view.render(request, "medicines/version.html", {
        "version": found.version, "lines": found.lines, "most": tables.ROWS_MAX,
        "changes": [(line, changed_fields(line.before, line.after)) for line in found.lines]})


def changed_fields(before: Entry | None, after: Entry | None) -> list[tuple[str, str, str]]:
    """(field, was, is) of what differs between two states of an entry that has both."""
    if before is None or after is None:
        return []
    return [(name, _told(getattr(before, name)), _told(getattr(after, name)))
            for name in Entry.__struct_fields__
            if name != "notes" and getattr(before, name) != getattr(after, name)]


def _told(value: object) -> str:
    if isinstance(value, tuple):
        return "; ".join(_told(one) for one in value)
    substance = getattr(value, "substance", "")
    return str(substance or ("" if value is None else value))


async def delivery(request: Request) -> Response:
    """One delivery: what it would change, what stands against it, what was put aside."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    reason = request.query_params.get("reason", "")[:40]
    found = await looking.delivery(gateway, subject, request.path_params["number"], reason)
    return view.render(request, "medicines/delivery.html", {
        "one": found.delivery, "rows": found.rows, "by_reason": found.by_reason,
        "reason": reason, "is_keeper": subject.role in feeding.KEEPERS,
        "most": tables.ROWS_MAX})


async def decide(request: Request) -> Response:
    """A keeper publishes or refuses what is held."""
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    number, word = request.path_params["number"], view.field(form, "word")
    if word == "publish":
        await feeding.approve(gateway, subject, number)
    elif word == "refuse":
        await feeding.refuse(gateway, subject, number)
    else:
        raise InvalidError("A held delivery is published or refused")
    return view.redirect(request, f"/register/delivery/{number}")


async def fetch(request: Request) -> Response:
    """Asks the feed at once."""
    done = await feeding.fetch_now(view.gateway(request), view.signed_in(request))
    return view.redirect(request, f"/register?done={done.state if done else 'nothing'}")


async def links(request: Request) -> Response:
    """Substances of feeds that no INN certainly is."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    return view.render(request, "medicines/links.html", {
        "rows": await looking.links(gateway, subject),
        "is_keeper": subject.role in feeding.KEEPERS})


async def link(request: Request) -> Response:
    """A keeper says which INN a substance is, or that it is none of ours."""
    form = await view.form(request)
    inn = "" if view.field(form, "none") else inn_typed(view.field(form, "inn"))
    await feeding.link(view.gateway(request), view.signed_in(request),
                       view.field(form, "name")[:200], inn)  # fmt: skip  # One call.
    return view.redirect(request, "/register/links")


def inn_typed(text: str) -> str:
    """The key of an INN whose name was typed whole in any language; InvalidError for another."""
    key = force.names().inns.get(fold(text), "")
    if not key:
        raise InvalidError(f"There is no INN {text!r}")
    return key




ROUTES: tuple[Route, ...] = (
    Route(path="/register", endpoint=view.screen(register), roles=feeding.READERS,
          audit="register of medicines"),
    Route(path="/register/links", endpoint=view.screen(links), roles=feeding.READERS,
          audit="register of medicines"),
    Route(path="/register/links", endpoint=view.screen(link), roles=feeding.KEEPERS,
          methods=("POST",)),
    Route(path="/register/fetch", endpoint=view.screen(fetch), roles=feeding.KEEPERS,
          methods=("POST",)),
    Route(path="/register/version/{number:int}", endpoint=view.screen(version),
          roles=feeding.READERS, audit="register of medicines"),
    Route(path="/register/delivery/{number:int}", endpoint=view.screen(delivery),
          roles=feeding.READERS, audit="register of medicines"),
    Route(path="/register/delivery/{number:int}", endpoint=view.screen(decide),
          roles=feeding.KEEPERS, methods=("POST",)),
    Route(path="/register/product/{key}", endpoint=view.screen(product), roles=SIGNED_IN,
          audit="register of medicines"),
)  # fmt: skip  # A table.
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="medicines.menu", path="/register", icon="pill", roles=feeding.READERS, order=70),
)
