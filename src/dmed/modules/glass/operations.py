"""Patient/[id]/$break-glass and $explain-access. https://hl7.org/fhir/R5/operations.html"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError
from dmed.modules.glass import rules, service
from dmed.trust.decide import Action
from dmed.trust.manifest import SIGNED_IN, Operation
from dmed.trust.model import Subject

JSON = "application/fhir+json"


async def break_glass(request: Request) -> Response:
    """POST Parameters (reason: code, text: string); answers until when, and the number."""
    given = await _parameters(request)
    broken = await service.break_glass(
        request.app.state.gateway, _subject(request), request.path_params["id"],
        given.get("reason", ""), given.get("text", ""))
    return _answer([
        {"name": "number", "valueInteger64": str(broken.number)},
        {"name": "until", "valueInstant": broken.until.isoformat(timespec="seconds")},
    ])


async def explain(request: Request) -> Response:
    """GET or POST with `type`, `id` and `action` (default read): allowed or not, and why."""
    given = await _parameters(request)
    type_, id_ = given.get("type", ""), given.get("id", "")
    if request.path_params.get("id"):
        type_, id_ = type_ or "Patient", id_ or request.path_params["id"]
    try:
        action = Action(given.get("action", "read"))
    except ValueError:
        said = ", ".join(Action)
        raise InvalidError(f"The action is one of {said}", "action") from None
    verdict = await request.app.state.gateway.plain().explain(
        _subject(request), action, type_, id_)
    return _answer([
        {"name": "allowed", "valueBoolean": verdict.allowed},
        *({"name": "reason", "part": [
            {"name": "key", "valueCode": reason.key},
            {"name": "sentence", "valueString": reason.sentence},
        ]} for reason in verdict.reasons),
    ])


async def _parameters(request: Request) -> dict[str, str]:
    """The values of the query and of a Parameters body, as texts. InvalidError for another body."""
    query = request.scope["query_string"].decode("latin-1")
    given = dict(parse_qsl(query, max_num_fields=20))
    body = await request.body()
    if not body.strip():
        return given
    try:
        read: Any = msgspec.json.decode(body)
    except msgspec.DecodeError as fault:
        raise InvalidError("The body cannot be read as JSON") from fault
    if not isinstance(read, dict) or read.get("resourceType") != "Parameters":
        raise InvalidError("The body of an operation is a Parameters resource")
    rows = read.get("parameter", [])
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("name"), str):
            values = [value for key, value in row.items() if key.startswith("value")]
            if len(values) == 1 and isinstance(values[0], str):
                given[row["name"]] = values[0]
    return given


def _subject(request: Request) -> Subject:
    found: Subject = request.state.subject
    return found


def _answer(parameters: list[dict[str, Any]]) -> Response:
    body = msgspec.json.encode({"resourceType": "Parameters", "parameter": parameters})
    return Response(body, media_type=JSON)


OPERATIONS: tuple[Operation, ...] = (
    Operation(name="break-glass", type="Patient", endpoint=break_glass, roles=rules.MAY_BREAK,
              instance=True),
    Operation(name="explain-access", type="", endpoint=explain, roles=SIGNED_IN,
              affects_state=False),
    Operation(name="explain-access", type="Patient", endpoint=explain, roles=SIGNED_IN,
              instance=True, affects_state=False),
)
