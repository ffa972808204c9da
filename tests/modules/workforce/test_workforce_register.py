"""Staff: posts, certificates and who may sign."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from dmed.modules.workforce import api, rules

DAY = date(2026, 11, 20)


def _records(*, code="2212.113", until="2028-01-01", since="2023-01-01", active=True,
             qualification="CER", role_end=""):
    practitioner = {
        "resourceType": "Practitioner", "id": "p", "active": active,
        "name": [{"use": "official", "family": "Yusupova", "given": ["Aziza"]}],
        "qualification": [{"identifier": [{"value": "S-1"}],
                           "code": {"coding": [{"code": qualification}]},
                           "period": {"start": since, "end": until}}]}
    period = {"start": "2024-01-01"} | ({"end": role_end} if role_end else {})
    role = {"resourceType": "PractitionerRole", "id": "r", "active": True, "period": period,
            "practitioner": {"reference": "Practitioner/p"},
            "organization": {"reference": "Organization/o"},
            "code": [{"coding": [{"system": "x/position-and-profession-cs", "code": code}],
                      "text": "terapevt"}]}
    return practitioner, role


@pytest.mark.parametrize(("changes", "allowed", "reason"), [
    ({}, True, "certified"), ({"until": "2026-11-19"}, False, "certificate-over"),
    ({"until": "2026-11-20"}, True, "certified"),
    ({"since": "2026-11-21"}, False, "certificate-over"),
    ({"qualification": "DIP"}, False, "no-certificate"), ({"active": False}, False, "inactive"),
    ({"role_end": "2026-01-01"}, False, "post-over"),
    ({"code": "4110.1"}, False, "post-signs-nothing"),
])  # fmt: skip  # A case a line.
def test_who_may_sign_and_why_not(changes, allowed, reason):
    """Certificate, post and activity decide, on the very day; each no says why."""
    practitioner, role = _records(**changes)
    verdict = rules.may_sign(rules.facts(practitioner, role), role, DAY)

    assert verdict.allowed is allowed
    assert verdict.reasons[0].key == f"workforce.reason.{reason}"


def test_short_names_are_those_of_signatures():
    """Family name and initial; O‘ is one letter."""
    assert rules.short_name("Yusupova", "Aziza") == "Yusupova A."
    assert rules.short_name("Aliyev", "O‘tkir") == "Aliyev O‘."


async def test_the_demo_doctor_and_pharmacist_may_sign(village):
    """Both hold posts and certificates in force; the verdict carries who was judged."""
    for subject, name in ((village.doctor, "Yusupova A."), (village.pharmacist, "Aliyev S.")):
        verdict = await api.licence_valid(village.gateway, subject, DAY)

        assert verdict.allowed
        assert verdict.practitioner is not None
        assert verdict.practitioner.short_name == name


async def test_others_may_not_sign(village):
    """A registrar's post signs nothing; no post, or a foreign one, signs nothing either."""
    gateway = village.gateway
    registrar = await api.licence_valid(gateway, village.registrar, DAY)
    nobody = await api.licence_valid(
        gateway, msgspec.structs.replace(village.doctor, practitioner_role=""), DAY)
    foreign = await api.licence_valid(
        gateway,
        msgspec.structs.replace(
            village.doctor, practitioner_role=village.pharmacist.practitioner_role), DAY)

    assert not registrar.allowed
    assert [verdict.reasons[0].key for verdict in (nobody, foreign)] == [
        "workforce.reason.no-post"] * 2


async def test_a_certificate_that_ran_out_stops_at_once(village):
    """The register is read anew: far in the future nobody's certificate holds."""
    verdict = await api.licence_valid(village.gateway, village.doctor, date(2090, 1, 1))

    assert not verdict.allowed
    assert verdict.reasons[0].key == "workforce.reason.certificate-over"
    assert verdict.reasons[0].values["number"].startswith("S-")


async def test_staff_of_an_institution_are_listed(village):
    """Everybody in the polyclinic with name and post, in order of name."""
    found = await api.staff(village.gateway, village.admin, village.doctor.organisation)
    names = [one.name for one in found]

    assert names == sorted(names)
    assert {"terapevt", "pediatr", "ginekolog", "registrator"} <= {one.post for one in found}
    assert village.doctor.practitioner in {one.id for one in found}


async def test_a_practitioner_is_read_without_naming_the_post(village):
    """By id alone the active post is found."""
    found = await api.practitioner(village.gateway, village.admin, village.doctor.practitioner)

    assert found.role_id == village.doctor.practitioner_role
    assert found.organisation == village.doctor.organisation
