"""Rows and pages of feeds: what is mended, what is put aside; nothing breaks the reader."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.modules.medicines.model import Entry, Rejected
from dmed.modules.medicines.rules import changes, rows
from dmed.modules.medicines.service import force
from dmed.modules.medicines.service.sources import FeedError, decoded, read_page

NAMES = force.names()
GOOD = {"key": "a-1", "trade": "Amoxisinov", "inn": "amoxicillin", "atc": "J01CA04",
        "form": "capsule", "strength": "500 mg", "pack": "20", "gtin": "09521002000030"}


def _entry(**cells: str) -> Entry:
    found = rows.read(1, GOOD | {name.strip("_"): value for name, value in cells.items()}, NAMES)
    assert isinstance(found, Entry), found
    return found


def test_a_good_row_is_a_preparation_that_is_known() -> None:
    """INN, form and strength together are the preparation of the catalogue, as quantities."""
    found = _entry(price="12 345,50", until="2124-01-01")

    assert found.preparation == "amoxicillin-capsule-500mg"
    assert (found.strengths[0].value, found.strengths[0].unit) == (Decimal(500), "mg")
    assert found.price_ceiling == Decimal("12345.5")
    assert found.registered_until == ""
    assert found.notes == ("unlimited",)


@pytest.mark.parametrize(
    ("cells", "preparation"),
    [
        ({"inn": "Амоксициллин", "form": "капсулы", "strength": "500 мг"},
         "amoxicillin-capsule-500mg"),
        ({"inn": "AMOXICILLIN trihydrate", "form": "CAP101"}, "amoxicillin-capsule-500mg"),
        ({"inn": "АМOXICILLIN"}, "amoxicillin-capsule-500mg"),
        ({"inn": "*amoxicillin*"}, "amoxicillin-capsule-500mg"),
        ({"inn": "amoxicillin; clavulanic acid", "form": "film-tablet",
          "strength": "875 mg + 125 mg"}, "amoxicillin-clavulanic-acid-film-tablet-875mg-125mg"),
        ({"inn": "ibuprofen", "form": "suspension", "strength": "100 mg/5 ml, 100 ml"},
         "ibuprofen-suspension-100mg-5ml-100"),
        ({"inn": "amoxicilin"}, ""),
        ({"inn": "novocillin"}, ""),
        ({"inn": "", "strength": ""}, ""),
        ({"strength": "one strong capsule"}, ""),
        ({"form": "magic powder"}, ""),
    ],
)  # fmt: skip  # A table.
def test_an_inn_is_linked_or_left_open_never_guessed(
    cells: dict[str, str], preparation: str
) -> None:
    """Scripts, salts, stars and foreign letters are read; a misspelt or unknown name is not."""
    assert _entry(**cells).preparation == preparation


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"key": ""}, "no-key"), ({"key": "a b"}, "key"), ({"key": "x" * 41}, "key"),
        ({"trade": " * "}, "no-name"), ({"gtin": "9521002000031"}, "gtin"),
        ({"gtin": "12"}, "gtin"), ({"gtin": "٠٩٥٢١٠٠٢٠٠٠٠٣٠"}, "gtin"),
        ({"atc": "J1CA4"}, "atc"), ({"from_": "2026-02-30"}, "date"),
        ({"from_": "2026-05-01", "until": "2026-04-01"}, "dates"), ({"pack": "0"}, "pack"),
        ({"pack": "1e99"}, "number"), ({"pack": "NaN"}, "number"), ({"price": "-1"}, "price"),
        ({"shelf_months": "1.5"}, "number"), ({"stage": "-1"}, "number"),
        ({"ikpu": "12a"}, "number"), ({"maker": "x" * 501}, "too-long"),
        ({"trade": "x" * 30_000}, "too-long"), ({"trade": "a\x00b"}, "control"),
        ({"maker": "ÐÐ°Ð¼ÑÐ½Ð°"}, "encoding"), ({"maker": "РќР°РјСѓРЅР°"}, "encoding"),
    ],
)  # fmt: skip  # A table.
def test_an_impossible_row_is_put_aside_with_its_reason(
    cells: dict[str, str], reason: str
) -> None:
    """Each fault has its reason, and the row's text is kept, without signs that no page shows."""
    found = rows.read(7, GOOD | {name.strip("_"): value for name, value in cells.items()}, NAMES)

    assert isinstance(found, Rejected)
    assert (found.place, found.reason) == (7, reason)
    assert "\0" not in found.raw + found.words
    assert len(found.raw) <= rows.RAW_CHARACTERS_MAX


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(rows.FIELDS), st.text(max_size=40), max_size=12))
def test_any_row_is_an_entry_or_is_put_aside(cells: dict[str, str]) -> None:
    """No content of cells raises; what is taken in is encoded and has a key and a name."""
    found = rows.read(1, GOOD | cells, NAMES)

    if isinstance(found, Entry):
        assert found.key
        assert found.trade
    else:
        assert found.reason


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_page_or_a_fault(body: bytes) -> None:
    """No bytes break the reader of pages: they are a page, or a fault with a reason."""
    reason = ""
    try:
        read_page(body, 1, rows.FIELDS)
    except FeedError as fault:
        reason = fault.reason

    assert reason in {"", "torn", "encoding"}


@pytest.mark.parametrize(
    ("text", "encoding", "notes"),
    [("Дори", "utf-8", ()), ("Дори", "utf-8-sig", ()), ("Дори", "utf-16", ("utf-16",)),
     ("Дори", "cp1251", ("windows-1251",))],
)  # fmt: skip  # A table.
def test_encodings_are_told_apart(text: str, encoding: str, notes: tuple[str, ...]) -> None:
    """UTF-8 with and without its mark, UTF-16 and Windows-1251 are read as what they are."""
    assert decoded(text.encode(encoding)) == (text, notes)


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"\xe9\xe8\x98", "Дори".encode("cp1251")[:2]
                                  + b"\0\0", "Café d'été à Orléans".encode("latin-1")])
def test_bytes_in_no_known_encoding_are_refused(body: bytes) -> None:
    """What is in none of the encodings is a fault, not wrong letters."""
    with pytest.raises(FeedError, match="encoding"):
        decoded(body)


def test_a_page_is_whole_or_torn() -> None:
    """A page without its last line, of another number, or with a row too few is torn."""
    whole = b"1\tk\tx\n2\tm\ty\n# end 3 2\n"
    assert len(read_page(whole, 3, ("key", "trade")).rows) == 2
    for wrong in (whole[:-4], whole.replace(b"end 3", b"end 4"), whole.replace(b"2\tm\ty\n", b""),
                  b"", b"\n"):
        with pytest.raises(FeedError, match="torn"):
            read_page(wrong, 3, ("key", "trade"))


def test_a_delivery_is_judged_by_what_it_withdraws() -> None:
    """Few withdrawals pass in any register, many are held, and so are bad rows and emptiness."""
    judge = changes.judge
    assert not judge(changes.Diff(0, 5, 5, 90, 100), 100, 0).is_held
    assert not judge(changes.Diff(0, 0, 40, 1960, 2000), 2000, 0).is_held
    assert judge(changes.Diff(0, 0, 41, 1959, 2000), 2000, 0).reasons == ("bulk-withdrawal",)
    assert not judge(changes.Diff(0, 0, 41, 1959, 2000), 2000, 0, percent_max=3).is_held
    assert judge(changes.Diff(9, 0, 0, 0, 0), 100, 21).reasons == ("too-many-bad",)
    assert judge(changes.Diff(0, 0, 0, 0, 50), 0, 0).reasons == ("empty",)
    assert not judge(changes.Diff(0, 0, 0, 0, 50), 0, 0, is_full=False).is_held
