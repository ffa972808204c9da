"""https://hl7.org/fhir/R5/operations.html: what modules registered, behind role and body limit."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import (
    DmedError,
    ForbiddenError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from dmed.server.call import Call, read_body
from dmed.server.door import Door
from dmed.trust.manifest import Operation


def find(door: Door, call: Call) -> tuple[Operation, str]:
    """The operation that an address names, and the id of its record or "". 404, 405 or 403."""
    *place, last = call.parts
    if len(place) > 2:
        raise NotFoundError(f"There is nothing at {call.path[:100]}")
    type_ = place[0] if place else ""
    id_ = place[1] if len(place) == 2 else ""
    if type_:
        door.check_type(type_)
    operation = door.operations.get((type_, last.removeprefix("$"), bool(id_)))
    if operation is None:
        raise NotFoundError(f"The operation {last[:60]} is not served at {call.path[:100]}")
    if call.method != "POST" and (call.method != "GET" or operation.affects_state):
        allowed = "POST" if operation.affects_state else "GET, POST"
        raise NotAllowedError(f"{last[:60]} takes {allowed}", headers={"Allow": allowed})
    if call.subject.role not in operation.roles:
        raise ForbiddenError(f"The role {call.subject.role.value} may not call {last[:60]}")
    return operation, id_


async def run(door: Door, call: Call, request: Request, app: Any) -> Response:
    """The endpoint's own response; its request has the body read already, within the limit."""
    try:
        operation, id_ = find(door, call)
    except ForbiddenError as refusal:
        said = f"refused: {call.path[:200]}"
        await door.acts.note(call.subject, "E", said, outcome=refusal.status)
        raise
    if not (operation.affects_state or operation.audits or operation.quick is not None):
        # It may read no record; those on definitions alone (quick) name no person.
        await door.acts.note(call.subject, "E", f"operation {call.path[:200]}")
    body = await read_body(request, door.settings.body_limit_bytes)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {**request.scope, "app": app, "path_params": {"id": id_} if id_ else {}}
    try:
        return await operation.endpoint(Request(scope, receive))
    except DmedError as refusal:
        if operation.quick is None and not isinstance(refusal, UnavailableError):
            said = f"operation {call.path[:200]}"
            await door.acts.note(call.subject, "E", said, outcome=refusal.status)
        raise
