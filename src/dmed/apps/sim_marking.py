"""`dmed sim marking`: the marking operator (Asl Belgisi) over HTTP, on its good and bad days.

It knows the invented packs of the demonstration prefix and whatever it is told of, keeps the limit
of 100 requests a minute with 429, and fails when told so: `POST /sim/mode` with a word of MODES.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dmed.modules.pharmacy.api import invented

MODES = ("", "down", "error", "torn", "cut", "slow", "nonsense", "other", "missing", "strange",
         "double", "forbidden", "flat", "no-key")
"""What goes wrong; "": nothing. Cut connections, 503, half a JSON, half an answer, no answer, JSON
of another shape, other codes, knows nothing, a status nobody knows, contradicts itself, tells this
key nothing, a bare list (no fault: the other shape that occurs), and 401."""
PER_MINUTE = 100
_CODES_MAX = 30_000
_BODY_MAX_BYTES = 4 * 1024 * 1024
_SLOW_SECONDS = 8.0
_WORDS = {"in-circulation": "IN_CIRCULATION", "withdrawn": "WITHDRAWN", "expired": "IN_CIRCULATION",
          "recalled": "RETIRED", "stolen": "RETIRED"}


class Operator:
    """What the operator knows, how it fails just now, and who asked it what."""

    def __init__(self, key: str = "", per_minute: int = PER_MINUTE) -> None:
        self.mode = ""
        self.slow_seconds = _SLOW_SECONDS
        self.asked: list[list[str]] = []
        """The codes of each request that was let in."""
        self.refused = 0
        """Requests that ran into the limit."""
        self.statuses: dict[str, str] = {}
        """Code -> the operator's word, where it is not that of an invented pack; "": unknown."""
        self.boxes: dict[str, list[str]] = {}
        """SSCC ("00" and 18 digits) -> the codes in it."""
        self._key = key
        self._per_minute = per_minute
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def served(self, path: str, key: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of a POST."""
        with self._lock:
            wait = self._limited()
            if wait:
                self.refused += 1
                return 429, b'{"code": "too-many-requests"}', {"Retry-After": str(wait)}
            if self.mode == "error":
                return 503, b"unavailable", {}
            if self.mode == "no-key" or (self._key and key != f"Bearer {self._key}"):
                return 401, b'{"code": "access-denied"}', {}
            told = json.loads(body)
            codes = [str(each) for each in told["codes"]]
            if not path.startswith("/public/api/cod/") or len(codes) > _CODES_MAX:
                return 400, b"{}", {}
            self.asked.append(codes)
            answer: Any = self._told(codes, is_owned=path.endswith("/owner-check"))
        text = json.dumps(answer)
        return 200, (text[: len(text) // 2] if self.mode == "torn" else text).encode(), {}

    def _limited(self) -> int:
        """The seconds until a request is let in again, 0 where this one is."""
        now = time.monotonic()
        while self._times and now - self._times[0] >= 60:
            self._times.popleft()
        if len(self._times) >= self._per_minute:
            return int(60 - (now - self._times[0])) + 1
        self._times.append(now)
        return 0

    def _told(self, codes: list[str], *, is_owned: bool) -> Any:
        if self.mode == "nonsense":
            return {"result": "ok", "codes": 7}
        if self.mode == "other":
            return {"results": [self._row("01095210000000" + "0021ZZZZZZZZZZZZZ", "RETIRED")]}
        if self.mode == "missing":
            return {"results": [], "missingCodes": codes}
        if self.mode == "forbidden":
            return {"results": [], "forbiddenCodes": codes}
        known = [code for code in codes if self._word(code)]
        rows = [self._row(code, "VERKAUFT" if self.mode == "strange" else self._word(code))
                for code in known]
        if self.mode == "double":
            rows += [self._row(code, "RETIRED") for code in known]
        if self.mode == "flat":
            return rows
        if is_owned:
            for row in rows:
                row["children"] = self.boxes.get(row["code"], [])
        return {"results": rows, "forbiddenCodes": [],
                "missingCodes": [code for code in codes if code not in known]}

    def _word(self, code: str) -> str:
        if code in self.statuses:
            return self.statuses[code]
        if code in self.boxes:
            return "AGGREGATED"
        seen = invented(code[2:16], code[18:])
        return _WORDS[seen.state.value] if seen else ""

    def _row(self, code: str, word: str) -> dict[str, Any]:
        seen = invented(code[2:16], code[18:]) if code.startswith("01") else None
        expiry = seen.expiry.isoformat() if seen and seen.expiry else ""
        lot = seen.lot if seen else ""
        if self.mode == "flat":
            return {"code": code, "gtin": code[2:16], "status": word, "productSeries": lot,
                    "expirationDate": f"{expiry}T00:00:00Z" if expiry else None,
                    "packageType": "UNIT",
                    "maxRetailPrice": f"{seen.price_max if seen and seen.price_max else 125000}"}
        return {"code": code, "codeData": {"code": code, "status": word},
                "packageData": {"packageType": "UNIT" if code.startswith("01") else "BOX_LV_1"},
                "productData": {"gtin": code[2:16] if code.startswith("01") else "",
                                "productSeries": lot, "expirationDate": expiry or None,
                                **({"maxRetailPrice": f"{seen.price_max}"}
                                   if seen and seen.price_max else {})},
                "turnoverData": {"ownerInfo": {"ownerTin": "309900001"}}}


class Server(ThreadingHTTPServer):
    """The operator over HTTP, each request in its thread."""

    daemon_threads = True

    def __init__(self, operator: Operator, port: int = 0) -> None:
        self.operator = operator
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

    def do_POST(self) -> None:  # The name that the standard library asks for.
        """An answer about codes, or what goes wrong from now on."""
        operator = self.server.operator
        length = min(int(self.headers.get("Content-Length", "0")), _BODY_MAX_BYTES)
        body = self.rfile.read(length)
        if self.path == "/sim/mode":
            word = body.decode()
            operator.mode = word if word in MODES else operator.mode
            self._answer(200 if word in MODES else 400, json.dumps(MODES).encode(), {})
            return
        if operator.mode == "down":
            self.close_connection = True
            return
        if operator.mode == "slow":
            time.sleep(operator.slow_seconds)
        try:
            self._answer(*operator.served(self.path, self.headers.get("Authorization", ""), body))
        except (ValueError, KeyError, TypeError):
            self._answer(400, b"{}", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.server.operator.mode == "cut" else body)
        except OSError:
            # Whoever asked has gone: a slow answer comes too late.
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The library's name.
        """Nothing: the caller sees the answer."""


def run(port: int) -> None:
    """Serves until it is interrupted; tells how a platform is told of it."""
    server = Server(Operator(), port)
    print(f"DMED_MARKING_OPERATOR={server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
