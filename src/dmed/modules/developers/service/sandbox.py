"""A small FHIR server of its own for each newcomer: records by client, apart from the register.

It speaks as /fhir does: the same validation, errors, If-Match, conditional create, transactions. It
serves what the check asks for and says plainly what it does not. Nothing of it reads the register.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from dmed.fhir import codec, query, validate, walk
from dmed.fhir.facts import facts
from dmed.kit.clock import instant, today
from dmed.kit.clock import now as moment_now
from dmed.kit.errors import (
    ConflictError,
    DmedError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    ThrottledError,
    UnavailableError,
)
from dmed.kit.ids import bucket_of, new_id, new_vid
from dmed.modules.developers import tables
from dmed.modules.developers.model import Application, Call, Kind
from dmed.modules.developers.rules import finding, seen
from dmed.server.outcome import outcome_of

if TYPE_CHECKING:
    from dmed.kit.settings import Settings
    from dmed.trust.gateway import Gateway, GatewayUnit

BODY_MAX_BYTES = 256 * 1024
ENTRIES_MAX = 50
PATIENCE_SECONDS = 1
"""What the one 503 of a sandbox asks a system to wait."""
OWN = "own-organisation"
PRESCRIPTION = "1726-00000017-2"
_WROTE = {"POST", "PUT"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a system."""

    method: str
    path: str
    """Below the sandbox's FHIR base: "Patient/1"."""
    query: str
    headers: Mapping[str, str]
    body: bytes
    base: str


class Answer(msgspec.Struct, kw_only=True):
    """What it is answered."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


async def serve(
    gateway: Gateway, subject: Any, application: Application, asked: Asked, *, by_hand: bool
) -> Answer:
    """Answers a request and notes it for the check."""
    parts = [part for part in asked.path.split("/") if part]
    type_ = parts[0] if parts and parts[0] != "metadata" else ("" if parts else "Bundle")
    pairs = parse_qsl(asked.query, keep_blank_values=True, max_num_fields=50)
    noted: dict[str, Any] = {"type": type_}
    try:
        async with gateway.unit(subject) as unit:
            held = _Sandbox(unit, application, gateway.settings, asked.base)
            noted = seen.facts_of(asked.method, type_, pairs, asked.headers, _loose(asked.body))
            answer = await held.answer(asked, parts, pairs)
    except DmedError as refusal:
        noted["said"] = refusal.issues[0].diagnostics[:200]
        answer = Answer(status=refusal.status, body=outcome_of(refusal), headers=refusal.headers)
        if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
            noted["retry_after"] = PATIENCE_SECONDS
    call = Call(
        number=0, made=moment_now(), method=asked.method, path="/".join(parts),
        query=asked.query, status=answer.status, digest=digest_of(asked), by_hand=by_hand,
        facts=noted)
    async with gateway.unit(subject) as unit:
        await tables.add_call(unit, application.client, call)
    return answer


def _loose(body: bytes) -> dict[str, Any] | None:
    """The body as it stands, for the notes alone; None where it is no object."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def digest_of(asked: Asked) -> str:
    """What makes two requests the same: method, address, condition and body."""
    made = hashlib.sha256()
    for part in (asked.method, asked.path, asked.query, asked.headers.get("if-match", ""),
                 asked.headers.get("if-none-exist", "")):
        made.update(part.encode() + b"\0")
    made.update(asked.body)
    return made.hexdigest()[:32]


class _Sandbox:
    """One request's work in one sandbox."""

    def __init__(
        self, unit: GatewayUnit, application: Application, settings: Settings, base: str
    ) -> None:
        self._unit = unit
        self._application = application
        self._settings = settings
        self._base = base

    @property
    def client(self) -> str:
        """Whose sandbox it is."""
        return self._application.client

    async def answer(
        self, asked: Asked, parts: list[str], pairs: list[tuple[str, str]]
    ) -> Answer:
        """The answer to one request; a refusal is raised."""
        if parts == ["metadata"] and asked.method == "GET":
            return Answer(status=200, body=_capability(self._base))
        if not parts and asked.method == "POST":
            await self._try_patience()
            return await self._transaction(asked.body)
        if not parts or len(parts) > 2 or parts[0] not in facts().resources:
            raise NotFoundError(f"The sandbox serves nothing at {asked.path[:100]}")
        type_ = parts[0]
        match asked.method, len(parts):
            case "GET", 1:
                return await self._search(type_, pairs)
            case "GET", 2:
                return await self._read(type_, parts[1])
            case "POST", 1:
                if type_ == "MedicationDispense":
                    await self._try_patience()
                return await self._create(
                    type_, asked.body, asked.headers.get("if-none-exist", ""))
            case "PUT", 2:
                return await self._update(
                    type_, parts[1], asked.body, asked.headers.get("if-match", ""))
        raise InvalidError(f"The sandbox does not serve {asked.method} here")

    async def _try_patience(self) -> None:
        """Each sandbox is unavailable once: a system must come again, with the same request."""
        if not await tables.was_put_off(self._unit, self.client):
            raise UnavailableError(
                "The sandbox is unavailable this once: send the same request again after "
                f"{PATIENCE_SECONDS} s", headers={"Retry-After": str(PATIENCE_SECONDS)})

    async def _read(self, type_: str, id_: str) -> Answer:
        row = await tables.record(self._unit, self.client, type_, id_)
        if row is None:
            raise NotFoundError(f"There is no {type_}/{id_[:64]} in this sandbox")
        return _of_version(200, row["body"], row["vid"], row["updated"])

    async def _search(self, type_: str, pairs: list[tuple[str, str]]) -> Answer:
        found = await self._found(type_, pairs)
        asked = query.parse(type_, pairs, settings=self._settings, strict=True)
        entries = [{"fullUrl": f"{self._base}/{type_}/{id_}", "resource": msgspec.Raw(body),
                    "search": {"mode": "match"}} for id_, body in found[: asked.count]]
        bundle: dict[str, Any] = {
            "resourceType": "Bundle", "type": "searchset", "total": len(found),
            "link": [{"relation": "self", "url": f"{self._base}/{type_}?{urlencode(pairs)}"}]}
        if entries:
            bundle["entry"] = entries
        return Answer(status=200, body=msgspec.json.encode(bundle))

    async def _found(self, type_: str, pairs: list[tuple[str, str]]) -> list[tuple[str, bytes]]:
        asked = query.parse(type_, pairs, settings=self._settings, strict=True)
        if asked.includes or asked.revincludes or asked.sort:
            raise InvalidError("The sandbox serves no _include, _revinclude and _sort")
        found = []
        for row in await tables.records(self._unit, self.client, type_):
            body = row["body"].encode()
            if finding.meets(asked, row["id"], codec.decode(body, type_)):
                found.append((row["id"], body))
        return found

    async def _create(self, type_: str, body: bytes, criteria: str) -> Answer:
        resource = checked(body, type_)
        if criteria:
            pairs = parse_qsl(criteria.removeprefix("?"), keep_blank_values=True)
            if not pairs:
                raise PreconditionError("If-None-Exist is empty")
            same = await self._found(type_, pairs)
            if len(same) > 1:
                raise PreconditionError("If-None-Exist matches several")
            if same:
                return await self._read(type_, same[0][0])
        await self._check_rules(type_, resource)
        id_ = new_id(bucket_of(hashlib.sha256(body).hexdigest()))
        return await self._write(type_, id_, resource, 201)

    async def _check_rules(self, type_: str, resource: Any) -> None:
        """What the platform itself would refuse, as far as the check needs it."""
        record = msgspec.json.decode(codec.encode(resource))
        if type_ == "Patient":
            for one in record.get("identifier", []):
                if one.get("system") == seen.PINFL_SYSTEM and await self._found(
                        "Patient", [("identifier", f"{one['system']}|{one.get('value', '')}")]):
                    raise ConflictError(
                        "There is a card with this PINFL: search before you create",
                        "Patient.identifier")
        if type_ == "MedicationDispense":
            await self._check_packs(record)

    async def _check_packs(self, record: dict[str, Any]) -> None:
        marks = {each.get("value") for one in record.get("contained", [])
                 for each in one.get("identifier", []) if each.get("system") == seen.MARKING_SYSTEM}
        for row in await tables.records(self._unit, self.client, "MedicationDispense"):
            if any(f'"{mark}"' in row["body"] for mark in marks if mark):
                raise ConflictError("This pack was handed over before",
                                    "MedicationDispense.contained")

    async def _update(self, type_: str, id_: str, body: bytes, if_match: str) -> Answer:
        resource = checked(body, type_)
        if getattr(resource, "id", None) != id_:
            raise InvalidError(f"The body must carry the id {id_[:64]}", f"{type_}.id")
        known = await tables.record(self._unit, self.client, type_, id_)
        if known is None:
            raise NotFoundError(f"There is no {type_}/{id_[:64]} in this sandbox")
        if if_match.strip() != f'W/"{known["vid"]}"':
            raise PreconditionError("Version is mismatch")
        return await self._write(type_, id_, resource, 200)

    async def _write(self, type_: str, id_: str, resource: Any, status: int) -> Answer:
        if await tables.count(self._unit, self.client) >= tables.RECORDS_MAX:
            raise ThrottledError(f"A sandbox holds {tables.RECORDS_MAX} records: empty it")
        vid, updated = new_vid(), moment_now()
        record = msgspec.json.decode(codec.encode(resource), type=dict[str, Any])
        record = {"resourceType": type_, **record, "id": id_}
        record["meta"] = {**record.get("meta", {}), "versionId": str(vid),
                          "lastUpdated": instant(updated)}
        body = codec.encode(codec.decode(msgspec.json.encode(record), type_)).decode()
        await tables.save(self._unit, self.client, type_, id_, vid, updated, body)
        answer = _of_version(status, body, vid, updated)
        if status == 201:
            answer.headers["Location"] = f"{self._base}/{type_}/{id_}/_history/{vid}"
        return answer

    async def _transaction(self, body: bytes) -> Answer:
        bundle = checked(body, "Bundle")
        record = msgspec.json.decode(codec.encode(bundle), type=dict[str, Any])
        entries = record.get("entry", [])
        if record.get("type") != "transaction" or not 1 <= len(entries) <= ENTRIES_MAX:
            raise InvalidError(f"The sandbox takes transactions of 1 to {ENTRIES_MAX} entries",
                               "Bundle.type")
        names: dict[str, str] = {}
        for place, entry in enumerate(entries):
            request = entry.get("request", {})
            type_ = entry.get("resource", {}).get("resourceType", "")
            if request.get("method") != "POST" or request.get("url") != type_ or not type_:
                raise InvalidError("The sandbox takes POST entries with the type as url",
                                   f"Bundle.entry[{place}].request")
            names[entry.get("fullUrl", "")] = f"{type_}/{new_id(bucket_of(str(place)))}"
        made = []
        for place, entry in enumerate(entries):
            type_, _, id_ = names[entry.get("fullUrl", "")].partition("/")
            resource = codec.decode(msgspec.json.encode(entry["resource"]), type_)
            walk.rewrite_urls(resource, names)
            for _, reference in walk.references(resource):
                said = reference.reference
                if isinstance(said, str) and said.startswith("urn:uuid:"):
                    raise InvalidError(f"{said} names no entry of this Bundle",
                                       f"Bundle.entry[{place}]")
            await self._check_rules(type_, resource)
            done = await self._write(type_, id_, resource, 201)
            made.append({"response": {
                "status": "201 Created", "location": f"{type_}/{id_}/_history/1",
                "etag": done.headers["ETag"]}})
        answer = {"resourceType": "Bundle", "type": "transaction-response", "entry": made}
        return Answer(status=200, body=msgspec.json.encode(answer))


def checked(body: bytes, type_: str) -> Any:
    """The validated resource of a body; InvalidError lists every fault."""
    resource = codec.decode(body, type_)
    wrong = [issue for issue in validate.validate(resource) if issue.severity != "warning"]
    if wrong:
        raise InvalidError(issues=tuple(wrong))
    return resource


def _of_version(status: int, body: str, vid: int, updated: datetime) -> Answer:
    return Answer(status=status, body=body.encode(), headers={
        "ETag": f'W/"{vid}"',
        "Last-Modified": updated.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")})


def _capability(base: str) -> bytes:
    """What a sandbox serves, as a CapabilityStatement."""
    kinds = ["Patient", "Encounter", "Observation", "Condition", "Organization", "Practitioner",
             "MedicationRequest", "MedicationDispense"]
    served = [{"code": code} for code in ("read", "search-type", "create", "update")]
    return msgspec.json.encode({
        "resourceType": "CapabilityStatement", "status": "active", "kind": "instance",
        "date": today().isoformat(), "fhirVersion": "5.0.0", "format": ["json"],
        "implementation": {"description": "Sandbox", "url": base},
        "rest": [{"mode": "server", "interaction": [{"code": "transaction"}], "resource": [
            {"type": kind, "interaction": served, "conditionalCreate": True,
             "versioning": "versioned-update"} for kind in kinds]}]})


async def plant(unit: GatewayUnit, application: Application) -> None:
    """The first records of a sandbox: the institution itself, an invented person, and for a
    pharmacy a prescription to hand over.
    """
    updated = moment_now() - timedelta(days=1)
    for record in _first(application):
        vid = new_vid()
        record["meta"] = {**record.get("meta", {}), "versionId": str(vid),
                          "lastUpdated": instant(updated)}
        body = codec.encode(codec.decode(msgspec.json.encode(record), record["resourceType"]))
        await tables.save(unit, application.client, record["resourceType"], record["id"], vid,
                          updated, body.decode())


def _first(application: Application) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"resourceType": "Organization", "id": OWN, "active": True, "name": application.name},
        {"resourceType": "Patient", "id": "invented-person", "active": True,
         "identifier": [{"use": "official", "system": seen.PINFL_SYSTEM,
                         "value": "30101900000017"}],
         "name": [{"family": "Sinovov", "given": ["Sinov"]}], "gender": "male",
         "birthDate": "1990-01-01"},
    ]
    if application.kind is Kind.PHARMACY:
        made.append({
            "resourceType": "MedicationRequest", "id": "invented-prescription",
            "status": "active", "intent": "order",
            "groupIdentifier": {"system": seen.PRESCRIPTION_SYSTEM, "value": PRESCRIPTION},
            "medication": {"concept": {"text": "Amoksitsillin 500 mg, kapsula"}},
            "subject": {"reference": "Patient/invented-person"},
            "authoredOn": today().isoformat(),
            "dispenseRequest": {"quantity": {"value": 20, "unit": "kapsula"}}})
    return made
