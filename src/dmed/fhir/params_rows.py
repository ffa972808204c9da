"""FHIR values to index rows: one maker of a row writer for each parameter type and value type.

The tables follow https://hl7.org/fhir/R5/search.html#table. A writer serves all parameters
that index the same value, so the value is read once: `writer("token", "Coding", (n1, n2))`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from msgspec import UNSET

from dmed.fhir.areas import areas, bounds, data_of
from dmed.fhir.facts import facts
from dmed.fhir.index import Index, modified_number, parameter_number, shared_number
from dmed.fhir.values import (
    MAX_NUMBER,
    MIN_NUMBER,
    canonical_quantity,
    date_bounds,
    hull,
    named_type,
    number_bounds,
    period_bounds,
    reference,
)
from dmed.kit.text import fold, name_key

Write = Callable[[Any, Index], None]
Maker = Callable[[tuple[int, ...]], Write]

CONVERTED = "ucum"
"""The modifier under whose number the values in canonical units stand: a search without a unit
means the number as it was written."""
LONGITUDE = "longitude"
"""The modifier under whose number the second half of a boundary's box stands."""
CURRENCY = "urn:iso:std:iso:4217"
_NAME_PARTS = ("family", "text", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")
_DATES = frozenset({"date", "dateTime", "instant"})
_TEXTS = frozenset({"string", "markdown", "code", "id", "uri", "url", "canonical", "oid", "uuid"})
_ADDRESSES = frozenset({"uri", "url", "canonical", "oid", "uuid"})
_INTEGERS = frozenset({"integer", "positiveInt", "unsignedInt"})
_QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration"})

fold_cached = lru_cache(maxsize=16384)(fold)
name_key_cached = lru_cache(maxsize=16384)(name_key)
reference_cached = lru_cache(maxsize=16384)(reference)
"""Records that stand together refer to the same person, visit and institution."""
PHONETIC = frozenset(
    parameter_number(name, "phonetic")
    for name in ("Patient", "Person", "Practitioner", "RelatedPerson")
)
"""Numbers of the parameters whose key is the skeleton of a name, not its folded text."""


def writer(kind: str, type_name: str, numbers: tuple[int, ...]) -> Write | None:
    """What writes the rows of a value of that FHIR type for parameters of that kind.

    None where the specification gives such a value no meaning for the kind (a boolean under
    a date parameter): nothing is indexed then.
    """
    maker = _maker(kind, type_name)
    return None if maker is None else maker(numbers)


def plain_texts(kind: str) -> frozenset[str]:
    """The types of plain texts that give rows for a kind: codes as tokens, dates as dates."""
    return {"date": _DATES, "token": _TEXTS, "string": _TEXTS}.get(kind, frozenset())


@lru_cache(maxsize=4096)
def writer_of_any(kind: str, type_name: str, numbers: tuple[int, ...]) -> Write | None:
    """Like `writer`, for a type met at run time: System types and whole records too."""
    if type_name.startswith("System."):
        name = type_name.removeprefix("System.")
        type_name = name[0].lower() + name[1:]
    found = facts().types.get(type_name)
    if found is not None and found.kind == "resource":
        type_name = "Resource"
    return writer(kind, type_name, numbers)


def _maker(kind: str, type_name: str) -> Maker | None:
    named = _MAKERS.get((kind, type_name))
    if named is not None:
        return named
    if kind == "date" and type_name in _DATES:
        return _date
    if kind == "string" and type_name in _TEXTS:
        return _text
    if kind == "token" and type_name in _TEXTS:
        return _code
    if kind == "reference" and type_name in _ADDRESSES:
        return _canonical
    if kind == "uri" and type_name in _ADDRESSES:
        return _uri
    if kind == "number" and type_name in _INTEGERS:
        return _integer
    if kind == "quantity" and type_name in _QUANTITIES:
        return _quantity
    return None


# Strings -----------------------------------------------------------------------------------


def _text(numbers: tuple[int, ...]) -> Write:
    heard = tuple(number for number in numbers if number in PHONETIC)
    read = tuple(number for number in numbers if number not in PHONETIC)

    def write(text: str, rows: Index) -> None:
        key = fold_cached(text)
        for number in read:
            rows.strings.append((number, key, text))
        for number in heard:
            # One name in three scripts has one skeleton: `phonetic` finds it in any spelling.
            rows.strings.extend((number, word, text) for word in name_key_cached(text).split())

    return write


def _parts(names: tuple[str, ...]) -> Maker:
    def make(numbers: tuple[int, ...]) -> Write:
        one = _text(numbers)

        def write(value: Any, rows: Index) -> None:
            for name in names:
                part = getattr(value, name)
                if part is UNSET:
                    continue
                if isinstance(part, str):
                    one(part, rows)
                    continue
                for text in part:
                    if text is not None:
                        one(text, rows)

        return write

    return make


def _field(name: str, maker: Maker) -> Maker:
    """The rows of one child of a value: CodeableReference.concept, Identifier.value."""

    def make(numbers: tuple[int, ...]) -> Write:
        inner = maker(numbers)

        def write(value: Any, rows: Index) -> None:
            child = getattr(value, name)
            if child is not UNSET:
                inner(child, rows)

        return write

    return make


# Tokens ------------------------------------------------------------------------------------


def _code(numbers: tuple[int, ...]) -> Write:
    def write(code: str, rows: Index) -> None:
        for number in numbers:
            rows.tokens.append((number, "", code))

    return write


def _boolean(numbers: tuple[int, ...]) -> Write:
    def write(value: bool, rows: Index) -> None:
        for number in numbers:
            rows.tokens.append((number, "", "true" if value else "false"))

    return write


def _pair(system_name: str, code_name: str) -> Maker:
    def make(numbers: tuple[int, ...]) -> Write:
        def write(value: Any, rows: Index) -> None:
            system, code = getattr(value, system_name), getattr(value, code_name)
            if code is UNSET:
                if system is UNSET:
                    return
                code = ""
            elif system is UNSET:
                system = ""
            for number in numbers:
                rows.tokens.append((number, system, code))

        return write

    return make


_coded = _pair("system", "code")


def owned(numbers: tuple[int, ...], modifier: str) -> int:
    """The number of the rows that a modifier asks for at a place of the record.

    The parameters that index a place share these rows; 0 where none are wanted.
    """
    shared = shared_number(numbers)
    return modified_number(shared, modifier) if shared else 0


def _said(numbers: tuple[int, ...]) -> Write:
    """The row of a display or text, for `:text`: folded only, nobody asks for it as it stands."""
    number = owned(numbers, "text")

    def write(text: str, rows: Index) -> None:
        if number:
            key = fold_cached(text)
            rows.strings.append((number, key, key))

    return write


def _coding(numbers: tuple[int, ...]) -> Write:
    one, said = _coded(numbers), _said(numbers)

    def write(value: Any, rows: Index) -> None:
        one(value, rows)
        if value.display is not UNSET:
            said(value.display, rows)

    return write


def _concept(numbers: tuple[int, ...]) -> Write:
    one, said = _coding(numbers), _said(numbers)

    def write(value: Any, rows: Index) -> None:
        if value.coding is not UNSET:
            for coding in value.coding:
                one(coding, rows)
        if value.text is not UNSET:
            said(value.text, rows)

    return write


def _identifier(numbers: tuple[int, ...]) -> Write:
    one, said, number = _pair("system", "value")(numbers), _said(numbers), owned(numbers, "of-type")

    def write(value: Any, rows: Index) -> None:
        one(value, rows)
        kind = value.type
        if kind is UNSET or not number:
            return
        if kind.text is not UNSET:
            said(kind.text, rows)
        if kind.coding is UNSET or value.value is UNSET:
            return
        for coding in kind.coding:
            if coding.code is not UNSET:
                system = "" if coding.system is UNSET else coding.system
                rows.tokens.append((number, system, f"{coding.code}|{value.value}"))

    return write


# Dates -------------------------------------------------------------------------------------


def _span(bounds: tuple[int, int], numbers: tuple[int, ...], rows: Index) -> None:
    for number in numbers:
        rows.dates.append((number, *bounds))


def _date(numbers: tuple[int, ...]) -> Write:
    def write(text: str, rows: Index) -> None:
        _span(date_bounds(text), numbers, rows)

    return write


def _period(numbers: tuple[int, ...]) -> Write:
    def write(value: Any, rows: Index) -> None:
        bounds = _period_of(value)
        if bounds is not None:
            _span(bounds, numbers, rows)

    return write


def _period_of(value: Any) -> tuple[int, int] | None:
    start, end = value.start, value.end
    if start is UNSET and end is UNSET:
        return None
    return period_bounds(
        None if start is UNSET else start,
        None if end is UNSET else end,
    )


def _timing(numbers: tuple[int, ...]) -> Write:
    def write(value: Any, rows: Index) -> None:
        spans = []
        if value.event is not UNSET:
            spans = [date_bounds(text) for text in value.event if text is not None]
        if value.repeat is not UNSET and value.repeat.boundsPeriod is not UNSET:
            bounds = _period_of(value.repeat.boundsPeriod)
            if bounds is not None:
                spans.append(bounds)
        whole = hull(spans)
        if whole is not None:
            _span(whole, numbers, rows)

    return write


# Numbers and quantities --------------------------------------------------------------------


def _integer(numbers: tuple[int, ...]) -> Write:
    def write(value: int, rows: Index) -> None:
        exact = Decimal(value)
        for number in numbers:
            rows.numbers.append((number, exact, exact))

    return write


def _decimal(numbers: tuple[int, ...]) -> Write:
    def write(value: Decimal, rows: Index) -> None:
        low, high = number_bounds(value)
        for number in numbers:
            rows.numbers.append((number, low, high))

    return write


def _amount(
    low: Decimal, high: Decimal, system: str, unit: str, numbers: tuple[int, ...], rows: Index
) -> None:
    other = canonical_quantity(low, high, system, unit)
    for number in numbers:
        rows.quantities.append((number, low, high, system, unit))
        if other is not None:
            rows.quantities.append((modified_number(number, CONVERTED), *other))


def _quantity_bounds(value: Any) -> tuple[Decimal, Decimal]:
    low, high = number_bounds(value.value)
    comparator = value.comparator
    if comparator is UNSET:
        return low, high
    if comparator in ("<", "<="):
        return MIN_NUMBER, high
    if comparator in (">", ">="):
        return low, MAX_NUMBER
    return low, high


def _unit(value: Any) -> tuple[str, str]:
    """System and code of a quantity; the human unit stands in where there is no code."""
    system = "" if value.system is UNSET else value.system
    if value.code is not UNSET:
        return system, value.code
    return system, "" if value.unit is UNSET else value.unit


def _quantity(numbers: tuple[int, ...]) -> Write:
    def write(value: Any, rows: Index) -> None:
        if value.value is not UNSET:
            _amount(*_quantity_bounds(value), *_unit(value), numbers, rows)

    return write


def _range(numbers: tuple[int, ...]) -> Write:
    def write(value: Any, rows: Index) -> None:
        low, high = value.low, value.high
        given = [each for each in (low, high) if each is not UNSET and each.value is not UNSET]
        if not given:
            return
        has_low = low is not UNSET and low.value is not UNSET
        has_high = high is not UNSET and high.value is not UNSET
        _amount(
            number_bounds(low.value)[0] if has_low else MIN_NUMBER,
            number_bounds(high.value)[1] if has_high else MAX_NUMBER,
            *_unit(given[0]),
            numbers,
            rows,
        )

    return write


def _money(numbers: tuple[int, ...]) -> Write:
    def write(value: Any, rows: Index) -> None:
        if value.value is not UNSET:
            currency = "" if value.currency is UNSET else value.currency
            low, high = number_bounds(value.value)
            _amount(low, high, CURRENCY if currency else "", currency, numbers, rows)

    return write


# References and addresses ------------------------------------------------------------------


def reference_writer(numbers: tuple[tuple[int, str], ...]) -> Write:
    """What writes the rows of a Reference; with each parameter number the only target type that
    it takes, or "" for any. Contained targets are not indexed; a logical one by its identifier.
    """
    free = tuple(number for number, only in numbers if not only)
    bound = tuple((number, only) for number, only in numbers if only)
    beside = beside_writer(numbers)

    def write(value: Any, rows: Index) -> None:
        if value.display is not UNSET or value.identifier is not UNSET:
            beside(value, rows)
        address = value.reference
        if address is UNSET or address.startswith("#"):
            return
        type_, id_, version = reference_cached(address)
        for number in free:
            rows.references.append((number, type_, id_, version))
        if not bound:
            return
        named = type_ or named_type(id_) or ("" if value.type is UNSET else value.type)
        for number, only in bound:
            if only == named:
                rows.references.append((number, type_, id_, version))

    return write


def reference_owners(numbers: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    """Under which numbers the displays and identifiers of a reference stand: one for all the
    parameters that take any target (""), and one for those of each target type.
    """
    owners: dict[str, list[int]] = {}
    for number, only in numbers:
        owners.setdefault(only, []).append(number)
    return tuple((shared_number(each), only) for only, each in owners.items())


def beside_writer(numbers: tuple[tuple[int, str], ...]) -> Write:
    """The rows of what a Reference says beside its address: display and identifier."""
    owners = tuple(
        (modified_number(number, "text"), modified_number(number, "identifier"), only)
        for number, only in reference_owners(numbers) if number
    )

    def write(value: Any, rows: Index) -> None:
        named = _named(value)
        for text, identifier, only in owners:
            if only and only != named:
                continue
            if value.display is not UNSET:
                key = fold_cached(value.display)
                rows.strings.append((text, key, key))
            if value.identifier is not UNSET and value.identifier.value is not UNSET:
                system = value.identifier.system
                rows.tokens.append(
                    (identifier, "" if system is UNSET else system, value.identifier.value))

    return write


def _named(value: Any) -> str:
    """The type of a Reference's target as far as the Reference tells it."""
    named = "" if value.reference is UNSET else named_type(value.reference)
    return named or ("" if value.type is UNSET else value.type)


def _reference(numbers: tuple[int, ...]) -> Write:
    return reference_writer(tuple((number, "") for number in numbers))


def _canonical(numbers: tuple[int, ...]) -> Write:
    def write(text: str, rows: Index) -> None:
        if text.startswith("#"):
            return
        target = reference_cached(text)
        for number in numbers:
            rows.references.append((number, *target))

    return write


def _resource(numbers: tuple[int, ...]) -> Write:
    """A whole record where a reference is wanted (Bundle.composition): itself is the target."""

    def write(value: Any, rows: Index) -> None:
        if value.id is not UNSET:
            for number in numbers:
                rows.references.append((number, value.fhir_type, value.id, ""))

    return write


def _uri(numbers: tuple[int, ...]) -> Write:
    def write(text: str, rows: Index) -> None:
        for number in numbers:
            rows.uris.append((number, text))

    return write


def _position(numbers: tuple[int, ...]) -> Write:
    """A place on the earth for `near`, in degrees."""

    def write(value: Any, rows: Index) -> None:
        if value.latitude is not UNSET and value.longitude is not UNSET:
            for number in numbers:
                rows.composites.append((number, "", value.latitude, value.longitude))

    return write


def _area(numbers: tuple[int, ...]) -> Write:
    """The box around a boundary for `contains`: its latitudes, and its longitudes beside them."""

    def write(value: Any, rows: Index) -> None:
        box = bounds(areas(data_of(value)))
        for number in numbers if box is not None else ():
            south, north, west, east = map(Decimal, box or ())
            rows.composites.append((number, "", south, north))
            rows.composites.append((modified_number(number, LONGITUDE), "", west, east))

    return write


def _geolocation(numbers: tuple[int, ...]) -> Write:
    """The place that an extension `geolocation` names, as of an address."""

    def write(value: Any, rows: Index) -> None:
        parts = {} if value.extension is UNSET else {
            each.url: each.valueDecimal for each in value.extension}
        latitude, longitude = (parts.get(name, UNSET) for name in ("latitude", "longitude"))
        if latitude is not UNSET and longitude is not UNSET:
            for number in numbers:
                rows.composites.append((number, "", latitude, longitude))

    return write


_MAKERS: dict[tuple[str, str], Maker] = {
    ("string", "HumanName"): _parts(_NAME_PARTS),
    ("string", "Address"): _parts(_ADDRESS_PARTS),
    ("string", "Identifier"): _field("value", _text),
    ("string", "CodeableConcept"): _field("text", _text),
    ("string", "Annotation"): _field("text", _text),
    ("string", "Narrative"): _field("div", _text),
    ("token", "boolean"): _boolean,
    ("token", "Coding"): _coding,
    ("token", "CodeableConcept"): _concept,
    ("token", "CodeableReference"): _field("concept", _concept),
    ("token", "Identifier"): _identifier,
    ("token", "ContactPoint"): _pair("system", "value"),
    ("date", "Period"): _period,
    ("date", "Timing"): _timing,
    ("number", "decimal"): _decimal,
    ("quantity", "Range"): _range,
    ("quantity", "Money"): _money,
    ("reference", "Reference"): _reference,
    ("reference", "CodeableReference"): _field("reference", _reference),
    ("reference", "Resource"): _resource,
    ("special", "Location.position"): _position,
    ("special", "Attachment"): _area,
    ("special", "Extension"): _geolocation,
}
