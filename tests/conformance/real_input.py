"""Sends examples made by others through the API and compares what comes back.

Used by the test, which also keeps docs/reference/real-input.md true (`make real-input` writes it).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from dmed.trust.policy.sensitivity import ALL, codings

FOLDER = Path(__file__).parent
EXPECTED = FOLDER / "expected_refusals.json"
PAGE = FOLDER.parents[1] / "docs" / "reference" / "real-input.md"
BODY_LIMIT = 4 * 1024 * 1024


class Digits(str):
    """A decimal as it stands in the text, so that 1.0 and 1.00 differ."""

    __slots__ = ()


def load(text: str | bytes) -> Any:
    """JSON with decimals as their digits; exponents are compared by value."""
    return json.loads(text, parse_float=_digits)


def _digits(text: str) -> Digits | float:
    return float(text) if "e" in text.lower() else Digits(text)


@dataclass
class Outcome:
    """What became of a set of examples."""

    sent: int = 0
    stored: int = 0
    equal: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    unequal: dict[str, str] = field(default_factory=dict)


async def send_all(client: httpx.AsyncClient, files: Iterable[tuple[str, bytes]]) -> Outcome:
    """PUTs each example under its id (POSTs one without) and reads it back."""
    outcome = Outcome()
    for name, body in files:
        outcome.sent += 1
        await _send(client, name, body, outcome)
    return outcome


async def _send(client: httpx.AsyncClient, name: str, body: bytes, outcome: Outcome) -> None:
    example = load(body)
    kind, record = example.get("resourceType", "Unknown"), example.get("id")
    method, path = ("PUT", f"/fhir/{kind}/{record}") if record else ("POST", f"/fhir/{kind}")
    answer = await client.request(method, path, content=body)
    if answer.status_code not in {200, 201}:
        outcome.refused[name] = f"{answer.status_code}: {_reason(answer)}"
        return
    outcome.stored += 1
    where = path if record else answer.headers["location"].split("/_history")[0]
    back = load((await client.get(where)).content)
    difference = first_difference(
        _without_stamp(example), _without_stamp(_without_labels(back, example)), kind)
    if difference:
        outcome.unequal[name] = difference
    else:
        outcome.equal += 1


def _reason(answer: httpx.Response) -> str:
    try:
        issue = answer.json()["issue"][0]
    except (ValueError, KeyError, IndexError):
        return answer.text[:200]
    where = " ".join(issue.get("expression", []))
    said: str = issue.get("diagnostics", issue["code"])
    return said if said.startswith(where) else f"{where} {said}"


def _without_stamp(record: dict[str, Any]) -> dict[str, Any]:
    """The record without what the server sets: id, versionId and lastUpdated."""
    meta = {key: value for key, value in record.get("meta", {}).items()
            if key not in {"versionId", "lastUpdated"}}
    rest = {key: value for key, value in record.items() if key not in {"meta", "id"}}
    return rest | ({"meta": meta} if meta else {})


def _without_labels(back: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """What is stored without the sensitivity labels that the platform's rules added to it."""
    given = sent.get("meta", {}).get("security", [])
    kept = [each for each in back.get("meta", {}).get("security", [])
            if each in given or each not in codings(ALL)]
    meta = {key: value for key, value in back.get("meta", {}).items() if key != "security"}
    return back | {"meta": meta | ({"security": kept} if kept else {})}


def first_difference(sent: Any, back: Any, path: str) -> str:
    """Where two values first differ, or "": order of arrays and digits of decimals count."""
    if isinstance(sent, dict) and isinstance(back, dict):
        for key in sent.keys() | back.keys():
            if key not in sent or key not in back:
                return f"{path}.{key} is only in what was {'sent' if key in sent else 'stored'}"
            found = first_difference(sent[key], back[key], f"{path}.{key}")
            if found:
                return found
        return ""
    if isinstance(sent, list) and isinstance(back, list):
        if len(sent) != len(back):
            return f"{path} has {len(sent)} and {len(back)} items"
        return next((found for number, pair in enumerate(zip(sent, back, strict=True))
                     if (found := first_difference(*pair, f"{path}[{number}]"))), "")
    return "" if type(sent) is type(back) and sent == back else f"{path}: {sent!r} and {back!r}"


def national(shared: Path) -> Iterator[tuple[str, bytes]]:
    """The examples of the national guide, but for its transaction Bundle, which is executed."""
    for path in sorted((shared / "uz-core" / "core" / "examples").glob("*.json")):
        if path.name != "Bundle-example-transaction-bundle.json":
            yield path.name, path.read_bytes()


def official(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The R5 examples that fit under the body limit."""
    for path in sorted(folder.glob("*.json")):
        if path.stat().st_size <= BODY_LIMIT and b'"resourceType"' in (body := path.read_bytes()):
            yield path.name, body


class _Entry(msgspec.Struct):
    """One entry, its resource as the bytes that stand in the file."""

    resource: msgspec.Raw


class _Bundle(msgspec.Struct):
    """The entries of a Bundle."""

    entry: list[_Entry]


def official_entries(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The entries of the Bundles above the body limit, one by one."""
    for path in sorted(folder.glob("*.json")):
        if path.stat().st_size > BODY_LIMIT:
            bundle = msgspec.json.decode(path.read_bytes(), type=_Bundle)
            for number, entry in enumerate(bundle.entry):
                yield f"{path.name}#{number}", bytes(entry.resource)


def expected() -> dict[str, dict[str, str]]:
    """The reviewed list: set -> example -> why the specification refuses it."""
    return json.loads(EXPECTED.read_text())


def page(outcomes: dict[str, Outcome]) -> str:
    """docs/reference/real-input.md."""
    lines = ["# Real input", "",
             ("Made by `make real-input` (tests/conformance/real_input.py): "
              "examples made by others, sent through the API and read back."), "",
             "| set | sent | stored | equal | refused |", "|---|--:|--:|--:|--:|"]
    lines += [f"| {name} | {o.sent} | {o.stored} | {o.equal} | {len(o.refused)} |"
              for name, o in outcomes.items()]
    reviewed = expected()
    for name, outcome in outcomes.items():
        if outcome.refused:
            lines += ["", f"## Refused: {name}", "", "| example | answer | reviewed reason |",
                      "|---|---|---|"]
            lines += [f"| {example} | {_cell(answer)} | "
                      f"{_cell(reviewed.get(name, {}).get(example, 'NOT REVIEWED'))} |"
                      for example, answer in sorted(outcome.refused.items())]
        if outcome.unequal:
            lines += ["", f"## Stored, but not equal: {name}", ""]
            lines += [f"- {example}: {_cell(what)}" for example, what in outcome.unequal.items()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:300]
