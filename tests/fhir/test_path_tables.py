"""The tables of the FHIRPath specification: quantities, calendar, texts, order, precision.

https://build.fhir.org/ig/HL7/FHIRPath/. Each row is one statement of the specification, told on
values of our own.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from dmed.fhir import codec, path

BASIC = codec.decode(b'{"resourceType":"Basic"}')
WEIGHT = codec.decode(
    msgspec.json.encode(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "waiting time"},
            "valueQuantity": {
                "value": 3, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d",
            },
            "note": [{"text": "b"}, {"text": "c"}, {"authorString": "x", "text": "a"}],
        }
    )
)  # fmt: skip  # One record.


def shown(expression: str, focus: object = BASIC) -> list[str]:
    """The values of an expression as texts."""
    found = path.compile(expression, focus.fhir_type)(focus)  # type: ignore[attr-defined]  # A struct.
    return [
        str(each).lower() if isinstance(each, bool)
        else format(each, "f") if isinstance(each, Decimal) else str(each)
        for each in found
    ]  # fmt: skip  # One rule.


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # Equality: another dimension is not decided, a word of the calendar by its own factors.
        ("2 'cm' = 20.0 'mm'", "true"),
        ("2 'cm' = 2 'm'", "false"),
        ("2 'cm' = 2 's'", ""),
        ("25 'Cel' = 77 '[degF]'", "true"),
        ("2 hours = 7200 's'", "true"),
        ("1 year = 1 'a'", ""),
        ("2 years = 24 months", "true"),
        ("2 years = 24 'mo'", ""),
        ("730 days = 2 years", "true"),
        ("30 days = 1 month", "true"),
        ("30 days = 1 'mo'", ""),
        ("14 days = 2 'wk'", "true"),
        ("1 year.toQuantity('a') = 1 'a'", "true"),
        ("12 = 12 '1'", "true"),
        # Equivalence: in the coarser unit, by the digits of the less precise value.
        ("31 'mm' ~ 3 'cm'", "true"),
        ("1 'm' ~ 140 'cm'", "true"),
        ("1 'm' ~ 160 'cm'", "false"),
        ("1 year ~ 1 'a'", "true"),
        ("1 year ~ 11 months", "true"),
        ("2 'cm' ~ 2 's'", "false"),
        # Order.
        ("9 months > 1 year", "false"),
        ("2 years > 1 'a'", ""),
        ("5 seconds > 1 's'", "true"),
        ("4 'm' > 4 'cm'", "true"),
        ("1 'm' > 1 's'", ""),
        # Sums in the finer unit; a month is never added by guess.
        ("2 'm' + 4 'cm'", "204 'cm'"),
        ("4 'cm' - 2 'm'", "-196 'cm'"),
        ("2 minutes + 30 seconds", "150 seconds"),
        ("30 's' + 2 minutes", "150 seconds"),
        ("1 'wk' + 2 days", "9 days"),
        ("1 'wk' + 2 'd'", "9 'd'"),
        ("1 year + 6 months", ""),
        ("1 year.toQuantity('month') + 6 months", "18 months"),
        ("2 + 2 'cm'", ""),
        ("2 + 2 '1'", "4 '1'"),
        ("1 'Cel' + 1 '[degF]'", ""),
        # Products.
        ("10 'm/s' * 10 's'", "100 'm'"),
        ("3 'cm' * 4 'cm2'", "12 'cm3'"),
        ("12 'cm2' / 3 'cm'", "4 'cm'"),
        ("6 'mg/dL' / 2 'mg/mL'", "3 'mL/dL'"),
        ("6 '10*9/L' * 2 'L'", "12 '10*9/L.L'"),
        ("3 * 2 'cm'", "6 'cm'"),
        ("2 days * 3", "6 days"),
        ("2 days * 3 'm'", ""),
        ("2 'Cel' * 3 'm'", ""),
        ("60 's' / 2", "30 's'"),
        ("60 / 2 's'", "30 '/s'"),
        ("120 'm' / 60 's'", "2 'm/s'"),
        ("1 year.comparable(1 'a')", "false"),
        ("1 'm'.comparable(1 'cm')", "true"),
        ("iif(0, 'yes', 'no')", "yes"),
        ("(5.5 div 0.7) is Decimal", "true"),
        ("6 'cm' / 2 'cm'", "3 '1'"),
        ("1 'cm' / 0", ""),
        # Conversion.
        ("40 'cm'.toQuantity('m')", "0.4 'm'"),
        ("10 'Cel'.toQuantity('[degF]')", "50 '[degF]'"),
        ("7.toQuantity('m')", ""),
        ("14 days.toQuantity('wk')", "2 'wk'"),
        ("182.5 days.toQuantity('a')", "0.5 'a'"),
        ("1 'a'.toQuantity('d')", "365.25 'd'"),
        ("1 'wk'.toQuantity('days')", "7 days"),
        ("2 '[in_i]'.convertsToQuantity('cm')", "true"),
        ("2 'm'.convertsToQuantity('kg')", "false"),
        ("(2 'cm' + 2 'm').value", "202"),
        ("(2 days).unit", "day"),
        # Rounding keeps the unit.
        ("(-2.5 'mg').abs()", "2.5 'mg'"),
        ("2.1 'mg'.ceiling()", "3 'mg'"),
        ("(-2.1 'mg').floor()", "-3 'mg'"),
        ("2.9 'mg'.truncate()", "2 'mg'"),
        ("2.25 'mg'.round(1)", "2.3 'mg'"),
        ("(-0.5).round()", "-1"),
        # The same amount in two units is one item.
        ("(1 'm' | 100 'cm').count()", "1"),
        ("1 'm'.combine(100 'cm').isDistinct()", "false"),
        ("100 'cm' in (1 'm' | 2 'm')", "true"),
        ("(1 year | 12 months | 12 'mo').count()", "2"),
    ],
)  # fmt: skip  # A table.
def test_quantities_follow_their_tables(expression: str, expected: str) -> None:
    """Units are compared, added, multiplied and converted as the specification's tables say."""
    assert shown(expression) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("@2026-01-31 + 1 month", "2026-02-28"),
        ("@1973-12-25 + 7.9 days", "1974-01-01"),
        ("@2019-03-01 + 24 months", "2021-03-01"),
        ("@2024-02-29 + 1 year", "2025-02-28"),
        ("@2014 + 23 months", "2015"),
        ("@2014 - 11 months", "2014"),
        ("@2016 + 365 days", "2017"),
        ("@2026-02 + 5 weeks", "2026-03"),
        ("@2026-02 + 4 weeks", "2026-02"),
        ("@T23:30:00 + 1 hour", "00:30:00"),
        ("@T00:30:00 - 1 hour", "23:30:00"),
        ("@T01:00:00 + 48 hours", "01:00:00"),
        ("@2024-01-01T00:00:00.000+10:00 + 42.53 seconds", "2024-01-01T00:00:42.530+10:00"),
        ("@2012-01 = @2012", ""),
        ("@2012-01 ~ @2012", "false"),
        ("@2012-01-01T10:30:31.0 = @2012-01-01T10:30:31", "true"),
        ("@2018-01-01T16:00:00+12:00 < @2018-01-01T15:00:00.0+10:00", "true"),
        ("@2018-03-01T10 > @2018-03-01T10:30", ""),
        ("@0001-01-01T00:00:00Z < @0001-01-01T00:00:00+14:00", "false"),
        ("@0001-01-01T00:00 < @0001-01-02T23:00Z", "true"),
        ("@9999-12-31T23:59:59-12:00 > @9999-12-31T23:59:59Z", "true"),
        ("@2018-02-02T22-04:00 = @2018-02-03T06+04:00", "true"),
        ("@2018-02-02T22-04:00 = @2018-02-03T06:03+04:00", ""),
        # Formats.
        ("'150124'.toDate('ddMMyy')", "2024-01-15"),
        ("'15-01-2024'.toDate('dd-MM-yyyy')", "2024-01-15"),
        ("'12-87'.toDate('MM-yy')", "1987-12"),
        ("'31.02.2024'.toDate('dd.MM.yyyy')", ""),
        ("'2024-01-15 01:05 PM'.toDateTime('yyyy-MM-dd hh:mm a')", "2024-01-15T13:05"),
        ("'20240115T230507.250+0500'.toDateTime('yyyyMMddTHHmmss.SSSZ')",
         "2024-01-15T23:05:07.250+05:00"),
        ("'15/1/2024'.convertsToDate('d/M/yyyy')", "true"),
        ("'15/1/2024'.convertsToDate('yyyy')", "false"),
    ],
)  # fmt: skip  # A table.
def test_dates_follow_their_tables(expression: str, expected: str) -> None:
    """Dates move and compare by their precision, and are read by a format."""
    assert shown(expression) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (r"'\uD83D\uDD25'.length()", "1"),
        (r"'a\uD83D\uDD25b'.indexOf('b')", "2"),
        (r"'a\uD83D\uDD25b'.toChars().count()", "3"),
        (r"'\u0065\u0301'.length()", "2"),
        (r"'\p' = 'p'", "true"),
        ("'abc'.substring(1, {})", "bc"),
        ("'abc'.substring(1, -1)", ""),
        ("'a\tb' ~ 'A b'", "true"),
        ("'a  b' ~ 'a b'", "false"),
        (r"'11/30/1972'.replaceMatches('(?<m>\\d+)/(?<d>\\d+)/(?<y>\\d+)', '${d}-${m}-${y}')",
         "30-11-1972"),
        ("'a1\nb2'.matches('^b', 'm')", "true"),
        ("'a1\nb2'.matches('^B', 'im')", "true"),
        ("'naïve'.encode('ascii')", "na?ve"),
        ("1 // to the end of the line\r+ 1", "2"),
        ("/* one */ 1 /* and \n another */ + 1", "2"),
    ],
)  # fmt: skip  # A table.
def test_texts_follow_their_tables(expression: str, expected: str) -> None:
    """Characters are Unicode's in whatever way they are written; blanks and comments count."""
    assert shown(expression) == [expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(3 | 1 | 2).sort($this desc)", ["3", "2", "1"]),
        ("('c' | 'a').sort($this asc)", ["a", "c"]),
        ("note.sort(text desc).text", ["c", "b", "a"]),
        ("note.sort(author, text).text", ["b", "c", "a"]),
        ("note.sort(author desc, text desc).text", ["a", "c", "b"]),
        ("note.text.select($index)", ["0", "1", "2"]),
        ("note.all($index < 2)", ["false"]),
        ("note.exists($index = 2)", ["true"]),
        ("@2024-01-01 + value", ["2024-01-04"]),
        ("value + 1 'd'", ["4 'd'"]),
        ("-value", ["-3 'd'"]),
        ("value.round()", ["3 'd'"]),
        ("Coding { system: 'urn:x', code: status }.code", ["final"]),
        ("FHIR.Period { start: @2001-05-06 }.start", ["2001-05-06"]),
        ("note.select(Coding { code: text }).code", ["b", "c", "a"]),
        ("Period {:}.start", []),
        ("Coding { code: {} }.code", []),
        ("code { value: 'final' }", ["final"]),
        ("Observation { value: status }.value", ["final"]),
        ("{}.select(Coding { code: 'a' })", []),
    ],
)
def test_order_operands_and_instances(expression: str, expected: list[str]) -> None:
    """Sorting takes asc and desc with the empty first, FHIR quantities take part in arithmetic,
    and instances are made from elements.
    """
    assert shown(expression, WEIGHT) == expected


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        (r"'\uD83D'", path.PathSyntaxError),
        ("99999999999999999999", path.PathSyntaxError),
        ("@0000-01-01", path.PathSyntaxError),
        ("Coding { code }", path.PathSyntaxError),
        ("Patient.name { a: 1 }", path.PathSemanticError),
        ("Coding.code.system { a: 1 }", path.PathSyntaxError),
        ("Nothing { a: 1 }", path.PathSemanticError),
        ("Resource {:}", path.PathSemanticError),
        ("Coding { nothing: 1 }", path.PathExecutionError),
        ("(1 | 2).combine(3).select($this).where(true) * 2", path.PathExecutionError),
        ("note.Coding { code: 'a' }", path.PathError),
        ("'abc'.startsWith(1)", path.PathExecutionError),
        ("'a,b'.split(1)", path.PathExecutionError),
        ("('a' | 'b').join(1)", path.PathExecutionError),
        ("'abc'.substring('a')", path.PathExecutionError),
        ("1.5.round('a')", path.PathExecutionError),
        ("1.5.round(-1)", path.PathExecutionError),
        ("'a'.matches('a', 'q')", path.PathExecutionError),
        ("'a'.replaceMatches('a', '$7')", path.PathExecutionError),
        ("'a'.toDate('MMM')", path.PathExecutionError),
        ("@2024 + 1 'a'", path.PathExecutionError),
        ("@9999-12-31 + 1 day", path.PathExecutionError),
    ],
)
def test_what_has_no_meaning_is_refused(expression: str, fault: type[path.PathError]) -> None:
    """A wrong literal, argument or instance is a fault of the language's own kinds."""
    with pytest.raises(fault):
        shown(expression, WEIGHT)
