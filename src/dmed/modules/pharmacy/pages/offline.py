"""Screens of the counter without a network: the page that is kept, cases, lost computers."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dmed.modules.pharmacy.rules.offline import Judged
from dmed.modules.pharmacy.service import offline, offline_cases
from dmed.modules.prescriptions import api as prescriptions
from dmed.pages import offline as shells
from dmed.pages import view
from dmed.trust.manifest import Route
from dmed.trust.model import Role

COUNTER = frozenset({Role.PHARMACIST})


async def offline_page(request: Request) -> Response:
    """The counter that the browser keeps for the time without a line; it names no patient."""
    facts = shells.facts(request, "pharmacy.offline.", OFFLINE_FILES, OFFLINE_PLAIN)
    return view.render(request, "pharmacy/offline.html", facts)


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


OFFLINE_FILES = ("counter.js", "camera.js")
OFFLINE_PLAIN = ("/static/counter-token.js", "/counter.webmanifest")
"""What the browser keeps of the counter, beside what every such page has."""
CASE_READERS = COUNTER | offline_cases.JUDGES
ROUTES: tuple[Route, ...] = (
    Route(path="/counter/offline", endpoint=offline_page, roles=COUNTER),
    Route(path="/offline/cases", endpoint=offline_listed, roles=CASE_READERS),
    Route(path="/offline/cases/{number}", endpoint=offline_case, roles=CASE_READERS),
    Route(path="/offline/cases/{number}", endpoint=offline_judge, roles=offline_cases.JUDGES,
          methods=("POST",)),
    Route(path="/offline/computers/{id}", endpoint=offline_withdraw, roles=COUNTER,
          methods=("POST",)),
)
