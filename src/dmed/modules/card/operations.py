"""https://build.fhir.org/ig/HL7/fhir-ips/OperationDefinition-summary.html: Patient/$summary.

On a record, and on the type with `identifier`. The answer is a Bundle of type document. `profile`
and `graph` are refused where they ask for another summary than this one: an app that needs what
it asked for must not take something else for it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError, UnprocessableError
from dmed.modules.card import api
from dmed.pages import view
from dmed.trust.manifest import Operation
from dmed.trust.model import Role

SUMMARISES = frozenset({Role.DOCTOR, Role.SERVICE, Role.CITIZEN})
PROFILES = ("http://hl7.org/fhir/uv/ips/StructureDefinition/Bundle-uv-ips",
            "http://hl7.org/fhir/uv/ips/StructureDefinition/Composition-uv-ips")
_TAKEN = frozenset({"identifier", "profile", "graph", "_format", "_pretty"})


async def summary(request: Request) -> Response:
    """The summary of the person of the address, or of the one with an identifier."""
    given = await _parameters(request)
    unknown = sorted(given.keys() - _TAKEN)
    if unknown:
        raise InvalidError(f"$summary takes no parameter {unknown[0][:40]!r}")
    if given.get("graph") or given.get("profile", PROFILES[0]) not in PROFILES:
        raise UnprocessableError("Only the International Patient Summary is made here")
    gateway, subject = request.app.state.gateway, request.state.subject
    id_ = request.path_params.get("id", "")
    if not id_:
        if not given.get("identifier"):
            raise InvalidError("Name the person: identifier=system|value", "identifier")
        id_ = await api.person_by_identifier(gateway, subject, given["identifier"])
    base = str(request.base_url).rstrip("/") + "/fhir"
    body = await api.summary(gateway, subject, id_, view.language_of(request), base)
    return Response(body, media_type="application/fhir+json")


async def _parameters(request: Request) -> dict[str, str]:
    """The values of the query and of a Parameters body, as texts."""
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
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            continue
        token = row.get("valueIdentifier")
        if isinstance(token, dict):
            given[row["name"]] = f"{token.get('system', '')}|{token.get('value', '')}"
            continue
        for key, value in row.items():
            if key.startswith("value"):
                given[row["name"]] = str(value)
    return given


OPERATIONS: tuple[Operation, ...] = (
    Operation(name="summary", type="Patient", endpoint=summary, roles=SUMMARISES, instance=True,
              affects_state=False),
    Operation(name="summary", type="Patient", endpoint=summary, roles=SUMMARISES,
              affects_state=False),
)
