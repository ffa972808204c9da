"""Search values: what dates, numbers, tokens, references and quantities mean to a search."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import values
from dmed.fhir.index import MAX_INSTANT, MIN_INSTANT
from dmed.fhir.path.units import UCUM, canonical, same_kind
from dmed.kit.errors import InvalidError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _at(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2024", "2024-01-01T00:00+05:00", "2025-01-01T00:00+05:00"),
        ("2024-12", "2024-12-01T00:00+05:00", "2025-01-01T00:00+05:00"),
        ("2024-02-29", "2024-02-29T00:00+05:00", "2024-03-01T00:00+05:00"),
        ("2024-02-03T10:15", "2024-02-03T10:15+05:00", "2024-02-03T10:16+05:00"),
        ("2024-02-03T10:15:30", "2024-02-03T10:15:30+05:00", "2024-02-03T10:15:31+05:00"),
        ("2024-02-03T10:15Z", "2024-02-03T10:15+00:00", "2024-02-03T10:16+00:00"),
        ("2024-02-03T10:15:30-03:00", "2024-02-03T10:15:30-03:00", "2024-02-03T10:15:31-03:00"),
        ("2024-02-03T10:15:30.5Z", "2024-02-03T10:15:30.5+00:00", "2024-02-03T10:15:30.6+00:00"),
        ("2024-02-03T10:15:60Z", "2024-02-03T10:16:00+00:00", "2024-02-03T10:16:01+00:00"),
    ],
)
def test_dates_cover_their_precision(text: str, low: str, high: str) -> None:
    """A partial date covers all it can mean, to the microsecond; without zone it is Tashkent's."""
    assert values.date_bounds(text) == (_at(low), _at(high) - 1)


def test_dates_at_the_ends_of_the_calendar() -> None:
    """The first and the last year stay within the bounds of the index."""
    assert values.date_bounds("0001")[0] == MIN_INSTANT
    assert values.date_bounds("9999")[1] == MAX_INSTANT
    assert values.date_bounds("9999-12-31")[1] <= MAX_INSTANT


@pytest.mark.parametrize(
    "text", ["", "24", "2024-13", "2023-02-29", "2024-1-1", "2024-01-01T25:00", "today", "20240101"]
)
def test_wrong_dates_are_refused(text: str) -> None:
    """What is no date of the calendar is an InvalidError, never a guess."""
    with pytest.raises(InvalidError):
        values.date_bounds(text)


def test_period_bounds_are_open_where_not_given() -> None:
    """A Period without start or end reaches to the ends of time."""
    assert values.period_bounds(None, "2024-01-01")[0] == MIN_INSTANT
    assert values.period_bounds("2024-01-01", None)[1] == MAX_INSTANT
    assert values.hull([(5, 6), (1, 2)]) == (1, 6)
    assert values.hull([]) is None


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("5.40", "5.395", "5.405"),
        ("1e2", "50", "150"),
        ("-3", "-3.5", "-2.5"),
        ("0", "-0.5", "0.5"),
    ],
)
def test_numbers_mean_their_digits(text: str, low: str, high: str) -> None:
    """A decimal stands for half a unit of its last digit to either side."""
    assert values.number_bounds(values.number(text)) == (Decimal(low), Decimal(high))


@pytest.mark.parametrize("text", ["", "x", "1,5", "1.", ".5", "NaN", "1e9999", "0x10", "1 2"])
def test_wrong_numbers_are_refused(text: str) -> None:
    """What is no number is an InvalidError."""
    with pytest.raises(InvalidError):
        values.number(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("male", (None, "male")),
        ("http://loinc.org|8480-6", ("http://loinc.org", "8480-6")),
        ("|x", ("", "x")),
        ("http://loinc.org|", ("http://loinc.org", None)),
        (r"a\|b", (None, "a|b")),
        (r"s\,1|c\$2", ("s,1", "c$2")),
    ],
)
def test_tokens(text: str, expected: tuple[str | None, str | None]) -> None:
    """The four forms of a token, with escapes."""
    assert values.token(text) == expected


@pytest.mark.parametrize("text", ["", "|", "a|b|c"])
def test_wrong_tokens_are_refused(text: str) -> None:
    """A token without content or with too many parts is an InvalidError."""
    with pytest.raises(InvalidError):
        values.token(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", ("Patient", "1", "")),
        ("Patient/1/_history/2", ("Patient", "1", "2")),
        ("http://a.b/fhir/Patient/1", ("", "http://a.b/fhir/Patient/1", "")),
        ("http://a.b/Questionnaire/q|2.0", ("", "http://a.b/Questionnaire/q", "2.0")),
        ("urn:uuid:5d2f7a", ("", "urn:uuid:5d2f7a", "")),
    ],
)
def test_references(text: str, expected: tuple[str, str, str]) -> None:
    """Relative addresses are split; all others are kept whole, without their version."""
    assert values.reference(text) == expected


def test_relative_takes_off_our_own_base_only() -> None:
    """An absolute address below our base becomes relative, any other stays."""
    assert values.relative("https://dmed.uz/fhir/Patient/1", "https://dmed.uz/fhir") == "Patient/1"
    assert values.relative("https://other/fhir/Patient/1", "https://dmed.uz/fhir").startswith(
        "https"
    )
    assert values.relative("Patient/1", "") == "Patient/1"


def test_quantities() -> None:
    """Number alone, with system and code, and with a human unit."""
    assert values.quantity("5.4") == (Decimal("5.4"), None, "")
    assert values.quantity(f"5.4|{UCUM}|mg") == (Decimal("5.4"), UCUM, "mg")
    assert values.quantity("5.4||mg") == (Decimal("5.4"), None, "mg")
    with pytest.raises(InvalidError):
        values.quantity("5.4|mg")


@pytest.mark.parametrize(
    ("value", "unit", "expected", "canonical_unit"),
    [
        ("5", "mg", "0.000005", "kg"),
        ("1", "m", "100", "cm"),
        ("2", "h", "120", "min"),
        ("90", "mg/dL", "0.9", "g/L"),
        ("212", "[degF]", "100", "Cel"),
        ("4500", "/uL", "4500000000", "/L"),
        ("300", "umol/L", "0.3", "mmol/L"),
        ("1", "L", "1000", "mL"),
        ("5", "/100{WBC}", "0.05", "1"),
        ("7", "10*9/L", "7000000000", "/L"),
    ],
)
def test_quantities_meet_in_canonical_units(
    value: str, unit: str, expected: str, canonical_unit: str
) -> None:
    """Common clinical units are brought to one unit of their kind."""
    found = canonical(unit)

    assert found is not None
    assert found.code == canonical_unit
    assert abs(found.convert(Decimal(value)) - Decimal(expected)) < Decimal("1e-20")


@pytest.mark.parametrize("unit", ["mm[Hg]", "Cel", "kg", "cm", "mmol/L", "/min", "%", "kg/m2"])
def test_clinical_units_are_canonical_already(unit: str) -> None:
    """What most observations carry needs no second row in the index."""
    one = Decimal(1)
    assert values.canonical_quantity(one, one, UCUM, unit) is None


def test_units_that_are_not_known_stay_as_they_are() -> None:
    """Unknown units, other systems and other kinds are never converted."""
    one = Decimal(1)
    assert values.canonical_quantity(one, one, UCUM, "[foo]") is None
    assert values.canonical_quantity(one, one, "http://other", "mg") is None
    assert values.canonical_quantity(one, one, UCUM, "1/0") is None
    assert values.canonical_quantity(one, one, UCUM, ".".join(["Tm99"] * 5000)) is None
    assert not same_kind("mg", "mL")
    assert same_kind("kPa", "mm[Hg]")


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001  # The strategy adds the zone.
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001  # Same.
        timezones=st.just(UTC),
    )
)
def test_precisions_nest(moment: datetime) -> None:
    """A moment lies in its second, that in its minute, that in its day, month and year."""
    local = moment.astimezone(values.TASHKENT)
    texts = [local.isoformat()] + [
        local.strftime(form) for form in ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d", "%Y-%m", "%Y")
    ]
    texts[1] = texts[1][:-2] + ":" + texts[1][-2:]
    if local.utcoffset() != timedelta(hours=5) and texts[0][-3:] != ":00":
        return  # Before 1924 local time had seconds of offset, which ISO forms here do not carry.
    spans = [values.date_bounds(text) for text in texts]

    for inner, outer in pairwise(spans):
        assert outer[0] <= inner[0] <= inner[1] <= outer[1]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_escaped_parts_come_back(parts: list[str]) -> None:
    """Parts joined with a separator are split again, whatever they hold."""

    def escape(text: str) -> str:
        for sign in ("\\", ",", "|", "$"):
            text = text.replace(sign, "\\" + sign)
        return text

    joined = "|".join(escape(part) for part in parts)

    assert [values.unescape(part) for part in values.split_escaped(joined, "|")] == parts


@settings(max_examples=200, deadline=None)
@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6
    )
)
def test_number_lies_inside_its_bounds(value: Decimal) -> None:
    """The bounds of a number are around it."""
    low, high = values.number_bounds(value)

    assert low < value < high
