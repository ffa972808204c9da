"""Searches of several types at once: the whole system, and compartments.

https://hl7.org/fhir/R5/http.html#search, https://hl7.org/fhir/R5/compartmentdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

from dmed.fhir.query_system import COMPARTMENTS, SystemQuery
from dmed.kit.errors import Issue, NotFoundError
from dmed.server.answer import Answer
from dmed.server.bundle import Entry, bundle, hits
from dmed.server.call import Call
from dmed.server.door import Door
from dmed.server.outcome import outcome
from dmed.trust.gateway import SearchPage
from dmed.trust.gateway.prepare import ID

Pairs = list[tuple[str, str]]


async def system(door: Door, call: Call, pairs: Pairs) -> Answer:
    """One page over all types, or those that `_type` names."""
    asked, page = await door.plain.search_all(call.subject, pairs, strict=call.wishes.strict)
    return _answer(call, call.base, asked, page, _types_of(pairs))


async def of_patient(door: Door, call: Call, patient: str, pairs: Pairs) -> Answer:
    """One page of all that lies in a patient's compartment and fits the criteria."""
    asked, page = await door.plain.search_all(
        call.subject, pairs, strict=call.wishes.strict, patient=patient
    )
    return _answer(call, f"{call.base}/Patient/{patient}/*", asked, page, _types_of(pairs))


async def compartment(
    door: Door, call: Call, name: str, id_: str, type_: str, pairs: Pairs
) -> Answer:
    """One page of a compartment other than a patient's: of one type, or `*` for all."""
    if name not in COMPARTMENTS or not ID.fullmatch(id_):
        raise NotFoundError(f"{name[:70]}: only compartments of {', '.join(COMPARTMENTS)}")
    only = "" if type_ == "*" else type_
    if only:
        door.check_type(only)
    asked, page = await door.plain.search_all(
        call.subject, pairs, strict=call.wishes.strict, compartment=(name, id_), only=only
    )
    if only and not asked.queries:
        raise NotFoundError(f"{type_} is never in the compartment of a {name}")
    address = f"{call.base}/{name}/{id_}/{type_}"
    return _answer(call, address, asked, page, "" if only else _types_of(pairs))


def _types_of(pairs: Pairs) -> str:
    return ",".join(value for name, value in pairs if name == "_type")


def _answer(
    call: Call, address: str, asked: SystemQuery, page: SearchPage, types: str
) -> Answer:
    entries: list[Entry | bytes] = [*hits(call.base, page.hits)]
    left_out = [Issue("not-supported", one.reason, severity="warning") for one in asked.ignored]
    cut = [Issue("too-costly", note, severity="warning") for note in page.notes]
    told = estimate(page)
    if left_out or cut or told:
        entries.append(Entry(resource=outcome(left_out + cut + told), mode="outcome"))
    links = _links(address, asked, page, types)
    return Answer(body=bundle("searchset", entries, total=page.total, links=links))


def estimate(page: SearchPage) -> list[Issue]:
    """Says that a total is no count, where it is none."""
    why = f"The total of about {page.total} is an estimate from statistics"
    return [Issue("informational", why, severity="information")] if page.is_estimate else []


def _links(
    address: str, asked: SystemQuery, page: SearchPage, types: str
) -> Iterator[tuple[str, str]]:
    given = [("_type", types)] if types else []
    # The compartment stands in the address, not among the parameters.
    given += [pair for pair in asked.pairs if pair[0].startswith("_") or pair[0] not in
              COMPARTMENTS]
    for name, cursor in (
        ("self", asked.cursor), ("next", page.next_cursor), ("previous", page.previous_cursor)
    ):
        if name == "self" or cursor:
            pairs = [*given, *([("_cursor", cursor)] if cursor else [])]
            yield name, f"{address}?{urlencode(pairs)}" if pairs else address
