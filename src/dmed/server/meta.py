"""$meta, $meta-add and $meta-delete: https://hl7.org/fhir/R5/resource-operations.html

A change of meta is a change of the record: it makes a new version, so that a version id names the
same bytes for ever.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir import codec
from dmed.fhir.types import struct_of
from dmed.kit.errors import InvalidError, NotAllowedError, NotFoundError
from dmed.server import reserved
from dmed.server.answer import Answer, version_headers
from dmed.server.call import Call
from dmed.server.door import Door, version_id
from dmed.server.outcome import success
from dmed.server.write import once
from dmed.trust.decide import Action
from dmed.trust.gateway import GatewayUnit

NAMES = frozenset({"$meta", "$meta-add", "$meta-delete"})
_encoder = msgspec.json.Encoder(decimal_format="number")
_PARTS = ("profile", "security", "tag")


async def run(door: Door, call: Call) -> Answer:
    """The operation that an address ends with; 404 or 405 where it is not served there."""
    *place, name = call.parts
    if place:
        door.check_type(place[0])
    is_version = len(place) == 4 and place[2] == "_history"
    if name == "$meta":
        _check_method(call, "GET", "POST")
        if len(place) < 2:
            return Answer(body=_told(await _used(door, call, "".join(place))))
        if len(place) == 2:
            stored = await door.plain.read(call.subject, place[0], place[1])
        elif is_version:
            vid = version_id(place[3])
            stored = await door.plain.vread(call.subject, place[0], place[1], vid)
        else:
            raise NotFoundError(f"There is nothing at {call.path[:100]}")
        return Answer(
            body=_told(codec.decode(stored.body, place[0]).meta),
            headers=version_headers(stored.vid, stored.updated),
        )
    if len(place) != 2:
        raise NotFoundError(f"{name} is served on a record: Type/id/{name}")
    _check_method(call, "POST")
    return await _change(door, call, place[0], place[1], is_addition=name == "$meta-add")


async def _change(door: Door, call: Call, type_: str, id_: str, *, is_addition: bool) -> Answer:
    await reserved.check_open(door, call.subject, Action.UPDATE, type_, call.parts[-1])
    body = await call.json_body()
    given = _given(body)

    async def act(unit: GatewayUnit) -> Answer:
        found = await unit.current(type_, id_, if_match=call.if_match())
        resource = codec.decode(found.body, type_)
        change = added if is_addition else removed
        if not change(resource.meta, given):
            return _answer(call, resource.meta, version_headers(found.vid, found.updated))
        after = codec.encode(resource)
        await reserved.check(door, unit, call.subject, call.parts[-1], type_, id_, after)
        written = await unit.update(type_, id_, after, if_match=found.vid)
        meta = codec.decode(written.body, type_).meta
        return _answer(call, meta, version_headers(written.vid, written.updated))

    return await once(door, call, body, act)


def added(meta: Any, given: Any) -> bool:
    """Add profiles, tags and labels that are not there yet; whether anything changed."""
    changed = False
    for part in _PARTS:
        there = {_key(each) for each in _entries(meta, part)}
        fresh = [each for each in _entries(given, part) if _key(each) not in there]
        if fresh:
            setattr(meta, part, _entries(meta, part) + fresh)
            changed = True
    return changed


def removed(meta: Any, given: Any) -> bool:
    """Take away the profiles, tags and labels that are named; whether anything changed."""
    changed = False
    for part in _PARTS:
        gone = {_key(each) for each in _entries(given, part)}
        kept = [each for each in _entries(meta, part) if _key(each) not in gone]
        if len(kept) != len(_entries(meta, part)):
            setattr(meta, part, kept or UNSET)
            changed = True
    return changed


async def _used(door: Door, call: Call, type_: str) -> Any:
    """All profiles, tags and labels in use, each once."""
    meta = struct_of("Meta")()
    for one in await door.plain.meta_used(call.subject, type_):
        kept = {name: one[name] for name in _PARTS if name in one}
        if kept:
            added(meta, codec.decode(_encoder.encode(kept), "Meta"))
    return meta


def _given(body: bytes) -> Any:
    parameters = codec.decode(body, "Parameters")
    given = [] if parameters.parameter is UNSET else parameters.parameter
    if len(given) != 1 or given[0].name != "meta" or given[0].valueMeta is UNSET:
        raise InvalidError(
            "The operation takes Parameters with one parameter meta (valueMeta)",
            "Parameters.parameter",
        )
    return given[0].valueMeta


def _answer(call: Call, meta: Any, headers: dict[str, str]) -> Answer:
    if call.wishes.returns == "minimal":
        return Answer(status=200, headers=headers)
    if call.wishes.returns == "OperationOutcome":
        return Answer(body=success(f"meta is that of version {meta.versionId}"), headers=headers)
    return Answer(body=_told(meta), headers=headers)


def _told(meta: Any) -> bytes:
    parameters = struct_of("Parameters")()
    if any(getattr(meta, name) is not UNSET for name in meta.__struct_fields__):
        one = struct_of("Parameters.parameter")(name="return", valueMeta=meta)
        parameters.parameter = [one]  # type: ignore[attr-defined]  # Made from the facts.
    return codec.encode(parameters)


def _check_method(call: Call, *methods: str) -> None:
    if call.method not in methods:
        allowed = ", ".join(methods)
        raise NotAllowedError(f"{call.parts[-1]} takes {allowed}", headers={"Allow": allowed})


def _entries(meta: Any, part: str) -> list[Any]:
    found = getattr(meta, part)
    return [] if found is UNSET else found


def _key(entry: Any) -> Any:
    """What makes two entries one: a profile as it stands, a Coding by system and code."""
    return entry if entry is None or isinstance(entry, str) else (entry.system, entry.code)
