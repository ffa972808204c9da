"""The validator suite: https://github.com/FHIR/fhir-test-cases, validator.

A folder holds `manifest.json`, the records (JSON or XML) and what the reference validator found,
in the manifest or under `outcomes/`. A case has a run against base R5 and, where it names a
profile, one against that. A run agrees when both find the record sound, or both find errors and
at least one of ours lies where one of theirs does. Cases that the manifest switches off
(`use-test`) or whose outcome is not in the folder do not apply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from dmed.apps.conformance.model import Verdict, judged, read
from dmed.fhir import xml
from dmed.fhir.profile import Catalogue, validate_with
from dmed.fhir.terminology import Library
from dmed.fhir.terminology.model import KINDS as TERMS
from dmed.kit.errors import DmedError, InvalidError, Issue

_FAULTS = {"error", "fatal"}
_NOWHERE = {"", "(document)", "(xml)", "XML", "(syntax)"}
"""Places that are the whole document."""


class Expected(NamedTuple):
    """What the reference validator found: how many errors, and where (empty: not told)."""

    errors: int
    places: tuple[str, ...] = ()


def verdicts(folder: Path) -> Iterator[Verdict]:
    """A verdict for each case that applies. Raises InvalidError where there is no manifest."""
    try:
        manifest = msgspec.json.decode(read(folder, "manifest.json"))
        cases = manifest["test-cases"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise InvalidError(f"manifest.json is not that of a validator suite: {error}") from error
    for case in cases:
        if case.get("use-test", True) and _outcomes(case, folder):
            yield judged(case.get("name") or case["file"], partial(_disagreement, case, folder))


def _outcomes(case: dict[str, Any], folder: Path) -> bool:
    """Whether the case says what to find, against base R5 or against its profile."""
    return any(_expected(part, folder) for part in (case, case.get("profile") or {}))


def _disagreement(case: dict[str, Any], folder: Path) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in _runs(case, folder) if reason)


def _runs(case: dict[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """The runs of a case that have an outcome, each with why it disagrees, or ""."""
    supporting = [
        name for key in ("supporting", "supporting5", "profiles") for name in case.get(key, ())
    ]
    base = _expected(case, folder)
    if base is not None:
        yield "base", _judge(case, base, (), supporting, folder)
    named = case.get("profile") or {}
    wanted = _expected(named, folder)
    if wanted is not None:
        more = [*supporting, *named.get("supporting", ())]
        yield "profile", _judge(case, wanted, (named["source"],), more, folder)


def _expected(said: dict[str, Any], folder: Path) -> Expected | None:
    """What a part of the manifest expects; None where nothing is told."""
    java = said.get("java", said if "errorCount" in said else None)
    if isinstance(java, str):
        if not (folder / "outcomes" / java).is_file():
            return None
        java = {"outcome": msgspec.json.decode(read(folder, f"outcomes/{java}"))}
    if not isinstance(java, dict):
        return None
    if "outcome" in java:
        issues = [i for i in java["outcome"].get("issue", ()) if i["severity"] in _FAULTS]
        places = [place for issue in issues for place in issue.get("expression", ())]
        return Expected(len(issues), tuple(places))
    lines = [line.split(": ", 2) for line in java.get("output", ())]
    found = [line[1] for line in lines if len(line) > 1 and line[0].lower() in _FAULTS]
    return Expected(java.get("errorCount", 0), tuple(found))


def _judge(
    case: dict[str, Any],
    wanted: Expected,
    profiles: Sequence[str],
    supporting: Sequence[str],
    folder: Path,
) -> str:
    try:
        named = [_definition(name, folder) for name in profiles if not _is_address(name)]
        others = [_definition(name, folder) for name in supporting]
    except DmedError as error:
        return f"a definition cannot be read: {error}"
    addresses = [name for name in profiles if _is_address(name)]
    addresses += [msgspec.json.decode(each).get("url", "") for each in named]
    body = read(folder, case["file"])
    issues = _issues(body, case["file"].endswith(".xml"), addresses, [*named, *others])
    found = [issue for issue in issues if issue.severity in _FAULTS]
    if bool(found) != bool(wanted.errors):
        shown = "; ".join(issue.diagnostics for issue in found[:3]) or "no error"
        return f"{shown}; the reference finds {wanted.errors} ({', '.join(wanted.places[:3])})"
    if found and not _meet([issue.expression for issue in found], wanted.places):
        ours = ", ".join(issue.expression for issue in found[:3])
        return f"errors at {ours}, where the reference has {', '.join(wanted.places[:3])}"
    return ""


def _is_address(profile: str) -> bool:
    return profile.startswith(("http:", "https:"))


def _definition(name: str, folder: Path) -> bytes:
    """A supporting file as JSON; what R5 does not know in its XML is left out."""
    body = read(folder, name)
    return xml.read(xml.parse(body)).body if name.endswith(".xml") else body


def _issues(
    body: bytes, is_xml: bool, profiles: Sequence[str], definitions: Sequence[bytes]
) -> list[Issue]:
    """Every issue of a record: of its form, of base R5 and of the profiles."""
    form: tuple[Issue, ...] = ()
    if is_xml:
        try:
            body, form = xml.read(xml.parse(body))
        except DmedError as error:
            return list(error.issues)
    return [*form, *validate_with(body, profiles, Catalogue(definitions, _terms(definitions)))]


def _terms(definitions: Sequence[bytes]) -> Library:
    """The terminology that a server with these definitions has, R5's own included."""
    library = Library()
    for number, body in enumerate(definitions):
        given = msgspec.json.decode(body)
        if given.get("resourceType") in TERMS:
            # A definition without an id has its place on the shelf all the same.
            library.put(msgspec.json.encode({"id": f"supporting-{number}", **given}))
    return library


def _meet(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether one place of ours is one of theirs, or holds it, or lies in it."""
    mine, wanted = [_place(each) for each in ours], [_place(each) for each in theirs]
    if not wanted or any(each in _NOWHERE for each in (*mine, *wanted)):
        return True
    return any(a.startswith(b) or b.startswith(a) for a in mine for b in wanted)


def _place(text: str) -> str:
    """A place without indices, types of choices and the notation of XML paths."""
    if text.startswith("/"):
        text = ".".join(part.rpartition(":")[2] for part in text.strip("/").split("/"))
    text = re.sub(r"\.ofType\((\w)(\w*)\)", lambda found: found[1].upper() + found[2], text)
    return re.sub(r"\[\d+\]|/\*.*?\*/", "", text)
