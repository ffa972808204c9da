"""Medicines outside the register: the line in the workspace, and the heads' page of decisions."""

from __future__ import annotations

from datetime import date
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import clock
from dmed.kit.errors import ConflictError, DmedError, InvalidError, UnprocessableError
from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.model import Draft, DraftItem, Unregistered
from dmed.modules.prescriptions.rules import unregistered
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

__all__ = ["MENU", "ROUTES", "facts", "first_missing", "line", "read", "typed"]

HEADS = frozenset({Role.HEAD})
PARTS = ("inn", "form", "strength", "decision", "atc")
_NEEDED = ("inn", "form", "strength", "decision")
_FIELDS = ("number", "decided", "council", "chair", "pinfl", "inn", "valid_until")
_ENTER = "/prescriptions/decisions"


def _text(form: FormData, name: str) -> str:
    return view.field(form, name)[: unregistered.TEXT_CHARACTERS_MAX]


def read(form: FormData, prefix: str) -> Unregistered | None:
    """What a line of the posted workspace states as unregistered, or None."""
    told = {part: _text(form, f"{prefix}u-{part}") for part in PARTS}
    return Unregistered(**told) if told["inn"] else None


def typed(form: FormData) -> dict[str, str]:
    """What stands in the fields of a new line."""
    return {part: _text(form, f"new-{part}") for part in PARTS}


def first_missing(form: FormData) -> str:
    """The first field of a new line that is empty, or ""."""
    told = typed(form)
    return next((f"new-{part}" for part in _NEEDED if not told[part]), "")


def line(form: FormData) -> DraftItem | None:
    """The line that the fields of a new one mean; None while one of them is empty."""
    stated = Unregistered(**{**typed(form), "atc": typed(form)["atc"].upper()})
    if first_missing(form) or not unregistered.is_complete(stated):
        return None
    return api.unregistered_line(stated)


async def facts(
    request: Request, draft: Draft, stated: dict[str, str] | None, *, is_refused: bool
) -> dict[str, Any]:
    """What the workspace shows to state a medicine outside the register; what was typed stays."""
    t = view.speech(request)
    known = []
    if draft.patient:
        known = await api.decisions.of_person(
            view.gateway(request), view.signed_in(request), draft.patient)
    named = sorted((t.script(form.name(t.language)), key)
                   for key, form in medicines.forms().items())  # fmt: skip  # One list.
    return {
        "stated": stated or dict.fromkeys(PARTS, ""), "is_open": any((stated or {}).values()),
        "missing": [part for part in _NEEDED if is_refused and stated and not stated[part]],
        "decisions": known, "forms": [(key, name) for name, key in named],
    }  # fmt: skip  # Facts of one block.


# The page of the head of an institution


async def listed(request: Request) -> Response:
    """Decisions of the own institution, and the form for one more."""
    return await _listed(request)


async def act(request: Request) -> Response:
    """Enters a decision, or withdraws one."""
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    what, _, which = view.field(form, "act").partition(":")
    if what == "withdraw":
        await api.decisions.withdraw(gateway, subject, which)
        return view.redirect(request, _ENTER)
    given = {name: _text(form, name) for name in _FIELDS}
    try:
        made = await api.decisions.enter(
            gateway, subject, number=given["number"], decided=_day(given["decided"], "decided"),
            council=given["council"], chair=given["chair"], pinfl=given["pinfl"],
            inn=given["inn"], valid_until=_day(given["valid_until"], "valid_until"),
        )  # fmt: skip  # One decision.
    except (ConflictError, InvalidError, UnprocessableError) as refusal:
        return await _listed(request, given=given, refusal=refusal)
    return view.redirect(request, f"{_ENTER}?entered={made.id}")


def _day(text: str, place: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidError("A decision names its day and the last day on which it is valid",
                           place) from error  # fmt: skip  # One refusal.


async def _listed(
    request: Request, *, given: dict[str, str] | None = None, refusal: DmedError | None = None
) -> Response:
    t = view.speech(request)
    rows = await api.decisions.listed(view.gateway(request), view.signed_in(request))
    today = clock.today()
    return view.render(request, "prescriptions/decisions.html", {
        "rows": [(row, "withdrawn" if row.withdrawn else
                  "over" if row.valid_until < today else "valid") for row in rows],
        "given": given or dict.fromkeys(_FIELDS, ""), "today": today,
        "entered": request.query_params.get("entered", ""),
        "refusals": view.sentences(t, refusal) if refusal else [],
        "where": refusal.issues[0].expression if refusal else "",
    }, status=refusal.status if refusal else 200)  # fmt: skip  # Facts of one page.


ROUTES: tuple[Route, ...] = (
    # Before /prescriptions/{number}, which would take the word for a number.
    Route(path=_ENTER, endpoint=listed, roles=HEADS),
    Route(path=_ENTER, endpoint=act, roles=HEADS, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="prescriptions.decision.menu", path=_ENTER, icon="prescription", roles=HEADS,
             order=60),
)
