"""Rules on what remains of a body with faults of form, so that one answer tells everything.

The faulty pieces are taken out, the rest becomes a struct and is validated. Faults that the
taking out itself may have made are not told: invariants, and missing elements that were there.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from dmed.fhir.codec_json import JsonNumber, JsonObject
from dmed.fhir.types import any_resource, struct_of
from dmed.fhir.validate import validate
from dmed.kit.errors import Issue

_GONE: Any = object()


def rule_faults(root: JsonObject, type_name: str | None, form: Iterable[Issue]) -> list[Issue]:
    """Faults of rules in what is sound in form; none where nothing can be told."""
    faulty = {issue.expression for issue in form}
    name = next((v for k, v in root.pairs if k == "resourceType"), type_name)
    is_resource = any(key == "resourceType" for key, _ in root.pairs)
    try:
        sound = _sound(root, str(name), faulty)
        kind = any_resource() if is_resource else struct_of(str(type_name))
        record = msgspec.convert(sound, type=kind)
    except (msgspec.ValidationError, KeyError, RecursionError):
        return []
    return [issue for issue in validate(record) if _is_certain(issue, faulty)]


def _sound(value: Any, where: str, faulty: set[str]) -> Any:
    """A value without what is faulty; an array keeps its length or goes whole."""
    if where in faulty:
        return _GONE
    if isinstance(value, JsonObject):
        kept = {key: _sound(item, f"{where}.{key}", faulty) for key, item in value.pairs}
        return {key: item for key, item in kept.items() if item is not _GONE} or _GONE
    if isinstance(value, list):
        items = [_sound(item, f"{where}[{index}]", faulty) for index, item in enumerate(value)]
        return _GONE if any(item is _GONE for item in items) else items
    if isinstance(value, JsonNumber):
        is_whole = value.lstrip("-").isdecimal()
        return int(value) if is_whole and len(value) < 20 else Decimal(value)
    return value


def _is_certain(issue: Issue, faulty: set[str]) -> bool:
    """Whether a fault cannot come from what was taken out."""
    if issue.code == "invariant":
        return False
    return issue.code != "required" or not any(each.startswith(issue.expression) for each in faulty)
