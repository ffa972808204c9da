"""https://hl7.org/fhir/R5/http.html#patch: plain and conditional, in all three forms."""

from __future__ import annotations

from dmed.fhir.patch import Patch, patch_of
from dmed.server import reserved
from dmed.server.answer import Answer
from dmed.server.call import Call
from dmed.server.door import Door, written_answer
from dmed.server.write import criteria_text, once
from dmed.trust.decide import Action
from dmed.trust.gateway import GatewayUnit


async def patch(door: Door, call: Call, type_: str, id_: str) -> Answer:
    """PATCH of a record: 200 with the new version; 404, 410, 412, or 422 where it does not fit."""
    await reserved.check_open(door, call.subject, Action.UPDATE, type_, "PATCH")
    asked = await _asked(call)

    async def act(unit: GatewayUnit) -> Answer:
        return await _patched(door, call, unit, type_, id_, asked)

    return await once(door, call, asked.body, act)


async def patch_where(door: Door, call: Call, type_: str) -> Answer:
    """PATCH of the one record that matches: 404 for none, 412 for several."""
    await reserved.check_open(door, call.subject, Action.UPDATE, type_, "PATCH")
    asked = await _asked(call)
    criteria = criteria_text(call, "patch")

    async def act(unit: GatewayUnit) -> Answer:
        id_ = await unit.match_one(type_, criteria)
        return await _patched(door, call, unit, type_, id_, asked)

    return await once(door, call, asked.body, act)


async def _asked(call: Call) -> Patch:
    return patch_of(call.headers.get("content-type", ""), await call.body())


async def _patched(
    door: Door, call: Call, unit: GatewayUnit, type_: str, id_: str, asked: Patch
) -> Answer:
    found = await unit.current(type_, id_, if_match=call.if_match())
    after = asked.apply(found.body)
    await reserved.check(door, unit, call.subject, "PATCH", type_, id_, after)
    written = await unit.update(type_, id_, after, if_match=found.vid)
    await reserved.look(door, unit, type_, [id_])
    return written_answer(call, written)
