"""The one way out: named hosts alone, no redirects, no addresses of links or of clouds."""

from __future__ import annotations

import threading
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dmed.kit import outgoing
from dmed.kit.errors import InvalidError
from dmed.kit.outgoing import OutgoingError
from dmed.kit.settings import Settings


class Service(BaseHTTPRequestHandler):
    """Answers "well", and sends whoever asks /away to /secret."""

    asked: list[str]

    def do_GET(self) -> None:
        """One request."""
        self.asked.append(self.path)
        self.send_response(302 if self.path == "/away" else 200)
        if self.path == "/away":
            self.send_header("Location", "/secret")
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"well")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    """A service on this machine; the wall is taken down afterwards."""
    Service.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    outgoing.limit_to(None)
    server.shutdown()
    server.server_close()
    thread.join()


def test_only_named_services_are_asked(service: ThreadingHTTPServer) -> None:
    """A host and port of a setting is asked, another port is not, by either way out."""
    url = f"http://127.0.0.1:{service.server_port}"
    outgoing.limit_to(Settings(fund=f"{url}/fhir"))
    with outgoing.opened(f"{url}/one", timeout_s=5) as answer:
        assert answer.read() == b"well"

    outgoing.limit_to(Settings(fund="https://fund.example"))
    with pytest.raises(OSError, match="in no setting"):
        outgoing.opened(f"{url}/two", timeout_s=5)
    connection = outgoing.connection("http", "127.0.0.1", service.server_port, 5)
    with pytest.raises(OutgoingError, match="in no setting"):
        connection.request("GET", "/three")

    assert Service.asked == ["/one"]


def test_redirects_are_not_followed(service: ThreadingHTTPServer) -> None:
    """A service cannot send us elsewhere, not even to itself."""
    with pytest.raises(urllib.error.HTTPError) as told:
        outgoing.opened(f"http://127.0.0.1:{service.server_port}/away", timeout_s=5)
    told.value.close()

    assert told.value.code == 302
    assert Service.asked == ["/away"]


@pytest.mark.parametrize(("address", "expected"), [
    ("169.254.169.254", True), ("fe80::1%eth0", True), ("::ffff:169.254.169.254", True),
    ("0.0.0.0", True),  # noqa: S104  # Asked about, not listened on.
    ("224.0.0.1", True), ("10.0.0.5", False), ("127.0.0.1", False),
    ("2001:db8::1", False),
])  # fmt: skip  # A table of cases.
def test_no_places_of_services(address: str, *, expected: bool) -> None:
    """Link-local (metadata of clouds), multicast and unspecified, also as mapped IPv6."""
    assert outgoing.is_no_place(address) is expected


def test_such_an_address_is_refused_although_it_is_named() -> None:
    """A setting does not open it either."""
    with pytest.raises(OSError, match="no service"):
        outgoing.opened("http://169.254.169.254/latest", timeout_s=1)
    with pytest.raises(OutgoingError, match="only http and https"):
        outgoing.opened("file:///etc/passwd", timeout_s=1)


def test_a_service_elsewhere_is_asked_by_tls() -> None:
    """http: to another machine stops the start, unless a setting says that the line is guarded."""
    with pytest.raises(InvalidError, match="DMED_FUND "):
        outgoing.limit_to(Settings(fund="http://fund.example"))

    outgoing.limit_to(Settings(fund="http://fund.example", lines_unchecked=True))
    outgoing.limit_to(Settings(fund="http://127.0.0.1:9000, http://[::1]:9000"))
    outgoing.limit_to(None)


def test_places_of_settings() -> None:
    """Host and port of each address; folders are none."""
    found = outgoing.places_of(Settings(
        audit_lodge="/mnt/roots, https://roots.example:8443/x", fund="https://Fund.example",
        eimzo_url="http://127.0.0.1:8080", outgoing="https://a.example https://b.example"))

    assert found == {
        ("roots.example", 8443), ("fund.example", 443), ("127.0.0.1", 8080), ("a.example", 443),
        ("b.example", 443)}
