"""Decoding and encoding: what is kept, and what is refused with which words."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from dmed.fhir import codec
from dmed.fhir.codec_faults import DEPTH_MAX, FAULTS_MAX
from dmed.kit.errors import InvalidError


def faults(body: bytes, type_name: str | None = None) -> list[tuple[str, str]]:
    """(FHIRPath, sentence) of each fault of a refused body."""
    with pytest.raises(InvalidError) as refused:
        codec.decode(body, type_name)
    return [(issue.expression, issue.diagnostics) for issue in refused.value.issues]


def patient(inner: str) -> bytes:
    """A Patient with these fields."""
    return f'{{"resourceType":"Patient",{inner}}}'.encode()


def test_the_canonical_encoding_orders_keys_and_keeps_arrays():
    """Keys come in the definition's order, arrays stay as they are, white space goes."""
    body = b' {"name": [{"given": ["B", "A"]}], "id": "x", "resourceType": "Patient"} '
    assert codec.encode(codec.decode(body)) == (
        b'{"resourceType":"Patient","id":"x","name":[{"given":["B","A"]}]}'
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("1.0", "1.0"),
        ("1.00", "1.00"),
        ("-0.00", "-0.00"),
        ("1.50", "1.50"),
        ("100", "100"),
        ("1e3", "1E+3"),
        ("1.0e-10", "1.0E-10"),
        ("0.000000100", "1.00E-7"),
        ("123456789.123456789123456789", "123456789.123456789123456789"),
    ],
)
def test_decimals_keep_value_and_digits(given, kept):
    """1.0 and 1.00 differ, and an exponent neither adds nor drops digits."""
    body = f'{{"resourceType":"Observation","valueQuantity":{{"value":{given}}}}}'.encode()
    encoded = codec.encode(codec.decode(body))
    assert encoded.endswith(f'"value":{kept}}}}}'.encode())
    assert codec.encode(codec.decode(encoded)) == encoded


def test_nulls_stand_for_the_paired_array():
    """A null in a primitive array is legal where the paired array has an entry, and is kept."""
    body = patient('"name":[{"given":["A",null],"_given":[null,{"id":"g"}]}]')
    found = codec.decode(body)
    assert found.name[0].given == ["A", None]
    assert found.name[0].given__ext[0] is None
    assert codec.encode(found) == body


def test_primitive_extensions_survive():
    """A birth date with an extension, and one with an extension alone, come back."""
    extension = '{"extension":[{"url":"http://x.uz/t","valueDateTime":"1990-01-31T10:00:00Z"}]}'
    body = patient(f'"birthDate":"1990-01-31","_birthDate":{extension}')
    alone = patient(f'"_birthDate":{extension}')
    assert codec.encode(codec.decode(body)) == body
    assert codec.decode(alone).birthDate is UNSET
    assert codec.encode(codec.decode(alone)) == alone


@pytest.mark.parametrize(
    ("inner", "where", "words"),
    [
        ('"gender":null', "Patient.gender", "null is not allowed"),
        ('"name":[]', "Patient.name", "an array may not be empty"),
        ('"name":[{}]', "Patient.name[0]", "an object may not be empty"),
        ('"name":[null]', "Patient.name[0]", "null is not allowed"),
        ('"id":""', "Patient.id", "a text may not be empty"),
        ('"id":"a","id":"b"', "Patient.id", "given twice"),
        ('"name":[{"family":"A","family":"A"}]', "Patient.name[0].family", "given twice"),
        ('"name":[{"family":"A\\u0000"}]', "Patient.name[0].family", "\\u0000 is not allowed"),
        ('"name":[{"family":"A\\u0008"}]', "Patient.name[0].family", "\\u0008 is not allowed"),
        ('"name":[{"family":"A\\ud800"}]', "Patient.name[0].family", "surrogate"),
        ('"birthdate":"1990"', "Patient.birthdate", "did you mean birthDate?"),
        ('"name":{"family":"A"}', "Patient.name", "an array is expected, found an object"),
        ('"gender":["male"]', "Patient.gender", "a text in quotation marks is expected"),
        ('"active":"true"', "Patient.active", "true or false is expected, found 'true'"),
        ('"multipleBirthInteger":1.0', "Patient.multipleBirthInteger", "a whole number"),
        ('"multipleBirthInteger":3000000000', "Patient.multipleBirthInteger", "2147483647"),
        ('"name":[{"given":["A",null]}]', "Patient.name[0].given[1]", "paired array"),
        ('"name":[{"_given":[null]}]', "Patient.name[0]._given[0]", "paired array"),
        ('"contact":["x"]', "Patient.contact[0]", "an object is expected, found 'x'"),
        ('"contained":[{"id":"x"}]', "Patient.contained[0]", "resourceType is missing"),
        (
            '"contained":[{"resourceType":"Pacient"}]',
            "Patient.contained[0].resourceType",
            "did you mean Patient?",
        ),
        ('"resourceType":"Patient"', "Patient.resourceType", "given twice"),
    ],
)
def test_each_fault_has_its_place_and_says_what_to_change(inner, where, words):
    """Every fault of form names its FHIRPath and is a sentence to act on."""
    [(expression, sentence)] = faults(patient(inner))
    assert expression == where
    assert words in sentence


@pytest.mark.parametrize("value", ['"1.5"', '"NaN"', "1e200000", "-1E-400", "true"])
def test_a_decimal_is_a_number_of_reasonable_size(value):
    """Decimals as texts, and exponents beyond a double's, are refused."""
    body = f'{{"resourceType":"Observation","valueQuantity":{{"value":{value}}}}}'.encode()
    [(expression, _)] = faults(body)
    assert expression == "Observation.valueQuantity.value"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"resourceType":"Patient"} x', "not JSON"),
        (b'{"resourceType":"Patient",}', "line 1 column"),
        (b'{"resourceType":"Patient","id":"\xff"}', "not UTF-8"),
        (b'{"resourceType":"Observation","valueQuantity":{"value":NaN}}', "NaN"),
        (b'{"resourceType":"Observation","valueQuantity":{"value":Infinity}}', "Infinity"),
        (b"[]", "A JSON object is expected"),
        (b'"text"', "A JSON object is expected"),
        (b"{}", "resourceType is missing"),
        (b'{"resourceType":"Patent"}', "did you mean Patient?"),
        (b'{"resourceType":1}', "no R5 resource type"),
        (b'{"resourceType":"Patient","x":' + b"[" * 5000 + b"]" * 5000 + b"}", "deep"),
    ],
)
def test_what_is_no_record_is_refused(body, words):
    """Broken JSON, broken UTF-8, other JSON values and unknown types are told apart."""
    [(_, sentence)] = faults(body)
    assert words in sentence


def nested(depth: int) -> bytes:
    """A Questionnaire whose items nest so deep."""
    inner = b'{"linkId":"x"}'
    for _ in range(depth):
        inner = b'{"linkId":"x","item":[' + inner + b"]}"
    return b'{"resourceType":"Questionnaire","item":[' + inner + b"]}"


def test_nesting_has_a_limit():
    """Objects nest to the documented depth; one more, and very many more, are refused."""
    assert codec.decode(nested(DEPTH_MAX - 2)).item
    for depth in (DEPTH_MAX - 1, 400, 20_000):
        [(_, sentence)] = faults(nested(depth))
        assert f"over {DEPTH_MAX} deep" in sentence


def test_brackets_in_texts_are_not_nesting():
    """Texts full of brackets do not make a broad record look deep."""
    items = ",".join(f'{{"linkId":"{n}","text":"[[[{{{{"}}' for n in range(200))
    body = f'{{"resourceType":"Questionnaire","item":[{items}]}}'.encode()
    assert len(codec.decode(body).item) == 200


def test_all_faults_come_at_once():
    """One answer lists every fault, in the order of the body."""
    found = faults(patient('"birthdate":"1990","active":"yes","name":[{"famly":"A"},{}]'))
    assert [expression for expression, _ in found] == [
        "Patient.birthdate",
        "Patient.active",
        "Patient.name[0].famly",
        "Patient.name[1]",
    ]


def test_the_list_of_faults_has_a_limit():
    """A hostile body gets at most the documented number of faults."""
    names = ",".join(["{}"] * 1000)
    assert len(faults(patient(f'"name":[{names}]'))) == FAULTS_MAX


def test_the_type_must_be_the_one_asked_for():
    """A Patient sent where an Observation is expected is refused; a data type can be read."""
    [(_, sentence)] = faults(b'{"resourceType":"Patient"}', "Observation")
    assert "expected Observation" in sentence
    assert codec.decode(b'{"system":"s","code":"c"}', "Coding").code == "c"


@pytest.mark.parametrize(
    "text", ["null", "[]", "{}", "\\u0022", '\\"', "\\\\b", "1E+999", ":{}", ",null,", "\\\\u0000"]
)
def test_texts_that_look_like_faults_are_kept(text):
    """A text may speak of null, brackets, quotation marks and exponents."""
    body = patient(f'"name":[{{"family":"{text}"}}]')
    assert codec.decode(codec.encode(codec.decode(body))) == codec.decode(body)


def test_faults_of_rules_come_with_faults_of_form():
    """A wrong code and an impossible date are told beside an unknown field, and nothing false."""
    found = faults(
        patient('"birthdate":"1990","gender":"mail","name":[{"period":{"start":"2024-02-30"}}]')
    )
    assert [expression for expression, _ in found] == [
        "Patient.birthdate",
        "Patient.name[0].period.start",
        "Patient.gender",
    ]
    assert found[2][1] == "Patient.gender: 'mail' is not one of female|male|other|unknown"


def test_what_was_taken_out_is_not_called_missing():
    """A required element that is there in a wrong form is told once, by its form."""
    body = b'{"resourceType":"Observation","status":["final"],"code":{"text":""}}'
    assert [expression for expression, _ in faults(body)] == [
        "Observation.status",
        "Observation.code.text",
    ]


def test_hostile_names_make_no_hostile_answers():
    """A key or code of a million letters is cut in the answer, and costs no search for words."""
    [(where, sentence)] = faults(patient(f'"{"x" * 1_000_000}":1'))
    assert len(where) + len(sentence) < 1000
