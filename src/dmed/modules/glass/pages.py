"""Screens: break the glass, the review queue, why a request was allowed or refused."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import DmedError, InvalidError
from dmed.modules.glass import rules, service
from dmed.modules.glass.model import OPEN_FOR, REASONS, VERDICTS
from dmed.pages import view
from dmed.trust.decide import Action
from dmed.trust.manifest import SIGNED_IN, MenuItem, Route
from dmed.trust.model import Role


async def ask(request: Request) -> Response:
    """The form: why must this person's records be opened?"""
    return await _form(request, {"reason": "", "text": ""}, [])


async def _form(
    request: Request, typed: dict[str, str], wrong: list[str], status: int = 200
) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    person = await gateway.get(subject, "Patient", request.path_params["id"])
    name = next((one.get("text", "") for one in person.get("name", [])), "")
    facts = {"person": person["id"], "name": name, "codes": REASONS, "typed": typed,
             "wrong": wrong, "hours": int(OPEN_FOR.total_seconds() // 3600),
             "is_open": await gateway.is_in_care(subject, person["id"])}  # fmt: skip  # Facts.
    return view.render(request, "glass/ask.html", facts, status=status)


async def break_glass(request: Request) -> Response:
    """Opens the records and shows the card; a bad reason is asked for again."""
    form = await view.form(request)
    typed = {name: view.field(form, name) for name in ("reason", "text")}
    person = request.path_params["id"]
    try:
        await service.break_glass(
            view.gateway(request), view.signed_in(request), person, typed["reason"], typed["text"])
    except InvalidError as fault:
        return await _form(request, typed, view.sentences(view.speech(request), fault), 422)
    return view.redirect(request, f"/card/{person}")


async def queue(request: Request) -> Response:
    """What was opened without a care relationship, for review."""
    found = await service.queue(view.gateway(request), view.signed_in(request))
    return view.render(request, "glass/queue.html", {"rows": found, "verdicts": VERDICTS})


async def review(request: Request) -> Response:
    """A verdict about one of them."""
    form = await view.form(request)
    number = request.path_params["number"]
    await service.review(
        view.gateway(request), view.signed_in(request), number, view.field(form, "verdict"))
    return view.redirect(request, "/glass")


async def why(request: Request) -> Response:
    """Why the reader may or may not do something, with the reasons in words."""
    asked = {name: request.query_params.get(name, "") for name in ("type", "id", "action")}
    asked["action"] = asked["action"] or Action.READ.value
    verdict, wrong = None, []
    if asked["type"]:
        try:
            verdict = await view.gateway(request).plain().explain(
                view.signed_in(request), Action(asked["action"]), asked["type"], asked["id"])
        except ValueError:
            wrong = [f"{asked['action']!r}"]
        except DmedError as fault:
            wrong = view.sentences(view.speech(request), fault)
    facts = {"asked": asked, "verdict": verdict, "wrong": wrong,
             "actions": [action.value for action in Action]}  # fmt: skip  # Facts.
    return view.render(request, "glass/why.html", facts)


ROUTES: tuple[Route, ...] = (
    Route(path="/glass", endpoint=view.screen(queue), roles=rules.MAY_REVIEW),
    Route(path="/glass/why", endpoint=view.screen(why), roles=SIGNED_IN),
    Route(path="/glass/review/{number:int}", endpoint=view.screen(review), roles=rules.MAY_REVIEW,
          methods=("POST",)),
    Route(path="/glass/{id}", endpoint=view.screen(ask), roles=rules.MAY_BREAK),
    Route(path="/glass/{id}", endpoint=view.screen(break_glass), roles=rules.MAY_BREAK,
          methods=("POST",)),
)  # fmt: skip  # A table.
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="glass.menu", path="/glass", icon="journal",
             roles=rules.MAY_REVIEW, order=320, main=frozenset({Role.INSPECTOR})),
)  # fmt: skip  # A table.
