"""The tree of institutions: what may stand where, circles, duplicates, files with bad rows."""

from __future__ import annotations

import asyncio
import json

import pytest

from dmed.kit.errors import ConflictError, InvalidError
from dmed.modules.facilities.model import Shape
from dmed.modules.facilities.rules import licence_number, reading, records
from dmed.modules.facilities.service import importing, keeping, regions, tree

HEAD = ("shape,code,parent,name,name_ru,tax_id,region,district,latitude,longitude,hours,licences,"
        "subordination,nomenclature,place,payment\n")
STATE = "I_3,II_100"


def _draft(**given):
    values = {"shape": "institution", "name": "Sinov klinikasi", "tax_id": "987000001", **given}
    draft, faults = reading.read(values, regions())
    assert faults == []
    return draft


@pytest.mark.parametrize(("given", "field", "key"), [
    ({"tax_id": "12345678"}, "tax_id", "tax"), ({"name": "123"}, "name", "name"),
    ({"latitude": "69.24", "longitude": "41.31"}, "latitude", "position-swapped"),
    ({"latitude": "10", "longitude": "10"}, "latitude", "position"),
    ({"latitude": "nan", "longitude": "69"}, "latitude", "position"),
    ({"hours": "every day"}, "hours", "hours"), ({"hours": "Fr-Mo 08:00-12:00"}, "hours", "hours"),
    ({"region": "9999"}, "region", "unknown-code"),
    ({"region": "1726", "district": "1703408"}, "district", "district-elsewhere"),
    ({"subordination": "I_9"}, "subordination", "unknown-code"),
    ({"licences": "Т-123; x; 2024-01-01; 2025-01-01"}, "licences", "licence-script"),
    ({"licences": "T-123; x; 2025-01-01; 2024-01-01"}, "licences", "licence-term"),
    ({"licences": "T-123; x; 2025-02-30; 2026-01-01"}, "licences", "licence-line"),
    ({"shape": "ward", "code": "W1", "tax_id": ""}, "parent", "parent-missing"),
    ({"shape": "castle"}, "shape", "shape"), ({"phone": "12345"}, "phone", "phone"),
    ({"name": "a\x00b"}, "name", "control"), ({"name": "x" * 501}, "name", "long"),
    ({"shif_id": "abc123456"}, "shif_id", "shif"), ({"active": "maybe"}, "active", "flag"),
])  # fmt: skip  # A case a line.
def test_each_fault_names_its_field(given, field, key):
    """What a form or file gets wrong is told by field, each with its own sentence."""
    values = {"shape": "institution", "name": "Sinov", "tax_id": "987000001", **given}
    draft, faults = reading.read(values, regions())

    assert draft is None
    assert (field, f"facilities.fault.{key}") in [(one.field, one.key) for one in faults]
    assert all(keeping.sentence(one) != one.key for one in faults)


def test_a_licence_number_in_another_script_is_told_as_it_was_meant():
    """Cyrillic letters that look alike are refused with the Latin number; blanks are dropped."""
    number, fault = licence_number("Т-12 34")

    assert number == ""
    assert fault is not None
    assert fault.values["meant"] == "T-1234"
    assert licence_number(" t-12 34 ") == ("T-1234", None)
    assert licence_number("許可-12")[1].key == "facilities.fault.licence-letters"


async def test_an_institution_keeps_its_place_hours_and_licences(village):
    """Records after the national profiles come back as the form that made them; unchanged is
    the same version.
    """
    draft = _draft(
        name_ru="Клиника", region="1726", district="1726266", latitude="41.36", longitude="69.28",
        hours="Mo-Fr 08:00-18:00; Sa 09:00-14:00", subordination="I_5", nomenclature="II_300",
        services="III_500 III_300", licences="T-55; Tibbiy faoliyat; 2024-01-01; 2029-01-01",
        phone="71 200 10 20", shif_id="ABC123456")
    made = await keeping.save(village.gateway, village.admin, draft, "")
    again = await keeping.save(village.gateway, village.admin, draft, "")
    found = await tree.view(village.gateway, village.admin, made)
    back, faults = reading.read({**found.form}, regions())

    assert again == made
    assert faults == []
    assert back == draft
    assert found.facts.licence_number == "T-55"
    assert found.record["meta"]["versionId"]
    history = await tree.history(village.gateway, village.admin, "Organization", made)
    assert len(history) == 1


async def test_one_tax_number_is_one_institution_also_at_once(village):
    """Eight at the same moment with one tax number leave one; another place may not take it."""
    draft = _draft(tax_id="987000002", name="Bir vaqtda")
    made = await asyncio.gather(*(keeping.save(village.gateway, village.admin, draft, "")
                                  for _ in range(8)))
    other = await keeping.save(village.gateway, village.admin, _draft(tax_id="987000003"), "")
    with pytest.raises(keeping.FaultsError) as refused:
        await keeping.save(village.gateway, village.admin, draft, "", other)

    assert len(set(made)) == 1
    assert refused.value.faults[0].key == "facilities.fault.taken"


async def test_a_circle_is_refused_also_when_two_close_it_at_once(village):
    """A below B and B below A never both hold, one after the other or at the same moment."""
    gateway, admin = village.gateway, village.admin
    one = await keeping.save(gateway, admin, _draft(tax_id="987000011"), "")
    two = await keeping.save(gateway, admin, _draft(tax_id="987000012"), "")
    done = await asyncio.gather(
        keeping.save(gateway, admin, _draft(tax_id="987000011"), two, one),
        keeping.save(gateway, admin, _draft(tax_id="987000012"), one, two),
        return_exceptions=True)

    assert sorted(isinstance(each, ConflictError) for each in done) == [False, True]


async def test_what_stands_below_what(village):
    """A bed stands in a ward, not in an institution; somebody else's change is not overwritten."""
    gateway, admin = village.gateway, village.admin
    owner = await keeping.save(gateway, admin, _draft(tax_id="987000021"), "")
    ward = await keeping.save(gateway, admin, _draft(
        shape="ward", code="W-21", tax_id="", parent="x"), f"Organization/{owner}")
    bed = _draft(shape="bed", code="B-21", tax_id="", parent="x")
    with pytest.raises(keeping.FaultsError) as refused:
        await keeping.save(gateway, admin, bed, f"Organization/{owner}")
    made = await keeping.save(gateway, admin, bed, f"Location/{ward}")
    with pytest.raises(keeping.FaultsError) as stale:
        await keeping.save(gateway, admin, bed, f"Location/{ward}", made, "1")
    device = _draft(shape="equipment", code="E-21", tax_id="", parent="x", maker="Mindray")
    await keeping.save(gateway, admin, device, f"Location/{ward}")
    found = await tree.view(gateway, admin, owner)

    assert refused.value.faults[0].key == "facilities.fault.parent-shape"
    assert stale.value.faults[0].key == "facilities.fault.changed"
    assert [(leaf.shape, leaf.depth) for leaf in found.leaves] == [(Shape.WARD, 0), (Shape.BED, 1)]
    assert [one.place for one in found.equipment] == [ward]


FILE = HEAD + (
    "bed,IM-B1,IM-W1,To‘shak 1,,,,,,,,,,,,\n"
    "ward,IM-W1,IM-D1,1-palata,,,,,,,,,,,,\n"
    "department,IM-D1,987100001,Jarrohlik,Хирургия,,,,,,Mo-Su 00:00-23:59,,,,organ0001.00010,\n"
    f"institution,,,Yangi shifoxona,Больница,987100001,1703,1703408,40.78,72.34,24/7,,{STATE},,\n"
    "institution,,,Xato,,12,,,,,,,,,,\n"
    "ward,IM-W2,IM-NOWHERE,Yo‘q,,,,,,,,,,,,\n"
    "department,IM-C1,IM-C2,Aylana,,,,,,,,,,,,\n"
    "department,IM-C2,IM-C1,Aylana,,,,,,,,,,,,\n"
    "service,IM-S1,IM-D1,Operatsiya,,,,,,,,,,,organ0001.00010,paytype-0001-0004\n"
    "equipment,IM-E1,IM-D1,Rentgen,,,,,,,,,,,,\n")


async def test_a_file_in_any_order_with_bad_rows(village, tmp_path, monkeypatch):
    """Children before parents, a wrong row, an orphan and a circle: what is sound is there, the
    ledger names the rest by line, and the same file again changes nothing.
    """
    monkeypatch.setattr(importing, "PART_LINES", 3)
    path = tmp_path / "tree.csv"
    path.write_text(FILE)
    report = await importing.import_file(village.gateway, village.admin, path)
    again = await importing.import_file(village.gateway, village.admin, path)
    (tmp_path / "again.csv").write_text(FILE + "\n")
    renamed = await importing.import_file(village.gateway, village.admin, tmp_path / "again.csv")

    assert (report.made, report.changed, report.is_done) == (6, 0, True)
    assert {(line, field) for line, _, field, _ in report.faults} == {
        (6, "tax_id"), (7, "parent"), (8, "parent"), (9, "parent")}
    assert again == report
    assert (renamed.made, renamed.same) == (0, 6)
    owner = await village.gateway.find(
        village.admin, "Organization", f"identifier={records.TAX_SYSTEM}|987100001")
    found = await tree.view(village.gateway, village.admin, owner[0]["id"])
    assert [leaf.shape for leaf in found.leaves] == ["department", "ward", "bed", "service"]


async def test_an_interrupted_import_goes_on(village, tmp_path, monkeypatch):
    """After a stop in the middle the next run does the rest, and nothing twice."""
    monkeypatch.setattr(importing, "PART_LINES", 2)
    path = tmp_path / "part.ndjson"
    path.write_text("".join(json.dumps({
        "shape": "institution", "name": f"Bo‘lak {n}", "tax_id": f"9872000{n:02d}"}) + "\n"
        for n in range(9)) + "[]\n" + '{"shape": "institution", "nane": "x"}\n')

    def stop(line: int) -> None:
        if line >= 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await importing.import_file(village.gateway, village.admin, path, stop)
    begun = await importing.report(village.gateway, village.admin, importing.digest_of(path))
    report = await importing.import_file(village.gateway, village.admin, path)

    assert (begun.lines, begun.made, begun.is_done) == (4, 4, False)
    assert (report.lines, report.made, report.is_done) == (11, 9, True)
    assert [line for line, *_ in report.faults] == [10, 11]


@pytest.mark.parametrize(("content", "said"), [
    ("name,tax_id\nШифо,1\n".encode("cp1251"), "UTF-8"), (b"\x00\x01", "text file"),
    (b"title,tax_id\nx,1\n", "columns"), (b"", "columns"),
    ("name,tax_id\nx\x00,1\n".encode("utf-16"), "UTF-8"),
])  # fmt: skip  # A case a line.
async def test_a_file_that_is_none_is_refused_in_a_sentence(village, tmp_path, content, said):
    """Wrong encoding, no text, wrong columns: one clear sentence, nothing stored."""
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidError, match=said):
        await importing.import_file(village.gateway, village.admin, path)
