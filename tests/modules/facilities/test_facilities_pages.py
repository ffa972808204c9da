"""The screens and the FHIR address of the register, through the whole application."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.modules.facilities.rules import reading
from dmed.modules.facilities.service import keeping, regions
from dmed.trust.model import Role, Subject

ADMIN = Subject(user="admin", role=Role.ADMINISTRATOR, purpose="HSYSADMIN")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """One worker with the demo accounts."""
    made = await open_platform()
    await made.guard.identity.save_demo()
    return made


async def _http(platform: Platform, user: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # A mapping.
    made = httpx.AsyncClient(transport=transport, base_url="http://localhost",
                             cookies={"dmed_language": "en"})
    if user:
        answer = await made.post("/signin", data={"user": user, "password": f"{user}-demo"})
        assert answer.status_code == 303
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def admin(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator at a browser."""
    made = await _http(platform, "admin")
    yield made
    await made.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A system at the FHIR address."""
    made = await _http(platform)
    token = await platform.guard.identity.issue_demo_token("service")
    made.headers.update({"authorization": f"Bearer {token}",
                         "content-type": "application/fhir+json"})
    yield made
    await made.aclose()


async def _token(browser: httpx.AsyncClient, path: str) -> dict[str, str]:
    page = await browser.get(path)
    assert page.status_code == 200, page.text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    version = re.search(r'name="version" value="([^"]*)"', page.text)
    assert found is not None
    return {"csrf_token": found[1], "version": version[1] if version else ""}


async def test_an_institution_from_the_empty_form_to_its_history(admin):
    """New, wrong, mended, a ward and a bed below, changed, two at the same form, its history."""
    hidden = await _token(admin, "/facilities/new")
    given = {**hidden, "name": "Sahifa shifoxonasi", "tax_id": "98", "region": "1726",
             "latitude": "41.3", "longitude": "69.2", "nomenclature": "II_100", "active": "1",
             "subordination": "I_3", "pharmacy": "0"}
    wrong = await admin.post("/facilities/new", data=given)
    made = await admin.post("/facilities/new", data={**given, "tax_id": "986000001"})
    path = made.headers["location"]
    ward = {**hidden, "name": "1-palata", "code": "P-1", "active": "1",
            "parent": f"Organization/{path.rpartition('/')[2]}"}
    added = await admin.post(f"{path}/add?shape=ward", data=ward)
    page = (await admin.get(path)).text
    inside = re.search(rf'{path}/location/([^"]+)"', page)[0].rstrip('"')
    form = await _token(admin, inside)
    bed = await admin.post(f"{path}/add?shape=bed", data={
        **ward, "name": "To‘shak", "code": "B-1",
        "parent": f"Location/{inside.rpartition('/')[2]}"})
    renamed = await admin.post(inside, data={**ward, **form, "name": "2-palata"})
    stale = await admin.post(inside, data={**ward, **form, "name": "3-palata"})
    device = await admin.post(f"{path}/add?shape=equipment", data={
        **ward, "name": "EKG", "code": "E-1", "maker": "Schiller", "checked_until": "2027-01-01"})
    edit = await _token(admin, f"{path}/edit")
    changed = await admin.post(f"{path}/edit", data={
        **given, **edit, "tax_id": "986000001", "name": "Sahifa tibbiyot markazi"})

    assert wrong.status_code == 422
    assert "A tax number has nine digits" in wrong.text
    assert [one.status_code for one in (made, added, bed, renamed, device, changed)] == [303] * 6
    assert stale.status_code == 422
    assert "Somebody else changed it meanwhile" in stale.text
    page = (await admin.get(path)).text
    assert all(text in page for text in (
        "Sahifa tibbiyot markazi", "2-palata", "To‘shak", "EKG", "Schiller", "41.3, 69.2"))
    history = (await admin.get(f"{path}/history")).text
    assert "<del>Sahifa shifoxonasi</del>" in history
    place = (await admin.get(
        f"{path}/history?type=location&place={inside.rpartition('/')[2]}")).text
    assert "<ins>2-palata</ins>" in place


async def test_lists_and_maps_answer(platform, admin):
    """Search by a part of the name and by number, filters, both maps; wrong regions are 404."""
    draft, _ = reading.read({
        "shape": "institution", "name": "Xaritada turgan klinika", "tax_id": "986000002",
        "region": "1703", "latitude": "40.7", "longitude": "72.3", "subordination": "I_5",
        "licences": "T-9; x; 2020-01-01; 2021-01-01"}, regions())
    await keeping.save(platform.gateway, ADMIN, draft, "")
    by_name = (await admin.get("/facilities?q=turgan")).text
    by_number = (await admin.get("/facilities?q=986000002")).text
    elsewhere = (await admin.get("/facilities?q=turgan&region=1726")).text
    country = (await admin.get("/facilities/map")).text
    region = (await admin.get("/facilities/map?region=1703")).text

    assert "Xaritada turgan klinika" in by_name
    assert "licence is over" in by_number
    assert "Nothing was found" in elsewhere
    assert country.count('class="spot"') == 14
    assert region.count('class="spot"') == 1
    assert (await admin.get("/facilities/map?region=1")).status_code == 404
    assert (await admin.get("/facilities/nowhere")).status_code == 404


async def test_a_registrar_changes_the_own_institution_alone(platform):
    """Without a post in it or above it the form is refused; a doctor has no form at all."""
    draft, _ = reading.read({"shape": "institution", "name": "Begona", "tax_id": "986000003"},
                            regions())
    made = await keeping.save(platform.gateway, ADMIN, draft, "")
    registrar, doctor = await _http(platform, "registrar"), await _http(platform, "doctor")
    refused = await registrar.get(f"/facilities/{made}/edit")
    no_form = await doctor.get(f"/facilities/{made}/edit")
    seen = await doctor.get(f"/facilities/{made}")
    await registrar.aclose()
    await doctor.aclose()

    assert [refused.status_code, no_form.status_code, seen.status_code] == [403, 403, 200]


async def test_equipment_is_told_as_devices(platform, service):
    """$equipment of an institution is a collection of Device."""
    owner, _ = reading.read({"shape": "institution", "name": "Jihozli", "tax_id": "986000004"},
                            regions())
    device, _ = reading.read({
        "shape": "equipment", "name": "Rentgen", "code": "R-4", "parent": "x",
        "serial": "123", "checked_until": "2027-01-01"}, regions())
    made = await keeping.save(platform.gateway, ADMIN, owner, "")
    await keeping.save(platform.gateway, ADMIN, device, f"Organization/{made}")
    answer = await service.get(f"/fhir/Organization/{made}/$equipment")

    (entry,) = answer.json()["entry"]
    assert entry["resource"]["serialNumber"] == "123"
    assert entry["resource"]["owner"] == {"reference": f"Organization/{made}"}


async def test_plain_rest_makes_no_circle(service):
    """PUT, PATCH and a transaction that would close a circle are 409 and leave nothing; so is a
    delete of what has places below it.
    """
    def place(id_, above=""):
        part = {"partOf": {"reference": f"Organization/{above}"}} if above else {}
        return {"resourceType": "Organization", "id": id_, "name": id_, **part}

    for id_, above in (("ring-a", ""), ("ring-b", "ring-a"), ("ring-c", "ring-b")):
        made = await service.put(f"/fhir/Organization/{id_}", json=place(id_, above))
        assert made.status_code == 201
    put = await service.put("/fhir/Organization/ring-a", json=place("ring-a", "ring-c"))
    own = await service.put("/fhir/Organization/ring-a", json=place("ring-a", "ring-a"))
    patch = await service.patch(
        "/fhir/Organization/ring-a", headers={"content-type": "application/json-patch+json"},
        json=[{"op": "add", "path": "/partOf", "value": {"reference": "Organization/ring-b"}}])
    both = await service.post("/fhir", json={
        "resourceType": "Bundle", "type": "transaction", "entry": [
            {"request": {"method": "PUT", "url": f"Organization/{id_}"}, "resource": one}
            for id_, one in (("loop-a", place("loop-a", "loop-b")),
                             ("loop-b", place("loop-b", "loop-a")))]})
    gone = await service.delete("/fhir/Organization/ring-a")
    leaf = await service.delete("/fhir/Organization/ring-c")

    assert [one.status_code for one in (put, own, patch, both, gone)] == [409] * 5
    assert "circle" in put.text
    assert leaf.status_code == 204
    assert (await service.get("/fhir/Organization/loop-a")).status_code == 404
    assert "partOf" not in (await service.get("/fhir/Organization/ring-a")).json()
