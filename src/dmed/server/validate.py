"""https://hl7.org/fhir/R5/resource-operation-validate.html: what a write of this would be told.

On a type (`POST [type]/$validate`) and on a record (`/[type]/[id]/$validate`), with `profile` and
`mode`. The answer is 200 with an OperationOutcome, whatever it finds.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.fhir import codec, profile
from dmed.fhir.facts import facts
from dmed.kit.errors import DmedError, InvalidError, Issue, MediaTypeError
from dmed.server.outcome import outcome
from dmed.trust import guides
from dmed.trust.decide import Action
from dmed.trust.manifest import SIGNED_IN, Manifest, Operation

_JSON = "application/fhir+json; charset=utf-8"
_MODES = {
    "create": Action.CREATE,
    "update": Action.UPDATE,
    "delete": Action.DELETE,
    "profile": None,
}
_PROFILES_MAX = 10
_SOUND = Issue("informational", "No fault was found", severity="information")


class _Part(msgspec.Struct):
    """One parameter: a resource as it came, or a text."""

    name: str = ""
    resource: msgspec.Raw = msgspec.Raw()
    code: str = msgspec.field(name="valueCode", default="")
    uri: str = msgspec.field(name="valueUri", default="")
    canonical: str = msgspec.field(name="valueCanonical", default="")
    text: str = msgspec.field(name="valueString", default="")


class _Body(msgspec.Struct):
    """What tells a Parameters resource from the record itself."""

    resource_type: str = msgspec.field(name="resourceType", default="")
    parameter: list[_Part] = []


class _Asked(msgspec.Struct):
    """One call of the operation."""

    type: str
    id: str
    resource: bytes
    profiles: list[str]
    mode: str


async def validate(request: Request) -> Response:
    """Issues of the record that came, or of the stored one; each with severity, code and place."""
    subject, gateway = request.state.subject, request.app.state.gateway
    asked = await _asked(request)
    found: list[Issue] = []
    action = _MODES[asked.mode] if asked.mode else None
    if action is not None:
        try:
            await gateway.check_allowed(subject, action, asked.type, asked.id)
        except DmedError as refusal:
            found += refusal.issues
    if not asked.resource and asked.id:
        asked.resource = (await gateway.read(subject, asked.type, asked.id)).body
    if asked.mode != "delete":
        found += _issues(asked)
    return Response(outcome(found or [_SOUND]), media_type=_JSON)


async def _asked(request: Request) -> _Asked:
    parts = [part for part in request.url.path.split("/") if part]
    id_ = request.path_params.get("id", "")
    made = _Asked(
        type=parts[-3] if id_ else parts[-2],
        id=id_,
        resource=b"",
        profiles=request.query_params.getlist("profile"),
        mode=request.query_params.get("mode", ""),
    )
    body = await request.body() if request.method == "POST" else b""
    if body.strip():
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in {"application/fhir+json", "application/json", ""}:
            raise MediaTypeError("$validate reads application/fhir+json")
        _read(made, body)
    if made.mode and made.mode not in _MODES:
        raise InvalidError(f"mode is one of {', '.join(_MODES)}, not {made.mode[:40]!r}", "mode")
    if len(made.profiles) > _PROFILES_MAX:
        raise InvalidError(f"At most {_PROFILES_MAX} profiles at once", "profile")
    if not made.resource and not made.id:
        raise InvalidError("Send the resource to validate, alone or in Parameters", "resource")
    return made


def _read(made: _Asked, body: bytes) -> None:
    """Take the input from a Parameters resource; any other resource is what is validated."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # It may be a record with faults of form: those are what the caller wants to hear.
        made.resource = body
        return
    if found.resource_type != "Parameters" or made.type == "Parameters":
        made.resource = body
        return
    for part in found.parameter:
        if part.name == "resource":
            made.resource = bytes(part.resource)
        elif part.name == "mode":
            made.mode = part.code or part.text
        elif part.name == "profile":
            made.profiles.append(part.canonical or part.uri or part.text)


def _issues(asked: _Asked) -> list[Issue]:
    try:
        resource: Any = codec.decode(asked.resource)
    except InvalidError as fault:
        return list(fault.issues)
    found: list[Issue] = []
    if resource.fhir_type != asked.type:
        found.append(Issue(
            "invalid", f"this is a {resource.fhir_type}, the address says {asked.type}",
            resource.fhir_type))  # fmt: skip  # One sentence.
    installed = guides.installed()
    found += [
        Issue("not-found", f"the profile {url[:200]} is not installed here", resource.fhir_type)
        for url in asked.profiles
        if not installed.type_of(url)
    ]
    return found + profile.examine(resource, installed, asked.profiles)


MANIFEST = Manifest(
    name="validate",
    titles={"uz": "Tekshirish", "ru": "Проверка", "en": "Validation"},
    operations=tuple(
        Operation(
            name="$validate",
            type=name,
            endpoint=validate,
            roles=SIGNED_IN,
            instance=instance,
            affects_state=False,
        )
        for name in facts().resources
        for instance in (False, True)
    ),
)
"""The operation on every type and record, as the server's own share of the manifests."""
