"""The synthetic country: repeatable, valid, of the promised size, and loaded whole."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import date

import pytest

from dmed.apps import demo
from dmed.apps.demo.loading import write_of
from dmed.fhir import codec
from dmed.kit.ids import milliseconds_of
from dmed.modules.medid import demo as medid
from dmed.modules.medid import rules
from dmed.store.schema import migrate
from dmed.trust.gateway import prepare
from dmed.trust.tables import DDL

PERSONS = 160
TARGETS = {
    "Encounter": 12, "Condition": 5, "Observation": 35, "DiagnosticReport": 4,
    "MedicationRequest": 8, "MedicationDispense": 6, "Immunization": 6,
}  # fmt: skip  # The promised average of a person.


@pytest.fixture(scope="module")
def records():
    """A country of a hundred and sixty."""
    return list(demo.generate(PERSONS))


def test_the_same_seed_gives_the_same_bytes(records):
    """Two runs are equal byte for byte; another seed or another last day is not."""
    assert demo.digest(records) == demo.digest(demo.generate(PERSONS))
    assert demo.digest(demo.generate(20)) != demo.digest(demo.generate(20, 2))
    assert demo.digest(demo.generate(20)) != demo.digest(demo.generate(20, 1, date(2026, 10, 1)))


def test_parts_together_are_the_whole(records):
    """Made in three parts, the country has the same records."""
    parts = [one for part in range(3) for one in demo.generate(PERSONS, part=part, parts=3)]

    assert demo.digest(parts) == demo.digest(records)
    assert len(parts) == len(records)


def test_every_type_passes_our_own_validation(records):
    """A sample of every type decodes, is canonical, validates, and names its patient's bucket."""
    seen: Counter[str] = Counter()
    for record in records:
        seen[record.type] += 1
        if seen[record.type] > 60:
            continue
        resource = codec.decode(record.body, record.type)

        assert codec.encode(resource) == record.body
        assert prepare.faults(resource) == ()
        assert prepare.bucket_for(resource, record.id) == record.bucket
    assert len(seen) == 17


def test_averages_are_those_promised(records):
    """Within a quarter of the promised number of each type, and of eighty in all."""
    count = Counter(record.type for record in records)
    clinical = sum(count.values()) - sum(
        count[kind] for kind in ("Medication", "Organization", "Practitioner", "PractitionerRole",
                                 "Location"))

    for kind, target in TARGETS.items():
        assert abs(count[kind] / PERSONS - target) < target / 4, kind
    assert 70 < clinical / PERSONS < 95


def test_the_young_have_few_and_the_chronically_ill_hundreds(records):
    """Ten persons in a hundred have less than thirty records, and some have over two hundred."""
    of_person: Counter[str] = Counter()
    for record in records:
        body = json.loads(record.body)
        link = body.get("subject") or body.get("patient")
        if link:
            of_person[link["reference"]] += 1
    sizes = sorted(of_person.values())

    assert sizes[len(sizes) // 10] < 30
    assert sizes[-1] > 200


def test_ids_versions_and_numbers_are_unique(records):
    """No id, no version of a bucket and no national number comes twice."""
    assert len({record.id for record in records}) == len(records)
    assert len({(record.bucket, record.vid) for record in records}) == len(records)
    numbers = [one["value"] for record in records if record.type == "Patient"
               for one in json.loads(record.body)["identifier"]]

    assert len(set(numbers)) == len(numbers)


def test_numbers_of_persons_are_sound(records):
    """Every PINFL agrees with birth date and sex, every MED-ID with its check digit."""
    for record in records:
        if record.type != "Patient":
            continue
        body = json.loads(record.body)
        for one in body["identifier"]:
            if one["system"] == rules.PINFL_SYSTEM:
                told = rules.read_pinfl(one["value"])
                assert told is not None
                assert told.is_check_right
                assert (told.birth_date.isoformat(), told.sex) == (
                    body["birthDate"], body["gender"])
            else:
                assert rules.is_med_id(one["value"])


def test_versions_tell_the_time_of_the_record(records):
    """meta.lastUpdated, version id and moment are one, and none lies after the last day."""
    for record in records[::7]:
        meta = json.loads(record.body)["meta"]

        assert meta["versionId"] == str(record.vid)
        assert milliseconds_of(record.vid) == round(record.updated.timestamp() * 1000)
        assert record.updated.date() <= demo.UNTIL


def test_an_earlier_last_day_moves_the_country():
    """Nothing lies after the last day asked for, the planted stories included."""
    last = date(2026, 3, 1)

    assert max(record.updated.date() for record in demo.generate(20, 1, last)) <= last


def test_literal_references_lead_somewhere(records):
    """Whatever a record refers to is in the country."""
    known = {f"{record.type}/{record.id}" for record in records}
    missing: dict[str, int] = defaultdict(int)

    def walk(value):
        if isinstance(value, dict):
            if isinstance(value.get("reference"), str) and value["reference"] not in known:
                missing[value["reference"].split("/")[0]] += 1
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    for record in records:
        walk(json.loads(record.body))
    assert dict(missing) == {}


def test_people_are_families(records):
    """Children have their parents' surname, and a patronymic of the father's name."""
    country = demo.Country(PERSONS)
    checked = 0
    for number, first, _ in country.households():
        people = medid.household(1, number, first, country.at_home(number).home, country.until)
        couple = [one for one in people[:2] if one.is_married]
        for child in people[2:]:
            if len(couple) == 2 and child.born > couple[1].born:
                checked += 1
                assert child.family == couple[0].family
                assert child.father == couple[0].given
                assert (child.born - couple[1].born).days > 17 * 365
    assert checked > 40


def test_names_come_in_both_scripts(records):
    """Uzbek, Russian and Karakalpak households; Latin and Cyrillic names."""
    country = demo.Country(1500)
    peoples = Counter()
    for number, first, _ in country.households():
        home = country.at_home(number).home
        people = medid.household(1, number, first, home, country.until)
        peoples[people[0].people] += 1
    scripts = Counter(rules.sound_of(medid.shown_name(one)) != set() for one in people)

    assert set(peoples) == {"uz", "ru", "kaa"}
    assert peoples["uz"] > peoples["ru"] + peoples["kaa"]
    assert scripts[True] == len(people)


def test_demo_sign_ins_hold_posts_of_the_country(records):
    """Doctor, pharmacist, registrar and administrator are people of the register."""
    known = {f"{record.type}/{record.id}" for record in records}
    accounts = {account.user: account for account in demo.accounts()}

    for user in ("doctor", "pharmacist", "registrar", "admin"):
        account = accounts[user]
        assert f"Practitioner/{account.practitioner}" in known
        assert f"PractitionerRole/{account.practitioner_role}" in known
        assert f"Organization/{account.organisation}" in known
    assert accounts["doctor"].organisation_name == "14-oilaviy poliklinika"
    assert accounts["pharmacist"].organisation_name == "27-dorixona"


async def test_a_country_is_loaded_whole(database_url):
    """Every made record is stored, with the generator's digest; once more stores nothing."""
    await migrate(database_url, DDL)
    steps: list[tuple[int, int]] = []
    loaded = await demo.load(database_url, persons=20, processes=0,
                             report=lambda *step: steps.append(step))
    made = list(demo.generate(20))

    assert loaded.records == len(made)
    assert loaded.digest == demo.digest(made)
    assert steps[-1] == (20, len(made))

    again = await demo.load(database_url, persons=20, processes=0)

    assert (again.records, again.digest) == (0, loaded.digest)
    with pytest.raises(demo.AlreadyThereError):
        await demo.load(database_url, persons=20, seed=2, processes=0)


def test_a_write_has_index_and_claims(records):
    """The Write of a Patient claims both numbers and can be found by the sound of the name."""
    record = next(one for one in records if one.type == "Patient")
    write = write_of(record)

    assert {system for system, _ in write.identities} == {rules.PINFL_SYSTEM, rules.MED_ID_SYSTEM}
    assert write.patients == (record.id,)
    assert any(key == "karim" for _, key, _ in write.index.strings)
