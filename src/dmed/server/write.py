"""https://hl7.org/fhir/R5/http.html#create, #update and #delete, with their conditional forms."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from dmed.fhir import codec
from dmed.kit.errors import DmedError, InvalidError, NotAllowedError, UnavailableError
from dmed.server import reserved
from dmed.server.answer import Answer, version_headers
from dmed.server.call import Call
from dmed.server.door import Door, record_answer, written_answer
from dmed.server.outcome import success
from dmed.trust.decide import Action
from dmed.trust.gateway import GatewayUnit, Kept, Written, decoded
from dmed.trust.gateway.prepare import read_content

Act = Callable[[GatewayUnit], Awaitable[Answer]]
IDEMPOTENCY_KEY_MAX = 200


async def create(door: Door, call: Call, type_: str) -> Answer:
    """POST of a type: 201 with Location, or 200 where If-None-Exist finds the one record.

    A type that a module answers for (decisions 19) goes through the module's rules.
    """
    body = await call.json_body()
    key = idempotency_key(call)
    if type_ in door.interceptors:
        return await _intercepted(door, call, type_, body, key)
    criteria = call.headers.get("if-none-exist", "")
    if not key and not reserved.needs_unit(door, type_):
        written = await door.plain.create(call.subject, type_, body, if_none_exist=criteria)
        return written_answer(call, written)

    async def act(unit: GatewayUnit) -> Answer:
        await _guard(door, call, unit, type_, "", body)
        written = await unit.create(type_, body, if_none_exist=criteria)
        await reserved.look(door, unit, type_, [written.id])
        return written_answer(call, written)

    return await once(door, call, body, act)


async def once(door: Door, call: Call, body: bytes, act: Act) -> Answer:
    """The answer of an act in one transaction; under an Idempotency-Key the first answer again."""
    key = idempotency_key(call)
    async with door.plain.unit(call.subject) as unit:
        if key:
            kept = await unit.recall(key, digest_of(call, body))
            if kept is not None:
                return again(kept)
        answer = await act(unit)
        if key:
            await unit.remember(key, kept_of(answer))
    return answer


async def _intercepted(door: Door, call: Call, type_: str, body: bytes, key: str) -> Answer:
    if call.headers.get("if-none-exist"):
        raise InvalidError(f"If-None-Exist is not served for {type_}: it starts an act of its own")
    resource = decoded(body_of(type_, body))
    await door.plain.check_allowed(call.subject, Action.CREATE, type_)
    digest = digest_of(call, body)
    if key:
        kept = await door.acts.reserve(call.subject, key, digest)
        if kept is not None:
            return again(kept)
    try:
        made = await door.interceptors[type_].on_create(door.acts, call.subject, resource)
    except DmedError as refusal:
        # After a lost database nobody knows whether the act took place: the key stays claimed.
        if key and not isinstance(refusal, UnavailableError):
            await door.acts.release(call.subject, key)
        raise
    stored = await door.acts.read(call.subject, type_, made)
    answer = record_answer(stored)
    answer.status = 201
    answer.headers["Location"] = f"{call.base}/{type_}/{stored.id}/_history/{stored.vid}"
    if call.wishes.returns == "minimal":
        answer.body = b""
    elif call.wishes.returns == "OperationOutcome":
        answer.body = success(f"{type_}/{stored.id} was created, version {stored.vid}")
    if key:
        await door.acts.settle(call.subject, key, kept_of(answer))
    return answer


async def _guard(
    door: Door, call: Call, unit: GatewayUnit, type_: str, id_: str, body: bytes
) -> None:
    if reserved.is_guarded(door, type_):
        after = body_of(type_, body)
        await reserved.check(door, unit, call.subject, call.method, type_, id_, after)


def body_of(type_: str, body: bytes) -> bytes:
    """The canonical bytes of a valid resource of this type; InvalidError lists every fault."""
    return codec.encode(read_content(body, type_))


async def update(door: Door, call: Call, type_: str, id_: str) -> Answer:
    """PUT: a new version, or a new record under the client's id; 412 where If-Match is stale."""
    await reserved.check_open(door, call.subject, Action.UPDATE, type_, "PUT")
    body = await call.json_body()
    expected = call.if_match()
    if call.headers.get("if-none-match", "").strip() == "*":
        expected = 0  # RFC 9110: only where there is no such record yet.
    if not idempotency_key(call) and not reserved.needs_unit(door, type_):
        written = await door.plain.update(call.subject, type_, id_, body, if_match=expected)
        return written_answer(call, written)

    async def act(unit: GatewayUnit) -> Answer:
        await _guard(door, call, unit, type_, id_, body)
        written = await unit.update(type_, id_, body, if_match=expected)
        await reserved.look(door, unit, type_, [id_])
        return written_answer(call, written)

    return await once(door, call, body, act)


async def update_where(door: Door, call: Call, type_: str) -> Answer:
    """PUT with criteria: updates the one match, creates where there is none, 412 for several."""
    await reserved.check_open(door, call.subject, Action.UPDATE, type_, "PUT")
    body = await call.json_body()
    criteria = criteria_text(call, "update")
    expected = call.if_match()

    async def act(unit: GatewayUnit) -> Answer:
        if reserved.is_guarded(door, type_):
            found = await unit.match(type_, criteria)
            id_ = found[0].id if len(found) == 1 else ""
            await _guard(door, call, unit, type_, id_, body)
        written = await unit.update_where(type_, criteria, body, if_match=expected)
        await reserved.look(door, unit, type_, [written.id])
        return written_answer(call, written)

    return await once(door, call, body, act)


async def delete(door: Door, call: Call, type_: str, id_: str) -> Answer:
    """DELETE: 204; deleting again is 204 too. 405 where records are withdrawn by status alone."""
    check_delete(door)
    await reserved.check_open(door, call.subject, Action.DELETE, type_, "DELETE")

    async def act(unit: GatewayUnit) -> Answer:
        await reserved.check(door, unit, call.subject, "DELETE", type_, id_, None)
        written = await unit.delete(type_, id_, if_match=call.if_match())
        await reserved.look(door, unit, type_, [id_])
        return _deleted(call, type_, [] if written is None else [written])

    await door.plain.check_allowed(call.subject, Action.DELETE, type_, id_)
    return await once(door, call, b"", act)


async def delete_where(door: Door, call: Call, type_: str) -> Answer:
    """DELETE with criteria: 204 for what matches, up to `_count` (one); 412 for more, none gone."""
    check_delete(door)
    await reserved.check_open(door, call.subject, Action.DELETE, type_, "DELETE")
    criteria = criteria_text(call, "delete")

    async def act(unit: GatewayUnit) -> Answer:
        done = []
        for stored in await unit.deletable(type_, criteria):
            await reserved.check(door, unit, call.subject, "DELETE", type_, stored.id, None)
            done.append(await unit.delete(type_, stored.id))
        await reserved.look(door, unit, type_, [each.id for each in done if each is not None])
        return _deleted(call, type_, [each for each in done if each is not None])

    return await once(door, call, b"", act)


def _deleted(call: Call, type_: str, done: list[Written]) -> Answer:
    headers = version_headers(done[0].vid, done[0].updated) if len(done) == 1 else {}
    if call.wishes.returns != "OperationOutcome":
        return Answer(status=204, headers=headers)
    told = ", ".join(f"{type_}/{each.id}" for each in done[:20]) or "nothing"
    return Answer(body=success(f"{len(done)} deleted: {told}"), headers=headers)


def check_delete(door: Door) -> None:
    """Refuse (405) where records are withdrawn by their status alone."""
    if door.settings.logical_delete:
        raise NotAllowedError(
            "Records are withdrawn by their status here; DELETE is not served",
            headers={"Allow": "GET, HEAD, PUT, PATCH"},
        )


def criteria_text(call: Call, verb: str) -> str:
    """The query of a conditional interaction; InvalidError where there is none."""
    pairs = call.criteria()
    if not pairs:
        raise InvalidError(f"A conditional {verb} needs search criteria in the address")
    return urlencode(pairs)


def idempotency_key(call: Call) -> str:
    """The client's Idempotency-Key, or ""; at most 200 printable characters."""
    key = call.headers.get("idempotency-key", "")
    if len(key) > IDEMPOTENCY_KEY_MAX or not key.isprintable():
        raise InvalidError(f"Idempotency-Key: at most {IDEMPOTENCY_KEY_MAX} printable characters")
    return key


def digest_of(call: Call, body: bytes) -> bytes:
    """What makes two requests the same: method, address, condition and body."""
    made = hashlib.sha256()
    for part in (
        call.method.encode(),
        call.path.encode(),
        urlencode(call.query).encode(),
        call.headers.get("if-none-exist", "").encode(),
        call.headers.get("if-match", "").encode(),
        body,
    ):
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return made.digest()


def kept_of(answer: Answer) -> Kept:
    """An answer as it is kept for a retry."""
    return Kept(answer.status, answer.headers, answer.body)


def again(kept: Kept) -> Answer:
    """The first answer once more, marked as such."""
    headers = {**kept.headers, "Idempotent-Replayed": "true"}
    return Answer(status=kept.status, body=kept.body, headers=headers)
