"""The guard before pages: sign-in, one request id, and the page token of forms."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dmed.kit.errors import DmedError
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust.guard import Guard, check_csrf_of
from dmed.trust.identity import Identity
from dmed.trust.keys import load_keys
from dmed.trust.request import request_id


@pytest.fixture
def app(database: Database, settings: Settings) -> Starlette:
    """A page behind the guard, as apps/web puts it."""
    guard = Guard(database.hot, settings, load_keys(settings.data))

    async def page(request: Request) -> Response:
        try:
            subject = await guard.subject(request.scope)
            await check_csrf_of(request)
        except DmedError as refusal:
            return Response(status_code=refusal.status)
        form = await request.form() if request.method == "POST" else {}
        return JSONResponse({
            "user": subject.user if subject else "",
            "said": form.get("said", ""),
            "same": request_id() == request_id(),
        })  # fmt: skip

    return Starlette(routes=[Route("/page", page, methods=["GET", "POST"])])


async def test_a_form_carries_the_page_token(app: Starlette, identity: Identity) -> None:
    """By field or header the form passes, without or with a wrong one it is 403."""
    signed = await identity.sign_in("doctor", "doctor-demo", "10.2.0.1")
    transport = httpx.ASGITransport(app=app)
    cookie = {"cookie": f"dmed_session={signed.cookie}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=cookie
    ) as client:
        shown = await client.get("/page")
        assert shown.json() == {"user": "doctor", "said": "", "same": True}
        assert (await client.post("/page", data={"said": "x"})).status_code == 403
        wrong = {"said": "x", "csrf_token": "guess"}
        assert (await client.post("/page", data=wrong)).status_code == 403
        right = {"said": "x", "csrf_token": signed.csrf}
        assert (await client.post("/page", data=right)).json()["said"] == "x"
        header = {"X-CSRF-Token": signed.csrf}
        by_header = await client.post("/page", data={"said": "y"}, headers=header)
        assert by_header.json()["said"] == "y"
        foreign = {**header, "Sec-Fetch-Site": "cross-site"}
        assert (await client.post("/page", data=right, headers=foreign)).status_code == 403


async def test_without_a_session_there_is_nobody(app: Starlette) -> None:
    """No cookie, a foreign cookie and an ended one give no subject; a false bearer is 401."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for cookie in ("", "other=1", "dmed_session=", "dmed_session=made-up", 'dmed_session="x'):
            answer = await client.get("/page", headers={"cookie": cookie})
            assert answer.json()["user"] == ""
        refused = await client.get("/page", headers={"authorization": "Bearer x"})
        assert refused.status_code == 401


def test_only_a_trusted_proxy_tells_the_address(settings: Settings, database: Database) -> None:
    """X-Forwarded-For counts from the proxy alone, and only its own last entry."""
    trusting = msgspec.structs.replace(settings, trusted_proxies="10.0.0.1, 10.0.0.2")
    guard = Guard(database.hot, trusting, load_keys(settings.data))

    def asked(client: str, *noted: bytes) -> str:
        headers = [(b"x-forwarded-for", value) for value in noted]
        return guard.address({"client": (client, 1), "headers": headers})

    assert asked("10.0.0.2", b"1.2.3.4, 10.3.3.3") == "10.3.3.3"
    assert asked("10.0.0.9", b"1.2.3.4") == "10.0.0.9"
    assert asked("10.0.0.1") == "10.0.0.1"
    assert asked("10.0.0.1", b"<script>") == "10.0.0.1"
    assert guard.address({"headers": []}) == ""
