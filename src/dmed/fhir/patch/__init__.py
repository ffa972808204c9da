"""Three ways to change a record by what is different: https://hl7.org/fhir/R5/http.html#patch

    json_patch(body, b'[{"op":"replace","path":"/gender","value":"male"}]')

JSON Patch (RFC 6902) and merge patch (RFC 7396) work on any JSON; FHIRPath Patch works on
resources. All are pure. `Patch` is one of the three as a server applies it to a stored record.
"""

from __future__ import annotations

from dmed.fhir.patch.apply import KINDS, Patch, patch_in, patch_of
from dmed.fhir.patch.document import PatchError
from dmed.fhir.patch.fhirpath import fhirpath_patch
from dmed.fhir.patch.rfc6902 import json_patch
from dmed.fhir.patch.rfc7396 import merge_patch

__all__ = [
    "KINDS",
    "Patch",
    "PatchError",
    "fhirpath_patch",
    "json_patch",
    "merge_patch",
    "patch_in",
    "patch_of",
]
