"""The administrator's pages of accounts, over HTTP: make one, hand it over, help, close."""

from __future__ import annotations

import re
from datetime import date

from access_browser import Browser

from dmed.apps.web import Platform
from dmed.trust.model import Role, Subject

ADMIN = Subject(user="admin", role=Role.ADMINISTRATOR)
OWN = "krug-na-vode-17-lodok"


async def planted(platform: Platform, name: str) -> tuple[str, str]:
    """A doctor of the register in a post: ids of Practitioner and PractitionerRole."""
    gateway = platform.gateway
    house = await gateway.create(ADMIN, "Organization", {
        "resourceType": "Organization", "name": "12-son poliklinika", "active": True})
    person = await gateway.create(ADMIN, "Practitioner", {
        "resourceType": "Practitioner", "active": True,
        "name": [{"family": name, "given": ["Barno"]}]})
    post = await gateway.create(ADMIN, "PractitionerRole", {
        "resourceType": "PractitionerRole", "active": True,
        "period": {"start": date(2020, 1, 1).isoformat()},
        "practitioner": {"reference": f"Practitioner/{person.id}"},
        "organization": {"reference": f"Organization/{house.id}"}})
    return person.id, post.id


def first_password(page: str) -> str:
    """The first password that a page shows."""
    found = re.search(r'id="first-password">([^<]+)<', page)
    assert found is not None, page
    return found.group(1)


async def test_an_account_is_made_for_a_post_and_its_person_gets_in(platform: Platform) -> None:
    """Found in the register, made, shown once; its owner chooses an own password and works."""
    person, post = await planted(platform, "Tojiboyeva")
    async with Browser(platform) as admin:
        await admin.enter("admin")
        listed = await admin.get("/accounts/new?q=Tojiboy")
        assert f'value="{person}/{post}"' in listed.text
        made = await admin.submit("/accounts/new", user="tojiboyeva", role="registrar",
                                  post=f"{person}/{post}")
        assert made.status_code == 200
        assert made.headers["cache-control"] == "no-store"
        first = first_password(made.text)
        assert first not in (await admin.get("/accounts/tojiboyeva")).text
        assert "tojiboyeva" in (await admin.get("/accounts?q=tojib")).text

    async with Browser(platform) as owner:
        begun = await owner.enter("tojiboyeva", password=first)
        # The registrar's role demands a second factor here: it is set up first.
        assert begun.headers["location"] == "/signin/enrol"


async def test_the_first_password_leads_to_the_choice_of_an_own_one(platform: Platform) -> None:
    """No other page opens before; two that differ and a weak one are told in words."""
    person, post = await planted(platform, "Ergashov")
    async with Browser(platform) as admin:
        await admin.enter("admin")
        made = await admin.submit("/accounts/new", user="ergashov", role="head",
                                  post=f"{person}/{post}")
        first = first_password(made.text)

    async with Browser(platform) as owner:
        assert (await owner.enter("ergashov", password=first)).headers["location"] == (
            "/signin/password")
        assert (await owner.get("/me")).headers["location"].startswith("/signin")
        page = "/signin/password"
        assert "not the same" in (await owner.submit(page, new=OWN, again=OWN + "x")).text
        assert "10 to 200" in (await owner.submit(page, new="kurz", again="kurz")).text
        assert (await owner.submit(page, new=OWN, again=OWN)).status_code == 303
        assert (await owner.get("/me")).status_code == 200


async def test_what_is_wrong_in_the_form_is_told_and_nothing_is_made(platform: Platform) -> None:
    """A taken name, no name, no post, a post that is none, a role of systems."""
    async with Browser(platform) as admin:
        await admin.enter("admin")
        for fields, status, said in (
            ({"user": "doctor", "role": "administrator"}, 409, "is taken"),
            ({"user": "x y", "role": "administrator"}, 422, "2 to 64 Latin letters"),
            ({"user": "fresh", "role": "doctor"}, 422, "choose it from the register"),
            ({"user": "fresh", "role": "doctor", "post": "no/such"}, 422, "from the register"),
            ({"user": "fresh", "role": "service"}, 422, "not given here"),
        ):  # fmt: skip  # A table.
            answer = await admin.submit("/accounts/new", **fields)
            assert (answer.status_code, said in answer.text) == (status, True), fields
        assert (await admin.get("/accounts/fresh")).status_code == 404


async def test_an_account_is_closed_and_opened_again_but_not_ones_own(platform: Platform) -> None:
    """Closed nobody signs in; the page says so and opens it again; a new first password is shown
    in place of a forgotten one.
    """
    async with Browser(platform) as admin:
        await admin.enter("admin")
        made = await admin.submit("/accounts/new", user="second-admin", role="administrator",
                                  name="Rustamov Aziz")
        first = first_password(made.text)
        page = "/accounts/second-admin"
        assert (await admin.submit(page, act="close")).status_code == 303
        assert "The account is closed" in (await admin.get(page)).text
        async with Browser(platform) as other:
            assert (await other.enter("second-admin", password=first)).status_code == 401
            await admin.submit(page, act="reopen")
            assert (await other.enter("second-admin", password=first)).status_code == 303
        proof = {"seen": "passport, in my office"}
        assert (await admin.submit(page, act="first")).status_code == 400
        renewed = first_password((await admin.submit(page, act="first", **proof)).text)
        assert renewed != first
        both = await admin.submit(page, act="factor", **proof)
        assert both.status_code == 403
        assert "another administrator" in both.text
        own = await admin.submit("/accounts/admin", act="factor", **proof)
        assert own.status_code == 403
        assert (await admin.submit("/accounts/admin", act="close")).status_code == 403
        assert (await admin.submit("/accounts/doctor", act="first", **proof)).status_code == 403


async def test_the_pages_are_the_administrators_alone(platform: Platform) -> None:
    """A doctor is refused, and nothing is told."""
    async with Browser(platform) as here:
        await here.enter("doctor")
        for path in ("/accounts", "/accounts/new", "/accounts/admin"):
            assert (await here.get(path)).status_code == 403
