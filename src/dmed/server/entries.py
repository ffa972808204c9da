"""The entries of a batch or transaction as typed plans, each fault with its path. Pure.

https://hl7.org/fhir/R5/http.html#transaction
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import UNSET

from dmed.fhir.patch import Patch, patch_in
from dmed.kit.errors import InvalidError, Issue
from dmed.server import negotiate
from dmed.server.call import relative
from dmed.trust.gateway.prepare import ID

METHODS = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")
"""The order in which a transaction acts, whatever the order of its entries."""


class Plan(msgspec.Struct, kw_only=True):
    """One entry of a transaction: what it wants, and later the id that it has got."""

    number: int
    method: str
    type: str
    id: str = ""
    query: str = ""
    """Criteria of a conditional update, patch or delete, or of a search."""
    if_none_exist: str = ""
    if_match: int | None = None
    full_url: str = ""
    resource: Any = None
    """What is written: sent, or (PATCH) the current version with the patch applied."""
    patch: Patch | None = None
    deletions: tuple[str, ...] = ()
    """Ids of what a conditional delete has found."""
    found: Any = None
    """The record that a conditional create has found."""
    same_as: int = -1
    """Number of the earlier entry with the same If-None-Exist."""

    @property
    def place(self) -> str:
        """Where the entry stands, as FHIRPath."""
        return f"Bundle.entry[{self.number}]"


def plans(bundle: Any, base: str) -> list[Plan]:
    """The plans of a transaction's entries in their order; InvalidError lists every fault."""
    made: list[Plan] = []
    issues: list[Issue] = []
    for number, entry in enumerate(bundle.entry):
        try:
            made.append(_plan(number, entry, base))
        except InvalidError as fault:
            issues += fault.issues
    issues += _twice(made)
    if issues:
        raise InvalidError(issues=tuple(issues))
    return made


def request_of(number: int, entry: Any) -> tuple[str, str]:
    """Method and address of an entry; InvalidError where it has none."""
    place = f"Bundle.entry[{number}].request"
    request = entry.request
    if request is UNSET:
        raise InvalidError("Each entry of a batch or transaction needs a request", place)
    if request.method is UNSET or request.url is UNSET:
        raise InvalidError("A request needs method and url", place)
    return request.method, request.url


def conditions(request: Any) -> dict[str, str]:
    """The conditions of an entry's request as the headers that they stand for."""
    pairs = (
        ("if-match", request.ifMatch),
        ("if-none-match", request.ifNoneMatch),
        ("if-none-exist", request.ifNoneExist),
    )
    return {name: value for name, value in pairs if value is not UNSET}


def _plan(number: int, entry: Any, base: str) -> Plan:
    method, url = request_of(number, entry)
    place = f"Bundle.entry[{number}]"
    if method not in METHODS:
        raise InvalidError(f"{method} is not served in a transaction", f"{place}.request.method")
    path, _, query = relative(url, base).partition("?")
    parts = [unquote(part) for part in path.split("/") if part]
    plan = Plan(
        number=number,
        method=method,
        type=parts[0] if parts else "",
        id=parts[1] if len(parts) == 2 else "",
        query=query,
        full_url="" if entry.fullUrl is UNSET else entry.fullUrl,
        resource=None if entry.resource is UNSET else entry.resource,
    )
    if method == "PATCH":
        plan.patch = patch_in(plan.resource, f"{place}.resource")
        plan.resource = None
    _check_shape(plan, parts, url)
    given = conditions(entry.request)
    if "if-match" in given:
        plan.if_match = negotiate.vid_of_etag(given["if-match"])
    elif method == "PUT" and given.get("if-none-match", "").strip() == "*":
        plan.if_match = 0  # RFC 9110: only where there is no such record yet.
    plan.if_none_exist = given.get("if-none-exist", "")
    return plan


def _check_shape(plan: Plan, parts: list[str], url: str) -> None:
    place = f"{plan.place}.request.url"
    allowed = {
        "POST": len(parts) == 1 and not plan.query,
        "GET": len(parts) in {1, 2},
        "HEAD": len(parts) in {1, 2},
    }
    by_id_or_criteria = len(parts) == 2 or (len(parts) == 1 and bool(plan.query))
    if not allowed.get(plan.method, by_id_or_criteria) or (plan.id and not ID.fullmatch(plan.id)):
        raise InvalidError(f"{plan.method} {url[:100]} is not served in a transaction", place)
    if plan.method not in {"POST", "PUT"}:
        return
    if plan.resource is None:
        raise InvalidError(f"{plan.method} needs a resource", f"{plan.place}.resource")
    if plan.resource.fhir_type != plan.type:
        raise InvalidError(
            f"The resource is {plan.resource.fhir_type}, the address says {plan.type}", place
        )
    if plan.method == "PUT" and plan.id and plan.resource.id != plan.id:
        raise InvalidError(f"The resource must carry the id {plan.id}", f"{plan.place}.resource.id")


def _twice(made: list[Plan]) -> list[Issue]:
    issues: list[Issue] = []
    urls: dict[str, int] = {}
    records: dict[tuple[str, str], int] = {}
    for plan in made:
        if plan.full_url:
            first = urls.setdefault(plan.full_url, plan.number)
            if first != plan.number:
                sentence = f"fullUrl {plan.full_url} stands at entry {first} already"
                issues.append(Issue("duplicate", sentence, f"{plan.place}.fullUrl"))
        if plan.id and plan.method not in {"GET", "HEAD"}:
            first = records.setdefault((plan.type, plan.id), plan.number)
            if first != plan.number:
                sentence = f"{plan.type}/{plan.id} is written at entry {first} already"
                issues.append(Issue("duplicate", sentence, f"{plan.place}.request.url"))
    return issues
