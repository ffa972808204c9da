"""What a question asks of its answers by extensions: range, form, units, number, targets.

https://hl7.org/fhir/extensions/ (minValue, maxValue, minLength, regex, maxDecimalPlaces,
questionnaire-minOccurs and their kin) and the quantity limits of Structured Data Capture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir.facts import facts
from dmed.fhir.path.quantity import Quantity, common
from dmed.fhir.path.temporal import compare, parse_datetime, parse_time
from dmed.fhir.path.units import UCUM
from dmed.fhir.profile.definition import CORE, decimal_of, sign
from dmed.fhir.profile.leaves import codings_of, verdict_of
from dmed.fhir.profile.match import pattern_test
from dmed.fhir.profile.run import Item, ProfileRun
from dmed.fhir.terminology.pattern import Pattern
from dmed.fhir.validate_run import Place, any_of
from dmed.kit.errors import DmedError

_SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-"
_LIMITS = (
    (CORE + "minValue", -1), (CORE + "maxValue", 1),
    (_SDC + "minQuantity", -1), (_SDC + "maxQuantity", 1),
)  # fmt: skip  # Four.
_WORDS = {-1: "less than the least", 1: "more than the greatest"}
Given = Mapping[str, Any]


def said_by(node: Given, url: str) -> list[Any]:
    """The values of an extension of a question or of one of its options."""
    return [
        next((value for key, value in each.items() if key.startswith("value")), None)
        for each in node.get("extension", ())
        if each.get("url") == url
    ]


def count_issues(question: Given, count: int, place: Place, run: ProfileRun) -> None:
    """How many answers a question, or how many groups, there may be; `count` are there."""
    name = question.get("linkId")
    for least in said_by(question, CORE + "questionnaire-minOccurs"):
        if isinstance(least, int) and count < least:
            run.note("structure", f"'{name}' needs at least {least} answers, found {count}", place)
    for most in said_by(question, CORE + "questionnaire-maxOccurs"):
        if isinstance(most, int) and count > most:
            run.note("structure", f"'{name}' takes at most {most} answers, found {count}", place)


def exclusive_issues(
    question: Given, answers: Sequence[tuple[Any, Place]], run: ProfileRun
) -> None:
    """An option that excludes all others stands alone; `answers` are values with their places."""
    if len(answers) < 2:
        return
    for option in question.get("answerOption", ()):
        if True not in said_by(option, CORE + "questionnaire-optionExclusive"):
            continue
        wanted = next((value for key, value in option.items() if key.startswith("value")), None)
        test = pattern_test(wanted)
        for value, place in answers:
            if test(value):
                run.note("structure", "this option excludes all others", place)


def answer_issues(question: Given, value: Any, place: Place, run: ProfileRun) -> None:
    """Every fault of one answer's value (struct or plain) by the question's extensions."""
    if "extension" not in question:
        return
    for url, direction in _LIMITS:
        for limit in said_by(question, url):
            for text in _beyond(value, limit, direction):
                run.note("value", text, place)
    for check in (_text, _digits, _unit, _target):
        for text in check(question, value, run):
            run.note("value", text, place)


def _beyond(value: Any, limit: Any, direction: int) -> Iterator[str]:
    if limit is None:
        return
    told = f"{limit.get('value')} {limit.get('unit') or limit.get('code', '')}".strip() \
        if isinstance(limit, Mapping) else str(limit)  # fmt: skip  # One text.
    order = _order(value, limit)
    if order is None:
        yield f"the answer cannot be compared with its limit {told}"
    elif order == direction:
        yield f"the answer is {_WORDS[direction]} that is allowed, {told}"


def _order(value: Any, limit: Any) -> int | None:
    """-1, 0 or 1 of a value beside a limit; dates by the precision that both have."""
    if isinstance(limit, Mapping):
        if not isinstance(value, msgspec.Struct):
            return None
        own, other = _quantity(value), _quantity(limit)
        both = None if own is None or other is None else common(own, other)
        return None if both is None else sign(*both)
    if isinstance(value, str) and isinstance(limit, str):
        parse = parse_time if ":" in limit[:3] else parse_datetime
        one, two = parse(value), parse(limit)
        if one is None or two is None:
            return 0
        shared = min(len(one.parts), len(two.parts))
        cut = (each._replace(parts=each.parts[:shared]) for each in (one, two))
        return compare(*cut) or 0
    number, least = decimal_of(value), decimal_of(limit)
    return 0 if number is None or least is None else sign(number, least)


def _quantity(given: Any) -> Quantity | None:
    """A Quantity (struct or JSON) in its UCUM code, or in its written unit where it has no code."""

    def part(name: str) -> Any:
        found = given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
        return None if found is UNSET else found

    number = decimal_of(part("value"))
    if number is None:
        return None
    if part("code") and part("system") == UCUM:
        return Quantity(number, str(part("code")))
    # The written unit is no code; equal words are still the same unit.
    return Quantity(number, f"{{{part('code') or part('unit') or ''}}}")


def _text(question: Given, value: Any, _run: ProfileRun) -> Iterator[str]:
    if not isinstance(value, str):
        return
    for least in said_by(question, CORE + "minLength"):
        if isinstance(least, int) and len(value) < least:
            yield f"the answer has {len(value)} characters, at least {least} are needed"
    for regex in said_by(question, CORE + "regex"):
        try:
            fits = Pattern(str(regex)).matches(value)
        except DmedError:
            continue  # An expression that cannot be run is the questionnaire's fault.
        if not fits:
            yield f"'{value:.60}' does not fit the expression {regex!s:.200}"


def _digits(question: Given, value: Any, _run: ProfileRun) -> Iterator[str]:
    exponent = value.as_tuple().exponent if isinstance(value, Decimal) else 0
    for most in said_by(question, CORE + "maxDecimalPlaces"):
        if isinstance(most, int) and isinstance(exponent, int) and -exponent > most:
            yield f"the answer has {-exponent} digits after the point, at most {most} are allowed"


def _unit(question: Given, value: Any, run: ProfileRun) -> Iterator[str]:
    if getattr(value, "fhir_type", "") != "Quantity":
        return
    codings = codings_of(Item(value, None, "Quantity", (None, "Quantity", -1)))
    options = [each for each in said_by(question, CORE + "questionnaire-unitOption") if each]
    if options:
        allowed = {(each.get("system", ""), each.get("code", "")) for each in options}
        if not allowed.intersection(codings):
            yield f"the unit is none of {any_of(sorted(code for _, code in allowed))}"
    for value_set in said_by(question, CORE + "questionnaire-unitValueSet"):
        verdict = verdict_of(run.library.value_sets, str(value_set), codings)
        if verdict is False or not codings:
            yield f"the unit is no code of {value_set}"


_TYPED = re.compile(r"(?:.{0,400}/)?([A-Z][A-Za-z]{1,40})/[A-Za-z0-9\-.]{1,64}")


def _target(question: Given, value: Any, _run: ProfileRun) -> Iterator[str]:
    if getattr(value, "fhir_type", "") != "Reference":
        return
    allowed = [str(each) for each in said_by(question, CORE + "questionnaire-referenceResource")]
    address = "" if value.reference is UNSET else value.reference
    match = _TYPED.fullmatch(address)
    found = match[1] if match else "" if value.type is UNSET else value.type
    if allowed and found and not any(facts().is_a(found, each) for each in allowed):
        yield f"the reference is to a {found}, allowed are {any_of(allowed)}"
