"""The OpenAPI document and the capability statement say the same, and both what is served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest

from dmed.apps.rooms import MODULES
from dmed.fhir.facts import facts
from dmed.kit.settings import Settings
from dmed.server.capability import capability
from dmed.server.openapi import openapi

METHODS = {"get", "post", "put", "patch", "delete", "head", "options", "trace"}
PLACES = {"path", "query", "header", "cookie"}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The document of an installation with all modules."""
    return openapi(MODULES, Settings())


def acts() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Path, method, operation object and path item of every act."""
    for path, item in document()["paths"].items():
        for method, act in item.items():
            if method in METHODS:
                yield path, method, act, item


def resolved(thing: dict[str, Any]) -> dict[str, Any]:
    """What a reference inside the document points to."""
    while "$ref" in thing:
        found: Any = document()
        for part in thing["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        thing = found
    return thing


def references(thing: Any) -> Iterator[str]:
    """Every `$ref` at any depth."""
    if isinstance(thing, dict):
        for name, value in thing.items():
            if name == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from references(value)


def test_the_document_has_the_fields_of_openapi() -> None:
    """Version, info, and only the members that OpenAPI 3.1 knows."""
    found = document()

    assert re.fullmatch(r"3\.1\.\d+", found["openapi"])
    assert found["info"]["title"]
    assert found["info"]["version"]
    assert set(found) <= {"openapi", "info", "jsonSchemaDialect", "servers", "paths", "webhooks",
                          "components", "security", "tags", "externalDocs"}  # fmt: skip  # All.


def test_every_reference_leads_somewhere() -> None:
    """No `$ref` points to what is not in the document."""
    for reference in set(references(document())):
        assert resolved({"$ref": reference}), reference


def test_every_act_is_whole() -> None:
    """Each act has an identity of its own, answers with descriptions, and parameters once each."""
    seen: set[str] = set()
    for path, method, act, item in acts():
        assert act["operationId"] not in seen, act["operationId"]
        seen.add(act["operationId"])
        assert "default" in act["responses"], (path, method)
        assert all("description" in resolved(one) for one in act["responses"].values())
        parameters = [resolved(one) for one in [*item.get("parameters", []),
                                                *act.get("parameters", [])]]  # fmt: skip  # Both.
        named = [(one["name"], one["in"]) for one in parameters]
        assert len(named) == len(set(named)), (path, method)
        assert all(one["in"] in PLACES and "schema" in one for one in parameters)


def test_places_of_paths_are_declared() -> None:
    """Each `{place}` of a path is a required path parameter, and no other is declared."""
    for path, method, act, item in acts():
        parameters = [resolved(one) for one in [*item.get("parameters", []),
                                                *act.get("parameters", [])]]  # fmt: skip  # Both.
        declared = {one["name"] for one in parameters if one["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path)), (path, method)
        assert all(one["required"] for one in parameters if one["in"] == "path")


def test_every_schema_is_a_schema() -> None:
    """Required names are properties, types are those of JSON."""
    kinds = {"object", "array", "string", "number", "integer", "boolean"}
    for name, schema in document()["components"]["schemas"].items():
        assert schema["type"] in kinds, name
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), name


def test_each_type_has_its_interactions() -> None:
    """What the capability statement declares for a type stands as paths, and nothing else."""
    paths = document()["paths"]
    by_code = {
        "read": ("/fhir/{}/{{id}}", "get"), "update": ("/fhir/{}/{{id}}", "put"),
        "patch": ("/fhir/{}/{{id}}", "patch"), "delete": ("/fhir/{}/{{id}}", "delete"),
        "create": ("/fhir/{}", "post"), "search-type": ("/fhir/{}", "get"),
        "vread": ("/fhir/{}/{{id}}/_history/{{vid}}", "get"),
        "history-instance": ("/fhir/{}/{{id}}/_history", "get"),
        "history-type": ("/fhir/{}/_history", "get"),
    }  # fmt: skip  # A table.
    rest = capability(MODULES, Settings(), "/fhir")["rest"][0]
    assert [one["type"] for one in rest["resource"]] == list(facts().resources)
    for resource in rest["resource"]:
        served = {one["code"] for one in resource["interaction"]}
        for code, (path, method) in by_code.items():
            there = method in paths.get(path.format(resource["type"]), {})
            assert there == (code in served), (resource["type"], code)


def test_search_parameters_are_those_of_the_statement() -> None:
    """A type's search takes the parameters that the capability statement lists."""
    rest = capability(MODULES, Settings(), "/fhir")["rest"][0]
    for resource in rest["resource"]:
        act = document()["paths"][f"/fhir/{resource['type']}"]["get"]
        taken = {resolved(one)["name"] for one in act["parameters"]}
        assert {one["name"] for one in resource["searchParam"]} <= taken


def test_operations_of_modules_are_there() -> None:
    """Every FHIR operation that a module registers has its path."""
    paths = document()["paths"]
    for module in MODULES:
        for operation in module.operations:
            place = f"/{operation.type}" if operation.type else ""
            place += "/{id}" if operation.instance else ""
            assert f"/fhir{place}/${operation.name.removeprefix('$')}" in paths


def test_modifiers_are_told() -> None:
    """The statement says in words which modifiers a parameter takes."""
    rest = capability(MODULES, Settings(), "/fhir")["rest"][0]
    patient = next(one for one in rest["resource"] if one["type"] == "Patient")
    name = next(one for one in patient["searchParam"] if one["name"] == "name")

    assert "exact" in name["documentation"]
    assert "contains" in name["documentation"]


@pytest.mark.parametrize("interaction", ["delete"])
def test_what_a_setting_closes_is_not_described(interaction: str) -> None:
    """Where records are only withdrawn by status, no path takes DELETE."""
    closed = openapi(MODULES, Settings(logical_delete=True))

    assert not any(interaction in item for item in closed["paths"].values())
