"""What settings open or close: figures, descriptions, the gallery; TLS, the database's line."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dmed.apps import tls
from dmed.apps.database import check_address
from dmed.apps.serving import check_listening
from dmed.apps.web import Platform, may_measure
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings

PATHS = ("/metrics", "/openapi.json", "/pages/gallery")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(open_platform: Callable[..., Awaitable[Platform]]) -> Platform:
    """An installation without demo accounts, that describes itself to nobody."""
    return await open_platform(describe=False, metrics_for="192.0.2.9")


def client(platform: Platform, address: str) -> httpx.AsyncClient:
    """Somebody at an address."""
    transport = httpx.ASGITransport(app=platform, client=(address, 4000))  # type: ignore[arg-type]  # Its scope is a mapping.
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_figures_descriptions_and_the_gallery_open_on_purpose_alone(
    platform: Platform
) -> None:
    """Figures go to the named address alone; the description and the gallery are not there."""
    async with client(platform, "198.51.100.1") as stranger, client(platform, "192.0.2.9") as own:
        closed = [(await stranger.get(path)).status_code for path in PATHS]
        opened = [(await own.get(path)).status_code for path in PATHS]

    assert closed == [404, 404, 404]
    assert opened == [200, 404, 404]


@pytest.mark.parametrize(("allowed", "client_", "address", "brought", "expected"), [
    ("127.0.0.1 ::1", "127.0.0.1", "127.0.0.1", False, True),
    ("127.0.0.1 ::1", "198.51.100.1", "198.51.100.1", False, False),
    # A proxy that nobody named brings the whole world by this machine's own address.
    ("127.0.0.1", "127.0.0.1", "127.0.0.1", True, False),
    # One that is named tells who asks.
    ("192.0.2.9", "127.0.0.1", "192.0.2.9", True, True),
    ("127.0.0.1", "127.0.0.1", "198.51.100.1", True, False),
    ("*", "127.0.0.1", "198.51.100.1", True, True), ("", "127.0.0.1", "127.0.0.1", False, False),
])  # fmt: skip  # A table of cases.
def test_whose_figures(allowed: str, client_: str, address: str, *, brought: bool,
                       expected: bool) -> None:
    """By address, and never for what an unknown proxy brings."""
    scope: dict[str, Any] = {"client": (client_, 1), "headers": (
        [(b"x-forwarded-for", address.encode())] if brought else [])}

    assert may_measure(scope, Settings(metrics_for=allowed), address) is expected


def test_tls_speaks_good_ciphers_alone() -> None:
    """TLS 1.2 with forward secrecy and authenticated encryption, or TLS 1.3; nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.harden(context)
    old = [one["name"] for one in context.get_ciphers() if one["protocol"] == "TLSv1.2"]

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert sorted(old) == sorted(tls.CIPHERS.split(":"))
    assert all(one["aead"] for one in context.get_ciphers())
    assert {one["protocol"] for one in context.get_ciphers()} <= {"TLSv1.2", "TLSv1.3"}
    assert context.options & ssl.OP_NO_COMPRESSION


NEAR = ["postgresql://u:w@localhost/d", "postgresql://u:w@127.0.0.1:5433/d",
        "postgresql://u:w@[::1]:5432/d", "postgresql://u@/d?host=/run/postgresql",
        "postgresql://u:p%40x@%2Frun%2Fpostgresql/d", "postgresql:///d"]  # fmt: skip  # A list.
FAR = ["postgresql://u:w@db.example/d", "postgresql://u:w@10.0.0.5:5432/d",
       "postgresql://u:w@db.example/d?sslmode=require", "postgresql://u:w@[2001:db8::1]/d",
       "postgresql://u:w@localhost,db.example/d", "postgresql://u@/d?host=db.example",
       "postgresql://u:w@db.example/d?sslmode=verify-ca",
       "postgresql://u:w@localhost.evil.example/d"]  # fmt: skip  # A list.


@pytest.mark.parametrize("url", NEAR)
def test_a_database_on_this_machine_needs_no_certificate(url: str) -> None:
    """A socket or a loopback address is taken as it is."""
    check_address(url, is_unchecked_allowed=False)


@pytest.mark.parametrize("url", FAR)
def test_a_database_elsewhere_shows_its_certificate(url: str) -> None:
    """Only sslmode=verify-full checks whom the records go to; else the server does not start,
    unless a setting says that the line is guarded otherwise. The word is not repeated.
    """
    with pytest.raises(InvalidError, match="verify-full") as refused:
        check_address(url, is_unchecked_allowed=False)
    assert ":w@" not in str(refused.value)

    check_address(url, is_unchecked_allowed=True)
    mark = "&" if "?" in url else "?"
    if "sslmode" not in url:
        check_address(f"{url}{mark}sslmode=verify-full", is_unchecked_allowed=False)


@pytest.mark.parametrize(("changes", "has_cert", "refused"), [
    ({}, False, False), ({"host": "::1"}, False, False), ({"host": "0.0.0.0"}, False, True),  # noqa: S104  # Asked about.
    ({"host": "192.0.2.1"}, False, True), ({"host": "192.0.2.1"}, True, False),
    ({"host": "192.0.2.1", "trusted_proxies": "192.0.2.2"}, False, False),
    ({"host": "192.0.2.1", "lines_unchecked": True}, False, False),
])  # fmt: skip  # A table of cases.
def test_others_are_served_by_tls(
    changes: dict[str, Any], *, has_cert: bool, refused: bool
) -> None:
    """Without a certificate or a named proxy nothing listens beyond this machine."""
    settings = Settings(**changes)
    if not refused:
        check_listening(settings, has_cert=has_cert)
        return
    with pytest.raises(InvalidError, match="in the open"):
        check_listening(settings, has_cert=has_cert)
