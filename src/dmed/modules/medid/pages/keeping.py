"""The registrar's sheet of a card: its history, family and attachment, and the acts upon it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.fhir.persons import replaced_by
from dmed.kit import clock
from dmed.kit.errors import DmedError, NotFoundError, PreconditionError
from dmed.kit.i18n import Speech
from dmed.modules.facilities import api as facilities
from dmed.modules.medid.pages.merging import KEEPS
from dmed.modules.medid.pages.shared import districts_of, iso_day, named
from dmed.modules.medid.rules import documents, drafts, keeping, merging, numbers, reading
from dmed.modules.medid.service import acts, finding, printing
from dmed.pages import view
from dmed.trust.manifest import Route
from dmed.trust.model import Role, Subject

SEES = frozenset({Role.REGISTRAR, Role.DOCTOR})
Record = dict[str, Any]
_CORRECTED = ("family", "given", "patronymic", "birth_date", "sex", "pinfl", "phone", "region",
              "district", "address_line")


async def sheet(request: Request) -> Response:
    """What the card says and ever said of the person, with the acts of a registrar."""
    return await _sheet(request, [])


async def _sheet(request: Request, faults: list[str]) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    person = request.path_params["id"]
    t = view.speech(request)
    card = await gateway.get(subject, "Patient", person)
    kin = [_kin(t, one) for one in await acts.relatives(gateway, subject, person)]
    former = [_former(t, one) for one in await acts.history(gateway, subject, person)]
    now = keeping.attachment(card)
    facts = {
        "person": reading.hit(card), "name": reading.name_for(card, t.language),
        "merged_into": replaced_by(card), "is_deceased": merging.is_deceased(card),
        "died": card.get("deceasedDateTime", "")[:10], "kin": kin, "history": former,
        "attachment": now, "until": now.until.isoformat() if now.until else "",
        "since": now.since.isoformat() if now.since else "", "faults": faults,
        "is_bound": bool(now.until and clock.today() < now.until),
        "kinds": [(code, t(f"medid.document.{code}")) for code in documents.CHOSEN],
        "kin_roles": [(code, t(f"medid.kin.{code}")) for code in keeping.ROLES],
        "exceptions": [(code, t(f"medid.attach.why.{code}")) for code in keeping.EXCEPTIONS],
        "clinics": await _clinics(request, subject), "keeps": subject.role in KEEPS,
        "done": request.query_params.get("done", ""),
        "clinic_text": request.query_params.get("clinic", ""),
    }
    return view.render(request, "medid/sheet.html", facts, status=422 if faults else 200)


async def _clinics(request: Request, subject: Subject) -> list[tuple[str, str]]:
    """(id, name) of the own clinic, or of those whose name begins with what was asked."""
    t = view.speech(request)
    asked = request.query_params.get("clinic", "").strip()[:60]
    own = [(subject.organisation, t.script(subject.organisation_name))]
    if not asked:
        return [one for one in own if one[0]]
    found = await facilities.find(view.gateway(request), subject, asked, 20)
    return [(one.id, t.script(one.name)) for one in found]


def _kin(t: Speech, related: Record) -> dict[str, Any]:
    codes = [coding.get("code", "") for concept in related.get("relationship", [])
             for coding in concept.get("coding", [])]
    role = next((code for code in codes if code in keeping.ROLES), "FAMMEMB")
    name: Record = next(iter(related.get("name", [])), {})
    number, _ = reading.identifier(related, numbers.MED_ID_SYSTEM)
    return {"id": related["id"], "role": t(f"medid.kin.{role}"),
            "name": t.name(reading.full_name(name)), "med_id": numbers.show_med_id(number),
            "active": related.get("active") is not False}


def _former(t: Speech, one: keeping.Former) -> dict[str, str]:
    """A line of the history; numbers of documents are masked."""
    kind, _, document = one.kind.partition(".")
    text, what = one.text, t(f"medid.history.{kind}")
    if kind == "document":
        what = t(f"medid.document.{document}")
        text = numbers.show_med_id(text) if document == "hc" else (
            numbers.mask_pinfl(text) if len(text) > 4 else text)
    elif kind == "phone":
        text = numbers.mask_phone(text)
    elif kind == "name":
        text = t.name(text)
    else:
        text = t.script(text)
    return {"what": what, "text": text, "since": t.date(one.since[:10]) if one.since else "",
            "until": t.date(one.until[:10]) if one.until else "", "use": one.use}


async def correct_form(request: Request) -> Response:
    """The form of what the card says, filled."""
    card = await view.gateway(request).get(
        view.signed_in(request), "Patient", request.path_params["id"])
    draft = keeping.draft_of(card)
    typed = {name: getattr(draft, name) for name in _CORRECTED}
    typed |= {"version": card["meta"]["versionId"], "reason": ""}
    return _form(request, typed, {}, unverified=draft.is_pinfl_unverified)


def _form(
    request: Request, typed: dict[str, str], errors: dict[str, str], *, unverified: bool,
    notes: list[str] | None = None, warnings: list[str] | None = None,
) -> Response:
    t = view.speech(request)
    return view.render(request, "medid/correct.html", {
        "typed": typed, "errors": errors, "unverified": unverified, "notes": notes or [],
        "warnings": warnings or [], "person": request.path_params["id"],
        "regions": named(facilities.regions(t.language), t),
        "districts": districts_of(typed.get("region", ""), t)},
        status=422 if errors or notes else 200)


async def correct(request: Request) -> Response:
    """Changes the card; what it said before stays as former."""
    form = await view.form(request)
    t, person = view.speech(request), request.path_params["id"]
    typed = {name: view.field(form, name) for name in (*_CORRECTED, "version", "reason")}
    typed["birth_date"] = iso_day(typed["birth_date"])
    gateway, subject = view.gateway(request), view.signed_in(request)
    before = keeping.draft_of(await gateway.get(subject, "Patient", person))
    draft = msgspec.structs.replace(
        before, **{name: typed[name] for name in _CORRECTED},
        is_pinfl_unverified=bool(form.get("is_pinfl_unverified")))
    findings = drafts.check(draft, clock.today())
    errors = {one.field: t(one.key, **one.values) for one in findings if one.severity == "error"}
    warnings = [t(one.key, **one.values) for one in findings if one.severity == "warning"]
    unverified = draft.is_pinfl_unverified
    if errors:
        return _form(request, typed, errors, unverified=unverified, warnings=warnings)
    version = typed["version"]
    try:
        await acts.correct(gateway, subject, person, draft, typed["reason"],
                           int(version) if version.isdecimal() else None)
    except PreconditionError:
        notes = [t("medid.correct.stale")]
    except DmedError as refusal:
        if refusal.status not in (409, 422):
            raise
        notes = view.sentences(t, refusal)
    else:
        return view.redirect(request, f"/persons/{person}/sheet?done=correct")
    return _form(request, typed, {}, unverified=unverified, notes=notes, warnings=warnings)


async def act(request: Request) -> Response:
    """One act upon a card, from the forms of its sheet."""
    what, person = request.path_params["what"], request.path_params["id"]
    form = await view.form(request)
    run = _ACTS.get(what)
    if run is None:
        raise NotFoundError(f"there is no act {what!r} upon a card")
    try:
        await run(view.gateway(request), view.signed_in(request), person, form)
    except DmedError as refusal:
        if refusal.status not in (404, 409, 422):
            raise
        return await _sheet(request, view.sentences(view.speech(request), refusal))
    return view.redirect(request, f"/persons/{person}/sheet?done={what}")


async def _attach(gateway: Any, subject: Subject, person: str, form: FormData) -> None:
    await acts.attach(gateway, subject, person, view.field(form, "organisation"),
                      view.field(form, "exception"))


async def _close(gateway: Any, subject: Subject, person: str, form: FormData) -> None:
    await acts.close(gateway, subject, person, view.field(form, "reason"))


async def _reopen(gateway: Any, subject: Subject, person: str, form: FormData) -> None:
    await acts.reopen(gateway, subject, person, view.field(form, "reason"))


async def _death(gateway: Any, subject: Subject, person: str, form: FormData) -> None:
    await acts.note_death(gateway, subject, person, iso_day(view.field(form, "died")),
                          view.field(form, "reason"))


async def _alive(gateway: Any, subject: Subject, person: str, form: FormData) -> None:
    await acts.take_back_death(gateway, subject, person, view.field(form, "reason"))


async def _document(gateway: Any, subject: Subject, person: str, form: FormData) -> None:
    await acts.add_document(gateway, subject, person, view.field(form, "document_kind"),
                            view.field(form, "document"), view.field(form, "country").upper())


async def _relate(gateway: Any, subject: Subject, person: str, form: FormData) -> None:
    typed = view.field(form, "kin")
    hits = await finding.find(gateway, subject, typed, 2) if typed else []
    if len(hits) != 1:
        raise NotFoundError("one card must be named: by its MED-ID or PINFL")
    await acts.relate(gateway, subject, person, hits[0].id, view.field(form, "role"),
                      view.field(form, "paper"))


async def _unrelate(gateway: Any, subject: Subject, person: str, form: FormData) -> None:
    await acts.unrelate(gateway, subject, person, view.field(form, "related"),
                        view.field(form, "reason"))


_ACTS = {"attach": _attach, "close": _close, "reopen": _reopen, "death": _death, "alive": _alive,
         "document": _document, "relate": _relate, "unrelate": _unrelate}


async def wristband(request: Request) -> Response:
    """The wristband as PDF."""
    made = await printing.wristband_pdf(
        view.gateway(request), view.signed_in(request), request.path_params["id"],
        view.speech(request).language)
    return Response(made, media_type="application/pdf", headers={"Cache-Control": "no-store"})


ROUTES: tuple[Route, ...] = (
    Route(path="/persons/{id}/sheet", endpoint=view.screen(sheet), roles=SEES),
    Route(path="/persons/{id}/correct", endpoint=view.screen(correct_form), roles=KEEPS),
    Route(path="/persons/{id}/correct", endpoint=view.screen(correct), roles=KEEPS,
          methods=("POST",)),
    Route(path="/persons/{id}/act/{what}", endpoint=view.screen(act), roles=KEEPS,
          methods=("POST",)),
    Route(path="/persons/{id}/wristband.pdf", endpoint=view.screen(wristband), roles=SEES),
)  # fmt: skip  # A table.

