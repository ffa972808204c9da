"""What one person's lines add to the counts: pure, so that adding and taking away agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from dmed.modules.analytics.model import Definition, Kept, Unit
from dmed.modules.analytics.rules.definitions import definitions, whole_of
from dmed.modules.analytics.rules.deriving import Line, fits, lines


class Cell(NamedTuple):
    """Where a count lies: the whole is what a part is weighed within, the month its first day."""

    indicator: str
    whole: str
    prescriber: str
    month: date
    part: str


Counts = dict[Cell, tuple[int, int]]
"""Cell > (numerator, denominator)."""
Group = Sequence[Line]
Added = Iterable[tuple[str, int, int]]
"""(part, numerator, denominator)."""


def counts(facts: Sequence[Kept]) -> Counts:
    """All that one person's facts add. A prescription belongs to one person and one prescriber and
    lies in the month of its first line.
    """
    found: dict[Cell, list[int]] = defaultdict(lambda: [0, 0])
    made = lines(facts)
    grouped = {unit: _grouped(made, key) for unit, key in _KEYS.items()}
    for definition in definitions().values():
        for unit in grouped[definition.unit]:
            for part, numerator, denominator in added(definition, unit):
                first = unit[0].item
                cell = Cell(definition.id, whole_of(definition, part), first.prescriber,
                            first.moment.date().replace(day=1), part)
                found[cell][0] += numerator
                found[cell][1] += denominator
    return {cell: (both[0], both[1]) for cell, both in found.items() if any(both)}


def units(definition: Definition, facts: Sequence[Kept]) -> list[Group]:
    """One person's lines by what an indicator counts."""
    return _grouped(lines(facts), _KEYS[definition.unit])


def added(definition: Definition, unit: Group) -> Added:
    """What one unit adds: (part, numerator, denominator)."""
    return _KINDS[definition.kind](definition, unit)


def difference(before: Mapping[Cell, tuple[int, int]], after: Mapping[Cell, tuple[int, int]]) -> (
        Counts):
    """What must be added to the counts where a person's facts changed."""
    nothing = (0, 0)
    return {cell: change for cell in {**before, **after}
            if any(change := (after.get(cell, nothing)[0] - before.get(cell, nothing)[0],
                              after.get(cell, nothing)[1] - before.get(cell, nothing)[1]))}


def _grouped(made: Group, key: Callable[[Line], object]) -> list[Group]:
    groups: dict[object, list[Line]] = {}
    for line in made:
        groups.setdefault(key(line), []).append(line)
    return list(groups.values())


_KEYS: dict[Unit, Callable[[Line], object]] = {
    Unit.ITEM: lambda line: line.id,
    Unit.PRESCRIPTION: lambda line: (line.item.prescriber, line.item.group),
    Unit.PERSON: lambda line: (line.item.prescriber, line.item.moment.year),
}


def _share(definition: Definition, unit: Group) -> Added:
    counted = [line for line in unit if fits(line, definition.of)]
    # In a prescription the diagnosis may stand on one line and the medicine on another.
    looked = counted if definition.unit is Unit.ITEM else unit
    if counted:
        yield "", int(any(fits(line, definition.where) for line in looked)), 1


def _mean(definition: Definition, unit: Group) -> Added:
    counted = [line for line in unit if fits(line, definition.of)]
    if not counted:
        return
    if definition.sum == "items":
        yield "", len(counted), 1
        return
    filled = [line.filled.moment for line in counted if line.filled]
    if filled:
        written = min(line.item.moment for line in counted)
        yield "", max(0, (min(filled).date() - written.date()).days), 1


def _parts(definition: Definition, unit: Group) -> Added:
    counted = [line for line in unit if fits(line, definition.of)]
    if definition.part == "rule":
        if counted:
            yield "", 0, 1
            yield from ((rule, 1, 0) for rule in {rule for one in counted for rule in one.rules})
    elif definition.part == "pharmacy":
        filled = [line.filled for line in counted if line.filled and line.filled.pharmacy]
        if filled:
            yield "", 0, 1
            yield min(filled, key=lambda fill: fill.moment).pharmacy, 1, 0
    else:
        for line in counted:
            if line.products and line.item.preparation:
                yield line.item.preparation, 0, 1
                yield f"{line.item.preparation}|{line.products[0]}", 1, 0


_KINDS: dict[str, Callable[[Definition, Group], Added]] = {
    "share": _share, "mean": _mean, "part": _parts}

__all__ = ["Added", "Cell", "Counts", "Group", "added", "counts", "difference", "units"]
