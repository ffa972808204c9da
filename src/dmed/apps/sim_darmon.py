"""`dmed sim darmon`: the feed of a national register of medicines, on its good and bad days.

It serves the starting catalogue (or many more packs made of it) in the shape that the connector
reads, moves on by days of changes, and delivers late, torn, shrunken, duplicated or re-encoded
when told so: `POST /sim/mode` with a word of MODES, `POST /sim/day` for the next day of changes.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dmed.modules.medicines.api import FEED_FIELDS, Product, all_products, sample_products

MODES = ("", "down", "torn", "cut", "shrunken", "windows-1251", "mojibake", "ragged", "old",
         "nonsense", "huge", "doubled", "bad-rows", "reused")
"""What a delivery can have wrong; "": nothing."""
PAGE_ROWS = 500
_HUGE_BYTES = 17 * 1024 * 1024
_START = datetime(2026, 1, 1, 3, tzinfo=UTC)
_SHRUNKEN = Decimal("0.88")
"""A crawl that broke once left one register 1,619 packages thinner."""

Row = dict[str, str]


def row_of(product: Product) -> Row:
    """A product as a row of the feed."""
    each = product.preparation
    return {
        "key": product.key, "product": product.key, "trade": product.trade,
        "maker": product.maker, "inn": "; ".join(part.replace("-", " ") if "+" in each.inn.key
                                                 else each.inn.en
                                                 for part in each.inn.components),
        "atc": each.atc, "form": each.form.ru, "strength": each.strength_text,
        "pack": f"{product.pack_units:f}", "pack_text": "", "gtin": product.gtin,
        "registration": product.registration, "routes": each.form.route,
        "rule": "R" if each.prescription_only else "O", "stage": str(product.stage),
        "essential": "0", "price": "", "currency": "UZS",
        "shelf_months": str(product.shelf_months), "from": "2024-01-01", "until": "2124-12-31",
        "ikpu": product.ikpu, "uzpharm": "", "box_group": "", "status": "active",
    }  # fmt: skip  # One row.


class Feed:
    """The register as it is on a simulated day, what changed when, and what goes wrong now."""

    def __init__(self, packs: int = 0, seed: int = 1) -> None:
        made: Iterable[Product] = sample_products(packs) if packs else all_products()
        self.rows = {product.key: row_of(product) for product in made}
        self.touched = dict.fromkeys(self.rows, _START)
        self.as_of = _START
        self.mode = ""
        self.page_rows = PAGE_ROWS
        self.asked: list[str] = []
        self._chance = random.Random(seed)  # noqa: S311  # Days must come again by their seed.
        self._kept: dict[str, list[bytes]] = {}

    def next_day(self, changes: int = 20) -> dict[str, list[str]]:
        """A day of the register: prices and makers change, a few products come, a few go; keys."""
        self.as_of += timedelta(days=1)
        live = sorted(key for key, row in self.rows.items() if row["status"] == "active")
        chosen = self._chance.sample(live, min(len(live), changes))
        gone, changed = chosen[: changes // 10], chosen[changes // 10 :]
        for key in gone:
            self.rows[key] = self.rows[key] | {"status": "withdrawn"}
        for key in changed:
            price = str(self._chance.randrange(5_000, 900_000))
            self.rows[key] = self.rows[key] | {"price": price}
        for key in chosen:
            self.touched[key] = self.as_of
        return {"changed": changed, "withdrawn": gone}

    # Deliveries

    def delivery(self, since: datetime | None) -> tuple[dict[str, Any], str]:
        """The head of what waits after a moment, and its mark."""
        chosen = [row for key, row in self.rows.items()
                  if (self.touched[key] > since if since else row["status"] == "active")]
        as_of = self.as_of
        if self.mode == "old":
            as_of -= timedelta(days=400)
        if self.mode == "shrunken" and not since:
            chosen = chosen[: int(len(chosen) * _SHRUNKEN)]
        if self.mode == "shrunken" and since:
            # A delta that withdraws two of five products: no ministry does that in a day.
            live = list(self.rows.values())
            chosen = [row | {"status": "withdrawn"} for row in live[: len(live) * 2 // 5]]
        lines = self._lines(chosen)
        pages = [lines[at : at + self.page_rows] for at in range(0, len(lines), self.page_rows)]
        bodies = [self._body(page, number) for number, page in enumerate(pages, 1)]
        mark = hashlib.sha256(b"".join(bodies) + as_of.isoformat().encode()).hexdigest()[:24]
        self._kept[mark] = bodies
        return {"delivery": mark, "mode": "delta" if since else "full",
                "as_of": as_of.isoformat(), "pages": len(pages), "rows": len(lines),
                "fields": list(FEED_FIELDS)}, mark  # fmt: skip  # One head.

    def _lines(self, chosen: list[Row]) -> list[str]:
        rows = [dict(row) for row in chosen]
        if self.mode == "bad-rows" and len(rows) > 8:
            for at, (name, value) in enumerate((
                ("gtin", "12345678901234"), ("atc", "J1CA4"), ("from", "31.02.2026"),
                ("trade", ""), ("key", "not a key!"), ("price", "-5"), ("pack", "0"),
                ("until", "1999-01-01"),
            )):  # fmt: skip  # A table of faults.
                rows[at][name] = value
        if self.mode == "reused" and len(rows) > 3:
            rows[0]["inn"], rows[0]["strength"] = "paracetamol", "500 mg"
            rows[1]["gtin"] = rows[2]["gtin"]
        if self.mode == "doubled":
            rows = [*rows, *rows[:50], *(row | {"maker": "Boshqa"} for row in rows[50:53])]
        lines = [f"{place}\t" + "\t".join(row[name] for name in FEED_FIELDS)
                 for place, row in enumerate(rows, 1)]  # fmt: skip  # One list.
        if self.mode == "ragged" and len(lines) > 3:
            lines[1] = lines[1].rsplit("\t", 3)[0]
            lines[2] += "\tmore\tcells"
        return lines

    def _body(self, lines: list[str], number: int) -> bytes:
        text = "\n".join(lines) + f"\n# end {number} {len(lines)}\n"
        if self.mode == "windows-1251":
            return text.replace("Farm", "Фарм завод").encode("cp1251", "replace")
        if self.mode == "mojibake":
            return text.replace("Namuna Farm", "Намуна".encode().decode("latin-1")).encode()
        if self.mode == "torn":
            return text.encode()[: len(text) // 2]
        return text.encode()

    def answer(self, path: str, mark: str) -> tuple[int, bytes, str]:
        """Status, body and ETag of a GET."""
        self.asked.append(path)
        parts = urlsplit(path)
        if self.mode == "down":
            return 503, b"", ""
        if parts.path == "/register":
            if self.mode == "nonsense":
                return 200, b'{"delivery": 7', ""
            since = parse_qs(parts.query).get("since", [""])[0]
            head, name = self.delivery(datetime.fromisoformat(since) if since else None)
            if name == mark:
                return 304, b"", name
            return 200, json.dumps(head).encode(), name
        _, _, name, number = parts.path.split("/")
        bodies = self._kept.get(unquote(name), [])
        if not 1 <= int(number) <= len(bodies):
            return 404, b"", ""
        if self.mode == "huge":
            return 200, b"x" * _HUGE_BYTES, ""
        return 200, bodies[int(number) - 1], ""


class Server(ThreadingHTTPServer):
    """The feed over HTTP, each request in its thread."""

    daemon_threads = True

    def __init__(self, feed: Feed, port: int = 0) -> None:
        self.feed = feed
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
        """A head or a page."""
        mark = self.headers.get("If-None-Match", "").strip('"')
        try:
            status, body, etag = self.server.feed.answer(self.path, mark)
        except ValueError:
            status, body, etag = 400, b"", ""
        self.send_response(status)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.feed.mode == "cut":
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def do_POST(self) -> None:  # Same.
        """What goes wrong from now on, or the next day of changes."""
        word = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), 100)).decode()
        feed = self.server.feed
        if self.path == "/sim/mode" and word in MODES:
            feed.mode, answer = word, {"mode": word}
        elif self.path == "/sim/day":
            answer = {name: str(len(keys)) for name, keys in feed.next_day().items()}
        else:
            self.send_error(400)
            return
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The library's name.
        """Nothing: the caller sees the answer."""


def run(port: int, packs: int) -> None:
    """Serves until it is interrupted; tells how a platform is told of it."""
    server = Server(Feed(packs), port)
    print(f"DMED_MEDICINE_FEED={server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
