"""More requests at once than there are connections: refusals come as quickly as answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

CROWD = 40
"""Five times the connections of the room's pool."""
PATIENT = {"resourceType": "Patient", "name": [{"family": "Karimova"}]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PATCH", "/Patient/none", 404), ("DELETE", "/Patient/none", 204),
     ("PATCH", "/Patient?identifier=none", 404), ("PUT", "/Patient/here", 412)],
)  # fmt: skip  # A table of cases.
async def test_no_unit_waits_for_a_second_connection(
    room: Any, service: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """A refusal inside a transaction asks its pool for no second connection: nobody waits."""
    await service.put("/Patient/here", json=PATIENT | {"id": "here"})
    headers = {"if-match": 'W/"1"'} if status == 412 else {}
    kind = "application/merge-patch+json" if method == "PATCH" else "application/fhir+json"
    body = b'{"active": true}' if method == "PATCH" else b""
    if method == "PUT":
        body = b'{"resourceType": "Patient", "id": "here"}'
    began = time.monotonic()
    answers = await asyncio.gather(*(
        service.request(method, path, content=body, headers={**headers, "content-type": kind})
        for _ in range(CROWD)
    ))  # fmt: skip  # All at once.

    assert {answer.status_code for answer in answers} == {status}
    assert time.monotonic() - began < 4
