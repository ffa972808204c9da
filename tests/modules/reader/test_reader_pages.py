"""The reader over the whole application: a doctor at a browser opens FHIR addresses."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.modules.reader.api import wants_page
from dmed.modules.reader.rules import showing
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS, values_of
from dmed.trust.passwords import hashed
from dmed.trust.tables import save_account

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "accept-language": "en"}
PERSON = {
    "resourceType": "Patient",
    "name": [{"use": "official", "family": "Karimova", "given": ["Dilnoza"]}],
    "gender": "female",
    "birthDate": "1992-03-12",
}
WEIGHT = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}], "text": "Body weight"},
    "valueQuantity": {"value": 61.50, "unit": "kg"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """The application with all modules and two who may sign in."""
    made = await open_platform()
    for account in DEMO_ACCOUNTS:
        if account.user in {"doctor", "pharmacist"}:
            password = await hashed(DEMO_PASSWORDS[account.user])
            await save_account(made.database.hot, values_of(account, password))
    return made


async def browser(platform: Platform, user: str) -> httpx.AsyncClient:
    """A browser in which somebody has signed in."""
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    made = httpx.AsyncClient(transport=transport, base_url="http://test", headers=BROWSER)
    answer = await made.post("/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
    assert answer.status_code == 303, answer.text
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def doctor(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """The doctor's browser."""
    made = await browser(platform, "doctor")
    yield made
    await made.aclose()


async def saved(
    person: httpx.AsyncClient, written: dict[str, Any], **fields: str
) -> httpx.Response:
    """What the editor answers to a record."""
    import msgspec

    page = await person.get(f"/reader/edit?type={written['resourceType']}")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    form = {"csrf_token": token[1], "json": msgspec.json.encode(written).decode(), **fields}
    return await person.post("/reader/edit", data=form)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def patient(doctor: httpx.AsyncClient) -> str:
    """The address of a patient of two versions with a weight: "Patient/123"."""
    answer = await saved(doctor, PERSON, type="Patient")
    record = answer.headers["location"].removeprefix("/fhir/")
    etag = await doctor.get(f"/reader/edit?record={record}")
    found = re.search(r'name="etag" value="([^"]+)"', etag.text)
    assert found is not None
    changed = {**PERSON, "id": record.partition("/")[2], "gender": "other", "active": True}
    tag = found[1].replace("&#34;", '"')
    again = await saved(doctor, changed, record=record, etag=tag)
    assert again.status_code == 303, again.text
    weight = {**WEIGHT, "subject": {"reference": record}}
    assert (await saved(doctor, weight, type="Observation")).status_code == 303
    return record


@pytest.mark.parametrize(
    ("path", "accept", "query", "wanted"),
    [
        ("/fhir", "text/html", "", True),
        ("/fhir/Patient/1", BROWSER["accept"], "", True),
        ("/fhir/Patient/1", "*/*", "", False),
        ("/fhir/Patient/1", "application/fhir+json, text/html", "", False),
        ("/fhir/Patient/1", "text/html", "_format=json", False),
        ("/fhir/Patient/1/$everything", "text/html", "", False),
        ("/fhir/metadata", "text/html", "", False),
        ("/fhirpath", "text/html", "", False),
    ],
)  # fmt: skip  # A table of cases.
def test_only_browsers_get_pages(path: str, accept: str, query: str, wanted: bool) -> None:
    """A page goes to a GET that names HTML and no JSON; operations and `_format` stay JSON."""
    scope = {"method": "GET", "path": path, "query_string": query.encode(),
             "headers": [(b"accept", accept.encode())]}  # fmt: skip  # An ASGI scope.

    assert wants_page(scope) is wanted


async def test_the_base_lists_every_type(doctor: httpx.AsyncClient) -> None:
    """The first page leads to each of the 158 types of R5."""
    page = await doctor.get("/fhir")

    assert page.status_code == 200
    assert len(re.findall(r'<li><a href="/fhir/\w+">', page.text)) == 158


async def test_a_record_is_shown_in_words(doctor: httpx.AsyncClient, patient: str) -> None:
    """A record has labels, people's names and dates, and its JSON in a second view."""
    page = await doctor.get(f"/fhir/{patient}")
    told = await doctor.get(f"/fhir/{patient}?_view=json")

    assert "Date of birth" in page.text
    assert "12 Mar 1992" in page.text
    assert "Karimova Dilnoza" in page.text
    assert "&#34;birthDate&#34;: &#34;1992-03-12&#34;" in told.text


async def test_a_reference_is_a_link(doctor: httpx.AsyncClient, patient: str) -> None:
    """The record that a reference names is one click away, from the list and from the record."""
    found = await doctor.get(f"/fhir/Observation?subject={patient}")
    link = re.search(r'href="/fhir/(Observation/[^"]+)"', found.text)
    assert link is not None
    page = await doctor.get(f"/fhir/{link[1]}")

    assert f'href="/fhir/{patient}"' in found.text
    assert f'<a href="/fhir/{patient}">' in page.text
    assert "61.5 kg" in page.text.replace("61.50", "61.5")


@pytest.mark.parametrize("reference", [
    "javascript:alert(1)", "data:text/html,x", "vbscript:x", "https://evil.example/Patient/x",
    "//evil.example/Patient/x", "Patient/../../x", "Patient/x?y", "file:///etc/passwd",
    "java\nscript:alert(1)", "JavaScript:alert(1)//Patient/x", "urn:uuid:x", "#p", "",
])  # fmt: skip  # A list.
def test_only_records_of_here_are_links(reference: str) -> None:
    """No other scheme, no other host and no path becomes a link, whatever a record says."""
    assert showing.address(reference) == ""
    assert showing.address("Patient/x/_history/2") == "/fhir/Patient/x/_history/2"


async def test_versions_and_their_differences(doctor: httpx.AsyncClient, patient: str) -> None:
    """The history lists both versions; comparing them names what changed and nothing else."""
    page = await doctor.get(f"/fhir/{patient}/_history")
    versions = re.findall(r'name="old" value="(\d+)"', page.text)
    assert len(versions) == 2
    query = f"record={quote(patient)}&old={versions[1]}&new={versions[0]}"
    told = await doctor.get(f"/reader/compare?{query}")
    changed = re.findall(r"<td><code>([^<]+)</code></td>", told.text)

    assert sorted(changed) == ["active", "gender"]
    assert "<del>female</del>" in told.text
    assert "<ins>other</ins>" in told.text


async def test_the_form_says_what_the_capability_statement_says(doctor: httpx.AsyncClient) -> None:
    """Parameters by their kinds, and after a choice the modifiers and prefixes of this one."""
    page = await doctor.get("/fhir/Patient")
    line = await doctor.get("/reader/line?type=Patient&at=0&n0=birthdate",
                            headers={"HX-Request": "true"})  # fmt: skip  # As htmx asks.

    assert '<optgroup label="Date">' in page.text
    assert "<option>birthdate</option>" in page.text
    assert '<option value="ge">' in line.text
    assert '<option value=":missing">' in line.text
    assert "<html" not in line.text


async def test_the_form_leads_to_the_search(doctor: httpx.AsyncClient, patient: str) -> None:
    """What the form sends becomes the FHIR address of the same search, and that keeps the form."""
    asked = await doctor.get(
        "/reader/search?type=Patient&n0=birthdate&w0=ge&v0=1990&n1=name&w1=:exact&v1=Karimova"
    )
    assert asked.headers["location"] == "/fhir/Patient?birthdate=ge1990&name:exact=Karimova"
    found = await doctor.get(asked.headers["location"])

    assert f'href="/fhir/{patient}"' in found.text
    assert '<option value="ge" selected>' in found.text
    assert '<option value=":exact" selected>' in found.text


async def test_pages_lead_on(doctor: httpx.AsyncClient, patient: str) -> None:
    """A list longer than its page leads to the next one."""
    await saved(doctor, PERSON, type="Patient")
    first = await doctor.get("/fhir/Patient?_count=1&name=Karimova")
    link = re.search(r'href="([^"]+_cursor[^"]+)"', first.text)
    assert link is not None
    second = await doctor.get(link[1].replace("&amp;", "&"))

    assert second.status_code == 200
    assert second.text.count('<tr class="hit">') == 1


async def test_an_unknown_parameter_is_told(doctor: httpx.AsyncClient) -> None:
    """What the search leaves out is said above its results."""
    page = await doctor.get("/fhir/Patient?shoesize=39")

    assert "shoesize" in page.text
    assert "Not served:" in page.text


async def test_a_faulty_search_keeps_its_form(doctor: httpx.AsyncClient) -> None:
    """A refused search says why, and what was typed stands in the form."""
    page = await doctor.get("/fhir/Patient?birthdate=yesterday")

    assert page.status_code == 400
    assert 'value="yesterday"' in page.text
    assert 'role="alert"' in page.text


async def test_a_refused_write_is_told_in_words(doctor: httpx.AsyncClient) -> None:
    """Every fault of a refused write has its sentence and its place; the text stays."""
    wrong = {**PERSON, "gender": "woman", "birthDate": "12.03.1992"}
    page = await saved(doctor, wrong, type="Patient")

    assert page.status_code == 400
    assert "<code>Patient.gender</code>" in page.text
    assert "<code>Patient.birthDate</code>" in page.text
    assert "Not written" in page.text
    assert "woman" in page.text


async def test_an_old_version_is_not_overwritten(doctor: httpx.AsyncClient, patient: str) -> None:
    """Saving over a change of somebody else is refused: open the record again."""
    mine = {**PERSON, "id": patient.partition("/")[2]}
    page = await saved(doctor, mine, record=patient, etag='W/"1"')

    assert page.status_code == 412
    assert "open it again" in page.text


async def test_fhirpath_is_tried_on_a_record(doctor: httpx.AsyncClient, patient: str) -> None:
    """An expression on a stored record gives its values; a syntax fault names its place."""
    good = await doctor.get(f"/reader/fhirpath?record={patient}&expression=Patient.name.given")
    bad = await doctor.get(f"/reader/fhirpath?record={patient}&expression=Patient.name.§")

    assert "Dilnoza" in good.text
    assert "Result: 1" in good.text
    assert "here (character 14)" in bad.text


async def test_fhirpath_is_tried_on_typed_json(doctor: httpx.AsyncClient) -> None:
    """JSON that is typed here is enough, its own faults are told, and nothing is stored."""
    page = await doctor.get("/reader/fhirpath")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    form = {"csrf_token": token[1], "expression": "birthDate > @1990", "record": ""}
    typed = '{"resourceType": "Patient", "birthDate": "1992-03-12"}'
    good = await doctor.post("/reader/fhirpath", data={**form, "json": typed})
    bad = await doctor.post("/reader/fhirpath", data={**form, "json": '{"resourceType": "Nil"}'})

    assert ">true<" in good.text
    assert bad.status_code == 200
    assert 'class="note bad"' in bad.text


async def test_rights_are_those_of_rest(platform: Platform, patient: str) -> None:
    """Who may not read a type by REST may not read it here; the refusal is a page and audited."""
    person = await browser(platform, "pharmacist")
    page = await person.get("/fhir/Observation")
    rest = await person.get("/fhir/Observation", headers={"accept": "application/fhir+json"})
    await person.aclose()

    assert page.status_code == rest.status_code == 403
    assert "Not allowed:" in page.text


async def test_a_page_is_audited_once_as_the_read_it_is(
    platform: Platform, doctor: httpx.AsyncClient, patient: str
) -> None:
    """Opening a record writes the same audit row as reading it by REST, and no other."""
    count = "SELECT count(*) FROM audit_told WHERE id = $1 AND action = 'R'"
    id_ = patient.partition("/")[2]
    before = await platform.database.hot.fetchval(count, id_)
    await doctor.get(f"/fhir/{patient}")
    after = await platform.database.hot.fetchval(count, id_)

    assert after == before + 1


async def test_what_is_not_there_is_said(doctor: httpx.AsyncClient) -> None:
    """A missing record, a type that is none, and a faulty comparison are pages of refusal."""
    for path in ("/fhir/Patient/none", "/fhir/Nothing", "/reader/compare?record=Patient/1"):
        page = await doctor.get(path)
        assert page.status_code == 404, path
        assert "text/html" in page.headers["content-type"]


@pytest.mark.parametrize("language", ["uz", "uz-Cyrl", "ru", "en"])
async def test_every_page_speaks_every_language(
    doctor: httpx.AsyncClient, patient: str, language: str
) -> None:
    """No page shows the key of a text that is missing."""
    for path in ("/fhir", f"/fhir/{patient}", "/fhir/Patient?name=k", f"/fhir/{patient}/_history",
                 "/reader/fhirpath", f"/reader/edit?record={patient}"):  # fmt: skip  # A list.
        page = await doctor.get(path, headers={"cookie": _with_language(doctor, language)})
        assert page.status_code == 200, path
        assert not re.search(r">\s*reader\.[a-z_.]+\s*<", page.text), path


def _with_language(person: httpx.AsyncClient, language: str) -> str:
    return f"dmed_session={person.cookies['dmed_session']}; dmed_language={language}"
