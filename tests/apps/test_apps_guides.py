"""`dmed guide install`: what a package brings, what it needs, and what stays out."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from dmed.apps.guides import DEFINITIONS, install_guide, read_package, with_dependencies
from dmed.fhir.facts import facts
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings


def value_set(name: str) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "id": name, "url": f"https://x.uz/{name}",
            "status": "active"}  # fmt: skip  # One look.


def package(path: Path, name: str, needs: dict[str, str], *resources: dict[str, Any]) -> Path:
    """A FHIR package as the registries give it, with an example and an index."""
    files = {
        "package.json": {"name": name, "version": "1.0.0", "dependencies": needs},
        ".index.json": {"files": []},
        "example/Patient-p.json": {"resourceType": "Patient", "id": "p"},
        **{f"{each['resourceType']}-{each['id']}.json": each for each in resources},
    }
    with tarfile.open(path, "w:gz") as archive:
        for place, content in files.items():
            body = json.dumps(content).encode()
            info = tarfile.TarInfo(f"package/{place}")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def test_a_package_brings_its_definitions_alone(tmp_path: Path) -> None:
    """Examples, indexes and the manifest are no definitions."""
    read = read_package(package(tmp_path / "a.tgz", "uz.a", {}, value_set("one")))

    assert (read.name, read.version, dict(read.counts)) == ("uz.a", "1.0.0", {"ValueSet": 1})
    assert [Path(each.item.where).name for each in read.items] == ["ValueSet-one.json"]


def test_a_folder_is_a_package_too(tmp_path: Path) -> None:
    """A folder of JSON is read with its folders, but without its examples."""
    (tmp_path / "guide" / "ValueSet").mkdir(parents=True)
    (tmp_path / "guide" / "examples").mkdir()
    (tmp_path / "guide" / "ValueSet" / "one.json").write_text(json.dumps(value_set("one")))
    (tmp_path / "guide" / "examples" / "two.json").write_text(json.dumps(value_set("two")))
    (tmp_path / "empty").mkdir()

    assert dict(read_package(tmp_path / "guide").counts) == {"ValueSet": 1}
    with pytest.raises(InvalidError, match="no definitions"):
        read_package(tmp_path / "empty")


def test_dependencies_come_first_and_missing_ones_are_named(tmp_path: Path) -> None:
    """What lies beside the package is installed before it; the rest is told. Circles end."""
    package(tmp_path / "uz.b-1.0.0.tgz", "uz.b", {"uz.a": "1.0.0"}, value_set("b"))
    top = package(
        tmp_path / "a.tgz",
        "uz.a",
        {"uz.b": "1.0.0", "hl7.fhir.r5.core": "5.0.0", "uz.c": "2"},
        value_set("a"),
    )
    ordered, missing = with_dependencies(top)

    assert [each.name for each in ordered] == ["uz.b", "uz.a"]
    assert missing == ["uz.c 2"]


def test_all_definition_types_are_of_r5() -> None:
    """Every type that a guide installs is a resource of R5."""
    assert set(facts().resources) >= DEFINITIONS


def test_an_installation_is_listed_and_can_be_repeated(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was stored is listed by type; installing again replaces and adds nothing."""
    import asyncio

    settings = Settings(data=tmp_path / "data", database_url=database_url)
    top = package(tmp_path / "a.tgz", "uz.a", {}, value_set("one"), value_set("two"))
    assert install_guide(settings, top) == 2
    told = capsys.readouterr().out
    assert "uz.a 1.0.0" in told
    assert "2 ValueSet" in told
    install_guide(settings, top)

    async def count() -> int:
        connection = await asyncpg.connect(database_url)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM resource"))
        finally:
            await connection.close()

    assert asyncio.run(count()) == 2
