"""The reader's use cases: ask the FHIR room what a client would be answered, try a FHIRPath."""

from __future__ import annotations

import re
import time
from collections.abc import MutableMapping
from typing import Any

import msgspec
from starlette.requests import Request

from dmed.modules.reader.model import Answer, Fault, Trial
from dmed.trust.gateway import decoded
from dmed.trust.request import REQUEST_ID

VALUES_MAX = 200
_CARRIED = {b"authorization", b"cookie", b"host", b"sec-fetch-site"}
_JSON_VALUE = "http://fhir.forms-lab.com/StructureDefinition/json-value"
_encode = msgspec.json.Encoder(decimal_format="number").encode
_AT = re.compile(r"\bat (\d+)\b")


async def ask(
    request: Request, method: str, address: str, query: str = "", body: bytes = b"", *,
    if_match: str = "",
) -> Answer:  # fmt: skip  # An HTTP request in one line.
    """What the FHIR room answers to the person of this request; one act, one audit.

    `address` is a path below this site, percent-encoded. The room finds out itself who asks and
    decides and audits as for any other client.
    """
    headers = [(name, value) for name, value in request.scope["headers"] if name in _CARRIED]
    headers += [
        (b"accept", b"application/fhir+json"),
        (b"content-type", b"application/fhir+json"),
        (b"x-request-id", REQUEST_ID.get().encode()),
        (b"x-csrf-token", str(getattr(request.state, "csrf", "")).encode()),
    ]
    if if_match:
        headers.append((b"if-match", if_match.encode("latin-1", "replace")))
    scope = {
        "type": "http", "asgi": request.scope.get("asgi", {}), "http_version": "1.1",
        "method": method, "scheme": request.scope.get("scheme", "http"), "headers": headers,
        "path": address, "raw_path": address.encode(), "query_string": query.encode(),
        "root_path": "", "client": request.scope.get("client"),
        "server": request.scope.get("server"), "state": {},
    }  # fmt: skip  # The fields of an ASGI scope.
    told = _Told(body)
    await request.app.state.fhir(scope, told.receive, told.send)
    return told.answer()


class _Told:
    """The two ends of one ASGI call: gives the body, gathers the answer."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._status = 500
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        body, self._body = self._body, b""
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            pairs = message.get("headers", ())
            self._headers = {name.decode(): value.decode("latin-1") for name, value in pairs}
        else:
            self._parts.append(message.get("body", b""))

    def answer(self) -> Answer:
        body = b"".join(self._parts)
        try:
            resource = decoded(body) if body else {}
        except msgspec.DecodeError:
            resource = {}
        return Answer(self._status, self._headers, resource, body)


def faults(resource: dict[str, Any]) -> list[Fault]:
    """The issues of an OperationOutcome."""
    made = []
    for issue in resource.get("issue", ()):
        places = issue.get("expression") or issue.get("location") or [""]
        details = (issue.get("details") or {}).get("text", "")
        made.append(
            Fault(
                str(issue.get("severity", "error")),
                str(issue.get("code", "")),
                str(issue.get("diagnostics") or details),
                str(places[0]),
            )
        )
    return made


async def attempt(request: Request, expression: str, record: str, typed: str) -> Trial:
    """The expression on a record of ours (`Patient/1`) or on typed JSON, by the operation
    $fhirpath: in a process with little time and memory, with the rights and the audit of a read.
    """
    place: dict[str, Any] = {"valueString": record}
    if typed:
        place = {"extension": [{"url": _JSON_VALUE, "valueString": typed}]}
    asked = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "expression", "valueString": expression},
            {"name": "resource", **place},
        ],
    }
    began = time.perf_counter()
    answer = await ask(request, "POST", "/fhir/$fhirpath", body=msgspec.json.encode(asked))
    taken = f"{(time.perf_counter() - began) * 1000:.0f}"
    if answer.status != 200:
        told = faults(answer.resource)
        at = _AT.search(told[0].sentence) if told and answer.status == 400 else None
        return Trial(faults=tuple(told), at=int(at[1]) if at else -1, milliseconds=taken)
    results = [one for one in answer.resource["parameter"] if one["name"] == "result"]
    parts = [part for result in results for part in result.get("part", ())]
    values = tuple((str(part["name"]), _shown(part)) for part in parts[:VALUES_MAX])
    return Trial(values=values, milliseconds=taken)


def _shown(part: dict[str, Any]) -> str:
    """The value of a part of Parameters as text: plain, or JSON in lines."""
    for name, value in part.items():
        if name == "part":
            return "\n".join(_shown(one) for one in value)
        if name == "extension":
            texts = [one.get("valueString", "") for one in value if one.get("url") == _JSON_VALUE]
            if texts:
                return str(texts[0])
        elif name.startswith("value") or name == "resource":
            if isinstance(value, dict | list):
                return msgspec.json.format(_encode(value), indent=1).decode()
            return "true" if value is True else "false" if value is False else str(value)
    return ""
