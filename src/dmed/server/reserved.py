"""Records that only a module's acts may change: no plain PUT, PATCH or DELETE slips past its rules.

Whoever asks, a system too: alone, in a batch or in a transaction. Lost data comes back through
`dmed import`, which only the owner of the installation runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dmed.kit.errors import UnprocessableError
from dmed.server.door import Door
from dmed.trust.decide import Action
from dmed.trust.gateway import GatewayUnit, decoded
from dmed.trust.model import Subject

_STEPS = "Task"
_LINKS = ("focus", "basedOn")


def is_guarded(door: Door, type_: str) -> bool:
    """Whether a plain change of this type needs a look at the record before it is made."""
    return type_ in door.interceptors or (type_ == _STEPS and bool(door.interceptors))


def needs_unit(door: Door, type_: str) -> bool:
    """Whether a plain write of this type is looked at in its own transaction."""
    return is_guarded(door, type_) or type_ in door.keepers


async def look(door: Door, unit: GatewayUnit, type_: str, ids: Iterable[str]) -> None:
    """Let the keeper of the type look at what was just written; what it raises undoes all."""
    keeper = door.keepers.get(type_)
    for id_ in ids if keeper is not None else ():
        assert keeper is not None
        await keeper.check(unit, type_, id_)


async def check_open(door: Door, subject: Subject, action: Action, type_: str, verb: str) -> None:
    """Refuse at once, before any work, where no record of the type is changed plainly.

    RefusedError where the role may not do it anyway, else UnprocessableError (422).
    """
    interceptor = door.interceptors.get(type_)
    if interceptor is not None and interceptor.on_update is None:
        await door.plain.check_allowed(subject, action, type_)
        raise closed(door, type_, verb)


async def check(
    door: Door,
    unit: GatewayUnit,
    subject: Subject,
    verb: str,
    type_: str,
    id_: str,
    after: bytes | None,
) -> None:
    """Refuse a plain change that the module of the type refuses; holds the record meanwhile."""
    if not is_guarded(door, type_):
        return
    before = await unit.get(type_, id_, lock=True) if id_ else None
    judge(door, subject, verb, type_, before, decoded(after) if after else None)


def judge(
    door: Door,
    subject: Subject,
    verb: str,
    type_: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    """The decision of `check` about two versions of a record, None where there is none."""
    interceptor = door.interceptors.get(type_)
    if interceptor is not None:
        if interceptor.on_update is None:
            raise closed(door, type_, verb)
        interceptor.on_update(subject, verb, before, after)
    elif type_ == _STEPS:
        for version in (before, after):
            target = _target(door, version or {})
            if target:
                raise closed(door, target, verb, f"A Task about a {target}")


def closed(door: Door, type_: str, verb: str, what: str = "") -> UnprocessableError:
    """The refusal; it names what to call instead."""
    named = sorted({f"${name}" for kind, name, _ in door.operations if kind == type_})
    instead = ", ".join([f"POST {type_}", *named])
    return UnprocessableError(
        f"{what or type_} is not open to {verb}: it changes only by acts with rules of their own. "
        f"Call {instead}",
        type_,
    )


def _target(door: Door, task: dict[str, Any]) -> str:
    """The type of a reserved record that a Task is a step of, or ""."""
    based_on = task.get("basedOn") or []
    for reference in [task.get("focus") or {}, *based_on]:
        address = str(reference.get("reference") or "")
        found = address.partition("?")[0].split("/")
        names = found[:1] if len(found) == 1 else found[-2:-1]
        if "/_history/" in address:
            names = address.split("/_history/", maxsplit=1)[0].split("/")[-2:-1]
        kind = names[0] if names else str(reference.get("type") or "")
        if kind in door.interceptors:
            return kind
    return ""
