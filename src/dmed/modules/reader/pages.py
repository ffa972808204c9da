"""Pages of FHIR addresses: a record, a list, versions and their differences, trials and writes."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dmed.kit.errors import InvalidError, NotFoundError, UnauthorizedError
from dmed.kit.i18n import Speech
from dmed.modules.reader import service
from dmed.modules.reader.model import Answer, Criterion, Trial
from dmed.modules.reader.rules import asking, comparing, showing
from dmed.pages import view
from dmed.pages.sentences import said
from dmed.trust.manifest import SIGNED_IN, MenuItem, Route
from dmed.trust.model import Role

VIEWS = ("fields", "json")
_EMPTY_LINES = 2


async def address(request: Request) -> Response:
    """The page of any address below /fhir: what the FHIR room answers there, for people."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    if path.rstrip("/") == "/fhir" and not pairs:
        return await _base(request)
    looked = dict(pairs).get("_view", VIEWS[0])
    query = "&".join(part for part in request.url.query.split("&") if not part.startswith("_view="))
    answer = await service.ask(request, "GET", path, query)
    if answer.status == 401:
        raise UnauthorizedError("sign in first")
    if answer.status >= 400:
        return await _refused(request, path, answer)
    kind = answer.resource.get("resourceType", "")
    if kind == "Bundle" and answer.resource.get("type") == "history":
        return _history(request, path, answer)
    if kind == "Bundle" and answer.resource.get("type") == "searchset":
        return await _list(request, path, query, answer)
    return _record(request, path, answer, looked)


async def _base(request: Request) -> Response:
    known = await _known(request)
    return view.render(request, "reader/base.html", {"types": list(known)})


async def _known(request: Request) -> Any:
    """Types and their parameters, from the capability statement of this very installation."""
    statement = await service.ask(request, "GET", "/fhir/metadata")
    return asking.types(statement.body)


def _record(request: Request, path: str, answer: Answer, looked: str) -> Response:
    resource = answer.resource
    type_, id_ = str(resource.get("resourceType", "")), str(resource.get("id", ""))
    facts = {
        "record": f"{type_}/{id_}",
        "type": type_,
        "title": showing.title(resource),
        "fields": showing.fields(resource),
        "json": msgspec.json.format(answer.body, indent=2).decode(),
        "look": looked if looked in VIEWS else VIEWS[0],
        "here": path,
        "is_old": "/_history/" in path,
        "meta": resource.get("meta") or {},
        "label": _label(view.speech(request)),
    }
    return view.render(request, "reader/record.html", facts)


async def _list(request: Request, path: str, query: str, answer: Answer) -> Response:
    entries = answer.resource.get("entry", ())
    outcomes = [one["resource"] for one in entries if _mode(one) == "outcome"]
    type_ = _type_of(path)
    known = (await _known(request)).get(type_, ())
    lines = asking.criteria(query, known)
    facts = {
        "type": type_,
        "path": path,
        "rows": [showing.row(one) for one in entries if _mode(one) != "outcome"],
        "said": [_fault(request, one) for each in outcomes for one in service.faults(each)],
        "total": answer.resource.get("total"),
        "links": _links(answer),
        "known": known,
        "by_name": {one.name: one for one in known},
        "lines": [*lines, *[Criterion()] * _EMPTY_LINES],
        "asked": bool(lines),
    }
    return view.render(request, "reader/list.html", facts)


def _mode(entry: dict[str, Any]) -> str:
    return str((entry.get("search") or {}).get("mode", "match"))


def _type_of(path: str) -> str:
    """The type that an address searches: `Patient`, or the last part of a compartment's."""
    parts = [part for part in path.removeprefix("/fhir").split("/") if part]
    return parts[2] if len(parts) > 2 else parts[0] if parts else ""


def _links(answer: Answer) -> dict[str, str]:
    """Relation > address of this site, of the Bundle's links."""
    made = {}
    for link in answer.resource.get("link", ()):
        parts = urlsplit(str(link.get("url", "")))
        made[str(link.get("relation"))] = parts.path + (f"?{parts.query}" if parts.query else "")
    return made


def _history(request: Request, path: str, answer: Answer) -> Response:
    parts = path.removeprefix("/fhir").strip("/").split("/")
    facts = {
        "record": "/".join(parts[:2]) if len(parts) == 3 else "",
        "place": "/".join(parts[:-1]),
        "rows": [showing.row(one) for one in answer.resource.get("entry", ())],
        "total": answer.resource.get("total"),
        "links": _links(answer),
    }
    return view.render(request, "reader/versions.html", facts)


async def _refused(request: Request, path: str, answer: Answer) -> Response:
    """A refused read or search in words; a faulty search keeps its form."""
    facts: dict[str, Any] = {
        "status": answer.status,
        "faults": [_fault(request, one) for one in service.faults(answer.resource)],
        "here": path,
        "type": "",
        "record": "",
    }
    parts = path.removeprefix("/fhir").strip("/").split("/")
    known = (await _known(request)).get(_type_of(path), ())
    if len(parts) == 1 and known:
        lines = asking.criteria(request.url.query, known)
        facts |= {"type": parts[0], "known": known, "lines": [*lines, Criterion()],
                  "by_name": {one.name: one for one in known}}  # fmt: skip  # The form's facts.
    elif len(parts) == 2:
        facts["record"] = "/".join(parts)
    return view.render(request, "reader/refused.html", facts, status=answer.status)


def _fault(request: Request, fault: Any) -> dict[str, str]:
    """One issue in the reader's language: how bad, of which kind, the sentence, the place."""
    t = view.speech(request)
    key = f"reader.issue.{fault.code}"
    label = _label(t)
    place = [label(part.partition("[")[0]) for part in fault.place.split(".")[1:] if part]
    return {
        "kind": {"information": "info", "warning": "warn"}.get(fault.severity, "bad"),
        "what": t(key) if t.translator.has(key) else fault.code,
        "sentence": said(t, fault.sentence),
        "place": fault.place,
        "where": " › ".join(place),
    }


def _label(t: Speech) -> Any:
    """An element's name in the reader's language, or its own words taken apart."""

    def label(name: str) -> str:
        key = f"reader.field.{name}"
        return t(key) if t.translator.has(key) else showing.label(name)

    return label


# The search form


async def search(request: Request) -> Response:
    """What the form asks, as the FHIR address that says the same."""
    asked = request.query_params
    type_ = asked.get("type", "")
    if not type_.isalnum():
        raise InvalidError(f"{type_[:60]!r} is no resource type")
    lines = [Criterion(asked.get(f"n{at}", ""), asked.get(f"w{at}", ""), asked.get(f"v{at}", ""))
             for at in range(asking.LINES_MAX)]  # fmt: skip  # Name, way and value of each line.
    record = asked.get("id", "").strip()
    if record:
        return RedirectResponse(f"/fhir/{type_}/{quote(record, safe='')}", 303)
    query = asking.query_of(lines)
    return RedirectResponse(f"/fhir/{type_}" + (f"?{query}" if query else ""), 303)


async def line(request: Request) -> Response:
    """One line of the form after its parameter was chosen: with this parameter's ways."""
    asked = request.query_params
    at = asked.get("at", "0")
    if not at.isdecimal() or int(at) >= asking.LINES_MAX:
        raise InvalidError("No such line")
    known = (await _known(request)).get(asked.get("type", ""), ())
    chosen = Criterion(asked.get(f"n{at}", ""), "", asked.get(f"v{at}", ""))
    return view.render(request, "reader/line.html", {
        "at": int(at), "line": chosen, "known": known, "type": asked.get("type", ""),
        "by_name": {one.name: one for one in known},
    })  # fmt: skip  # The facts of one line.


# Versions


async def compare(request: Request) -> Response:
    """The differences between two versions of a record."""
    asked = request.query_params
    record, old, new = asked.get("record", ""), asked.get("old", ""), asked.get("new", "")
    if not showing.address(record) or not (old.isdecimal() and new.isdecimal()):
        raise NotFoundError("Choose two versions of a record")
    old, new = sorted((old, new), key=int)
    versions = []
    for version in (old, new):
        answer = await service.ask(request, "GET", f"/fhir/{record}/_history/{version}")
        if answer.status >= 400:
            return await _refused(request, f"/fhir/{record}", answer)
        versions.append(answer.resource)
    return view.render(request, "reader/compare.html", {
        "record": record, "old": old, "new": new, "changes": comparing.changes(*versions),
        "when": [(one.get("meta") or {}).get("lastUpdated", "") for one in versions],
    })  # fmt: skip  # Which versions, and what differs.


# Trials and writes


async def trial(request: Request) -> Response:
    """A FHIRPath on a stored record (GET) or on one typed here (POST); nothing is kept."""
    typed = ""
    if request.method == "POST":
        form = await view.form(request)
        expression, record = view.field(form, "expression"), view.field(form, "record")
        typed = view.field(form, "json")
    else:
        expression = request.query_params.get("expression", "").strip()
        record = request.query_params.get("record", "").strip()
    is_ready = bool(expression and (typed or showing.address(record)))
    tried = await service.attempt(request, expression, record, typed) if is_ready else Trial()
    facts = {
        "expression": expression, "record": record, "typed": typed, "tried": tried,
        "is_ready": is_ready, "needs": bool(expression) and not is_ready,
        "faults": [_fault(request, one) for one in tried.faults],
    }  # fmt: skip  # What was asked, and what came of it.
    return view.render(request, "reader/trial.html", facts)


async def edit(request: Request) -> Response:
    """The JSON of a record to be changed, or the beginning of a new one of a type."""
    record, type_ = request.query_params.get("record", ""), request.query_params.get("type", "")
    if not record:
        if not type_.isalnum():
            raise NotFoundError("Name a resource type")
        text = msgspec.json.format(msgspec.json.encode({"resourceType": type_}), indent=2).decode()
        return _editor(request, "", text, "", type_)
    if not showing.address(record):
        raise NotFoundError(f"{record[:80]!r} is no address of a record")
    answer = await service.ask(request, "GET", showing.address(record))
    if answer.status >= 400:
        return await _refused(request, f"/fhir/{record}", answer)
    text = msgspec.json.format(answer.body, indent=2).decode()
    return _editor(request, record, text, answer.headers.get("etag", ""), "")


async def save(request: Request) -> Response:
    """The write as any client would send it; a refusal comes back in words, the text stays."""
    form = await view.form(request)
    record, etag = view.field(form, "record"), view.field(form, "etag")
    type_, text = view.field(form, "type"), view.field(form, "json")
    if record and showing.address(record):
        answer = await service.ask(
            request, "PUT", showing.address(record), body=text.encode(), if_match=etag)
    elif type_.isalnum():
        answer = await service.ask(request, "POST", f"/fhir/{type_}", body=text.encode())
    else:
        raise NotFoundError("Name a record or a resource type")
    if answer.status >= 400:
        return _editor(request, record, text, etag, type_, answer)
    written = f"{answer.resource.get('resourceType')}/{answer.resource.get('id')}"
    return view.redirect(request, f"/fhir/{written}")


def _editor(
    request: Request, record: str, text: str, etag: str, type_: str, answer: Answer | None = None
) -> Response:
    facts = {
        "record": record, "json": text, "etag": etag, "type": type_,
        "status": answer.status if answer else 0,
        "faults": [_fault(request, one) for one in service.faults(answer.resource)]
        if answer else [],
    }  # fmt: skip  # What stands in the editor.
    return view.render(request, "reader/edit.html", facts, status=answer.status if answer else 200)




ROUTES: tuple[Route, ...] = (
    Route(path="/fhir", endpoint=address, roles=SIGNED_IN),
    Route(path="/fhir/{rest:path}", endpoint=address, roles=SIGNED_IN),
    Route(path="/reader/search", endpoint=search, roles=SIGNED_IN),
    Route(path="/reader/line", endpoint=line, roles=SIGNED_IN),
    Route(path="/reader/compare", endpoint=compare, roles=SIGNED_IN),
    Route(path="/reader/fhirpath", endpoint=trial, roles=SIGNED_IN, methods=("GET", "POST")),
    Route(path="/reader/edit", endpoint=edit, roles=SIGNED_IN),
    Route(path="/reader/edit", endpoint=save, roles=SIGNED_IN, methods=("POST",)),
)
MENU: tuple[MenuItem, ...] = (
    MenuItem(
        key="reader.menu", path="/fhir", icon="journal", roles=frozenset({Role.ADMINISTRATOR}),
        order=80,
    ),
)  # fmt: skip  # One place, for those who run the installation; others come by links.
