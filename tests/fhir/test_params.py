"""Search parameters: their definitions, and the index rows of well-known records."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dmed.fhir import codec, params, values
from dmed.fhir.facts import facts
from dmed.fhir.index import MAX_INSTANT, Index, modified_number, parameter_number
from dmed.fhir.path.units import UCUM

LOINC = "http://loinc.org"


def record(body: dict[str, Any]) -> Any:
    """A struct from plain JSON."""
    return codec.decode(msgspec.json.encode(body))


def rows(resource: Any, kind: str, code: str) -> list[tuple[Any, ...]]:
    """The rows of one parameter, without its number."""
    number = parameter_number(resource.fhir_type, code)
    return [row[1:] for row in getattr(params.extract(resource), kind) if row[0] == number]


PATIENT = record(
    {
        "resourceType": "Patient",
        "id": "p1",
        "meta": {
            "profile": ["https://dhp.uz/fhir/core/StructureDefinition/uz-core-patient|1.0"],
            "tag": [{"system": "http://t", "code": "demo"}],
            "source": "https://dmed.uz/registry",
        },
        "identifier": [
            {"system": "https://dhp.uz/fhir/core/sid/pid/uz/ni", "value": "30101900000019"}
        ],
        "active": True,
        "name": [{"text": "Йўлдошева Гўзал", "family": "Yo‘ldosheva", "given": ["Go‘zal", "A"]}],
        "telecom": [
            {"system": "phone", "value": "+998901234567"},
            {"system": "email", "value": "g@example.uz"},
        ],
        "gender": "female",
        "birthDate": "1990-05-17",
        "deceasedDateTime": "2024-01-02T03:04:05+05:00",
        "address": [{"use": "home", "line": ["Amir Temur 5"], "city": "Toshkent", "country": "UZ"}],
        "generalPractitioner": [{"reference": "Practitioner/d1"}, {"reference": "#inside"}],
        "link": [{"other": {"reference": "Patient/p2"}, "type": "seealso"}],
    }
)
PRESSURE = record(
    {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": "http://c", "code": "vital-signs"}], "text": "Vitals"}],
        "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1/_history/3"},
        "effectivePeriod": {"start": "2024-03-01T10:00:00+05:00"},
        "performer": [{"reference": "Practitioner/d1"}, {"reference": "Patient/p9"}],
        "component": [
            {
                "code": {"coding": [{"system": LOINC, "code": "8480-6"}]},
                "valueQuantity": {"value": 120, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
            },
            {
                "code": {"coding": [{"system": LOINC, "code": "8462-4"}]},
                "valueQuantity": {"value": 80, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
            },
        ],
    }
)


def glucose(**value: Any) -> Any:
    """An Observation of glucose with some value[x]."""
    code = {"coding": [{"system": LOINC, "code": "2339-0"}, {"code": "GLU"}]}
    return record({"resourceType": "Observation", "status": "final", "code": code, **value})


def test_parameters_of_every_type() -> None:
    """Each resource has its own parameters and those of all resources; numbers never collide."""
    numbers = [p.number for name in facts().resources for p in params.parameters(name).values()]

    assert len(numbers) == len(set(numbers))
    assert {"_id", "_lastUpdated", "_profile", "_tag", "family"} <= set(
        params.parameters("Patient")
    )
    assert params.parameters("Patient")["general-practitioner"].targets
    assert not params.parameters("Nonsense")
    assert not params.parameters("Patient")["_id"].is_indexed


def test_rows_of_modifiers_have_numbers_of_their_own() -> None:
    """No number of a modifier's rows is that of a parameter, or of another set of parameters."""
    owners: dict[int, str] = {}
    for name in facts().resources:
        for code, each in params.parameters(name).items():
            for number, said in ((each.number, f"{name}.{code}"),
                                 (modified_number(each.number, "ucum"), f"{name}.{code}:ucum")):
                assert owners.setdefault(number, said) == said
    for name in facts().resources:
        for code, each in params.parameters(name).items():
            for modifier in ("text", "of-type", "identifier"):
                if each.type in {"token", "reference"}:
                    for number in params.modified_numbers(name, code, modifier):
                        said = owners.setdefault(number, f"{name}:{modifier}")
                        assert said == f"{name}:{modifier}"


def test_every_expression_is_planned() -> None:
    """Every indexed parameter of R5 has a way to a row, but for those that R5 itself got wrong."""
    dead = []
    for name in facts().resources:
        for parameter in params.parameters(name).values():
            if parameter.is_indexed and params._laid([parameter]).finished().is_idle:
                dead.append(f"{name}.{parameter.code}")

    assert dead == [
        # The expression names every base type but this one.
        "CareTeam.date",
        # The expression names every publishable type but this one.
        "EvidenceVariable.topic",
        # Observation.value[x] cannot be a canonical.
        "Observation.component-value-canonical",
        "Observation.value-canonical",
    ]


def test_patient_names() -> None:
    """Every part of a name is a row of `name`; family and given have their own; text is folded."""
    folded = {row[0] for row in rows(PATIENT, "strings", "name")}

    assert folded == {"yoldosheva", "gozal", "a", "yoldosheva gozal"}
    assert rows(PATIENT, "strings", "family") == [("yoldosheva", "Yo‘ldosheva")]
    assert rows(PATIENT, "strings", "given") == [("gozal", "Go‘zal"), ("a", "A")]


def test_patient_tokens() -> None:
    """Identifiers, codes, booleans and contacts are tokens."""
    ni = "https://dhp.uz/fhir/core/sid/pid/uz/ni"

    assert rows(PATIENT, "tokens", "identifier") == [(ni, "30101900000019")]
    assert rows(PATIENT, "tokens", "gender") == [("", "female")]
    assert rows(PATIENT, "tokens", "active") == [("", "true")]
    assert rows(PATIENT, "tokens", "phone") == [("phone", "+998901234567")]
    assert rows(PATIENT, "tokens", "email") == [("email", "g@example.uz")]
    assert len(rows(PATIENT, "tokens", "telecom")) == 2
    assert rows(PATIENT, "tokens", "deceased") == [("", "true")]
    assert rows(PATIENT, "tokens", "_tag") == [("http://t", "demo")]


def test_patient_dates_addresses_and_meta() -> None:
    """Dates cover their precision; address parts are strings; meta is indexed."""
    assert rows(PATIENT, "dates", "birthdate") == [values.date_bounds("1990-05-17")]
    assert rows(PATIENT, "dates", "death-date") == [values.date_bounds("2024-01-02T03:04:05+05:00")]
    assert {row[0] for row in rows(PATIENT, "strings", "address")} == {
        "amir temur 5",
        "toshkent",
        "uz",
    }
    assert rows(PATIENT, "strings", "address-city") == [("toshkent", "Toshkent")]
    profile = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-patient"
    assert rows(PATIENT, "references", "_profile") == [("", profile, "1.0")]
    assert rows(PATIENT, "uris", "_source") == [("https://dmed.uz/registry",)]


def test_contained_targets_are_not_indexed() -> None:
    """A reference into the record itself is no row."""
    assert rows(PATIENT, "references", "general-practitioner") == [("Practitioner", "d1", "")]


def test_observation_subject_is_a_patient() -> None:
    """`patient` is the subject only when it points to a Patient; versions are kept."""
    group = record(
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"},
         "subject": {"reference": "Group/g"}}
    )  # fmt: skip  # One record.

    assert rows(PRESSURE, "references", "patient") == [("Patient", "p1", "")]
    assert rows(PRESSURE, "references", "encounter") == [("Encounter", "e1", "3")]
    assert rows(group, "references", "patient") == []
    assert rows(group, "references", "subject") == [("Group", "g", "")]


def test_observation_codes_and_dates() -> None:
    """combo-code takes the code and those of components; an open period has no end."""
    codes = [code for _, code in rows(PRESSURE, "tokens", "combo-code")]

    assert sorted(codes) == ["8462-4", "8480-6", "85354-9"]
    assert rows(PRESSURE, "tokens", "code") == [(LOINC, "85354-9")]
    start = values.date_bounds("2024-03-01T10:00:00+05:00")[0]
    assert rows(PRESSURE, "dates", "date") == [(start, MAX_INSTANT)]


def test_observation_quantities() -> None:
    """A quantity is a row as given, and one in canonical units where that differs."""
    given = glucose(valueQuantity={"value": 90, "unit": "mg/dL", "system": UCUM, "code": "mg/dL"})

    assert rows(given, "quantities", "value-quantity") == [
        (Decimal("89.5"), Decimal("90.5"), UCUM, "mg/dL"),
    ]
    assert rows(given, "quantities", "value-quantity:ucum") == [
        (Decimal("0.895"), Decimal("0.905"), UCUM, "g/L"),
    ]
    assert len(rows(PRESSURE, "quantities", "component-value-quantity")) == 2


def test_quantity_comparators_open_an_end() -> None:
    """`<5` reaches to the low end of numbers."""
    below = glucose(valueQuantity={"value": 5, "comparator": "<", "unit": "mmol/L"})

    assert rows(below, "quantities", "value-quantity") == [
        (values.MIN_NUMBER, Decimal("5.5"), "", "mmol/L")
    ]


def test_composites_stay_within_their_element() -> None:
    """Systolic pairs with 120 and diastolic with 80, never crosswise."""
    found = rows(PRESSURE, "composites", "component-code-value-quantity")

    assert found == [
        (f"8480-6|{LOINC}$mm[Hg]|{UCUM}", Decimal("119.5"), Decimal("120.5")),
        (f"8462-4|{LOINC}$mm[Hg]|{UCUM}", Decimal("79.5"), Decimal("80.5")),
    ]
    assert rows(PRESSURE, "composites", "combo-code-value-quantity") == found
    assert rows(PRESSURE, "composites", "code-value-quantity") == []


@pytest.mark.parametrize(
    ("value", "code", "part"),
    [
        ({"valueString": "High!"}, "code-value-string", ("high!", None, None)),
        (
            {"valueCodeableConcept": {"coding": [{"system": "http://s", "code": "pos"}]}},
            "code-value-concept",
            ("pos|http://s", None, None),
        ),
        (
            {"valueDateTime": "2024-01-01"},
            "code-value-date",
            ("", *(Decimal(edge) for edge in values.date_bounds("2024-01-01"))),
        ),
    ],
)
def test_composites_by_kind_of_value(value: Any, code: str, part: tuple[Any, ...]) -> None:
    """Each coding of the code pairs with the value; the ordered part has its bounds."""
    found = rows(glucose(**value), "composites", code)

    assert found == [
        (f"2339-0|{LOINC}${part[0]}", part[1], part[2]),
        (f"GLU|${part[0]}", part[1], part[2]),
    ]


def test_medication_request_and_encounter() -> None:
    """authoredon, the period of an encounter, and the medicine by code and by reference."""
    request = record(
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "medication": {"concept": {"coding": [{"system": "http://atc", "code": "J01CA04"}]}},
            "subject": {"reference": "Patient/p1"},
            "authoredOn": "2024-05-01",
        }
    )
    encounter = record(
        {
            "resourceType": "Encounter",
            "status": "completed",
            "actualPeriod": {"start": "2024-05-01", "end": "2024-05-03"},
        }
    )

    assert rows(request, "dates", "authoredon") == [values.date_bounds("2024-05-01")]
    assert rows(request, "tokens", "code") == [("http://atc", "J01CA04")]
    assert rows(request, "references", "patient") == [("Patient", "p1", "")]
    assert rows(encounter, "dates", "date") == [values.period_bounds("2024-05-01", "2024-05-03")]


def test_bundle_composition_and_other_expressions() -> None:
    """Beyond plain paths: the first entry of a document, the earliest of a choice."""
    document = record(
        {
            "resourceType": "Bundle",
            "type": "document",
            "entry": [
                {
                    "resource": {
                        "resourceType": "Composition",
                        "id": "c1",
                        "status": "final",
                        "type": {"text": "t"},
                        "date": "2024-01-01",
                        "author": [{"display": "d"}],
                        "title": "t",
                    }
                }
            ],
        }
    )
    planned = record(
        {
            "resourceType": "Appointment",
            "status": "proposed",
            "requestedPeriod": [{"start": "2024-06-01"}, {"start": "2024-07-01"}],
            "participant": [{"status": "accepted"}],
        }
    )

    assert rows(document, "references", "composition") == [("Composition", "c1", "")]
    assert rows(document, "references", "message") == []
    assert rows(planned, "dates", "date") == [values.date_bounds("2024-06-01")]
    assert len(rows(planned, "dates", "requested-period")) == 2


def test_filters_of_expressions() -> None:
    """`where` with an equation takes only what fits."""
    library = record(
        {
            "resourceType": "Library",
            "status": "active",
            "type": {"text": "t"},
            "relatedArtifact": [
                {"type": "depends-on", "resource": "http://a|1"},
                {"type": "composed-of", "resource": "http://b"},
            ],
        }
    )

    assert rows(library, "references", "depends-on") == [("", "http://a", "1")]
    assert rows(library, "references", "composed-of") == [("", "http://b", "")]


def test_rows_are_unique() -> None:
    """The same value twice gives one row."""
    twice = record(
        {"resourceType": "Patient", "name": [{"family": "Aliyev"}, {"family": "Aliyev"}]}
    )

    assert rows(twice, "strings", "family") == [("aliyev", "Aliyev")]


def test_patients_of_a_record() -> None:
    """A record lies in the compartments of its subject and performers; a Patient in its own."""
    assert params.patients(PRESSURE) == ("p1", "p9")
    assert params.patients(PATIENT) == ("p1", "p2")
    assert params.patients(record({"resourceType": "Organization", "name": "x"})) == ()
    assert params.compartment_params("Patient", "Observation") == ("subject", "performer")
    assert params.compartment_params("Patient", "Patient") == ("link",)


def test_empty_record_has_no_rows() -> None:
    """A record with nothing in it gives nothing; a Patient is then not known to be dead."""
    assert params.extract(record({"resourceType": "Organization"})) == Index()
    empty = record({"resourceType": "Patient"})
    assert rows(empty, "tokens", "deceased") == [("", "false")]


def _every_resource(body: bytes) -> list[Any]:
    found = codec.decode(body)
    if found.fhir_type != "Bundle" or found.entry is msgspec.UNSET:
        return [found]
    inner = [each.resource for each in found.entry if each.resource is not msgspec.UNSET]
    return [found, *inner]


def test_national_examples_are_extracted(shared_data: Path) -> None:
    """Every example of the national guide gives rows and patients without a fault."""
    files = sorted((shared_data / "uz-core" / "core" / "examples").rglob("*.json"))
    count = 0
    for file in files:
        for resource in _every_resource(file.read_bytes()):
            rows_found = params.extract(resource)
            params.patients(resource)
            count += any(getattr(rows_found, kind) for kind in Index.__struct_fields__)

    assert count >= 97


def test_official_examples_are_extracted(r5_examples: Path) -> None:
    """Every official R5 example (each small enough for the API) is extracted without a fault."""
    count = total = 0
    for file in sorted(r5_examples.rglob("*.json")):
        if file.name in {"package.json", ".index.json"} or file.stat().st_size > 200_000:
            continue
        found = params.extract(codec.decode(file.read_bytes()))
        total += sum(len(getattr(found, kind)) for kind in Index.__struct_fields__)
        count += 1

    assert count > 2_700
    assert total > 45_000
