"""Whatever is written in FHIRPath gives a result or a fault of its own kinds, never another."""

from __future__ import annotations

import contextlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import codec, path
from dmed.fhir.path.functions import FUNCTIONS

RECORD = codec.decode(
    msgspec.json.encode(
        {
            "resourceType": "Observation",
            "id": "o1",
            "status": "final",
            "_status": {"extension": [{"url": "urn:x", "valueInteger": 3}]},
            "code": {"coding": [{"system": "urn:c", "code": "a"}, {"code": "b"}], "text": "té"},
            "subject": {"reference": "Patient/1"},
            "effectiveDateTime": "2024-02-29T23:59:60+14:00",
            "issued": "0001-01-01T00:00:00Z",
            "valueQuantity": {
                "value": 1e9, "unit": "y", "system": "http://unitsofmeasure.org", "code": "a",
            },
            "component": [{"code": {"text": "c"}, "valueInteger": -7}],
        }
    )
)  # fmt: skip  # One record.
ENDLESS = {"repeatAll"}
"""What may run for ever by its nature; it has a limit of its own, which is slow to reach."""

def words_of(text: str) -> st.SearchStrategy[str]:
    """One word of a text."""
    return st.sampled_from(text.split())


whole = st.integers(-(2**63), 2**64).map(lambda number: str(abs(number)))
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=9).map(
    lambda number: format(abs(number), "f")
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(
    lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
)
escaped = st.sampled_from([r"'\u00e9'", r"'\uD83D\uDD25'", r"'\uD83D'", r"'\p'", "'('", "'(?<a>b'"])
two = st.integers(0, 99).map(lambda number: f"{number:02d}")
dates = st.builds(lambda y, m, d: f"@{y:04d}-{m}-{d}", st.integers(0, 9999), two, two)
clocks = st.builds(lambda h, m, s, f: f"T{h}:{m}:{s}.{f}", two, two, two, st.integers(0, 10**9))
zones = st.sampled_from(["", "Z", "+14:00", "-12:00", "+99:99"])
moments = st.builds(lambda d, c, z: f"{d}{c}{z}", dates, clocks, zones)
words = words_of(
    "year months week days hours minute seconds millisecond 'a' 'mo' 'wk' 'cm' 'm' 'Cel' '[degF]' "
    "'mg/dL' '{x}' '1' '%' 'none/such'"
)
amounts = st.builds(lambda number, word: f"{number} {word}", whole | decimals, words)
names = words_of(
    "Observation status code code.coding code.coding.code value component component.value subject "
    "effective issued id extension nothing $this $index $total %resource %context %ucum {} true "
    "false `code` component.code.text"
)
leaves = names | whole | decimals | texts | escaped | dates | moments | amounts
leaves |= clocks.map(lambda clock: f"@{clock}")
signs = words_of("+ - * / div mod & = != ~ !~ < > <= >= | in contains and or xor implies")
types = words_of("Integer System.String FHIR.Quantity Quantity Coding Observation")


def calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A function of the table with as many arguments as it takes, on something."""

    def call(name: str) -> st.SearchStrategy[str]:
        found = FUNCTIONS[name]
        most = min(found.most, 3)
        many = st.lists(inner, min_size=min(found.least, most), max_size=most)
        if name in {"is", "as", "ofType"}:
            many = types.map(lambda kind: [kind])
        return st.builds(lambda focus, given: f"({focus}).{name}({', '.join(given)})", inner, many)

    return st.sampled_from(sorted(FUNCTIONS.keys() - ENDLESS)).flatmap(call)


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger expressions from smaller ones."""
    return st.one_of(
        st.builds(lambda one, sign, other: f"({one}) {sign} ({other})", inner, signs, inner),
        st.builds(lambda one, kind: f"({one}) is {kind}", inner, types),
        st.builds(lambda one, at: f"({one})[{at}]", inner, inner),
        st.builds(lambda one: f"-({one})", inner),
        st.builds(lambda one, kind: f"{kind} {{ value: {one}, code: {one} }}", inner, types),
        st.builds(lambda one, key: f"({one}).sort({key} desc)", inner, inner),
        calls(inner),
        calls(inner),
    )


expressions = st.recursive(leaves, grown, max_leaves=6)


def evaluated(expression: str, kind: str) -> None:
    """Compile and run, for the values with their types and as a condition."""
    compiled = path.compile(expression, kind)
    for _, value in compiled.typed(RECORD):
        str(value).encode()
    compiled.test(RECORD)


@given(expressions, st.sampled_from(["Observation", ""]))
@settings(max_examples=400, deadline=None)
def test_well_formed_expressions_raise_our_faults_alone(expression: str, kind: str) -> None:
    """Any function with any operands gives a value that is a text, or a PathError."""
    with contextlib.suppress(path.PathError):
        evaluated(expression, kind)


@given(st.text(st.sampled_from("abc01.'\"`\\/*@T:-+%$(){}[]|&=<>~!, \n\r\tu"), max_size=40))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Any string of the language's characters is an expression, or a PathError says why not."""
    with contextlib.suppress(path.PathError):
        evaluated(text, "Observation")
