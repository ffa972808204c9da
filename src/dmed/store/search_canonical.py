"""Links by canonical address: `_include`, `_revinclude`, chains and `_has` over `url` and version.

A reference may name a record by its `url`, with `|version` or without: then it names every version
that is stored. Specification: https://hl7.org/fhir/R5/references.html#canonical
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from dmed.fhir import params
from dmed.fhir.query_model import Has, Include
from dmed.store.keys import type_name, type_names, type_number
from dmed.store.plan_where import Arguments

_CANONICAL = frozenset({"canonical", "uri", ""})
"""Types of values that may hold such an address; "" where only a record can tell."""
Fresh = Sequence[tuple[int, str, int, int]]
"""Records as (type, id, vid, bucket)."""


def canonically_referred(
    item: Include, fresh: Fresh, limits: str, most: int, args: Arguments
) -> str:
    """The records that the fresh ones name by address; "" when none of these can.

    `limits` is the Scope on a record `r`.
    """
    from_ = [one for one in fresh if (not item.source or type_name(one[0]) == item.source)
             and may_name(type_name(one[0]), item.code)]
    named = _addressed(item.target)
    if not from_ or not named:
        return ""
    condition = "" if item.code == "*" else f" AND x.param = {args.bind(item.number, 'int')}"
    urls, versions, types = _numbers(named, args)
    return (
        f"WITH w AS MATERIALIZED (SELECT DISTINCT x.id, x.version FROM {_unnested(from_, args)} "
        f"JOIN reference x ON x.vid = f.vid AND x.bucket = f.bucket "
        f"WHERE x.type = 0{condition}) "
        f"SELECT DISTINCT ON (r.vid, r.bucket) r.type, r.id, r.vid, r.bucket, r.patient, "
        f"r.others, r.body FROM w CROSS JOIN unnest({urls}, {versions}, {types}) "
        f"AS n(url, version, type) JOIN uri u ON u.param = n.url AND u.value = w.id "
        f"JOIN resource r ON r.type = n.type AND r.vid = u.vid AND r.bucket = u.bucket{limits} "
        f"WHERE {_version_fits('w', 'n.version')} "
        f"ORDER BY r.vid DESC, r.bucket LIMIT {args.bind(most, 'int')}"
    )


def canonically_referring(
    item: Include, fresh: Fresh, limits: str, most: int, args: Arguments
) -> str:
    """The records that name the fresh ones by address; "" when none of these can be named so."""
    addressed = {number: (url, version) for url, version, number in _addressed(item.target)}
    to = [one for one in fresh if one[0] in addressed]
    names = (item.source,) if item.source else type_names()
    naming = [(each.number, type_number(name)) for name in names
              for each in params.parameters(name).values()
              if item.code in {"*", each.code} and may_name(name, each.code)]
    if not to or not naming:
        return ""
    urls, versions, types = _numbers(
        [(*addressed[number], number) for number in dict.fromkeys(one[0] for one in to)], args)
    numbers = args.bind([number for number, _ in naming], "int[]")
    sources = args.bind([source for _, source in naming], "smallint[]")
    return (
        f"WITH w AS MATERIALIZED (SELECT DISTINCT u.vid, u.bucket, u.value, n.version "
        f"FROM {_unnested(to, args)} JOIN unnest({urls}, {versions}, {types}) "
        f"AS n(url, version, type) ON n.type = f.type "
        f"JOIN uri u ON u.vid = f.vid AND u.bucket = f.bucket AND u.param = n.url) "
        f"SELECT DISTINCT ON (r.vid, r.bucket) r.type, r.id, r.vid, r.bucket, r.patient, "
        f"r.others, r.body FROM w AS u CROSS JOIN unnest({numbers}, {sources}) AS s(param, type) "
        f"JOIN reference x ON x.param = s.param AND x.type = 0 AND x.id = u.value "
        f"AND {_version_fits('x', 'u.version')} "
        f"JOIN resource r ON r.type = s.type AND r.vid = x.vid AND r.bucket = x.bucket{limits} "
        f"ORDER BY r.vid DESC, r.bucket LIMIT {args.bind(most, 'int')}"
    )


def addresses(found: str, type_: str, most: int, args: Arguments) -> str:
    """The (url, version) of all records among `found` rows (vid, bucket) that carry an address;
    "" for a type that has none.
    """
    for url, version, _ in _addressed(type_):
        code = args.bind(version, "int")
        return (
            f"SELECT DISTINCT u.value AS url, coalesce(v.code, '') AS version FROM ({found}) m "
            f"JOIN uri u ON u.vid = m.vid AND u.bucket = m.bucket "
            f"AND u.param = {args.bind(url, 'int')} LEFT JOIN token v ON v.vid = m.vid "
            f"AND v.bucket = m.bucket AND v.param = {code} LIMIT {args.bind(most, 'int')}"
        )
    return ""


def named_back(found: str, back: Has, most: int, args: Arguments) -> str:
    """Ids of the records that `found` rows (vid, bucket) name by address; "" when none can."""
    if not may_name(back.type, back.code):
        return ""
    for url, version, number in _addressed(back.base):
        return (
            f"SELECT DISTINCT r.id FROM ({found}) m JOIN reference x ON x.vid = m.vid "
            f"AND x.bucket = m.bucket AND x.param = {args.bind(back.number, 'int')} "
            f"AND x.type = 0 JOIN uri u ON u.param = {args.bind(url, 'int')} AND u.value = x.id "
            f"JOIN resource r ON r.type = {args.bind(number, 'smallint')} AND r.vid = u.vid "
            f"AND r.bucket = u.bucket WHERE {_version_fits('x', args.bind(version, 'int'))} "
            f"LIMIT {args.bind(most, 'int')}"
        )
    return ""


def _unnested(records: Fresh, args: Arguments) -> str:
    types = args.bind([one[0] for one in records], "smallint[]")
    vids = args.bind([one[2] for one in records], "bigint[]")
    buckets = args.bind([one[3] for one in records], "smallint[]")
    return f"unnest({types}, {vids}, {buckets}) AS f(type, vid, bucket)"


def _numbers(
    named: Sequence[tuple[int, int, int]], args: Arguments
) -> tuple[str, str, str]:
    return (args.bind([url for url, _, _ in named], "int[]"),
            args.bind([version for _, version, _ in named], "int[]"),
            args.bind([type_ for _, _, type_ in named], "smallint[]"))


def _version_fits(reference: str, parameter: str) -> str:
    """Whether a reference names no version, or that of the record to which the row `u` belongs."""
    return (f"({reference}.version IS NULL OR EXISTS (SELECT FROM token v WHERE v.vid = u.vid "
            f"AND v.bucket = u.bucket AND v.param = {parameter} "
            f"AND v.code = {reference}.version OFFSET 0))")


@lru_cache(maxsize=4096)
def may_name(source: str, code: str) -> bool:
    """Whether a parameter (or "*", any) of a type reads values that may be such addresses."""
    known = params.standard(source)
    wanted = [each for each in known.values() if each.type == "reference" and each.is_indexed
              and code in {"*", each.code}]
    return any(params.place_types(source, each.code) & _CANONICAL for each in wanted)


@lru_cache(maxsize=512)
def _addressed(target: str) -> list[tuple[int, int, int]]:
    """Types with an address of their own: numbers of their `url` and `version`, and of the type."""
    found = []
    for name in (target,) if target else type_names():
        known = params.standard(name)
        if "url" in known and "version" in known and known["url"].type == "uri":
            found.append((known["url"].number, known["version"].number, type_number(name)))
    return found
