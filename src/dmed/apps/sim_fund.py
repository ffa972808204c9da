"""`dmed sim fund`: the State Health Insurance Fund's service, on its good and bad days.

It takes FHIR Claims, decides each key once, answers again what it decided, and lists a day. What
goes wrong is ordered by `POST /sim/mode` with a word of MODES.
"""

from __future__ import annotations

import threading
from datetime import date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from dmed.kit import clock
from dmed.modules.insurance.api import REFUSALS, Answer, Decided, Outcome, response

MODES = ("", "down", "slow", "lost", "nonsense", "other", "refuse", "pending", "forget", "less",
         "extra", "turned")
"""Nothing; 503; no answer in time; takes the claim and cuts the line; unreadable; about another
claim; refuses; takes it and decides later; a list without the last line; a list with another
amount; with a claim nobody made; with the other decision."""
_BODY_MAX_BYTES = 1_000_000
_SUM = Decimal("48000.00")


class Fund:
    """What was claimed and decided."""

    def __init__(self, slow_s: float = 8.0) -> None:
        self.mode = ""
        self.slow_s = slow_s
        self.decisions: dict[str, tuple[Answer, datetime]] = {}
        self.tries: list[str] = []
        """The key of every claim that came, in order."""
        self.never = threading.Event()

    def submit(self, key: str, claim: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body for a claim; a key is decided once."""
        self.tries.append(key)
        known = self.decisions.get(key)
        if known is not None and known[0].outcome is not Outcome.PENDING:
            return 409, self._body(known[0], claim)
        answer = self._decide(key, claim)
        self.decisions[key] = (answer, clock.now())
        return 201, self._body(answer, claim)

    def _decide(self, key: str, claim: dict[str, Any]) -> Answer:
        number = f"F-{len(self.decisions) + 1:06d}"
        if self.mode == "pending":
            return Answer(key=key, outcome=Outcome.PENDING, number=number)
        if self.mode == "refuse":
            reason = REFUSALS[len(self.decisions) % len(REFUSALS)]
            return Answer(key=key, outcome=Outcome.REFUSED, number=number, reason=reason)
        amount = Decimal(str((claim.get("total") or {}).get("value", _SUM)))
        return Answer(key=key, outcome=Outcome.PAID, number=number, amount=amount)

    def _body(self, answer: Answer, claim: dict[str, Any]) -> bytes:
        if self.mode == "nonsense":
            return b'{"resourceType": "ClaimResponse"'
        if self.mode == "other":
            answer = msgspec.structs.replace(answer, key="0000-1")
        return msgspec.json.Encoder(decimal_format="number").encode(
            response(claim, answer, clock.now()))

    def listed(self, day: date) -> list[Decided]:
        """What was decided on a day of Tashkent."""
        lines = [Decided(key=key, outcome=one.outcome, amount=one.amount, reason=one.reason)
                 for key, (one, at) in self.decisions.items()
                 if at.astimezone(clock.TASHKENT).date() == day]
        if self.mode == "forget":
            return lines[:-1]
        if self.mode == "extra":
            return [*lines, Decided(key="9999-1", outcome=Outcome.PAID, amount=_SUM)]
        if self.mode == "less" and lines:
            return [msgspec.structs.replace(lines[0], amount=Decimal(1)), *lines[1:]]
        if self.mode == "turned" and lines:
            return [msgspec.structs.replace(
                lines[0], outcome=Outcome.REFUSED, amount=None, reason="other"), *lines[1:]]
        return lines


class Server(ThreadingHTTPServer):
    """The service over HTTP, each request in its thread."""

    daemon_threads = True

    def __init__(self, fund: Fund, port: int = 0) -> None:
        self.fund = fund
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Answers in a thread of its own until `stop`."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Ends it."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:  # The name that the standard library asks for.
        """The list of a day."""
        fund, parts = self.server.fund, urlsplit(self.path)
        if fund.mode == "down" or parts.path != "/decided":
            self._answer(503 if fund.mode == "down" else 404, b"{}")
            return
        try:
            day = date.fromisoformat(parse_qs(parts.query).get("day", [""])[0])
        except ValueError:
            self._answer(400, b"{}")
            return
        self._answer(200, msgspec.json.encode(fund.listed(day)))

    def do_POST(self) -> None:  # Same.
        """A claim, or what goes wrong from now on."""
        fund = self.server.fund
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), _BODY_MAX_BYTES))
        if self.path == "/sim/mode":
            fund.mode = body.decode() if body.decode() in MODES else ""
            self._answer(200, b"{}")
            return
        if fund.mode == "down" or self.path != "/Claim":
            self._answer(503 if fund.mode == "down" else 404, b"{}")
            return
        if fund.mode == "slow":
            fund.never.wait(fund.slow_s)
        try:
            status, said = fund.submit(
                self.headers.get("Idempotency-Key", ""), msgspec.json.decode(body))
        except (msgspec.DecodeError, KeyError):
            status, said = 400, b"{}"
        if fund.mode == "lost":
            self.close_connection = True
            return
        self._answer(status, said)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The library's name.
        """Nothing: the caller sees the answer."""


def run(port: int) -> None:
    """Serves until it is interrupted; tells how a platform is told of it."""
    server = Server(Fund(), port)
    print(f"DMED_FUND={server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
