"""`dmed guide install` again: what a new version drops goes, all at once, and nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from dmed.apps.guides import install_guide
from dmed.kit.settings import Settings


def value_set(name: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "id": name, "url": f"https://x.uz/{name}",
            "status": "active", **more}  # fmt: skip  # One look.


def guide(folder: Path, name: str, version: str, *resources: dict[str, Any]) -> Path:
    """A guide as an unpacked package."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"name": name, "version": version, "dependencies": {}}
    (folder / "package.json").write_text(json.dumps(manifest))
    for each in resources:
        (folder / f"{each['resourceType']}-{each['id']}.json").write_text(json.dumps(each))
    return folder


def asked(url: str, sql: str) -> list[Any]:
    """The first column of a query."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return [row[0] for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def current(url: str) -> list[str]:
    """The ids of what is stored."""
    return [str(each) for each in asked(url, "SELECT id FROM resource ORDER BY id")]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An empty installation."""
    return Settings(data=tmp_path / "data", database_url=database_url)


def test_what_the_new_version_drops_goes(
    tmp_path: Path, database_url: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dropped definition is deleted with its version kept; what did not change stays as it is."""
    install_guide(settings, guide(tmp_path / "1", "uz.a", "1", value_set("a"), value_set("b")))
    before = asked(database_url, "SELECT vid FROM resource WHERE id = 'a'")
    new = guide(tmp_path / "2", "uz.a", "2", value_set("a"), value_set("c", version="2"))

    assert install_guide(settings, new) == 2
    assert current(database_url) == ["a", "c"]
    assert asked(database_url, "SELECT vid FROM resource WHERE id = 'a'") == before
    kept = asked(database_url, "SELECT body IS NULL FROM resource_version WHERE id = 'b'"
                 " ORDER BY vid")  # fmt: skip  # One query.
    assert kept == [False, True]
    assert "1 stored, 1 unchanged, 1 removed, 0 refused" in capsys.readouterr().out


def test_what_another_guide_brings_too_stays(
    tmp_path: Path, database_url: str, settings: Settings
) -> None:
    """A definition goes with the last guide that brings it."""
    install_guide(settings, guide(tmp_path / "1", "uz.a", "1", value_set("a"), value_set("b")),
                  guide(tmp_path / "o", "uz.o", "1", value_set("b")))  # fmt: skip  # Two guides.
    install_guide(settings, guide(tmp_path / "2", "uz.a", "2", value_set("a")))

    assert current(database_url) == ["a", "b"]
    install_guide(settings, guide(tmp_path / "p", "uz.o", "2", value_set("o")))
    assert current(database_url) == ["a", "o"]


def test_what_somebody_changed_stays(
    tmp_path: Path, database_url: str, settings: Settings
) -> None:
    """A definition that was written by others after the installation is theirs."""
    install_guide(settings, guide(tmp_path / "1", "uz.a", "1", value_set("a"), value_set("b")))
    install_guide(settings, guide(tmp_path / "o", "uz.o", "1", value_set("b", version="own")))
    asked(database_url, "DELETE FROM guide WHERE name = 'uz.o' RETURNING 1")
    install_guide(settings, guide(tmp_path / "2", "uz.a", "2", value_set("a")))

    assert current(database_url) == ["a", "b"]


def test_a_failed_upgrade_changes_nothing(
    tmp_path: Path, database_url: str, settings: Settings
) -> None:
    """Definitions and what is noted of them come in one transaction: a fault at its very end
    leaves the old version whole.
    """
    install_guide(settings, guide(tmp_path / "1", "uz.a", "1", value_set("a"), value_set("b")))
    asked(database_url, "ALTER TABLE guide ADD CONSTRAINT only_one CHECK (version = '1')")
    new = guide(tmp_path / "2", "uz.a", "2", value_set("a", version="2"), value_set("c"))
    with pytest.raises(asyncpg.CheckViolationError):
        install_guide(settings, new)

    assert current(database_url) == ["a", "b"]
    assert asked(database_url, "SELECT version FROM guide") == ["1"]
    assert asked(database_url, "SELECT count(*) FROM resource_version") == [0]


def test_a_refused_definition_is_told_and_left_out(
    tmp_path: Path, database_url: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """What R5 refuses does not come, is named with its place, and takes nothing away."""
    broken = value_set("b", status="acitve")
    install_guide(settings, guide(tmp_path / "1", "uz.a", "1", value_set("a"), value_set("b")))
    install_guide(settings, guide(tmp_path / "2", "uz.a", "2", value_set("a"), broken))

    assert current(database_url) == ["a", "b"]
    assert "ValueSet-b.json: ValueSet.status" in capsys.readouterr().err
