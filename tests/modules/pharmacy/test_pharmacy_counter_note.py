"""The counter's page says on whose word a pack is green."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from dmed.modules.pharmacy import api, pages
from dmed.modules.pharmacy.service import operator
from dmed.pages import view
from dmed.trust.gateway import Gateway


class _SignedIn:
    """Whoever asks is this pharmacist."""

    def __init__(self, app: Any, subject: Any) -> None:
        self.app, self.subject = app, subject

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("state", {})["subject"] = self.subject
        await self.app(scope, receive, send)


@pytest.mark.parametrize(("language", "said"), [
    ("en", "The marking operator was not reached: checked against our own records."),
    ("ru", "Оператор маркировки не ответил: проверено по собственным записям."),
    ("uz", "Markirovka operatori javob bermadi: o‘z yozuvlarimiz bo‘yicha tekshirildi."),
])
async def test_the_note_of_an_outage_stands_on_the_page(
    ward: Any, language: str, said: str
) -> None:
    """With nobody at the operator's address, the scanned pack is green and the note is there."""
    settings = msgspec.structs.replace(
        ward.gateway.settings, marking_operator="http://127.0.0.1:9", marking_per_minute=100_000)
    gateway = Gateway(ward.gateway._db, settings)
    made = await ward.signed()
    await api.claim(gateway, ward.pharmacist, made.number, made.code)
    app = Starlette(
        routes=[Route("/counter/scan", view.screen(pages.scan), methods=["POST"])],
        middleware=[Middleware(_SignedIn, subject=ward.pharmacist)])
    app.state.gateway = gateway
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dmed",
                                 cookies={"dmed_language": language}) as client:
        answer = await client.post("/counter/scan", data={
            "number": made.number, "scan": ward.pack().replace("\x1d", "_x001D_")})
    desk = operator.desk_of(gateway)
    assert desk is not None
    await desk.close()

    assert answer.status_code == 200
    assert said in answer.text.replace("&#39;", "'")
    assert 'role="status"' in answer.text
