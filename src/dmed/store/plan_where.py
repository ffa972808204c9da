"""One criterion as a condition on the rows of its index table. Pure: SQL text and its arguments.

Values always travel as arguments; only table, column and alias names of ours stand in the text.
What a prefix means follows https://hl7.org/fhir/R5/search.html#prefix
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from dmed.fhir.index import modified_number
from dmed.fhir.params_rows import CONVERTED
from dmed.fhir.path.units import UCUM
from dmed.fhir.query_model import (
    Address,
    Canonical,
    Link,
    Match,
    Moment,
    Near,
    Number,
    Quantity,
    Text,
    Value,
    Words,
)
from dmed.fhir.values import canonical_quantity
from dmed.kit.clock import now
from dmed.kit.ids import vid_at
from dmed.kit.text import fold
from dmed.store import plan_filter, text
from dmed.store.keys import (
    TRIGRAM_PARAMETERS,
    WIDE_MICROSECONDS,
    system_number,
    text_key,
    trigrams,
    type_number,
)
from dmed.store.plan_modifiers import (
    addresses_above,
    canonical,
    canonically,
    code_start,
    near,
    tokens_of,
)

PREFIX_BYTES_MAX = 320
"""Longer prefixes are compared to here: the index holds no more of a long text."""
_EXACT_TOLERANCE = 1e-11
"""Doubles of the index against decimals of the search: relative slack of comparisons."""


_Rows = Literal["all", "single", "range", "composite"]
"""Which rows a comparison of numbers is about: values, real ranges, both, or those of composites,
which know no difference."""


class Arguments:
    """The arguments of one statement, in order; `bind` answers with the placeholder."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def bind(self, value: Any, kind: str) -> str:
        """The placeholder of a new argument, cast to a PostgreSQL type."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"


def where(match: Match, alias: str, args: Arguments) -> str:
    """The condition on a row `alias` of the criterion's table: its parameter, any of its values."""
    return f"{_under(match, alias, args)} AND ({condition(match, alias, args)})"


def arms(match: Match, alias: str, args: Arguments) -> list[str]:
    """`where` in parts that hold of different rows, each a range of one index.

    Values and real ranges of numbers lie in different parts of their index. Asked as one condition
    the planner may read the whole parameter and hope for early matches: a bound that nothing
    passes took 12 s at ten million records.
    """
    if match.kind not in {"number", "quantity"} or match.modifier:
        return [where(match, alias, args)]
    kinds: tuple[_Rows, ...] = ("single", "range")
    ask = _number if match.kind == "number" else _quantity
    return [f"{_under(match, alias, args)} AND ({ask(match, alias, args, kind)})"
            for kind in kinds]


def _under(match: Match, alias: str, args: Arguments) -> str:
    numbers = numbers_of(match)
    if len(numbers) > 1:
        return f"{alias}.param = ANY({args.bind(numbers, 'int[]')})"
    return f"{alias}.param = {args.bind(numbers[0], 'int')}"


def numbers_of(match: Match) -> list[int]:
    """Under which numbers the rows of a criterion lie."""
    if match.kind == "quantity" and any(map(_is_converted, match.values)):
        return [match.number, modified_number(match.number, CONVERTED)]
    return list(match.numbers) or [match.number]


def table_of(kind: str) -> str:
    """The index table of a kind of parameter; places on the earth lie with the composites."""
    return "composite" if kind == "special" else kind


def on_vid(match: Match, vid: str, args: Arguments) -> str:
    """`_lastUpdated` as a condition on a version id, which carries its moment in milliseconds."""
    return " OR ".join(_moment_on_vid(value, vid, args) for value in _only(Moment, match.values))


def ordered(value: Value, alias: str, args: Arguments) -> str:
    """What an ordered part of a composite asks of low and high; "" for other parts."""
    match value:
        case Moment():
            return _filled(_MEANING[value.prefix], value, alias, args, "float8")
        case Number():
            return _compare(value.prefix, value.value, value.low, value.high, alias, args,
                            "composite")
        case Quantity():
            return _amount(value, alias, args, "composite")
    return ""


def condition(match: Match, alias: str, args: Arguments) -> str:
    """What a criterion asks of the values of a row `alias`, whatever its parameter."""
    if match.modifier.startswith("~"):
        return plan_filter.condition(
            match, alias, args.bind, lambda plain: condition(plain, alias, args),
            lambda column, prefix: _starts(column, prefix, args))
    return _CONDITIONS[match.kind](match, alias, args)


def _only(kind: type[Any], values: Sequence[Value]) -> list[Any]:
    found = [value for value in values if isinstance(value, kind)]
    assert len(found) == len(values), values
    return found


def _either(parts: Iterable[str]) -> str:
    return " OR ".join(parts) or "false"


# Tokens, references, addresses ---------------------------------------------------------------


def _among(column: str, values: Sequence[Any], kind: str, args: Arguments) -> str:
    if len(values) == 1:
        return f"{column} = {args.bind(values[0], kind)}"
    return f"{column} = ANY({args.bind(list(values), f'{kind}[]')})"


def _pairs(
    columns: tuple[str, str], pairs: Sequence[tuple[Any, Any]], kinds: tuple[str, str],
    args: Arguments,
) -> str:
    firsts, seconds = [one for one, _ in pairs], [two for _, two in pairs]
    head = _among(columns[0], firsts, kinds[0], args)
    if len(set(seconds)) == 1:
        return f"({head} AND {columns[1]} = {args.bind(seconds[0], kinds[1])})"
    one, two = args.bind(firsts, f"{kinds[0]}[]"), args.bind(seconds, f"{kinds[1]}[]")
    return (f"({head} AND ({columns[0]}, {columns[1]}) IN "
            f"(SELECT * FROM unnest({one}, {two})))")


def _token(match: Match, alias: str, args: Arguments) -> str:
    if match.modifier == "code-text":
        return _either(
            code_start(text, alias, args.bind, partial(_starts, args=args))
            for text in _only(Text, match.values))
    tokens = tokens_of(match)
    codes = [text_key(t.code) for t in tokens if t.system is None and t.code is not None]
    pairs = [(text_key(t.code), system_number(t.system))
             for t in tokens if t.system is not None and t.code is not None]
    systems = [system_number(t.system) for t in tokens if t.system is not None and t.code is None]
    parts = []
    if codes:
        parts.append(_among(f"{alias}.code", codes, "text", args))
    if pairs:
        parts.append(_pairs((f"{alias}.code", f"{alias}.system"), pairs, ("text", "bigint"), args))
    if systems:
        parts.append(_among(f"{alias}.system", systems, "bigint", args))
    return _either(parts)


def _reference(match: Match, alias: str, args: Arguments) -> str:
    named = [value for value in match.values if isinstance(value, Canonical)]
    links: list[Link] = _only(Link, [each for each in match.values if each not in named])
    parts = [canonically(named, alias, args.bind)] if named else []
    if match.modifier in {"below", "above"}:
        start = partial(_starts, args=args)
        parts += [canonical(link, match.modifier, alias, args.bind, start)
                  for link in links if link.type == ""]
        links = [link for link in links if link.type]
    free = [text_key(link.id) for link in links if link.type is None]
    typed = [(text_key(link.id), type_number(link.type))
             for link in links if link.type is not None and not link.version]
    if free:
        parts.append(_among(f"{alias}.id", free, "text", args))
    if typed:
        parts.append(_pairs((f"{alias}.id", f"{alias}.type"), typed, ("text", "smallint"), args))
    parts += [
        f"({alias}.id = {args.bind(text_key(link.id), 'text')} "
        f"AND {alias}.type = {args.bind(type_number(link.type or ''), 'smallint')} "
        f"AND {alias}.version = {args.bind(link.version, 'text')})"
        for link in links if link.type is not None and link.version
    ]
    return _either(parts)


def _uri(match: Match, alias: str, args: Arguments) -> str:
    texts = [address.text for address in _only(Address, match.values)]
    column = f"{alias}.value"
    if match.modifier == "below":
        return _either(_below(column, text, args) for text in texts)
    if match.modifier == "above":
        above = sorted({key for text in texts for key in addresses_above(text)})
        return _among(column, above, "text", args)
    if match.modifier == "contains":
        return _either(f"strpos({column}, {args.bind(text, 'text')}) > 0" for text in texts)
    return _among(column, [text_key(text) for text in texts], "text", args)


def _below(column: str, text: str, args: Arguments) -> str:
    """The address itself and all below it: `http://a/b` has `http://a/b/c` but not `http://a/bc`."""
    base = text.rstrip("/")
    itself = _among(column, sorted({text_key(text), text_key(base)}), "text", args)
    return f"{itself} OR {_starts(column, base + '/', args)}"


# Strings -------------------------------------------------------------------------------------


def _string(match: Match, alias: str, args: Arguments) -> str:
    if match.values and isinstance(match.values[0], Words):
        words: list[Words] = _only(Words, match.values)
        return _either(_with_words(match.number, each, alias, args) for each in words)
    texts: list[Text] = _only(Text, match.values)
    if match.modifier == "exact":
        return _either(_exactly(text.text, alias, args) for text in texts)
    if match.modifier == "contains":
        return _either(_contains(match.number, text.key, alias, args) for text in texts)
    return _either(_starts(f"{alias}.folded", text.key, args) for text in texts)


def _exactly(text: str, alias: str, args: Arguments) -> str:
    return (f"({alias}.folded = {args.bind(text_key(fold(text)), 'text')} AND "
            f"coalesce({alias}.exact, {alias}.folded) = {args.bind(text_key(text), 'text')})")


def _contains(number: int, key: str, alias: str, args: Arguments) -> str:
    found = f"strpos({alias}.folded, {args.bind(key, 'text')}) > 0"
    grams = trigrams(key) if number in TRIGRAM_PARAMETERS else []
    return f"({alias}.grams @> {args.bind(grams, 'int[]')} AND {found})" if grams else found


_SIGNS = '!"#$%&()*+,-./:;<=>?@[\\]^_{|}~'
"""Signs between words: what folding leaves of punctuation, ASCII as nearly all of it."""


def _with_words(number: int, words: Words, alias: str, args: Arguments) -> str:
    """Whether the words stand in a text: looked for by its letters first, then read as words."""
    column = f"{alias}.folded"
    parts = [f"strpos({column}, {args.bind(word, 'text')}) > 0" for word in words.needed]
    grams = sorted({gram for word in words.needed for gram in trigrams(word)})
    if grams and number in TRIGRAM_PARAMETERS:
        parts.insert(0, f"{alias}.grams @> {args.bind(grams, 'int[]')}")
    plain = (f"translate({column}, {args.bind(_SIGNS, 'text')}, "
             f"{args.bind(' ' * len(_SIGNS), 'text')})")
    parts.append(f"to_tsvector('simple', {plain}) @@ {args.bind(words.query, 'text')}::tsquery")
    return f"({' AND '.join(parts)})"


def _starts(column: str, prefix: str, args: Arguments) -> str:
    raw = prefix.encode()
    if len(raw) > PREFIX_BYTES_MAX:
        prefix = raw[:PREFIX_BYTES_MAX].decode(errors="ignore")
    low = f"{column} >= {args.bind(prefix, 'text')}"
    end = after_prefix(prefix)
    return low if end is None else f"({low} AND {column} < {args.bind(end, 'text')})"


def after_prefix(prefix: str) -> str | None:
    """The smallest text above all that start with the prefix, in byte order; None without one."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code <= 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)
        prefix = prefix[:-1]
    return None


# Dates ---------------------------------------------------------------------------------------


def _date(match: Match, alias: str, args: Arguments) -> str:
    return _either(_moment(value, alias, args) for value in _only(Moment, match.values))


def widened(value: Moment) -> tuple[int, int]:
    """What `ap` covers: a tenth of the distance to the present, on both sides."""
    present = int(now().timestamp() * 1_000_000)
    margin = abs(present - (value.low + value.high) // 2) // 10
    return value.low - margin, value.high + margin


_MEANING = {
    "eq": "({low} >= {start} AND {high} <= {end})",
    "ne": "({low} < {start} OR {high} > {end})",
    "gt": "{high} > {end}",
    "ge": "({low} >= {start} OR {high} > {end})",
    "lt": "{low} < {start}",
    "le": "({low} < {start} OR {high} <= {end})",
    "sa": "{low} > {end}",
    "eb": "{high} < {start}",
    "ap": "({low} <= {end} AND {high} >= {start})",
    "po": "({low} <= {end} AND {high} >= {start})",
}
"""What a prefix asks of a row's low and high, given the start and end of the searched date."""
_REACH = {
    "eq": "{low} >= {start} AND {low} <= {end}",
    "gt": "{low} > {before_end}",
    "ge": "{low} >= {before_both}",
    "le": "{low} <= {end}",
    "eb": "{low} < {start}",
    "ap": "{low} >= {before_start} AND {low} <= {end}",
    "po": "{low} >= {before_start} AND {low} <= {end}",
}
"""What follows for the low of a narrow row: it lets the index start and stop."""
_WIDE_REACH = {
    "eq": "{low} >= {start} AND {low} <= {end}",
    "le": "{low} <= {end}",
    "eb": "{low} < {start}",
    "ap": "{low} <= {end}",
    "po": "{low} <= {end}",
}
"""What follows for the low of a wide row."""


def _moment(value: Moment, alias: str, args: Arguments) -> str:
    """The condition once for narrow rows and once for wide: each half has an index of its own."""
    meaning = _MEANING[value.prefix]
    parts = [f"NOT {alias}.wide", _REACH.get(value.prefix, ""), meaning]
    narrow = " AND ".join(part for part in parts if part)
    if value.prefix == "eq" and value.high - value.low <= WIDE_MICROSECONDS:
        return f"({_filled(narrow, value, alias, args, 'bigint')})"
    parts = [f"{alias}.wide", _WIDE_REACH.get(value.prefix, ""), meaning]
    wide = " AND ".join(part for part in parts if part)
    halves = (_filled(half, value, alias, args, "bigint") for half in (narrow, wide))
    return "(" + " OR ".join(f"({half})" for half in halves) + ")"


def _filled(template: str, value: Moment, alias: str, args: Arguments, kind: str) -> str:
    start, end = widened(value) if value.prefix == "ap" else (value.low, value.high)
    moments = {
        "start": start, "end": end, "before_start": start - WIDE_MICROSECONDS,
        "before_end": end - WIDE_MICROSECONDS,
        "before_both": min(start, end - WIDE_MICROSECONDS),
    }
    bound = {
        name: args.bind(float(moment) if kind == "float8" else moment, kind)
        for name, moment in moments.items() if f"{{{name}}}" in template
    }
    return template.format(low=f"{alias}.low", high=f"{alias}.high", **bound)


def _moment_on_vid(value: Moment, vid: str, args: Arguments) -> str:
    start, end = widened(value) if value.prefix == "ap" else (value.low, value.high)
    # The first millisecond that is not before the start, and the first that is after the end.
    # Far years lie beyond every version id.
    first, after = (min(vid_at(at), 2**63 - 1) for at in (-(-start // 1000), end // 1000 + 1))

    def compared(sign: str, limit: int) -> str:
        return f"{vid} {sign} {args.bind(limit, 'bigint')}"

    match value.prefix:
        case "gt" | "sa":
            return compared(">=", after)
        case "ge":
            return compared(">=", first)
        case "lt" | "eb":
            return compared("<", first)
        case "le":
            return compared("<", after)
        case "ne":
            return f"({compared('<', first)} OR {compared('>=', after)})"
        case _:
            return f"({compared('>=', first)} AND {compared('<', after)})"


# Numbers and quantities ----------------------------------------------------------------------


def _number(match: Match, alias: str, args: Arguments, rows: _Rows = "all") -> str:
    return _either(
        _compare(value.prefix, value.value, value.low, value.high, alias, args, rows)
        for value in _only(Number, match.values)
    )


def _quantity(match: Match, alias: str, args: Arguments, rows: _Rows = "all") -> str:
    wanted: list[Quantity] = _only(Quantity, match.values)
    either = [_amount(value, alias, args, rows) for value in wanted]
    if len({_is_converted(value) for value in wanted}) > 1:
        # A number without a unit means the value as it was written.
        own = f"{alias}.param = {args.bind(match.number, 'int')}"
        either = [one if _is_converted(value) else f"({own} AND {one})"
                  for value, one in zip(wanted, either, strict=True)]
    return _either(either)


def _is_converted(value: Value) -> bool:
    """Whether a quantity also means values in other units."""
    return isinstance(value, Quantity) and value.system in {None, UCUM} and bool(value.code)


def _amount(
    quantity: Quantity, alias: str, args: Arguments, rows: _Rows = "all"
) -> str:
    with_unit = rows != "composite"
    number = quantity.number
    value, low, high, unit = number.value, number.low, number.high, quantity.code
    if quantity.system and unit:
        canonical = canonical_quantity(low, high, quantity.system, unit)
        if canonical is not None:
            exact = canonical_quantity(value, value, quantity.system, unit)
            assert exact is not None
            value, low, high, unit = exact.low, canonical.low, canonical.high, canonical.unit
    parts = [_compare(number.prefix, value, low, high, alias, args, rows)]
    if unit is not None and with_unit:
        parts.append(f"{alias}.code = {args.bind(text_key(unit), 'text')}")
    if quantity.system is not None and with_unit:
        parts.append(f"{alias}.system = {args.bind(system_number(quantity.system), 'bigint')}")
    return f"({' AND '.join(parts)})"


def _compare(
    prefix: str, value: Decimal, low: Decimal, high: Decimal, alias: str, args: Arguments,
    rows: _Rows,
) -> str:
    """A row holds a value with its written precision, or a real range.

    A value counts as the middle of its bounds: 100 is not greater than 100 although it may stand
    for 100.4. A range, whose `middle` is NULL, counts with its ends. Rows of composites have no
    such column: there a range counts as its middle, too.
    """
    slack = max(abs(float(low)), abs(float(high))) * _EXACT_TOLERANCE
    limits = {
        "low": float(low) - slack, "high": float(high) - slack,
        "over": float(value) + slack, "under": float(value) - slack,
    }
    if prefix == "ap":
        # Not by the digits of the value: a conversion of units has changed them.
        margin = max(abs(value) / 10, high - value)
        limits = {"low": float(value - margin) - slack, "high": float(value + margin) + slack}
    asked = []
    if rows != "range":
        at = _middle_of(alias) if rows == "composite" else f"{alias}.middle"
        single = _COMPARED[prefix].format(start=at, end=at, **_NAMES)
        asked.append(f"({_limited(single, limits, args)})")
    if rows in {"all", "range"}:
        wide = _COMPARED[prefix].format(start=f"{alias}.low", end=f"{alias}.high", **_NAMES)
        asked.append(f"({alias}.middle IS NULL AND ({_limited(wide, limits, args)}))")
    return f"({' OR '.join(asked)})"


_COMPARED = {
    "eq": "{start} >= {low} AND {end} <= {high}",
    "ne": "{start} < {low} OR {end} > {high}",
    "gt": "{end} > {over}",
    "ge": "{end} >= {under}",
    "lt": "{start} < {under}",
    "le": "{start} <= {over}",
    "sa": "{start} > {over}",
    "eb": "{end} < {under}",
    "ap": "{end} >= {low} AND {start} <= {high}",
}
"""What a prefix asks of a value or range, against the bounds of the searched number."""
_NAMES = {name: f"{{{name}}}" for name in ("low", "high", "over", "under")}


def _limited(template: str, limits: Mapping[str, float], args: Arguments) -> str:
    bound = {name: args.bind(limit, "float8")
             for name, limit in limits.items() if f"{{{name}}}" in template}
    return template.format(**bound)


def _near(match: Match, alias: str, args: Arguments) -> str:
    return _either(near(place, alias, args.bind) for place in _only(Near, match.values))


def _middle_of(alias: str) -> str:
    return f"(({alias}.low + {alias}.high) / 2)"


_CONDITIONS: Mapping[str, Callable[[Match, str, Arguments], str]] = {
    "string": _string,
    "token": _token,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
    "reference": _reference,
    "uri": _uri,
    "special": _near,
    "words": lambda match, alias, args: text.condition(match, alias, args.bind),
}
