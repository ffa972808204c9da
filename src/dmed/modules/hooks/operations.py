"""The CDS Hooks server, and the operation that tells how well alerts work.

https://cds-hooks.hl7.org/2.0/#discovery, #calling-a-cds-service and #feedback
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from functools import wraps
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.clock import today
from dmed.kit.errors import (
    DmedError,
    ForbiddenError,
    InvalidError,
    MediaTypeError,
    NotFoundError,
    UnauthorizedError,
)
from dmed.modules.hooks import rules, service
from dmed.modules.hooks.model import SERVICES, Service
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.api import Precision
from dmed.pages import view
from dmed.server.call import base_of, read_body
from dmed.server.outcome import outcome_of
from dmed.trust.manifest import ANYBODY, Operation, Route
from dmed.trust.model import Role, Subject

JSON = "application/json; charset=utf-8"
FHIR_JSON = "application/fhir+json; charset=utf-8"
BODY_MAX_BYTES = 1_000_000
CALLERS = frozenset({Role.DOCTOR, Role.SERVICE})
"""Who prescribes, and systems in which somebody does."""
READERS = frozenset({Role.ADMINISTRATOR, Role.INSPECTOR})
DAYS_USUAL = 90
_encoder = msgspec.json.Encoder(decimal_format="number")
_Endpoint = Callable[[Request], Awaitable[Response]]


def _json(handler: _Endpoint) -> _Endpoint:
    """Refusals as an OperationOutcome under their status, never as a page; 403 and 404 audited."""

    @wraps(handler)
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except DmedError as refusal:
            subject = view.subject_of(request)
            if subject is not None and isinstance(refusal, ForbiddenError | NotFoundError):
                await view.gateway(request).note(
                    subject, "E", f"refused: {request.url.path}", outcome=refusal.status)
            headers = {"Cache-Control": "no-store", **refusal.headers}
            return Response(outcome_of(refusal), refusal.status, headers, media_type=JSON)

    return answered


async def discovery(_: Request) -> Response:
    """`GET /cds-services`: open as the specification wants; it tells of nobody."""
    listed = [
        {"id": one.id, "hook": one.hook, "title": one.title, "description": one.description,
         "prefetch": rules.PREFETCH,
         "usageRequirements": "A bearer token of this platform. Without prefetch the person's card "
                              "here is read with the rights of the token."}
        for one in SERVICES
    ]  # fmt: skip  # One list.
    return Response(_encoder.encode({"services": listed}), media_type=JSON)


def _caller(request: Request) -> Subject:
    subject = view.subject_of(request)
    if subject is None:
        raise UnauthorizedError(
            "A bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
    if subject.role not in CALLERS:
        raise ForbiddenError("Decision support is for doctors and for systems in which they work")
    return subject


def _service(request: Request) -> Service:
    wanted = request.path_params["id"]
    found = next((one for one in SERVICES if one.id == wanted), None)
    if found is None:
        raise NotFoundError(f"There is no service {wanted[:64]!r}; see /cds-services")
    return found


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"application/json", "application/fhir+json", ""}:
        raise MediaTypeError("A hook is called with application/json")
    return await read_body(request, BODY_MAX_BYTES)


@_json
async def call(request: Request) -> Response:
    """`POST /cds-services/{id}`: cards for the orders, or for the medicines taken."""
    subject, wanted = _caller(request), _service(request)
    gateway = view.gateway(request)
    read = rules.read(await _body(request), wanted)
    server = base_of(request.scope, request.app.state.settings)
    answer = await service.answer(gateway, subject, wanted, read, view.speech(request), server)
    is_here = not read.server or read.server.rstrip("/") == server.rstrip("/")
    await gateway.note(subject, "E", f"cds-hooks {wanted.id}: {len(answer['cards'])} cards",
                       patient=read.patient if is_here and read.missing else "")
    return Response(_encoder.encode(answer), 200, {"Cache-Control": "no-store"}, media_type=JSON)


@_json
async def feedback(request: Request) -> Response:
    """`POST /cds-services/{id}/feedback`: what became of cards."""
    subject, wanted = _caller(request), _service(request)
    answers = rules.read_feedback(await _body(request))
    await service.feedback(view.gateway(request), subject, answers)
    await view.gateway(request).note(
        subject, "E", f"cds-hooks {wanted.id} feedback: {len(answers)} cards")
    return Response(b"{}", 200, {"Cache-Control": "no-store"}, media_type=JSON)


async def alert_precision(request: Request) -> Response:
    """`$alert-precision?since=&until=`: for each rule how often it was shown, how often passed and
    with which reason, and whether clinicians should look at it. The last 90 days where not said.
    """
    gateway, subject = request.app.state.gateway, request.state.subject
    until = _day(request, "until", today())
    since = _day(request, "since", until - timedelta(days=DAYS_USUAL - 1))
    found = await prescriptions.alert_precision(gateway, subject, since, until)
    await gateway.note(subject, "E", "$alert-precision")
    listed = [
        {"name": "since", "valueDate": since.isoformat()},
        {"name": "until", "valueDate": until.isoformat()},
        *({"name": "rule", "part": _parts(one)} for one in found),
    ]
    body = _encoder.encode({"resourceType": "Parameters", "parameter": listed})
    return Response(body, media_type=FHIR_JSON)


def _day(request: Request, name: str, usual: date) -> date:
    text = request.query_params.get(name, "")
    try:
        return date.fromisoformat(text) if text else usual
    except ValueError as fault:
        raise InvalidError(f"{name} is no day like 2026-11-23", name) from fault


def _parts(one: Precision) -> list[dict[str, Any]]:
    share = [] if one.share is None else [{"name": "share-overridden", "valueDecimal": one.share}]
    return [
        {"name": "id", "valueCode": one.rule},
        {"name": "version", "valueString": one.version},
        {"name": "tier", "valueCode": one.tier},
        {"name": "shown", "valueInteger": one.shown},
        {"name": "overridden", "valueInteger": one.overridden},
        {"name": "accepted", "valueInteger": one.accepted},
        {"name": "heeded", "valueInteger": one.heeded},
        *share,
        {"name": "for-review", "valueBoolean": one.is_for_review},
        *({"name": "reason", "part": [
            {"name": "code", "valueString": reason or "none"},
            {"name": "count", "valueInteger": count}]}
          for reason, count in sorted(one.reasons.items())),
    ]  # fmt: skip  # One list of parts.


ROUTES: tuple[Route, ...] = (
    Route(path="/cds-services", endpoint=discovery, roles=ANYBODY),
    Route(path="/cds-services/{id}", endpoint=call, roles=ANYBODY, methods=("POST",)),
    Route(path="/cds-services/{id}/feedback", endpoint=feedback, roles=ANYBODY,
          methods=("POST",)),
)  # fmt: skip  # One table.
OPERATIONS: tuple[Operation, ...] = (
    Operation(name="alert-precision", type="", endpoint=alert_precision, roles=READERS,
              affects_state=False),
)  # fmt: skip  # One entry.
