"""The counter: scan the prescription, scan the packs, hand over; and what was done today.

One scan box serves both: a prescription's code opens it here, anything else is a pack of the
prescription that is open. Every act shows the whole counter again, so that nothing stale stays.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import i18n, ids
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
from dmed.modules.pharmacy.model import Claim, PackVerdict
from dmed.modules.pharmacy.rules.offline import Judged
from dmed.modules.pharmacy.service import offline, offline_cases
from dmed.modules.prescriptions import api as prescriptions
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

COUNTER = frozenset({Role.PHARMACIST})
RECEIVER_CHARACTERS_MAX = 100
DONE = {
    "dispense": "counter.done", "dispense-release": "counter.done", "return": "counter.returned",
    "not-dispensed": "counter.noted",
}  # fmt: skip  # Act -> the sentence that confirms it.
REFUSALS = (ConflictError, ForbiddenError, InvalidError, NotFoundError, ThrottledError,
            UnprocessableError)  # fmt: skip  # What a pharmacist can do something about.


async def counter(request: Request) -> Response:
    """The counter with the prescription of `?number=`, or waiting for the next one."""
    number = _digits(request.query_params.get("number", ""))
    if not number:
        return await _show(request, None)
    try:
        claim = await api.claimed(view.gateway(request), view.signed_in(request), number)
    except (NotFoundError, ForbiddenError, ConflictError):
        return await _show(request, None, asked=number)
    return await _show(request, claim)


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
        gateway, subject, number, raw, quantity=_quantity(view.field(form, "quantity"))
    )
    return await _show(request, await api.claimed(gateway, subject, number), verdict=verdict)


async def act(request: Request) -> Response:
    """Hands over, returns, says why not, takes a pack out, answers a wish to cancel."""
    form = await view.form(request)
    number = request.path_params["number"]
    what, _, which = view.field(form, "act").partition(":")
    try:
        claim = await _acted(request, form, what, which)
    except REFUSALS as refusal:
        return await _show(request, await _present(request, number), refusal=refusal)
    is_gone = what in {"return", "dispense-release"} and not claim.held
    return await _show(request, None if is_gone else claim, done=DONE.get(what, ""))


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
    if what == "return":
        reason = _reason(form, api.RETURN_REASONS)
        return await api.return_(gateway, subject, number, reason=reason, key=key)
    if what == "not-dispensed":
        return await _not_dispensed(request, form, number, key)
    if what == "unscan":
        gtin, _, serial = which.partition(":")
        return await api.unscan_pack(gateway, subject, number, gtin, serial)
    if what in {"accept-cancel", "refuse-cancel"} and which.isdecimal():
        return await api.answer_cancel(
            gateway, subject, number, int(which), accept=what == "accept-cancel"
        )
    raise InvalidError(f"The counter has no act {what!r}")


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
        "show": prescriptions.show_number,
    })  # fmt: skip  # Facts of one page.


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
    facts["full"] = sum(1 for line in facts["lines"] if line["is_full"] and line["scanned"])
    facts["partial"] = sum(1 for line in facts["lines"] if line["scanned"] and not line["is_full"])
    # Not 422 for a refusal: the counter itself is what is shown, with the reason in it.
    return view.render(request, "pharmacy/counter.html", facts)


def _line(claim: Claim, number: int, verdict: PackVerdict | None) -> dict[str, Any]:
    """What the template shows of one item: its packs, how much is there, what is wrong."""
    item = claim.item(number)
    scanned = [pack for pack in claim.scanned if pack.item == number]
    ready = sum((pack.quantity for pack in scanned), Decimal(0))
    mine = verdict if verdict is not None and verdict.item == number else None
    return {
        "item": item,
        "scanned": scanned,
        "handed": [one for one in claim.handed if one.item == number],
        "ready": item.dispensed + ready,
        "is_full": item.dispensed + ready >= item.quantity,
        "is_held": number in claim.held,
        "verdict": mine,
        "is_bad": mine is not None and not mine.ok,
    }


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


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdecimal())


def _quantity(text: str) -> Decimal | None:
    """How much of the pack to hand over; None: as much as the item needs."""
    if not text:
        return None
    try:
        value = Decimal(text.replace(",", "."))
    except InvalidOperation as fault:
        raise InvalidError(f"{text!r} is no number") from fault
    if not value.is_finite() or value <= 0:
        raise InvalidError(f"{text!r} is no quantity")
    return value


def _item(form: FormData) -> int:
    text = view.field(form, "item")
    return int(text) if text.isdecimal() else 0


def _reason(form: FormData, allowed: tuple[str, ...]) -> str:
    code = view.field(form, "reason")
    if code not in allowed:
        raise InvalidError(f"{code!r} is no reason of the list")
    return code


# The counter without a network: its own script works on this page (pages/static/counter.js)


async def offline_page(request: Request) -> Response:
    """The counter that the browser keeps for the time without a line; it names no patient."""
    t = view.speech(request)
    texts = i18n.translator().texts[t.language]
    return view.render(request, "pharmacy/offline.html", {
        "assets": [view.static(name) for name in OFFLINE_FILES] + OFFLINE_PLAIN,
        "texts": {key.removeprefix("pharmacy.offline."): text for key, text in texts.items()
                  if key.startswith("pharmacy.offline.")},
    })  # fmt: skip  # Facts of one page.


async def offline_listed(request: Request) -> Response:
    """Cases about acts without a network: the own pharmacy's, or all for the authority."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    closed = request.query_params.get("closed") == "1"
    found = await offline_cases.listed(gateway, subject, closed=closed)
    is_ours = subject.role is Role.PHARMACIST
    return view.render(request, "pharmacy/offline_cases.html", {
        "cases": found, "closed": closed, "show": prescriptions.show_number,
        "names": await offline_cases.names(gateway, subject, found), "say": _say(request),
        "computers": await offline.computers(gateway, subject) if is_ours else None,
    })  # fmt: skip  # Facts of one page.


async def offline_case(request: Request) -> Response:
    """One case; a verdict by the authority."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    found = await offline_cases.case(gateway, subject, _case_number(request))
    t = view.speech(request)
    return view.render(request, "pharmacy/offline_case.html", {
        "case": found.case, "act": found.act, "names": found.names, "say": _say(request),
        "show": prescriptions.show_number, "may_judge": subject.role in offline_cases.JUDGES,
        "verdicts": [(each.value, t(f"pharmacy.offline.judged.{each.value}"))
                     for each in Judged],
    })  # fmt: skip  # Facts of one page.


async def offline_judge(request: Request) -> Response:
    """Ends a case with a verdict and words."""
    form, number = await view.form(request), _case_number(request)
    await offline_cases.judge(
        view.gateway(request), view.signed_in(request), number, view.field(form, "verdict"),
        view.field(form, "words"),
    )  # fmt: skip  # One act.
    return view.redirect(request, f"/offline/cases/{number}")


async def offline_withdraw(request: Request) -> Response:
    """Acts of a computer of the own pharmacy count no more from now on."""
    id_ = request.path_params["id"]
    await offline.withdraw(view.gateway(request), view.signed_in(request), id_)
    return view.redirect(request, "/offline/cases")


def _say(request: Request) -> Any:
    t = view.speech(request)
    return lambda finding: offline_cases.said(t, finding)


def _case_number(request: Request) -> int:
    text = request.path_params["number"]
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


OFFLINE_FILES = ("dmed.css", "dmed.js", "counter.js", "logo.svg", "vendor/htmx.min.js",
                 "camera.js", "icons.svg")  # fmt: skip  # A list.
OFFLINE_PLAIN = ["/static/counter-token.js", "/static/counter-store.js", "/counter.webmanifest"]
"""What the browser keeps of the counter; modules import each other by plain names."""
CASE_READERS = COUNTER | offline_cases.JUDGES
ROUTES: tuple[Route, ...] = (
    Route(path="/counter", endpoint=counter, roles=COUNTER),
    Route(path="/counter/scan", endpoint=scan, roles=COUNTER, methods=("POST",)),
    Route(path="/counter/today", endpoint=today, roles=COUNTER),
    Route(path="/counter/undo/{id}", endpoint=undo, roles=COUNTER, methods=("POST",)),
    Route(path="/counter/offline", endpoint=offline_page, roles=COUNTER),
    Route(path="/offline/cases", endpoint=offline_listed, roles=CASE_READERS),
    Route(path="/offline/cases/{number}", endpoint=offline_case, roles=CASE_READERS),
    Route(path="/offline/cases/{number}", endpoint=offline_judge, roles=offline_cases.JUDGES,
          methods=("POST",)),
    Route(path="/offline/computers/{id}", endpoint=offline_withdraw, roles=COUNTER,
          methods=("POST",)),
    Route(path="/counter/{number}/act", endpoint=act, roles=COUNTER, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="menu.counter", path="/counter", icon="scan", roles=COUNTER, order=10),
    MenuItem(key="pharmacy.offline.menu", path="/offline/cases", icon="warning",
             roles=offline_cases.JUDGES, order=65),
    MenuItem(key="menu.today", path="/counter/today", icon="journal", roles=COUNTER, order=20),
)
