"""Screens of prescriptions: the workspace beside the card, the signed prescription, pickers.

The draft lives in the database; each act posts the whole form, which is read into a Draft, saved,
checked and shown again. While a dose is typed only the findings come back, never the fields.
"""

from __future__ import annotations

import base64
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import clock, ids
from dmed.kit.errors import InvalidError, NotFoundError, UnprocessableError
from dmed.kit.i18n import Speech
from dmed.modules.card import api as cards
from dmed.modules.medicines import api as medicines
from dmed.modules.medid import api as medid
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.model import (
    ITEMS_COMMISSION_MAX,
    ITEMS_MAX,
    Alert,
    Draft,
    DraftItem,
    Item,
    Prescription,
    Tier,
)
from dmed.modules.prescriptions.pages import offline, outside, paper, pickers, sent
from dmed.modules.prescriptions.pages.pickers import TEXT_CHARACTERS_MAX
from dmed.modules.prescriptions.rules import courses, numbers, unregistered, weights
from dmed.modules.signing import api as signatures
from dmed.pages import view
from dmed.trust.manifest import Route
from dmed.trust.model import Role

REPEATS = ("1", "2", "3")
VALIDITY_CLASSES = ("", "ordinary", "chronic", "chronic-60", "anabolic", "reimbursed")
UNFINISHED = frozenset({
    "no-patient", "no-items", "no-diagnosis", "no-dose", "no-frequency", "no-duration",
    "no-quantity",
})  # fmt: skip  # Findings that only say "not written yet": shown once signing was tried.
DOCTORS = frozenset({Role.DOCTOR})
READERS = frozenset({Role.DOCTOR, Role.PHARMACIST})


# The workspace


async def workspace(request: Request) -> Response:
    """The workspace beside the card: a given draft, the newest of this person, or an empty one."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    asked, person = request.query_params, request.path_params["id"]
    if asked.get("draft"):
        try:
            draft = await api.draft(gateway, subject, asked["draft"])
        except NotFoundError:
            return _without_draft(request, person)
    elif asked.get("correct"):
        draft = _again(await api.prescription(gateway, subject, asked["correct"]))
    elif asked.get("paper"):
        number = await api.paper_forms.check(gateway, subject, asked["paper"])
        form = api.Paper(number=number, written=clock.now(), reason=api.PAPER_REASONS[0])
        draft = Draft(patient=person, paper=form)
    else:
        drafts = await api.drafts(gateway, subject, person)
        draft = drafts[0] if drafts else Draft(patient=person)
    focus = ""
    if asked.get("medicine"):
        draft = _with_medicine(draft, asked["medicine"])
        focus = f"dose-{len(draft.items) - 1}"
    return await _show(request, api.derive(draft), focus=focus)


async def act(request: Request) -> Response:
    """One act on the draft: choose a diagnosis, add or remove a medicine, repeat, sign."""
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    person = request.path_params["id"]
    what, _, which = view.field(form, "act").partition(":")
    draft = api.derive(read_draft(form, person))
    focus = "medicine"
    if what == "repeat":
        draft = await api.repeat_last(gateway, subject, person)
    elif what == "drop":
        if draft.id:
            await api.drop_draft(gateway, subject, draft.id)
        return view.redirect(request, f"/card/{person}")
    elif what == "remove" and which.isdecimal():
        kept = [item for place, item in enumerate(draft.items) if place != int(which)]
        draft = msgspec.structs.replace(draft, items=tuple(kept))
    elif what in {"favourite", "keep-favourite", "drop-favourite", "weigh"}:
        draft = api.derive(await _helped(request, form, draft, what, which))
    elif what == "diagnosis":
        draft = msgspec.structs.replace(draft, diagnosis=which)
        focus = "medicine" if which else "diagnosis"
    elif what == "outside":
        line = outside.line(form)
        if line is None:
            return await _show(request, draft, focus=outside.first_missing(form),
                               stated=outside.typed(form), is_refused=True)
        draft = _with_line(draft, line)
        focus = f"dose-{len(draft.items) - 1}"
    elif view.field(form, "add"):
        draft = api.derive(_with_medicine(draft, view.field(form, "add")))
        focus = f"dose-{len(draft.items) - 1}"
    try:
        draft = await api.save_draft(gateway, subject, draft)
    except NotFoundError:
        return _without_draft(request, person)
    if what == "sign":
        return await _sign(request, draft, view.field(form, "key"))
    stated = None if what == "outside" else outside.typed(form)
    return await _show(request, draft, focus=focus, stated=stated)


def _without_draft(request: Request, person: str) -> Response:
    """The draft was signed or dropped in another window: the workspace as it stands now says so."""
    return view.redirect(request, f"/card/{person}/prescribe?gone=1")


async def _helped(
    request: Request, form: FormData, draft: Draft, what: str, which: str
) -> Draft:
    """Favourites and doses by weight: what fills lines instead of typing them."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    if what == "favourite":
        return await api.favourites.added(gateway, subject, which, draft)
    if what == "drop-favourite":
        await api.favourites.drop(gateway, subject, which)
    elif what == "keep-favourite":
        await api.favourites.keep(gateway, subject, view.field(form, "favourite-name"), draft)
    elif which.isdecimal() and int(which) < len(draft.items):
        return await _weighed(request, form, draft, int(which))
    return draft


async def _weighed(request: Request, form: FormData, draft: Draft, place: int) -> Draft:
    """The draft with one dose worked out of mg/kg a day and the card's weight."""
    facts = await medid.facts(view.gateway(request), view.signed_in(request), draft.patient)
    item = draft.items[place]
    wanted = _decimal(view.field(form, f"item-{place}-per_kg"))
    found = _preparation(item)
    dose = weights.dose_for(
        found, wanted, item.times_per_day, facts.weight_kg) if found else None
    if dose is None:
        return draft
    changed = msgspec.structs.replace(item, dose=dose, quantity=Decimal(0))
    items = (*draft.items[:place], changed, *draft.items[place + 1 :])
    return msgspec.structs.replace(draft, items=items)


async def live_check(request: Request) -> Response:
    """Saves what was typed and answers with the findings alone."""
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    typed = read_draft(form, request.path_params["id"])
    try:
        draft = await api.save_draft(gateway, subject, api.derive(typed))
    except NotFoundError:
        # Signed or dropped while this was on its way: the page is leaving, nothing is to be said.
        return Response(status_code=204)
    facts = await _facts(request, draft, is_tried=view.field(form, "tried") == "1")
    return view.render(request, "prescriptions/live.html", facts)


async def _sign(request: Request, draft: Draft, key: str) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    try:
        if signatures.is_outside(gateway.settings):
            await api.prepare(gateway, subject, draft)
            return view.redirect(request, f"/card/{draft.patient}/sign/{draft.id}")
        if draft.replaces:
            made = await api.correct(gateway, subject, draft.replaces, draft, key=key)
        else:
            made = await api.sign(gateway, subject, draft, key=key)
    except UnprocessableError:
        return await _show(request, draft, is_tried=True)
    return view.redirect(request, f"/prescriptions/{made.number}?signed=1")


async def sign_outside(request: Request) -> Response:
    """What the doctor signs with the program of his desk, word for word."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    if not signatures.is_outside(gateway.settings):
        raise NotFoundError("This installation makes the signatures itself")
    draft = await api.draft(gateway, subject, request.path_params["draft"])
    asked = await api.prepare(gateway, subject, draft)
    facts = {
        "draft": draft, "asked": asked, "shown": signatures.read(asked.document),
        "document": base64.b64encode(asked.document).decode(),
        "socket": gateway.settings.eimzo_socket, "key": gateway.settings.eimzo_key,
    }  # fmt: skip  # Facts of one page.
    page = view.render(request, "signing/sign.html", facts)
    address = urlsplit(gateway.settings.eimzo_socket)
    page.headers["Content-Security-Policy"] = view.POLICY.replace(
        "connect-src 'self'", f"connect-src 'self' {address.scheme}://{address.netloc}"
    )
    return page


async def signed_outside(request: Request) -> Response:
    """Takes the signature of the desk's program and makes the prescription."""
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    draft = await api.draft(gateway, subject, request.path_params["draft"])
    try:
        message = base64.b64decode(view.field(form, "pkcs7"), validate=True)
    except ValueError as error:
        raise InvalidError("The signature is no Base64") from error
    given = signatures.Given(view.field(form, "request"), message)
    made = await api.sign(gateway, subject, draft, given=given)
    return view.redirect(request, f"/prescriptions/{made.number}?signed=1")


async def _show(
    request: Request, draft: Draft, *, focus: str = "", is_tried: bool = False,
    stated: dict[str, str] | None = None, is_refused: bool = False,
) -> Response:
    facts = await _facts(request, draft, is_tried=is_tried)
    facts["outside"] = await outside.facts(request, draft, stated, is_refused=is_refused)
    if not focus:
        focus = "medicine" if draft.diagnosis else "diagnosis"
    facts["focus"] = _first_unanswered(facts["alerts"]) or focus if is_tried else focus
    facts["key"] = ids.secret(128)
    facts["is_gone"] = "gone" in request.query_params
    facts["forms"] = await paper.waiting(request) if not draft.paper and not draft.items else ()
    if view.is_fragment(request):
        return view.render(request, "prescriptions/workspace.html", facts)
    facts["card"] = await cards.open_card(
        view.gateway(request), view.signed_in(request), draft.patient, facts["language"]
    )
    if not draft.diagnosis:
        facts["offered"] = facts["card"].problems[:4]
    return view.render(request, "prescriptions/prescribe.html", facts)


async def _facts(request: Request, draft: Draft, *, is_tried: bool) -> dict[str, Any]:
    t = view.speech(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    alerts = await api.check(gateway, subject, draft)
    shown = [alert for alert in alerts if is_tried or alert.rule not in UNFINISHED]
    preparations = [_preparation(item) for item in draft.items]
    child = await _child(request, draft)
    known = tuple(found for found in preparations if found is not None)
    named = courses.validity_class(draft, known)
    first_day = paper.day_of(draft.paper) if draft.paper else clock.today()
    until = courses.valid_until(named, draft.start or first_day)
    return {
        "draft": draft,
        "person": draft.patient,
        "language": t.language,
        "is_tried": is_tried,
        "alerts": shown,
        "whole_alerts": [alert for alert in shown if alert.item < 0],
        "lines": [
            _line(t, place, item, found, shown) | _by_weight(child, item, found)
            for place, (item, found) in enumerate(zip(draft.items, preparations, strict=True))
        ],
        "diagnosis": _diagnosis(t, draft.diagnosis),
        "offered": (),
        "overrides": [(code, t(f"prescriptions.override.{code}")) for code in api.OVERRIDE_REASONS],
        "timings": [
            (code, t(f"prescriptions.timing.{code}") if code else t("prescribe.timing_any"))
            for code in api.TIMINGS
        ],
        "repeats": [(code, t(f"prescribe.repeats.{code}")) for code in REPEATS],
        "validities": [
            (code, t(f"prescribe.validity.{code or 'usual'}")) for code in VALIDITY_CLASSES
        ],
        "until": until,
        "until_days": (until - clock.today()).days,
        "saved_at": draft.updated,
        "items_max": ITEMS_COMMISSION_MAX if draft.commission else ITEMS_MAX,
        "child": child,
        "favourites": await api.favourites.listed(gateway, subject),
        "exceptions": [(code, t(f"prescriptions.exception.{code}")) for code in api.INN_EXCEPTIONS],
        "paper": paper.facts(t, draft.paper),
        "say": lambda reason: api.say(t, reason),
        "plain": plain,
    }


async def _child(request: Request, draft: Draft) -> medid.PersonFacts | None:
    """Age and weight where doses go by weight; None for adults."""
    if not draft.items:
        return None
    facts = await medid.facts(view.gateway(request), view.signed_in(request), draft.patient)
    return facts if 0 <= facts.age_years < weights.CHILD_YEARS else None


def _by_weight(
    child: medid.PersonFacts | None, item: DraftItem, found: medicines.Preparation | None
) -> dict[str, Any]:
    """What a child's line means in mg/kg a day; nothing where it is no mass."""
    if child is None or found is None or not weights.milligrams(found):
        return {"is_by_weight": False}
    return {"is_by_weight": True, "per_kg": weights.per_kg_day(found, item, child.weight_kg)}


def _line(
    t: Speech,
    place: int,
    item: DraftItem,
    preparation: medicines.Preparation | None,
    alerts: list[Alert],
) -> dict[str, Any]:
    """What the template shows of one medicine of the draft."""
    mine = [alert for alert in alerts if alert.item == place]
    row: dict[str, Any] = {
        "place": place, "item": item, "alerts": mine, "label": item.preparation, "atc": "",
        "dose_unit": "", "unit": "", "quantity_typed": "", "products": (),
        "tier": next((tier.value for tier in Tier if any(one.tier is tier for one in mine)), ""),
    }  # fmt: skip  # A row of a table.
    if preparation is not None:
        is_derived = item.quantity == courses.quantity_of(preparation, item)
        row.update(
            label=t.script(preparation.label(t.language)),
            atc=preparation.atc,
            dose_unit=t.script(medicines.unit_name(preparation.form.dose_unit, t.language)),
            unit=t.script(medicines.unit_name(preparation.form.unit, t.language)),
            quantity_typed="" if is_derived else plain(item.quantity),
            products=[(one.key, f"{one.trade}, {plain(one.pack_units)}")
                      for one in medicines.products_of(preparation.key)],
        )
    return row


def _preparation(item: DraftItem) -> medicines.Preparation | None:
    if item.unregistered is not None:
        return unregistered.preparation(item.unregistered)
    try:
        return medicines.preparation(item.preparation)
    except NotFoundError:
        return None


def _diagnosis(t: Speech, code: str) -> dict[str, str]:
    found = api.diagnosis(code) if code else None
    return {"code": code, "name": t.script(found.name(t.language)) if found else ""}


def _first_unanswered(alerts: list[Alert]) -> str:
    """Where the cursor goes when signing was refused: the first reason that is still missing."""
    for alert in alerts:
        if alert.tier is Tier.INTERRUPT and not alert.override and alert.item >= 0:
            return f"override-{alert.item}-{alert.rule}"
    return ""


def _with_medicine(draft: Draft, key: str) -> Draft:
    """The draft with one line more; the sixth is refused."""
    medicines.preparation(key)
    return _with_line(draft, DraftItem(preparation=key))


def _with_line(draft: Draft, line: DraftItem) -> Draft:
    most = ITEMS_COMMISSION_MAX if draft.commission else ITEMS_MAX
    if len(draft.items) >= most:
        raise InvalidError(f"A prescription has at most {most} medicines")
    return msgspec.structs.replace(draft, items=(*draft.items, line))


def _again(old: Prescription) -> Draft:
    """A draft that corrects a signed prescription: the same lines, ready to be changed."""
    lines = tuple(
        msgspec.structs.replace(
            api.unregistered_line(item.unregistered) if item.unregistered
            else DraftItem(preparation=item.preparation, product=item.product),
            dose=item.dose, times_per_day=item.times_per_day, duration_days=item.duration_days,
            diagnosis=item.diagnosis, note=item.note,
            quantity=item.quantity if item.unregistered else Decimal(0))
        for item in old.items
    )  # fmt: skip  # One line of a prescription.
    return Draft(patient=old.patient, diagnosis=old.diagnosis, items=lines,
                 trustee=old.trustee, replaces=old.number,
                 repeats=max(item.instances for item in old.items))  # fmt: skip  # Same.


# Reading the form


def read_draft(form: FormData, person: str) -> Draft:
    """The draft that a posted form means; raises InvalidError for a number that is none."""
    items = []
    commission = view.field(form, "commission")[:TEXT_CHARACTERS_MAX]
    for place in range(ITEMS_COMMISSION_MAX if commission else ITEMS_MAX):
        key = view.field(form, f"item-{place}-preparation")
        if key:
            items.append(_read_item(form, f"item-{place}-", key, place))
    validity = view.field(form, "validity")
    repeats = view.field(form, "repeats")
    return Draft(
        id=view.field(form, "draft"),
        patient=person,
        diagnosis=view.field(form, "diagnosis"),
        items=tuple(items),
        validity_class=validity if validity in VALIDITY_CLASSES else "",
        trustee=view.field(form, "trustee")[:TEXT_CHARACTERS_MAX],
        repeats=int(repeats) if repeats in REPEATS else 1,
        start=_first_day(view.field(form, "start")),
        replaces=view.field(form, "replaces"),
        commission=commission,
        paper=paper.read(form),
    )


def _first_day(text: str) -> date | None:
    """The first day as the browser's date field sends it; today is no later day."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidError(f"{text[:20]!r} is no day (YYYY-MM-DD)") from error
    return None if day == clock.today() else day


def _read_item(form: FormData, prefix: str, key: str, place: int) -> DraftItem:
    timing = view.field(form, prefix + "timing")
    start = f"override-{place}-"
    overrides = {
        name.removeprefix(start): value
        for name, value in form.items()
        if name.startswith(start) and isinstance(value, str) and value in api.OVERRIDE_REASONS
    }
    stated = outside.read(form, prefix)
    line = api.unregistered_line(stated) if stated else DraftItem(preparation=key)
    return msgspec.structs.replace(
        line,
        dose=_decimal(view.field(form, prefix + "dose")),
        times_per_day=_whole(view.field(form, prefix + "times")),
        duration_days=_whole(view.field(form, prefix + "days")),
        quantity=_decimal(view.field(form, prefix + "quantity")),
        timing=timing if timing in api.TIMINGS else "",
        as_needed=view.field(form, prefix + "as_needed") == "1",
        note=view.field(form, prefix + "note")[:TEXT_CHARACTERS_MAX],
        product=view.field(form, prefix + "product")[:TEXT_CHARACTERS_MAX],
        exception=view.field(form, prefix + "exception")[:TEXT_CHARACTERS_MAX],
        overrides=overrides,
    )


def _decimal(text: str) -> Decimal:
    """A number as typed, with comma or point; empty is zero. At most six digits before the sign."""
    try:
        value = Decimal(text.replace(",", ".").replace(" ", "") or "0")
    except InvalidOperation as fault:
        raise InvalidError(f"{text!r} is no number") from fault
    if not value.is_finite() or not 0 <= value < 1_000_000:
        raise InvalidError(f"{text!r} is out of range")
    return value


def _whole(text: str) -> int:
    """A whole number as typed; half a time a day is refused, not rounded."""
    value = _decimal(text)
    if value != int(value):
        raise InvalidError(f"{text!r} is no whole number")
    return int(value)


def plain(value: Decimal) -> str:
    """A number for a field: 2 for 2.00, nothing for zero."""
    return f"{courses.whole(value):f}" if value else ""


# The signed prescription


async def signed(request: Request) -> Response:
    """A signed prescription: number, code, QR, items with their states, and what may follow."""
    return await _prescription(request, request.path_params["number"])


async def _prescription(request: Request, number: str, *, status: int = 200) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    t = view.speech(request)
    found = await api.prescription(gateway, subject, number)
    is_mine = bool(found.prescriber) and found.prescriber == subject.practitioner_role
    text = await api.qr_text(gateway, subject, found.number) if is_mine else ""
    facts = {
        "rx": found, "number": api.show_number(found.number), "is_mine": is_mine,
        "is_new": "signed" in request.query_params,
        "qr": await api.qr_svg(gateway, subject, found.number) if is_mine else "",
        "code": numbers.show_code(numbers.read_qr(text).code) if text else "",
        "diagnosis": _diagnosis(t, found.diagnosis),
        "reasons": [(code, t(f"prescriptions.cancel.{code}")) for code in api.CANCEL_REASONS],
        "may_change": all(item.state.value == "to-be-dispensed" for item in found.items),
        "passed": lambda item: _passed(t, item),
        "standing": lambda item: api.standing(t, item, found.valid_until),
        "paper": paper.facts(t, found.paper),
        "trade": lambda key: medicines.product(key).trade,
        "pick": lambda texts: t.script(texts.get(t.language) or texts.get("uz", "")),
        "unit": lambda unit: t.script(medicines.unit_name(unit, t.language)),
    }  # fmt: skip  # Facts of one page.
    return view.render(request, "prescriptions/prescription.html", facts, status=status)


def _passed(t: Speech, item: Item) -> list[str]:
    """The findings that the doctor passed with a reason, each with that reason."""
    known = _preparation(DraftItem(preparation=item.preparation))
    inn = known.inn.key if known else ""
    return [
        f"{api.say(t, alert.reason, inn)} — {t(f'prescriptions.override.{alert.override}')}"
        for alert in item.alerts
    ]


async def cancel(request: Request) -> Response:
    """Cancels the prescription with a coded reason and shows it as it stands now."""
    form = await view.form(request)
    number, reason = request.path_params["number"], view.field(form, "reason")
    gateway, subject = view.gateway(request), view.signed_in(request)
    await api.cancel(gateway, subject, number, reason=reason)
    return view.redirect(request, f"/prescriptions/{number}")


async def slip(request: Request) -> Response:
    """The slip for the patient as PDF, A5 or A4."""
    paper = request.query_params.get("paper", "a5")
    made = await api.slip_pdf(
        view.gateway(request), view.signed_in(request), request.path_params["number"],
        view.speech(request).language, paper=paper if paper in ("a5", "a4") else "a5",
    )  # fmt: skip  # Who, which, how.
    return Response(made, media_type="application/pdf", headers={"Cache-Control": "no-store"})


async def of_person(request: Request) -> Response:
    """A person's prescriptions, for the card's tab of documents."""
    t = view.speech(request)
    found = await api.for_person(
        view.gateway(request), view.signed_in(request), request.path_params["id"]
    )
    rows = [
        {
            "number": one.number,
            "shown": api.show_number(one.number),
            "signed": one.signed,
            "until": one.valid_until,
            "prescriber": one.prescriber_name,
            "items": [
                (t.script(item.label.get(t.language) or item.label.get("uz", "")), item.state.value)
                for item in one.items
            ],
        }
        for one in found
    ]
    return view.render(request, "prescriptions/of_person.html", {"rows": rows})


ROUTES: tuple[Route, ...] = (
    Route(path="/card/{id}/prescribe", endpoint=workspace, roles=DOCTORS),
    Route(path="/card/{id}/prescribe", endpoint=act, roles=DOCTORS, methods=("POST",)),
    Route(path="/card/{id}/prescribe/check", endpoint=live_check, roles=DOCTORS, methods=("POST",)),
    Route(path="/card/{id}/sign/{draft}", endpoint=sign_outside, roles=DOCTORS),
    Route(path="/card/{id}/sign/{draft}", endpoint=signed_outside, roles=DOCTORS,
          methods=("POST",)),
    Route(path="/card/{id}/prescriptions", endpoint=of_person, roles=DOCTORS | {Role.REGISTRAR}),
    *paper.ROUTES,
    *offline.ROUTES,
    *sent.ROUTES,
    *outside.ROUTES,
    Route(path="/prescriptions/{number}", endpoint=signed, roles=READERS),
    Route(path="/prescriptions/{number}/slip.pdf", endpoint=slip, roles=DOCTORS),
    Route(path="/prescriptions/{number}/cancel", endpoint=cancel, roles=DOCTORS, methods=("POST",)),
    *pickers.ROUTES,
)
