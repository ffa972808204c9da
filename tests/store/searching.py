"""What the tests of searches share: write a record, ask as an address does, walk all pages."""

from __future__ import annotations

import json
from typing import Any

from dmed.fhir import codec, params
from dmed.fhir.query import parse
from dmed.kit.ids import bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import search, write
from dmed.store.model import AuditRow, Scope, SearchPage, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("doctor")
SETTINGS = Settings(pool_size=4)


def audit(request: str = "r1") -> AuditRow:
    """The audit row of a search or write here."""
    return AuditRow(request=request, action="E", subject="doctor", role="doctor")


async def put(db: Database, content: dict[str, Any], kind: str = "update") -> None:
    """Write a record as the store would be given it."""
    vid = new_vid()
    resource = codec.decode(json.dumps(content).encode())
    patients = params.patients(resource)
    await write.write(db, SCOPE, audit(), Write(
        kind=kind, type=content["resourceType"], id=content["id"], vid=vid,
        bucket=bucket_of(patients[0] if patients else content["id"]),
        updated=updated_of(vid), body=codec.encode(resource), index=params.extract(resource),
        patients=patients, client_id=True))


def person(number: int, family: str = "", **more: Any) -> dict[str, Any]:
    """A Patient: p000, p001, ..."""
    return {"resourceType": "Patient", "id": f"p{number:03}", "gender": "female",
            **({"name": [{"family": family}]} if family else {}), **more}


async def ask(
    db: Database, request: str, scope: Scope = SCOPE, cursor: str | None = None,
    settings: Settings = SETTINGS,
) -> SearchPage:
    """The page that an address like `Patient?name=x` asks for."""
    type_name, _, rest = request.partition("?")
    pairs = [(name, value) for name, _, value in
             (pair.partition("=") for pair in rest.split("&") if pair)]
    if cursor:
        pairs.append(("_cursor", cursor))
    query = parse(type_name, pairs, settings=settings, strict=True)
    return await search.search(db, scope, audit(), query)


def ids(page: SearchPage, mode: str = "match") -> list[str]:
    """The ids of a page in its order."""
    return [hit.record.id for hit in page.hits if hit.mode == mode]


async def walk(db: Database, request: str, **between: Any) -> list[list[str]]:
    """The ids of all pages; `between` are coroutine functions called after page n (`after1=`)."""
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = await ask(db, request, cursor=cursor)
        pages.append(ids(page))
        assert len(pages) < 50
        if f"after{len(pages)}" in between:
            await between[f"after{len(pages)}"]()
        if page.next_cursor is None:
            return pages
        cursor = page.next_cursor
