"""`dmed reindex` makes index rows anew, by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from dmed.apps import reindexing
from dmed.apps.importing import import_files
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings


def rows(url: str, table: str) -> int:
    async def count() -> int:
        connection = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
        finally:
            await connection.close()

    return asyncio.run(count())


def emptied(url: str, *tables: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            for table in tables:
                await connection.execute(f"TRUNCATE {table}")
        finally:
            await connection.close()

    asyncio.run(run())


def test_lost_rows_come_back(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows that were lost are there again after the command, which says what it did."""
    monkeypatch.setattr(reindexing, "GRACE_SECONDS", 0)
    file = tmp_path / "patients.ndjson"
    file.write_text("\n".join(
        f'{{"resourceType":"Patient","id":"p{n}","gender":"female"}}' for n in range(5)))
    settings = Settings(database_url=database_url, data=tmp_path)
    assert import_files(settings, [file], replace=False) == 0
    before = rows(database_url, "token"), rows(database_url, "words")
    assert before[1] == 5

    emptied(database_url, "token", "words")
    reindexing.reindex(settings, ["Patient"], words=False)
    assert (rows(database_url, "token"), rows(database_url, "words")) == before
    assert "Patient everything: ready, 5 records" in capsys.readouterr().out

    emptied(database_url, "words")
    reindexing.reindex(settings, ["Patient"], words=True)
    assert rows(database_url, "words") == 5
    with pytest.raises(InvalidError):
        reindexing.reindex(settings, ["Nonsense"], words=False)


def test_lost_labels_come_back(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records without the label that their code demands have it after the command, which tells how
    many; called again it changes nothing.
    """
    file = tmp_path / "conditions.ndjson"
    file.write_text("\n".join(
        f'{{"resourceType":"Condition","id":"c{n}","subject":{{"reference":"Patient/p{n}"}},'
        '"clinicalStatus":{"coding":[{"system":'
        '"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}]},'
        '"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10",'
        f'"code":"{code}"}}]}}}}' for n, code in enumerate(("B20", "J45", "F20.0"))))
    settings = Settings(database_url=database_url, data=tmp_path)
    assert import_files(settings, [file], replace=False) == 0

    async def unlabel() -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE resource SET labels = 0")
        await connection.close()

    asyncio.run(unlabel())
    reindexing.relabel(settings)
    assert "labels: 3 versions seen, 2 labelled" in capsys.readouterr().out
    reindexing.relabel(settings)
    assert "labels: 3 versions seen, 0 labelled" in capsys.readouterr().out
