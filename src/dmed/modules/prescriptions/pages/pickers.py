"""Pickers as you type, and the page of a medicine."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions import api
from dmed.pages import view
from dmed.trust.manifest import SIGNED_IN, Route

TEXT_CHARACTERS_MAX = 100


def _typed(request: Request) -> str:
    for name in ("q", "text", "diagnosis-q", "medicine-q", "sample4"):
        if request.query_params.get(name):
            return request.query_params[name].strip()[:TEXT_CHARACTERS_MAX]
    return ""


async def diagnoses(request: Request) -> Response:
    """Diagnoses as you type, as options of a picker."""
    t, text = view.speech(request), _typed(request)
    rows = [
        {"value": one.code, "text": t.script(one.name(t.language)), "lead": one.code, "note": ""}
        for one in api.diagnoses(text, t.language, 10)
    ]
    return view.render(request, "prescriptions/options.html", {"rows": rows, "q": text})


async def inns(request: Request) -> Response:
    """INNs as you type, for the form of an allergy."""
    t, text = view.speech(request), _typed(request)
    rows = [
        {"value": one.key, "text": t.script(one.name(t.language)), "lead": "", "note": one.en,
         "inn": one.key}
        for one in medicines.inns(text, t.language, 10)
    ]  # fmt: skip  # A row of options.
    return view.render(request, "prescriptions/options.html", {"rows": rows, "q": text})


async def medicine_options(request: Request) -> Response:
    """Preparations as you type: INN, strength and form in one line."""
    t, text = view.speech(request), _typed(request)
    rows = [
        {"value": hit.preparation.key, "text": t.script(hit.label), "lead": "",
         "note": hit.preparation.atc}
        for hit in medicines.search(text, t.language, 10)
    ]  # fmt: skip  # Same.
    return view.render(request, "prescriptions/options.html", {"rows": rows, "q": text})


async def medicine(request: Request) -> Response:
    """One preparation with the packs on the market."""
    found = medicines.preparation(request.path_params["key"])
    t = view.speech(request)
    facts = {
        "found": found, "products": medicines.products_of(found.key),
        "label": t.script(found.label(t.language)),
        "unit": t.script(medicines.unit_name(found.form.unit, t.language)),
    }  # fmt: skip  # Facts of one page.
    return view.render(request, "prescriptions/medicine.html", facts)


ROUTES: tuple[Route, ...] = (
    Route(path="/diagnoses", endpoint=diagnoses, roles=SIGNED_IN),
    Route(path="/inns", endpoint=inns, roles=SIGNED_IN),
    Route(path="/medicines/options", endpoint=medicine_options, roles=SIGNED_IN),
    Route(path="/medicines/{key}", endpoint=medicine, roles=SIGNED_IN),
)
