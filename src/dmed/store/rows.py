"""Index rows of many records as columns: what the writer sends as arrays and the loader as COPY.

Pure; made once for both so that a loaded record is found exactly as a written one.
"""

from __future__ import annotations

from typing import Any

from dmed.store import persons, text
from dmed.store.keys import (
    SERVED_BY_RESOURCE,
    TRIGRAM_PARAMETERS,
    WIDE_MICROSECONDS,
    system_number,
    text_key,
    trigrams,
    type_number,
)
from dmed.store.model import Write
from dmed.store.plan_composite import needless, row_number

COLUMNS: dict[str, tuple[str, ...]] = {
    "token": ("vid", "bucket", "param", "system", "code"),
    "string": ("vid", "bucket", "param", "folded", "exact", "grams"),
    "date": ("vid", "bucket", "param", "low", "high", "wide"),
    "number": ("vid", "bucket", "param", "low", "high"),
    "quantity": ("vid", "bucket", "param", "low", "high", "system", "code"),
    "reference": ("vid", "bucket", "param", "type", "id", "version"),
    "uri": ("vid", "bucket", "param", "value"),
    "composite": ("vid", "bucket", "param", "key", "low", "high"),
    "words": ("vid", "bucket", "param", "document"),
    "person": persons.COLUMNS,
}
"""Columns of each index table in the order of the tuples that `index_rows` makes."""


def index_rows(writes: list[Write]) -> dict[str, list[tuple[Any, ...]]]:
    """The index rows of these records by table, in the order of COLUMNS; deletes have none.

    Two values that become one key (cut texts, decimals equal as double) give one row. Rows of
    one record stand together.
    """
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
    for write in writes:
        if write.kind != "delete":
            _add(rows, write)
    return rows


def _add(rows: dict[str, list[tuple[Any, ...]]], write: Write) -> None:
    index, vid, bucket = write.index, write.vid, write.bucket
    rows["token"] += dict.fromkeys([
        (vid, bucket, param, system_number(system), text_key(code))
        for param, system, code in index.tokens if param not in SERVED_BY_RESOURCE])
    rows["string"] += [_string(vid, bucket, param, folded, exact)
                       for param, folded, exact in index.strings]
    rows["date"] += [
        (vid, bucket, param, low, high, high - low > WIDE_MICROSECONDS)
        for param, low, high in index.dates if param not in SERVED_BY_RESOURCE]
    rows["reference"] += dict.fromkeys([
        (vid, bucket, param, type_number(target), text_key(id_), version or None)
        for param, target, id_, version in index.references])
    rows["words"] += text.rows(write.type, vid, bucket, write.texts)
    # Most records have none of these.
    if index.persons:
        rows["person"] += [(vid, bucket, *row) for row in index.persons]
    if index.numbers:
        rows["number"] += dict.fromkeys([
            (vid, bucket, param, float(low), float(high)) for param, low, high in index.numbers])
    if index.quantities:
        rows["quantity"] += dict.fromkeys([
            (vid, bucket, param, float(low), float(high), system_number(system), text_key(code))
            for param, low, high, system, code in index.quantities])
    if index.uris:
        rows["uri"] += dict.fromkeys([
            (vid, bucket, param, text_key(address)) for param, address in index.uris])
    if index.composites:
        unread = needless()
        rows["composite"] += dict.fromkeys([
            (vid, bucket, param, row_number(param, key), None if low is None else float(low),
             None if high is None else float(high))
            for param, key, low, high in index.composites if param not in unread])


def _string(vid: int, bucket: int, param: int, folded: str, exact: str) -> tuple[Any, ...]:
    grams = trigrams(folded) if param in TRIGRAM_PARAMETERS else None
    kept = text_key(folded)
    return vid, bucket, param, kept, None if exact == kept else text_key(exact), grams or None
