"""From content to a Write: decoded, validated, stamped; bucket, index and claims found. Pure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from dmed.fhir import codec, params, params_custom, validate, walk, words
from dmed.fhir.index import Index
from dmed.fhir.types import struct_of
from dmed.kit.clock import instant
from dmed.kit.errors import InvalidError, Issue, UnprocessableError
from dmed.kit.ids import BUCKETS, bucket_in, bucket_of, milliseconds_of, new_id, new_vid
from dmed.store.model import Write
from dmed.trust import guides
from dmed.trust.model import Subject
from dmed.trust.policy import care, sensitivity
from dmed.trust.policy.roles import labelled_types

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_PATIENT = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_SID = "https://dhp.uz/fhir/core/sid/"
_UNIQUE = {
    "Patient": (_SID + "pid/",),
    "Practitioner": (_SID + "pro/", _SID + "pid/"),
    "Organization": (_SID + "org/",),
}
# Given out by each institution for unknown persons: unique only within it.
_NOT_UNIQUE_END = "/mrt"
# Definitions may be very large, and hold no reference to a person.
_ABOUT_NOBODY = frozenset({"CodeSystem", "ConceptMap", "StructureDefinition", "ValueSet"})
_encoder = msgspec.json.Encoder(decimal_format="number")
_LABELLED = labelled_types()


def read_content(content: bytes | dict[str, Any], type_name: str) -> Any:
    """The validated struct of a resource of this type; InvalidError lists every fault."""
    body = content if isinstance(content, bytes) else _encoder.encode(content)
    resource = codec.decode(body, type_name)
    check(resource)
    own = _of_definition(resource)
    if own:
        raise InvalidError(issues=own)
    return resource


def _of_definition(resource: Any) -> tuple[Issue, ...]:
    """Why a search parameter that is to be stored could not take effect."""
    if resource.fhir_type != "SearchParameter":
        return ()
    return tuple(params_custom.faults(resource))


def warm() -> None:
    """Build what the first write of a process would wait for: structs, decoders, plans."""
    resource = read_content({"resourceType": "Patient"}, "Patient")
    write_of(resource, "warm")


def check(resource: Any, prefix: str = "") -> None:
    """Refuse a resource that breaks R5 (400) or an installed profile that it claims (422).

    `prefix` is its place ("Bundle.entry[2].resource").
    """
    report = validate.report(resource)
    issues = _refused(report.issues, resource, prefix)
    more = _refused(guides.issues_of(resource, report), resource, prefix)
    if issues:
        raise InvalidError(issues=(*issues, *more))
    if more:
        raise UnprocessableError(issues=more)


def faults(resource: Any, prefix: str = "") -> tuple[Issue, ...]:
    """The errors of validation, of R5 and of claimed profiles; warnings never refuse."""
    report = validate.report(resource)
    own = _of_definition(resource)
    found = [*report.issues, *guides.issues_of(resource, report), *own]
    return _refused(found, resource, prefix)


def _refused(found: Iterable[Issue], resource: Any, prefix: str) -> tuple[Issue, ...]:
    return tuple(
        _moved(issue, resource.fhir_type, prefix)
        for issue in found
        if issue.severity in {"error", "fatal"}
    )


def _moved(issue: Issue, type_name: str, prefix: str) -> Issue:
    if not prefix:
        return issue
    inner = issue.expression.removeprefix(type_name)
    return msgspec.structs.replace(issue, expression=prefix + inner)


def check_id(record_id: str, expression: str = "id") -> None:
    """Refuse an id that R5 does not allow."""
    if not ID.fullmatch(record_id):
        raise InvalidError(
            f"{record_id[:70]!r} is no id: 1 to 64 letters, digits, hyphens and dots", expression
        )


def patient_of(resource: Any, known: dict[str, str] | None = None) -> str:
    """The id of the first literal Patient reference, or ""; `known` resolves urn:uuid first."""
    if resource.fhir_type in _ABOUT_NOBODY:
        return ""

    def patient(address: str) -> str | None:
        found = _PATIENT.fullmatch(known.get(address, address) if known else address)
        return found[1] if found else None

    return walk.first_address(resource, patient) or ""


def home_bucket(resource: Any, known: dict[str, str] | None = None) -> int:
    """The bucket of a new record with a server-made id: its patient's, else one at random."""
    patient = "" if resource.fhir_type == "Patient" else patient_of(resource, known)
    if patient:
        own = bucket_in(patient)
        return own if own is not None else bucket_of(f"Patient/{patient}")
    return secrets.randbelow(BUCKETS)


def make_id(resource: Any, known: dict[str, str] | None = None) -> str:
    """A server-made id, which begins with the record's bucket."""
    return new_id(home_bucket(resource, known))


def bucket_for(resource: Any, record_id: str) -> int:
    """The bucket of a new record under a given id: the id's, else the patient's, else a hash."""
    named = bucket_in(record_id)
    if named is not None:
        return named
    patient = "" if resource.fhir_type == "Patient" else patient_of(resource)
    if patient:
        own = bucket_in(patient)
        return own if own is not None else bucket_of(f"Patient/{patient}")
    return bucket_of(f"{resource.fhir_type}/{record_id}")


def identities(resource: Any) -> tuple[tuple[str, str], ...]:
    """The national numbers of an active person or organisation, which no other record may carry.

    A number with another use than official (temp: unverified, old: superseded) claims nothing.
    """
    systems = _UNIQUE.get(resource.fhir_type)
    if systems is None or resource.active is False or resource.identifier is msgspec.UNSET:
        return ()
    found: dict[tuple[str, str], None] = {}
    for identifier in resource.identifier:
        system, value, use = identifier.system, identifier.value, identifier.use
        if (
            isinstance(system, str)
            and isinstance(value, str)
            and system.startswith(systems)
            and not system.endswith(_NOT_UNIQUE_END)
            and use in {msgspec.UNSET, "official"}
        ):
            found[system, value] = None
    return tuple(found)


def stamped(resource: Any, record_id: str) -> tuple[int, datetime]:
    """Set id and meta of a new version; returns its vid and moment. The rest of meta is kept."""
    vid = new_vid()
    updated = datetime.fromtimestamp(milliseconds_of(vid) / 1000, UTC)
    resource.id = record_id
    if resource.meta is msgspec.UNSET:
        resource.meta = struct_of("Meta")()
    resource.meta.versionId = str(vid)
    resource.meta.lastUpdated = instant(updated)
    # A primitive extension of the client's own version or moment would speak of another one.
    resource.meta.versionId__ext = msgspec.UNSET
    resource.meta.lastUpdated__ext = msgspec.UNSET
    return vid, updated


def write_of(
    resource: Any, record_id: str, *, is_new: bool = False, expected_vid: int | None = None,
    by: Subject | None = None,
) -> Write:
    """The Write of a validated resource, which is stamped in place; `by` is who writes it.

    Sensitivity labels that its codes ask for are put into meta.security.

    `is_new`: there must be no such record. Otherwise it replaces the current version (that of
    `expected_vid`, where given; 0 means there must be none), revives a deleted record, or makes
    it. The store keeps the bucket that a client's id has got before.
    """
    vid, updated = stamped(resource, record_id)
    body, labels = labelled(resource)
    return Write(
        kind="create" if is_new else "update",
        type=resource.fhir_type,
        id=record_id,
        bucket=bucket_for(resource, record_id),
        vid=vid,
        updated=updated,
        body=body,
        index=params.extract(resource),
        texts=words.texts_of(resource),
        patients=params.patients(resource),
        identities=identities(resource),
        expected_vid=expected_vid,
        client_id=bucket_in(record_id) is None,
        labels=labels,
        care=care.relations(resource, labels, by),
    )


def labelled(resource: Any) -> tuple[bytes, int]:
    """The canonical body and its sensitivity labels, which its meta.security now carries too."""
    body = codec.encode(resource)
    if resource.fhir_type not in _LABELLED:
        return body, 0
    labels = sensitivity.labels_of(body)
    missing = sensitivity.missing_in(resource, labels) if labels else []
    if missing:
        given = [] if resource.meta.security is msgspec.UNSET else resource.meta.security
        made = [struct_of("Coding")(**one) for one in missing]
        resource.meta.security = [*given, *made]
        body = codec.encode(resource)
    return body, labels


def deletion_of(
    type_name: str, record_id: str, *, bucket: int, patients: tuple[str, ...], vid_now: int | None
) -> Write:
    """The Write that deletes a record, whose current version must be `vid_now` where given."""
    vid = new_vid()
    return Write(
        kind="delete",
        type=type_name,
        id=record_id,
        bucket=bucket,
        vid=vid,
        updated=datetime.fromtimestamp(milliseconds_of(vid) / 1000, UTC),
        body=b"",
        index=Index(),
        patients=patients,
        expected_vid=vid_now,
        client_id=bucket_in(record_id) is None,
    )
