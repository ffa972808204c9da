"""What of a record leaves by plain FHIR REST: without the fields that the role does not see."""

from __future__ import annotations

import msgspec

from dmed.fhir.query_model import Query
from dmed.fhir.subset import without
from dmed.store.model import HistoryPage, SearchPage, Stored
from dmed.trust.decide import Context, Reason, Verdict
from dmed.trust.gateway.common import RefusedError
from dmed.trust.model import Subject
from dmed.trust.policy import fields


def hides(subject: Subject, context: Context, type_: str, element: str) -> bool:
    """Whether the subject does not see an element at the top of records of a type."""
    closed = fields.hidden(subject.role).get(type_) if context.is_plain else None
    return closed is not None and element in closed.elements


def of_record(subject: Subject, context: Context, stored: Stored) -> Stored:
    """The version as the subject sees it."""
    if not context.is_plain or stored.deleted:
        return stored
    closed = fields.hidden(subject.role).get(stored.type)
    if closed is None:
        return stored
    body = without(stored.body, closed.elements, closed.systems)
    return msgspec.structs.replace(stored, body=body)


def of_page(subject: Subject, context: Context, page: SearchPage) -> SearchPage:
    """The page with every record, included ones too, as the subject sees it."""
    if not context.is_plain:
        return page
    types = fields.hidden(subject.role)
    if not types or not any(hit.record.type in types for hit in page.hits):
        return page
    return msgspec.structs.replace(page, hits=[
        msgspec.structs.replace(hit, record=of_record(subject, context, hit.record))
        for hit in page.hits])


def of_history(subject: Subject, context: Context, page: HistoryPage) -> HistoryPage:
    """The history with every version as the subject sees it."""
    if not context.is_plain or not fields.hidden(subject.role):
        return page
    return msgspec.structs.replace(
        page, versions=[of_record(subject, context, each) for each in page.versions])


def check_query(subject: Subject, context: Context, query: Query) -> None:
    """RefusedError for a search by what the subject does not see."""
    found = fields.fault_of(subject.role, query) if context.is_plain else None
    if found is not None:
        type_, code = found
        values = {"role": subject.role.value, "type": type_, "parameter": code}
        sentence = (f"The role {subject.role.value} may not search {type_} by {code!r}: it reads "
                    "fields that this role does not see")
        raise RefusedError(Verdict(False, (Reason("trust.reason.field", sentence, values),)))
