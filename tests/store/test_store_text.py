"""Words in PostgreSQL: whatever is sought is a query that it takes, and a switch keeps none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmed.fhir import codec, params
from dmed.fhir.query import parse
from dmed.fhir.words import texts_of
from dmed.kit.errors import InvalidError
from dmed.kit.ids import bucket_of, new_vid
from dmed.kit.settings import Settings
from dmed.store import schema, search, text, write
from dmed.store.model import AuditRow, Scope, Write, updated_of
from dmed.store.pool import Database

SCOPE = Scope("doctor")
SETTINGS = Settings(pool_size=2)
AUDIT = AuditRow(request="r", action="E", subject="doctor", role="doctor")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def db(module_database_url: str) -> AsyncIterator[Database]:
    await schema.migrate(module_database_url)
    database = await Database.open(module_database_url, SETTINGS)
    yield database
    await database.close()


async def put(db: Database, id_: str, said: str) -> None:
    resource = codec.decode(json.dumps(
        {"resourceType": "Basic", "id": id_, "code": {"text": said}}).encode())
    vid = new_vid()
    await write.write(db, SCOPE, AUDIT, Write(
        kind="update", type="Basic", id=id_, vid=vid, bucket=bucket_of(id_), client_id=True,
        updated=updated_of(vid), body=codec.encode(resource), index=params.extract(resource),
        texts=texts_of(resource)))


async def ids(db: Database, said: str) -> list[str]:
    query = parse("Basic", [("_content", said)], settings=SETTINGS, strict=True)
    page = await search.search(db, SCOPE, AUDIT, query)
    return [hit.record.id for hit in page.hits]


PIECES = st.sampled_from(["(", ")", "AND", "OR", "NOT", "-a", "a*", '"a b"', "bek", "'", "\\", ":*",
                          "&", "|", "!", "<->", "Ўқ", "_c5", "x" * 90, ",", "ʼ", "٣"])


@given(pieces=st.lists(PIECES | st.text(max_size=6), max_size=12))
@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_postgresql_takes_what_is_sought(db: Database, pieces: list[str]) -> None:
    """Any text is a 400 of ours or a search that runs; none is a fault of the database."""
    try:
        found = await ids(db, " ".join(pieces))
    except InvalidError:
        return
    assert found in ([], ["full"]) or set(found) <= {"full", "long"}


async def test_the_longest_record_is_stored_and_found(db: Database) -> None:
    """A record of many long words is stored; its first words are found, whole or by beginning."""
    await put(db, "long", " ".join(f"{'𐐨' * 35}{number:05}" for number in range(9_000)))
    await put(db, "full", "bek ali " * 3_000)

    assert await ids(db, "𐐨" * 35) == []
    assert await ids(db, "𐐨" * 35 + "00007") == ["long"]
    assert await ids(db, "𐐨𐐨*") == ["long"]
    assert await ids(db, '"ali bek"') == ["full"]


async def test_nothing_is_kept_where_it_is_switched_off(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DMED_CONTENT_SEARCH=false: no words of whole records, and `_content` is refused."""
    monkeypatch.setattr(text, "keeps_content", lambda: False)
    await put(db, "off", "sirli")

    assert await ids(db, "sirli") == []
    off = Settings(content_search=False)
    for pairs in ([("_content", "x")], [("_filter", "not (_content co x)")]):
        with pytest.raises(InvalidError, match="switched off"):
            parse("Basic", pairs, settings=off)


async def test_sections_of_a_document_are_found_by_their_words(db: Database) -> None:
    """`section-text` finds what sections of any level tell, not the narrative of the whole, and
    `_content` finds both; other types have no such parameter.
    """
    said = [("top", "Tashxis pnevmoniya", "Davolash amoksitsillin"), ("other", "amoksitsillin", "")]
    for id_, whole, inner in said:
        div = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
        section: dict[str, Any] = {"title": "x", "text": {"status": "generated",
                                                         "div": div.format("birinchi bolim")}}
        if inner:
            section["section"] = [{"title": "y", "text": {
                "status": "generated", "div": div.format(inner)}}]
        resource = codec.decode(json.dumps({
            "resourceType": "Composition", "id": id_, "status": "final", "date": "2026-01-01",
            "type": {"text": "t"}, "title": "t", "author": [{"display": "a"}],
            "text": {"status": "generated", "div": div.format(whole)},
            "section": [section]}).encode())
        vid = new_vid()
        await write.write(db, SCOPE, AUDIT, Write(
            kind="update", type="Composition", id=id_, vid=vid, bucket=bucket_of(id_),
            client_id=True, updated=updated_of(vid), body=codec.encode(resource),
            index=params.extract(resource), texts=texts_of(resource)))

    async def found(code: str, words: str) -> set[str]:
        query = parse("Composition", [(code, words)], settings=SETTINGS, strict=True)
        page = await search.search(db, SCOPE, AUDIT, query)
        return {hit.record.id for hit in page.hits}

    assert await found("section-text", "amoksitsillin") == {"top"}
    assert await found("section-text", "birinchi") == {"top", "other"}
    assert await found("_text", "amoksitsillin") == {"other"}
    assert await found("_content", "amoksitsillin") == {"top", "other"}
    with pytest.raises(InvalidError, match="section-text"):
        parse("Basic", [("section-text", "x")], settings=SETTINGS, strict=True)
