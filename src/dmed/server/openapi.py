"""OpenAPI 3.1 of the FHIR address, made from the same facts as the capability statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dmed
from dmed.fhir import params
from dmed.fhir.facts import facts
from dmed.kit.settings import Settings
from dmed.server.capability import SERVED_KINDS, interactions
from dmed.trust.manifest import Manifest

_JSON = "application/fhir+json"
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_VID = {"name": "vid", "in": "path", "required": True, "schema": {"type": "string"}}
_CONTROLS = ("_count", "_sort", "_include", "_revinclude", "_summary", "_elements", "_total")


def openapi(manifests: Sequence[Manifest], settings: Settings) -> dict[str, Any]:
    """The OpenAPI document; every path below /fhir needs a bearer token but /fhir/metadata."""
    paths: dict[str, Any] = {
        "/fhir/metadata": {"get": {**_answer("Capability statement"), "security": []}},
        "/fhir": {"post": {**_answer("Batch or transaction Bundle"), **_body("Bundle")}},
        "/fhir/_history": {"get": _answer("History of all types", "Bundle")},
    }
    for name in facts().resources:
        paths.update(_paths(name, settings))
    for manifest in manifests:
        for operation in manifest.operations:
            place = f"/{operation.type}" if operation.type else ""
            place += "/{id}" if operation.instance else ""
            path = f"/fhir{place}/${operation.name.removeprefix('$')}"
            one = _answer(f"Operation of {manifest.name}")
            methods = ("post",) if operation.affects_state else ("get", "post")
            paths[path] = dict.fromkeys(methods, one)
            if operation.instance:
                paths[path]["parameters"] = [_ID]
    return {
        "openapi": "3.1.0",
        "info": {"title": "DMED FHIR R5", "version": dmed.__version__},
        "servers": [{"url": settings.public_url.rstrip("/") or "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "schemas": {"Resource": {"type": "object", "required": ["resourceType"]}},
        },
    }


def _paths(name: str, settings: Settings) -> dict[str, Any]:
    served = interactions(settings)
    instance: dict[str, Any] = {
        "parameters": [_ID],
        "get": _answer(f"Read {name}", name),
        "put": {**_answer(f"Update {name}, or make it under this id", name), **_body(name)},
    }
    if "delete" in served:
        instance["delete"] = {"responses": {"204": {"description": "Deleted"}}}
    return {
        f"/fhir/{name}": {
            "get": {**_answer(f"Search {name}", "Bundle"), "parameters": _search(name)},
            "post": {**_answer(f"Create {name}", name, "201"), **_body(name)},
        },
        f"/fhir/{name}/{{id}}": instance,
        f"/fhir/{name}/{{id}}/_history": {
            "parameters": [_ID], "get": _answer("History of the record", "Bundle")
        },
        f"/fhir/{name}/{{id}}/_history/{{vid}}": {
            "parameters": [_ID, _VID], "get": _answer("One version", name)
        },
        f"/fhir/{name}/_history": {"get": _answer(f"History of {name}", "Bundle")},
    }  # fmt: skip  # A table of addresses.


def _search(name: str) -> list[dict[str, Any]]:
    codes = [each.code for each in params.parameters(name).values() if each.type in SERVED_KINDS]
    return [
        {"name": code, "in": "query", "schema": {"type": "string"}} for code in (*codes, *_CONTROLS)
    ]


def _answer(sentence: str, name: str = "Resource", status: str = "200") -> dict[str, Any]:
    content = {_JSON: {"schema": {"$ref": "#/components/schemas/Resource"}}}
    return {
        "summary": sentence,
        "responses": {
            status: {"description": name, "content": content},
            "default": {"description": "OperationOutcome", "content": content},
        },
    }


def _body(name: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Resource"}
    return {
        "requestBody": {
            "required": True,
            "description": name,
            "content": {_JSON: {"schema": schema}},
        }
    }
