"""Whatever is sent, the answer is a JSON refusal or a result, never a fault of ours."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmed.kit.errors import InvalidError, MediaTypeError
from dmed.server import negotiate
from dmed.server.answer import http_date, moment_of
from dmed.server.bundle import Entry, bundle
from dmed.server.call import relative
from dmed.server.entries import plans

EXAMPLES = int(os.environ.get("DMED_FUZZ_EXAMPLES", "100"))
_WORDS = [
    "Patient", "Observation", "Bundle", "MedicationRequest", "Nonsense", "_history", "_search",
    "$meta", "$meta-add",
    "*", "$everything", "1", "s1", "abc-1", "metadata", "_id", "..", "%", "a b", "\u0130", "",
]  # fmt: skip
_NAMES = [
    "_id", "_lastUpdated", "name", "name:exact", "name:contains", "birthdate", "identifier",
    "subject", "patient", "subject:Patient.name", "_has:Observation:subject:code", "code",
    "value-quantity", "_include", "_revinclude", "_include:iterate", "_sort", "_count", "_summary",
    "_elements", "_total", "_cursor", "_since", "_at", "_format", "_pretty", "code:not",
    "date",
    "code:missing", "combo-code-value-quantity", "url", "_tag", "_profile", "nonsense", "",
]  # fmt: skip
_VALUES = [
    "x", "1", "-1", "2020", "ge2020-01-01", "lt2020-02-30", "ap5|http://unitsofmeasure.org|kg",
    "Patient/1", "http://x|y", "|", "a|b|c", "a,b,,c", "a$b", "true", "*", "Observation:subject",
    "Patient:organization:Organization", "-name,_id", "accurate", "\x00", "\ud7ff", "\\", "\\,",
    "9" * 40, "1e400", "", "'; DROP TABLE resource; --", "%", "_", "\u202e", "NaN",
    "9999999999999999999999-01-01", "0000-00-00", "urn:uuid:x", "Type/../../etc",
]  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["resourceType", "id", "type", "entry", "request", "url", "method",
                         "resource", "status", "name", "subject", "reference", "fullUrl", "x"]),
        inner | st.sampled_from(["Patient", "Bundle", "transaction", "batch", "POST", "PUT"]),
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip
_HEADERS = st.dictionaries(
    st.sampled_from(["If-Match", "If-None-Match", "If-Modified-Since", "If-None-Exist", "Prefer",
                     "Accept", "Accept-Encoding", "Content-Encoding", "Idempotency-Key"]),
    st.sampled_from(['W/"1"', "*", "gzip", "gzip;q=0", "return=minimal", "handling=strict", "x",
                     "identifier=x|y", "application/fhir+json;fhirVersion=4.0", "k1",
                     "Sun, 22 Nov 2026 21:00:00 GMT", "a" * 300, "name=x&name=y", "?", "%ff=%fe"]),
    max_size=3,
)  # fmt: skip


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]),
    parts=st.lists(st.sampled_from(_WORDS), max_size=5)
    | st.sampled_from(
        [["Patient"], ["Observation"], ["Patient", "s1"], ["Patient", "s1", "*"], [],
         ["Patient", "_history"]]
    ),
    pairs=st.lists(st.tuples(st.sampled_from(_NAMES), st.sampled_from(_VALUES)), max_size=4),
    headers=_HEADERS,
    body=_JSON,
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_no_request_meets_a_fault_of_ours(
    room: Any, method: str, parts: list[str], pairs: list[Any], headers: dict[str, str], body: Any
) -> None:
    """Random addresses, parameters, headers and bodies: the status is below 500, the body JSON."""
    client: httpx.AsyncClient = room.client("service")
    path = "/" + "/".join(quote(part, safe="*$%") for part in parts)
    query = "&".join(f"{quote(name, safe=':.')}={quote(value)}" for name, value in pairs)
    content = msgspec.json.encode(body) if method in {"POST", "PUT", "PATCH"} else b""
    if method == "PATCH":
        kind = ("json-patch+json", "merge-patch+json", "fhir+json")[len(content) % 3]
        headers = {**headers, "Content-Type": f"application/{kind}"}
    request = client.build_request(method, path, content=content, headers=headers)
    request.url = request.url.copy_with(query=query.encode())
    answer = await client.send(request)
    await client.aclose()
    assert answer.status_code < 500, (method, path, query, headers, body, answer.text)
    if answer.content and method != "HEAD":
        assert answer.json()["resourceType"]


@given(st.text(max_size=40))
def test_headers_are_read_or_refused(text: str) -> None:
    """No header makes the readers fail in another way than with a refusal."""
    for read in (
        lambda: negotiate.check_accept(text, ""),
        lambda: negotiate.check_accept("", text),
        lambda: negotiate.check_content_type(text),
        lambda: negotiate.wishes(text),
        lambda: negotiate.takes_gzip(text),
        lambda: negotiate.etags(text),
        lambda: negotiate.vid_of_etag(text),
        lambda: moment_of(text),
        lambda: relative(text, "http://test/fhir"),
    ):
        with contextlib.suppress(InvalidError, MediaTypeError):
            read()


@given(st.integers(min_value=0, max_value=2**62))
def test_a_version_survives_its_etag(vid: int) -> None:
    """The version in an ETag is read back, weak or strong."""
    assert negotiate.vid_of_etag(f'W/"{vid}"') == negotiate.vid_of_etag(f'"{vid}"') == vid


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_survives_its_header(moment: Any) -> None:
    """Last-Modified is read back to the second."""
    assert moment_of(http_date(moment)) == moment.replace(microsecond=0)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(min_value=0))
def test_a_spliced_bundle_is_json(url: str, relation: str, total: int) -> None:
    """Whatever stands in addresses and links, the splice is valid JSON with the same values."""
    try:
        (url + relation).encode()
    except UnicodeEncodeError:
        return
    entry = Entry(full_url=url or "x", resource=b'{"a":1.50}', mode="match", location=relation)
    made = bundle("searchset", [entry, entry], total=total, links=[(relation, url)])
    read = msgspec.json.decode(made)
    assert read["link"] == [{"relation": relation, "url": url}]
    assert read["total"] == total
    assert read["entry"][0]["fullUrl"] == (url or "x")
    assert b"1.50" in made


@given(_JSON)
@settings(max_examples=200, deadline=None)
def test_entries_are_planned_or_refused(body: Any) -> None:
    """Any Bundle that decodes gives plans or InvalidError, nothing else."""
    from dmed.fhir import codec

    if not isinstance(body, dict):
        return
    entry = {"resource": {"resourceType": "Patient"}, "request": body}
    posted = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    with contextlib.suppress(InvalidError):
        plans(codec.decode(msgspec.json.encode(posted)), "http://test/fhir")
