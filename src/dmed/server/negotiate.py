"""What a request says of formats and wishes. https://hl7.org/fhir/R5/http.html#mime-type

Only JSON is served: `_format` wins over Accept; anything else is 406, a body in it 415.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from dmed.kit.errors import InvalidError, MediaTypeError

JSON_TYPE = "application/fhir+json; charset=utf-8"
FHIR_VERSION = "5.0"
_FORMATS = frozenset(
    {"json", "text/json", "application/json", "application/fhir+json", "application/fhir json"}
)
_RANGES = _FORMATS | {"*/*", "application/*", "text/*"}
_BODIES = frozenset({"application/json", "application/fhir+json", "text/json"})


class NotAcceptableError(MediaTypeError):
    """The client wants a format that is not served: 406."""

    status = 406


class Wishes(msgspec.Struct, frozen=True):
    """The header Prefer. https://hl7.org/fhir/R5/http.html#ops"""

    returns: str = ""
    """minimal, representation or OperationOutcome; "" where the server chooses."""
    strict: bool = False
    """handling=strict: an unknown search parameter is refused."""


@lru_cache(maxsize=256)
def check_accept(accept: str, wanted_format: str) -> None:
    """Refuse what wants no JSON (NotAcceptableError)."""
    if wanted_format:
        if wanted_format.partition(";")[0].strip().lower() not in _FORMATS:
            raise NotAcceptableError(f"_format={wanted_format[:60]}: only JSON is served")
        return
    if not accept:
        return
    for part in accept.split(","):
        name, _, rest = part.partition(";")
        parameters = _parameters(rest)
        if name.strip().lower() in _RANGES and parameters.get("q") not in {"0", "0.0"}:
            version = parameters.get("fhirversion", FHIR_VERSION)
            if version.startswith(FHIR_VERSION):
                return
    raise NotAcceptableError(f"Accept: {accept[:100]}: only application/fhir+json of R5 is served")


@lru_cache(maxsize=256)
def check_content_type(content_type: str) -> None:
    """Refuse a body that is not declared as JSON in UTF-8 (MediaTypeError, 415)."""
    name, _, rest = content_type.partition(";")
    parameters = _parameters(rest)
    if name.strip().lower() not in _BODIES:
        shown = content_type[:60] or "nothing"
        raise MediaTypeError(f"Content-Type is {shown}: send application/fhir+json")
    if parameters.get("charset", "utf-8").strip('"') not in {"utf-8", "utf8"}:
        raise MediaTypeError("Only the charset utf-8 is read")
    if not parameters.get("fhirversion", FHIR_VERSION).startswith(FHIR_VERSION):
        raise MediaTypeError("Only FHIR version 5.0 is read")


@lru_cache(maxsize=256)
def wishes(prefer: str) -> Wishes:
    """What the header Prefer asks for; what we do not know is passed over, as RFC 7240 says."""
    returns, strict = "", False
    for part in prefer.replace(";", ",").split(","):
        name, _, value = part.partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "return" and value in {
            "minimal",
            "representation",
            "OperationOutcome",
        }:
            returns = value
        if name.strip().lower() == "handling":
            strict = value == "strict"
    return Wishes(returns, strict)


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether the client reads gzip."""
    for part in accept_encoding.split(","):
        name, _, rest = part.partition(";")
        if name.strip().lower() in {"gzip", "*"}:
            return _parameters(rest).get("q") not in {"0", "0.0", "0.00", "0.000"}
    return False


def vid_of_etag(etag: str) -> int:
    """The version in `W/"123"` (or `"123"`, or 123); InvalidError for anything else."""
    text = etag.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise InvalidError(f'If-Match {etag[:40]!r} is no version: send W/"<versionId>"')
    return int(text)


def etags(header: str) -> Mapping[str, None]:
    """The versions that If-None-Match names, "*" among them."""
    return {part.strip().removeprefix("W/").strip('"'): None for part in header.split(",")}


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found[name.strip().lower()] = value.strip().lower()
    return found
