"""Forms of paper for when the line is down: printed beforehand, typed in afterwards."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.clock import TASHKENT
from dmed.kit.errors import InvalidError
from dmed.kit.i18n import Speech
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.model import OFFLINE_REASON, PAPER_REASONS, Paper
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

DOCTORS = frozenset({Role.DOCTOR})
COUNTS = ("1", "5", "10")


def facts(t: Speech, paper: Paper | None) -> dict[str, Any] | None:
    """What a page shows of the form that a prescription was written on; None without one."""
    if paper is None:
        return None
    return {
        "number": paper.number,
        "shown": api.show_number(paper.number),
        "written": paper.written.astimezone(TASHKENT).strftime("%Y-%m-%dT%H:%M"),
        "written_exactly": paper.written.isoformat(),
        "reason": paper.reason,
        "says": _says(t, paper), "is_offline": paper.reason == OFFLINE_REASON,
        "reasons": [(code, t(f"prescriptions.paper.{code}")) for code in PAPER_REASONS],
    }


def _says(t: Speech, paper: Paper) -> str:
    if paper.reason == OFFLINE_REASON:
        return t("prescriptions.paper.offline", moment=t.moment(paper.written))
    return t("prescriptions.paper.says", reason=t(f"prescriptions.paper.{paper.reason}"))


def day_of(paper: Paper) -> date:
    """The day on the paper: validity counts from it."""
    return paper.written.astimezone(TASHKENT).date()


def read(form: FormData) -> Paper | None:
    """The form of paper that a posted workspace is typed in from, or None."""
    number = view.field(form, "paper")
    if not number:
        return None
    typed = view.field(form, "written")
    try:
        written = datetime.fromisoformat(typed)
        # A browser's field of date and time knows no zone: it is the country's.
        written = written if written.tzinfo else written.replace(tzinfo=TASHKENT)
    except ValueError as error:
        raise InvalidError(f"{typed[:20]!r} is no moment (YYYY-MM-DDTHH:MM)") from error
    return Paper(number=number, written=written, reason=view.field(form, "paper-reason"))


async def waiting(request: Request) -> list[tuple[str, str]]:
    """Numbers of the doctor's blank forms, as written and as shown."""
    rows = await api.paper_forms.blank(view.gateway(request), view.signed_in(request))
    return [(row.number, api.show_number(row.number)) for row in rows]


async def forms(request: Request) -> Response:
    """The doctor's blank forms, and more of them."""
    rows = await api.paper_forms.blank(view.gateway(request), view.signed_in(request))
    facts_ = {"rows": rows, "show": api.show_number, "counts": [(one, one) for one in COUNTS]}
    return view.render(request, "prescriptions/forms.html", facts_)


async def act(request: Request) -> Response:
    """Gives out numbers, says that a form is spoilt, or goes to the entry of one."""
    form = await view.form(request)
    gateway, subject = view.gateway(request), view.signed_in(request)
    what, _, which = view.field(form, "act").partition(":")
    if what == "void":
        await api.paper_forms.void(gateway, subject, which)
    elif what == "allocate" and view.field(form, "count") in COUNTS:
        await api.new_forms(gateway, subject, int(view.field(form, "count")))
    else:
        raise InvalidError(f"There is no act {what[:20]!r} on forms")
    return view.redirect(request, "/prescriptions/forms")


async def printed(request: Request) -> Response:
    """All blank forms of the doctor as one PDF, a form a page."""
    made = await api.forms_pdf(
        view.gateway(request), view.signed_in(request), view.speech(request).language)
    return Response(made, media_type="application/pdf", headers={"Cache-Control": "no-store"})


ROUTES: tuple[Route, ...] = (
    # Before /prescriptions/{number}, which would take the word for a number.
    Route(path="/prescriptions/forms", endpoint=forms, roles=DOCTORS),
    Route(path="/prescriptions/forms", endpoint=act, roles=DOCTORS, methods=("POST",)),
    Route(path="/prescriptions/forms/blank.pdf", endpoint=printed, roles=DOCTORS),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="prescriptions.form.menu", path="/prescriptions/forms", icon="pill",
             roles=DOCTORS, order=60),
)
