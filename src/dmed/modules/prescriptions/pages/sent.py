"""What a doctor's page without a network asks for and sends, and what became of it.

The page itself, which the browser keeps, is `pages.offline`.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError, NotFoundError
from dmed.kit.i18n import Speech
from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.model import Finding
from dmed.modules.prescriptions.rules.offline import Line, Outcome
from dmed.modules.prescriptions.service import offline_writing
from dmed.pages import sentences, view
from dmed.trust.manifest import Route
from dmed.trust.model import Role

DOCTORS = frozenset({Role.DOCTOR})
SENT = "/prescribing/offline/sent"
_TONES = {Outcome.SIGNED: "good", Outcome.ASKED: "warn", Outcome.REFUSED: "bad",
          Outcome.DROPPED: "", Outcome.WAITING: "warn"}  # fmt: skip  # One mapping.


class _Public(msgspec.Struct, forbid_unknown_fields=True):
    x: str
    y: str


class _Computer(msgspec.Struct, forbid_unknown_fields=True):
    key: str


class _Acts(msgspec.Struct, forbid_unknown_fields=True):
    acts: list[str]


async def kit(request: Request) -> Response:
    """The sealed kit: what a doctor's page needs while it has no line."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    body, seal = await offline_writing.kit(gateway, subject, view.language_of(request))
    return Response(body, media_type="application/json", headers={"DMED-Seal": seal})


async def enrol(request: Request) -> Response:
    """Registers the key of a doctor on a computer: {x, y} in base64url."""
    given = await view.json_of(request, _Public)
    id_, last = await offline_writing.enrol(
        view.gateway(request), view.signed_in(request), given.x, given.y)
    return view.json_answer({"id": id_, "last_seq": last})


async def free_numbers(request: Request) -> Response:
    """The unused numbers of a computer with their access codes: {key}."""
    given = await view.json_of(request, _Computer)
    found = await offline_writing.free_numbers(
        view.gateway(request), view.signed_in(request), given.key)
    return view.json_answer({"numbers": found})


async def receive(request: Request) -> Response:
    """Judges prescriptions that were written without a network: {acts: [signed, ...]}; the same
    again is answered by what became of it.
    """
    given = await view.json_of(request, _Acts)
    done = await offline_writing.send(view.gateway(request), view.signed_in(request), given.acts)
    t = view.speech(request)
    return view.json_answer({"results": [
        {"id": one.id, "outcome": one.outcome.value, "number": one.number,
         "said": [said(t, each) for each in one.findings], "path": _path(one)}
        for one in done
    ]})  # fmt: skip  # One answer.


def _path(one: offline_writing.Result) -> str:
    if one.outcome is Outcome.SIGNED:
        return f"/prescriptions/{one.number}"
    return SENT if one.outcome is Outcome.ASKED else ""


def said(t: Speech, finding: Finding) -> str:
    """A finding in the reader's language; a refusal of the rules by its own sentence. Pure."""
    if "text" in finding.reason.values:
        return sentences.said(t, finding.sentence)
    return api.say(t, finding.reason)


async def listed(request: Request) -> Response:
    """What the doctor wrote without a network, and the computers on which he may."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    t = view.speech(request)
    return view.render(request, "prescriptions/sent.html", {
        "sent": await offline_writing.sent(gateway, subject),
        "computers": await offline_writing.computers(gateway, subject),
        "show": api.show_number, "say": lambda finding: said(t, finding), "tones": _TONES,
        "medicine": lambda line: t.script(medicines.label(line.preparation, t.language)),
        "amount": lambda line: amount(t, line),
    })  # fmt: skip  # Facts of one page.


def amount(t: Speech, line: Line) -> str:
    """How much a line says in the reader's words, as "21 kapsula"; a bare number where the register
    does not know what it is of.
    """
    number = t.number(line.quantity)
    try:
        unit = medicines.preparation(line.preparation).form.unit
    except NotFoundError:
        return number
    return f"{number} {t.script(medicines.unit_name(unit, t.language))}"


async def act(request: Request) -> Response:
    """Enters one again, also for another person; opens it in the workspace; takes it back; or
    withdraws a computer.
    """
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    what, _, which = view.field(form, "act").partition(":")
    if what == "again":
        done = await offline_writing.again(gateway, subject, which, view.field(form, "person"))
        if done.outcome is Outcome.SIGNED:
            return view.redirect(request, f"/prescriptions/{done.number}")
    elif what == "answer":
        draft = await offline_writing.answer(gateway, subject, which)
        return view.redirect(request, f"/card/{draft.patient}/prescribe?draft={draft.id}")
    elif what == "drop":
        await offline_writing.drop(gateway, subject, which)
    elif what == "withdraw":
        await offline_writing.withdraw(gateway, subject, which)
    else:
        raise InvalidError(f"There is no act {what[:20]!r} on what was sent")
    return view.redirect(request, SENT)


ROUTES: tuple[Route, ...] = (
    Route(path="/prescribing/offline/kit", endpoint=kit, roles=DOCTORS),
    Route(path="/prescribing/offline/key", endpoint=enrol, roles=DOCTORS, methods=("POST",)),
    Route(path="/prescribing/offline/numbers", endpoint=free_numbers, roles=DOCTORS,
          methods=("POST",)),
    Route(path="/prescribing/offline/acts", endpoint=receive, roles=DOCTORS, methods=("POST",)),
    Route(path=SENT, endpoint=listed, roles=DOCTORS),
    Route(path=SENT, endpoint=act, roles=DOCTORS, methods=("POST",)),
)
