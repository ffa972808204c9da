"""AuditEvent read and search, made of the audit: https://hl7.org/fhir/R5/auditevent.html

Events that systems send are stored records like any other and read by their id; a search of the
type answers with the platform's own audit.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from dmed.kit.errors import Issue
from dmed.server.answer import Answer
from dmed.server.bundle import Entry, bundle
from dmed.server.call import Call
from dmed.server.door import Door
from dmed.server.outcome import outcome
from dmed.trust.audit_events import place_of

TYPE = "AuditEvent"


def is_of_the_audit(type_: str, id_: str) -> bool:
    """Whether an address names a row of the audit and no stored record."""
    return type_ == TYPE and place_of(id_) is not None


async def read(door: Door, call: Call, id_: str) -> Answer:
    """One row of the audit as AuditEvent."""
    event = await door.plain.audits().read(call.subject, id_)
    return Answer(body=msgspec.json.encode(event))


async def search(
    door: Door, call: Call, pairs: list[tuple[str, str]], patient: str = ""
) -> Answer:
    """One page, newest first; the total of an audit is never counted."""
    page = await door.plain.audits().search(
        call.subject, pairs, strict=call.wishes.strict, patient=patient)
    entries: list[Entry | bytes] = [
        Entry(full_url=f"{call.base}/{TYPE}/{event['id']}", resource=msgspec.json.encode(event),
              mode="match") for event in page.events]  # fmt: skip  # One entry.
    said = [Issue("not-supported", one.reason, severity="warning") for one in page.ignored]
    said += [Issue("informational", note, severity="information") for note in page.notes]
    if said:
        entries.append(Entry(resource=outcome(said), mode="outcome"))
    address = f"{call.base}/Patient/{patient}/{TYPE}" if patient else f"{call.base}/{TYPE}"
    links = [("self", _link(address, page.pairs))]
    if page.next_cursor:
        links.append(("next", _link(address, [*page.pairs, ("_cursor", page.next_cursor)])))
    return Answer(body=bundle("searchset", entries, links=links))


def _link(address: str, pairs: list[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(pairs)}" if pairs else address
