"""What the marking operator's answers mean: read, judged and kept fresh, all as pure functions.

The interface is told by public clients of Asl Belgisi (design, eprescription B5), not by a document
of the operator: flat and nested answers both occur, so both are read. Nothing that was not asked,
contradicts itself or cannot be read is believed.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from dmed.modules.pharmacy.model import PackState
from dmed.modules.pharmacy.rules.packs import Seen

CODES_MAX = 1_000
"""Codes of one request; clients of the operator send as many."""
BOXES_MAX = 100
"""Codes of one owner check."""
REPORT_CODES_MAX = 30_000
"""Codes of one receipt: what a report of the operator holds at most."""
STATES = {
    "EMITTED": PackState.NOT_INTRODUCED,
    "APPLIED": PackState.NOT_INTRODUCED,
    "RESERVED": PackState.NOT_INTRODUCED,
    "WAIT_FOR_EMISSION": PackState.NOT_INTRODUCED,
    "INTRODUCED": PackState.IN_CIRCULATION,
    "IN_CIRCULATION": PackState.IN_CIRCULATION,
    # A box that was opened without a report leaves its packs "aggregated": they are in circulation.
    "AGGREGATED": PackState.IN_CIRCULATION,
    "DISAGGREGATED": PackState.IN_CIRCULATION,
    "WITHDRAWN": PackState.WITHDRAWN,
    "RETIRED": PackState.WITHDRAWN,
}
"""The operator's words and ours; a word that is not here is no answer."""
_FRESH = {
    PackState.IN_CIRCULATION: timedelta(hours=12),
    PackState.NOT_INTRODUCED: timedelta(minutes=10),
    PackState.UNKNOWN: timedelta(minutes=5),
}
_FRESH_ELSE = timedelta(hours=1)
REMEMBERED_DAYS = 30
"""So long an old answer counts for something while the operator is not reached."""
CONTRADICTION = timedelta(hours=24)
"""An operator that forgets a serial it knew is believed only when it says so for this long."""
_FEW = 4
"""An answer that knows none of more codes than this is a fault of the operator."""


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator told of one code, and when."""

    code: str
    """The identity: 31 characters of a pack, 20 of a box."""
    seen: Seen | None
    """None: it does not know it."""
    asked: datetime
    missing_since: datetime | None = None
    """It knew the code before, and says since then that it does not."""
    parent: str = ""
    children: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A readable answer: what it knows, what it does not, and what it may not tell this key."""

    known: dict[str, Marked]
    missing: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()


class AnswerError(ValueError):
    """An answer that means nothing: said in one sentence."""


def read_answer(body: bytes, asked: Collection[str], now: datetime) -> Answer:
    """What a body says of the codes that were asked. Codes it says nothing of, or in a word nobody
    knows, are in none of the three parts. AnswerError where the whole cannot be believed.
    """
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise AnswerError("The answer is no JSON") from error
    is_list = isinstance(told, list)
    rows = told if is_list else told.get("results", told.get("codes")) if isinstance(
        told, dict) else None  # fmt: skip  # Three shapes.
    if not isinstance(rows, list):
        raise AnswerError("The answer holds no list of codes")
    wanted = set(asked)
    known: dict[str, Marked] = {}
    silent: set[str] = set()
    for row in rows:
        code = _text(row, "code") if isinstance(row, dict) else ""
        if code not in wanted:
            continue
        marked = _marked(code, row, now)
        if marked is None or (code in known and known[code].seen != marked.seen):
            silent.add(code)
        else:
            known[code] = marked
    if rows and not known and not silent:
        raise AnswerError("The answer is about other codes than were asked")
    forbidden = wanted & _names(told, "forbiddenCodes")
    missing = (wanted - set(known) - silent if is_list else wanted & _names(told, "missingCodes"))
    contradicted = missing & set(known)
    if len(wanted) > _FEW and missing == wanted:
        raise AnswerError(f"The operator knows none of {len(wanted)} codes")
    return Answer(
        known={code: each for code, each in known.items()
               if code not in contradicted and code not in silent and code not in forbidden},
        missing=frozenset(missing - contradicted - forbidden),
        forbidden=frozenset(forbidden),
    )  # fmt: skip  # Three parts.


def _names(told: Any, name: str) -> set[str]:
    found = told.get(name) if isinstance(told, dict) else None
    return {each for each in found if isinstance(each, str)} if isinstance(found, list) else set()


def _text(row: dict[str, Any], *names: str) -> str:
    """The first of these fields, in the row itself or in one of its parts."""
    parts = [row, *(row[name] for name in ("codeData", "productData", "packageData",
                                           "turnoverData") if isinstance(row.get(name), dict))]
    for name in names:
        for part in parts:
            value = part.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return str(value)
    return ""


def _marked(code: str, row: dict[str, Any], now: datetime) -> Marked | None:
    state = STATES.get(_text(row, "status").upper())
    gtin = _text(row, "gtin")
    if state is None or (gtin and code.startswith("01") and gtin != code[2:16]):
        return None
    try:
        expiry = _day(_text(row, "expirationDate", "expiryDate"))
        produced = _day(_text(row, "productionDate"))
        price = _text(row, "maxRetailPrice")
        price_max = Decimal(price) if price else None
    except (ValueError, InvalidOperation):
        return None
    package = row.get("packageData")
    children = row.get("children") or (
        package.get("children") if isinstance(package, dict) else None) or ()
    owner = (row.get("turnoverData") or {}).get("ownerInfo") if isinstance(
        row.get("turnoverData"), dict) else None  # fmt: skip  # A nested answer.
    owner_tin = _text(row, "ownerTin") or (
        str(owner.get("ownerTin") or "") if isinstance(owner, dict) else "")
    return Marked(
        code=code, asked=now, parent=_text(row, "parentCode"),
        children=tuple(each for each in children if isinstance(each, str)),
        seen=Seen(state=state, lot=_text(row, "productSeries", "seriesNumber", "series")[:20],
                  expiry=expiry, produced=produced, price_max=price_max, owner=owner_tin),
    )  # fmt: skip  # One row.


def _day(text: str) -> date | None:
    return date.fromisoformat(text[:10]) if text else None


def after(before: Marked | None, code: str, now: datetime) -> Marked:
    """What is kept when the operator says that it does not know a code: one it knew keeps what it
    told then, until it has said so for CONTRADICTION.
    """
    if before is None or before.seen is None:
        return Marked(code=code, seen=None, asked=now)
    since = before.missing_since or now
    if now - since >= CONTRADICTION:
        return Marked(code=code, seen=None, asked=now)
    return msgspec.structs.replace(before, asked=now, missing_since=since)


def is_fresh(marked: Marked, now: datetime) -> bool:
    """Whether the operator need not be asked again: half a day for what is in circulation, minutes
    for what may change at once.
    """
    if marked.missing_since is not None:
        return now - marked.asked < _FRESH[PackState.UNKNOWN]
    state = marked.seen.state if marked.seen else PackState.UNKNOWN
    return timedelta(0) <= now - marked.asked < _FRESH.get(state, _FRESH_ELSE)


def is_remembered(marked: Marked, now: datetime) -> bool:
    """Whether an answer still counts for something while the operator is not reached."""
    return now - marked.asked < timedelta(days=REMEMBERED_DAYS)


class Bucket(msgspec.Struct, frozen=True):
    """Requests that may be sent at a moment; nobody sends before `closed_until`."""

    tokens: float
    at: datetime
    closed_until: datetime


def take(bucket: Bucket, per_minute: int, now: datetime, *, leave: int = 0) -> tuple[Bucket, float]:
    """One request out of the bucket: what is left, and 0, or the seconds to wait before asking
    again. In no 60 seconds more than `per_minute` are given: a fifth at once, the rest evenly.
    `leave` are left for those who are in more of a hurry.
    """
    most = max(1, per_minute // 5)
    each_second = max(per_minute - most, 1) / 60 if per_minute > 1 else 1 / 60
    apart = max((now - bucket.at).total_seconds(), 0.0)
    tokens = min(float(most), bucket.tokens + apart * each_second)
    filled = Bucket(tokens, max(now, bucket.at), bucket.closed_until)
    closed = (bucket.closed_until - now).total_seconds()
    if closed > 0:
        return filled, closed
    # A line of one has nothing to leave; else at least one place is always served.
    needed = 1 + min(leave, most - 1)
    if tokens < needed:
        return filled, (needed - tokens) / each_second
    return Bucket(tokens - 1, filled.at, filled.closed_until), 0.0


class Breaker(msgspec.Struct, frozen=True):
    """Whether it is worth asking: after three faults in a row nobody asks for a while."""

    faults: int = 0
    closed_until: datetime | None = None
    sentence: str = ""
    """The last fault."""

    def is_open(self, now: datetime) -> bool:
        """Whether the operator counts as away without being asked."""
        return self.closed_until is not None and now < self.closed_until

    def failed(self, now: datetime, sentence: str) -> Breaker:
        """One more fault: 10 s of rest after the third, then 20, at most 60."""
        faults = self.faults + 1
        rest = min(10 * 2 ** (faults - 3), 60) if faults >= 3 else 0
        until = now + timedelta(seconds=rest) if rest else None
        return Breaker(faults, until, sentence)
