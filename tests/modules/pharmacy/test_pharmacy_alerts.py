"""Packs that were put aside: listed by class, seen by whom they concern, ended once with words."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from dmed.apps.web import Platform
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.rules import alerts as rules
from dmed.modules.pharmacy.rules import packs
from dmed.modules.pharmacy.service import alerts
from dmed.modules.pharmacy.tables import marking as table
from dmed.trust.identity import DEMO_ACCOUNTS, DEMO_PASSWORDS
from dmed.trust.model import Role, Subject

AUTHORITY = Subject(user="inspector", role=Role.INSPECTOR)
LOCALES = Path(__file__).parents[3] / "src/dmed/modules/pharmacy/data/locale"
GTIN = "09521005000013"


def keeper() -> Subject:
    """A pharmacist of a pharmacy that nobody else's test has."""
    return Subject(user="keeper", role=Role.PHARMACIST, name="Namuna",
                   organisation=f"alert-{secrets.token_hex(4)}")  # fmt: skip  # One subject.


async def raised(gateway: Any, who: Subject, reason: str, fault: str, serial: str = "") -> int:
    """An alert of a pharmacy about one pack; its number."""
    serial = serial or f"S{secrets.token_hex(6).upper()}"
    async with gateway.unit(who) as unit:
        await table.raise_alert(unit, who.organisation, "1726000000013", GTIN, serial, reason,
                                fault)  # fmt: skip  # Who, what.
        rows = await table.alerts(unit, who.organisation, 1)
    return int(rows[0]["id"])


def test_every_reason_that_puts_a_pack_aside_has_its_words() -> None:
    """Each quarantine of the rules is in a group, and both have a text in three languages."""
    source = Path(packs.__file__).read_text(encoding="utf-8")
    named = set(re.findall(
        r'refuse\(\s+f?"([a-z_]+)(?:\{where\})?",(?:(?!refuse\().)*?quarantine=True', source,
        re.DOTALL))
    named = {each for each in named if not each.endswith("_")} | {
        "dispensed_here", "dispensed_elsewhere", "withdrawn", "recalled", "stolen", "expired",
        "caps_lock"}  # fmt: skip  # Those whose name is put together.

    assert named <= set(rules.GROUPS), named - set(rules.GROUPS)
    for path in LOCALES.glob("*.json"):
        texts = json.loads(path.read_text(encoding="utf-8"))
        wanted = {*(f"reason.{each}" for each in rules.GROUPS),
                  *(f"do.{each}" for each in rules.GROUPS.values()), "do.unknown",
                  *(f"outcome.{each.value}" for each in rules.Outcome)}
        assert {f"pharmacy.alert.{each}" for each in wanted} <= set(texts), path.name


@pytest.mark.parametrize(("reason", "outcome", "is_authority", "is_allowed"), [
    ("lot_mismatch", "rescanned", False, True), ("lot_mismatch", "corrected", False, True),
    ("dispensed_elsewhere", "rescanned", False, False), ("stolen", "corrected", False, False),
    ("dispensed_elsewhere", "surrendered", False, True), ("stolen", "returned", False, False),
    ("expired", "returned", False, True), ("stolen", "returned", True, True),
    ("dispensed_elsewhere", "rescanned", True, True), ("stolen", "fine", True, False),
])  # fmt: skip  # A table.
def test_who_may_end_an_alert_how(
    reason: str, outcome: str, is_authority: bool, is_allowed: bool
) -> None:
    """A pack met in two places is cleared by the authority alone; everything else by the pharmacy;
    without words by nobody.
    """
    wrong = rules.faulty(outcome, "Looked at it") or rules.refusal(
        reason, rules.Outcome(outcome), is_authority=is_authority)
    assert (wrong == "") == is_allowed
    assert rules.faulty(outcome, "")


async def test_a_pharmacy_sees_its_own_and_the_authority_all(ward: Any) -> None:
    """Listed by class with counts; the same pack at another pharmacy is a number for the pharmacy
    and a name for the authority; another pharmacy's alert is not there.
    """
    here, there = keeper(), keeper()
    serial = f"S{secrets.token_hex(6).upper()}"
    mine = await raised(ward.gateway, here, "dispensed_elsewhere", "pack", serial)
    await raised(ward.gateway, here, "caps_lock", "scanner")
    other = await raised(ward.gateway, there, "lot_mismatch", "pack", serial)

    found = await alerts.listed(ward.gateway, here)
    assert [one.reason for one in found.alerts] == ["caps_lock", "dispensed_elsewhere"]
    assert (found.counts.open, found.counts.false_percent) == ({"scanner": 1, "pack": 1}, None)
    only = await alerts.listed(ward.gateway, here, fault="pack")
    assert [one.id for one in only.alerts] == [mine]
    one = await alerts.shown(ward.gateway, here, mine)
    assert (one.others_count, one.others, one.state, one.shelf) == (1, (), None, None)
    with pytest.raises(NotFoundError):
        await alerts.shown(ward.gateway, here, other)

    everywhere = await alerts.listed(ward.gateway, AUTHORITY)
    assert {mine, other} <= {one.id for one in everywhere.alerts}
    seen = await alerts.shown(ward.gateway, AUTHORITY, mine)
    assert [(name, each.id) for name, each in seen.others] == [(there.organisation, other)]
    for stranger in (ward.doctor, ward.registrar):
        with pytest.raises(ForbiddenError):
            await alerts.listed(ward.gateway, stranger)


async def test_an_alert_ends_once_with_an_outcome_and_words(ward: Any) -> None:
    """By its pharmacy or the authority; ended ones are listed by whose fault it was, and the share
    of false ones counts them.
    """
    who, other = keeper(), keeper()
    slip = await raised(ward.gateway, who, "lot_mismatch", "pack")
    reuse = await raised(ward.gateway, who, "dispensed_elsewhere", "pack")
    with pytest.raises(NotFoundError):
        await alerts.close(ward.gateway, other, slip, "rescanned", "Typed wrongly")
    with pytest.raises(InvalidError, match="what was found"):
        await alerts.close(ward.gateway, who, slip, "rescanned", " ")
    with pytest.raises(InvalidError, match="no outcome"):
        await alerts.close(ward.gateway, who, slip, "fake", "Typed wrongly")
    await alerts.close(ward.gateway, who, slip, "rescanned", "Typed  wrongly")
    with pytest.raises(ConflictError):
        await alerts.close(ward.gateway, who, slip, "rescanned", "Typed wrongly")
    with pytest.raises(ForbiddenError, match="authority alone"):
        await alerts.close(ward.gateway, who, reuse, "rescanned", "It looks good")
    await alerts.close(ward.gateway, AUTHORITY, reuse, "surrendered", "Sent to the laboratory")

    found = await alerts.listed(ward.gateway, who, closed=True)
    assert {(one.id, one.settled_as, one.outcome, one.words) for one in found.alerts} == {
        (slip, "scanner", "rescanned", "Typed wrongly"),
        (reuse, "pack", "surrendered", "Sent to the laboratory")}
    assert (found.counts.closed, found.counts.false_percent) == ({"scanner": 1, "pack": 1}, 50)
    assert (await alerts.listed(ward.gateway, who)).alerts == ()
    assert (await alerts.shown(ward.gateway, who, slip)).outcomes == ()


async def test_a_pack_that_was_looked_into_may_go_out_again(ward: Any) -> None:
    """A batch that differed twice keeps the pack aside at the counter until its alert ends as the
    scanner's; what the counter saw of the pack stands on the alert.
    """
    made = await ward.signed()
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    raw = ward.pack()
    for _ in range(2):
        await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw, lot="XX")
    mine = (await alerts.listed(ward.gateway, ward.pharmacist)).alerts[0]
    one = await alerts.shown(ward.gateway, ward.pharmacist, mine.id)
    assert one.state is not None
    assert (one.state.value, one.alert.reason) == ("in-circulation", "lot_mismatch")
    assert one.product is not None
    assert not (await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw)).ok
    await alerts.close(ward.gateway, ward.pharmacist, mine.id, "rescanned", "Typed wrongly")

    assert (await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw)).ok


# Screens


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(open_platform: Callable[..., Awaitable[Platform]]) -> AsyncIterator[Platform]:
    """One worker whose demo pharmacist has a post."""
    made = await open_platform()
    for account in DEMO_ACCOUNTS:
        place = "alerts-here" if account.role is Role.PHARMACIST else ""
        await made.guard.identity.save(
            msgspec.structs.replace(account, organisation=place), DEMO_PASSWORDS[account.user])
    yield made


@contextlib.asynccontextmanager
async def _browser(
    platform: Platform, user: str, language: str = "en"
) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=platform),  # type: ignore[arg-type]  # A mapping.
        base_url="http://test", cookies={"dmed_language": language},
    ) as page:  # fmt: skip  # One browser.
        answer = await page.post("/signin", data={"user": user, "password": DEMO_PASSWORDS[user]})
        assert answer.status_code == 303, answer.text
        yield page


async def test_the_pages_list_say_what_to_do_and_end(platform: Platform) -> None:
    """The pharmacist sees what to do and is refused in place where only the authority clears; the
    inspector ends it; doctor and citizen are refused; no language lacks a text.
    """
    who = msgspec.structs.replace(keeper(), organisation="alerts-here")
    number = await raised(platform.gateway, who, "dispensed_elsewhere", "pack", "S00000000ALERT")
    async with _browser(platform, "pharmacist") as page:
        listed = await page.get("/stock/alerts")
        assert listed.status_code == 200
        assert f'data-alert="{number}"' in listed.text
        shown = (await page.get(f"/stock/alerts/{number}")).text
        assert "Keep it apart" in shown
        assert "rescanned" not in shown
        token = re.findall(r'name="csrf_token" value="([^"]+)"', shown)[0]
        form = {"csrf_token": token, "outcome": "rescanned", "words": "Looks <b>good</b>"}
        refused = await page.post(f"/stock/alerts/{number}", data=form)
        assert "cleared by the authority alone" in refused.text
        assert "<b>good</b>" not in refused.text
        assert (await page.get(f"/stock/alerts/{number + 99}")).status_code == 404
    async with _browser(platform, "inspector", "ru") as page:
        shown = (await page.get(f"/stock/alerts/{number}")).text
        assert "Храните отдельно" in shown
        assert "pharmacy.alert" not in shown
        token = re.findall(r'name="csrf_token" value="([^"]+)"', shown)[0]
        answer = await page.post(f"/stock/alerts/{number}", data={
            "csrf_token": token, "outcome": "surrendered", "words": "Sent to the laboratory"})
        assert answer.status_code == 303
        ended = (await page.get("/stock/alerts?closed=1&class=pack")).text
        assert f'data-alert="{number}"' in ended
        assert "Передана" in ended
    for user in ("doctor", "citizen"):
        async with _browser(platform, user) as page:
            assert (await page.get("/stock/alerts")).status_code == 403
