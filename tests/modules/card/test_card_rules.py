"""Pure rules of the card: pages of time, pictures, growth, sources, trends."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.modules.card.rules import course, drawing, growth, results, sources
from dmed.modules.card.rules.sources import Names

TYPES = ("Encounter", "MedicationRequest", "Immunization")
ELEMENT = {"Encounter": "actualPeriod", "MedicationRequest": "authoredOn",
           "Immunization": "occurrenceDateTime"}  # fmt: skip  # A table.


def dated(type_, number, second):
    when = course.instant(second)
    value = {"start": when} if type_ == "Encounter" else when
    return {"resourceType": type_, "id": f"r{number}", ELEMENT[type_]: value}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TYPES), st.integers(10**9, 10**9 + 40)), max_size=60),
       st.integers(1, 12))
def test_pages_of_time_hold_everything_once(drawn, size):
    """Whatever shares a second, walking the pages gives each record once, in order of time."""
    everything = [dated(type_, number, second) for number, (type_, second) in enumerate(drawn)]

    def newest(type_, until, count):
        mine = [one for one in everything if one["resourceType"] == type_ and (
            not until or course.second_of(course.when_of(one)) < course.second_of(until))]
        mine.sort(key=lambda one: course.second_of(course.when_of(one)), reverse=True)
        return mine[:count]

    seen, until = [], ""
    for _ in range(200):
        count = size
        while True:
            shown, following = course.cut(
                {type_: newest(type_, until, count) for type_ in TYPES}, count)
            if shown or not following:
                break
            count *= 5
        seen += shown
        until = following
        if not until:
            break
    times = [course.second_of(course.when_of(one)) for one in seen]

    assert sorted(one["id"] for one in seen) == sorted(one["id"] for one in everything)
    assert times == sorted(times, reverse=True)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9000), st.floats(0.1, 1e5)), min_size=2, max_size=40))
def test_a_picture_stays_within_its_frame(points):
    """Every dot, tick and band lies inside the view box, whatever the values."""
    first = date(2000, 1, 1).toordinal()
    line = drawing.Line(points=[(float(first + day), value, "") for day, value in sorted(points)])
    drawn = drawing.picture([line], low=Decimal(1), high=Decimal(5))

    assert drawn is not None
    dots = [dot for curve in drawn.curves for dot in curve.dots]
    assert len(dots) == len(points)
    assert all(0 <= dot.x <= drawn.width and 0 <= dot.y <= drawn.height for dot in dots)
    assert all(drawn.top - 1 <= tick.at <= drawn.bottom + 1 for tick in drawn.up)
    assert all(drawn.left - 1 <= tick.at <= drawn.right + 1 for tick in drawn.across)


def test_one_value_is_no_trend():
    """A picture needs two points; the marks outside the band are told."""
    day = float(date(2026, 1, 1).toordinal())
    drawn = drawing.picture([drawing.Line(points=[(day, 1.0, ""), (day + 9, 9.0, "")])],
                            high=Decimal(5))

    assert drawing.picture([drawing.Line(points=[(day, 1.0, "")])]) is None
    assert drawn is not None
    assert [dot.is_outside for dot in drawn.curves[0].dots] == [False, True]


@settings(max_examples=80, deadline=None)
@given(st.floats(-2, 2).filter(lambda power: abs(power) > 0.01), st.floats(1, 100),
       st.floats(0.02, 0.2), st.floats(-3, 3))
def test_the_lms_method_is_its_own_inverse(power, median, spread, z):
    """A z-score becomes a measurement and back; the median is z 0."""
    lms = (power, median, spread)

    assert math.isclose(growth.score(growth.at(z, lms), lms), z, abs_tol=1e-6)
    assert math.isclose(growth.at(0, lms), median)


def test_ages_are_months_of_who():
    """A year is twelve months of 30.4375 days; a day before birth is none."""
    assert growth.months("2024-01-01", "2025-01-01") == pytest.approx(12.02, abs=0.02)
    assert growth.months("2024-01-01", "2023-12-31") is None
    assert growth.months("2024", "2025-01-01") is None


@pytest.mark.parametrize(("what", "sex", "month", "printed"), [
    ("weight", "male", 0, (2.1, 2.5, 3.3, 4.4, 5.0)),
    ("weight", "male", 6, (5.7, 6.4, 7.9, 9.8, 10.9)),
    ("weight", "male", 12, (6.9, 7.7, 9.6, 12.0, 13.3)),
    ("weight", "male", 24, (8.6, 9.7, 12.2, 15.3, 17.1)),
    ("weight", "female", 0, (2.0, 2.4, 3.2, 4.2, 4.8)),
    ("weight", "female", 6, (5.1, 5.7, 7.3, 9.3, 10.6)),
    ("weight", "female", 12, (6.3, 7.0, 8.9, 11.5, 13.1)),
    ("weight", "female", 24, (8.1, 9.0, 11.5, 14.8, 17.0)),
    ("height", "male", 0, (44.2, 46.1, 49.9, 53.7, 55.6)),
    ("height", "male", 6, (61.2, 63.3, 67.6, 71.9, 74.0)),
    ("height", "male", 12, (68.6, 71.0, 75.7, 80.5, 82.9)),
    ("height", "male", 24, (78.7, 81.7, 87.8, 93.9, 97.0)),
    ("height", "female", 0, (43.6, 45.4, 49.1, 52.9, 54.7)),
    ("height", "female", 6, (58.9, 61.2, 65.7, 70.3, 72.5)),
    ("height", "female", 12, (66.3, 68.9, 74.0, 79.2, 81.7)),
    ("height", "female", 24, (76.7, 80.0, 86.4, 92.9, 96.1)),
])  # fmt: skip  # The printed columns of the standard: -3, -2, median, +2, +3.
def test_reference_lines_are_those_that_the_standard_prints(what, sex, month, printed):
    """L, M, S of the table give the printed z-score columns to the printed tenth."""
    lms = growth.table()[what, sex][month]

    assert all(abs(growth.at(z, lms) - value) <= 0.051
               for z, value in zip(growth.Z_SCORES, printed, strict=True))


def test_the_tables_of_growth_are_whole_and_smooth():
    """Every month from birth to 24 stands in all four tables, medians rise with age."""
    for rows in growth.table().values():
        medians = [rows[month][1] for month in sorted(rows)]

        assert sorted(rows) == list(range(25))
        assert medians == sorted(medians)
        assert all(0.02 < spread < 0.2 for _, _, spread in rows.values())


def test_no_reference_line_is_drawn_without_its_table():
    """For another sex, another measurement or an older child no line is invented."""
    assert growth.lines("weight", "unknown", 0, 24) == []
    assert growth.lines("head", "male", 0, 24) == []
    assert growth.lines("weight", "male", 60, 90) == []
    assert [name for name, _ in growth.lines("weight", "male", 0, 6)] == [
        "−3", "−2", "0", "+2", "+3"]


def observation(id_, value, unit="g/L", when="2026-01-01", **more):
    return {"resourceType": "Observation", "id": id_, "status": "final", "effectiveDateTime": when,
            "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}]},
            "valueQuantity": {"value": Decimal(value), "unit": unit}, **more}


def test_a_trend_holds_one_unit():
    """Values in another unit are not drawn on one line, and it is said how many were left out."""
    made = results.series([
        observation("a", "12.1", "g/dL", "2024-01-01"), observation("b", 121, when="2025-01-01"),
        observation("c", 98, when="2026-01-01")], Names(), "en")

    assert [str(point.value) for point in made[0].points] == ["121", "98"]
    assert (made[0].other_units, made[0].unit, made[0].latest) == (1, "g/L", "98")


def test_what_was_entered_in_error_is_no_result():
    """A mistake and a cancelled test leave no trace in the trend."""
    assert results.series([observation("a", 5, status="entered-in-error"),
                           observation("b", 5, status="cancelled")], Names(), "en") == ()


def test_a_source_is_taken_from_the_visit_where_the_record_is_silent():
    """Institution from the visit, author by name or by what was read of the practitioner."""
    record = {"resourceType": "Observation", "id": "o", "encounter": {"reference": "Encounter/e"},
              "performer": [{"reference": "Practitioner/d"}], "issued": "2026-01-01T00:00:00Z",
              "meta": {"source": "urn:lab#x"}}
    visit = {"resourceType": "Encounter", "id": "e", "serviceProvider": {"display": "Klinika"},
             "participant": [{"actor": {"reference": "Practitioner/d", "display": "Doktor"}}]}
    told = sources.source(record, sources.names([visit]))

    assert sources.unnamed([record]) == {"Practitioner": {"d"}, "Encounter": {"e"}}
    assert (told.institution, told.author, told.system) == ("Klinika", "Doktor", "urn:lab")
    assert told.recorded.startswith("2026")


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(
    inner, max_size=2) | st.dictionaries(st.sampled_from(
        ["actor", "reference", "display", "performer", "participant"]), inner, max_size=3),
    max_leaves=8))
@settings(max_examples=80, deadline=None)
def test_no_shape_of_a_record_breaks_its_source(shape):
    """However strange the parties of a record are written, a source comes back."""
    record = {"resourceType": "Procedure", "id": "x", "performer": shape, "participant": shape}

    assert isinstance(sources.source(record, Names()), sources.Source)
    assert isinstance(sources.unnamed([record]), dict)


def test_days_of_a_long_life_are_marked_by_years():
    """The axis of twenty years has few marks; that of a few weeks names months."""
    born = date(2006, 3, 1).toordinal()
    marks = drawing.years(float(born), float(born + 7300))

    assert 4 <= len(marks) <= 11
    assert all(text.isdigit() for _, text in marks)
    assert timedelta(days=1) < timedelta(days=marks[1][0] - marks[0][0])
