"""OpenAPI 3.1 of the FHIR address, made from the capability statement and the facts of R5.

https://spec.openapis.org/oas/v3.1.0 and https://hl7.org/fhir/R5/http.html. What the statement
declares for a type stands here as paths, and every type of R5 as a schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dmed
from dmed.kit.settings import Settings
from dmed.server.capability import capability
from dmed.server.openapi_schemas import schemas
from dmed.trust.manifest import Manifest, Operation

Described = dict[str, Any]

_JSON = "application/fhir+json"
_FORM = "application/x-www-form-urlencoded"
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", _JSON)
_CONTROLS = {
    "_count": {"type": "integer", "minimum": 0},
    "_sort": {"type": "string"},
    "_include": {"type": "string"},
    "_revinclude": {"type": "string"},
    "_summary": {"enum": ["true", "text", "data", "count", "false"]},
    "_elements": {"type": "string"},
    "_total": {"enum": ["none", "estimate", "accurate"]},
    "_cursor": {"type": "string"},
}
_PARAMETERS: Mapping[str, Described] = {
    "id": {"in": "path", "required": True,
           "schema": {"type": "string", "pattern": "^[A-Za-z0-9.-]{1,64}$"}},
    "vid": {"in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "If-Match": {"in": "header", "schema": {"type": "string"}},
    "If-None-Match": {"in": "header", "schema": {"type": "string"}},
    "If-Modified-Since": {"in": "header", "schema": {"type": "string"}},
    "If-None-Exist": {"in": "header", "schema": {"type": "string"}},
    "Prefer": {"in": "header", "schema": {"type": "string"}},
    "Idempotency-Key": {"in": "header", "schema": {"type": "string", "maxLength": 200}},
    "_since": {"in": "query", "schema": {"type": "string", "format": "date-time"}},
    # The search parameters of a conditional interaction: those of the type's search.
    "criteria": {"in": "query", "style": "form", "explode": True,
                 "schema": {"type": "object", "additionalProperties": {"type": "string"}}},
    **{name: {"in": "query", "schema": schema} for name, schema in _CONTROLS.items()},
}  # fmt: skip  # A table of parameters that many paths share.


def openapi(manifests: Sequence[Manifest], settings: Settings) -> dict[str, Any]:
    """The OpenAPI document; every path below /fhir needs sign-in but /fhir/metadata."""
    declared = capability(manifests, settings, settings.public_url.rstrip("/") + "/fhir")["rest"][0]
    paths: dict[str, Any] = {
        "/fhir/metadata": {
            "get": {
                **_act("The capability statement", "CapabilityStatement"),
                "operationId": "capabilities",
                "security": [],
            }
        },
        **_system({one["code"] for one in declared["interaction"]}),
    }
    for resource in declared["resource"]:
        paths.update(_of_type(resource))
    for address in declared["compartment"]:
        short = address.rpartition("/")[2]
        name = next(one["type"] for one in declared["resource"] if one["type"].lower() == short)
        paths[f"/fhir/{name}/{{id}}/{{compartment}}"] = _compartment(name)
    for manifest in manifests:
        for operation in manifest.operations:
            path, described = _operation(operation, manifest.name)
            paths.setdefault(path, {}).update(described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "DMED FHIR R5", "version": dmed.__version__},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": settings.public_url.rstrip("/") or "/"}],
        "security": [{"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "session": {"type": "apiKey", "in": "cookie", "name": "dmed_session"},
            },
            "parameters": {
                name: {"name": name, **described} for name, described in _PARAMETERS.items()
            },
            "responses": {"Refused": _content("OperationOutcome", "OperationOutcome")},
            "schemas": schemas(),
        },
    }


def _system(served: set[str]) -> dict[str, Any]:
    base: dict[str, Any] = {
        "post": {
            **_act("Batch or transaction", "Bundle"),
            **_body("Bundle"),
            "operationId": "bundle",
            **_with("Prefer", "Idempotency-Key"),
        },
    }
    found: dict[str, Any] = {"/fhir": base}
    if "history-system" in served:
        found["/fhir/_history"] = {"get": _history("History of all types", "history")}
    if "search-system" in served:
        base["get"] = {
            **_act("Search several types", "Bundle"),
            "operationId": "search",
            **_with(*_CONTROLS, more=[_query("_type")]),
        }
        found["/fhir/_search"] = {
            "post": {
                **_act("The same, as a form", "Bundle"),
                **_form(["_type"]),
                "operationId": "search_form",
            }
        }
    return found


def _of_type(resource: Mapping[str, Any]) -> dict[str, Any]:
    name = resource["type"]
    served = {one["code"] for one in resource["interaction"]}
    names = [one["name"] for one in resource.get("searchParam", ())]
    kinds = {one["name"]: one["type"] for one in resource.get("searchParam", ())}
    found = {
        f"/fhir/{name}": {**_many(name, names, kinds, served)},
        f"/fhir/{name}/{{id}}": {"parameters": [_shared("id")], **dict(_one(name, served))},
        f"/fhir/{name}/_search": {
            "post": {
                **_act(f"Search {name}, as a form", "Bundle"),
                **_form(names),
                "operationId": f"search_form_{name}",
            },
        },
        f"/fhir/{name}/_history": {"get": _history(f"History of {name}", f"history_{name}")},
        f"/fhir/{name}/{{id}}/_history": {
            "parameters": [_shared("id")],
            "get": _history("History of the record", f"history_of_{name}"),
        },
        f"/fhir/{name}/{{id}}/_history/{{vid}}": {
            "parameters": [_shared("id"), _shared("vid")],
            "get": {**_act("One version", name), "operationId": f"vread_{name}"},
        },
    }
    for meta in ("meta", "meta-add", "meta-delete"):
        path = f"/fhir/{name}/{{id}}/${meta}"
        found[path] = {"parameters": [_shared("id")], "post": _meta(f"post_{meta}_{name}")}
        if meta == "meta":
            found[path]["get"] = {**_act("Labels of the record", "Parameters"),
                                  "operationId": f"get_meta_{name}"}  # fmt: skip  # One act.
    return found


def _many(
    name: str, names: Sequence[str], kinds: Mapping[str, str], served: set[str]
) -> dict[str, Any]:
    """What a type's own address takes."""
    more = [_query(code, kinds[code]) for code in names]
    search = {
        **_act(f"Search {name}", "Bundle"),
        "operationId": f"search_{name}",
        **_with(*_CONTROLS, "Prefer", more=more),
    }
    found: dict[str, Any] = {"get": search}
    if "create" in served:
        found["post"] = {
            **_act(f"Create {name}", name, "201"),
            **_body(name),
            "operationId": f"create_{name}",
            **_with("If-None-Exist", "Prefer", "Idempotency-Key"),
        }
    if "update" in served:
        found["put"] = {
            **_act(f"Update the one {name} that matches", name),
            **_body(name),
            "operationId": f"update_where_{name}",
            **_with("If-Match", "Prefer", "criteria"),
        }
    if "patch" in served:
        found["patch"] = {
            **_act(f"Patch the one {name} that matches", name),
            **_patch(),
            "operationId": f"patch_where_{name}",
            **_with("If-Match", "Prefer", "criteria"),
        }
    if "delete" in served:
        found["delete"] = {
            **_gone(f"Delete what matches of {name}"),
            **_with("criteria"),
            "operationId": f"delete_where_{name}",
        }
    return found


def _one(name: str, served: set[str]) -> Iterator[tuple[str, Described]]:
    """What the address of one record takes."""
    yield (
        "get",
        {
            **_act(f"Read {name}", name),
            "operationId": f"read_{name}",
            **_with("If-None-Match", "If-Modified-Since", "_summary", "_elements"),
        },
    )
    if "update" in served:
        yield (
            "put",
            {
                **_act(f"Update {name}, or make it under this id", name),
                **_body(name),
                "operationId": f"update_{name}",
                **_with("If-Match", "Prefer"),
            },
        )
    if "patch" in served:
        yield (
            "patch",
            {
                **_act(f"Patch {name}", name),
                **_patch(),
                "operationId": f"patch_{name}",
                **_with("If-Match", "Prefer"),
            },
        )
    if "delete" in served:
        yield (
            "delete",
            {
                **_gone(f"Delete {name}"),
                "operationId": f"delete_{name}",
                **_with("If-Match", "Prefer"),
            },
        )


def _operation(operation: Operation, module: str) -> tuple[str, Described]:
    name = operation.name.removeprefix("$")
    place = f"/{operation.type}" if operation.type else ""
    place += "/{id}" if operation.instance else ""
    level = "_of" if operation.instance else ""
    found: Described = {"parameters": [_shared("id")]} if operation.instance else {}
    for method in ("post",) if operation.affects_state else ("get", "post"):
        act = {
            **_act(f"Operation ${name} of {module}", "Resource"),
            "operationId": f"{method}_{name}{level}_{operation.type or 'system'}",
        }
        if method == "post":
            act["requestBody"] = _content("Parameters", "Its parameters")
        found[method] = act
    return f"/fhir{place}/${name}", found


def _meta(identity: str) -> Described:
    body = {"requestBody": _content("Parameters", "The meta to add or to take away")}
    return {**_act("Labels of the record", "Parameters"), **body, "operationId": identity}


def _compartment(name: str) -> Described:
    """Records of one person, visit and so on: of one type, or `*`."""
    place = {"name": "compartment", "in": "path", "required": True, "schema": {"type": "string"}}
    act = {**_act(f"Records of the compartment of a {name}", "Bundle"), **_with(*_CONTROLS)}
    return {
        "parameters": [_shared("id"), place],
        "get": {**act, "operationId": f"compartment_{name}"},
    }


def _history(sentence: str, identity: str) -> Described:
    return {
        **_act(sentence, "Bundle"),
        "operationId": identity,
        **_with("_count", "_since", "_cursor"),
    }


def _act(sentence: str, schema: str, status: str = "200") -> Described:
    return {
        "summary": sentence,
        "responses": {
            status: _content(schema, schema),
            "default": {"$ref": "#/components/responses/Refused"},
        },
    }


def _gone(sentence: str) -> Described:
    refused = {"$ref": "#/components/responses/Refused"}
    return {"summary": sentence, "responses": {"204": {"description": "Gone"}, "default": refused}}


def _body(schema: str) -> Described:
    return {"requestBody": {"required": True, **_content(schema, schema)}}


def _patch() -> Described:
    kinds = {
        _PATCHES[0]: {"type": "array", "items": {"type": "object"}},
        _PATCHES[1]: {"type": "object"},
        _PATCHES[2]: {"$ref": "#/components/schemas/Parameters"},
    }
    content = {kind: {"schema": schema} for kind, schema in kinds.items()}
    return {"requestBody": {"required": True, "content": content}}


def _form(names: Sequence[str]) -> Described:
    properties = {name: {"type": "string"} for name in (*names, *_CONTROLS)}
    schema = {"type": "object", "properties": properties}
    return {"requestBody": {"content": {_FORM: {"schema": schema}}}}


def _content(schema: str, description: str) -> Described:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {_JSON: {"schema": reference}}}


def _with(*names: str, more: Sequence[Described] = ()) -> Described:
    own = {each["name"] for each in more}
    return {"parameters": [*(_shared(name) for name in names if name not in own), *more]}


def _shared(name: str) -> Described:
    return {"$ref": f"#/components/parameters/{name}"}


def _query(name: str, kind: str = "") -> Described:
    described = {"name": name, "in": "query", "schema": {"type": "string"}}
    return {**described, "description": kind} if kind else described
