"""FHIR operations on persons: `$match`, `$merge`, `$ihe-pix`, `$find-person`.

https://hl7.org/fhir/R5/patient-operation-match.html, https://hl7.org/fhir/R5/patient-operation-merge.html,
IHE PDQm ITI-119, IHE PIXm ITI-83.
docs/reference/person-search.md has an example of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import ForbiddenError, InvalidError, Issue, NotFoundError
from dmed.modules.medid.rules import exchange, merge_wire
from dmed.modules.medid.service import crossing, finding, merge_door
from dmed.server.call import base_of
from dmed.trust.manifest import Operation
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

JSON = "application/fhir+json"
MATCHES = frozenset({Role.DOCTOR, Role.REGISTRAR, Role.SERVICE})
FINDS = frozenset({Role.DOCTOR, Role.REGISTRAR, Role.SERVICE})
MERGES = frozenset({Role.REGISTRAR})
_COUNT = 20
_COUNT_MAX = 50
_PAIRS_MAX = 20


async def match(request: Request) -> Response:
    """POST Parameters (resource, onlyCertainMatches, onlySingleMatch, count), or a Patient."""
    asked = exchange.read_match(await request.body())
    gateway, subject = _gateway(request), _subject(request)
    grades: list[str] = []

    def choose(scored: list[finding.Matched]) -> list[finding.Matched]:
        grades.extend(one.score.grade for one in scored)
        return [scored[at] for at in exchange.chosen(grades, asked)]

    matched = await finding.match(gateway, subject, asked.patient, asked.record, choose=choose)
    base = base_of(request.scope, gateway.settings)
    entries = [
        exchange.Entry(
            f"{base}/Patient/{one.stored.id}", gateway.seen(subject, one.stored).body,
            exchange.match_search(one.score.probability, one.score.grade, [
                (each.name, each.level, each.weight) for each in one.score.fields]))
        for one in matched]
    several = asked.only_single and not entries and any(
        grade != "certainly-not" for grade in grades)
    note = "Several cards fit equally well: none of them is the single match" if several else ""
    return _answer(exchange.searchset(entries, f"{base}/Patient/$match", note))


async def pix(request: Request) -> Response:
    """GET or POST with sourceIdentifier and, any number of times, targetSystem."""
    pairs = await _pairs(request)
    sources = [value for name, value in pairs if name == "sourceIdentifier"]
    if len(sources) != 1:
        raise InvalidError("exactly one sourceIdentifier is asked by", "sourceIdentifier")
    systems = [value for name, value in pairs if name == "targetSystem"]
    source = exchange.read_token(sources[0])
    gateway, subject = _gateway(request), _subject(request)
    unknown = next((one for one in systems if not crossing.is_domain(one)), None)
    if unknown is not None:
        raise ForbiddenError(issues=(Issue(
            "code-invalid", f"targetSystem not found: {unknown[:100]}", "targetSystem"),))
    if not crossing.is_domain(source[0]):
        raise InvalidError(issues=(Issue(
            "code-invalid", "sourceIdentifier Assigning Authority not found",
            "sourceIdentifier"),))
    cards = await crossing.cards(gateway, subject, source)
    if not cards:
        raise NotFoundError("sourceIdentifier Patient Identifier not found", "sourceIdentifier")
    body: dict[str, Any] = {"resourceType": "Parameters"}
    if found := exchange.crossed(cards, source, systems):
        body["parameter"] = found
    return _answer(msgspec.json.encode(body))


async def merge(request: Request) -> Response:
    """POST Parameters (source-patient, target-patient, result-patient, preview, reason)."""
    asked = merge_wire.read(await request.body())
    return _answer(await merge_door.run(_gateway(request), _subject(request), asked))


async def find(request: Request) -> Response:
    """GET with q and, to narrow, year, district and phone: persons as they are typed, ranked."""
    base = base_of(request.scope, _gateway(request).settings)
    return _answer(await _found(
        _gateway(request), _subject(request), await _pairs(request), base))


async def find_quick(
    gateway: Gateway, subject: Subject, pairs: list[tuple[str, str]], _id: str, _language: str
) -> bytes:
    """The same on the short way; addresses are relative to the base."""
    return await _found(gateway.plain(), subject, pairs, "")


async def _found(
    gateway: Gateway, subject: Subject, pairs: list[tuple[str, str]], base: str
) -> bytes:
    given = dict(pairs)
    count = given.get("count", str(_COUNT))
    if not count.isascii() or not count.isdecimal() or not 1 <= int(count) <= _COUNT_MAX:
        await gateway.note(subject, "E", "$find-person refused", outcome=400)
        raise InvalidError(f"count is a number from 1 to {_COUNT_MAX}", "count")
    if not given.get("q", "").strip():
        await gateway.note(subject, "E", "$find-person without words")
    found = await finding.find_records(
        gateway, subject, given.get("q", "")[:100], int(count), year=given.get("year", "")[:9],
        district=given.get("district", "")[:7], phone=given.get("phone", "")[:20])
    place = f"{base}/Patient" if base else "Patient"
    entries = [exchange.Entry(
        f"{place}/{one.id}", gateway.seen(subject, one).body, {"mode": "match"})
        for one, _ in found]
    return exchange.searchset(entries, f"{place}/$find-person?{urlencode(pairs)}")


async def _pairs(request: Request) -> list[tuple[str, str]]:
    """The pairs of the query and of a Parameters body. InvalidError for another body."""
    try:
        pairs = parse_qsl(request.url.query, max_num_fields=_PAIRS_MAX, errors="strict")
    except ValueError as fault:
        raise InvalidError("The parameters cannot be read") from fault
    body = await request.body()
    if not body.strip():
        return pairs
    try:
        read = msgspec.json.decode(body, type=_Parameters)
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        raise InvalidError("The body of an operation is a Parameters resource") from fault
    if read.resourceType != "Parameters":
        raise InvalidError("The body of an operation is a Parameters resource")
    return [*pairs, *((each.name, value) for each in read.parameter[:_PAIRS_MAX]
                      if (value := each.valueString or each.valueUri))]


class _Parameter(msgspec.Struct):
    name: str = ""
    valueString: str = ""  # noqa: N815  # FHIR's name.
    valueUri: str = ""  # noqa: N815  # FHIR's name.


class _Parameters(msgspec.Struct):
    resourceType: str = ""  # noqa: N815  # FHIR's name.
    parameter: list[_Parameter] = []


def _gateway(request: Request) -> Gateway:
    found: Gateway = request.app.state.gateway
    return found.plain()


def _subject(request: Request) -> Subject:
    found: Subject = request.state.subject
    return found


def _answer(body: bytes) -> Response:
    return Response(body, media_type=JSON, headers={"Cache-Control": "no-store"})


OPERATIONS: tuple[Operation, ...] = (
    Operation(name="match", type="Patient", endpoint=match, roles=MATCHES, affects_state=False,
              audits=True),
    Operation(name="ihe-pix", type="Patient", endpoint=pix, roles=MATCHES, affects_state=False),
    Operation(name="merge", type="Patient", endpoint=merge, roles=MERGES),
    Operation(name="find-person", type="Patient", endpoint=find, roles=FINDS,
              affects_state=False, quick=find_quick),
)
