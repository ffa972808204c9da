"""A citizen at the gateway: the own record and that of children and wards, and nothing else."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from dmed.kit.clock import today
from dmed.kit.errors import GoneError, InvalidError, NotFoundError
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust.decide import Action
from dmed.trust.gateway import Gateway, RefusedError
from dmed.trust.identity import Account, Identity
from dmed.trust.model import Role, Subject
from dmed.trust.oauth.scopes import parse
from dmed.trust.policy import guardians

SERVICE = Subject(user="service", role=Role.SERVICE)
MED_ID = "https://dhp.uz/fhir/core/sid/pid/uz/hc"
ROLE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"


@pytest.fixture
def gateway(database: Database, settings: Settings) -> Gateway:
    """The door of plain FHIR REST."""
    return Gateway(database, settings).plain()


def citizen(patient: str) -> Subject:
    """A citizen who is this Patient."""
    return Subject(user=f"c-{patient}", role=Role.CITIZEN, patient=patient, purpose="PATRQT")


async def person(gateway: Gateway, number: str, born: str = "1990-01-01") -> str:
    """A person with a MED-ID."""
    made = await gateway.create(SERVICE, "Patient", {
        "resourceType": "Patient", "active": True, "birthDate": born,
        "identifier": [{"system": MED_ID, "value": number}]})
    return made.id


async def relative(gateway: Gateway, of: str, number: str, role: str, **more: Any) -> str:
    """The RelatedPerson with this MED-ID that somebody is of a person."""
    made = await gateway.create(SERVICE, "RelatedPerson", {
        "resourceType": "RelatedPerson", "active": True, "patient": {"reference": f"Patient/{of}"},
        "identifier": [{"system": MED_ID, "value": number}],
        "relationship": [{"coding": [{"system": ROLE, "code": role}]}], **more})
    return made.id


async def allergy(gateway: Gateway, of: str) -> str:
    """A record of a person's health."""
    made = await gateway.create(SERVICE, "AllergyIntolerance", {
        "resourceType": "AllergyIntolerance", "patient": {"reference": f"Patient/{of}"}})
    return made.id


async def test_the_own_record_is_open_and_a_strangers_was_never_there(gateway: Gateway) -> None:
    """Read, search, version, history, total and deletion: the other person is as nobody."""
    me, other = await person(gateway, "1000000000001"), await person(gateway, "1000000000002")
    mine, theirs = await allergy(gateway, me), await allergy(gateway, other)
    gone = await allergy(gateway, other)
    await gateway.delete(SERVICE, "AllergyIntolerance", gone)
    who = citizen(me)

    assert (await gateway.read(who, "AllergyIntolerance", mine)).id == mine
    for type_, id_ in (("AllergyIntolerance", theirs), ("Patient", other),
                       ("AllergyIntolerance", gone)):
        for ask in (gateway.read(who, type_, id_), gateway.vread(who, type_, id_, 1),
                    gateway.history(who, type_, id_)):
            with pytest.raises(NotFoundError):
                await ask
    _, page = await gateway.search(who, "AllergyIntolerance", [("_total", "accurate")])
    assert ([hit.record.id for hit in page.hits], page.total) == ([mine], 1)
    _, cards = await gateway.search(who, "Patient", [("_id", f"{me},{other}")])
    assert [hit.record.id for hit in cards.hits] == [me]
    assert {each.id for each in (await gateway.history(who, "AllergyIntolerance")).versions} == {
        mine}
    with pytest.raises(GoneError):
        await gateway.read(SERVICE, "AllergyIntolerance", gone)


async def test_a_register_that_is_public_leads_to_nobody(gateway: Gateway) -> None:
    """Institutions are read whole, and what refers to them from other records stays hidden."""
    clinic = await gateway.create(SERVICE, "Organization", {
        "resourceType": "Organization", "name": "Klinika"})
    await gateway.create(SERVICE, "Patient", {
        "resourceType": "Patient",
        "managingOrganization": {"reference": f"Organization/{clinic.id}"}})
    who = citizen(await person(gateway, "1000000000003"))

    _, page = await gateway.search(
        who, "Organization", [("_id", clinic.id), ("_revinclude", "Patient:organization")])
    _, has = await gateway.search(
        who, "Organization", [("_has:Patient:organization:active", "true")])

    assert [hit.record.id for hit in page.hits] == [clinic.id]
    assert has.hits == []
    with pytest.raises(RefusedError):
        await gateway.search(who, "Practitioner", [])


async def test_a_citizen_writes_nothing_and_learns_why(gateway: Gateway) -> None:
    """Every write is refused, and the explanation names the own record as the limit."""
    me, other = await person(gateway, "1000000000004"), await person(gateway, "1000000000005")
    theirs = await allergy(gateway, other)
    with pytest.raises(RefusedError):
        await gateway.create(citizen(me), "AllergyIntolerance", {
            "resourceType": "AllergyIntolerance", "patient": {"reference": f"Patient/{me}"}})

    verdict = await gateway.explain(citizen(me), Action.READ, "AllergyIntolerance", theirs)

    assert (verdict.allowed, verdict.reasons[0].key) == (False, "trust.reason.own")


@pytest.mark.parametrize(("role", "born", "more", "opens"), [
    ("MTH", "2020-05-05", {}, True), ("FTH", "2020-05-05", {}, True),
    ("MTH", "2010-01-01", {}, False), ("SPS", "2020-05-05", {}, False),
    ("GUARD", "1950-01-01", {}, True),
    ("GUARD", "1950-01-01", {"period": {"end": "2020-01-01"}}, False),
    ("MTH", "2020-05-05", {"active": False}, False)])
async def test_for_whom_somebody_answers(
    gateway: Gateway, role: str, born: str, more: dict[str, Any], opens: bool
) -> None:
    """Parents until fourteen, guardians while the register says so, nobody else."""
    number = f"2{abs(hash((role, born, str(more)))) % 10**12:012}"
    me = await person(gateway, number)
    child = await person(gateway, f"3{number[1:]}", born)
    record = await allergy(gateway, child)
    await relative(gateway, child, number, role, **more)

    seen = await gateway.persons(citizen(me))

    assert seen == ((me, child) if opens else (me,))
    if opens:
        assert (await gateway.read(citizen(me), "AllergyIntolerance", record)).id == record
    else:
        with pytest.raises(NotFoundError):
            await gateway.read(citizen(me), "AllergyIntolerance", record)


def test_a_childs_secret_begins_on_the_day() -> None:
    """On the fourteenth birthday the parent's view is over."""
    mother = {"relationship": [{"coding": [{"code": "MTH"}]}]}
    child = {"birthDate": "2012-11-23"}

    assert guardians.is_open(mother, child, date(2026, 11, 22))
    assert not guardians.is_open(mother, child, date(2026, 11, 23))
    assert not guardians.is_open(mother, {"birthDate": "2020"}, today())


async def test_a_closed_card_opens_nothing(gateway: Gateway) -> None:
    """Without a card, or with one that is not active, a citizen sees nobody."""
    closed = (await gateway.create(
        SERVICE, "Patient", {"resourceType": "Patient", "active": False})).id
    for patient in (closed, "nobodys", ""):
        assert await gateway.persons(citizen(patient)) == ()
        _, page = await gateway.search(citizen(patient), "Patient", [])
        assert page.hits == []


async def test_an_app_of_a_citizen_sees_no_more_than_he(gateway: Gateway) -> None:
    """A patient in context who is not his, or rights over everybody, open nothing."""
    me, other = await person(gateway, "1000000000006"), await person(gateway, "1000000000007")
    mine, theirs = await allergy(gateway, me), await allergy(gateway, other)
    for text, patient in (("patient/*.rs", other), ("user/*.rs", "")):
        scopes = msgspec.structs.replace(parse(text), client="app", patient=patient)
        who = msgspec.structs.replace(citizen(me), scopes=scopes)
        _, page = await gateway.search(who, "AllergyIntolerance", [])
        assert [hit.record.id for hit in page.hits] == ([mine] if not patient else [])
        with pytest.raises(NotFoundError):
            await gateway.read(who, "AllergyIntolerance", theirs)


async def test_of_the_audit_a_citizen_sees_the_own_rows(gateway: Gateway) -> None:
    """AuditEvents of the own person alone, by search and by id."""
    me, other = await person(gateway, "1000000000008"), await person(gateway, "1000000000009")
    for each in (me, other):
        await gateway.read(SERVICE, "Patient", each)
    door, who = gateway.audits(), citizen(me)

    own = await door.search(who, [])
    foreign = await door.search(who, [("patient", f"Patient/{other}")])
    every = await door.search(SERVICE, [("patient", f"Patient/{other}")])

    assert own.events
    assert foreign.events == []
    assert all(f"Patient/{other}" not in str(event) for event in own.events)
    with pytest.raises(NotFoundError):
        await door.read(who, every.events[0]["id"])


async def test_only_citizens_are_bound_to_a_card(identity: Identity) -> None:
    """An account of staff never names a Patient; a citizen's session carries it."""
    with pytest.raises(InvalidError):
        await identity.save(
            Account(user="mixed", role=Role.DOCTOR, patient="p1"), "a-long-pass-word")
    await identity.save(Account(user="own", role=Role.CITIZEN, patient="p1"), "a-long-pass-word")

    opened = await identity.sign_in("own", "a-long-pass-word", "203.0.113.9")

    assert (opened.subject.patient, opened.subject.purpose) == ("p1", "PATRQT")
