"""Entry of single facts beside the card: allergy, diagnosis, weight, pregnancy."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError, NotFoundError
from dmed.modules.card.pages import staff
from dmed.modules.medid import api as medid
from dmed.pages import view
from dmed.trust.manifest import Route
from dmed.trust.model import Role

ENTRIES = ("allergy", "diagnosis", "weight", "pregnancy")
CRITICALITY = ("high", "low", "unable-to-assess")
SEVERITY = ("severe", "moderate", "mild")
REACTIONS = ("anaphylaxis", "urticaria", "angioedema", "bronchospasm", "rash", "nausea", "other")
WRITES_CARD = frozenset({Role.DOCTOR})


async def entry(request: Request) -> Response:
    """The form of one fact (allergy, diagnosis, weight, pregnancy) beside the card."""
    return await _entry(request, {}, "")


async def save_entry(request: Request) -> Response:
    """Writes one fact to the card and shows the card with it."""
    what, person = request.path_params["what"], request.path_params["id"]
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    if what == "allergy":
        await medid.add_allergy(gateway, subject, person, _allergy(form))
    elif what == "diagnosis":
        code, text = view.field(form, "code"), view.field(form, "text")
        if not code:
            return await _entry(request, dict(form), "entry.choose")
        await medid.add_diagnosis(gateway, subject, person, code, text)
    elif what == "weight":
        await medid.add_weight(gateway, subject, person, _number(view.field(form, "weight")))
    elif what == "pregnancy":
        weeks = view.field(form, "weeks")
        if not weeks.isdecimal():
            return await _entry(request, dict(form), "entry.weeks")
        await medid.add_pregnancy(gateway, subject, person, int(weeks), _day(form))
    else:
        raise NotFoundError(f"Nothing called {what!r} is entered on a card")
    return view.redirect(request, f"/card/{person}")


async def _entry(request: Request, typed: dict[str, Any], fault: str) -> Response:
    what = request.path_params["what"]
    if what not in ENTRIES:
        raise NotFoundError(f"Nothing called {what!r} is entered on a card")
    facts: dict[str, Any] = {
        "what": what, "typed": typed, "fault": fault, "person": request.path_params["id"],
        "criticality": CRITICALITY, "severity": SEVERITY, "reactions": REACTIONS,
    }  # fmt: skip  # Three rows of what the form chooses from.
    if not view.is_fragment(request):
        facts |= await staff.beside(request, request.path_params["id"])
    template = "card/entry_form.html" if view.is_fragment(request) else "card/entry.html"
    return view.render(request, template, facts, status=422 if fault else 200)


def _allergy(form: FormData) -> medid.NewAllergy:
    return medid.NewAllergy(
        text=view.field(form, "text"),
        inn=view.field(form, "inn"),
        atc=view.field(form, "atc"),
        criticality=_one_of(form, "criticality", CRITICALITY),
        reaction=view.field(form, "reaction"),
        severity=view.field(form, "severity"),
        onset=view.field(form, "onset"),
    )


def _one_of(form: FormData, name: str, allowed: tuple[str, ...]) -> str:
    value = view.field(form, name, allowed[0])
    return value if value in allowed else allowed[0]


def _number(text: str) -> Decimal:
    try:
        return Decimal(text.replace(",", "."))
    except InvalidOperation as fault:
        raise InvalidError(f"{text!r} is no number") from fault


def _day(form: FormData) -> date | None:
    text = view.field(form, "on")
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as fault:
        raise InvalidError(f"{text!r} is no date") from fault


ROUTES: tuple[Route, ...] = (
    Route(path="/card/{id}/add/{what}", endpoint=entry, roles=WRITES_CARD),
    Route(path="/card/{id}/add/{what}", endpoint=save_entry, roles=WRITES_CARD, methods=("POST",)),
)
