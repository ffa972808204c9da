"""Sign-in, language, homes and forms over HTTP, on a real PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.trust.identity import DEMO_PASSWORDS


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """The application of one worker with the demo accounts and no records."""
    made = await open_platform()
    await made.guard.identity.save_demo()
    return made


def browser(platform: Platform, language: str = "en") -> httpx.AsyncClient:
    """A browser of its own, reading one language."""
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    return httpx.AsyncClient(
        transport=transport, base_url="http://test", cookies={"dmed_language": language}
    )


async def sign_in(here: httpx.AsyncClient, user: str, **fields: str) -> httpx.Response:
    """Posts the form of the door."""
    data = {"user": user, "password": DEMO_PASSWORDS[user], **fields}
    return await here.post("/signin", data=data)


async def token(here: httpx.AsyncClient) -> str:
    """The protection token that a page of this session carries."""
    page = await here.get("/me")
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize(
    ("language", "said"), [("uz", "Nom yoki parol"), ("ru", "Имя или пароль"), ("en", "password")]
)
async def test_a_wrong_password_is_told_in_the_readers_language(
    platform: Platform, language: str, said: str
) -> None:
    """Which of the two was wrong is not told, and the typed name stays, escaped."""
    async with browser(platform, language) as here:
        answer = await here.post("/signin", data={"user": '"><b>x', "password": "wrong-word"})

    assert answer.status_code == 401
    assert said in answer.text
    assert '"><b>x' not in answer.text


@pytest.mark.parametrize(
    ("target", "place"), [("/persons", "/persons"), ("//evil.example/", "/"), ("", "/")]
)
async def test_sign_in_leads_on_within_this_site(
    platform: Platform, target: str, place: str
) -> None:
    """The cookie is out of reach of scripts, and `next` leads nowhere else."""
    async with browser(platform) as here:
        answer = await sign_in(here, "registrar", next=target)

    assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert "HttpOnly" in answer.headers["set-cookie"]


async def test_refused_sign_ins_leave_an_audit_row(platform: Platform) -> None:
    """Who was tried and from where, 401 or 429; never a password, and no row each in a flood."""
    statement = "select outcome, detail from audit where action = 'E' and detail like $1"
    before = len(await platform.database.hot.fetch(statement, "sign-in refused%"))
    async with browser(platform) as here:
        for _ in range(40):
            await here.post("/signin", data={"user": "service", "password": "guess-guess"})
    rows = await platform.database.hot.fetch(statement, "sign-in refused%")

    assert 6 <= len(rows) - before < 40
    assert {row["outcome"] for row in rows} == {401, 429}
    assert any("'service' from 127.0.0.1" in row["detail"] for row in rows)
    assert not any("guess" in row["detail"] for row in rows)


async def test_this_browser_is_known_at_the_next_sign_in(platform: Platform) -> None:
    """A signed cookie that scripts cannot read and that goes to the door alone."""
    async with browser(platform) as here:
        answer = await sign_in(here, "doctor")
    cookies = answer.headers.get_list("set-cookie")
    device = next(each for each in cookies if each.startswith("dmed_device="))

    assert len(cookies) == 2
    assert "Path=/signin; HttpOnly; SameSite=Strict" in device


async def test_browsers_are_kept_on_tls(platform: Platform) -> None:
    """Strict-Transport-Security over https, or where public_url says so; never over plain http."""
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    name = "strict-transport-security"
    async with httpx.AsyncClient(transport=transport) as here:
        for path in ("/signin", "/fhir/metadata"):
            assert name not in (await here.get(f"http://test{path}")).headers
            said = (await here.get(f"https://test{path}")).headers[name]
            assert said == "max-age=31536000; includeSubDomains"
        plain = platform.settings
        platform.settings = msgspec.structs.replace(plain, public_url="https://dmed.example")
        try:
            assert name in (await here.get("http://test/signin")).headers
        finally:
            platform.settings = plain


async def test_a_foreign_page_cannot_sign_somebody_in(platform: Platform) -> None:
    """Else a victim could work in an attacker's account without noticing."""
    async with browser(platform) as here:
        here.headers["sec-fetch-site"] = "cross-site"
        answer = await sign_in(here, "doctor")

    assert answer.status_code == 403
    assert "dmed_session" not in answer.headers.get("set-cookie", "")


async def test_sign_out_ends_the_session_in_the_database(platform: Platform) -> None:
    """The old cookie opens nothing any more, wherever it was copied to."""
    async with browser(platform) as here:
        await sign_in(here, "doctor")
        old = here.cookies["dmed_session"]
        answer = await here.post("/signout", data={"csrf_token": await token(here)})
        here.cookies.set("dmed_session", old)
        again = await here.get("/me")

    assert answer.headers["location"] == "/signin"
    assert again.headers["location"].startswith("/signin")


async def test_the_chosen_language_is_kept(platform: Platform) -> None:
    """Cookie and session both; a language that is not shipped does not exist. Only the page's own
    form changes it, never an address.
    """
    async with browser(platform) as here:
        await sign_in(here, "doctor")
        form = {"csrf_token": await token(here), "next": "/me"}
        forged = await here.post("/language", data={"code": "ru", "next": "/me"})
        safe = await here.get("/language?code=ru")
        answer = await here.post("/language", data={**form, "code": "ru"})
        del here.cookies["dmed_language"]
        page = await here.get("/me")
        unknown = await here.post("/language", data={**form, "code": "fr"})

    assert answer.headers["location"] == "/me"
    assert '<html lang="ru"' in page.text
    assert (unknown.status_code, forged.status_code, safe.status_code) == (404, 403, 405)


@pytest.mark.parametrize(("user", "status"), [
    ("doctor", 200), ("registrar", 200), ("admin", 200), ("pharmacist", 303),
])  # fmt: skip  # A table of cases.
async def test_everybody_has_a_home(platform: Platform, user: str, status: int) -> None:
    """My work today, also on the first day; the pharmacist's is the counter."""
    async with browser(platform) as here:
        await sign_in(here, user)
        answer = await here.get("/")

    assert answer.status_code == status
    assert status == 200 or answer.headers["location"] == "/counter"


async def test_the_search_box_escapes_and_finds_screens(platform: Platform) -> None:
    """A hostile text is only a text; a screen is found by the beginning of its name."""
    async with browser(platform) as here:
        await sign_in(here, "registrar")
        hostile = await here.get("/search", params={"q": "<script>alert(1)</script>"})
        screens = await here.get("/search?q=pers", headers={"HX-Request": "true"})

    assert "<script>alert" not in hostile.text
    assert 'href="/persons"' in screens.text
    assert "<html" not in screens.text


PERSON = {"family": "Юлдашева", "given": "Дилноза", "birth_date": "12.03.1992", "sex": "female"}


async def test_a_person_is_registered_after_near_matches_were_seen(platform: Platform) -> None:
    """The same name in another script is shown side by side first, and nothing is made by it."""
    async with browser(platform) as here:
        await sign_in(here, "registrar")
        secret = {"csrf_token": await token(here)}
        first = await here.post("/persons/new", data={**PERSON, **secret})
        latin = {**PERSON, "family": "Yo‘ldosheva", "given": "Dilnoza"}
        near = await here.post("/persons/new", data={**latin, **secret})
        despite = re.findall(r'name="despite" value="([^"]+)"', near.text)
        second = await here.post("/persons/new", data={**latin, **secret, "despite": despite})

    assert first.headers["location"].startswith("/card/")
    assert near.status_code == 200
    assert "<mark>" in near.text
    assert second.headers["location"].startswith("/card/")
    assert second.headers["location"] != first.headers["location"]


async def test_a_faulty_form_keeps_what_was_typed(platform: Platform) -> None:
    """Each fault stands at its field with 422, the typed text stays, nothing is stored."""
    async with browser(platform) as here:
        await sign_in(here, "registrar")
        typed = {**PERSON, "family": "Test1<b>", "birth_date": "99.99.1992"}
        answer = await here.post("/persons/new", data={**typed, "csrf_token": await token(here)})

    assert answer.status_code == 422
    assert answer.text.count('aria-invalid="true"') >= 2
    assert "Test1&lt;b&gt;" in answer.text
    assert "99.99.1992" in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("/card/no-such-card", 404), ("/prescriptions/1726000000004", 404),
     ("/medicines/no-such-medicine", 404), ("/card/x/add/nonsense", 404),
     ("/card/x?tab=nonsense", 404), ("/no-such-page", 404), ("/counter", 403)],
)  # fmt: skip  # Same.
async def test_what_is_not_there_is_said_on_a_page(
    platform: Platform, path: str, status: int
) -> None:
    """A sentence with the way on, in the shell, never a bare error."""
    async with browser(platform, "ru") as here:
        await sign_in(here, "doctor")
        answer = await here.get(path)

    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert 'href="/"' in answer.text
