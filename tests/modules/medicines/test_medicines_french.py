"""A real register of another shape through the same connector: a part of the French one."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmed.modules.medicines.service import feeding, force
from dmed.modules.medicines.service.bdpm import Bdpm
from dmed.modules.medicines.service.sources import FeedError

DAY = datetime(2026, 5, 1, tzinfo=UTC)
PRODUCTS = 1_500


def _part(folder: Path, into: Path) -> None:
    """Every tenth product, with its rows of the other files as they are."""
    text = gzip.decompress((folder / "CIS_bdpm.txt.gz").read_bytes())
    chosen = text.split(b"\n")[::10][:PRODUCTS]
    keys = {line.split(b"\t")[0] for line in chosen}
    (into / "CIS_bdpm.txt").write_bytes(b"\n".join(chosen))
    for name in ("CIS_CIP_bdpm", "CIS_COMPO_bdpm", "CIS_MITM"):
        lines = gzip.decompress((folder / f"{name}.txt.gz").read_bytes()).split(b"\n")
        kept = [line for line in lines if line.split(b"\t")[0] in keys]
        (into / f"{name}.txt").write_bytes(b"\n".join(kept))


async def test_over_99_percent_of_french_products_are_read(
    shared_data: Path, tmp_path: Path
) -> None:
    """Two encodings, no header, decimal commas with thousands: products come whole, with packs,
    prices and quantities; the same folder again is nothing new.
    """
    _part(shared_data / "medicines" / "bdpm-fr", tmp_path)
    source = Bdpm(tmp_path, DAY)
    head = await source.head("", None)
    assert head is not None
    products: set[str] = set()
    entries = []
    for number in range(1, head.pages + 1):
        staged, _, _, _ = feeding.validated(await source.page(head, number), force.names())
        entries += [one.entry for one in staged]
        products |= {one.entry.product for one in staged}

    assert source.products == PRODUCTS
    assert len(products) >= PRODUCTS * 0.99
    assert sum(bool(one.gtin) for one in entries) > PRODUCTS
    assert any(one.price_ceiling and one.price_ceiling > 1_000 for one in entries)
    assert any("é" in one.trade for one in entries)
    assert sum(bool(one.preparation) for one in entries) > PRODUCTS // 4
    assert await source.head(head.mark, None) is None


async def test_a_ragged_line_is_put_aside_and_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    """A line with too few cells is told with its file and place; without a file nothing is read."""
    (tmp_path / "CIS_bdpm.txt").write_bytes(
        "60000001\tDOLIPRANE 500 mg, comprimé\tcomprimé\torale\tAutorisation active\t\t\t"
        "12/03/1998\t\t\t SANOFI\tNon".encode("cp1252") + b"\r\nragged\tline\r\n")
    with pytest.raises(FeedError, match="unreachable"):
        await Bdpm(tmp_path, DAY).head("", None)
    for name in ("CIS_CIP_bdpm", "CIS_MITM"):
        (tmp_path / f"{name}.txt").write_bytes(b"")
    (tmp_path / "CIS_COMPO_bdpm.txt").write_text(
        "60000001\tcomprimé\t02202\tPARACÉTAMOL\t500 mg\tun comprimé\tSA\t1\n", encoding="utf-8")
    source = Bdpm(tmp_path, DAY)
    head = await source.head("", None)
    assert head is not None
    page = await source.page(head, 1)
    staged, rejected, _, _ = feeding.validated(page, force.names())

    assert [one.entry.preparation for one in staged] == ["paracetamol-tablet-500mg"]
    assert staged[0].entry.registered_from == "1998-03-12"
    assert [one.reason for one in rejected] == ["ragged"]
