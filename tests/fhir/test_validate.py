"""Rules of the specification on decoded records, each fault with its place and a sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import codec, validate, validate_formats

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def check(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """(FHIRPath, sentence) of each fault of a record."""
    found = codec.decode(msgspec.json.encode(fields))
    return [(issue.expression, issue.diagnostics) for issue in validate.validate(found)]


def patient(**fields: Any) -> list[tuple[str, str]]:
    """The faults of a Patient with these fields."""
    return check({"resourceType": "Patient", **fields})


def observation(**fields: Any) -> list[tuple[str, str]]:
    """The faults of an Observation with these fields beside the required ones."""
    base = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    return check({**base, **fields})


def test_a_sound_record_has_no_faults():
    """What the specification allows passes."""
    assert patient(gender="male", birthDate="1990-01-31", name=[{"family": "Karimov"}]) == []
    assert observation(valueQuantity={"value": 1}, subject={"reference": "Patient/1"}) == []


def test_required_elements_must_be_there():
    """Each missing required element is named; an extension in its place is enough."""
    found = check({"resourceType": "Observation"})
    assert found == [
        ("Observation", "Observation: status is required and missing"),
        ("Observation", "Observation: code is required and missing"),
    ]
    absent = {"extension": [{"url": "http://x.uz/absent", "valueCode": "unknown"}]}
    assert check({"resourceType": "Observation", "_status": absent, "code": {"text": "x"}}) == []


def test_required_elements_inside_others():
    """Cardinality holds in backbone elements and data types too."""
    [(where, _)] = patient(link=[{"other": {"reference": "Patient/2"}}])
    assert where == "Patient.link[0]"


def test_a_choice_has_one_type():
    """Two types of value[x] are refused, a value and its own extension are not."""
    [(where, sentence)] = observation(valueString="x", valueBoolean=True)
    assert where == "Observation"
    assert "value[x] may have one type only, found valueString|valueBoolean" in sentence
    assert observation(valueString="x", _valueString={"id": "v"}) == []


def test_an_element_needs_more_than_an_id():
    """An element with an id alone says nothing; a primitive's id is fine."""
    [(where, sentence)] = patient(name=[{"id": "x"}])
    assert (where, "ele-1" in sentence) == ("Patient.name[0]", True)
    assert patient(birthDate="1990", _birthDate={"id": "x"}) == []


def test_a_primitive_needs_more_than_an_id():
    """Without a value there must be an extension, in each entry of a list too (ele-1)."""
    [(where, sentence)] = patient(_birthDate={"id": "x"})
    assert (where, "ele-1" in sentence) == ("Patient.birthDate", True)
    extension = {"extension": [{"url": "http://x.uz", "valueCode": "unknown"}]}
    assert patient(_birthDate=extension) == []
    names = {"given": ["A", None], "_given": [{"id": "a"}, {"id": "b"}]}
    [(where, _)] = patient(name=[names])
    assert where == "Patient.name[0].given[1]"


def test_what_a_narrative_shows_is_referred_to():
    """A contained picture may be named by the narrative alone (narrative.html, dom-3)."""
    picture = {"resourceType": "Binary", "id": "pic", "contentType": "image/png", "data": "AAAA"}
    div = f'<div {XHTML}><img src="#pic" alt="x"/></div>'
    assert patient(contained=[picture], text={"status": "additional", "div": div}) == []
    other = {"status": "additional", "div": div.replace("#pic", "#pics")}
    [(where, sentence)] = patient(contained=[picture], text=other)
    assert (where, "dom-3" in sentence) == ("Patient", True)


def test_a_narrative_may_keep_its_blanks():
    """xml:space is XML's own; another attribute of that name is refused."""
    div = f'<div {XHTML}><pre xml:space="preserve"> a  b </pre></div>'
    assert patient(text={"status": "generated", "div": div}) == []
    [(_, sentence)] = patient(text={"status": "generated", "div": div.replace("xml:", "")})
    assert "the attribute space" in sentence


@pytest.mark.parametrize(
    "day",
    ["1990-02-30", "1990-13", "90", "0000", "1990-02-29", "2100-02-29", "1990-1-1", "1990-04-31"],
)
def test_dates_exist(day):
    """A birth date must be a day of the calendar, in FHIR's form."""
    [(where, sentence)] = patient(birthDate=day)
    assert where == "Patient.birthDate"
    assert f"'{day}' is not a date that exists" in sentence


@pytest.mark.parametrize(
    "moment",
    ["2024-02-29", "2024", "2024-02", "2024-02-29T23:59:59Z", "2024-02-29T10:00:00.123+05:00"],
)
def test_sound_moments_pass(moment):
    """Partial dates, leap days, fractions and zones are what FHIR allows."""
    assert observation(effectiveDateTime=moment) == []


@pytest.mark.parametrize(
    "moment",
    [
        "2024-02-29T10:00",
        "2024-02-29T10:00:00",
        "2024-02-29T24:00:00Z",
        "2023-02-29T10:00:00Z",
        "2024-02-29 10:00:00Z",
        "2024-02-29T10:00:00+15:00",
        "2024-02-29Z",
    ],
)
def test_wrong_moments_are_refused(moment):
    """A time needs seconds and a zone, and an hour that exists."""
    [(where, _)] = observation(effectiveDateTime=moment)
    assert where == "Observation.effectiveDateTime"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"id": "a b"}, "Patient.id"),
        ({"id": "a" * 65}, "Patient.id"),
        ({"implicitRules": "http://x uz"}, "Patient.implicitRules"),
        ({"language": " uz"}, "Patient.language"),
        ({"name": [{"family": "  "}]}, "Patient.name[0].family"),
        ({"photo": [{"contentType": "image/png", "data": "a"}]}, "Patient.photo[0].data"),
        ({"photo": [{"size": "12a"}]}, "Patient.photo[0].size"),
        ({"photo": [{"size": "9223372036854775808"}]}, "Patient.photo[0].size"),
        (
            {"extension": [{"url": "http://x.uz", "valueOid": "1.2"}]},
            "Patient.extension[0].valueOid",
        ),
        (
            {"extension": [{"url": "http://x.uz", "valueUuid": "x"}]},
            "Patient.extension[0].valueUuid",
        ),
        (
            {"extension": [{"url": "http://x.uz", "valueTime": "9:00"}]},
            "Patient.extension[0].valueTime",
        ),
        ({"meta": {"lastUpdated": "2024-01-01"}}, "Patient.meta.lastUpdated"),
        (
            {
                "communication": [
                    {
                        "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "uz"}]},
                        "preferred": True,
                        "id": " ",
                    }
                ]
            },
            "Patient.communication[0].id",
        ),
    ],
)
def test_primitives_have_their_form(fields, where):
    """Each primitive type has its form, wherever it stands."""
    [(expression, _)] = patient(**fields)
    assert expression == where


def test_required_codes_come_from_their_value_set():
    """A wrong code is refused with the codes that are allowed."""
    assert patient(gender="mail") == [
        ("Patient.gender", "Patient.gender: 'mail' is not one of female|male|other|unknown")
    ]


def test_required_codings_may_stand_among_others():
    """Of a CodeableConcept one coding must be in the set, and a text alone is not enough."""
    system = "http://hl7.org/fhir/deviceusage-status"
    base = {
        "resourceType": "DeviceUsage",
        "status": "active",
        "device": {"concept": {"text": "x"}},
        "patient": {"reference": "Patient/1"},
    }
    other = {"system": "http://x.uz", "code": "x"}
    good = {"system": "http://hl7.org/fhir/deviceusage-status", "code": "active"}
    wrong = {"system": system, "code": "lost"}
    assert check({**base, "usageStatus": {"coding": [other, good]}}) == []
    for concept in ({"coding": [other, wrong]}, {"text": "x"}):
        [(where, sentence)] = check({**base, "usageStatus": concept})
        assert where == "DeviceUsage.usageStatus"
        assert system in sentence


def test_codes_without_content_are_counted_not_passed_in_silence():
    """A language or a unit of UCUM cannot be checked here, and the report says so."""
    found = codec.decode(
        b'{"resourceType":"Patient","language":"qq","text":{"status":"empty",'
        b'"div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">x</div>"}}'
    )
    report = validate.report(found)
    assert report.issues == []
    assert report.unchecked == {"http://hl7.org/fhir/ValueSet/all-languages": 1}


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/1",
        "Patient/1/_history/2",
        "#p",
        "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a",
        "http://other.uz/fhir/Anything/1",
        "Patient?identifier=x|1",
    ],
)
def test_references_that_may_be_right_pass(reference):
    """Only a literal relative reference tells its type; others are left to the store."""
    contained = [{"resourceType": "Patient", "id": "p"}]
    assert not [
        sentence
        for where, sentence in observation(subject={"reference": reference}, contained=contained)
        if where.startswith("Observation.subject")
    ]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("Encounter/1", "refers to a Encounter, allowed are"),
        ("Pacient/1", "no reference of the form Type/id"),
        ("1", "no reference of the form Type/id"),
        ("Patient/a_b", "no reference of the form Type/id"),
        ("#q", "no contained resource has the id 'q'"),
    ],
)
def test_references_to_the_wrong_type_are_refused(reference, words):
    """The type in a relative reference must be allowed here; a contained target must exist."""
    [(where, sentence)] = observation(subject={"reference": reference})
    assert where.startswith("Observation.subject")
    assert words in sentence


def test_references_inside_codeable_references():
    """The targets of a CodeableReference hold for its reference."""
    base = {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
    }
    [(where, _)] = check({**base, "medication": {"reference": {"reference": "Patient/1"}}})
    assert where == "MedicationRequest.medication.reference.reference"
    assert check({**base, "medication": {"reference": {"reference": "Medication/1"}}}) == []


@pytest.mark.parametrize(
    ("div", "words"),
    [
        (f"<div {XHTML}><script>x</script></div>", "<script> is not allowed"),
        (f'<div {XHTML}><p onclick="x">x</p></div>', "onclick"),
        (f'<div {XHTML}><a href="JavaScript:x">x</a></div>', "would run"),
        (f"<div {XHTML}><p>x</div>", "not well-formed"),
        (f"<div {XHTML}>&nbsp;</div>", "not well-formed"),
        ("<div>x</div>", "must be one <div>"),
        (f"<p {XHTML}>x</p>", "must be one <div>"),
        (f"<div {XHTML}> <p/> </div>", "no text and no image"),
        (f"<!DOCTYPE d><div {XHTML}>x</div>", "document type"),
    ],
)
def test_narrative_is_harmless_xhtml(div, words):
    """Active content, unknown elements, broken markup and empty narratives are refused."""
    [(where, sentence)] = patient(text={"status": "generated", "div": div})
    assert where == "Patient.text.div"
    assert words in sentence


def test_faults_in_bundles_name_the_whole_path():
    """A fault of an entry's resource is told from the Bundle's root."""
    entry = {
        "fullUrl": "http://x.uz/fhir/Patient/1",
        "resource": {"resourceType": "Patient", "gender": "mail"},
    }
    [(where, _)] = check({"resourceType": "Bundle", "type": "collection", "entry": [entry]})
    assert where == "Bundle.entry[0].resource.gender"


def test_all_faults_are_listed():
    """One validation names every fault of a record."""
    found = patient(gender="mail", birthDate="1990-02-30", link=[{"type": "x"}])
    assert [where for where, _ in found] == [
        "Patient.gender",
        "Patient.birthDate",
        "Patient.link[0].type",
        "Patient.link[0]",
    ]


def test_data_types_can_be_validated_alone():
    """A data type decoded by itself is checked by the same rules."""
    found = codec.decode(b'{"start":"2024-13"}', "Period")
    assert [issue.expression for issue in validate.validate(found)] == ["Period.start"]


def test_a_simple_quantity_has_no_comparator():
    """Where the definition asks for a SimpleQuantity, a comparator is refused."""
    low = {"value": 3, "comparator": "<"}
    [(where, sentence)] = observation(valueRange={"low": low})
    assert (where, "sqty-1" in sentence) == ("Observation.valueRange.low", True)
    assert observation(valueQuantity=low) == []


MOMENT = st.sampled_from([
    "2024-02-29T10:00:00.123Z", "2023-02-29T10:00:00Z", "2024-05-05T23:59:60+05:00",
    "0000-01-01T10:00:00Z", "2024-05-05T24:00:00+14:00",
])  # fmt: skip  # Moments, sound and not.


@given(text=MOMENT, at=st.integers(0, 23), sign=st.sampled_from("0129-:.TZ+ ٣"))
@settings(max_examples=200, deadline=None)
def test_moments_told_at_a_glance_have_the_form(text: str, at: int, sign: str) -> None:
    """The quick look at a moment says nothing that the specification's pattern does not."""
    changed = text[:at] + sign + text[at + 1 :]
    for each in (text, changed):
        if validate_formats._is_plain_moment(each):
            assert validate_formats._is_day(validate_formats._DATE_TIME(each))
            assert validate_formats._is_day(validate_formats._INSTANT(each))
