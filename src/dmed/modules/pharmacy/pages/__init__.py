"""The counter: scan the prescription, scan the packs, hand over; and what was done today.

One scan box serves both: a prescription's code opens it here, anything else is a pack of the
prescription that is open. Every act shows the whole counter again, so that nothing stale stays.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import ids
from dmed.kit.errors import (
    ConflictError,
    DmedError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ThrottledError,
    UnprocessableError,
)
from dmed.kit.i18n import Speech
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.model import Claim, Found, Lookup, PackVerdict, Proposal
from dmed.modules.pharmacy.pages import offline
from dmed.modules.pharmacy.pages.offline import COUNTER
from dmed.modules.pharmacy.rules import prices
from dmed.modules.pharmacy.rules.packs import UNREGISTERED
from dmed.modules.pharmacy.service import offline_cases, receipt_slip
from dmed.modules.prescriptions import api as prescriptions
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

RECEIVER_CHARACTERS_MAX = 100
INSTEAD_MAX = 30
ITEM_DIGITS_MAX = 2
DONE = {
    "propose": "pharmacy.change.done_here",
    "dispense": "counter.done", "dispense-release": "counter.done", "return": "counter.returned",
    "not-dispensed": "counter.noted", "supply": "counter.done",
}  # fmt: skip  # Act -> the sentence that confirms it.
SUPPLY = ("lot", "expiry", "quantity", "price", "trade")
"""What is typed of a pack outside the register."""
REFUSALS = (ConflictError, ForbiddenError, InvalidError, NotFoundError, ThrottledError,
            UnprocessableError)  # fmt: skip  # What a pharmacist can do something about.


async def counter(request: Request) -> Response:
    """The counter with the prescription of `?number=`, or waiting for the next one."""
    number = _digits(request.query_params.get("number", ""))
    if not number:
        return await _show(request, None)
    gateway, subject = view.gateway(request), view.signed_in(request)
    claim: Claim | None
    try:
        claim = await api.claimed(gateway, subject, number)
    except (NotFoundError, ForbiddenError, ConflictError):
        # What the doctor signed at our proposal stands under a number of its own.
        signed = [one.made for one in await api.changes_about(gateway, subject, number) if one.made]
        claim = await api.claimed(gateway, subject, signed[0]) if signed else None
    return await _show(request, claim, asked="" if claim else number)


async def scan(request: Request) -> Response:
    """What the scanner or the keyboard brought: a prescription, or a pack of the open one."""
    form = await view.form(request)
    raw = form.get("scan")
    raw = raw.strip(" \t\r\n") if isinstance(raw, str) else ""
    number, asked = view.field(form, "number"), view.field(form, "asked")
    try:
        if asked and raw and not api.is_prescription_code(raw):
            return await _claim(request, asked, raw, form)
        if api.is_prescription_code(raw):
            return await _claim(request, raw, view.field(form, "code"), form)
        if number and raw:
            return await _scan_pack(request, number, raw, form)
    except REFUSALS as refusal:
        claim = await _present(request, number)
        return await _show(request, claim, refusal=refusal, asked=asked)
    claim = await _present(request, number)
    return await _show(request, claim, hint="counter.scan_first" if raw else "")


async def _claim(request: Request, code_or_number: str, code: str, form: FormData) -> Response:
    """Takes the prescription; a bare number waits for its code, unless it is ours already."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    digits = _digits(code_or_number)
    is_bare = len(digits) == len(code_or_number.replace("-", "").replace(" ", ""))
    if is_bare and not code:
        try:
            return await _show(request, await api.claimed(gateway, subject, digits))
        except (NotFoundError, ForbiddenError, ConflictError):
            return await _show(request, None, asked=digits)
    number = digits if is_bare else code_or_number
    claim = await api.claim(
        gateway, subject, number, code.replace(" ", ""), key=view.field(form, "key")
    )
    return await _show(request, claim)


async def _scan_pack(request: Request, number: str, raw: str, form: FormData) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    verdict = await api.scan_pack(
        gateway, subject, number, raw, quantity=_quantity(view.field(form, "quantity")),
        price=_quantity(view.field(form, "price")),
    )  # fmt: skip  # One scan.
    return await _show(request, await api.claimed(gateway, subject, number), verdict=verdict)


async def act(request: Request) -> Response:
    """Hands over, returns, says why not, takes a pack out, answers a wish to cancel."""
    form = await view.form(request)
    number = request.path_params["number"]
    what, _, which = view.field(form, "act").partition(":")
    try:
        claim = await _acted(request, form, what, which)
    except REFUSALS as refusal:
        lacking = {f"{which}-{part}" for part in ("lot", "expiry") if what == "supply"
                   and not view.field(form, f"supply-{which}-{part}")}  # fmt: skip  # Two fields.
        return await _show(request, await _present(request, number), refusal=refusal, typed=form,
                           lacking=frozenset(lacking))  # fmt: skip  # One page.
    is_gone = what in {"return", "dispense-release"} and not claim.held
    return await _show(request, None if is_gone else claim, done=DONE.get(what, ""),
                       typed=form if what == "stay" else None)


async def _acted(request: Request, form: FormData, what: str, which: str) -> Claim:
    """Does one act of the counter and gives the claim as it stands then."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    number, key = request.path_params["number"], view.field(form, "key")
    if what in {"dispense", "dispense-release"}:
        receiver = view.field(form, "receiver")[:RECEIVER_CHARACTERS_MAX]
        return await api.dispense(
            gateway, subject, number, receiver=receiver, key=key,
            release_rest=what == "dispense-release",
        )  # fmt: skip  # One act.
    if what == "stay":
        return await api.claimed(gateway, subject, number)
    if what == "return":
        reason = _reason(form, api.RETURN_REASONS)
        return await api.return_(gateway, subject, number, reason=reason, key=key)
    if what == "not-dispensed":
        return await _not_dispensed(request, form, number, key)
    if what == "unscan":
        gtin, _, serial = which.partition(":")
        return await api.unscan_pack(gateway, subject, number, gtin, serial)
    if what == "supply" and which.isdecimal():
        return await _supply(request, form, number, int(which), key)
    if what == "propose":
        return await _propose(request, form, number, key)
    if what in {"accept-cancel", "refuse-cancel"} and which.isdecimal():
        return await api.answer_cancel(
            gateway, subject, number, int(which), accept=what == "accept-cancel"
        )
    raise InvalidError(f"The counter has no act {what!r}")


async def _supply(
    request: Request, form: FormData, number: str, item: int, key: str
) -> Claim:
    """Hands over a pack outside the register by its typed batch and expiry."""
    told = {part: view.field(form, f"supply-{item}-{part}") for part in SUPPLY}
    try:
        expiry = date.fromisoformat(told["expiry"]) if told["expiry"] else None
    except ValueError as error:
        raise InvalidError("The expiry is a day: YYYY-MM-DD") from error
    pack = api.GivenPack(
        marking="", quantity=_quantity(told["quantity"]), lot=told["lot"], expiry=expiry,
        price=_quantity(told["price"]), trade=told["trade"],
    )  # fmt: skip  # What stands on a pack.
    receiver = view.field(form, "receiver")[:RECEIVER_CHARACTERS_MAX]
    return await api.supply_unregistered(
        view.gateway(request), view.signed_in(request), number, item, pack, receiver=receiver,
        key=key,
    )  # fmt: skip  # Who gets what.


async def _propose(request: Request, form: FormData, number: str, key: str) -> Claim:
    """Asks the doctor for another strength, form, quantity or trade name of one item."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    kind = view.field(form, "kind")
    choice = view.field(form, "instead")
    wish = api.Wish(
        kind=kind, text=view.field(form, "why"), quantity=_quantity(view.field(form, "amount"))
        or Decimal(0), preparation="" if kind == "brand" else choice,
        product=choice if kind == "brand" else "",
    )  # fmt: skip  # One wish.
    await api.propose_change(gateway, subject, number, _item(form), wish, key=key)
    return await api.claimed(gateway, subject, number)


async def _not_dispensed(request: Request, form: FormData, number: str, key: str) -> Claim:
    """Closes a part-dispensed item without its rest, or says why nothing of it is handed over."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    item = _item(form)
    reason = _reason(form, api.NOT_DISPENSED_REASONS)
    present = await api.claimed(gateway, subject, number)
    if present.item(item).dispensed:
        return await api.close(gateway, subject, number, item, reason=reason, key=key)
    return await api.not_dispensed(
        gateway, subject, number, item, reason=reason, key=key, final=form.get("final") == "1"
    )


async def today(request: Request) -> Response:
    """Everything handed over today, each with its way back."""
    found = await api.today(view.gateway(request), view.signed_in(request))
    t = view.speech(request)
    return view.render(request, "pharmacy/today.html", {
        "today": found, "pick": _picker(t), "unit": _unit(t), "key": ids.secret(128),
        "show": prescriptions.show_number, "money": lambda value: receipt_slip.said(t, value),
    })  # fmt: skip  # Facts of one page.


async def receipt(request: Request) -> Response:
    """What was handed over of a prescription here and what it cost, as PDF."""
    made = await receipt_slip.receipt_pdf(
        view.gateway(request), view.signed_in(request), _digits(request.path_params["number"]),
        view.speech(request).language)  # fmt: skip  # Who, which.
    return Response(made, media_type="application/pdf", headers={"Cache-Control": "no-store"})


async def undo(request: Request) -> Response:
    """Takes one hand-over back and opens its prescription here again."""
    form = await view.form(request)
    claim = await api.undo(
        view.gateway(request), view.signed_in(request), request.path_params["id"],
        key=view.field(form, "key"),
    )  # fmt: skip  # One act.
    return view.redirect(request, f"/counter?number={claim.prescription.number}")


# What the counter shows


async def _show(
    request: Request,
    claim: Claim | None,
    *,
    verdict: PackVerdict | None = None,
    refusal: DmedError | None = None,
    asked: str = "",
    done: str = "",
    hint: str = "",
    typed: FormData | None = None,
    lacking: frozenset[str] = frozenset(),
) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    t = view.speech(request)
    facts: dict[str, Any] = {
        "claim": claim, "verdict": verdict, "asked": asked, "done": done, "hint": hint,
        "refusals": view.sentences(t, refusal) if refusal else [],
        "lines": [] if claim is None else [_line(claim, item.number, verdict)
                                           for item in claim.prescription.items],
        "queue": await api.queue(gateway, subject), "today": await api.today(gateway, subject),
        "key": ids.secret(128), "say": lambda reason: prescriptions.say(t, reason),
        "passed": lambda item: _passed(t, item),
        "standing": lambda item: _standing(t, claim, item),
        "pick": _picker(t), "unit": _unit(t), "show": prescriptions.show_number,
        "first_out": await api.first_out(gateway, subject, [
            item.preparation for item in claim.prescription.items]) if claim else {},
        "return_reasons": [(code, t(f"pharmacy.return.{code}")) for code in api.RETURN_REASONS],
        "not_reasons": [(code, t(f"pharmacy.not_dispensed.{code}"))
                        for code in api.NOT_DISPENSED_REASONS],
    }  # fmt: skip  # Facts of one page.
    facts["proposals"] = [] if claim is None else [
        _answered(t, one) for one in await api.changes_about(
            gateway, subject, claim.prescription.number)]  # fmt: skip  # One list.
    facts["money"] = lambda value: receipt_slip.said(t, value)
    facts["bill"] = _bill(claim)
    facts["supply"], facts["lacking"] = _typed(typed), lacking
    facts["changes"] = [(code, t(f"pharmacy.change.{code}")) for code in api.CHANGES]
    facts["instead"] = [] if claim is None else _instead(t, claim)
    facts["full"] = sum(1 for line in facts["lines"] if line["is_full"] and line["scanned"])
    facts["partial"] = sum(1 for line in facts["lines"] if line["scanned"] and not line["is_full"])
    # Not 422 for a refusal: the counter itself is what is shown, with the reason in it.
    return view.render(request, "pharmacy/counter.html", facts)


def _answered(t: Speech, one: Proposal) -> tuple[str, str]:
    """How a proposal stands: the sentence and its colour."""
    kind = {"requested": "info", "accepted": "good"}.get(one.state, "warn")
    key = {"requested": "asked", "accepted": "accepted"}.get(one.state, "rejected")
    return t(f"pharmacy.change.{key}", after=t.script(one.after.get(t.language, one.after["uz"])),
             number=prescriptions.show_number(one.made), answer=one.answer), kind


def _instead(t: Speech, claim: Claim) -> list[tuple[str, str]]:
    """Other strengths and forms of the INNs that are held here."""
    found: dict[str, str] = {}
    for number in claim.held:
        key = claim.item(number).preparation
        if not key:
            continue
        inn = medicines.preparation(key).inn
        for hit in medicines.search(inn.uz, t.language, INSTEAD_MAX):
            if hit.preparation.inn.key == inn.key and hit.preparation.key != key:
                found[hit.preparation.key] = t.script(hit.label)
        if claim.item(number).product:
            found |= {one.key: one.trade for one in medicines.products_of(key)}
    return list(found.items())


def _typed(form: FormData | None) -> defaultdict[str, str]:
    """What stood in the fields of packs outside the register when an act was refused."""
    return defaultdict(str, {
        name.removeprefix("supply-"): value for name, value in (form or {}).items()
        if name.startswith("supply-") and isinstance(value, str)
    })  # fmt: skip  # One mapping.


def _line(claim: Claim, number: int, verdict: PackVerdict | None) -> dict[str, Any]:
    """What the template shows of one item: its packs, how much is there, what is wrong."""
    item = claim.item(number)
    scanned = [pack for pack in claim.scanned if pack.item == number]
    ready = sum((pack.quantity for pack in scanned), Decimal(0))
    mine = verdict if verdict is not None and verdict.item == number else None
    is_outside = mine is not None and mine.reason.key.endswith(f".{UNREGISTERED}")
    return {
        "item": item,
        "scanned": scanned,
        "handed": [one for one in claim.handed if one.item == number],
        "ready": item.dispensed + ready,
        "is_full": item.dispensed + ready >= item.quantity,
        "is_held": number in claim.held,
        "verdict": mine,
        "is_bad": mine is not None and not mine.ok and not is_outside,
        "is_outside": is_outside,
    }


def _bill(claim: Claim | None) -> dict[str, Any] | None:
    """What is scanned for a claim would cost, who pays it, and how many packs have no price."""
    if claim is None or not claim.scanned:
        return None
    percents = {item.number: item.fund_percent for item in claim.prescription.items}
    charges = [prices.of_pack(pack, medicines.product(pack.gtin).pack_units,
                              percents.get(pack.item, Decimal(0))) for pack in claim.scanned]
    return {"sum": prices.added(charges), "unknown": charges.count(None)}


def _standing(t: Speech, claim: Claim | None, item: prescriptions.Item) -> list[str]:
    """Repeats, a hold, expiry, in words."""
    return prescriptions.standing(t, item, claim.prescription.valid_until) if claim else []


def _passed(t: Speech, item: prescriptions.Item) -> list[str]:
    """What the doctor passed with a reason, for the pharmacist to know."""
    try:
        inn = medicines.preparation(item.preparation).inn.key
    except NotFoundError:
        inn = ""
    return [
        f"{prescriptions.say(t, alert.reason, inn)} — "
        f"{t(f'prescriptions.override.{alert.override}')}"
        for alert in item.alerts
    ]


def _picker(t: Speech) -> Any:
    return lambda texts: t.script(texts.get(t.language) or texts.get("uz", ""))


def _unit(t: Speech) -> Any:
    return lambda unit: t.script(medicines.unit_name(unit, t.language))


async def _present(request: Request, number: str) -> Claim | None:
    if not number:
        return None
    try:
        return await api.claimed(view.gateway(request), view.signed_in(request), number)
    except (NotFoundError, ForbiddenError, ConflictError):
        return None


# Without the paper


async def find(request: Request) -> Response:
    """The form for a PINFL."""
    return await _found(request)


async def find_act(request: Request) -> Response:
    """Sends the patient a code, opens what was found, takes one of it to the counter."""
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    what, _, which = view.field(form, "act").partition(":")
    lookup = view.field(form, "lookup")
    try:
        if what == "send":
            made = await api.find_person(gateway, subject, view.field(form, "pinfl"))
            return await _found(request, lookup=made)
        if what == "take":
            claim = await api.claim_found(gateway, subject, lookup, which)
            return view.redirect(request, f"/counter?number={claim.prescription.number}")
        code = _digits(view.field(form, "code"))
        rows = await api.open_person(
            gateway, subject, lookup, code=code if what == "open" else "",
            reason=view.field(form, "reason") if what == "reason" else "",
            text=view.field(form, "words"),
        )  # fmt: skip  # One question.
    except REFUSALS as refusal:
        typed = {name: view.field(form, name) for name in ("pinfl", "reason", "words")}
        return await _found(request, refusal=refusal, again=lookup if what != "send" else "",
                            typed={**typed, "act": what})  # fmt: skip  # One page.
    return await _found(request, rows=rows, again=lookup)


async def _found(
    request: Request,
    *,
    lookup: Lookup | None = None,
    rows: list[Found] | None = None,
    refusal: DmedError | None = None,
    again: str = "",
    typed: dict[str, str] | None = None,
) -> Response:
    t = view.speech(request)
    return view.render(request, "pharmacy/find.html", {
        "typed": typed or dict.fromkeys(("pinfl", "reason", "words", "act"), ""),
        "lookup": lookup.id if lookup else again, "rows": rows, "show": prescriptions.show_number,
        "refusals": view.sentences(t, refusal) if refusal else [], "pick": _picker(t),
        "reasons": [(code, t(f"pharmacy.lookup.{code}")) for code in api.LOOKUP_REASONS],
    })  # fmt: skip  # Facts of one page.


# What pharmacies ask the doctor


async def changes(request: Request) -> Response:
    """Open proposals to the doctor."""
    await view.gateway(request).note(view.signed_in(request), "R", "proposals of pharmacies")
    return await _changes(request)


async def change(request: Request) -> Response:
    """Signs what a pharmacist proposed, or refuses it with words."""
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    number, item = request.path_params["number"], request.path_params["item"]
    if len(item) > ITEM_DIGITS_MAX or not (item.isascii() and item.isdecimal()):
        raise NotFoundError("There is no such item of a prescription")
    overrides = {
        name.removeprefix("override-"): value
        for name, value in form.items()
        if name.startswith("override-") and isinstance(value, str) and value
    }
    try:
        await api.answer_change(
            gateway, subject, number, int(item), approve=view.field(form, "act") == "approve",
            text=view.field(form, "text"), overrides=overrides,
        )  # fmt: skip  # One answer.
    except REFUSALS as refusal:
        return await _changes(request, refusal=refusal, asked=number)
    return await _changes(request, done="pharmacy.change.done")


async def _changes(
    request: Request, *, refusal: DmedError | None = None, asked: str = "", done: str = ""
) -> Response:
    t = view.speech(request)
    rows = await api.changes_for_me(view.gateway(request), view.signed_in(request))
    return view.render(request, "pharmacy/changes.html", {
        "rows": rows, "done": done, "asked": asked, "show": prescriptions.show_number,
        "refusals": view.sentences(t, refusal) if refusal else [], "pick": _picker(t),
        "overrides": [(code, t(f"prescriptions.override.{code}"))
                      for code in prescriptions.OVERRIDE_REASONS],
        "rules": PASSABLE,
    })  # fmt: skip  # Facts of one page.


async def messages(request: Request) -> Response:
    """What was sent to the citizen: codes for pharmacies, and who looked without one."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    rows = await api.messages(gateway, subject, list(await gateway.persons(subject)))
    return view.render(request, "pharmacy/messages.html", {"rows": rows})


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdecimal())


def _quantity(text: str) -> Decimal | None:
    """How much of the pack to hand over; None: as much as the item needs."""
    if not text:
        return None
    try:
        value = Decimal(text.replace(",", "."))
    except InvalidOperation as fault:
        raise InvalidError(
            f"{text[:20]!r} is no number: type it in digits, then scan or send again") from fault
    if not value.is_finite() or value <= 0:
        raise InvalidError(
            f"{text[:20]!r} is not above 0: type it in digits, then scan or send again")
    return value


def _item(form: FormData) -> int:
    text = view.field(form, "item")
    return int(text) if text.isdecimal() else 0


def _reason(form: FormData, allowed: tuple[str, ...]) -> str:
    code = view.field(form, "reason")
    if code not in allowed:
        raise InvalidError(f"{code!r} is no reason of the list")
    return code


PASSABLE = ("duplicate-inn", "duplicate-group", "max-daily", "allergy-group", "allergy-cross",
            "min-age", "pregnancy", "antibiotic-viral")  # fmt: skip  # Rules that a reason passes.
DOCTORS = frozenset({Role.DOCTOR})
CITIZENS = frozenset({Role.CITIZEN})
ROUTES: tuple[Route, ...] = (
    Route(path="/counter/find", endpoint=find, roles=COUNTER),
    Route(path="/counter/find", endpoint=find_act, roles=COUNTER, methods=("POST",)),
    Route(path="/changes", endpoint=changes, roles=DOCTORS),
    Route(path="/changes/{number}/{item}", endpoint=change, roles=DOCTORS, methods=("POST",)),
    Route(path="/my/messages", endpoint=messages, roles=CITIZENS),
    Route(path="/counter", endpoint=counter, roles=COUNTER),
    Route(path="/counter/scan", endpoint=scan, roles=COUNTER, methods=("POST",)),
    Route(path="/counter/today", endpoint=today, roles=COUNTER),
    Route(path="/counter/undo/{id}", endpoint=undo, roles=COUNTER, methods=("POST",)),
    *offline.ROUTES,
    Route(path="/counter/{number}/receipt", endpoint=receipt, roles=COUNTER),
    Route(path="/counter/{number}/act", endpoint=act, roles=COUNTER, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="menu.counter", path="/counter", icon="scan", roles=COUNTER, order=10),
    MenuItem(key="pharmacy.offline.menu", path="/offline/cases", icon="warning",
             roles=offline_cases.JUDGES, order=65),
    MenuItem(key="pharmacy.lookup.menu", path="/counter/find", icon="persons", roles=COUNTER,
             order=15),
    MenuItem(key="pharmacy.change.short", path="/changes", icon="warning", roles=DOCTORS, order=50),
    MenuItem(key="pharmacy.message.title", path="/my/messages", icon="journal", roles=CITIZENS,
             order=35),
    MenuItem(key="menu.today", path="/counter/today", icon="journal", roles=COUNTER, order=20),
)
