"""https://hl7.org/fhir/R5/http.html#transaction: the way into both, and batches.

Entries of a batch are independent: each is decided, stored and answered on its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from msgspec import UNSET

from dmed.fhir import codec
from dmed.fhir.patch import patch_in
from dmed.kit.errors import DmedError, InvalidError, TooLargeError
from dmed.server.answer import Answer, moment_of
from dmed.server.bundle import Entry, bundle
from dmed.server.call import Call
from dmed.server.door import Door
from dmed.server.entries import conditions, request_of
from dmed.server.outcome import outcome_of
from dmed.server.transaction import transaction

Dispatch = Callable[[Door, Call], Awaitable[Answer]]


async def system_post(door: Door, call: Call, dispatch: Dispatch) -> Answer:
    """POST of a Bundle to the base: a batch or a transaction."""
    body = await call.json_body()
    posted = codec.decode(body)
    kind = posted.type if posted.fhir_type == "Bundle" else UNSET
    if kind not in {"batch", "transaction"}:
        raise InvalidError("The base takes a Bundle of type batch or transaction", "Bundle.type")
    if posted.entry is UNSET:
        posted.entry = []
    limit = door.settings.bundle_limit_entries
    if len(posted.entry) > limit:
        raise TooLargeError(f"The Bundle has more than {limit} entries", "Bundle.entry")
    if kind == "transaction":
        return await transaction(door, call, posted, body)
    return await _batch(door, call, posted, dispatch)


async def _batch(door: Door, call: Call, posted: Any, dispatch: Dispatch) -> Answer:
    entries = [
        await _entry(door, call, number, entry, dispatch)
        for number, entry in enumerate(posted.entry)
    ]
    return Answer(body=bundle("batch-response", entries))


async def _entry(door: Door, call: Call, number: int, entry: Any, dispatch: Dispatch) -> Entry:
    try:
        method, url = request_of(number, entry)
        answer = await dispatch(door, _inner(call, number, method, url, entry))
    except DmedError as error:
        status = f"{error.status} {HTTPStatus(error.status).phrase}"
        return Entry(status=status, outcome=outcome_of(error))
    return _answered(call, method, answer)


def _inner(call: Call, number: int, method: str, url: str, entry: Any) -> Call:
    resource = None if entry.resource is UNSET else entry.resource
    if method == "PATCH":
        patch = patch_in(resource, f"Bundle.entry[{number}].resource")
        kind, body = patch.kind, patch.body
    else:
        kind = "application/fhir+json"
        body = b"" if resource is None else codec.encode(resource)
    headers = {"content-type": kind, **conditions(entry.request)}
    returns = call.wishes.returns or "minimal"
    handling = "strict" if call.wishes.strict else "lenient"
    headers["prefer"] = f"return={returns}, handling={handling}"
    key = call.headers.get("idempotency-key", "")
    if key and method not in {"GET", "HEAD"}:
        headers["idempotency-key"] = f"{key}#{number}"
    inner = call.entry(method, url, headers, body)
    if not inner.parts:
        raise InvalidError("A batch inside a batch is not served", f"Bundle.entry[{number}]")
    return inner


def _answered(call: Call, method: str, answer: Answer) -> Entry:
    status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    is_outcome = call.wishes.returns == "OperationOutcome" and method not in {"GET", "HEAD"}
    modified = answer.headers.get("Last-Modified", "")
    return Entry(
        resource=b"" if is_outcome or method == "HEAD" else answer.body,
        status=status,
        location=answer.headers.get("Location", "").removeprefix(call.base + "/"),
        etag=answer.headers.get("ETag", ""),
        modified=moment_of(modified) if modified else None,
        outcome=answer.body if is_outcome else b"",
    )
