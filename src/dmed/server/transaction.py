"""https://hl7.org/fhir/R5/http.html#transaction: all entries or none, in one database transaction.

Order: DELETE, POST, PUT and PATCH, GET. Conditionals decide first, each under the lock of its
criteria and in one order for all transactions, so that two of them queue, not deadlock.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir import codec, walk
from dmed.kit.errors import (
    DmedError,
    InvalidError,
    Issue,
    NotFoundError,
    PreconditionError,
    UnprocessableError,
)
from dmed.server import reserved
from dmed.server.answer import Answer
from dmed.server.bundle import Entry, bundle
from dmed.server.call import Call
from dmed.server.door import Door
from dmed.server.entries import Plan, plans
from dmed.server.outcome import success
from dmed.server.search import searchset
from dmed.server.signed import check_signatures
from dmed.server.write import again, check_delete, digest_of, idempotency_key, kept_of
from dmed.trust.gateway import (
    Change,
    GatewayUnit,
    Stored,
    Written,
    decoded,
    prepare,
    references,
)
from dmed.trust.gateway.common import pairs_of
from dmed.trust.gateway.unit import unchanged
from dmed.trust.model import Role, Subject

_RESTFUL = re.compile(r"(?:https?|urn):\S+?/([A-Z][A-Za-z]{2,63}/[A-Za-z0-9\-.]{1,64})")
_BINDING = frozenset({"active", "completed"})
"""States of an order or its fulfilment that others act upon."""
_TURN = 32
"""Entries after which other requests of the worker get their turn."""
LARGE_ENTRIES = 1_000
"""Bundles with more entries get more time, since all of it must be one transaction."""
LARGE_SECONDS_MAX = 30
_PLACEHOLDER = ("urn:uuid:", "urn:oid:")


async def transaction(door: Door, call: Call, posted: Any, body: bytes) -> Answer:
    """The answer to a transaction Bundle; any failure is the answer of the whole, nothing stays."""
    made = plans(posted, call.base)
    for plan in made:
        door.check_type(plan.type)
        if plan.method == "DELETE":
            check_delete(door)
    _check_intercepted(door, call.subject, made)
    await check_signatures(door, call.subject, made)
    key = idempotency_key(call)
    digest = digest_of(call, body)
    conditional = [plan for plan in made if _is_conditional(plan)]
    changes: list[Change] = []
    looks_up = bool(conditional) or door.settings.reference_integrity or _has_criteria(made)
    if not conditional:
        # The slow part needs no database: no lock and no feed reader should wait for it.
        await _prepare(made)
    if not looks_up:
        changes = _changes(made)
        await door.plain.make_ready(call.subject, changes)
    seconds_max = LARGE_SECONDS_MAX if len(made) > LARGE_ENTRIES else 0
    async with door.plain.unit(call.subject, seconds_max=seconds_max) as unit:
        if key:
            kept = await unit.recall(key, digest)
            if kept is not None:
                return again(kept)
        if conditional:
            await _match(unit, conditional)
            await _patch(unit, made)
            await _prepare(made)
        await _check_guarded(door, call.subject, unit, made)
        if looks_up:
            await _resolve(unit, made)
            changes = _changes(made)
        written = await _write(unit, changes)
        for type_, id_ in written:
            await reserved.look(door, unit, type_, [id_])
        entries = [await _response(call, unit, plan, written) for plan in made]
        answer = Answer(body=bundle("transaction-response", entries))
        if key:
            await unit.remember(key, kept_of(answer))
    return answer


def _is_conditional(plan: Plan) -> bool:
    if plan.method == "POST":
        return bool(plan.if_none_exist)
    return plan.method == "PATCH" or (plan.method in {"PUT", "DELETE"} and not plan.id)


async def _prepare(made: list[Plan]) -> None:
    """Name new records, resolve references between entries, validate; yields to other requests."""
    _name(made)
    await _link(made)
    await _validate(made)


async def _match(unit: GatewayUnit, conditional: list[Plan]) -> None:
    """Let conditional entries find what they mean; PreconditionError where it is several."""
    first: dict[tuple[str, str], Plan] = {}
    for plan in sorted(conditional, key=lambda one: (one.type, one.if_none_exist or one.query)):
        if plan.method == "POST":
            earlier = first.setdefault((plan.type, plan.if_none_exist), plan)
            if earlier is not plan:
                plan.same_as = earlier.number
                continue
        elif plan.id:
            continue
        elif plan.method == "DELETE":
            gone = await unit.deletable(plan.type, plan.query)
            plan.deletions = tuple(each.id for each in gone)
            continue
        found = await unit.match(plan.type, plan.if_none_exist or plan.query)
        if len(found) > 1:
            raise PreconditionError(f"The criteria match several {plan.type}", plan.place)
        if found:
            _take(plan, found[0])


async def _patch(unit: GatewayUnit, made: list[Plan]) -> None:
    """Let patches become the versions that they make; the records are held from here on."""
    patched = [plan for plan in made if plan.patch is not None]
    for plan in sorted(patched, key=lambda one: (one.type, one.id)):
        assert plan.patch is not None
        try:
            if not plan.id:
                raise NotFoundError(f"No {plan.type} matches the criteria")
            stored = await unit.current(plan.type, plan.id, if_match=plan.if_match)
            plan.resource = codec.decode(plan.patch.apply(stored.body), plan.type)
        except DmedError as refusal:
            raise type(refusal)(
                issues=tuple(msgspec.structs.replace(issue, expression=plan.place)
                             for issue in refusal.issues)
            ) from refusal  # fmt: skip
        plan.if_match = stored.vid


def _take(plan: Plan, found: Stored) -> None:
    if plan.method == "POST":
        plan.found = found
    elif plan.resource is not None and plan.resource.id not in {found.id, UNSET}:
        raise InvalidError(
            f"The criteria match {plan.type}/{found.id}, not {plan.resource.id}", plan.place
        )
    plan.id = found.id


def _name(made: list[Plan]) -> None:
    """Give every new record its id, patients first, since others take their bucket from them."""
    known: dict[str, str] = {}
    fresh = [plan for plan in made if plan.resource is not None and not plan.id]
    for plan in sorted(fresh, key=lambda one: one.type != "Patient"):
        given = plan.resource.id
        if plan.method == "PUT" and isinstance(given, str):
            plan.id = given
        elif plan.same_as < 0:
            plan.id = prepare.make_id(plan.resource, known)
        if plan.full_url:
            known[plan.full_url] = f"{plan.type}/{plan.id}"
    by_number = {plan.number: plan for plan in made}
    for plan in made:
        if plan.same_as >= 0:
            plan.id = by_number[plan.same_as].id
            plan.found = by_number[plan.same_as].found


async def _resolve(unit: GatewayUnit, made: list[Plan]) -> None:
    """References by criteria become literal."""
    written = [plan for plan in made if _is_written(plan)]
    known = [f"{plan.type}/{plan.id}" for plan in written]
    await unit.resolve([plan.resource for plan in written], known)


async def _link(made: list[Plan]) -> None:
    """References between entries become literal; what stays unresolved is 400."""
    mapping = _mapping(made)
    issues: list[Issue] = []
    for number, plan in enumerate(plan for plan in made if _is_written(plan)):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        if mapping:
            walk.rewrite_urls(plan.resource, mapping)
        if plan.type != "Bundle":
            issues += _unresolved(plan)
    if issues:
        raise InvalidError(issues=tuple(issues))


def _mapping(made: Iterable[Plan]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for plan in made:
        if plan.resource is None:
            continue
        name = f"{plan.type}/{plan.id}"
        if plan.full_url:
            mapping[plan.full_url] = name
            restful = _RESTFUL.fullmatch(plan.full_url)
            if restful and plan.method == "POST":
                # Relative references are read against the fullUrl's base (bundle.html).
                mapping[restful.group(1)] = name
        if plan.if_none_exist:
            mapping[f"{plan.type}?{plan.if_none_exist}"] = name
    return {old: new for old, new in mapping.items() if old != new}


def _unresolved(plan: Plan) -> list[Issue]:
    return [
        Issue(
            "not-found",
            f"No entry of the transaction has the fullUrl {text[:100]}",
            f"{plan.place}.resource{path.removeprefix(plan.type)}.reference",
        )
        for path, _, text in references.texts(plan.resource)
        if text.startswith(_PLACEHOLDER)
    ]


def _is_written(plan: Plan) -> bool:
    if plan.method in {"PUT", "PATCH"}:
        return True
    return plan.method == "POST" and plan.found is None and plan.same_as < 0


async def _validate(made: list[Plan]) -> None:
    issues: list[Issue] = []
    for number, plan in enumerate(made):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        if _is_written(plan):
            issues += prepare.faults(plan.resource, f"{plan.place}.resource")
    if issues:
        raise InvalidError(issues=tuple(issues))


def _has_criteria(made: list[Plan]) -> bool:
    """Whether some reference may be by criteria."""
    return any(
        "?" in text
        for plan in made
        if plan.resource is not None
        for _, _, text in references.texts(plan.resource)
    )


def _changes(made: list[Plan]) -> list[Change]:
    changes: list[Change] = []
    for plan in made:
        if plan.method == "DELETE":
            changes += [
                Change(kind="delete", type=plan.type, id=id_, if_match=plan.if_match)
                for id_ in _deleted(plan)
            ]
        elif _is_written(plan):
            kind = "create" if plan.method == "POST" else "update"
            if kind == "update":
                plan.resource.id = plan.id
            changes.append(
                Change(
                    kind=kind,
                    type=plan.type,
                    id=plan.id,
                    resource=plan.resource,
                    if_match=plan.if_match,
                )
            )
    _check_once(changes)
    return changes


async def _write(unit: GatewayUnit, changes: list[Change]) -> dict[tuple[str, str], Written]:
    done = await unit.write_all(changes)
    return {
        (change.type, change.id): written
        for change, written in zip(changes, done, strict=True)
        if written is not None
    }


def _deleted(plan: Plan) -> tuple[str, ...]:
    """The ids that a DELETE is about."""
    return (plan.id,) if plan.id else plan.deletions


def _check_once(changes: list[Change]) -> None:
    seen: set[tuple[str, str]] = set()
    for change in changes:
        name = (change.type, change.id)
        if name in seen:
            raise InvalidError(f"{change.type}/{change.id} is written twice in one transaction")
        seen.add(name)


async def _response(
    call: Call,
    unit: GatewayUnit,
    plan: Plan,
    written: dict[tuple[str, str], Written],
) -> Entry:
    if plan.method in {"GET", "HEAD"}:
        return await _read(call, unit, plan)
    wish = call.wishes.returns
    if plan.method == "DELETE":
        gone = [written[plan.type, id_] for id_ in _deleted(plan) if (plan.type, id_) in written]
        sentence = f"{len(gone)} deleted: {', '.join(f'{one.type}/{one.id}' for one in gone[:20])}"
        return Entry(
            status="204 No Content",
            etag=f'W/"{gone[0].vid}"' if len(gone) == 1 else "",
            outcome=success(sentence) if wish == "OperationOutcome" else b"",
        )
    if plan.found is not None:
        done = unchanged([plan.found], plan.type)
    else:
        done = written[plan.type, plan.id]
    is_new = done.created and plan.same_as < 0
    sentence = f"{done.type}/{done.id} is at version {done.vid}"
    return Entry(
        resource=done.body if wish == "representation" else b"",
        status="201 Created" if is_new else "200 OK",
        location=f"{done.type}/{done.id}/_history/{done.vid}",
        etag=f'W/"{done.vid}"',
        modified=done.updated,
        outcome=success(sentence) if wish == "OperationOutcome" else b"",
    )


async def _read(call: Call, unit: GatewayUnit, plan: Plan) -> Entry:
    """A GET sees what the transaction wrote; its failure fails the whole."""
    if not plan.id:
        asked, page = await unit.search(plan.type, pairs_of(plan.query), strict=call.wishes.strict)
        body = searchset(call.base, f"{call.base}/{plan.type}", asked, page)
        return Entry(resource=b"" if plan.method == "HEAD" else body, status="200 OK")
    stored = await unit.stored(plan.type, plan.id)
    if stored is None:
        raise NotFoundError(f"There is no {plan.type}/{plan.id}", plan.place)
    return Entry(
        full_url=f"{call.base}/{plan.type}/{plan.id}",
        resource=b"" if plan.method == "HEAD" else stored.body,
        status=f"200 {HTTPStatus(200).phrase}",
        etag=f'W/"{stored.vid}"',
        modified=stored.updated,
    )


def _check_intercepted(door: Door, subject: Subject, made: list[Plan]) -> None:
    """A type that a module answers for must not slip past its rules inside a Bundle.

    A person sends it alone; a system adds a Provenance with a signature over it (decisions 19),
    unless the module's own rule for Bundles says otherwise. All such entries are named.
    """
    issues: list[Issue] = []
    for plan in made:
        interceptor = door.interceptors.get(plan.type)
        if interceptor is None or plan.method in {"GET", "HEAD"}:
            continue
        if plan.method != "POST":
            if interceptor.on_update is None:
                refused = reserved.closed(door, plan.type, plan.method)
                issues += [
                    msgspec.structs.replace(issue, expression=f"{plan.place}.request")
                    for issue in refused.issues
                ]
            continue
        try:
            if interceptor.on_bundle is not None:
                others = [decoded(codec.encode(one.resource)) for one in made
                          if one.resource is not None and one is not plan]  # fmt: skip
                interceptor.on_bundle(subject, decoded(codec.encode(plan.resource)), others)
            else:
                _default_rule(subject, plan, made)
        except DmedError as refusal:
            issues += [
                Issue(issue.code, issue.diagnostics, f"{plan.place}.resource")
                for issue in refusal.issues
            ]
    if issues:
        raise UnprocessableError(issues=tuple(issues))


async def _check_guarded(
    door: Door, subject: Subject, unit: GatewayUnit, made: list[Plan]
) -> None:
    """What a module says of changes to its records, which are held from here on."""
    for plan in made:
        is_act = plan.method == "POST" and plan.type in door.interceptors
        if is_act or plan.method in {"GET", "HEAD"} or not reserved.is_guarded(door, plan.type):
            continue
        after = codec.encode(plan.resource) if _is_written(plan) else None
        for id_ in _deleted(plan) if plan.method == "DELETE" else (plan.id,):
            known = "" if plan.method == "POST" else id_
            await reserved.check(door, unit, subject, plan.method, plan.type, known, after)


def _default_rule(subject: Subject, plan: Plan, made: list[Plan]) -> None:
    if subject.role is not Role.SERVICE:
        raise UnprocessableError(
            f"Send {plan.type} as a plain POST: it starts an act with rules of its own"
        )
    if plan.resource.status in _BINDING and not any(_signs(one, plan) for one in made):
        raise UnprocessableError(
            f"A {plan.type} that is {plan.resource.status} needs a Provenance with a signature "
            "over it in the same Bundle, or a plain POST"
        )


def _signs(one: Plan, plan: Plan) -> bool:
    if one.type != "Provenance" or one.resource is None or not plan.full_url:
        return False
    signature, target = one.resource.signature, one.resource.target
    if signature is UNSET or not signature or target is UNSET:
        return False
    return any(reference.reference == plan.full_url for reference in target)
