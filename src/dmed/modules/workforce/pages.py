"""Screens of staff: the list, a person's file, what runs out, vacancies, overlaps, activity, the
country.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit import clock
from dmed.kit.errors import DmedError, InvalidError, NotFoundError
from dmed.modules.facilities import api as facilities
from dmed.modules.workforce.model import Employment, Held, Kind, Measure
from dmed.modules.workforce.rules import watch
from dmed.modules.workforce.service import acts, files, lists
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

HEADS = lists.HEADS
KEEPERS = lists.KEEPERS
STAFF = frozenset({Role.DOCTOR, Role.PHARMACIST, Role.REGISTRAR, *HEADS})
LEAVES = ("annual", "maternity", "child", "sick", "study", "unpaid")
TABS = ("list", "expiring", "vacancies", "overlaps", "activity")


async def _place(request: Request) -> lists.House:
    """The institution of a page; that somebody asked for it is noted before it is refused."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    wanted = request.query_params.get("place", "")
    try:
        return await lists.house(gateway, subject, wanted)
    except DmedError as refusal:
        await gateway.note(subject, "E", f"staff of Organization/{(wanted or '-')[:64]}",
                           outcome=refusal.status)
        raise


def _start(request: Request) -> int:
    text = request.query_params.get("start", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0


async def _shown(
    request: Request, template: str, tab: str, place: lists.House, more: dict[str, Any]
) -> Response:
    """A page about one institution; opening it leaves a row in the audit."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    await gateway.note(subject, "E", f"staff {tab} of Organization/{place.id}")
    asked = request.query_params.get("place", "")
    facts = {
        "place": place, "tab": tab, "tabs": TABS, "asked": asked,
        "with_place": f"place={asked}&" if asked else "", "is_keeper": subject.role in KEEPERS,
        "today": clock.today(), **more}
    return view.render(request, f"workforce/{template}.html", facts)


async def staff_list(request: Request) -> Response:
    """The staff of the own institution, found by name or number."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    place = await _place(request)
    text = request.query_params.get("q", "")[:100]
    start = _start(request)
    return await _shown(request, "list", "list", place, {
        "lines": await lists.staff(gateway, subject, place, text, start), "q": text,
        "figures": await lists.figures(gateway, subject, place), "start": start, "size": 50})


async def expiring(request: Request) -> Response:
    """Certificates, categories and licences that run out, the nearest first."""
    place = await _place(request)
    found = await lists.expiring(view.gateway(request), view.signed_in(request), place)
    stages = [(stage, [one for one in found if one.stage == stage]) for stage in (0, 7, 30, 90)]
    return await _shown(request, "expiring", "expiring", place, {
        "stages": [(stage, rows) for stage, rows in stages if rows]})


async def vacancies(request: Request) -> Response:
    """The staffing table against the posts."""
    place = await _place(request)
    found = await lists.vacancies(view.gateway(request), view.signed_in(request), place)
    return await _shown(request, "vacancies", "vacancies", place, {
        "lines": found, "open": sum((one.open for one in found), Decimal(0)),
        "is_draft": any(one.is_draft for one in found)})


async def set_norm(request: Request) -> Response:
    """One line of the staffing table."""
    form = await view.form(request)
    place = await lists.house(
        view.gateway(request), view.signed_in(request), view.field(form, "place"))
    await lists.set_norm(
        view.gateway(request), view.signed_in(request), place, view.field(form, "code"),
        view.field(form, "title"), _decimal(form, "rates"), view.field(form, "source"))
    return view.redirect(request, f"/staff/vacancies?place={place.id}")


async def overlaps(request: Request) -> Response:
    """People with too many rates, or in two places at once."""
    place = await _place(request)
    return await _shown(request, "overlaps", "overlaps", place, {
        "people": await lists.overlaps(view.gateway(request), view.signed_in(request), place),
        "most": watch.RATES_MAX})


async def activity(request: Request) -> Response:
    """What each person did in a month against the norm of the post."""
    place = await _place(request)
    first, _ = watch.month(request.query_params.get("month", ""), clock.today())
    start = _start(request)
    return await _shown(request, "activity", "activity", place, {
        "month": first, "start": start, "size": lists.ACTIVITY_PAGE,
        "norms": watch.norms(), "lines": await lists.activity(
            view.gateway(request), view.signed_in(request), place, f"{first:%Y-%m}", start)})


async def country(request: Request) -> Response:
    """Totals by region, pension forecast, vacancies: for the ministry."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    region = request.query_params.get("region", "")[:4]
    text = request.query_params.get("q", "")[:100]
    totals = await lists.regions(gateway, subject)
    await gateway.note(subject, "E", "staff of the country")
    language = view.speech(request).language
    return view.render(request, "workforce/country.html", {
        "totals": totals, "names": dict(facilities.regions(language)), "region": region,
        "forecast": await lists.forecast(gateway, subject, region), "q": text,
        "found": await lists.everywhere(gateway, subject, text) if text else [],
        "pension": watch.norms().pension, "today": clock.today()})


# A person's file --------------------------------------------------------------------------------


async def person(request: Request) -> Response:
    """The file of a person with the orders about him."""
    found = await files.file(
        view.gateway(request), view.signed_in(request), request.path_params["id"])
    today = clock.today()
    return view.render(request, "workforce/person.html", {
        "file": found, "today": today, "kinds": list(Kind), "measures": list(Measure),
        "leaves": LEAVES, "done": request.query_params.get("done", ""),
        "stage": watch.stage, "far": date.max, "rates": rates()})


async def mine(request: Request) -> Response:
    """The own file."""
    own = view.signed_in(request).practitioner
    if not own:
        raise NotFoundError("Your account has no person in the register of staff")
    return view.redirect(request, f"/staff/person/{own}")


def rates() -> list[tuple[str, str]]:
    """The rates that a post may have, as choices."""
    return [(f"{quarters / 4:g}", f"{quarters / 4:g}") for quarters in range(1, 7)]


def _decimal(form: FormData, name: str) -> Decimal:
    try:
        value = Decimal(view.field(form, name).replace(",", "."))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise InvalidError("A rate is a number such as 0.5")
    return value


def _day(form: FormData, name: str, *, may_miss: bool = False) -> date | None:
    text = view.field(form, name)
    if not text and may_miss:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidError("A day is missing or no day") from None


def _must(day: date | None) -> date:
    if day is None:
        raise InvalidError("A day is missing or no day")
    return day


def _paper(form: FormData) -> acts.Paper:
    return acts.Paper(number=view.field(form, "paper"), words=view.field(form, "words"))


async def add_held(request: Request) -> Response:
    """Adds a diploma, certificate, category, licence or training to a file."""
    form = await view.form(request)
    kind = view.field(form, "kind")
    if kind not in set(Kind):
        raise InvalidError("This is no kind of entry of a file")
    id_ = request.path_params["id"]
    await acts.add_held(view.gateway(request), view.signed_in(request), id_, Held(
        kind=Kind(kind), title=view.field(form, "title"), number=view.field(form, "number"),
        issuer=view.field(form, "issuer"), valid_from=_day(form, "from", may_miss=True),
        valid_until=_day(form, "until", may_miss=True)))
    return view.redirect(request, f"/staff/person/{id_}?done=held")


async def _back(request: Request, form: FormData, done: str) -> Response:
    person_id = view.field(form, "person")
    return view.redirect(request, f"/staff/person/{person_id}?done={done}")


async def transfer(request: Request) -> Response:
    """Moves a post."""
    form = await view.form(request)
    await acts.transfer(
        view.gateway(request), view.signed_in(request), request.path_params["role"],
        acts.Place(organisation=view.field(form, "organisation"), code=view.field(form, "code"),
                   title=view.field(form, "title"), rate=_decimal(form, "rate")),
        _must(_day(form, "day")), _paper(form))
    return await _back(request, form, "transfer")


async def leave(request: Request) -> Response:
    """A leave."""
    form = await view.form(request)
    kind = view.field(form, "kind")
    if kind not in LEAVES:
        raise InvalidError("This is no kind of leave")
    await acts.leave(
        view.gateway(request), view.signed_in(request), request.path_params["role"],
        _must(_day(form, "day")), _must(_day(form, "until")), kind, _paper(form))
    return await _back(request, form, "leave")


async def discipline(request: Request) -> Response:
    """A measure of discipline."""
    form = await view.form(request)
    measure = view.field(form, "measure")
    if measure not in set(Measure):
        raise InvalidError("This is no measure of discipline")
    await acts.discipline(
        view.gateway(request), view.signed_in(request), request.path_params["role"],
        Measure(measure), _must(_day(form, "day")), _paper(form), _day(form, "until",
                                                                       may_miss=True))
    return await _back(request, form, "discipline")


async def end(request: Request) -> Response:
    """Ends a post."""
    form = await view.form(request)
    await acts.end(view.gateway(request), view.signed_in(request), request.path_params["role"],
                   _must(_day(form, "day")), _paper(form))
    return await _back(request, form, "end")


# Hiring -----------------------------------------------------------------------------------------


async def new(request: Request) -> Response:
    """The form of somebody who gets a post."""
    place = await _place(request)
    return await _shown(request, "new", "new", place, {"rates": rates(), "kinds": list(Employment)})


async def hire(request: Request) -> Response:
    """Gives a post."""
    form = await view.form(request)
    certificate = view.field(form, "certificate")
    holds = () if not certificate else (Held(
        kind=Kind.CERTIFICATE, title=view.field(form, "title"), number=certificate,
        valid_from=_day(form, "from", may_miss=True),
        valid_until=_day(form, "until", may_miss=True)),)
    id_ = await acts.hire(
        view.gateway(request), view.signed_in(request),
        acts.NewPerson(
            family=view.field(form, "family"), given=view.field(form, "given"),
            patronymic=view.field(form, "patronymic"), sex=view.field(form, "sex"),
            born=_must(_day(form, "born")), pinfl=view.field(form, "pinfl").replace(" ", ""),
            argos=view.field(form, "argos"), phone=view.field(form, "phone"), holds=holds),
        acts.Place(organisation=view.field(form, "organisation"), code=view.field(form, "code"),
                   title=view.field(form, "title"), rate=_decimal(form, "rate")),
        _must(_day(form, "day")), _paper(form))
    return view.redirect(request, f"/staff/person/{id_}?done=hire")


ROUTES: tuple[Route, ...] = (
    Route(path="/staff", endpoint=staff_list, roles=HEADS),
    Route(path="/staff/expiring", endpoint=expiring, roles=HEADS),
    Route(path="/staff/vacancies", endpoint=vacancies, roles=HEADS),
    Route(path="/staff/vacancies", endpoint=set_norm, roles=KEEPERS, methods=("POST",)),
    Route(path="/staff/overlaps", endpoint=overlaps, roles=HEADS),
    Route(path="/staff/activity", endpoint=activity, roles=HEADS),
    Route(path="/staff/country", endpoint=country, roles=KEEPERS),
    Route(path="/staff/mine", endpoint=mine, roles=STAFF),
    Route(path="/staff/new", endpoint=new, roles=HEADS),
    Route(path="/staff/new", endpoint=hire, roles=HEADS, methods=("POST",)),
    Route(path="/staff/person/{id}", endpoint=person, roles=STAFF),
    Route(path="/staff/person/{id}/held", endpoint=add_held, roles=HEADS, methods=("POST",)),
    Route(path="/staff/post/{role}/transfer", endpoint=transfer, roles=HEADS, methods=("POST",)),
    Route(path="/staff/post/{role}/leave", endpoint=leave, roles=HEADS, methods=("POST",)),
    Route(path="/staff/post/{role}/discipline", endpoint=discipline, roles=HEADS,
          methods=("POST",)),
    Route(path="/staff/post/{role}/end", endpoint=end, roles=HEADS, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="workforce.menu", path="/staff", icon="persons", order=40, roles=HEADS,
             main=KEEPERS),
)
