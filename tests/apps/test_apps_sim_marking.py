"""The simulated marking operator over HTTP: its limit, its key, its bad days and its boxes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from dmed.apps.sim_marking import MODES, Operator, Server

PATH = "/public/api/cod/private/codes"
KNOWN = "0109521001000024" + "21" + "S000000000001"
UNKNOWN = "0109521001000024" + "21" + "UNK0000000001"


@pytest.fixture
def server() -> Iterator[Server]:
    """An operator with a key, for this test alone."""
    made = Server(Operator(key="secret"))
    made.start()
    yield made
    made.stop()


def _post(server: Server, path: str, body: bytes, key: str = "secret") -> tuple[int, Any, str]:
    asked = urllib.request.Request(server.url + path, body,
                                   {"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, json.loads(answer.read()), ""
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, None, refused.headers.get("Retry-After", "")


def _codes(*codes: str) -> bytes:
    return json.dumps({"codes": codes}).encode()


def test_it_tells_known_from_unknown(server: Server) -> None:
    """Status, batch, expiry and owner of a pack; an unknown one is missing."""
    status, told, _ = _post(server, PATH, _codes(KNOWN, UNKNOWN))
    row = told["results"][0]
    assert status == 200
    assert row["codeData"] == {"code": KNOWN, "status": "IN_CIRCULATION"}
    assert row["productData"]["productSeries"]
    assert told["missingCodes"] == [UNKNOWN]


def test_the_hundred_and_first_request_of_a_minute_is_429(server: Server) -> None:
    """With the seconds to wait; requests with a wrong key count, too."""
    for _ in range(99):
        assert _post(server, PATH, _codes(KNOWN))[0] == 200
    assert _post(server, PATH, _codes(KNOWN), key="wrong")[0] == 401
    status, _, wait = _post(server, PATH, _codes(KNOWN))
    assert status == 429
    assert 1 <= int(wait) <= 60
    assert server.operator.refused == 1


def test_bad_days_are_set_by_their_word(server: Server) -> None:
    """POST /sim/mode with a word that it knows; nonsense is refused and changes nothing."""
    assert _post(server, "/sim/mode", b"error")[0] == 200
    assert _post(server, PATH, _codes(KNOWN))[0] == 503
    assert _post(server, "/sim/mode", b"sunny")[0] == 400
    assert server.operator.mode == "error"
    assert _post(server, "/sim/mode", b"")[1] == list(MODES)
    assert _post(server, PATH, b"{")[0] == 400


def test_a_box_tells_what_lies_in_it(server: Server) -> None:
    """The owner check of an SSCC that it was told of."""
    box = "00123456789012345675"
    server.operator.boxes = {box: [KNOWN]}
    _, told, _ = _post(server, "/public/api/cod/nested-codes/owner-check",
                       json.dumps({"codes": [box], "ownerTin": "309900001"}).encode())
    assert told["results"][0]["children"] == [KNOWN]
