"""`_include` along canonical addresses: the records whose `url` (and version) is referred to.

Specification: https://hl7.org/fhir/R5/references.html#canonical
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from dmed.fhir import params
from dmed.fhir.query_model import Include
from dmed.store.keys import type_name, type_names, type_number
from dmed.store.plan_where import Arguments

_CANONICAL = frozenset({"canonical", "uri", ""})
"""Types of values that may hold such an address; "" where only a record can tell."""


def canonically_referred(
    item: Include, fresh: Sequence[tuple[int, str, int, int]], limits: str, most: int,
    args: Arguments,
) -> str:
    """The records that the fresh ones name by address; "" when none of these can.

    `fresh` holds (type, id, vid, bucket); `limits` is the Scope on a record `r`. An address without
    a version names every version that is stored.
    """
    from_ = [one for one in fresh if (not item.source or type_name(one[0]) == item.source)
             and _may_name(type_name(one[0]), item.code)]
    named = _addressed(item.target)
    if not from_ or not named:
        return ""
    vids = args.bind([one[2] for one in from_], "bigint[]")
    buckets = args.bind([one[3] for one in from_], "smallint[]")
    condition = "" if item.code == "*" else f" AND x.param = {args.bind(item.number, 'int')}"
    urls = args.bind([url for url, _, _ in named], "int[]")
    versions = args.bind([version for _, version, _ in named], "int[]")
    types = args.bind([type_ for _, _, type_ in named], "smallint[]")
    return (
        f"WITH w AS MATERIALIZED (SELECT DISTINCT x.id, x.version FROM unnest({vids}, {buckets}) "
        f"AS f(vid, bucket) JOIN reference x ON x.vid = f.vid AND x.bucket = f.bucket "
        f"WHERE x.type = 0{condition}) "
        f"SELECT DISTINCT ON (r.vid, r.bucket) r.type, r.id, r.vid, r.bucket, r.patient, "
        f"r.others, r.body FROM w CROSS JOIN unnest({urls}, {versions}, {types}) "
        f"AS n(url, version, type) JOIN uri u ON u.param = n.url AND u.value = w.id "
        f"JOIN resource r ON r.type = n.type AND r.vid = u.vid AND r.bucket = u.bucket{limits} "
        f"WHERE w.version IS NULL OR EXISTS (SELECT FROM token v WHERE v.vid = u.vid "
        f"AND v.bucket = u.bucket AND v.param = n.version AND v.code = w.version OFFSET 0) "
        f"ORDER BY r.vid DESC, r.bucket LIMIT {args.bind(most, 'int')}"
    )


@cache
def _may_name(source: str, code: str) -> bool:
    known = params.standard(source)
    wanted = [each for each in known.values() if each.type == "reference" and each.is_indexed
              and code in {"*", each.code}]
    return any(params.place_types(source, each.code) & _CANONICAL for each in wanted)


@cache
def _addressed(target: str) -> list[tuple[int, int, int]]:
    """Types with an address of their own: numbers of their `url` and `version`, and of the type."""
    found = []
    for name in (target,) if target else type_names():
        known = params.standard(name)
        if "url" in known and "version" in known and known["url"].type == "uri":
            found.append((known["url"].number, known["version"].number, type_number(name)))
    return found
