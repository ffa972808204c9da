"""The terminology operations over HTTP, over a real PostgreSQL: https://hl7.org/fhir/R5/."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from dmed.apps.importing import produce
from dmed.apps.sources import Item
from dmed.fhir import query_codes
from dmed.modules.terminology import MODULE
from dmed.modules.terminology.service import Shelf, follow
from dmed.store.load import load
from dmed.store.model import AuditRow, Scope

COLOURS = "https://example.org/fhir/CodeSystem/colours"
BRIGHT = "https://example.org/fhir/ValueSet/bright"
TONES = "https://example.org/fhir/ConceptMap/tones"


def colours(**changes: Any) -> dict[str, Any]:
    """A small code system with a hierarchy, names in four languages and properties."""
    return {
        "resourceType": "CodeSystem", "id": "colours", "url": COLOURS, "version": "1.0",
        "name": "Colours", "title": "Colours of all kinds", "status": "active",
        "content": "complete", "caseSensitive": True, "language": "uz", "hierarchyMeaning": "is-a",
        "concept": [
            {"code": "warm", "display": "Iliq ranglar", "definition": "What glows",
             "property": [{"code": "notSelectable", "valueBoolean": True}],
             "concept": [
                 {"code": "red", "display": "Qizil", "designation": [
                     {"language": "ru", "value": "Красный"}, {"language": "en", "value": "Red"},
                     {"language": "kaa", "value": "Qızıl"}]},
                 {"code": "orange", "display": "To‘q sariq", "designation": [
                     {"language": "ru", "value": "Оранжевый"}]}]},
            {"code": "blue", "display": "Ko‘k", "designation": [
                {"language": "ru", "value": "Синий"}]},
            {"code": "mauve", "display": "Och binafsha",
             "property": [{"code": "status", "valueCode": "retired"}]},
        ],
        **changes,
    }  # fmt: skip  # A concept a line.


def bright(**changes: Any) -> dict[str, Any]:
    """What lies under warm, and blue."""
    return {
        "resourceType": "ValueSet", "id": "bright", "url": BRIGHT, "version": "2", "name": "Bright",
        "status": "active",
        "compose": {"include": [
            {"system": COLOURS, "filter": [
                {"property": "concept", "op": "descendent-of", "value": "warm"}]},
            {"system": COLOURS, "concept": [{"code": "blue"}, {"code": "nothing"}]}]},
        **changes,
    }  # fmt: skip  # Same.


def tones() -> dict[str, Any]:
    """Colours as administrative genders, which is nonsense on purpose."""
    return {
        "resourceType": "ConceptMap", "id": "tones", "url": TONES, "status": "active",
        "group": [{
            "source": COLOURS, "target": "http://hl7.org/fhir/administrative-gender",
            "element": [{"code": "red", "target": [
                {"code": "male", "relationship": "source-is-narrower-than-target"}]}],
            "unmapped": {"mode": "fixed", "code": "unknown", "relationship": "related-to"}}],
    }  # fmt: skip  # Same.


@pytest.fixture
async def stored(room: Any) -> httpx.AsyncClient:
    """A client of a room in which the small definitions are stored."""
    client = room.variant((MODULE,)).client("service")
    for made in (colours(), bright(), tones()):
        answer = await client.put(f"/{made['resourceType']}/{made['id']}", json=made)
        assert answer.status_code < 300, answer.text
    return client


def named(body: dict[str, Any]) -> dict[str, Any]:
    """The plain values of a Parameters resource by name; of a repeated one the first."""
    found: dict[str, Any] = {}
    for each in body["parameter"]:
        found.setdefault(each["name"], next(v for k, v in each.items() if k != "name"))
    return found


async def test_lookup_tells_names_and_place_of_a_code(stored: httpx.AsyncClient) -> None:
    """$lookup gives display in the wanted language, other names, and the parent."""
    answer = await stored.get(
        "/CodeSystem/$lookup", params={"system": COLOURS, "code": "red", "displayLanguage": "ru"})
    body = answer.json()
    parts = [each["part"] for each in body["parameter"] if each["name"] == "property"]
    parent = [{"name": "code", "valueCode": "parent"}, {"name": "value", "valueCode": "warm"}]

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert {"name": "Colours of all kinds", "display": "Красный", "version": "1.0"}.items() <= (
        named(body).items())
    assert parent in parts


async def test_lookup_of_an_unknown_code_is_told(stored: httpx.AsyncClient) -> None:
    """A code or system without content is 404 with a sentence that names it."""
    for parameters in ({"system": COLOURS, "code": "pink"}, {"system": "urn:x", "code": "red"}):
        answer = await stored.get("/CodeSystem/$lookup", params=parameters)
        issue = answer.json()["issue"][0]

        assert (answer.status_code, issue["code"]) == (404, "not-found")
        assert list(parameters.values())["urn:x" not in parameters.values()] in issue["diagnostics"]


async def test_lookup_reads_a_coding(stored: httpx.AsyncClient) -> None:
    """POST with a Coding in Parameters asks the same; R5's own systems are there from the start."""
    coding = {"system": "http://hl7.org/fhir/administrative-gender", "code": "female"}
    answer = await stored.post("/CodeSystem/$lookup", json={
        "resourceType": "Parameters", "parameter": [{"name": "coding", "valueCoding": coding}]})

    assert named(answer.json())["display"] == "Female"


async def test_unknown_parameters_are_refused(stored: httpx.AsyncClient) -> None:
    """A parameter that the operation does not have is 400, and the answer lists what it has."""
    answer = await stored.get("/CodeSystem/$lookup", params={"sistem": COLOURS, "code": "red"})

    assert answer.status_code == 400
    assert "sistem" in answer.text
    assert "displayLanguage" in answer.text


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [("warm", "red", "subsumes"), ("red", "warm", "subsumed-by"), ("red", "red", "equivalent"),
     ("red", "orange", "not-subsumed")],
)  # fmt: skip  # A case a line.
async def test_subsumes(
    stored: httpx.AsyncClient, first: str, second: str, outcome: str
) -> None:
    """$subsumes answers all four ways, at the type and at the stored system."""
    pair = {"codeA": first, "codeB": second}
    at_type = await stored.get("/CodeSystem/$subsumes", params={"system": COLOURS, **pair})
    at_system = await stored.get("/CodeSystem/colours/$subsumes", params=pair)

    assert named(at_type.json()) == {"outcome": outcome}
    assert named(at_system.json()) == {"outcome": outcome}


async def test_validate_code_in_a_system(stored: httpx.AsyncClient) -> None:
    """A code is good with any of its names; a wrong name or code is told, with its place."""
    async def ask(**parameters: str) -> dict[str, Any]:
        found = await stored.get(
            "/CodeSystem/$validate-code", params={"url": COLOURS, **parameters})
        return named(found.json())

    good = await ask(code="red", display="красный")
    wrong_name = await ask(code="red", display="Yashil")
    wrong_code = await ask(code="rouge")

    assert (good["result"], good["display"]) == (True, "Qizil")
    assert (wrong_name["result"], wrong_name["issues"]["issue"][0]["expression"]) == (
        False, ["display"])
    assert (wrong_code["result"], wrong_code["issues"]["issue"][0]["code"]) == (
        False, "code-invalid")


async def test_validate_code_in_a_value_set(stored: httpx.AsyncClient) -> None:
    """A concept is good when one of its codings is in the set; of others the reason is told."""
    async def ask(*codings: dict[str, str]) -> dict[str, Any]:
        concept = {"name": "codeableConcept", "valueCodeableConcept": {"coding": list(codings)}}
        url = {"name": "url", "valueUri": f"{BRIGHT}|2"}
        found = await stored.post("/ValueSet/$validate-code", json={
            "resourceType": "Parameters", "parameter": [url, concept]})
        return named(found.json())

    warm = {"system": COLOURS, "code": "warm"}
    good = await ask(warm, {"system": COLOURS, "code": "blue"})
    bad = await ask(warm)

    assert (good["result"], good["code"]) == (True, "blue")
    assert bad["result"] is False
    assert bad["issues"]["issue"][0]["expression"] == ["CodeableConcept.coding[0].code"]
    assert bad["issues"]["issue"][0]["details"]["coding"][0]["code"] == "not-in-vs"


async def test_a_code_without_system_needs_leave_to_infer_it(stored: httpx.AsyncClient) -> None:
    """A plain code is not looked up in a set unless inferSystem says so."""
    asked = {"url": BRIGHT, "code": "blue"}
    plain = await stored.get("/ValueSet/$validate-code", params=asked)
    inferred = await stored.get(
        "/ValueSet/$validate-code", params={**asked, "inferSystem": "true"})

    assert named(plain.json())["result"] is False
    assert named(inferred.json())["system"] == COLOURS


async def test_expand_lists_what_the_rules_give(stored: httpx.AsyncClient) -> None:
    """$expand: filters and lists are joined, codes that the system lacks stay out."""
    answer = await stored.get(
        "/ValueSet/$expand", params={"url": BRIGHT, "includeDesignations": "true",
                                     "displayLanguage": "kaa"})
    made = answer.json()["expansion"]

    assert [each["code"] for each in made["contains"]] == ["red", "orange", "blue"]
    assert made["contains"][0]["display"] == "Qızıl"
    assert {"language": "ru", "value": "Синий"} in made["contains"][2]["designation"]
    assert made["total"] == 3


async def test_expand_in_pages_and_as_you_type(stored: httpx.AsyncClient) -> None:
    """Offset and count cut the list and total stays; a filter meets words in any language."""
    page = await stored.get("/ValueSet/bright/$expand", params={"offset": "1", "count": "1"})
    for typed in ("kras", "крас", "qiz", "RED"):
        found = await stored.get("/ValueSet/$expand", params={"url": BRIGHT, "filter": typed})

        assert [one["code"] for one in found.json()["expansion"]["contains"]] == ["red"], typed
    assert [one["code"] for one in page.json()["expansion"]["contains"]] == ["orange"]
    assert page.json()["expansion"]["total"] == 3


async def test_expand_of_a_value_set_in_the_request(stored: httpx.AsyncClient) -> None:
    """A value set may come with the request; activeOnly leaves retired codes out."""
    asked = {"resourceType": "ValueSet", "status": "active",
             "compose": {"include": [{"system": COLOURS}]}}
    answers = []
    for active in (False, True):
        answers.append(await stored.post("/ValueSet/$expand", json={
            "resourceType": "Parameters", "parameter": [
                {"name": "valueSet", "resource": asked},
                {"name": "activeOnly", "valueBoolean": active}]}))
    found = [[one["code"] for one in each.json()["expansion"]["contains"]] for each in answers]

    assert found[0] == ["warm", "red", "orange", "blue", "mauve"]
    assert found[1] == ["warm", "red", "orange", "blue"]
    assert answers[0].json()["expansion"]["contains"][0]["abstract"] is True


async def test_a_circle_of_value_sets_is_refused(stored: httpx.AsyncClient) -> None:
    """Sets that include one another are an error that names the circle, never an endless loop."""
    for one, other in (("a", "b"), ("b", "a")):
        await stored.put(f"/ValueSet/circle-{one}", json=bright(
            id=f"circle-{one}", url=f"urn:circle:{one}",
            compose={"include": [{"valueSet": [f"urn:circle:{other}"]}]}))
    answer = await stored.get("/ValueSet/$expand", params={"url": "urn:circle:a"})

    assert answer.status_code == 400
    assert "urn:circle:a > urn:circle:b > urn:circle:a" in answer.json()["issue"][0]["diagnostics"]


async def test_what_is_too_large_or_not_here_is_told(stored: httpx.AsyncClient) -> None:
    """Missing content and a set that is not here are not-found, never an empty list."""
    await stored.put("/ValueSet/closed", json=bright(
        id="closed", url="urn:closed", compose={"include": [{"system": "urn:elsewhere"}]}))
    closed = await stored.get("/ValueSet/$expand", params={"url": "urn:closed"})
    absent = await stored.get("/ValueSet/$expand", params={"url": "urn:none"})

    assert (closed.status_code, absent.status_code) == (404, 404)
    assert "urn:elsewhere" in closed.text


async def test_translate_both_ways(stored: httpx.AsyncClient) -> None:
    """$translate follows a map, its rule for the unmapped, and the way back."""
    async def ask(**parameters: str) -> dict[str, Any]:
        found = (await stored.get("/ConceptMap/tones/$translate", params=parameters)).json()
        parts = {part["name"]: part for each in found["parameter"] if each["name"] == "match"
                 for part in each["part"]}
        return {"result": found["parameter"][0]["valueBoolean"],
                "to": parts.get("concept", {}).get("valueCoding", {}).get("code"),
                "how": parts.get("relationship", {}).get("valueCode")}  # fmt: skip  # One thought.

    gender = "http://hl7.org/fhir/administrative-gender"

    assert await ask(system=COLOURS, sourceCode="red") == {
        "result": True, "to": "male", "how": "source-is-narrower-than-target"}
    assert (await ask(system=COLOURS, sourceCode="blue"))["to"] == "unknown"
    assert await ask(system=gender, targetCode="male") == {
        "result": True, "to": "red", "how": "source-is-broader-than-target"}
    assert (await ask(system="urn:other", sourceCode="red"))["result"] is False


async def test_changes_are_seen_at_once(room: Any, stored: httpx.AsyncClient) -> None:
    """What was committed before a question is in its answer, in every worker; deletions too."""
    other = room.variant((MODULE,))
    second = Shelf(other.gateway)
    await second.current()
    await stored.put("/CodeSystem/colours", json=colours(concept=[{"code": "black"}]))
    black = await stored.get("/CodeSystem/$lookup", params={"system": COLOURS, "code": "black"})
    library = await second.current()

    assert black.status_code == 200
    assert library.holds("urn:none", COLOURS, "black") is None
    assert library.below(COLOURS, "black") == ["black"]
    assert library.below(COLOURS, "red") == []
    await stored.delete("/CodeSystem/colours")
    gone = await stored.get("/CodeSystem/$lookup", params={"system": COLOURS, "code": "black"})
    assert gone.status_code == 404
    assert (await second.current()).below(COLOURS, "black") is None


async def test_an_import_is_seen_without_restart(room: Any, module_database_url: str) -> None:
    """What a load brings, as a guide is installed, is known to a worker that was there before."""
    shelf = Shelf(room.gateway)
    await shelf.current()
    loaded = colours(id="loaded", url="urn:loaded")
    row = AuditRow(
        request="t", action="C", subject="import", role="service", purpose="HSYSADMIN")
    items = iter([Item("one", msgspec.json.encode(loaded))])
    await load(module_database_url, Scope("import"), row, items, produce)
    library = await shelf.current()

    assert library.below("urn:loaded", "warm") == ["warm", "red", "orange"]


async def test_a_supplement_names_codes_at_once(stored: httpx.AsyncClient) -> None:
    """A stored supplement gives R5's own codes names in the country's languages."""
    await stored.put("/CodeSystem/gender-uz", json={
        "resourceType": "CodeSystem", "id": "gender-uz", "url": "urn:gender-uz", "status": "active",
        "content": "supplement", "supplements": "http://hl7.org/fhir/administrative-gender",
        "concept": [{"code": "female", "designation": [{"language": "uz", "value": "Ayol"}]}]})
    answer = await stored.get(
        "/ValueSet/$expand", headers={"accept-language": "uz-Cyrl, uz"},
        params={"url": "http://hl7.org/fhir/ValueSet/administrative-gender", "filter": "аёл"})
    contains = answer.json()["expansion"]["contains"]
    await stored.delete("/CodeSystem/gender-uz")

    assert [(one["code"], one["display"]) for one in contains] == [("female", "Аёл")]


async def test_searches_and_bindings_ask_the_library_of_their_worker(
    room: Any, stored: httpx.AsyncClient
) -> None:
    """While a worker follows terminology, `:in` and `:below` search by stored definitions."""
    await stored.put("/CodeSystem/colours", json=colours())
    for code in ("red", "mauve"):
        await stored.put(f"/Observation/seen-{code}", json={
            "resourceType": "Observation", "id": f"seen-{code}", "status": "final",
            "code": {"coding": [{"system": COLOURS, "code": code}]}})
    before = await stored.get("/Observation", params={"code:in": BRIGHT})
    following = asyncio.create_task(follow(room.gateway))
    try:
        async with asyncio.timeout(20):
            while query_codes.known(lambda codes: codes.codes_in(BRIGHT)) is None:
                await asyncio.sleep(0.02)
        found = [
            await stored.get("/Observation", params=criteria)
            for criteria in ({"code:in": BRIGHT}, {"code:below": f"{COLOURS}|warm"})
        ]
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    assert before.status_code == 400
    for answer in found:
        assert [one["resource"]["id"] for one in answer.json()["entry"]] == ["seen-red"]
    assert query_codes.known(lambda codes: codes.codes_in(BRIGHT)) is None


async def test_many_questions_share_a_look_at_the_changes(room: Any) -> None:
    """Questions that come together are served by few looks at the database."""
    shelf = Shelf(room.gateway)
    await shelf.current()
    begun = shelf._begun
    await asyncio.gather(*(shelf.current() for _ in range(50)))

    assert shelf._begun - begun <= 2


async def test_every_call_is_for_the_signed_in_and_audited(
    room: Any, stored: httpx.AsyncClient, counted: Any
) -> None:
    """Without sign-in 401; with it a pharmacist may ask, and each call leaves a row."""
    anonymous = await room.variant((MODULE,)).anonymous().get("/CodeSystem/$lookup")
    client = room.variant((MODULE,)).client("pharmacist")
    await client.get("/CodeSystem/$lookup", params={"system": COLOURS, "code": "red"})
    before = await counted("audit")
    answer = await client.get("/CodeSystem/$lookup", params={"system": COLOURS, "code": "red"})

    assert (anonymous.status_code, answer.status_code) == (401, 200)
    assert await counted("audit") - before == 1
