"""What the web room asks of the reader: which requests below /fhir are for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_JSON = (b"application/fhir+json", b"application/json")


def wants_page(scope: Mapping[str, Any]) -> bool:
    """Whether a request below /fhir wants a page: a browser's GET that names text/html.

    Operations, the capability statement and whatever asks for a `_format` stay JSON.
    """
    if scope["method"] not in {"GET", "HEAD"} or b"_format=" in scope["query_string"]:
        return False
    path: str = scope["path"]
    if path != "/fhir" and not path.startswith("/fhir/"):
        return False
    last = path.rpartition("/")[2]
    if last.startswith("$") or path == "/fhir/metadata":
        return False
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept").lower()
    return b"text/html" in accepted and not any(kind in accepted for kind in _JSON)
