"""Doubles and contradictions of a record, each rule with its twin that is sound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.modules.card.rules import conflicts
from dmed.modules.card.rules.conflicts import Evidence, blood_group

THO = "http://terminology.hl7.org/CodeSystem/"
PERSON = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1992-03-12"}


def allergy(id_, text="Penitsillin", sure="confirmed", atc="", status="active"):
    coding = [{"system": "http://www.whocc.no/atc", "code": atc}] if atc else []
    return {"resourceType": "AllergyIntolerance", "id": id_, "code": {"text": text,
            "coding": coding}, "clinicalStatus": {"coding": [{"code": status}]},
            "verificationStatus": {"coding": [{"code": sure}]}}  # fmt: skip  # One record.


def problem(id_, code="I10", sure="confirmed", status="active"):
    return {"resourceType": "Condition", "id": id_, "code": {"coding": [
            {"system": "http://hl7.org/fhir/sid/icd-10", "code": code}], "text": code},
            "clinicalStatus": {"coding": [{"code": status}]},
            "verificationStatus": {"coding": [{"code": sure}]}}  # fmt: skip  # One record.


def observed(id_, loinc, when="2026-01-02T10:00:00+05:00", **value):
    return {"resourceType": "Observation", "id": id_, "status": "final", "effectiveDateTime": when,
            "code": {"coding": [{"system": "http://loinc.org", "code": loinc}]}, **value}


def found(**evidence):
    return [(one.key, one.is_contradiction, len(one.sides)) for one in conflicts.conflicts(
        Evidence(**{"patient": PERSON, **evidence}), "en")]


def test_an_allergy_and_its_refutation_are_shown_together():
    """One substance held and refuted contradicts; refuted and resolved alone do not."""
    assert found(allergies=(allergy("a"), allergy("b", sure="refuted"))) == [
        ("allergy_refuted", True, 2)]
    assert found(allergies=(allergy("a", status="resolved"), allergy("b", sure="refuted"))) == []
    assert found(allergies=(allergy("a"), allergy("b", sure="entered-in-error"))) == []


def test_each_side_tells_whether_it_is_the_refutation():
    """The refuting record is named so, the other is not, and both keep their own source."""
    made = conflicts.conflicts(Evidence(patient=PERSON, allergies=(
        allergy("a") | {"participant": [{"actor": {"display": "Doktor"}}]},
        allergy("b", sure="refuted"))), "en")

    assert {side.reference[-1]: (side.status, side.source.author) for side in made[0].sides} == {
        "a": ("", "Doktor"), "b": ("refuted", "")}


def test_one_substance_twice_is_a_double_whatever_its_letters():
    """Case and blanks make no second allergy, an ATC code meets its like, other things do not."""
    assert found(allergies=(allergy("a", " penitsillin"), allergy("b", "Penitsillin "))) == [
        ("allergy_twice", False, 2)]
    assert found(allergies=(allergy("a", "X", atc="J01C"), allergy("b", "Y", atc="J01C"))) == [
        ("allergy_twice", False, 2)]
    assert found(allergies=(allergy("a"), allergy("b", "Yong‘oq"))) == []


def test_no_known_allergy_beside_an_allergy_contradicts():
    """The sentence that there is none does not stand beside one that holds."""
    none = allergy("n", "none")
    none["code"] = {"coding": [{"code": "no-known-allergies"}]}

    assert found(allergies=(none, allergy("a"))) == [("allergy_none", True, 2)]
    assert found(allergies=(none,)) == []


def test_one_diagnosis_twice_and_one_refuted():
    """Two standing records of one code are a double; a refutation beside one contradicts."""
    assert found(conditions=(problem("a"), problem("b"))) == [("problem_twice", False, 2)]
    assert found(conditions=(problem("a"), problem("b", sure="refuted"))) == [
        ("problem_refuted", True, 2)]
    assert found(conditions=(problem("a"), problem("b", status="resolved"))) == []
    assert found(conditions=(problem("a"), problem("b", code="I11"))) == []


@pytest.mark.parametrize(("text", "group"), [
    ("A(II) Rh+", ("A", "+")), ("O(I) Rh−", ("O", "-")), ("AB neg", ("AB", "-")),
    ("0 (I) резус отрицательный", ("O", "-")), ("А(II) резус положительный", ("A", "+")),
    ("IV musbat", ("AB", "+")), ("III manfiy", ("B", "-")), ("B positive", ("B", "+")),
    ("", ("", "")), ("noma’lum", ("", "")),
])  # fmt: skip  # As they are written.
def test_blood_groups_are_read_in_every_way_of_writing(text, group):
    """Letters of two alphabets, Roman numbers and words in three languages mean the same."""
    assert blood_group(text) == group


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_no_text_breaks_the_reading_of_a_blood_group(text):
    """Whatever is written, two short texts come back."""
    abo, rhesus = blood_group(text)

    assert abo in ("", "A", "B", "AB", "O")
    assert rhesus in ("", "+", "-")


def test_two_blood_groups_contradict_and_two_writings_of_one_do_not():
    """A(II) and II are one group; A and B are two; a cancelled test takes no part."""
    two = (observed("a", "882-1", valueString="A(II) Rh+"),
           observed("b", "883-9", valueString="II"))
    other = observed("c", "882-1", "2020-05-05", valueString="B(III) Rh+")

    assert found(observations=two) == []
    assert found(observations=(*two, other)) == [("blood_group", True, 3)]
    assert found(observations=(*two, {**other, "status": "cancelled"})) == []


def test_two_values_of_one_moment():
    """The same moment and test with two values contradicts, with one value it is a double."""
    def glucose(id_, value, when="2026-01-02T10:00:00+05:00"):
        return observed(id_, "14771-0", when, valueQuantity={"value": value, "unit": "mmol/L"})

    assert found(observations=(glucose("a", 5), glucose("b", 9))) == [("result_differs", True, 2)]
    assert found(observations=(glucose("a", 5), glucose("b", 5))) == [("result_twice", False, 2)]
    assert found(observations=(glucose("a", 5, "2026-01-02"), glucose("b", 9, "2026-01-02"))) == []


def test_sex_and_birth_against_the_number_and_what_was_observed():
    """The PINFL, an observation at birth and a pregnancy speak against what the card says."""
    from datetime import date

    from dmed.modules.medid import api as medid

    number = medid.compose_pinfl(date(1992, 3, 13), "male", 111, 222)
    told = {**PERSON, "identifier": [{"system": "https://dhp.uz/fhir/core/sid/pid/uz/ni",
                                      "value": number, "use": "official"}]}
    own = medid.compose_pinfl(date(1992, 3, 12), "female", 111, 222)
    sound = {**told, "identifier": [{**told["identifier"][0], "value": own}]}
    man = {**PERSON, "gender": "male"}

    assert [key for key, _, _ in found(patient=told)] == ["sex_pinfl", "birth_pinfl"]
    assert found(patient=sound) == []
    assert found(patient=man, conditions=(problem("a", "O99.0"),)) == [("sex_diagnosis", True, 2)]
    assert found(observations=(observed("a", "76689-9", valueCodeableConcept={
        "coding": [{"code": "male"}]}),)) == [("sex_observed", True, 2)]


def test_what_comes_after_death():
    """A measurement of a later day contradicts; one of the day itself does not."""
    dead = {**PERSON, "deceasedDateTime": "2026-01-02T08:00:00+05:00"}
    late = observed("a", "718-7", "2026-02-01", valueQuantity={"value": 1})

    assert found(patient=dead, observations=(late,)) == [("after_death", True, 2)]
    assert found(patient=dead, observations=(observed("a", "718-7", "2026-01-02"),)) == []


def test_vaccinations_and_medicines_twice():
    """One vaccine twice a day or one dose on two days; one substance by two prescriptions."""
    def given_on(id_, when, dose=""):
        return {"resourceType": "Immunization", "id": id_, "status": "completed",
                "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx",
                                            "code": "03"}]}, "occurrenceDateTime": when,
                "protocolApplied": [{"doseNumber": dose}] if dose else []}

    def prescribed(id_, number):
        return {"resourceType": "MedicationRequest", "id": id_, "status": "active",
                "groupIdentifier": {"value": number}, "medication": {"concept": {"coding": [
                    {"system": "http://www.whocc.no/atc", "code": "C09AA02"}], "text": "x"}}}

    assert found(vaccinations=(given_on("a", "2020-01-01"), given_on("b", "2020-01-01"))) == [
        ("vaccine_twice", False, 2)]
    assert found(vaccinations=(given_on("a", "2020-01-01", "1"), given_on("b", "2021-01-01", "1"))
                 ) == [("dose_twice", False, 2)]
    assert found(vaccinations=(given_on("a", "2020-01-01", "1"), given_on("b", "2021-01-01", "2"))
                 ) == []
    assert found(medicines=(prescribed("a", "1"), prescribed("b", "2"))) == [
        ("medicine_twice", False, 2)]
    assert found(medicines=(prescribed("a", "1"), prescribed("b", "1"))) == []


def test_contradictions_come_before_doubles():
    """What may harm is read first."""
    keys = [is_contradiction for _, is_contradiction, _ in found(
        conditions=(problem("a"), problem("b")),
        allergies=(allergy("a"), allergy("b", sure="refuted")))]

    assert keys == [True, False]
