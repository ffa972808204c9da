"""Conditions of the modifiers that are more than a comparison: places, levels, starts of codes.

Pure SQL text over our own columns; values travel as arguments, as in `plan_where`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import asin, cos, degrees, pi, radians, sin

from dmed.fhir.query_model import Canonical, CodeSet, Link, Match, Near, Text, Token
from dmed.store.keys import composite_number, text_key

Bind = Callable[[object, str], str]
Start = Callable[[str, str], str]
EARTH_KM = 6371.0088
"""Mean radius of the earth: distances are on a sphere, right to half a per cent."""
_CASED_MAX = 3
"""So many first letters of a code are looked for in both cases, each pair a range of the index."""
_PLACE_KEY = composite_number("")
"""Positions lie in the table of composites under this key: low is latitude, high longitude."""


def tokens_of(match: Match) -> list[Token]:
    """The tokens of a criterion, those of value sets and hierarchies too, each once."""
    found: dict[Token, None] = {}
    for value in match.values:
        if isinstance(value, CodeSet):
            found.update(dict.fromkeys(value.tokens))
        else:
            assert isinstance(value, Token), value
            found[value] = None
    return list(found)


# Places --------------------------------------------------------------------------------------


def near(place: Near, alias: str, bind: Bind) -> str:
    """A box of latitude that the index walks, a box of longitude, then the distance itself."""
    angle = place.distance_km / EARTH_KM
    south = place.latitude - degrees(angle)
    north = place.latitude + degrees(angle)
    parts = [
        f"{alias}.key = {bind(_PLACE_KEY, 'bigint')}",
        f"{alias}.low >= {bind(south - 1e-9, 'float8')}",
        f"{alias}.low <= {bind(north + 1e-9, 'float8')}",
    ]
    width = _width(place.latitude, angle)
    if width is not None:
        # The shortest way around: a box may lie across the line of 180 degrees.
        away = f"abs({alias}.high - {bind(place.longitude, 'float8')})"
        parts.append(f"least({away}, 360 - {away}) <= {bind(width + 1e-9, 'float8')}")
    parts.append(f"{distance(place, alias, bind)} <= {bind(place.distance_km + 1e-9, 'float8')}")
    return f"({' AND '.join(parts)})"


def distance(place: Near, alias: str, bind: Bind) -> str:
    """How far a row of positions is from a place, in kilometres along a great circle."""
    latitude, longitude = bind(place.latitude, "float8"), bind(place.longitude, "float8")
    half = (f"power(sin(radians({alias}.low - {latitude}) / 2), 2) + cos(radians({latitude})) * "
            f"cos(radians({alias}.low)) * power(sin(radians({alias}.high - {longitude}) / 2), 2)")
    return f"({2 * EARTH_KM} * asin(least(1, sqrt(least(1, {half})))))"


def _width(latitude: float, angle: float) -> float | None:
    """How far a circle reaches to either side, in degrees of longitude; None around a pole."""
    if abs(radians(latitude)) + angle >= pi / 2 - 1e-9:
        return None
    return degrees(asin(min(1.0, sin(angle) / cos(radians(latitude)))))


# Codes that start with a text ----------------------------------------------------------------


def code_start(text: Text, alias: str, bind: Bind, starting: Start) -> str:
    """Codes that start with a text, in whatever case.

    Codes lie in the index as they are written, so the first letters are looked for in each case.
    """
    plain = text.text
    heads = {"".join(letters) for letters in product(
        *({sign.lower(), sign.upper()} for sign in plain[:_CASED_MAX]))}
    ranges = " OR ".join(starting(f"{alias}.code", head) for head in sorted(heads))
    if len(plain) <= _CASED_MAX:
        return f"({ranges})"
    same = f"starts_with(lower({alias}.code), {bind(plain.lower(), 'text')})"
    return f"(({ranges}) AND {same})"


# Canonical addresses -------------------------------------------------------------------------


def canonical(link: Link, modifier: str, alias: str, bind: Bind, starting: Start) -> str:
    """`:below` and `:above` of an address: by its version if it names one, else by its path.

    Version 1.2 has below it 1.2 and all that go on with a point or a hyphen, above it 1 and 1.2.
    """
    column, version = f"{alias}.id", f"{alias}.version"
    typed = f"{alias}.type = {bind(0, 'smallint')}"
    if link.version:
        same = f"{typed} AND {column} = {bind(text_key(link.id), 'text')}"
        if modifier == "above":
            above = _versions_above(link.version)
            return f"({same} AND {version} = ANY({bind(above, 'text[]')}))"
        given = bind(link.version, "text")
        return (f"({same} AND ({version} = {given} OR starts_with({version}, {given} || '.') "
                f"OR starts_with({version}, {given} || '-')))")
    base = link.id.rstrip("/")
    if modifier == "above":
        return f"({typed} AND {column} = ANY({bind(addresses_above(link.id), 'text[]')}))"
    itself = [text_key(link.id), text_key(base)]
    return (f"({typed} AND ({column} = ANY({bind(itself, 'text[]')}) "
            f"OR {starting(column, base + '/')}))")


def canonically(named: Sequence[Canonical], alias: str, bind: Bind) -> str:
    """References to these addresses: those that name no version, and those that name the same."""
    urls = bind([text_key(each.url) for each in named], "text[]")
    versions = bind([each.version for each in named], "text[]")
    return (f"({alias}.type = {bind(0, 'smallint')} AND {alias}.id = ANY({urls}) AND "
            f"({alias}.version IS NULL OR ({alias}.id, {alias}.version) IN "
            f"(SELECT * FROM unnest({urls}, {versions}))))")


def _versions_above(version: str) -> list[str]:
    cuts = [at for at, sign in enumerate(version) if sign in ".-" and at]
    return [version[:at] for at in cuts] + [version]


def addresses_above(text: str) -> list[str]:
    """The address itself and every address above it: all that `:above` finds."""
    found = [text_key(text)]
    base = text.rstrip("/")
    while "/" in base and not base.endswith("/"):
        found.append(text_key(base))
        base = base.rpartition("/")[0]
    return found

