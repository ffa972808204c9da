"""The baseline scan over every route of the registry, as nobody and as each role: it is clean."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import pytest_asyncio

from dmed.apps.web import Platform


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "baseline", Path(__file__).with_name("baseline.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["baseline"] = module
    spec.loader.exec_module(module)
    return module


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    open_platform: Callable[..., Awaitable[Platform]]
) -> Platform:
    """A platform at its https address with the demo accounts and no country."""
    made = await open_platform(public_url=_script().HOST)
    await made.guard.identity.save_demo()
    return made


async def test_the_scan_finds_nothing(platform: Platform) -> None:
    """Headers, cookies, markup, errors, methods, redirects, hosts, traversal and tokens: clean."""
    ledger = await _script().scan(platform)

    assert ledger.findings == []
    assert ledger.asked > 300


async def test_no_page_writes_without_its_token(platform: Platform) -> None:
    """Every unsafe route of the registry refuses a signed-in person who sends no token or a wrong
    one, in the header or in the form, before its endpoint runs.
    """
    script = _script()
    routes = [one for each in platform.manifests for one in each.routes if one.roles]
    writes = [(route, path, method) for route, path in script.addresses(routes, {})
              for method in route.methods if method not in {"GET", "HEAD"}]  # fmt: skip  # All.
    transport = httpx.ASGITransport(app=platform)  # type: ignore[arg-type]  # Its scope is a mapping.
    async with httpx.AsyncClient(transport=transport, base_url=script.HOST) as client:
        assert await script._sign_in(client, script.Ledger(), "doctor")
        wrong = []
        for _, path, method in writes:
            for options in ({}, {"headers": {"x-csrf-token": "guess"}},
                            {"data": {"csrf_token": "guess"}}):
                answer = await client.request(method, path, **options)
                if answer.status_code != 403:
                    wrong.append(f"{method} {path} {options} -> {answer.status_code}")

    assert len(writes) > 8
    assert wrong == []


def _answer(headers: dict[str, str], body: str = "", status: int = 200) -> httpx.Response:
    return httpx.Response(status, headers={"content-type": "text/html; charset=utf-8", **headers},
                          text=body, request=httpx.Request("GET", "https://dmed.example/me"))


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [({}, "", "content-security-policy"), ({"server": "x"}, "", "tells what serves"),
     ({"content-security-policy": "default-src 'self' 'unsafe-inline'"}, "", "inline"),
     ({"set-cookie": "dmed_session=1; Path=/"}, "", "without HttpOnly"),
     ({}, "<p onclick=x>", "onclick="), ({}, "<script>1</script>", "inline script"),
     ({}, '<img src="http://evil.example/x">', "foreign content"),
     ({}, '<a href="//evil.example">', "a link to"), ({}, "<style>p{}</style>", "<style>"),
     ({"location": "https://evil.example/"}, "", "leads elsewhere"),
     ({"access-control-allow-origin": "https://evil.example"}, "", "another origin")],
)  # fmt: skip  # A table of cases.
def test_the_judge_sees_what_is_wrong(headers: dict[str, str], body: str, said: str) -> None:
    """Each kind of finding is found where it is planted."""
    script = _script()
    ledger = script.Ledger()
    script.judge(ledger, "nobody", _answer(headers, body))

    assert any(said in line for line in ledger.findings), ledger.findings
