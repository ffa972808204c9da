"""The steps of the door over HTTP: second factor demanded, asked for, lost; posts; the counter."""

from __future__ import annotations

import re

import pytest
from access_browser import Browser, code

from dmed.apps.web import Platform
from dmed.pages.view import STATIC
from dmed.trust.identity import DEMO_PASSWORDS, Account
from dmed.trust.model import Role

WORD = "long-enough-word"


async def test_a_role_enrols_at_the_door(platform: Platform) -> None:
    """Nothing opens before the first code; the recovery codes are shown, then the way on."""
    account = Account(user="malika", role=Role.REGISTRAR)
    await platform.guard.identity.save(account, WORD)
    async with Browser(platform) as here:
        first = await here.post("/signin", data={"user": "malika", "password": WORD,
                                                 "next": "/persons"})  # fmt: skip  # One form.
        closed = await here.get("/persons")
        page = (await here.get("/signin/enrol")).text
        forged = await here.post("/signin/enrol", data={"code": code(page)})
        wrong = await here.submit("/signin/enrol", code="000000")
        right = await here.submit("/signin/enrol", code=code(page))
        opened = await here.get("/me")

    assert first.headers["location"] == "/signin/enrol"
    assert closed.headers["location"].startswith("/signin")
    assert (forged.status_code, wrong.status_code) == (403, 400)
    assert right.text.count("<li ") == 10
    assert 'href="/persons"' in right.text
    assert opened.status_code == 200


async def test_a_lost_telephone(platform: Platform) -> None:
    """Set on my page after the password, which ends my other sessions; asked for at the door,
    refused when wrong; the administrator takes it away and the sessions with it.
    """
    async with Browser(platform) as here, Browser(platform) as boss, Browser(platform) as there:
        await here.enter("doctor")
        page = (await here.get("/me/factor")).text
        await there.enter("doctor")
        stolen = await here.submit("/me/factor", code=code(page), password="guess-of-a-thief")
        await here.submit("/me/factor", code=code(page), password=DEMO_PASSWORDS["doctor"])
        elsewhere = await there.get("/me")
        gone = await here.submit("/signout", "/me")
        asked = await here.enter("doctor")
        wrong = await here.submit("/signin/factor", code="123456")
        # The next step's code: this one was used, and a step may end while we are asked.
        right = await here.submit("/signin/factor", code=code(page, 1))
        await boss.enter("admin")
        shown = await boss.get("/accounts/doctor")
        unproved = await boss.submit("/accounts/doctor", act="factor")
        await boss.submit("/accounts/doctor", act="factor", seen="passport, in the registry")
        ended = await here.get("/me")
        again = await here.enter("doctor")
        details = await platform.database.hot.fetch("select detail from audit where detail <> ''")

    said = {row["detail"] for row in details}
    assert (asked.headers["location"], wrong.status_code) == ("/signin/factor", 401)
    assert (right.headers["location"], ended.status_code) == ("/", 303)
    assert "End" in shown.text
    assert unproved.status_code == 400
    assert "Write down the document" in unproved.text
    assert (stolen.status_code, elsewhere.status_code) == (401, 303)
    assert gone.headers["clear-site-data"] == '"cache"'
    assert again.headers["location"] == "/"
    assert {"second factor set", "second factor refused", "sign-in: second factor passed",
            ("factor of doctor ended by the administrator; seen in person: passport, in the "
             "registry"),
            "factor of doctor refused: recovery.seen"} <= said  # fmt: skip  # One set.


async def test_only_the_administrator_sees_anothers_sessions(platform: Platform) -> None:
    """A doctor asks in vain, by page and by form."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        shown = await here.get("/accounts/admin")
        done = await here.submit("/accounts/admin", "/me", act="sessions")

    assert (shown.status_code, done.status_code) == (403, 403)


async def test_one_of_several_posts(platform: Platform) -> None:
    """Asked after the password; the chosen one opens its pages, the other's are closed."""
    post = Account(user="pharmacist", role=Role.REGISTRAR, practitioner_role="post-2",
                   post="Registrator")  # fmt: skip  # One account.
    await platform.guard.identity.save_post("pharmacist", post)
    async with Browser(platform) as here:
        asked = await here.enter("pharmacist")
        await here.submit("/signin/post", post="post-2")
        persons = await here.get("/persons")
        await here.submit("/me/post", "/me", post="")
        back = await here.get("/persons")
    await platform.guard.identity.drop_post("pharmacist", "post-2")

    assert asked.headers["location"] == "/signin/post"
    assert (persons.status_code, back.status_code) == (200, 403)


async def test_a_locked_session_waits_in_its_browser(platform: Platform) -> None:
    """Another signs in meanwhile; another browser knows nothing of it; the password leads back."""
    async with Browser(platform) as here, Browser(platform) as other:
        await here.enter("pharmacist", shared="1")
        await here.submit("/signin/lock", "/me", place="/counter/today")
        door = await here.get("/signin")
        number = re.search(r'name="number" value="([^"]+)"', door.text)
        assert number is not None
        await here.enter("doctor")
        away = await here.submit("/signin/lock", "/me")
        foreign = await other.post("/signin/unlock", data={
            "number": number.group(1), "word": DEMO_PASSWORDS["pharmacist"]})  # fmt: skip
        wrong = await here.post("/signin/unlock", data={"number": number.group(1), "word": "1"})
        right = await here.post("/signin/unlock", data={
            "number": number.group(1), "word": DEMO_PASSWORDS["pharmacist"]})  # fmt: skip
        back = await here.get("/me")

    assert away.headers["location"] == "/signin"
    assert (foreign.status_code, wrong.status_code) == (401, 401)
    assert right.headers["location"] == "/counter/today"
    assert "<dd>pharmacist</dd>" in back.text


@pytest.mark.parametrize("path", ["/signin/factor", "/signin/enrol", "/signin/post"])
async def test_steps_need_what_comes_before(platform: Platform, path: str) -> None:
    """Without a session that waits there, and with an open one, each leads to the door."""
    async with Browser(platform) as here:
        strange = await here.get(path)
        await here.enter("doctor")
        done = await here.get(path)

    assert strange.headers["location"].startswith("/signin")
    assert done.headers["location"].startswith("/signin")


async def test_my_sessions_end_from_my_page(platform: Platform) -> None:
    """Both are listed with their browser, and the other one ends."""
    async with Browser(platform) as here, Browser(platform) as other:
        other.headers["user-agent"] = "Mozilla/5.0 (Windows NT 10.0) Firefox/140.0"
        await here.enter("admin")
        await other.enter("admin")
        page = (await here.get("/me")).text
        await here.submit("/me/sessions/end", "/me")
        ended, mine = await other.get("/me"), await here.get("/me")

    assert "Firefox, Windows" in page
    assert (ended.status_code, mine.status_code) == (303, 200)


async def test_choices_are_kept_for_this_host_alone(platform: Platform) -> None:
    """Over TLS the language has the prefix that no neighbour can plant, and wins over the plain
    name; the script keeps the theme likewise.
    """
    async with Browser(platform) as here:
        await here.enter("doctor")
        answer = await here.submit("/language", "/me", code="ru", next="//evil.example")
        page = await here.get("/me")

    assert answer.headers["location"] == "/"
    told = answer.headers["set-cookie"]
    assert told.startswith("__Host-dmed_language=ru;")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=lax"} <= set(told.split("; "))
    assert "domain" not in told.lower()
    assert '<html lang="ru"' in page.text
    assert '"__Host-dmed_theme"' in (STATIC / "dmed.js").read_text()


async def test_the_way_out_is_on_every_page(platform: Platform) -> None:
    """Whoever is signed in sees it in the head of each page; nobody else has it."""
    async with Browser(platform) as here:
        assert 'action="/signout"' not in (await here.get("/signin")).text
        await here.enter("admin")
        for path in ("/accounts", "/search", "/apps", "/me/password", "/nothing-here"):
            assert 'action="/signout"' in (await here.get(path)).text, path


async def test_a_factor_goes_after_password_and_code(platform: Platform) -> None:
    """Neither alone takes the own second factor away; both do, and other sessions end."""
    word = DEMO_PASSWORDS["inspector"]
    async with Browser(platform) as here, Browser(platform) as there:
        await here.enter("inspector")
        page = (await here.get("/me/factor")).text
        shown = await here.submit("/me/factor", code=code(page), password=word)
        recovery = re.findall(r"[a-z0-9]{4}(?:-[a-z0-9]{4}){3}", shown.text)
        await there.enter("inspector")
        passed = await there.submit("/signin/factor", code=recovery[0])
        refused = [
            await here.submit("/me/factor/drop", "/me/factor", code=recovery[1]),
            await here.submit("/me/factor/drop", "/me/factor", password=word),
            await here.submit("/me/factor/drop", "/me/factor", password=word, code="123456"),
        ]
        still = await there.get("/me")
        gone = await here.submit(
            "/me/factor/drop", "/me/factor", password=word, code=recovery[1])
        ended = await there.get("/me")

    assert [one.status_code for one in refused] == [401, 401, 401]
    assert (passed.status_code, still.status_code) == (303, 200)
    assert (gone.headers["location"], ended.status_code) == ("/me", 303)
