"""Pictures of measurements for a page: which lines, which band, and the table beside."""

from __future__ import annotations

from typing import Any

from dmed.kit.i18n import Speech
from dmed.modules.card.model import Card, Series
from dmed.modules.card.rules import drawing, growth


def picture(series: Series, t: Speech) -> drawing.Picture | None:
    """The trend of one measurement with its reference band; two lines for a blood pressure."""
    dated = [(day, point) for point in series.points
             if (day := drawing.day_number(point.when)) is not None]
    lines = [drawing.Line(points=[
        (float(day), float(point.value), f"{t.date(point.when)}: {t.number(point.value)}")
        for day, point in dated])]
    seconds = [(float(day), float(point.second), f"{t.date(point.when)}: {t.number(point.second)}")
               for day, point in dated if point.second is not None]
    if seconds:
        lines.append(drawing.Line(points=seconds))
    return drawing.picture(lines, low=series.low, high=series.high)


def of_growth(card: Card, series: Series, t: Speech) -> dict[str, Any] | None:
    """The child's own curve by age in months, with reference lines where they are known."""
    kind = growth.KINDS.get(series.code)
    born = card.banner.birth_date
    if kind is None or not 0 <= card.banner.age_years < growth.YEARS_MAX:
        return None
    points = [(month, float(point.value), f"{t.date(point.when)}: {t.number(point.value)}")
              for point in series.points
              if (month := growth.months(born, point.when)) is not None]
    if len(points) < 2:
        return None
    reference = growth.lines(kind, card.banner.sex, points[0][0], points[-1][0])
    lines = [drawing.Line(points=[(month, value, "") for month, value in curve], name=name,
                          is_reference=True) for name, curve in reference]
    last = points[-1][0]
    step = 1 if last <= 12 else 3 if last <= 36 else 6 if last <= 72 else 12
    across = [(float(month), str(month)) for month in range(0, int(last) + step, step)]
    return {"picture": drawing.picture([*lines, drawing.Line(points=points)], across=across),
            "has_bands": bool(reference), "months_max": growth.MONTHS_MAX}
