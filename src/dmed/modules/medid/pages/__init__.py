"""Screens of persons: search, and registration with near matches."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import clock
from dmed.kit.i18n import Speech
from dmed.modules.facilities import api as facilities
from dmed.modules.medid import api
from dmed.modules.medid.pages import keeping, merging
from dmed.modules.medid.pages.shared import MASKED, districts_of, iso_day, masked, named, plain
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

SEARCH_CHARACTERS_MAX = 100
NARROWING = ("year", "region", "district", "phone")
"""What narrows a search beside the one box."""
SEES = frozenset({Role.DOCTOR, Role.REGISTRAR})
_DRAFT_FIELDS = tuple(
    field.name for field in msgspec.structs.fields(api.Draft) if field.name != "is_pinfl_unverified"
)


async def persons(request: Request) -> Response:
    """The list of persons found for one box; as rows for htmx while typing."""
    asked = {name: request.query_params.get(name, "").strip()[:SEARCH_CHARACTERS_MAX]
             for name in ("q", *NARROWING)}
    hits = await api.find(
        view.gateway(request), view.signed_in(request), asked["q"], year=asked["year"],
        district=asked["district"] or asked["region"], phone=asked["phone"],
    ) if asked["q"] else []
    facts: dict[str, Any] = {**asked, "hits": hits}
    if view.is_fragment(request):
        return view.render(request, "medid/persons_rows.html", facts)
    t = view.speech(request)
    facts["regions"] = named(facilities.regions(t.language), t)
    facts["districts"] = districts_of(asked["region"], t)
    facts["is_narrowed"] = any(asked[name] for name in NARROWING)
    return view.render(request, "medid/persons.html", facts)


async def new_person(request: Request) -> Response:
    """The empty form; `family` may come filled from the search."""
    typed = {name: request.query_params.get(name, "") for name in _DRAFT_FIELDS}
    return _form(request, typed)


async def pinfl(request: Request) -> Response:
    """What a PINFL tells while it is typed: birth date and sex, or what is wrong with it."""
    text = request.query_params.get("pinfl", "")
    return view.render(
        request, "medid/pinfl.html", {"read": api.read_pinfl(text), "typed": text.replace(" ", "")}
    )


async def register(request: Request) -> Response:
    """Makes a card, after showing what is wrong and who may be the same person."""
    form = await view.form(request)
    typed = {name: view.field(form, name) for name in _DRAFT_FIELDS}
    asked = dict(typed)
    typed["birth_date"] = iso_day(typed["birth_date"])
    draft = api.Draft(**typed, is_pinfl_unverified=bool(form.get("is_pinfl_unverified")))
    draft = await _with_mother(request, draft)
    findings = api.check(draft, clock.today())
    if any(finding.severity == "error" for finding in findings):
        return _form(request, asked, findings, status=422)
    despite = tuple(str(one) for one in form.getlist("despite"))
    seen: dict[str, Any]
    try:
        made = await api.register(
            view.gateway(request), view.signed_in(request), draft, despite=despite
        )
    except api.NearMatchesError as near:
        t = view.speech(request)
        seen = {"matches": [_match(t, one) for one in near.matches], "holder": None}
    except api.NumberHeldError as held:
        seen = {"matches": [], "holder": held.holder}
    else:
        return view.redirect(request, f"/card/{made}?registered=1")
    # What was answered on the way stays answered: the flag and those already put aside.
    kept = {"typed": typed, "unverified": draft.is_pinfl_unverified, "despite": despite}
    return view.render(request, "medid/near.html", {**kept, **seen})


async def _with_mother(request: Request, draft: api.Draft) -> api.Draft:
    """The mother named by a number becomes the id of her card; nobody where it names none."""
    if draft.category != "newborn" or not draft.mother:
        return draft
    hits = await api.find(view.gateway(request), view.signed_in(request), draft.mother, 2)
    return msgspec.structs.replace(draft, mother=hits[0].id if len(hits) == 1 else "")


def _match(t: Speech, match: api.NearMatch) -> dict[str, Any]:
    """A near match as the template shows it: dates and sex in words, numbers of others masked."""
    rows = []
    for pair in match.fields:
        draft, record = pair.draft, pair.record
        if pair.field in MASKED:
            record = masked(record, *MASKED[pair.field])
        elif pair.field == "birth_date" and pair.verdict == "same":
            draft, record = plain(draft, t.date), plain(record, t.date)
        elif pair.field == "sex":
            draft, record = (plain(one, lambda code: t(f"sex.{code}")) for one in (draft, record))
        rows.append({"field": pair.field, "draft": draft, "record": record,
                     "verdict": pair.verdict, "weight": pair.weight})  # fmt: skip  # One row.
    return {"hit": match.hit, "is_certain": match.is_certain, "fields": rows}


def _form(
    request: Request,
    typed: dict[str, str],
    findings: list[api.Finding] | None = None,
    status: int = 200,
) -> Response:
    t = view.speech(request)
    errors = {
        finding.field: t(finding.key, **finding.values)
        for finding in findings or []
        if finding.severity == "error"
    }
    return view.render(
        request,
        "medid/new.html",
        {
            "typed": typed,
            "errors": errors,
            "regions": named(facilities.regions(t.language), t),
            "districts": districts_of(typed.get("region", ""), t),
            "categories": [(code, t(f"medid.category.{code or 'known'}"))
                           for code in api.CATEGORIES],
            "kinds": [("", "—"), *((code, t(f"medid.document.{code}"))
                                   for code in api.DOCUMENT_KINDS)],
        },
        status=status,
    )


async def districts(request: Request) -> Response:
    """The districts of the chosen region, as options of the form's field."""
    found = districts_of(request.query_params.get("region", ""), view.speech(request))
    return view.render(request, "medid/districts.html", {"districts": found})


async def slip(request: Request) -> Response:
    """The registration slip as PDF."""
    made = await api.slip_pdf(
        view.gateway(request), view.signed_in(request), request.path_params["id"],
        view.speech(request).language,
    )  # fmt: skip  # Who, of whom, and in which language.
    return Response(made, media_type="application/pdf", headers={"Cache-Control": "no-store"})


ROUTES: tuple[Route, ...] = (
    Route(path="/persons", endpoint=persons, roles=SEES),
    Route(path="/persons/new", endpoint=new_person, roles=SEES),
    Route(path="/persons/new", endpoint=register, roles=SEES, methods=("POST",)),
    Route(path="/persons/pinfl", endpoint=pinfl, roles=SEES),
    Route(path="/persons/districts", endpoint=districts, roles=SEES),
    Route(path="/card/{id}/slip.pdf", endpoint=slip, roles=SEES),
    *merging.ROUTES,
    *keeping.ROUTES,
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="menu.persons", path="/persons", icon="persons", roles=SEES, order=20),
    *merging.MENU,
)
