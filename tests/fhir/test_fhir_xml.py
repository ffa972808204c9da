"""FHIR XML: every value that JSON has, and every fault that only XML can have."""

from __future__ import annotations

import json
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.fhir import codec, xml
from dmed.kit.errors import InvalidError

_HEAD = b'<Patient xmlns="http://hl7.org/fhir">'


def patient(inside: str) -> bytes:
    """A Patient with these elements."""
    return _HEAD + inside.encode() + b"</Patient>"


def test_every_kind_of_value() -> None:
    """Numbers keep their digits, primitives their extensions, arrays their gaps."""
    body = (
        b'<!-- a comment --><Observation xmlns="http://hl7.org/fhir">'
        b'<id value="o1"/><contained><Patient><id value="p"/><active value="true"/>'
        b'<name><given><extension url="urn:x"><valueInteger value="-7"/></extension></given>'
        b'<given id="g" value="Aziza"/></name></Patient></contained>'
        b'<status value="final"/><code><text value="a &lt; b &#233;"/></code>'
        b'<valueQuantity><value value="1.50"/></valueQuantity></Observation>'
    )

    found = json.loads(xml.to_json(body), parse_float=str)

    assert found == {
        "resourceType": "Observation",
        "id": "o1",
        "contained": [
            {
                "resourceType": "Patient",
                "id": "p",
                "active": True,
                "name": [
                    {
                        "given": [None, "Aziza"],
                        "_given": [
                            {"extension": [{"url": "urn:x", "valueInteger": -7}]},
                            {"id": "g"},
                        ],
                    }
                ],
            }
        ],
        "status": "final",
        "code": {"text": "a < b é"},
        "valueQuantity": {"value": "1.50"},
    }
    codec.decode(xml.to_json(body))


def test_narrative_keeps_its_markup() -> None:
    """The div arrives as XHTML with its own namespace, whatever prefix the document used."""
    found = json.loads(
        xml.to_json(
            patient(
                '<text><status value="generated"/><h:div xmlns:h="http://www.w3.org/1999/xhtml">'
                '<h:p title="a&quot;b" xml:lang="en">1 &lt; 2<h:br/></h:p></h:div></text>'
            )
        )
    )

    assert found["text"]["div"] == (
        '<div xmlns="http://www.w3.org/1999/xhtml">'
        '<p title=\'a"b\' xml:lang="en">1 &lt; 2<br/></p></div>'
    )


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (patient('<colour value="red"/>'), "Patient.colour"),
        (patient('<active value="true" other="x"/>'), "Patient.active"),
        (patient('<gender value="male"/><active value="true"/>'), "Patient.active"),
        (patient('<active value="true"/><active value="true"/>'), "Patient.active"),
        (patient("<active/>"), "Patient.active"),
        (patient('<active xmlns="urn:other" value="true"/>'), "Patient.active"),
        (patient("<name>Karimova</name>"), "Patient.name[0]"),
        (patient("<contained><Unheard/></contained>"), "Patient.contained[0]"),
        (patient('<birthDate value="1990"><period/></birthDate>'), "Patient.birthDate.period"),
    ],
)
def test_faults_of_form_have_their_place(body: bytes, place: str) -> None:
    """Unknown names, attributes, order, repeats, loose text and namespaces are told with a path."""
    with pytest.raises(InvalidError) as caught:
        xml.to_json(body)

    assert [issue.expression for issue in caught.value.issues] == [place]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Patient",
        b"<Patient xmlns='http://hl7.org/fhir'>",
        b"<Patient/>",
        b"<Unheard xmlns='http://hl7.org/fhir'/>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><Patient xmlns='http://hl7.org/fhir'/>",
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><Patient xmlns='http://hl7.org/fhir'/>",
        patient('<active value="&unknown;"/>'),
        _HEAD + b"<name>" * 300,
        "<Patient xmlns='http://hl7.org/fhir'/>".encode("utf-16"),
        b"<?xml version='1.0' encoding='iso-8859-1'?><Patient xmlns='http://hl7.org/fhir'/>",
        b"<?xml version='1.0' encoding='unheard'?><Patient xmlns='http://hl7.org/fhir'/>",
    ],
)
def test_what_is_never_read(body: bytes) -> None:
    """Broken XML, document types, entities, other encodings and endless nesting are refused."""
    with pytest.raises(InvalidError):
        xml.to_json(body)


def test_wrong_values_reach_the_codec() -> None:
    """A value that does not fit its type stays as it is, and the codec names its place."""
    body = xml.to_json(patient('<active value="TRUE"/><multipleBirthInteger value="1e4"/>'))

    with pytest.raises(InvalidError) as caught:
        codec.decode(body)

    places = {issue.expression for issue in caught.value.issues}
    assert places == {"Patient.active", "Patient.multipleBirthInteger"}


def test_published_records_agree_with_their_json(shared_data: Path) -> None:
    """Each XML input of the FHIRPath suite reads as the JSON that others made of it."""
    folder = shared_data / "conformance" / "fhirpath-r5"
    compared = 0
    for file in sorted((folder / "input").glob("*.xml")):
        twin = folder / "input-json" / file.with_suffix(".json").name
        if not twin.exists():
            continue
        compared += 1
        mine = json.loads(codec.encode(codec.decode(xml.to_json(file.read_bytes()))))
        theirs = json.loads(codec.encode(codec.decode(twin.read_bytes())))
        for each in (mine, theirs):
            each.get("text", {}).pop("div", None)  # Blanks and prefixes of markup may differ.

        assert mine == theirs, file.name
    assert compared >= 10


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_text_comes_through(text: str) -> None:
    """What XML can hold in an attribute comes back as the same text."""
    value = escape(text, {'"': "&quot;", "\n": "&#10;"})
    try:
        found = xml.to_json(patient(f'<name><text value="{value}"/></name>'))
    except InvalidError as error:
        assert "broken" in str(error)  # noqa: PT017  # Only characters that XML forbids.
        return

    assert json.loads(found)["name"][0]["text"] == text


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='<>/="&; Patientv', max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes make the reader fail in any other way than with its own error."""
    try:
        xml.to_json(_HEAD + body + b"</Patient>")
    except InvalidError:
        return
