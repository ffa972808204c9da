"""The journals 131-141: each equals a table counted by hand; what a spreadsheet gets is safe."""

from __future__ import annotations

import csv
import io
import json
import secrets
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, NotFoundError
from dmed.modules.pharmacy.rules.journals import JOURNALS, Accepted, Facts, Ware, csv_cell
from dmed.modules.pharmacy.rules.stock import Balance, Kind, Movement
from dmed.modules.pharmacy.service import journals, stock
from dmed.trust.model import Role, Subject

DAY = datetime(2026, 11, 20, 6, tzinfo=UTC)
WARES = {"G": Ware(name="Amoxidemo", unit="kaps.", content=Decimal(16),
                   preparation="Amoksitsillin"),
         "H": Ware(name="Paradem", unit="tab.", content=Decimal(10), preparation="Paratsetamol")}
PRICE = {"G": Decimal(16_000), "H": Decimal(5_000)}
LOCALE = Path(__file__).parents[3] / "src/dmed/modules/pharmacy/data/locale/en.json"


def moved(kind: Kind, gtin: str, quantity: int, days: int = 0, **more: Any) -> Movement:
    """One line of the ledger, of the state's budget."""
    return Movement(pharmacy="p", kind=kind, gtin=gtin, quantity=Decimal(quantity), by="j",
                    lot="A1", funding="budget", price=PRICE[gtin], at=DAY + timedelta(days=days),
                    **more)  # fmt: skip  # One line.


FACTS = Facts(
    days=15, ware=WARES.__getitem__,
    opening=(Balance(gtin="G", quantity=Decimal(8), lot="A1", funding="budget",
                     price=PRICE["G"], amount=Decimal(128_000)),),
    movements=(
        moved(Kind.RECEIPT, "G", 16, note="N-1", document="7"),
        moved(Kind.RECEIPT, "G", 16, note="N-1", document="7"),
        moved(Kind.RECEIPT, "H", 20, note="N-1", document="7"),
        moved(Kind.DISPENSE, "G", -10, note="1726", document="d1"),
        moved(Kind.DISPENSE, "G", -4, note="1727", document="d2"),
        moved(Kind.UNDO, "G", 4, note="1727", document="d2"),
        moved(Kind.MOVE, "H", -5), moved(Kind.MOVE, "H", 5, shelf="B"),
        moved(Kind.ISSUE, "H", -6, 1, document="Jarrohlik"),
        moved(Kind.WRITE_OFF, "G", -2, 1, note="damaged"),
        moved(Kind.COUNT, "H", -1, 1, document="3"),
    ),
    closing=(
        Balance(gtin="G", quantity=Decimal(28), lot="A1", shelf="A", funding="budget",
                price=PRICE["G"], expiry=date(2028, 8, 31)),
        Balance(gtin="H", quantity=Decimal(13), lot="A1", shelf="B", funding="budget",
                price=PRICE["H"]),
    ),
    accepted=(Accepted(receipt=7, day=date(2026, 11, 19), invoice="N-1", supplier="Demo", gtin="G",
                       lot="A1", invoiced=3, accepted=2, made_by="j", ended_by="k"),),
)  # fmt: skip  # A day at a pharmacy.
D = Decimal
FIRST, SECOND = date(2026, 11, 20), date(2026, 11, 21)
EXPECTED: dict[int, list[tuple[Any, ...]]] = {
    131: [("Amoksitsillin", "kaps.", D(10), D(20), D(28), D(0)),
          ("Paratsetamol", "tab.", D(6), D(12), D(13), D(0))],
    132: [(FIRST, "N-1", "Amoxidemo", "A1", None, "kaps.", D(32), D(2), D(16_000), D(32_000),
           "budget"),
          (FIRST, "N-1", "Paradem", "A1", None, "tab.", D(20), D(2), D(5_000), D(10_000),
           "budget")],
    133: [(7, date(2026, 11, 19), "N-1", "Demo", "Amoxidemo", "A1", 3, 2, -1, "j", "k")],
    134: [(SECOND, "Jarrohlik", "Paradem", "A1", "tab.", D(6), D(5_000), D(3_000), "j")],
    135: [(FIRST, "Amoxidemo", "kaps.", D(10))],
    136: [("Jarrohlik", "Paradem", "tab.", D(6), D(3_000))],
    137: [("Amoxidemo", "kaps.", None, "opening", "", None, None, D(8)),
          ("Amoxidemo", "kaps.", FIRST, "receipt", "N-1", D(16), None, D(24)),
          ("Amoxidemo", "kaps.", FIRST, "receipt", "N-1", D(16), None, D(40)),
          ("Amoxidemo", "kaps.", FIRST, "dispense", "1726", None, D(10), D(30)),
          ("Amoxidemo", "kaps.", FIRST, "dispense", "1727", None, D(4), D(26)),
          ("Amoxidemo", "kaps.", FIRST, "undo", "1727", D(4), None, D(30)),
          ("Amoxidemo", "kaps.", SECOND, "write-off", "damaged", None, D(2), D(28)),
          ("Paradem", "tab.", None, "opening", "", None, None, D(0)),
          ("Paradem", "tab.", FIRST, "receipt", "N-1", D(20), None, D(20)),
          ("Paradem", "tab.", SECOND, "issue", "Jarrohlik", None, D(6), D(14)),
          ("Paradem", "tab.", SECOND, "count", "3", None, D(1), D(13))],
    138: [("budget", "Amoxidemo", "kaps.", D(8), D(32), D(12), D(28)),
          ("budget", "Paradem", "tab.", D(0), D(20), D(7), D(13))],
    139: [(DAY, "dispense", "1726", "Amoxidemo", "A1", "kaps.", D(10), D(16_000), D(10_000)),
          (DAY, "dispense", "1727", "Amoxidemo", "A1", "kaps.", D(4), D(16_000), D(4_000)),
          (DAY, "undo", "1727", "Amoxidemo", "A1", "kaps.", D(-4), D(16_000), D(-4_000)),
          (DAY + timedelta(days=1), "issue", "Jarrohlik", "Paradem", "A1", "tab.", D(6), D(5_000),
           D(3_000)),
          (DAY + timedelta(days=1), "write-off", "damaged", "Amoxidemo", "A1", "kaps.", D(2),
           D(16_000), D(2_000))],
    140: [("budget", "Amoxidemo", D(8_000), D(32_000), D(12_000), D(28_000)),
          ("budget", "Paradem", D(0), D(10_000), D(3_500), D(6_500))],
    141: [("Amoxidemo", "A1", date(2028, 8, 31), "A", "budget", "kaps.", D(28), D(16_000),
           D(28_000)),
          ("Paradem", "A1", None, "B", "budget", "tab.", D(13), D(5_000), D(6_500))],
}  # fmt: skip  # Counted by hand.


@pytest.mark.parametrize("number", range(131, 142))
def test_a_journal_is_what_a_hand_counts(number: int) -> None:
    """Two days of a pharmacy, written into each of the eleven journals by hand, and by the rules;
    every column has its text.
    """
    found = JOURNALS[number]
    assert found.rows(FACTS) == EXPECTED[number]
    texts = json.loads(LOCALE.read_text())
    for row in EXPECTED[number]:
        assert len(row) == len(found.columns)
    for key in (str(number), *(f"column.{name}" for name in found.columns)):
        assert f"pharmacy.journal.{key}" in texts


def test_the_codes_are_the_national_list(shared_data: Path) -> None:
    """Each journal's code stands in composition-type-cs, the eleven in one row."""
    file = shared_data / "uz-core/core/CodeSystem/CodeSystem-composition-type-cs.json"
    known = {one["code"] for one in json.loads(file.read_text())["concept"]}
    codes = [one.code for one in JOURNALS.values()]
    assert set(codes) <= known
    assert [int(code[-4:]) for code in codes] == list(range(194, 205))


@given(st.text(max_size=20))
def test_no_cell_is_a_formula(text: str) -> None:
    """A spreadsheet that opens the file computes nothing of what somebody typed."""
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerow([csv_cell(text)])
    assert csv_cell(text)[:1] not in {"=", "+", "-", "@", "\t", "\r"}
    assert csv_cell(text).endswith(text)


async def test_a_journal_of_the_database(ward: Any) -> None:
    """What stands in the ledger comes out for its pharmacy and its days alone; a wrong number, a
    period backwards and a doctor are refused.
    """
    gateway, today = ward.gateway, clock.today()
    who = Subject(user="keeper", role=Role.PHARMACIST, organisation=f"j-{secrets.token_hex(4)}")
    from dmed.modules.pharmacy.tables import stock as ledger

    gtin = ward.pack()[2:16]
    async with gateway.unit(who) as unit:
        await ledger.add(unit, [Movement(
            pharmacy=who.organisation, kind=Kind.RECEIPT, gtin=gtin, quantity=D(16), by="keeper",
            lot="=1+1", funding="own", price=D("100.50"), note="N-9")])  # fmt: skip  # One line.
    assert [one.balance.quantity for one in await stock.batches(gateway, who)] == [D(16)]
    for number in JOURNALS:
        found = await journals.journal(gateway, who, number, today, today, "uz")
        gone = await journals.journal(
            gateway, who, number, today - timedelta(days=9), today - timedelta(days=8), "uz")
        assert (len(found.rows) > 0) == (number in {131, 132, 137, 138, 140, 141}), number
        assert gone.rows == ()
    with pytest.raises(NotFoundError):
        await journals.journal(gateway, who, 142, today, today, "uz")
    for since, until in ((today, today - timedelta(days=1)), (today - timedelta(days=400), today)):
        with pytest.raises(InvalidError):
            await journals.journal(gateway, who, 141, since, until, "uz")
    with pytest.raises(ForbiddenError):
        await journals.journal(gateway, ward.doctor, 141, today, today, "uz")
