"""`_contained` and `_containedType`: what may be asked of contained resources. Pure.

https://hl7.org/fhir/R5/search.html#contained
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dmed.fhir import params
from dmed.fhir.query_model import Criterion, Logic, Match, Missing, Query
from dmed.kit.errors import InvalidError, Issue

CHOICES: Mapping[str, tuple[str, ...]] = {
    "_contained": ("false", "true", "both"),
    "_containedType": ("container", "contained"),
}
_SORT = "_lastUpdated"


def check(query: Query) -> Query:
    """The query, if contained resources can be asked so; InvalidError for what they cannot."""
    if query.contained in {"", "false"}:
        return query
    for criterion in query.criteria:
        _check_criterion(criterion)
    if query.includes or query.revincludes:
        raise _refused("_contained", "_include and _revinclude do not go with it")
    if any(key.code != _SORT or not key.descending for key in query.sort):
        raise _refused("_contained", "the only order is newest first")
    if query.total == "estimate":
        raise _refused("_contained", "its total is counted or left out")
    return query


def is_askable(criterion: Criterion) -> bool:
    """Whether the rows of contained resources can answer a criterion."""
    match criterion:
        case Match(kind=kind, code=code, type=type_name):
            is_standard = code in params.standard(type_name)
            return is_standard and code != "_lastUpdated" and kind not in {
                "composite", "special", "words"}
        case Missing(kind=kind, code=code, type=type_name):
            return code in params.standard(type_name) and kind not in {"composite", "special"}
        case Logic(parts=parts):
            return all(map(is_askable, parts))
    return False


def _check_criterion(criterion: Criterion) -> None:
    if is_askable(criterion):
        return
    from dmed.fhir.query import name_of  # That module reads queries by this one.

    raise _refused(name_of(criterion) or "_contained", "is not asked of contained resources: no "
                   "chains, composites, places, words, _lastUpdated or parameters of one's own")


def _refused(name: str, why: str) -> InvalidError:
    return InvalidError(issues=(
        Issue("not-supported", f"Search parameter {name}: with _contained, {why}", name),))


def pairs(query: Query) -> Iterable[tuple[str, str]]:
    """What of it stands in the self link."""
    if query.contained:
        yield "_contained", query.contained
    if query.contained_type:
        yield "_containedType", query.contained_type
