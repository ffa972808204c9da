"""The FHIR address of sandboxes: `/sandbox/fhir`, for the tokens of sandbox clients alone."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import DmedError, ForbiddenError, UnauthorizedError
from dmed.modules.developers import tables
from dmed.modules.developers.service import sandbox
from dmed.pages import view
from dmed.server.call import base_of, read_body
from dmed.server.outcome import outcome_of
from dmed.trust.manifest import ANYBODY, Route

JSON = "application/fhir+json; charset=utf-8"
_KEPT = ("if-match", "if-none-exist")


async def fhir(request: Request) -> Response:
    """One FHIR request in the sandbox of the token's client; refusals are OperationOutcomes."""
    try:
        answer = await _answered(request)
    except DmedError as refusal:
        answer = sandbox.Answer(status=refusal.status, body=outcome_of(refusal),
                                headers=refusal.headers)
    headers = {"Cache-Control": "no-store", **answer.headers}
    return Response(answer.body, answer.status, headers, media_type=JSON)


async def _answered(request: Request) -> sandbox.Answer:
    subject = view.subject_of(request)
    if subject is None or not subject.scopes.client:
        raise UnauthorizedError("A token of a sandbox client is needed: see /developers",
                                headers={"WWW-Authenticate": "Bearer"})
    gateway = view.gateway(request)
    async with gateway.unit(subject) as unit:
        found = await tables.by_client(unit, subject.scopes.client)
    if found is None:
        await gateway.note(subject, "E", "refused: no sandbox of this client", outcome=403)
        raise ForbiddenError("This client has no sandbox")
    application, hands = found
    body = await read_body(request, sandbox.BODY_MAX_BYTES)
    base = base_of(request.scope, request.app.state.settings).removesuffix("/fhir")
    asked = sandbox.Asked(
        method=request.method, path=request.path_params.get("rest", ""),
        query=request.url.query, body=body, base=f"{base}/sandbox/fhir",
        headers={name: request.headers[name] for name in _KEPT if name in request.headers})
    return await sandbox.serve(gateway, subject, application, asked,
                               by_hand=subject.session in hands)



_METHODS = ("GET", "POST", "PUT")
ROUTES: tuple[Route, ...] = (
    Route(path="/sandbox/fhir", endpoint=fhir, roles=ANYBODY, methods=_METHODS),
    Route(path="/sandbox/fhir/{rest:path}", endpoint=fhir, roles=ANYBODY, methods=_METHODS),
)
