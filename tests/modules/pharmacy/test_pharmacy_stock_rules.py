"""The rules of the stock without a database: invoices, boxes, differences, expiry, orders."""

from __future__ import annotations

import contextlib
import json
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit.errors import InvalidError
from dmed.modules.pharmacy.rules import gs1, invoices, stock
from dmed.modules.pharmacy.rules.stock import Balance, Checked, Counted, Difference, Invoiced, Need
from dmed.modules.pharmacy.service.boxes import demo_sscc, invented_box

TODAY = date(2026, 11, 23)
GTIN = "09521005000013"
HEAD = {"supplier": "301234567", "number": "A-1", "day": "2026-11-20"}
AMOUNT = st.decimals(0, 500, places=1)
LOT = st.sampled_from(["", "A1", "B2"])


def test_a_file_in_two_shapes_says_the_same() -> None:
    """CSV with a comma, a semicolon or a tab, columns in any order and in three languages, and
    JSON give one and the same invoice: it is known again by its digest.
    """
    line = (GTIN, "5", "A1", "31.08.2028", "12000,50", "a 3")
    heads = {",": "gtin,packs,lot,expiry,price,shelf", ";": "GTIN;soni;seriya;muddat;narx;javon",
             "\t": "gtin\tколичество\tсерия\tсрок\tцена\tполка"}  # fmt: skip  # Mark -> head.
    told = {invoices.digest(invoices.read(
        "\ufeff" + words + "\r\n" + mark.join(
            f'"{cell}"' if mark in cell else cell for cell in line), HEAD, TODAY))
        for mark, words in heads.items()}  # fmt: skip  # One each.
    body = {"supplier": "301234567", "number": "A-1", "date": "2026-11-20", "lines": [
        {"gtin": GTIN[1:], "packs": 5, "lot": "A1", "expiry": "2028-08-31", "price": 12000.50,
         "shelf": "A3"}]}  # fmt: skip  # One line.
    found = invoices.read(json.dumps(body), {}, TODAY)

    assert found.lines[0].price == Decimal("12000.5")
    assert found.lines[0].shelf == "A3"
    assert found.lines[0].expiry == date(2028, 8, 31)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no lines"), ("a;b\n1;2", "must name the columns"), ("{", "no valid JSON"),
     (f"gtin;packs\n{GTIN[:-1]}4;1", "Line 2: .* check digit"),
     (f"gtin;packs\n{GTIN};0", "no number of packs"), (f"gtin;packs\n{GTIN};1.5", "no number"),
     (f"gtin;packs;price\n{GTIN};1;-3", "no price"),
     (f"gtin;packs;price\n{GTIN};1;NaN", "no price"),
     (f"gtin;packs;expiry\n{GTIN};1;31.02.2028", "no day"),
     (f"gtin;packs\n{GTIN};30001", "at most"), ('{"lines": [1]}', "list of objects")],
)  # fmt: skip  # A table of cases.
def test_a_wrong_file_names_what_is_wrong(text: str, said: str) -> None:
    """Each fault is a sentence with its line; nothing is guessed."""
    with pytest.raises(InvalidError, match=said):
        invoices.read(text, HEAD, TODAY)


@pytest.mark.parametrize("name", ["supplier", "number", "day"])
def test_the_head_is_needed(name: str) -> None:
    """Supplier, number and a day that is not in the future."""
    for value in ("", "2027-01-01" if name == "day" else " "):
        with pytest.raises(InvalidError):
            invoices.read(f"gtin;packs\n{GTIN};1", {**HEAD, name: value}, TODAY)


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is an invoice or an InvalidError, never another failure."""
    for body in (text, f"gtin;packs\n{text}", "{" + text):
        with contextlib.suppress(InvalidError):
            invoices.read(body, HEAD, TODAY)


@given(st.text("0123456789", min_size=17, max_size=17), st.integers(0, 9))
def test_a_box_is_read_by_its_check_digit(digits: str, last: int) -> None:
    """A code with the right digit is read in each form a scanner sends; a wrong one is a fault."""
    right = gs1.gtin_check_digit(digits)
    for form in ("00{}", "]C100{}", "]d200{}", "(00) {}", "\x1d00{}"):
        found = stock.read_sscc(form.format(digits + str(last)))
        if str(last) == right:
            assert found == digits + right
        else:
            assert isinstance(found, gs1.Fault)
    assert stock.read_sscc(f"01{GTIN}21ABC") is None


def test_a_demo_box_holds_what_its_code_says() -> None:
    """Product and count stand in the code; a strange or an empty box is unknown."""
    found = invented_box(demo_sscc(17, 12, 5))
    assert found is not None
    assert len(set(found)) == 12
    assert {len(serial) for _, serial in found} == {gs1.SERIAL_LENGTH}
    assert invented_box(demo_sscc(17, 0, 5)) is None
    assert invented_box(demo_sscc(17, 3, 5).replace("952", "460", 1)) is None


_LINES = st.lists(st.builds(Invoiced, gtin=st.sampled_from("GH"), lot=LOT, expiry=st.none(),
                            packs=st.integers(1, 4)), max_size=4)  # fmt: skip  # A strategy.
_PACKS = st.lists(st.tuples(st.sampled_from("GHI"), LOT, st.sampled_from(["", "recalled"])),
                  max_size=12)  # fmt: skip  # Same.


@given(_LINES, _PACKS)
def test_a_receipt_loses_no_pack(lines: list[Invoiced], told: list[tuple[str, str, str]]) -> None:
    """Every scanned pack is taken, surplus or bad, exactly once; no line takes more than it asks
    for, and a pack is surplus only where no line of its product has room.
    """
    packs = [Checked(gtin=gtin, serial=str(place), lot=lot, fault=fault)
             for place, (gtin, lot, fault) in enumerate(told)]  # fmt: skip  # One each.
    found = stock.compare(lines, packs)
    every = [*(pack for pack, _ in found.taken), *found.surplus, *found.bad]

    assert sorted(pack.serial for pack in every) == sorted(pack.serial for pack in packs)
    assert all(lines[place].gtin == pack.gtin for pack, place in found.taken)
    assert all(0 <= line.scanned <= line.invoiced for line in found.lines)
    full = {line.gtin for line in found.lines if line.missing}
    assert not any(pack.gtin in full for pack in found.surplus)


def test_another_batch_is_told() -> None:
    """A pack of another batch or expiry than the invoice says is taken, and that is told."""
    day = date(2028, 8, 31)
    line = Invoiced(gtin=GTIN, lot="A1", expiry=day, packs=2)
    packs = [Checked(gtin=GTIN, serial="1", lot="a1", expiry=day),
             Checked(gtin=GTIN, serial="2", lot="B2", expiry=date(2027, 1, 31))]  # fmt: skip
    [told] = stock.compare([line], packs).lines
    assert (told.scanned, told.other_lots, told.other_expiry) == (2, ("B2",), date(2027, 1, 31))
    assert not told.is_right


_KEYS = st.tuples(st.sampled_from("GH"), LOT, st.sampled_from(["", "S"]))


@given(st.lists(st.tuples(_KEYS, AMOUNT), max_size=8), st.dictionaries(_KEYS, AMOUNT, max_size=5))
def test_correcting_makes_the_ledger_agree(
    told: list[tuple[tuple[str, str, str], Decimal]], expected: dict[tuple[str, str, str], Decimal]
) -> None:
    """Expected and correction together are what was counted, for every place."""
    entries = [Counted(gtin=key[0], lot=key[1], shelf=key[2], quantity=amount)
               for key, amount in told]  # fmt: skip  # One each.
    for one in stock.count_of(entries, expected):
        key = (one.gtin, one.lot, one.shelf)
        sum_ = sum((each.quantity for each in entries
                    if (each.gtin, each.lot, each.shelf) == key), Decimal(0))  # fmt: skip  # Sum.
        assert expected.get(key, Decimal(0)) + one.quantity == sum_


@given(AMOUNT, AMOUNT, st.lists(st.decimals(-50, 500, places=1), max_size=4))
def test_a_difference_spreads_without_rest(
    counted: Decimal, wanted: Decimal, amounts: list[Decimal]
) -> None:
    """The parts of a correction add up to the difference; a loss that the fundings cover takes from
    none more than it has.
    """
    one = Difference(gtin=GTIN, lot="", shelf="", expected=wanted, counted=counted)
    standing = [Balance(gtin=GTIN, quantity=amount, funding=str(place))
                for place, amount in enumerate(amounts)]  # fmt: skip  # One each.
    parts = stock.correction(one, standing)

    assert sum((amount for _, amount in parts), Decimal(0)) == one.quantity
    covered = sum((max(each.quantity, Decimal(0)) for each in standing), Decimal(0))
    if -covered <= one.quantity < 0:
        assert all(place is not None and -amount <= place.quantity for place, amount in parts)


@given(st.integers(-400, 400))
def test_the_bands_of_expiry(days: int) -> None:
    """The last day still counts; 7, 30 and 90 days are the steps."""
    found = stock.band(TODAY + timedelta(days=days), TODAY)
    steps = ("expired" if days < 0 else "7" if days <= 7 else "30" if days <= 30
             else "90" if days <= 90 else "")  # fmt: skip  # The table.
    assert found == steps
    assert stock.band(None, TODAY) == ""


def test_first_expiring_first_out() -> None:
    """What expires first goes first; what has expired, or is not there, never."""
    rows = [Balance(gtin=GTIN, lot=lot, quantity=Decimal(amount),
                    expiry=TODAY + timedelta(days=days) if days is not None else None)
            for lot, amount, days in (("gone", 0, 5), ("old", 5, -1), ("late", 5, 300),
                                      ("none", 5, None), ("soon", 5, 40))]  # fmt: skip  # Rows.
    found = stock.first_out(rows, TODAY)
    assert found is not None
    assert found.lot == "soon"
    assert stock.first_out(rows[:2], TODAY) is None


@given(AMOUNT, AMOUNT, st.none() | st.tuples(AMOUNT, AMOUNT), st.integers(1, 60))
def test_an_order_fills_up_and_no_more(
    balance: Decimal, out: Decimal, limits: tuple[Decimal, Decimal] | None, pack: int
) -> None:
    """An order brings the stock to the most, over it by less than one pack; without need: none."""
    least, most = sorted(limits) if limits else (None, None)
    made = stock.order_of(Need(preparation="p", balance=balance, out=out, least=least, most=most,
                               pack=Decimal(pack)))  # fmt: skip  # Facts of one need.
    if made is None:
        assert balance >= (least if least is not None else out / 2) or balance >= (
            most if most is not None else out)
    else:
        assert made.packs >= 1
        assert made.most <= balance + made.packs * pack < made.most + pack
