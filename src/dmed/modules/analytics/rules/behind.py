"""The lines behind a figure: what of one person's records made a case's numerator, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from dmed.modules.analytics.model import Behind, Definition, Kept, Test
from dmed.modules.analytics.rules.counting import Group, added, units
from dmed.modules.analytics.rules.definitions import whole_of
from dmed.modules.analytics.rules.deriving import Line, fits


def behind(
    definition: Definition, prescriber: str, part: str, months: tuple[date, date],
    facts: Sequence[Kept],
) -> Iterator[tuple[int, int, tuple[Behind, ...]]]:
    """Of one person's facts each unit of the denominator: numerator, denominator, its lines.

    `months` are the first and last month counted, as their first days. Added up they are what
    `counting.counts` makes of the same facts.
    """
    whole = whole_of(definition, part)
    for unit in units(definition, facts):
        first = unit[0].item
        month = first.moment.date().replace(day=1)
        if first.prescriber != prescriber or not months[0] <= month <= months[1]:
            continue
        counted = list(added(definition, unit))
        numerator = sum(hits for name, hits, _ in counted if name == part)
        denominator = sum(size for name, _, size in counted if name == whole)
        if denominator:
            shown = [line for line in unit if _is_of(definition, line, part)
                     or (numerator and _makes(definition, line, part))]
            yield numerator, denominator, tuple(
                _told(definition, line, shown, part, amount=numerator) for line in shown)


def _is_of(definition: Definition, line: Line, part: str) -> bool:
    """Whether a line is one of those that the whole is made of."""
    if definition.part == "brand":
        return bool(line.products) and line.item.preparation == whole_of(definition, part)
    if definition.part == "pharmacy" or definition.sum == "days-to-fill":
        return line.filled is not None and fits(line, definition.of)
    return fits(line, definition.of)


def _makes(definition: Definition, line: Line, part: str) -> bool:
    """Whether a line is such that its unit counts in the numerator."""
    if definition.part == "brand":
        return _is_of(definition, line, part) and line.products[0] == part.partition("|")[2]
    if definition.part == "pharmacy":
        return line.filled is not None and line.filled.pharmacy == part
    if definition.part == "rule":
        return part in line.rules
    return definition.kind == "mean" or fits(line, definition.where)


def _told(
    definition: Definition, line: Line, shown: Group, part: str, *, amount: int
) -> Behind:
    is_counted = amount > 0 and _makes(definition, line, part)
    return Behind(
        id=line.id, number=line.item.group, moment=line.item.moment, atc=line.item.atc,
        pharmacy=line.filled.pharmacy if line.filled else "", amount=amount, is_counted=is_counted,
        reasons=tuple(_reasons(definition, line, shown, part, amount)) if is_counted else ())


def _reasons(
    definition: Definition, line: Line, shown: Group, part: str, amount: int
) -> Iterator[str]:
    """Why a line counts, as "word" or "word=value" of the texts analytics.reason.*."""
    if definition.kind == "part":
        yield {"brand": f"product={part.partition('|')[2]}", "pharmacy": "pharmacy",
               "rule": f"rule={part}"}[definition.part]
    elif definition.kind == "mean":
        yield f"{definition.sum}={amount}"
    else:
        # The diagnosis may stand on another line of the same prescription.
        icd = next((one.item.icd for one in shown if definition.of.icd
                    and fits(one, Test(icd=definition.of.icd))), "")
        for test in (definition.of, definition.where):
            yield from _of_test(test, line, icd)


def _of_test(test: Test, line: Line, icd: str) -> Iterator[str]:
    if test.icd:
        yield f"icd={icd or line.item.icd}"
    if test.atc and fits(line, Test(atc=test.atc)):
        yield f"atc={line.item.atc}"
    if test.flag:
        yield test.flag
    if test.active_min:
        yield f"active={line.active}"
    if test.age_min:
        yield f"age={test.age_min}"
    if test.days_over:
        yield f"course={(line.item.ends - line.item.starts).days + 1}"
