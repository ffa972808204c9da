"""Bundles: addresses of entries, and documents. https://hl7.org/fhir/R5/documents.html

Base rules (a Composition first, an identifier, a timestamp) are R5's own invariants; here come
those that need the entries together.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import UNSET

from dmed.fhir import walk
from dmed.fhir.profile.run import ProfileRun
from dmed.fhir.validate_run import Place

_REST = re.compile(r"https?://.{1,400}/([A-Z][A-Za-z]{1,40})/([A-Za-z0-9\-.]{1,64})")
_PAGES = frozenset({"self", "first", "prev", "previous", "next", "last"})
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{1,20}:.{1,400}")


def document_issues(resource: Any, run: ProfileRun) -> None:
    """What only the Bundle as a whole can break; nothing for other resources."""
    if resource.fhir_type != "Bundle" or resource.entry is UNSET:
        return
    top: Place = (None, "Bundle", -1)
    _links(resource, top, run)
    for index, entry in enumerate(resource.entry):
        if entry.search is not UNSET:
            _search(entry, (top, "entry", index), run)
        _full_url(entry, ((top, "entry", index), "fullUrl", -1), run)
    if resource.type == "document":
        _document(resource, top, run)


def _links(bundle: Any, top: Place, run: ProfileRun) -> None:
    """A page has one address of itself and one of each neighbour."""
    met: set[str] = set()
    for index, link in enumerate(() if bundle.link is UNSET else bundle.link):
        name = link.relation
        if name in met and name in _PAGES:
            run.note("structure", f"the link '{name}' may stand once", (top, "link", index))
        met.add(name)


def _search(entry: Any, place: Place, run: ProfileRun) -> None:
    """What the mode of a found entry says of its resource."""
    resource = entry.resource
    if resource is UNSET:
        return
    is_outcome = resource.fhir_type == "OperationOutcome"
    if entry.search.mode == "outcome" and not is_outcome:
        run.note("structure", f"an outcome is an OperationOutcome, not a {resource.fhir_type}",
                 (place, "resource", -1))  # fmt: skip  # One sentence.
    if resource.id is UNSET and not is_outcome:
        run.note("required", "what a search finds has an id", (place, "resource", -1))


def _full_url(entry: Any, place: Place, run: ProfileRun) -> None:
    if entry.fullUrl is UNSET or entry.resource is UNSET:
        return
    if not _ADDRESS.fullmatch(entry.fullUrl):
        run.note("invalid", f"'{entry.fullUrl:.100}' is no absolute address (https://, urn:uuid: "
                 "or urn:oid:)", place)  # fmt: skip  # One sentence.
        return
    match = _REST.fullmatch(entry.fullUrl)
    own = entry.resource.id
    is_ours = match is not None and match[1] == entry.resource.fhir_type and own is not UNSET
    if is_ours and match is not None and match[2] != own:
        run.note("invalid", f"the address ends with '{match[2]}', the resource's id is '{own}'",
                 place)  # fmt: skip  # One sentence.


def _document(bundle: Any, top: Place, run: ProfileRun) -> None:
    """Every local reference of the Composition is in the Bundle; entries are reached from it."""
    first = bundle.entry[0].resource if bundle.entry else UNSET
    if first is UNSET or first.fhir_type != "Composition":
        return
    place: Place = ((top, "entry", 0), "resource", -1)
    reached: set[int] = {id(first)}
    waiting = [first]
    while waiting:
        node = waiting.pop()
        for path, reference in walk.references(node):
            address = reference.reference
            if address is UNSET or address.startswith("#"):
                continue
            found = run.resolve(address)
            if found is not None and id(found[0]) not in reached:
                reached.add(id(found[0]))
                waiting.append(found[0])
            elif found is None and node is first:
                _missing(address, path.partition(".")[2], place, run)
    for index, entry in enumerate(bundle.entry):
        if entry.resource is UNSET or id(entry.resource) in reached:
            continue
        if not _points_back(entry.resource, reached, run):
            run.note("informational", "the entry is not reached from the Composition",
                     (top, "entry", index), "information")  # fmt: skip  # One sentence.


def _missing(address: str, path: str, place: Place, run: ProfileRun) -> None:
    where: Place = (place, path, -1)
    severity = "error" if address.startswith("urn:") else "warning"
    run.note("not-found", f"'{address:.100}' is not in the document: a document carries what its "
             "Composition refers to", where, severity)  # fmt: skip  # One sentence.


def _points_back(resource: Any, reached: set[int], run: ProfileRun) -> bool:
    for _, reference in walk.references(resource):
        if reference.reference is not UNSET:
            found = run.resolve(reference.reference)
            if found is not None and id(found[0]) in reached:
                return True
    return False
