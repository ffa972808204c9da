"""Care relationships, labels and consent: as rules, in SQL, and that both say the same."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dmed.fhir import codec
from dmed.kit.errors import ForbiddenError, NotFoundError
from dmed.kit.settings import Settings
from dmed.store import care as store_care
from dmed.store import relabel as store_relabel
from dmed.store.audit import person_bucket
from dmed.store.pool import Database
from dmed.store.schema import migrate
from dmed.trust import relabelling
from dmed.trust.decide import Action, Care, Context, Record, Refusal, decide
from dmed.trust.gateway import Gateway
from dmed.trust.model import Role, Subject
from dmed.trust.policy import care, sensitivity
from dmed.trust.policy.roles import labelled_types
from dmed.trust.tables import DDL

DOCTOR = Subject(user="d1", role=Role.DOCTOR, practitioner="pr1", organisation="ward")
STRANGER = Subject(user="d2", role=Role.DOCTOR, practitioner="pr2", organisation="elsewhere")
SERVICE = Subject(user="s", role=Role.SERVICE)
ICD = "http://hl7.org/fhir/sid/icd-10"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(database: Database, settings: Settings) -> AsyncIterator[Gateway]:
    """The door, with a hospital of two wards and a clinic elsewhere."""
    door = Gateway(database, settings)
    for id_, above in (("hospital", ""), ("ward", "hospital"), ("other-ward", "hospital"),
                       ("elsewhere", "")):  # fmt: skip  # A table.
        place: dict[str, Any] = {"resourceType": "Organization", "id": id_, "name": id_}
        if above:
            place["partOf"] = {"reference": f"Organization/{above}"}
        await door.update(SERVICE, "Organization", id_, place)
    yield door


async def person(gateway: Gateway, clinic: str = "") -> str:
    """A new card, attached to a clinic or to none."""
    record: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Cared"}]}
    if clinic:
        record["managingOrganization"] = {"reference": f"Organization/{clinic}"}
    return (await gateway.create(SERVICE, "Patient", record)).id


def condition(patient: str, code: str = "J45.9") -> dict[str, Any]:
    """A diagnosis."""
    return {
        "resourceType": "Condition", "subject": {"reference": f"Patient/{patient}"},
        "clinicalStatus": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
            "code": "active"}]},
        "code": {"coding": [{"system": ICD, "code": code}]},
    }  # fmt: skip  # One record.


def visit(patient: str, status: str = "in-progress", place: str = "") -> dict[str, Any]:
    """An encounter."""
    made: dict[str, Any] = {"resourceType": "Encounter", "status": status,
                            "subject": {"reference": f"Patient/{patient}"}}  # fmt: skip
    if place:
        made["serviceProvider"] = {"reference": f"Organization/{place}"}
    return made


async def sees(gateway: Gateway, subject: Subject, id_: str) -> bool:
    """Whether a condition is read, and found by search, by a subject: both or neither."""
    found = await gateway.find(subject, "Condition", f"_id={id_}")
    try:
        await gateway.read(subject, "Condition", id_)
    except NotFoundError:
        assert not found
        return False
    assert found
    return True


async def test_the_attached_clinic_sees_and_others_do_not(gateway: Gateway) -> None:
    """A department sees what its hospital was entrusted with; sister and stranger do not."""
    patient = await person(gateway, "hospital")
    made = await gateway.create(SERVICE, "Condition", condition(patient))
    sister = msgspec.structs.replace(STRANGER, organisation="other-ward")

    assert await sees(gateway, DOCTOR, made.id)
    assert not await sees(gateway, STRANGER, made.id)
    mine = await person(gateway, "ward")
    other = await gateway.create(SERVICE, "Condition", condition(mine))
    assert not await sees(gateway, sister, other.id)
    head = msgspec.structs.replace(STRANGER, organisation="hospital")
    assert await sees(gateway, head, other.id)


async def test_moving_to_another_clinic_ends_the_first(gateway: Gateway) -> None:
    """What a record says of care goes when the record says otherwise."""
    patient = await person(gateway, "ward")
    made = await gateway.create(SERVICE, "Condition", condition(patient))
    card = await gateway.get(SERVICE, "Patient", patient)
    card["managingOrganization"] = {"reference": "Organization/elsewhere"}
    await gateway.update(SERVICE, "Patient", patient, card)

    assert not await sees(gateway, DOCTOR, made.id)
    assert await sees(gateway, STRANGER, made.id)


async def test_a_visit_begins_care_and_a_cancelled_one_ends_it(gateway: Gateway) -> None:
    """Who finds a person by search may open a visit; writing findings without one is refused."""
    patient = await person(gateway)
    with pytest.raises(ForbiddenError, match="no care relationship"):
        await gateway.create(DOCTOR, "Condition", condition(patient))
    opened = await gateway.create(DOCTOR, "Encounter", visit(patient))
    made = await gateway.create(DOCTOR, "Condition", condition(patient))
    assert await sees(gateway, DOCTOR, made.id)
    cancelled = {**visit(patient, "cancelled"), "id": opened.id}
    await gateway.update(DOCTOR, "Encounter", opened.id, cancelled)

    assert not await sees(gateway, DOCTOR, made.id)


async def test_nobody_refers_a_person_to_himself(gateway: Gateway) -> None:
    """A referral gives care to who is named, but only from who has it."""
    patient = await person(gateway, "ward")
    sent = {"resourceType": "ServiceRequest", "status": "active", "intent": "order",
            "subject": {"reference": f"Patient/{patient}"},
            "performer": [{"reference": "Organization/elsewhere"}]}  # fmt: skip  # One record.
    made = await gateway.create(SERVICE, "Condition", condition(patient))
    with pytest.raises(ForbiddenError):
        await gateway.create(STRANGER, "ServiceRequest", sent)
    assert not await sees(gateway, STRANGER, made.id)
    await gateway.create(DOCTOR, "ServiceRequest", sent)

    assert await sees(gateway, STRANGER, made.id)


async def test_a_sensitive_record_needs_more_than_the_clinic(gateway: Gateway) -> None:
    """A label is set by rule, stands in meta.security, and opens to who treats just that."""
    patient = await person(gateway, "ward")
    made = await gateway.create(SERVICE, "Condition", condition(patient, "F20.0"))
    body = await gateway.get(SERVICE, "Condition", made.id)
    assert body["meta"]["security"] == [{"system": sensitivity.SYSTEM, "code": "PSY"}]
    assert not await sees(gateway, DOCTOR, made.id)
    own = await gateway.create(DOCTOR, "Condition", condition(patient, "F32.1"))

    assert await sees(gateway, DOCTOR, own.id)
    assert await sees(gateway, DOCTOR, made.id)
    colleague = msgspec.structs.replace(DOCTOR, user="d3", practitioner="pr3")
    assert not await sees(gateway, colleague, made.id)
    hiv = await gateway.create(SERVICE, "Condition", condition(patient, "B24"))
    assert not await sees(gateway, DOCTOR, hiv.id)


async def test_a_refusal_closes_and_its_end_opens(gateway: Gateway) -> None:
    """Consent, opt-out: an institution, a label, everybody; a withdrawn refusal is none."""
    patient = await person(gateway, "ward")
    made = await gateway.create(SERVICE, "Condition", condition(patient))
    no: dict[str, Any] = {
        "resourceType": "Consent", "status": "active", "decision": "permit",
        "subject": {"reference": f"Patient/{patient}"},
        "provision": [{"actor": [{"reference": {"reference": "Organization/hospital"}}]}],
    }  # fmt: skip  # One record.
    said = await gateway.create(SERVICE, "Consent", no)
    assert not await sees(gateway, DOCTOR, made.id)
    reasons = (await gateway.explain(DOCTOR, Action.READ, "Condition", made.id)).reasons
    assert reasons[0].key == "trust.reason.consent"
    label = {**no, "id": said.id, "provision": [
        {"securityLabel": [{"system": sensitivity.SYSTEM, "code": "PSY"}]}]}  # fmt: skip
    await gateway.update(SERVICE, "Consent", said.id, label)
    assert await sees(gateway, DOCTOR, made.id)
    everybody = {**no, "id": said.id, "decision": "deny", "provision": []}
    del everybody["provision"]
    await gateway.update(SERVICE, "Consent", said.id, everybody)
    assert not await sees(gateway, DOCTOR, made.id)
    await gateway.update(SERVICE, "Consent", said.id, {**everybody, "status": "inactive"})

    assert await sees(gateway, DOCTOR, made.id)


async def test_history_and_versions_hide_too(gateway: Gateway) -> None:
    """Versions, histories of the record, the type and all, and a deleted record's trace."""
    patient = await person(gateway, "ward")
    made = await gateway.create(SERVICE, "Condition", condition(patient))
    second = {**condition(patient), "id": made.id}
    await gateway.update(SERVICE, "Condition", made.id, second)
    for subject, count in ((DOCTOR, 2), (STRANGER, 0)):
        page = await gateway.history(subject, "Condition", count=1000)
        assert sum(one.id == made.id for one in page.versions) == count
        whole = await gateway.history(subject, count=1000)
        assert sum(one.id == made.id for one in whole.versions) == count
    with pytest.raises(NotFoundError):
        await gateway.history(STRANGER, "Condition", made.id)
    with pytest.raises(NotFoundError):
        await gateway.vread(STRANGER, "Condition", made.id, made.vid)
    await gateway.delete(SERVICE, "Condition", made.id)

    with pytest.raises(NotFoundError) as gone:
        await gateway.read(STRANGER, "Condition", made.id)
    assert gone.type is NotFoundError


LABELS = st.integers(0, 15)
KINDS = st.sampled_from(["attached", "encounter", "act", "glass"])
RECORDS = st.builds(
    Record,
    patients=st.sampled_from([(), ("a",), ("a", "b")]),
    labels=LABELS,
    care=st.lists(st.builds(Care, st.sampled_from("ab"), KINDS, LABELS), max_size=3).map(tuple),
    refusals=st.lists(st.builds(Refusal, st.sampled_from("ab"), LABELS), max_size=2).map(tuple),
)
_SEEN = f"""
WITH r AS (SELECT $1::text AS patient, $2::text[] AS others, $3::smallint AS labels)
SELECT {store_care.seen("r", "$4::text[]")} FROM r
"""
_numbers = itertools.count()


@given(RECORDS)
@examples(max_examples=60, deadline=None)
def test_rule_and_statement_agree(database: Database, record: Record) -> None:
    """Random relationships, labels and refusals: the pure decision and the SQL say the same."""
    import asyncio

    loop = asyncio.get_event_loop_policy().get_event_loop()
    mark = f"{next(_numbers)}-{secrets.token_hex(4)}"

    def named(patient: str) -> str:
        return f"{patient}-{mark}"

    async def asked() -> bool:
        async with database.connection() as connection:
            for number, each in enumerate(record.care):
                await connection.execute(
                    "INSERT INTO care (bucket, labels, until, patient, principal, kind, source) "
                    "VALUES ($1, $2, '2999-01-01Z', $3, 'User/me', $4, $5)",
                    person_bucket(named(each.patient)), each.labels, named(each.patient),
                    each.kind, str(number))
            for number, refusal in enumerate(record.refusals):
                await connection.execute(
                    "INSERT INTO care_refusal (bucket, labels, until, patient, principal, source) "
                    "VALUES ($1, $2, '2999-01-01Z', $3, '', $4)",
                    person_bucket(named(refusal.patient)), refusal.labels,
                    named(refusal.patient), str(number))
            first, *others = [named(one) for one in record.patients] or [None]
            return bool(await connection.fetchval(
                _SEEN, first, others or None, record.labels, ["User/me"]))

    verdict = decide(DOCTOR, Action.READ, "Condition", Context(record=record))
    assert loop.run_until_complete(asked()) == verdict.allowed


@pytest.mark.parametrize(
    ("code", "label"),
    [("F20.0", 1), ("f32.9", 1), ("F41.9", 0), ("F10.2", 2), ("B24", 4), ("F02.4", 5), ("Z21", 4),
     ("O04.9", 8), ("O80", 0), ("J45", 0), ("", 0), ("B2", 0), ("Z71.7", 4)],
)
def test_codes_have_labels(code: str, label: int) -> None:
    """The ranges hold their ends and what is below, and nothing beside."""
    assert int(sensitivity.of_icd10(code)) == label


def test_labels_are_read_from_any_coding() -> None:
    """Codes of other systems that look alike do not count; a client's own label does."""
    other = b'{"coding":[{"system":"http://x/my-codes","code":"F20"}]}'
    own = b'[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"HIV"}]'
    versioned = b'[{"system":"http://hl7.org/fhir/sid/icd-10","version":"2019","code":"F11.2"}]'

    assert sensitivity.labels_of(other) == 0
    assert sensitivity.labels_of(own) == 4
    assert sensitivity.labels_of(versioned) == 2


def test_an_ended_visit_lasts_a_month_and_an_old_one_is_over() -> None:
    """Relations of an import: the moment of the visit counts, not that of the import."""
    body = msgspec.json.encode({
        **visit("p", "completed", "ward"), "actualPeriod": {"end": "2020-01-31T10:00:00Z"}})
    found = care.relations(codec.decode(body, "Encounter"), 0)

    assert [(one.principal, one.kind, one.until.date().isoformat()) for one in found] == [
        ("Organization/ward", "encounter", "2020-03-01")]


def test_the_number_of_the_rules_rises_with_them() -> None:
    """Rules that changed under the same number would leave old records unlabelled: raise RULES in
    policy/sensitivity.py and put the new digest here.
    """
    rules = repr((sensitivity.RANGES, sorted(sensitivity.LOINC.items()),
                  sorted(sensitivity._LABELS.items()), sorted(labelled_types())))

    assert (sensitivity.RULES, hashlib.sha256(rules.encode()).hexdigest()[:16]) == (
        1, "1015cc16c742ebeb")


async def test_an_old_record_is_closed_by_its_late_label(gateway: Gateway) -> None:
    """A record stored before there were labels is read by everybody in care; after the work only
    by those whose relationship it made or opens, and the work leaves an audit row.
    """
    patient = await person(gateway, "ward")
    written = await gateway.create(SERVICE, "Condition", condition(patient, "B20"))
    await gateway._db.hot.execute("UPDATE resource SET labels = 0 WHERE id = $1", written.id)
    assert await sees(gateway, DOCTOR, written.id)

    await relabelling.begin_anew(gateway._db)
    assert await relabelling.work(gateway._db)

    assert not await sees(gateway, DOCTOR, written.id)
    told = await gateway._db.hot.fetchval(
        "SELECT count(*) FROM audit WHERE detail LIKE 'labels of old records by rules %'")
    assert told == 1


async def test_a_fresh_installation_has_nothing_to_label(database_url: str) -> None:
    """Where there are no records yet, the work for the present rules is done from the start."""
    await migrate(database_url, list(DDL))
    opened = await Database.open(database_url, Settings(pool_size=2))
    told = await store_relabel.progress(opened, sensitivity.RULES)
    began = await relabelling.work(opened, grace_seconds=0)
    await opened.close()

    assert told is not None
    assert told.ended
    assert not began
