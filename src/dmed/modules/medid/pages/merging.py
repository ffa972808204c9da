"""Screens of doubles: the review queue, two cards side by side, merge with preview, undo."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import DmedError, InvalidError
from dmed.kit.i18n import Speech
from dmed.modules.medid.model import Finding
from dmed.modules.medid.pages.shared import MASKED, masked, plain
from dmed.modules.medid.rules import comparing, documents, numbers, reading
from dmed.modules.medid.service import feeding, finding, merging, review
from dmed.pages import view
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

KEEPS = frozenset({Role.REGISTRAR})
HITS_MAX = 10
_SHOWN = {"birthDate": "born", "gender": "sex"}
Record = dict[str, Any]


def _person(request: Request, record: Record) -> dict[str, Any]:
    """A card in one line."""
    t = view.speech(request)
    hit = reading.hit(record)
    return {"id": hit.id, "name": t.name(reading.name_for(record, t.language) or hit.name),
            "born": t.date(hit.birth_date) if hit.birth_date else "",
            "sex": t(f"sex.{hit.sex or 'unknown'}"), "med_id": hit.med_id, "pinfl": hit.pinfl,
            "active": hit.active, "organisation": t.script(hit.organisation)}


def _rows(t: Speech, found: comparing.Comparison) -> list[dict[str, Any]]:
    """The rows of a comparison as the template shows them: others' numbers masked."""
    rows = []
    for row in found.rows:
        left, right = row.left, row.right
        if row.field in MASKED:
            left, right = (masked(one, *MASKED[row.field]) for one in (left, right))
        elif row.field == "birth_date" and row.verdict == "same":
            left, right = (plain(one, t.date) for one in (left, right))
        elif row.field == "sex":
            left, right = (plain(one, lambda code: t(f"sex.{code}")) for one in (left, right))
        rows.append({"field": row.field, "left": left, "right": right, "verdict": row.verdict,
                     "weight": row.weight, "reasons": row.reasons})
    return rows


async def queue(request: Request) -> Response:
    """Pairs of cards that may be one person's, the likeliest first."""
    text = request.query_params.get("page", "0")
    page = int(text) if text.isdecimal() and len(text) < 5 else 0
    found = await review.queue(view.gateway(request), view.signed_in(request), page)
    rows = [{"pair": pair, "left": _person(request, left), "right": _person(request, right)}
            for pair, left, right in found.rows]
    return view.render(request, "medid/review.html", {
        "rows": rows, "count": found.count, "page": page, "more": len(found.rows) == review.PAGE,
        "decided": request.query_params.get("decided", "")})


async def question(request: Request) -> Response:
    """One pair side by side, with the differing letters marked and the reasons by field."""
    return await _question(request, "")


async def _question(request: Request, fault: str) -> Response:
    found = await review.question(
        view.gateway(request), view.signed_in(request), request.path_params["number"])
    return view.render(request, "medid/question.html", {
        "pair": found.pair, "left": _person(request, found.left),
        "right": _person(request, found.right), "fault": fault, "said": found.comparison,
        "rows": _rows(view.speech(request), found.comparison)}, status=422 if fault else 200)


async def distinct(request: Request) -> Response:
    """They are two persons."""
    form = await view.form(request)
    try:
        await review.say_distinct(view.gateway(request), view.signed_in(request),
                                  request.path_params["number"], view.field(form, "reason"))
    except DmedError as refusal:
        if refusal.status != 422:
            raise
        return await _question(request, view.sentences(view.speech(request), refusal)[0])
    return view.redirect(request, "/persons/review?decided=distinct")


async def compare(request: Request) -> Response:
    """Merging one card into another: whom with, and what will move."""
    asked = {name: request.query_params.get(name, "").strip()
             for name in ("source", "target", "q", "review")}
    if not asked["source"]:
        return view.redirect(request, "/persons")  # A merge begins with a card.
    if not asked["target"]:
        return await _choose(request, asked)
    return await _preview(request, asked, [])


async def _choose(request: Request, asked: dict[str, str]) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    card = await gateway.get(subject, "Patient", asked["source"])
    hits = await finding.find(gateway, subject, asked["q"], HITS_MAX) if asked["q"] else []
    return view.render(request, "medid/merge_choose.html", {
        "card": _person(request, card), "asked": asked,
        "hits": [hit for hit in hits if hit.id != card["id"] and hit.active]})


async def _preview(
    request: Request, asked: dict[str, str], faults: list[str], reason: str = ""
) -> Response:
    gateway, subject = view.gateway(request), view.signed_in(request)
    t = view.speech(request)
    found = await merging.preview(gateway, subject, asked["source"], asked["target"])
    _, _, said = await review.weigh(gateway, subject, asked["source"], asked["target"])
    facts = {
        "source": _person(request, found.source), "target": _person(request, found.target),
        "said": said, "rows": _rows(t, said), "asked": asked, "faults": faults, "reason": reason,
        "errors": [_said(t, one) for one in found.findings if one.severity == "error"],
        "warnings": [_said(t, one) for one in found.findings if one.severity == "warning"],
        "brought": [brought(t, element, value) for element, value in found.brought
                    if element != "extension"],
        "counts": found.counts}
    return view.render(request, "medid/merge.html", facts, status=422 if faults else 200)


def _said(t: Speech, one: Finding) -> str:
    return t(one.key, **one.values)


def brought(t: Speech, element: str, value: Any) -> tuple[str, str]:
    """(what it is, how it reads) of something that moves with a merge."""
    if element == "identifier":
        kind = documents.kind_of(value.get("system", ""))
        shown = value.get("value", "")
        if kind == "hc":
            shown = numbers.show_med_id(shown)
        elif len(shown) > 4:
            shown = numbers.mask_pinfl(shown)
        suffix = f" ({t('medid.use.old')})" if value.get("use") == "old" else ""
        return t(f"medid.document.{kind}"), shown + suffix
    if element == "name":
        former = f" ({t('medid.use.old')})" if value.get("use") == "old" else ""
        return t("person.name"), t.name(reading.full_name(value)) + former
    if element == "telecom":
        return t("person.phone"), numbers.mask_phone(value.get("value", ""))
    if element == "address":
        return t("person.address"), t.script(reading.address({"address": [value]}))
    if element == "managingOrganization":
        return t("medid.sheet.clinic"), t.script(value.get("display", ""))
    if element == "gender":
        return t("person.sex"), t(f"sex.{value}")
    if element in ("birthDate", "deceasedDateTime"):
        name = "person.born" if element == "birthDate" else "person.deceased"
        return t(name), t.date(value[:10])
    key = f"medid.element.{element}"
    return (t(key) if t.translator.has(key) else element), ""


async def merge(request: Request) -> Response:
    """Merges, after everything was shown."""
    form = await view.form(request)
    asked = {name: view.field(form, name) for name in ("source", "target", "review")} | {"q": ""}
    gateway, subject = view.gateway(request), view.signed_in(request)
    reason = view.field(form, "reason")
    try:
        if asked["review"].isdecimal() and len(asked["review"]) < 18:
            made = await review.merge_pair(gateway, subject, int(asked["review"]),
                                           asked["source"], asked["target"], reason)
        else:
            made = await merging.merge(gateway, subject, asked["source"], asked["target"], reason)
    except DmedError as refusal:
        if refusal.status not in (409, 422):
            raise
        said = view.sentences(view.speech(request), refusal)
        return await _preview(request, asked, said, reason)
    return view.redirect(request, f"/persons/merges/{made}?done=1")


async def merges(request: Request) -> Response:
    """Merges, the newest first: of one person, or of all."""
    person = request.query_params.get("person", "").strip()
    found = await merging.listed(view.gateway(request), view.signed_in(request), person)
    rows = [{"merge": row, "source": _person(request, source), "target": _person(request, target)}
            for row, source, target in found]
    return view.render(request, "medid/merges.html", {"rows": rows, "person": person})


async def merged(request: Request) -> Response:
    """One merge: what it brought, who did it, and its undoing."""
    return await _merged(request, [])


async def _merged(request: Request, faults: list[str]) -> Response:
    t = view.speech(request)
    row, source, target = await merging.shown(
        view.gateway(request), view.signed_in(request), request.path_params["number"])
    return view.render(request, "medid/merged.html", {
        "merge": row, "source": _person(request, source), "target": _person(request, target),
        "brought": [brought(t, element, value) for element, value in row.brought
                    if element not in ("link", "extension")],
        "faults": faults, "done": request.query_params.get("done", "")},
        status=422 if faults else 200)


async def undo(request: Request) -> Response:
    """Undoes a merge: both cards stand again."""
    form = await view.form(request)
    number = request.path_params["number"]
    try:
        await merging.undo(view.gateway(request), view.signed_in(request), number,
                           view.field(form, "reason"))
    except DmedError as refusal:
        if refusal.status not in (409, 422):
            raise
        return await _merged(request, view.sentences(view.speech(request), refusal))
    return view.redirect(request, f"/persons/merges/{number}?done=undone")


async def feed(request: Request) -> Response:
    """Lines of the national feed that were refused or contradict a card."""
    found = await feeding.queue(view.gateway(request), view.signed_in(request))
    rows = [{"entry": entry, "raw": _hidden(entry.raw),
             "card": _person(request, card) if card else None} for entry, card in found]
    return view.render(request, "medid/feed.html", {"rows": rows})


def _hidden(raw: str) -> str:
    """A line as it came, with all but the last digits of long numbers as dots."""
    return re.sub(r"[0-9]{9,}", lambda found: numbers.mask_pinfl(found.group()), raw)


async def settle(request: Request) -> Response:
    """Somebody dealt with a line."""
    form = await view.form(request)
    line = view.field(form, "line")
    if not line.isdecimal() or len(line) > 15:
        raise InvalidError("a line has a number", "line")
    await feeding.settle(view.gateway(request), view.signed_in(request),
                         view.field(form, "digest"), int(line))
    return view.redirect(request, "/persons/feed")


ROUTES: tuple[Route, ...] = (
    Route(path="/persons/feed", endpoint=view.screen(feed), roles=KEEPS),
    Route(path="/persons/feed", endpoint=view.screen(settle), roles=KEEPS, methods=("POST",)),
    Route(path="/persons/review", endpoint=view.screen(queue), roles=KEEPS),
    Route(path="/persons/review/{number:int}", endpoint=view.screen(question), roles=KEEPS),
    Route(path="/persons/review/{number:int}", endpoint=view.screen(distinct), roles=KEEPS,
          methods=("POST",)),
    Route(path="/persons/merge", endpoint=view.screen(compare), roles=KEEPS),
    Route(path="/persons/merge", endpoint=view.screen(merge), roles=KEEPS, methods=("POST",)),
    Route(path="/persons/merges", endpoint=view.screen(merges), roles=KEEPS),
    Route(path="/persons/merges/{number:int}", endpoint=view.screen(merged), roles=KEEPS),
    Route(path="/persons/merges/{number:int}", endpoint=view.screen(undo), roles=KEEPS,
          methods=("POST",)),
)  # fmt: skip  # A table.
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="medid.menu.review", path="/persons/review", icon="person", roles=KEEPS,
             order=25),
)
