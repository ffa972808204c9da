"""Institutions: facts, licences and the list of places."""

from __future__ import annotations

import json
from datetime import date

import msgspec
import pytest

from dmed.kit.errors import NotFoundError
from dmed.modules.facilities import api
from dmed.modules.facilities.demo import institutions, used_districts

DAY = date(2026, 11, 20)


def _facts(**changes):
    base = api.OrganisationFacts(
        id="1", name="27-dorixona", is_state=False, kind=api.Kind.PHARMACY,
        licence_number="F-1", licence_from=date(2023, 1, 1), licence_until=date(2028, 1, 1))
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize(("changes", "allowed", "reason"), [
    ({}, True, "licensed"), ({"is_active": False}, False, "inactive"),
    ({"licence_number": ""}, False, "no-licence"),
    ({"licence_until": date(2026, 11, 19)}, False, "licence-over"),
    ({"licence_until": DAY}, True, "licensed"),
    ({"licence_from": date(2026, 11, 21)}, False, "licence-not-yet"),
    ({"is_state": True, "licence_number": ""}, True, "state"),
])  # fmt: skip  # A case a line.
def test_a_licence_decides_with_a_reason(changes, allowed, reason):
    """Closed, unlicensed, too early, too late: each no has its own reason; the state needs none."""
    verdict = api.licence_valid(_facts(**changes), DAY)

    assert verdict.allowed is allowed
    assert verdict.reasons[0].key == f"facilities.reason.{reason}"


def test_places_are_those_of_the_national_list(shared_data):
    """Every code of ours is in regions-cs and states-cs under the same name."""
    folder = shared_data / "uz-core" / "core" / "CodeSystem"
    national = {}
    for name in ("states-cs", "regions-cs"):
        listed = json.loads((folder / f"CodeSystem-{name}.json").read_text())
        national |= {one["code"]: one["display"] for one in listed["concept"]}

    def bare(text: str) -> str:
        return "".join(letter for letter in text if letter not in "‘’'ʻ`")

    assert len(api.regions("uz")) == 14
    for region, _ in api.regions("uz"):
        assert region in national
        for code, name in api.districts(region, "uz"):
            assert bare(national[code]) == bare(name)


def test_places_speak_russian_and_unknown_regions_have_none():
    """Names come in the language asked for; a region that is none has no districts."""
    assert ("1726", "город Ташкент") in api.regions("ru")
    assert api.districts("9999", "uz") == []


def test_institutions_are_the_same_in_every_country():
    """A district's institutions do not depend on seed or size: ids of posts can be relied on."""
    region, district = used_districts(20)[0]
    first, again = institutions(region, district), institutions(region, district)

    assert first == again


async def test_the_demo_polyclinic_is_the_states(village):
    """The doctor's institution is found by id with tax number, region and kind."""
    found = await api.organisation(village.gateway, village.doctor, village.doctor.organisation)

    assert (found.name, found.kind, found.is_state) == (
        "14-oilaviy poliklinika", api.Kind.POLYCLINIC, True)
    assert len(found.tax_id) == 9
    assert (found.region, found.district) == ("1726", "1726266")
    assert found.names["uz-Cyrl"] == "14-оилавий поликлиника"


async def test_the_demo_pharmacy_is_licensed(village):
    """The pharmacist's pharmacy is private and holds a licence in force."""
    found = await api.organisation(
        village.gateway, village.pharmacist, village.pharmacist.organisation)

    assert (found.name, found.kind, found.is_state) == ("27-dorixona", api.Kind.PHARMACY, False)
    assert api.licence_valid(found, DAY).allowed


async def test_institutions_are_found_by_name_and_tax_number(village):
    """The beginning of a name, in either script, or nine digits bring the institution."""
    by_name = await api.find(village.gateway, village.admin, "14-oilaviy", 20)
    by_script = await api.find(village.gateway, village.admin, "14-оилавий", 20)
    by_tax = await api.find(village.gateway, village.admin, by_name[0].tax_id, 20)

    assert village.doctor.organisation in {one.id for one in by_name}
    assert [one.id for one in by_name] == [one.id for one in by_script]
    assert [one.id for one in by_tax] == [by_name[0].id]
    assert await api.find(village.gateway, village.admin, "", 20) == []


async def test_departments_are_listed_by_name(village):
    """The polyclinic has its wards; an unknown institution is not found."""
    found = await api.departments(village.gateway, village.doctor, village.doctor.organisation)

    assert [one.name for one in found] == ["Pediatriya bo‘limi", "Terapiya bo‘limi"]
    with pytest.raises(NotFoundError):
        await api.organisation(village.gateway, village.doctor, "000-00000000000000000000")
