"""https://hl7.org/fhir/R5/capabilitystatement.html: what is served, made from code and facts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dmed
from dmed.fhir import params, query
from dmed.fhir.facts import facts
from dmed.fhir.query_system import COMPARTMENTS
from dmed.kit.clock import instant, now
from dmed.kit.settings import Settings
from dmed.trust.manifest import Manifest
from dmed.trust.oauth.addresses import security

SERVED_KINDS = frozenset(
    {"string", "token", "date", "number", "quantity", "reference", "uri", "composite"}
)
_SERVED_SPECIAL = frozenset({"_filter", "_list", "_text", "near", "section-text"})
_DEFINED = "http://hl7.org/fhir"
_META = [
    {"name": name, "definition": f"{_DEFINED}/OperationDefinition/Resource-{name}"}
    for name in ("meta", "meta-add", "meta-delete")
]
"""Of every type; the first one of the whole system too."""
_STARTED = instant(now())


def capability(manifests: Iterable[Manifest], settings: Settings, base: str) -> dict[str, Any]:
    """The CapabilityStatement of this installation as clients reach it under `base`."""
    operations = _operations(manifests)
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _STARTED,
        "kind": "instance",
        "software": {"name": "DMED", "version": dmed.__version__},
        "implementation": {"description": "DMED record store", "url": base},
        "fhirVersion": facts().version,
        "format": ["application/fhir+json", "json"],
        "patchFormat": [
            "application/fhir+json", "application/json-patch+json", "application/merge-patch+json",
        ],
        "rest": [
            {
                "mode": "server",
                "security": security(base),
                "resource": [
                    _resource(name, settings, operations.get(name, []))
                    for name in facts().resources
                ],
                "interaction": [
                    {"code": code}
                    for code in ("transaction", "batch", "search-system", "history-system")
                ],
                **_listed("operation", [*_META[:1], *operations.get("", [])]),
                "compartment": [f"{_DEFINED}/CompartmentDefinition/{name.lower()}"
                                for name in ("Patient", *COMPARTMENTS)],
            }
        ],
    }


def _resource(name: str, settings: Settings, operations: list[dict[str, Any]]) -> dict[str, Any]:
    served = [each for each in params.parameters(name).values() if _is_served(each, settings)]
    references = sorted(each.code for each in served if each.type == "reference")
    return {
        "type": name,
        "interaction": [{"code": code} for code in interactions(settings)],
        "versioning": "versioned-update" if settings.if_match_required else "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalPatch": True,
        "conditionalDelete": "not-supported" if settings.logical_delete else "multiple",
        "referencePolicy": ["literal", "local", *_policy(settings)],
        **_listed("searchInclude", ["*", *(f"{name}:{code}" for code in references)]),
        **_listed("searchRevInclude", _reverse().get(name, [])),
        **_listed("searchParam", [_parameter(each) for each in served]),
        **_listed("operation", [*_META, *operations]),
    }


def _is_served(each: params.SearchParameter, settings: Settings) -> bool:
    if each.code == "_content":
        return settings.content_search
    return each.type in SERVED_KINDS or each.code in _SERVED_SPECIAL


def interactions(settings: Settings) -> list[str]:
    """The interactions that every type has, by their FHIR codes."""
    codes = [
        "read", "vread", "update", "patch", "delete", "history-instance", "history-type",
        "create", "search-type",
    ]  # fmt: skip
    return [code for code in codes if code != "delete" or not settings.logical_delete]


def _policy(settings: Settings) -> list[str]:
    return ["enforced"] if settings.reference_integrity else []


def _parameter(each: params.SearchParameter) -> dict[str, Any]:
    found = {"name": each.code, "type": each.type}
    if each.url:
        found["definition"] = each.url
    modifiers = query.modifiers(each.type)
    if modifiers:
        found["documentation"] = f"Modifiers: {', '.join(modifiers)}."
    return found


_reversed: dict[str, list[str]] = {}


def _reverse() -> dict[str, list[str]]:
    """Type > `Source:parameter` of every parameter that may refer to it by name."""
    if not _reversed:
        for source in facts().resources:
            for each in params.parameters(source).values():
                for target in each.targets if each.type == "reference" else ():
                    _reversed.setdefault(target, []).append(f"{source}:{each.code}")
    return _reversed


def _operations(manifests: Iterable[Manifest]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for manifest in manifests:
        for operation in manifest.operations:
            name = operation.name.removeprefix("$")
            definition = f"https://dmed.uz/fhir/OperationDefinition/{operation.type or 'System'}"
            one = {"name": name, "definition": f"{definition}-{name}"}
            found.setdefault(operation.type, {})[name] = one
    return {type_: list(named.values()) for type_, named in found.items()}


def _listed(name: str, values: list[Any]) -> dict[str, Any]:
    return {name: values} if values else {}
