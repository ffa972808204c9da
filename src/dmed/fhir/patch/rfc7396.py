"""JSON Merge Patch: https://www.rfc-editor.org/rfc/rfc7396"""

from __future__ import annotations

from typing import Any

from dmed.fhir.patch.document import encode, parse
from dmed.kit.errors import InvalidError


def merge_patch(resource: bytes, patch: bytes) -> bytes:
    """The resource with what the patch says in place of what it said; null takes a member away.

    Both are JSON; the result is compact JSON with the resource's order of keys, new ones last.
    InvalidError for broken JSON.
    """
    document, change = parse(resource, "document"), parse(patch, "patch")
    try:
        return encode(merged(document, change))
    except RecursionError as fault:
        raise InvalidError("The patch is nested too deep") from fault


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2: the target changed in place, or what stands for it now."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
