"""$fhirpath: an expression tried on a record that travels in the request, or on one of ours.

https://github.com/brianpos/fhirpath-lab/blob/develop/server-api.md. An expression can be written
to run for ever (a regular expression even inside C, where nothing interrupts it), so each trial
runs in a process of its own with little time and memory, and a worker has few at once.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError, Issue, ThrottledError, TooLargeError, UnprocessableError
from dmed.server.fhirpath_child import CPU_SECONDS_MAX, REFUSED
from dmed.trust.manifest import SIGNED_IN, Manifest, Operation

BODY_MAX_BYTES = 1024 * 1024
WAIT_SECONDS_MAX = 20
"""How long a trial is waited for: a busy machine may need a while for its processor time."""
TRIALS_MAX = 2
"""Most trials of one worker at once; a further one waits its turn, as many again are refused."""
_waiting = 0
_turns = asyncio.Semaphore(TRIALS_MAX)
_LOCAL = ("valueString", "valueUri", "valueUrl", "valueReference")


async def trial(parameters: bytes) -> bytes:
    """The Parameters that answer Parameters.

    Raises InvalidError for a wrong expression or record, UnprocessableError when it takes too
    long or too much memory, TooLargeError, and ThrottledError when too many are tried at once.
    """
    global _waiting  # noqa: PLW0603  # One count a worker: what stands in line right now.
    if len(parameters) > BODY_MAX_BYTES:
        raise TooLargeError(f"A trial takes at most {BODY_MAX_BYTES} bytes")
    if _waiting >= 2 * TRIALS_MAX:
        raise ThrottledError(
            "Too many expressions are tried right now", headers={"Retry-After": "2"}
        )
    _waiting += 1
    try:
        async with _turns:
            return await _in_child(parameters)
    finally:
        _waiting -= 1


async def _in_child(parameters: bytes) -> bytes:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dmed.server.fhirpath_child",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip  # One line a kind of argument.
    try:
        told, _ = await asyncio.wait_for(child.communicate(parameters), WAIT_SECONDS_MAX)
    except TimeoutError:
        raise UnprocessableError(
            f"The expression does not come to an end within {WAIT_SECONDS_MAX} seconds"
        ) from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == REFUSED:
        raise InvalidError(issues=msgspec.json.decode(told, type=tuple[Issue, ...]))
    if child.returncode != 0:
        raise UnprocessableError(
            f"The expression takes over {CPU_SECONDS_MAX} seconds, or more memory than a trial may"
        )
    return told


async def endpoint(request: Request) -> Response:
    """POST /fhir/$fhirpath with Parameters."""
    body = await _with_record(request, await request.body())
    return Response(await trial(body), media_type="application/fhir+json")


async def _with_record(request: Request, body: bytes) -> bytes:
    """The Parameters with the record in place of a reference to one of ours (`Patient/1`)."""
    if len(body) > BODY_MAX_BYTES:
        raise TooLargeError(f"A trial takes at most {BODY_MAX_BYTES} bytes")
    try:
        asked = msgspec.json.decode(body)
        named = next(each for each in asked["parameter"] if each["name"] == "resource")
        given = next(named[name] for name in _LOCAL if name in named)
    except (msgspec.DecodeError, StopIteration, LookupError, TypeError):
        return body  # No such reference; what is wrong otherwise is told by the trial.
    address = given.get("reference", "") if isinstance(given, dict) else given
    type_, _, id_ = str(address).partition("/")
    if not type_ or not id_ or "/" in id_:
        raise InvalidError(f"{str(address)[:100]!r} is no record here, such as Patient/123")
    gateway, subject = request.app.state.gateway, request.state.subject
    stored = await gateway.plain().read(subject, type_, id_)
    for name in _LOCAL:
        named.pop(name, None)
    named["resource"] = msgspec.Raw(stored.body)
    return msgspec.json.encode(asked)


MANIFEST = Manifest(
    name="fhirpath",
    titles={},
    operations=(Operation(name="fhirpath", type="", endpoint=endpoint, roles=SIGNED_IN),),
)
