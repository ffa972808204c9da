"""Properties of the codec over made-up records: nothing is lost, nothing wrong slips through."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmed.fhir import codec
from dmed.fhir.facts import facts
from dmed.kit.errors import InvalidError, Issue

_quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12) | (
    st.sampled_from(
        ['"', "\\", '\\"', "null", "{}", "[]", ":{}", ",null,", "1E+400", "[[[{{", "\t"]
    )
)
_decimals = st.builds(
    lambda digits, scale: f"{Decimal(digits).scaleb(-scale):f}",
    st.integers(-(10**9), 10**9),
    st.integers(0, 12),
)


class Raw(str):
    """A piece of JSON as it shall stand in the body."""

    __slots__ = ()


@st.composite
def objects(draw: st.DrawFn, type_name: str, depth: int = 0) -> dict[str, Any]:
    """An object with some fields of a type, right in form."""
    elements = [e for e in facts().types[type_name].elements if e.max != 0]
    chosen = draw(st.lists(st.sampled_from(elements), max_size=4, unique_by=lambda e: e.name))
    made: dict[str, Any] = {}
    for element in chosen:
        code = element.content or draw(st.sampled_from([t.code for t in element.types]))
        value = draw(values(code, depth))
        if value is None:
            continue
        name = element.name if element.content else element.json_name(code)
        made[name] = [value, value] if element.is_list else value
    return made


@st.composite
def values(draw: st.DrawFn, code: str, depth: int) -> Any:
    """A value of a type, or None where nothing is wanted."""
    found = facts().types.get(code)
    if found is None or code == "Resource":
        return None
    if found.kind == "primitive":
        plain = {
            "boolean": st.booleans(),
            "decimal": _decimals.map(Raw),
            "integer": st.integers(-(2**31), 2**31 - 1),
            "positiveInt": st.integers(1, 2**31 - 1),
            "unsignedInt": st.integers(0, 2**31 - 1),
        }
        return draw(plain.get(code, _texts))
    return (draw(objects(code, depth + 1)) or None) if depth < 3 else None


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    """A resource, right in form."""
    name = draw(st.sampled_from(["Patient", "Observation", "Questionnaire", "MedicationRequest"]))
    return {"resourceType": name, **draw(objects(name))}


def written(value: Any, ascii_only: bool = False, space: str = "") -> str:
    """JSON of a value; Raw stands as it is."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        pairs = (
            f"{json.dumps(k)}{space}:{space}{written(v, ascii_only, space)}"
            for k, v in value.items()
        )
        return "{" + space + f"{space},".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + f"{space},".join(written(v, ascii_only, space) for v in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def parsed(body: bytes | str) -> Any:
    """JSON with numbers as their exact decimals, for comparing."""
    return json.loads(
        body, parse_float=lambda n: Decimal(n).as_tuple(), parse_int=lambda n: Decimal(n).as_tuple()
    )


@_quick
@given(resources(), st.booleans(), st.sampled_from(["", " ", "\n  "]))
def test_a_sound_record_comes_back_equal(resource, ascii_only, space):
    """Whatever the spelling, a sound record is accepted and its encoding is equal and stable."""
    body = written(resource, ascii_only, space)
    encoded = codec.encode(codec.decode(body.encode()))
    wanted, got = parsed(body), parsed(encoded)
    assert got == wanted or _same_but_minus_zero(got, wanted)
    assert codec.encode(codec.decode(encoded)) == encoded


def _same_but_minus_zero(got: Any, wanted: Any) -> bool:
    """-0 without fraction is read as 0, which is equal in value."""
    plain = [json.dumps(each).replace("[1, [0], 0]", "[0, [0], 0]") for each in (got, wanted)]
    return json.loads(plain[0]) == json.loads(plain[1])


def places(value: Any) -> list[Any]:
    """Every object and array inside a value."""
    below = value.values() if isinstance(value, dict) else value
    found = [value]
    for each in below:
        if isinstance(each, dict | list):
            found.extend(places(each))
    return found


_WRONG = [Raw("null"), Raw("[]"), Raw("{}"), Raw('""')]


@_quick
@given(resources(), st.data())
def test_what_msgspec_lets_pass_is_refused(resource, data):
    """A null, an empty value or a duplicate key anywhere makes the record refused."""
    place = data.draw(st.sampled_from(places(resource)))
    wrong = data.draw(st.sampled_from(_WRONG))
    body = ""
    if isinstance(place, list):
        place[data.draw(st.integers(0, len(place) - 1))] = wrong
    else:
        key = data.draw(st.sampled_from(sorted(place)))
        if data.draw(st.booleans()):
            place[key] = wrong
        else:
            mark = "@duplicate@"
            place[mark] = place[key]
            body = written(resource).replace(json.dumps(mark), json.dumps(key))
    body = body or written(resource)
    assert refusal(body.encode()), body


_SOUND = (
    b'{"resourceType":"Observation","id":"a","text":{"status":"empty","div":"<div>\\"x\\"</div>"},'
    b'"status":"final","code":{"coding":[{"system":"s","code":"c"}],"text":"\xd1\x83"},'
    b'"valueQuantity":{"value":1.50,"unit":"E+"},"component":[{"code":{"text":"null"},'
    b'"valueInteger":7},{"code":{"id":"[]","_text":{"id":"{}"}}}]}'
)


@settings(_quick, max_examples=400)
@given(st.data())
def test_a_mutated_body_is_equal_or_refused(data):
    """Whatever bytes are changed: the body is refused, or it comes back equal in every value."""
    body = bytearray(_SOUND)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        piece = data.draw(st.sampled_from(_PIECES) | st.binary(max_size=2))
        body[at : at + data.draw(st.integers(0, 6))] = piece
    if not refusal(bytes(body)):
        encoded = codec.encode(codec.decode(bytes(body)))
        assert parsed_once(encoded) == parsed_once(bytes(body))


_PIECES = [
    b'"',
    b"\\",
    b'\\"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"{}",
    b"[]",
    b'""',
    b"1",
    b"e5",
    b".0",
    b"-",
    b" ",
    b'"id":"a",',
    b'"code":',
    b"\\u0022",
    b"\\u0041",
    b"\\u0000",
    b"true",
]


def parsed_once(body: bytes) -> Any:
    """Like `parsed`, and an AssertionError where a key stands twice in an object."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    return json.loads(
        body,
        object_pairs_hook=once,
        parse_float=lambda n: Decimal(n).as_tuple(),
        parse_int=lambda n: Decimal(n).as_tuple() if n != "-0" else Decimal(0).as_tuple(),
    )


@_quick
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_break_the_codec(body):
    """Any bytes are decoded or refused with issues; nothing else happens."""
    assert all(issue.diagnostics for issue in refusal(body))


def refusal(body: bytes) -> tuple[Issue, ...]:
    """The issues with which a body is refused; none when it is accepted."""
    try:
        codec.decode(body)
    except InvalidError as refused:
        return refused.issues
    return ()
