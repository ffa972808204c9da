"""Terminology over HTTP: versions, histories, supplements, languages, and the short way."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from dmed.fhir.terminology import Library
from dmed.fhir.terminology.lookup import lookup as look_up
from dmed.kit.errors import DmedError
from dmed.modules.terminology import MODULE
from dmed.modules.terminology.service import Shelf
from dmed.server.call import PAIRS_MAX
from dmed.server.fast_operation import pairs_of
from dmed.store import confirm
from dmed.trust.model import Role, Subject

METALS = "https://example.org/fhir/CodeSystem/metals"
NOBLE = "https://example.org/fhir/ValueSet/noble"
NAMES = "https://example.org/fhir/CodeSystem/metals-kaa"
ASKER = Subject(user="asker", role=Role.SERVICE)


def metals(version: str, *codes: str) -> dict[str, Any]:
    """A version of a code system with names in Uzbek, Russian and English."""
    concepts = [
        {"code": each, "display": f"{each} uz {version}", "designation": [
            {"language": "ru", "value": f"{each} по-русски"},
            {"language": "en", "value": f"{each} in English"}]}
        for each in codes
    ]  # fmt: skip  # A concept a line.
    return {"resourceType": "CodeSystem", "id": f"metals-{version[0]}", "url": METALS,
            "version": version, "name": "Metals", "status": "active", "content": "complete",
            "language": "uz", "concept": concepts}  # fmt: skip  # One look.


def noble(version: str, *codes: str) -> dict[str, Any]:
    """A version of a value set of them."""
    include = {"system": METALS, "concept": [{"code": each} for each in codes]}
    return {"resourceType": "ValueSet", "id": f"noble-{version[0]}", "url": NOBLE,
            "version": version, "status": "active", "compose": {"include": [include]}}


def supplement() -> dict[str, Any]:
    """Names in Karakalpak, given by another than who keeps the system."""
    concept = {"code": "Au", "designation": [{"language": "kaa", "value": "Altın"}]}
    return {"resourceType": "CodeSystem", "id": "metals-kaa", "url": NAMES, "status": "active",
            "content": "supplement", "supplements": METALS, "concept": [concept]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(room: Any) -> httpx.AsyncClient:
    """A client of a room with two versions of a system and of a set, and a supplement."""
    made: httpx.AsyncClient = room.variant((MODULE,)).client("service")
    for each in (metals("1.0", "Au", "Ag", "Fe"), metals("2.0", "Au", "Ag", "Pt"),
                 noble("1.0", "Au"), noble("2.0", "Au", "Pt"), supplement()):
        answer = await made.put(f"/{each['resourceType']}/{each['id']}", json=each)
        assert answer.status_code == 201, answer.text
    return made


def value(body: dict[str, Any], name: str) -> Any:
    """The value of a parameter, or None."""
    return next((v for each in body.get("parameter", ()) if each["name"] == name
                 for k, v in each.items() if k != "name"), None)  # fmt: skip  # One search.


async def asked(client: httpx.AsyncClient, path: str, **parameters: str) -> dict[str, Any]:
    """The body of an operation's answer, which must be the same on the short and the long way."""
    headers = {"accept-language": parameters.pop("accept", "*")}
    quick = await client.get(path, params=parameters, headers=headers)
    slow = await client.get(path, params={**parameters, "_format": "json"}, headers=headers)
    body: dict[str, Any] = quick.json()
    other = slow.json()
    for each in (body, other):
        each.pop("expansion", None) if path.endswith("validate-code") else None
        for name in ("identifier", "timestamp"):
            each.get("expansion", {}).pop(name, None)

    assert (quick.status_code, body) == (slow.status_code, other)
    assert quick.headers["content-type"].split(";")[0] == "application/fhir+json"
    return body


async def test_a_version_of_a_system_is_asked_for(client: httpx.AsyncClient) -> None:
    """`version` looks a code up in that version; without it in the newest."""
    lookup, check = "/CodeSystem/$lookup", "/CodeSystem/$validate-code"
    old = await asked(client, lookup, system=METALS, code="Fe", version="1.0")
    new = await asked(client, lookup, system=METALS, code="Au")
    gone = await asked(client, lookup, system=METALS, code="Fe")
    none = await asked(client, lookup, system=METALS, code="Au", version="3.0")
    at_old = await asked(client, check, url=METALS, code="Fe", version="1.0")
    at_new = await asked(client, check, url=METALS, code="Fe", version="2.0")

    assert (value(old, "version"), value(old, "display")) == ("1.0", "Fe uz 1.0")
    assert (value(new, "version"), value(new, "display")) == ("2.0", "Au uz 2.0")
    assert [each["issue"][0]["code"] for each in (gone, none)] == ["not-found"] * 2
    assert (value(at_old, "result"), value(at_new, "result")) == (True, False)


async def test_a_version_of_a_set_is_asked_for(client: httpx.AsyncClient) -> None:
    """`valueSetVersion`, or `|version` in the address, fixes the version of the set."""
    check, expand = "/ValueSet/$validate-code", "/ValueSet/$expand"
    pt = {"system": METALS, "code": "Pt"}
    old = await asked(client, check, url=NOBLE, valueSetVersion="1.0", **pt)
    pinned = await asked(client, check, url=f"{NOBLE}|1.0", **pt)
    new = await asked(client, check, url=NOBLE, **pt)
    first = await asked(client, expand, url=NOBLE, valueSetVersion="1.0")
    second = await asked(client, expand, url=NOBLE)

    assert [value(each, "result") for each in (old, pinned, new)] == [False, False, True]
    assert [each["code"] for each in first["expansion"]["contains"]] == ["Au"]
    assert [each["code"] for each in second["expansion"]["contains"]] == ["Au", "Pt"]


async def test_names_come_in_the_caller_s_language(client: httpx.AsyncClient) -> None:
    """A displayLanguage comes before Accept-Language, which is weighed by its order;
    a supplement gives names in its own language.
    """
    lookup = "/CodeSystem/$lookup"
    au = {"system": METALS, "code": "Au"}
    shown = {
        accept or language: value(
            await asked(client, lookup, **au, **({"displayLanguage": language} if language else {}),
                        **({"accept": accept} if accept else {})), "display")
        for language, accept in (
            ("ru", ""), ("", "en;q=0.5, ru;q=0.9"), ("en", "ru, *;q=0.1"), ("kaa", ""),
            ("", "fr, uz;q=0.2"), ("", "de"))
    }  # fmt: skip  # A case a line.

    assert shown == {
        "ru": "Au по-русски", "en;q=0.5, ru;q=0.9": "Au по-русски", "ru, *;q=0.1": "Au in English",
        "kaa": "Altın", "fr, uz;q=0.2": "Au uz 2.0", "de": "Au uz 2.0",
    }  # fmt: skip  # Same.
    listed = await asked(client, "/ValueSet/$expand", url=NOBLE, displayLanguage="ru")
    assert [each["display"] for each in listed["expansion"]["contains"]] == [
        "Au по-русски", "Pt по-русски"]


async def test_supplements_are_asked_for(client: httpx.AsyncClient) -> None:
    """A supplement that is here may be relied on; one that is not is refused."""
    lookup = "/CodeSystem/$lookup"
    au = {"system": METALS, "code": "Au"}
    here = await asked(client, lookup, **au, useSupplement=NAMES)
    missing = await asked(client, lookup, **au, useSupplement=f"{NAMES}-no")

    assert "Altın" in str(here["parameter"])
    assert missing["issue"][0]["code"] == "not-found"


async def test_a_definition_has_its_history(client: httpx.AsyncClient) -> None:
    """Each version of a definition can be read; operations answer by the one that counts now."""
    path = "/CodeSystem/metals-3"
    first = await client.put(path, json=metals("3.0", "Au"))
    second = await client.put(path, json={**metals("3.0", "Au", "Rh"), "status": "active"})
    rhodium = {"url": METALS, "code": "Rh", "version": "3.0"}
    known = await asked(client, "/CodeSystem/$validate-code", **rhodium)
    history = (await client.get(f"{path}/_history")).json()
    old = await client.get(f"{path}/_history/{first.json()['meta']['versionId']}")
    await client.delete(path)
    unknown = await asked(client, "/CodeSystem/$validate-code", **rhodium)
    after = (await client.get(f"{path}/_history")).json()

    assert (second.status_code, value(known, "result"), value(unknown, "result")) == (
        200, True, False)
    assert (history["total"], after["total"]) == (2, 3)
    assert [each["code"] for each in old.json()["concept"]] == ["Au"]


async def test_the_short_way_asks_for_sign_in_and_leaves_its_row(
    client: httpx.AsyncClient, room: Any
) -> None:
    """Without a token it is 401, with a wrong one too; an answer leaves one audit row."""
    address = f"/CodeSystem/$lookup?system={METALS}&code=Au"
    stranger = room.variant((MODULE,)).anonymous()
    assert (await stranger.get(address)).status_code == 401
    wrong = await stranger.get(address, headers={"authorization": "Bearer x"})
    assert wrong.status_code == 401

    answer = await client.get(address, headers={"x-request-id": "short-1"})
    rows = await room.database.hot.fetch(
        "SELECT action, detail, outcome FROM audit WHERE request = 'short-1'")
    assert answer.headers["x-request-id"] == "short-1"
    assert [tuple(row) for row in rows] == [(b"E", "CodeSystem/$lookup", 200)]


@given(st.text("ab=&%+;2cд é\x00/:|", max_size=40))
def test_queries_are_read_as_everywhere_else(text: str) -> None:
    """The short way reads a query string as the long one does."""
    try:
        expected = parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        expected = []
        with pytest.raises(ValueError, match="decode"):
            pairs_of(text.encode())
    else:
        assert pairs_of(text.encode()) == expected
    with pytest.raises(ValueError, match="too many"):
        pairs_of(b"&".join([b"a=1"] * (PAIRS_MAX + 1)))


async def rows(counted: Any, detail: str) -> int:
    """How many audit rows tell of an act."""
    found: int = await counted(f"audit WHERE detail = '{detail}'")
    return found


async def test_an_answer_is_of_the_moment_of_its_question(
    room: Any, client: httpx.AsyncClient, counted: Any
) -> None:
    """What another worker commits between two questions is in the answer to the second, as is what
    it takes away; each answer has one audit row, and a refused one has none of an answer.
    """
    shelf = Shelf(room.gateway)
    def told(library: Library) -> bytes:
        return b" ".join(str(each["valueString"]).encode()
                         for each in look_up(library, METALS, "Au", version="3.0")
                         if each["name"] == "display")

    acts = "test/$lookup"
    await shelf.current()
    for turn in ("one", "two"):
        made = metals("3.0", "Au")
        made["concept"][0]["display"] = turn
        await client.put("/CodeSystem/metals-3", json=made)
        assert await shelf.answered(ASKER, acts, told) == turn.encode()
        assert await shelf.answered(ASKER, acts, told) == turn.encode()
    assert await rows(counted, acts) == 4
    await client.delete("/CodeSystem/metals-3")
    with pytest.raises(DmedError):
        await shelf.answered(ASKER, acts, told)
    outcomes = await counted(f"audit WHERE detail = '{acts}' AND outcome = 200")
    assert outcomes == 5, "the row was written with the look that found it gone"
    assert await counted(f"audit WHERE detail = '{acts}' AND outcome = 404") == 1
    with pytest.raises(DmedError):
        await shelf.answered(ASKER, acts, told)
    assert await rows(counted, acts) == 6


async def test_answers_together_share_one_statement(
    room: Any, client: httpx.AsyncClient, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty questions at once: forty audit rows, few ways to the database, no look by itself."""
    shelf = Shelf(room.gateway)
    await shelf.current()
    begun, flushes = shelf._begun, []
    flush = confirm._flush

    async def counting(*arguments: Any) -> Any:
        flushes.append(len(arguments[-1]))
        return await flush(*arguments)

    monkeypatch.setattr(confirm, "_flush", counting)
    act = "test/$together"
    await asyncio.gather(*(shelf.answered(ASKER, act, lambda _: b"x") for _ in range(40)))

    assert sum(flushes) == 40
    assert len(flushes) <= 3
    assert shelf._begun == begun
    assert await rows(counted, act) == 40
