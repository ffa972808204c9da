"""The French public register (BDPM) as a source: a folder of its files, plain or .gz.

Seven tab-separated files without header, in two encodings; products (CIS), their packs (CIS and
CIP13), substances and strengths, ATC codes of the main ones. It comes as one full delivery.
Licence Ouverte 2.0, base-donnees-publique.medicaments.gouv.fr.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from dmed.modules.medicines.model import Head, Page, Rejected
from dmed.modules.medicines.rules.rows import RAW_CHARACTERS_MAX
from dmed.modules.medicines.service.sources import FeedError

PAGE_ROWS = 1_000
_COLUMNS = {"CIS_bdpm": 12, "CIS_CIP_bdpm": 13, "CIS_COMPO_bdpm": 8, "CIS_MITM": 4}
_FILE_BYTES_MAX = 200 * 1024 * 1024
_FORMS = {
    "comprimé": "tablet", "comprimé sécable": "tablet", "comprimé quadrisécable": "tablet",
    "comprimé pelliculé": "film-coated tablet", "comprimé pelliculé sécable": "film-coated tablet",
    "comprimé enrobé": "coated tablet", "gélule": "capsule", "capsule molle": "capsule",
    "comprimé orodispersible": "orodispersible tablet", "comprimé dispersible":
    "dispersible tablet", "comprimé à croquer": "chewable tablet", "comprimé effervescent(e)":
    "effervescent tablet", "comprimé à libération prolongée": "prolonged-release tablet",
    "comprimé pelliculé à libération prolongée": "prolonged-release tablet",
    "comprimé gastro-résistant(e)": "gastro-resistant tablet",
    "gélule gastro-résistant(e)": "gastro-resistant capsule",
    "gélule à libération prolongée": "prolonged-release capsule", "crème": "cream", "gel": "gel",
    "pommade": "ointment", "suppositoire": "rectal-suppository", "sirop": "syrup",
    "suspension buvable": "oral suspension", "solution buvable": "oral solution",
    "collyre en solution": "eye drops", "collyre": "eye drops", "solution injectable":
    "solution for injection", "poudre pour solution injectable": "powder for injection",
}  # fmt: skip  # A table.
_ONE_UNIT = re.compile(
    r"(?:un|une|1)\s+(?:comprim|gélule|capsule|suppositoire|sachet|ampoule|flacon|pastille|ovule|"
    r"dose|récipient|seringue|stylo|granule|dispositif|film)", re.IGNORECASE)
_PER = re.compile(r"(?:pour )?(\d+(?:[.,]\d+)?)\s*(ml|g)\b", re.IGNORECASE)
_SIZE = re.compile(
    r"(?:^(?P<times>\d+) [^\d]*? de |^[^\d]*?)(?P<size>\d+) "
    r"(?:comprimé|gélule|capsule|suppositoire|sachet|ampoule|flacon|tube)")


class Bdpm:
    """The French register in a folder."""

    name = "bdpm-fr"
    is_national = False

    def __init__(self, folder: Path, as_of: datetime) -> None:
        self._folder = folder
        self._as_of = as_of
        self._rows: list[dict[str, str]] = []
        self._broken: list[Rejected] = []
        self.products = 0
        """Rows of the file of products, good or bad."""

    async def head(self, mark: str, since: datetime | None) -> Head | None:  # noqa: ARG002  # A folder knows no deltas.
        """The whole folder, None where it is as it was; FeedError where a file is not there."""
        found = await asyncio.to_thread(self._digest)
        if found == mark:
            return None
        await asyncio.to_thread(self._read)
        pages = -(-len(self._rows) // PAGE_ROWS)
        return Head(mark=found, mode="full", as_of=self._as_of, pages=max(pages, 1),
                    rows=len(self._rows) + len(self._broken))

    async def page(self, head: Head, number: int) -> Page:  # noqa: ARG002  # There is one delivery.
        """So many rows; those that are no rows come with the first page."""
        first = (number - 1) * PAGE_ROWS
        chosen = self._rows[first : first + PAGE_ROWS]
        return Page(tuple(enumerate(chosen, first + 1)),
                    tuple(self._broken) if number == 1 else ())

    def _digest(self) -> str:
        known = hashlib.sha256()
        for name in _COLUMNS:
            known.update(self._bytes(name))
        return known.hexdigest()[:24]

    def _bytes(self, name: str) -> bytes:
        for path in (self._folder / f"{name}.txt", self._folder / f"{name}.txt.gz"):
            if path.is_file():
                with (gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as opened:
                    body = opened.read(_FILE_BYTES_MAX + 1)
                if len(body) > _FILE_BYTES_MAX:
                    raise FeedError("too-large", name)
                return body
        raise FeedError("unreachable", f"no file {name}")

    def _lines(self, name: str) -> Iterator[tuple[int, list[str]]]:
        body = self._bytes(name)
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            text = body.decode("cp1252", "replace")
        for place, line in enumerate(text.split("\n"), 1):
            cells = line.rstrip("\r").split("\t")
            if cells == [""]:
                continue
            if len(cells) != _COLUMNS[name]:
                raw = f"{name}: {line}".replace("\t", " | ")[:RAW_CHARACTERS_MAX]
                self._broken.append(Rejected(
                    -len(self._broken) - 1, cells[0][:40], "ragged",
                    f"{name} {place}: {len(cells)} cells, not {_COLUMNS[name]}", raw))
                continue
            yield place, [cell.strip() for cell in cells]

    def _read(self) -> None:
        self._rows, self._broken = [], []
        packs: dict[str, list[list[str]]] = defaultdict(list)
        for _, cells in self._lines("CIS_CIP_bdpm"):
            packs[cells[0]].append(cells)
        atc = {cells[0]: cells[1] for _, cells in self._lines("CIS_MITM")}
        parts: dict[str, list[list[str]]] = defaultdict(list)
        for _, cells in self._lines("CIS_COMPO_bdpm"):
            parts[cells[0]].append(cells)
        self.products = 0
        for _, cells in self._lines("CIS_bdpm"):
            self.products += 1
            common = _common(cells, parts.get(cells[0], []), atc)
            for pack in packs.get(cells[0], []):
                self._rows.append(common | _pack(pack))
            if cells[0] not in packs:
                self._rows.append(common | {"key": cells[0]})


def _common(cells: list[str], parts: list[list[str]], atc: Mapping[str, str]) -> dict[str, str]:
    inn, strength = _composition(parts)
    return {
        "product": cells[0], "trade": cells[1].replace("Ð", "D"), "maker": cells[10],
        "inn": inn, "strength": strength, "atc": atc.get(cells[0], ""),
        "form": _FORMS.get(cells[2], cells[2]), "routes": cells[3], "from": cells[7],
        "registration": cells[9],
        "status": "active" if cells[4] == "Autorisation active" else "inactive",
    }  # fmt: skip  # One row.


def _pack(cells: list[str]) -> dict[str, str]:
    size = _SIZE.match(cells[2])
    units = int(size["size"]) * int(size["times"] or 1) if size else 0
    # Thousands stand before a comma here, as the cents do: 1,170,96.
    price = cells[9].replace(",", "", max(cells[9].count(",") - 1, 0))
    return {
        "key": f"{cells[0]}-{cells[6] or cells[1]}", "gtin": cells[6], "pack_text": cells[2],
        "pack": str(units) if units else "", "price": price,
        "currency": "EUR" if price else "",
    }  # fmt: skip  # One row.


def _composition(parts: list[list[str]]) -> tuple[str, str]:
    """INN cell and strength cell: of each link number the therapeutic fraction before the
    substance; a strength only where all of them are in one reference unit.
    """
    chosen: dict[str, list[str]] = {}
    for part in parts:
        known = chosen.get(part[7])
        if known is None or (part[6] == "FT" and known[6] != "FT"):
            chosen[part[7]] = part
    names = [part[3].replace(";", " ").replace("+", " ").replace("|", " ").replace(",", " ")
             for part in chosen.values()]
    inside = {_reference(part[5]) for part in chosen.values()}
    amounts = [part[4].strip() for part in chosen.values()]
    if len(inside) != 1 or not all(amounts):
        return ";".join(names), "; ".join(
            f"{part[4]} / {part[5]}" for part in chosen.values() if part[4])
    (reference,) = inside
    if reference is None:
        return ";".join(names), "; ".join(amounts)
    return ";".join(names), " + ".join(amounts) + reference


def _reference(text: str) -> str | None:
    """What a strength is in, as our strength cells write it; None for prose."""
    if _ONE_UNIT.match(text):
        return ""
    match = _PER.match(text)
    return f"/{match[1]} {match[2].lower()}" if match else None
