"""Contained resources as SQL: which part of which record fits. Pure.

A part is (vid, bucket, place among the contained resources of its type), see
fhir.params_contained. One criterion leads with its rows, the others are probed at the same part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from dmed.fhir.index import modified_number, parameter_number
from dmed.fhir.params_contained import PARTS_MAX, POINTS, part_numbers, presence
from dmed.fhir.query_model import Chain, Criterion, Logic, Match, Missing, Token
from dmed.store.keys import text_key, type_number
from dmed.store.plan_where import Arguments, condition, numbers_of, table_of

_NEGATIVE = frozenset({"not", "not-in"})


def parts(
    type_name: str, criteria: Sequence[Criterion], most: int, args: Arguments
) -> tuple[str, str]:
    """The rows that lead, at most so many, as SELECT of vid, bucket and part; and what else must
    hold of such a row `p`.
    """
    lead = next((each for each in criteria if _leads(each)), None)
    rest = [holds(each, type_name, args) for each in criteria if each is not lead]
    if isinstance(lead, Match):
        rows = " UNION ALL ".join(_rows(lead, args))
    else:
        numbers = presence(type_name)
        rows = (f"SELECT d.vid, d.bucket, {_place(numbers, args)} AS part FROM token d "
                f"WHERE d.param = ANY({args.bind(numbers, 'int[]')})")
    limit = args.bind(most, "int")
    return (f"SELECT DISTINCT d.vid, d.bucket, d.part FROM ({rows} LIMIT {limit}) AS d",
            " AND ".join(rest) or "true")


def around(
    chain: Chain, type_name: str, criteria: Sequence[Criterion], most: int, args: Arguments
) -> str:
    """Ids of the records that point, by a chain's parameter, to a part of theirs that matches."""
    lead, rest = parts(type_name, criteria, most, args)
    points = args.bind(modified_number(chain.number, POINTS), "int")
    return (
        f"WITH l AS MATERIALIZED ({lead}) SELECT DISTINCT r.id FROM l AS p "
        f"JOIN token e ON e.vid = p.vid AND e.bucket = p.bucket "
        f"AND e.param = ({args.bind(presence(type_name), 'int[]')})[p.part + 1] "
        f"JOIN token o ON o.vid = p.vid AND o.bucket = p.bucket AND o.param = {points} "
        f"AND o.code = e.code "
        f"JOIN resource r ON r.type = {args.bind(type_number(chain.type), 'smallint')} "
        f"AND r.vid = p.vid AND r.bucket = p.bucket WHERE {rest}"
    )


def _leads(criterion: Criterion) -> bool:
    return isinstance(criterion, Match) and criterion.modifier not in _NEGATIVE


def _rows(match: Match, args: Arguments) -> Iterator[str]:
    for one, numbers in _single(match):
        flat = [number for each in numbers for number in part_numbers(each)]
        test = _test(one, "d", args)
        yield (f"SELECT d.vid, d.bucket, {_place(flat, args)} AS part "
               f"FROM {table_of(one.kind)} d "
               f"WHERE d.param = ANY({args.bind(flat, 'int[]')}) AND ({test})")


def _place(numbers: list[int], args: Arguments) -> str:
    return (f"((array_position({args.bind(numbers, 'int[]')}, d.param) - 1) % {PARTS_MAX})::int")


def _single(match: Match) -> Iterator[tuple[Match, list[int]]]:
    """The match with the numbers of its rows; quantities one by one, since only some convert."""
    if match.code == "_id":
        yield match, [presence_base(match.type)]
    elif match.kind == "quantity":
        for value in match.values:
            one = msgspec.structs.replace(match, values=(value,))
            yield one, numbers_of(one)
    else:
        yield match, numbers_of(match)


def presence_base(type_name: str) -> int:
    """The number of `_id`, from which those of the presence of parts are made."""
    return parameter_number(type_name, "_id")


def _test(match: Match, alias: str, args: Arguments) -> str:
    if match.code == "_id":
        ids = [text_key(value.code) for value in match.values
               if isinstance(value, Token) and value.code is not None and not value.system]
        return f"{alias}.code = ANY({args.bind(ids, 'text[]')})"
    # Contained names have no trigrams: what asks for them by number must not.
    return condition(msgspec.structs.replace(match, number=0), alias, args)


def holds(criterion: Criterion, type_name: str, args: Arguments) -> str:
    """A criterion as a condition on a part `p`."""
    match criterion:
        case Logic(sign=sign, parts=inner):
            made = [holds(each, type_name, args) for each in inner]
            if sign == "not":
                return f"NOT {made[0]}"
            between, empty = (" AND ", "true") if sign == "and" else (" OR ", "false")
            return f"({between.join(made) or empty})"
        case Missing(kind=kind, number=number, missing=is_missing):
            if not number:  # Every part counts as having an id.
                return "false" if is_missing else "true"
            found = _probe(table_of(kind), [number], "true", args)
            return f"NOT {found}" if is_missing else found
        case Match(modifier=modifier):
            probes = [_probe(table_of(one.kind), numbers, _test(one, "x", args), args)
                      for one, numbers in _single(criterion)]
            found = f"({' OR '.join(probes)})"
            return f"NOT {found}" if modifier in _NEGATIVE else found
    raise AssertionError(criterion)


def _probe(table: str, numbers: Sequence[int], test: str, args: Arguments) -> str:
    own = ", ".join(f"({args.bind(part_numbers(each), 'int[]')})[p.part + 1]" for each in numbers)
    return (f"EXISTS (SELECT FROM {table} x WHERE x.vid = p.vid AND x.bucket = p.bucket "
            f"AND x.param = ANY(ARRAY[{own}]) AND ({test}) OFFSET 0)")
