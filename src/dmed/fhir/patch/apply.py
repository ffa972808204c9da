"""A patch as a server applies it to a stored record: https://hl7.org/fhir/R5/http.html#patch"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dmed.fhir import codec
from dmed.fhir.patch.document import PatchError, encode, parse, without_empty
from dmed.fhir.patch.fhirpath import fhirpath_patch
from dmed.fhir.patch.rfc6902 import json_patch
from dmed.fhir.patch.rfc7396 import merge_patch
from dmed.kit.errors import InvalidError, MediaTypeError

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
_FHIR = frozenset({"application/fhir+json", "application/json", "text/json"})
KINDS = (JSON_PATCH, MERGE_PATCH, "application/fhir+json")
"""The media types of the three kinds of patch."""
_WAYS: Mapping[str, Callable[[bytes, bytes], bytes]] = {
    JSON_PATCH: json_patch,
    MERGE_PATCH: merge_patch,
    "application/fhir+json": fhirpath_patch,
}


class Patch(msgspec.Struct, frozen=True):
    """What a client wants changed; `kind` is one of KINDS."""

    kind: str
    body: bytes

    def apply(self, resource: bytes) -> bytes:
        """The canonical body of the record afterwards, not yet validated.

        What a patch has emptied goes with it. InvalidError for a broken patch, for a result that
        is no R5, and for one with another id or type; PatchError where it does not fit.
        """
        made = _WAYS[self.kind](resource, self.body)
        before = msgspec.json.decode(resource)
        try:
            document = without_empty(parse(made, "patched record"))
        except RecursionError as fault:
            raise InvalidError("The patched record is nested too deep") from fault
        if not isinstance(document, dict):
            raise PatchError("The patch leaves no resource")
        for name in ("resourceType", "id"):
            if document.get(name) != before.get(name):
                raise InvalidError(
                    f"A patch does not change {name}: it is {before.get(name)}",
                    f"{before['resourceType']}.{name}",
                )
        return codec.encode(codec.decode(encode(document), before["resourceType"]))


def patch_of(content_type: str, body: bytes) -> Patch:
    """The patch of a request's body; MediaTypeError (415) for another kind of document."""
    name = content_type.partition(";")[0].strip().lower()
    kind = "application/fhir+json" if name in _FHIR else name
    if kind not in KINDS:
        raise MediaTypeError(
            f"Content-Type is {content_type[:60] or 'nothing'}: a patch is {', '.join(KINDS)}",
            headers={"Accept-Patch": ", ".join(KINDS)},
        )
    if not body.strip():
        raise InvalidError("The body is empty: a patch is needed")
    return Patch(kind, body)


def patch_in(resource: Any, place: str) -> Patch:
    """The patch of a Bundle entry: a Binary of a patch's type, or Parameters.

    `resource` is the entry's struct or None, `place` its FHIRPath for the InvalidError.
    """
    if resource is not None and resource.fhir_type == "Parameters":
        return Patch("application/fhir+json", codec.encode(resource))
    if resource is None or resource.fhir_type != "Binary":
        raise InvalidError("PATCH needs a Binary with a patch, or Parameters", place)
    if not isinstance(resource.contentType, str) or not isinstance(resource.data, str):
        raise InvalidError("The Binary needs contentType and data", place)
    try:
        body = base64.b64decode("".join(resource.data.split()), validate=True)
    except binascii.Error as fault:
        raise InvalidError("Binary.data is no base64", f"{place}.data") from fault
    try:
        return patch_of(resource.contentType, body)
    except MediaTypeError as fault:
        raise InvalidError(fault.issues[0].diagnostics, f"{place}.contentType") from fault
