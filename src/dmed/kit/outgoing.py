"""The one way out: every request that the platform makes of another service goes through here.

Three walls. Only hosts that the operator named in a setting are asked (`limit_to`, set when `dmed
serve` starts; commands and tests are not limited). Redirects are not followed, so a service cannot
send us elsewhere. And no link-local address, as that of a cloud's own metadata, is asked, whatever
its name says. Nothing that a user or a record says becomes an address; tests/tidy/test_outgoing.py
holds that nobody else in the source opens a connection. OWASP ASVS 5: 1.3.6, 13.2.4, 13.2.5.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import socket
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit

from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings, variable

FIELDS = (
    "audit_lodge", "eimzo_url", "fund", "licence_register", "marking_operator", "medicine_feed",
    "outgoing", "scanner",
)  # fmt: skip  # A list.
"""The settings whose values are addresses that the server asks; docs/security/outgoing.md."""
_PORTS = {"http": 80, "https": 443, "tcp": 3310}
"""What is spoken, and its usual port; tcp: a protocol of its own (clamd)."""
_WEB = frozenset({"http", "https"})
_OPEN = frozenset({"http", "tcp"})
"""What shows everybody on the line what is said, and who answers is not checked."""
_allowed: frozenset[tuple[str, int]] | None = None


class OutgoingError(OSError):
    """A request that must not leave; where it was made it is as a service that is away."""


def places_of(settings: Settings) -> frozenset[tuple[str, int]]:
    """Host and port of every address that the settings name. Pure."""
    return frozenset((host.lower(), parts.port or _PORTS[parts.scheme])
                     for _, parts, host in _named(settings))


def _named(settings: Settings) -> Iterator[tuple[str, SplitResult, str]]:
    """Setting, address and host of each address of a network that the settings name."""
    for field in FIELDS:
        for text in str(getattr(settings, field)).replace(",", " ").split():
            parts = urlsplit(text)
            if parts.scheme in _PORTS and parts.hostname:
                yield field, parts, parts.hostname


def is_near(host: str) -> bool:
    """Whether a host is this machine. Pure."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def limit_to(settings: Settings | None) -> None:
    """From here on this process asks only what these settings name; None: whatever it wants.

    InvalidError where one names a service on another machine by `http:` or `tcp:`, unless
    `lines_unchecked` says that the line is guarded otherwise.
    """
    global _allowed  # noqa: PLW0603  # One wall a process.
    if settings is not None and not settings.lines_unchecked:
        for field, parts, host in _named(settings):
            if parts.scheme in _OPEN and not is_near(host):
                raise InvalidError(
                    f"{variable(field)} names a service on another machine by {parts.scheme}:, so "
                    "nobody checks who answers: use https: or a service of this machine, or set "
                    "DMED_LINES_UNCHECKED=true where the line is guarded otherwise")
    _allowed = None if settings is None else places_of(settings)


def check(host: str, port: int) -> None:
    """OutgoingError for a host that is not named, or that is no place to ask (link-local, as the
    metadata of clouds, multicast, unspecified) whatever its name says.
    """
    if _allowed is not None and (host.lower(), port) not in _allowed:
        raise OutgoingError(f"{host}:{port} is in no setting: nothing is asked there")
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return  # It cannot be reached either: the connection says so.
    for *_, address in known:
        if is_no_place(str(address[0])):
            raise OutgoingError(f"{host} is {address[0]}, which is no service's address")


def is_no_place(address: str) -> bool:
    """Whether no service of ours can be at an IP address. Pure."""
    found: ipaddress.IPv4Address | ipaddress.IPv6Address
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_link_local or found.is_multicast or found.is_unspecified


class _Http(http.client.HTTPConnection):
    def connect(self) -> None:
        check(self.host, self.port)
        super().connect()


class _Https(http.client.HTTPSConnection):
    def connect(self) -> None:
        check(self.host, self.port)
        super().connect()


def connection(
    scheme: str, host: str, port: int | None, timeout_s: float
) -> http.client.HTTPConnection:
    """A connection to a service, opened by its first request; it follows nothing by itself. The
    certificate of https is checked against name and authorities.
    """
    kind = _Https if scheme == "https" else _Http
    return kind(host, port, timeout=timeout_s)


async def stream(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to `tcp://host:port` or to `unix:/path` of this machine; OSError where it cannot
    be had.
    """
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return await asyncio.open_unix_connection(parts.path)
    if parts.scheme != "tcp" or not parts.hostname:
        raise OutgoingError("only tcp://host:port and unix:/path are asked")
    port = parts.port or _PORTS[parts.scheme]
    await asyncio.to_thread(check, parts.hostname, port)
    return await asyncio.open_connection(parts.hostname, port)


class _ByHttp(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Http, req)


class _ByHttps(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Https, req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Never: what answers 3xx is an HTTPError to who asked."""


def opened(
    url: str, *, timeout_s: float, body: bytes | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Any:
    """The answer of an http or https address, to be read in a `with`; urllib's errors (OSError).

    Neither proxies of the environment nor redirects, cookies, files or ftp: only this address.
    """
    if urlsplit(url).scheme not in _WEB:
        raise OutgoingError("only http and https are asked")
    asked = urllib.request.Request(url, body, dict(headers))  # noqa: S310  # Checked above.
    director = urllib.request.OpenerDirector()
    for handler in (_ByHttp(), _ByHttps(), _NoRedirect(), urllib.request.HTTPErrorProcessor(),
                    urllib.request.HTTPDefaultErrorHandler()):  # fmt: skip  # A list.
        director.add_handler(handler)
    return director.open(asked, timeout=timeout_s)
