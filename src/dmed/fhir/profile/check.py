"""A whole resource against the profiles that it claims, and against those that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET

from dmed.fhir import beyond, codec, validate
from dmed.fhir.profile.catalogue import Catalogue
from dmed.fhir.profile.definition import CORE
from dmed.fhir.profile.documents import document_issues
from dmed.fhir.profile.extensions import extension_issues
from dmed.fhir.profile.questionnaire import response_issues
from dmed.fhir.profile.run import Item, ProfileRun
from dmed.fhir.validate_run import Inner, Place
from dmed.kit.errors import InvalidError, Issue


def examine(resource: Any, catalogue: Catalogue, profiles: Sequence[str] = ()) -> list[Issue]:
    """Every issue of a decoded resource: R5's rules, claimed profiles, and those named here."""
    report = validate.report(resource)
    found = [*report.issues, *check(resource, report, catalogue, profiles)]
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
    resource: Any, report: validate.Report, catalogue: Catalogue, profiles: Sequence[str] = ()
) -> list[Issue]:
    """What profiles, installed extensions, documents and questionnaires ask beyond R5's rules.

    `report` is R5's own validation of the same resource; it says which extensions and resources
    stand inside.
    """
    run = ProfileRun(resource, catalogue)
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
    if isinstance(resource, bytes):
        try:
            resource = codec.decode(resource)
        except InvalidError as error:
            return list(error.issues)
    return examine(resource, catalogue, profiles)
