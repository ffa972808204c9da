"""What changed between two versions of a record: one line a difference, in the record's order."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

import msgspec

from dmed.modules.reader.model import Change

CHANGES_MAX = 500
TEXT_MAX = 400
_SERVERS_OWN = {"versionId", "lastUpdated"}


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """The differences, at most CHANGES_MAX; `meta.versionId` and `lastUpdated` always differ and
    are left out.

    >>> [(one.path, one.before, one.after) for one in changes({"a": 1, "b": [1]}, {"a": 2})]
    [('a', '1', '2'), ('b', '[1]', '')]
    """
    made: list[Change] = []
    for change in _object(_without_own(before), _without_own(after), ""):
        made.append(change)
        if len(made) == CHANGES_MAX:
            break
    return made


def _without_own(record: dict[str, Any]) -> dict[str, Any]:
    meta = record.get("meta")
    if not isinstance(meta, dict):
        return record
    kept = {name: value for name, value in meta.items() if name not in _SERVERS_OWN}
    rest = {name: value for name, value in record.items() if name != "meta"}
    return {**rest, "meta": kept} if kept else rest


def _object(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Change]:
    for name in [*before, *(name for name in after if name not in before)]:
        place = f"{path}.{name}" if path else name
        if name not in after:
            yield Change(place, "removed", before=_text(before[name]))
        elif name not in before:
            yield Change(place, "added", after=_text(after[name]))
        else:
            yield from _value(before[name], after[name], place)


def _value(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _object(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list(before, after, path)
    elif _text(before) != _text(after):
        yield Change(path, "changed", _text(before), _text(after))


def _list(before: list[Any], after: list[Any], path: str) -> Iterator[Change]:
    """Equal items are matched first, so that an item put in front does not change the rest."""
    old, new = [_whole(item) for item in before], [_whole(item) for item in after]
    for sign, i1, i2, j1, j2 in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if sign == "equal":
            continue
        pairs = min(i2 - i1, j2 - j1)
        for step in range(pairs):
            yield from _value(before[i1 + step], after[j1 + step], f"{path}[{j1 + step}]")
        for at in range(i1 + pairs, i2):
            yield Change(f"{path}[{at}]", "removed", before=_text(before[at]))
        for at in range(j1 + pairs, j2):
            yield Change(f"{path}[{at}]", "added", after=_text(after[at]))


def _whole(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _text(value: Any) -> str:
    if isinstance(value, str):
        text = value
    else:
        text = _whole(value) if isinstance(value, dict | list | bool) else str(value)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"
