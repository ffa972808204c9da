"""https://hl7.org/fhir/R5/http.html#search: type level and compartments, by GET and POST."""

from __future__ import annotations

from collections.abc import Iterator

from dmed.fhir.query import self_link
from dmed.fhir.query_model import Query
from dmed.kit.errors import Issue
from dmed.server import audit_events, search_system
from dmed.server.answer import Answer
from dmed.server.bundle import Entry, bundle, hits
from dmed.server.call import Call
from dmed.server.compartment import PLAIN, everything
from dmed.server.door import Door
from dmed.server.outcome import outcome
from dmed.trust.gateway import SearchPage

Pairs = list[tuple[str, str]]


async def search(door: Door, call: Call, type_: str, pairs: Pairs) -> Answer:
    """One page of a type; of AuditEvent what the audit holds."""
    if type_ == audit_events.TYPE:
        return await audit_events.search(door, call, pairs)
    strict = call.wishes.strict
    asked, page = await door.plain.search(call.subject, type_, pairs, strict=strict)
    return Answer(body=searchset(call.base, f"{call.base}/{type_}", asked, page))


async def compartment(door: Door, call: Call, patient: str, type_: str, pairs: Pairs) -> Answer:
    """One page of a patient's compartment: one type, or `*` for all that the asker may see."""
    address = f"{call.base}/Patient/{patient}/{type_}"
    strict = call.wishes.strict
    if type_ == "*":
        if any(name not in PLAIN for name, _ in pairs):
            return await search_system.of_patient(door, call, patient, pairs)
        return await everything(door, call, patient, pairs)
    if type_ == audit_events.TYPE:
        return await audit_events.search(door, call, pairs, patient)
    door.check_type(type_)
    asked, page = await door.plain.search(
        call.subject, type_, pairs, strict=strict, patient=patient
    )
    return Answer(body=searchset(call.base, address, asked, page))


def searchset(base: str, address: str, asked: Query, page: SearchPage) -> bytes:
    """The Bundle of a page, its bodies spliced as they lie in the store."""
    entries: list[Entry | bytes] = [*hits(base, page.hits)]
    said = remarks(asked, page)
    if said:
        entries.append(Entry(resource=said, mode="outcome"))
    only_self = asked.summary == "count" or asked.count == 0
    links = self_alone(address, self_link(asked)) if only_self else (
        links_of(address, self_link(asked), page))
    return bundle("searchset", entries, total=page.total, links=links)


def remarks(asked: Query, page: SearchPage) -> bytes:
    """What was left out of the search or of its answer, or nothing: the entry of mode outcome."""
    left_out = [Issue("not-supported", one.reason, severity="warning") for one in asked.ignored]
    cut = [Issue("too-costly", note, severity="warning") for note in page.notes]
    told = search_system.estimate(page)
    return outcome(left_out + cut + told) if left_out or cut or told else b""


def links_of(address: str, text: str, page: SearchPage) -> Iterator[tuple[str, str]]:
    """The links of a page: itself by the canonical text of its search, the next, the previous."""
    yield from self_alone(address, text)
    if page.next_cursor:
        yield "next", _with_cursor(address, text, page.next_cursor)
    if page.previous_cursor:
        yield "previous", _with_cursor(address, text, page.previous_cursor)


def self_alone(address: str, text: str) -> Iterator[tuple[str, str]]:
    """The link of a page to itself."""
    yield "self", f"{address}?{text}" if text else address


def _with_cursor(address: str, text: str, cursor: str) -> str:
    # The cursor is always the last pair of the canonical text.
    kept = text.partition("_cursor=")[0].rstrip("&")
    pair = f"_cursor={cursor}"  # Its signs are those that an address may hold.
    return f"{address}?{kept}&{pair}" if kept else f"{address}?{pair}"
