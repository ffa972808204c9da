"""Screens of the register of institutions: list and tree, one institution, forms, map, history."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.clock import today
from dmed.kit.errors import ConflictError, ForbiddenError, NotFoundError
from dmed.modules.facilities import rules
from dmed.modules.facilities.model import Fault, Shape
from dmed.modules.facilities.rules import reading, records
from dmed.modules.facilities.service import keeping, regions, tree
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

SEES = frozenset({Role.DOCTOR, Role.PHARMACIST, Role.REGISTRAR, Role.ADMINISTRATOR, Role.HEAD})
EDITS = frozenset({Role.REGISTRAR, Role.ADMINISTRATOR})
_TEXT_MAX = 100
_CODED = ("subordination", "nomenclature", "structure", "service", "place", "payment")
_INSIDE = (Shape.BRANCH, Shape.DEPARTMENT, Shape.WARD, Shape.ROOM, Shape.BED, Shape.SERVICE,
           Shape.EQUIPMENT)
TYPES = {"location": "Location", "service": "HealthcareService"}


async def listed(request: Request) -> Response:
    """Institutions: the roots of the tree, or what is searched for."""
    asked = {name: request.query_params.get(name, "").strip()[:_TEXT_MAX]
             for name in ("q", "region", "kind")}
    cursor = request.query_params.get("next", "")[:500]
    t = view.speech(request)
    lines, following = await tree.listed(
        view.gateway(request), view.signed_in(request), text=asked["q"], region=asked["region"],
        kind=asked["kind"], cursor=cursor)
    return view.render(request, "facilities/list.html", {
        "lines": lines, "asked": asked, "next": following, "edits": _edits(request),
        "regions": [(one.code, rules.name_in(one, t.language)) for one in regions()],
        "kinds": _options("nomenclature", t.language)})


def _edits(request: Request) -> bool:
    return view.signed_in(request).role in EDITS


def _options(name: str, language: str) -> list[tuple[str, str]]:
    return [(one.code, rules.name_of(name, one.code, language))
            for one in rules.code_list(name).codes]


async def shown(request: Request) -> Response:
    """One institution: licences, hours, what is above and below, places, services, equipment."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    found = await tree.view(gateway, subject, request.path_params["id"])
    language = view.speech(request).language
    may = await keeping.may_edit(gateway, subject, found.facts.id)
    coded = [rules.name_of(name, found.form[name], language)
             for name in ("subordination", "nomenclature", "structure") if found.form[name]]
    coded += [rules.name_of("service", code, language) for code in found.form["services"].split()]
    return view.render(request, "facilities/shown.html", {
        "one": found, "licences": rules.licences_of(found.record), "may_edit": may,
        "today": today(), "coded": coded, "place_name": _place_name(language),
        "region": _region(found.facts.region, language), "shapes": _INSIDE})


def _place_name(language: str) -> Any:
    return lambda code: rules.name_of("place", code, language) if code else ""


def _region(code: str, language: str) -> str:
    return next((rules.name_in(one, language) for one in regions() if one.code == code), "")


# Forms


async def new(request: Request) -> Response:
    """An empty form of an institution at the root or below one given by its tax number."""
    return _form(request, Shape.INSTITUTION, {"active": "1"}, [], parent="",
                 target="/facilities/new")


async def create(request: Request) -> Response:
    """Keeps a new institution."""
    subject = view.signed_in(request)
    if subject.role is not Role.ADMINISTRATOR:
        raise ForbiddenError("New institutions are entered by the administrator")
    return await _kept(request, Shape.INSTITUTION, "/facilities/new", owner="")


async def edit(request: Request) -> Response:
    """The form of an institution as it stands."""
    gateway, subject = view.gateway(request), view.signed_in(request)
    owner = await _owner(request)
    found = await tree.view(gateway, subject, owner)
    values = {**found.form, "version": found.record["meta"]["versionId"]}
    return _form(request, Shape(found.form["shape"]), values, [],
                 parent=keeping.parent_of(found.record), target=f"/facilities/{owner}/edit")


async def change(request: Request) -> Response:
    """Keeps a changed institution."""
    owner = await _owner(request)
    record = await view.gateway(request).get(view.signed_in(request), "Organization", owner)
    return await _kept(request, records.shape_of(record), f"/facilities/{owner}/edit",
                       owner=owner, id_=owner)


async def add(request: Request) -> Response:
    """An empty form of a branch, department, ward, room, bed, service or device."""
    owner = await _owner(request)
    shape = _shape(request.query_params.get("shape", ""))
    places = await _places(request, owner)
    return _form(request, shape, {"active": "1"}, [], parent=f"Organization/{owner}",
                 target=f"/facilities/{owner}/add?shape={shape}", places=places)


async def added(request: Request) -> Response:
    """Keeps a new place of an institution."""
    owner = await _owner(request)
    shape = _shape(request.query_params.get("shape", ""))
    return await _kept(request, shape, f"/facilities/{owner}/add?shape={shape}", owner=owner)


async def place(request: Request) -> Response:
    """The form of a place inside an institution."""
    owner, record = await _inside(request)
    parent = keeping.parent_of(record)
    values = {**records.form_of(record, None), "version": record["meta"]["versionId"]}
    return _form(request, records.shape_of(record), values, [],
                 places=await _places(request, owner), target=request.url.path,
                 parent=f"Location/{parent}" if parent else f"Organization/{owner}")


async def place_changed(request: Request) -> Response:
    """Keeps a changed place."""
    owner, record = await _inside(request)
    return await _kept(request, records.shape_of(record), request.url.path, owner=owner,
                       id_=record["id"])


async def _owner(request: Request) -> str:
    owner: str = request.path_params["id"]
    gateway, subject = view.gateway(request), view.signed_in(request)
    if not await keeping.may_edit(gateway, subject, owner):
        raise ForbiddenError("A registrar changes the own institution and what stands below it")
    await gateway.read(subject, "Organization", owner)
    return owner


async def _inside(request: Request) -> tuple[str, dict[str, Any]]:
    owner = await _owner(request)
    type_ = TYPES.get(request.path_params["type"], "")
    if not type_:
        raise NotFoundError("There is no such kind of place")
    record = await view.gateway(request).get(
        view.signed_in(request), type_, request.path_params["place"])
    if keeping.owner_of(record) != owner or records.is_site(record):
        raise NotFoundError("The institution has no such place")
    return owner, record


def _shape(text: str) -> Shape:
    if text not in set(_INSIDE):
        raise NotFoundError("There is no such kind of place")
    return Shape(text)


async def _places(request: Request, owner: str) -> list[tuple[str, str]]:
    found = await tree.view(view.gateway(request), view.signed_in(request), owner)
    inside = [(f"Location/{leaf.id}", "— " * (leaf.depth + 1) + leaf.name)
              for leaf in found.leaves if leaf.type == "Location"]
    return [(f"Organization/{owner}", found.facts.name), *inside]


async def _kept(
    request: Request, shape: Shape, target: str, *, owner: str, id_: str = ""
) -> Response:
    form = await view.form(request)
    values = {name: view.field(form, name) for name in (*reading.FIELDS, "version")}
    values["shape"] = shape
    if id_ and shape is not Shape.EQUIPMENT:
        values["code"] = values["code"] or id_
    draft, faults = reading.read(values, regions())
    if draft is not None:
        try:
            made = await keeping.save(view.gateway(request), view.signed_in(request), draft,
                                      values["parent"], id_, values["version"])
        except keeping.FaultsError as wrong:
            faults = wrong.faults
        except ConflictError:
            faults = [Fault("parent", "facilities.fault.circle")]
        else:
            return view.redirect(request, f"/facilities/{owner or made}")
    places = await _places(request, owner) if owner and shape in _INSIDE else []
    return _form(request, shape, values, faults, parent=values["parent"], target=target,
                 places=places, status=422)


def _form(
    request: Request, shape: Shape, values: dict[str, str], faults: list[Fault], *, parent: str,
    target: str, places: list[tuple[str, str]] | None = None, status: int = 200,
) -> Response:
    t = view.speech(request)
    wrong = {one.field: t(one.key, **one.values) for one in reversed(faults)}
    filled = {name: values.get(name, "") for name in (*reading.FIELDS, "version")}
    back = target.removesuffix("/edit").partition("/add")[0].rpartition("/location/")
    return view.render(request, "facilities/form.html", {
        "shape": shape, "values": filled, "wrong": wrong, "parent": parent, "target": target,
        "places": places or [], "back": (back[0] or back[2]).partition("/service/")[0],
        "codes": {name: _options(name, t.language) for name in _CODED},
        "regions": [(one.code, rules.name_in(one, t.language)) for one in regions()],
        "loose": [text for field, text in wrong.items() if field in {"version", "row", "shape"}],
    }, status=status)


# Map and history


async def on_map(request: Request) -> Response:
    """The country's regions, or the institutions of one region, drawn from their coordinates."""
    region = request.query_params.get("region", "")
    gateway, subject = view.gateway(request), view.signed_in(request)
    language = view.speech(request).language
    if region and region not in {one.code for one in regions()}:
        raise NotFoundError("There is no such region")
    found = (await tree.region_map(gateway, subject, region) if region
             else await tree.country(gateway, subject))
    return view.render(request, "facilities/map.html", {
        "map": found, "region": region, "region_name": _region(region, language),
        "names": {one.code: rules.name_in(one, language) for one in regions()}})


async def history(request: Request) -> Response:
    """What changed in an institution or one of its places, and when."""
    owner = request.path_params["id"]
    type_ = TYPES.get(request.query_params.get("type", ""), "Organization")
    id_ = request.query_params.get("place", owner)[:64] if type_ != "Organization" else owner
    gateway, subject = view.gateway(request), view.signed_in(request)
    record = await gateway.get(subject, type_, id_)
    if keeping.owner_of(record) != owner:
        raise NotFoundError("The institution has no such place")
    versions = await tree.history(gateway, subject, type_, id_)
    return view.render(request, "facilities/history.html", {
        "record": record, "versions": versions, "owner": owner})


def _form_routes(path: str, get: Any, post: Any) -> tuple[Route, Route]:
    return (Route(path=path, endpoint=get, roles=EDITS, audit="form of an institution"),
            Route(path=path, endpoint=post, roles=EDITS, methods=("POST",)))


ROUTES: tuple[Route, ...] = (
    Route(path="/facilities", endpoint=listed, roles=SEES),
    Route(path="/facilities/map", endpoint=on_map, roles=SEES, audit="map of institutions"),
    *_form_routes("/facilities/new", new, create),
    Route(path="/facilities/{id}", endpoint=shown, roles=SEES),
    Route(path="/facilities/{id}/history", endpoint=history, roles=SEES),
    *_form_routes("/facilities/{id}/edit", edit, change),
    *_form_routes("/facilities/{id}/add", add, added),
    *_form_routes("/facilities/{id}/{type}/{place}", place, place_changed),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="facilities.menu", path="/facilities", icon="institution", order=50,
             roles=EDITS | {Role.HEAD}, main=frozenset({Role.ADMINISTRATOR})),
)
