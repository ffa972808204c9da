"""A whole resource against the profiles that it claims, and against those that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir import beyond, codec, validate
from dmed.fhir.profile.catalogue import Catalogue
from dmed.fhir.profile.definition import CORE
from dmed.fhir.profile.derivation import derivation_issues
from dmed.fhir.profile.derived import derived_issues
from dmed.fhir.profile.documents import document_issues
from dmed.fhir.profile.extensions import extension_issues
from dmed.fhir.profile.questionnaire import response_issues
from dmed.fhir.profile.run import Item, ProfileRun
from dmed.fhir.validate_run import Inner, Place
from dmed.kit.errors import InvalidError, Issue

_COMMENTS = "fhir_comments"
_LOINC = "http://loinc.org"
_VITAL = {
    "85354-9": "bp", "9279-1": "resprate", "8867-4": "heartrate", "2708-6": "oxygensat",
    "59408-5": "oxygensat", "8310-5": "bodytemp", "8302-2": "bodyheight", "9843-4": "headcircum",
    "29463-7": "bodyweight", "39156-5": "bmi",
}  # fmt: skip  # A table.
"""R5's vital sign profiles by the LOINC code that they fix (observation-vitalsigns.html)."""


def _vital_signs(resource: Any) -> tuple[str, ...]:
    """The profile that R5 asks of an observation with the code of a vital sign."""
    if resource.fhir_type != "Observation" or resource.code is UNSET:
        return ()
    codings = () if resource.code.coding is UNSET else resource.code.coding
    names = [_VITAL[each.code] for each in codings if each.system == _LOINC and each.code in _VITAL]
    return tuple(CORE + name for name in names)


def examine(resource: Any, catalogue: Catalogue, profiles: Sequence[str] = ()) -> list[Issue]:
    """Every issue of a decoded resource: R5's rules, claimed profiles, and those named here."""
    report = validate.report(resource)
    asked = (*profiles, *_vital_signs(resource))
    found = [*report.issues, *check(resource, report, catalogue, asked)]
    found += beyond.issues(resource)
    found += [
        Issue(
            "not-supported",
            f"{count} code(s) could not be checked: the content of {url} is not here",
            resource.fhir_type,
            "information",
        )
        for url, count in report.unchecked.items()
    ]
    return found


def check(
    resource: Any,
    report: validate.Report,
    catalogue: Catalogue,
    profiles: Sequence[str] = (),
    *,
    errors_only: bool = False,
) -> list[Issue]:
    """What profiles, installed extensions, documents and questionnaires ask beyond R5's rules.

    `report` is R5's own validation of the same resource; it says which extensions and resources
    stand inside.
    """
    run = ProfileRun(resource, catalogue, errors_only=errors_only)
    try:
        _all(resource, report, profiles, run)
    except RecursionError:
        run.note("structure", "objects are nested too deep", (None, resource.fhir_type, -1))
    return list(dict.fromkeys(run.issues))


def _all(resource: Any, report: validate.Report, profiles: Sequence[str], run: ProfileRun) -> None:
    top: Place = (None, resource.fhir_type, -1)
    _against(resource, top, (*_claimed(resource), *profiles), run)
    extension_issues(report.extensions, run)
    for inner in report.inner:
        _inside(inner, run)
    document_issues(resource, run)
    derived_issues(resource, top, run)
    derivation_issues(resource, top, run)
    response_issues(resource, top, run)


def _inside(inner: Inner, run: ProfileRun) -> None:
    claimed = _claimed(inner.resource)
    if claimed or inner.resource.fhir_type == "QuestionnaireResponse":
        outer = run.resource, run.root
        run.resource, run.root = inner.resource, inner.root
        try:
            _against(inner.resource, inner.place, claimed, run)
            response_issues(inner.resource, inner.place, run)
        finally:
            run.resource, run.root = outer


def _claimed(resource: Any) -> tuple[str, ...]:
    meta = resource.meta
    if meta is UNSET or meta.profile is UNSET:
        return ()
    return tuple(each for each in meta.profile if each)


def _against(resource: Any, place: Place, profiles: Iterable[str], run: ProfileRun) -> None:
    item = Item(resource, None, resource.fhir_type, place)
    for canonical in profiles:
        url, _, version = canonical.partition("|")
        if url.removeprefix(CORE) == resource.fhir_type:
            continue
        one = run.library.check_of(url)
        if one is None:
            run.note("not-found", f"the profile {canonical:.200} is not installed: not checked",
                     place, "warning")  # fmt: skip  # One sentence.
            continue
        installed = run.library.version_of(url)
        if version and version != installed:
            run.note("informational", f"the profile {url} is installed as "
                     f"{installed or 'no version'}, not as {version}; checked against that",
                     place, "warning")  # fmt: skip  # One sentence.
        key = id(resource), url
        if key not in run.seen:
            run.seen.add(key)
            one(item, run)


def validate_with(
    resource: Any, profiles: Sequence[str] = (), packages: Iterable[bytes] | Catalogue = ()
) -> list[Issue]:
    """Every issue of a resource (struct, or its bytes in JSON).

    `packages` is a Catalogue, or the bodies of the definitions to validate with; `profiles` are
    canonical addresses, besides those that the resource claims. What cannot be decoded gives the
    codec's faults.
    """
    catalogue = packages if isinstance(packages, Catalogue) else Catalogue(packages)
    found: list[Issue] = []
    if isinstance(resource, bytes):
        if _COMMENTS.encode() in resource:
            resource = _without_comments(resource)
            found.append(Issue("informational", "fhir_comments is no part of FHIR's JSON; ignored",
                               severity="warning"))  # fmt: skip  # One sentence.
        try:
            resource = codec.decode(resource)
        except InvalidError as error:
            return [*found, *error.issues]
    return found + examine(resource, catalogue, profiles)


def _without_comments(body: bytes) -> bytes:
    """The same JSON without the comments that DSTU2 allowed; as it came where it is no JSON."""
    try:
        value = msgspec.json.Decoder(float_hook=Decimal).decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body
    return msgspec.json.Encoder(decimal_format="number").encode(_pruned(value))


def _pruned(value: Any) -> Any:
    if isinstance(value, list):
        return [_pruned(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _pruned(each) for key, each in value.items() if key != _COMMENTS}
    return {key: each for key, each in kept.items() if each != {} or value[key] == {}}
