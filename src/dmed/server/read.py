"""https://hl7.org/fhir/R5/http.html#read and #vread, with conditional read (#cread)."""

from __future__ import annotations

from dmed.fhir.subset import subset
from dmed.kit.errors import InvalidError
from dmed.server import audit_events, negotiate
from dmed.server.answer import Answer, moment_of
from dmed.server.call import Call
from dmed.server.door import Door, record_answer, version_id
from dmed.trust.gateway import Stored

_SUMMARIES = frozenset({"", "true", "text", "data", "false"})


async def read(door: Door, call: Call, type_: str, id_: str) -> Answer:
    """The current version, or 304 where the client has it; 410 after a delete."""
    if audit_events.is_of_the_audit(type_, id_):
        return await audit_events.read(door, call, id_)
    stored = await door.plain.read(call.subject, type_, id_)
    return _shown(call, stored)


async def vread(door: Door, call: Call, type_: str, id_: str, version: str) -> Answer:
    """One version."""
    stored = await door.plain.vread(call.subject, type_, id_, version_id(version))
    return _shown(call, stored)


def _shown(call: Call, stored: Stored) -> Answer:
    answer = record_answer(stored)
    if is_known(call.headers.get("if-none-match", ""), call.headers.get("if-modified-since", ""),
                stored):  # fmt: skip
        return Answer(status=304, headers=answer.headers)
    answer.body = subset(stored.body, *_wanted(call))
    if stored.type == "Binary":
        # Its content is somebody's: kept as a file under our own name, never shown as a page.
        answer.headers["Content-Disposition"] = f'attachment; filename="Binary-{stored.id}"'
    return answer


def _wanted(call: Call) -> tuple[str, list[str]]:
    """The `_summary` and `_elements` of a read. https://hl7.org/fhir/R5/search.html#summary"""
    summary = call.parameter("_summary")
    if summary not in _SUMMARIES:
        raise InvalidError(f"_summary={summary[:40]!r} is not served on a read", "_summary")
    return summary, [name for name in call.parameter("_elements").split(",") if name]


def is_known(if_none_match: str, if_modified_since: str, stored: Stored) -> bool:
    """Whether the client says it has this version; If-None-Match wins over the date (RFC 9110)."""
    if if_none_match:
        known = negotiate.etags(if_none_match)
        return str(stored.vid) in known or "*" in known
    since = moment_of(if_modified_since) if if_modified_since else None
    return since is not None and stored.updated.replace(microsecond=0) <= since
