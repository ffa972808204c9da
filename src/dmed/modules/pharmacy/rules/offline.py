"""The counter without a network: limits, what an act says, and the server's judgement.

eprescription B6. The browser keeps the same limits (pages/static/counter-token.js), which come to
it inside the kit; the server is the judge. A patient is never punished: what was handed over is
kept as a fact, and what does not fit opens a case.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

import msgspec

from dmed.kit.clock import TASHKENT
from dmed.modules.medicines.api import Preparation
from dmed.modules.pharmacy.rules.prices import Limit, is_price
from dmed.modules.prescriptions.api import Finding, Reason, is_controlled

DAYS = 7
"""At most the medicine of so many days, or the smallest pack (eprescription B6)."""
ACTS_A_DAY = 20
"""Acts without a network of one pharmacy and day (Tashkent)."""
KIT_AGE = timedelta(hours=24)
"""An older kit knows too little of what was used meanwhile."""
SKEW = timedelta(minutes=5)
"""How far a computer's clock may be off."""
PACKS_MAX = 5
ACTS_AT_ONCE = 50
FALSE_POSITIVES = 0.001
"""Of a thousand unused items, so many are taken for used, and wait for the line."""
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_TEXT_MAX = 500


class Outcome(StrEnum):
    """What became of an act; texts `pharmacy.offline.outcome.<value>`."""

    ACCEPTED = "accepted"
    """Booked as if it had been online."""
    QUESTIONED = "questioned"
    """Booked, and a case asks about a limit that was passed."""
    CONFLICT = "conflict"
    """Kept beside the prescription with a case: it does not fit what others did."""
    REFUSED = "refused"
    """Not believed: nothing says that it happened so."""
    WAITING = "waiting"
    """Its prescription was written without a network, too, and is not here yet."""


class Kind(StrEnum):
    """What a case is about; texts `pharmacy.offline.kind.<value>`."""

    DOUBLE = "double"
    """Handed over or held elsewhere meanwhile, or more than was authorised."""
    CLOSED = "closed"
    """Cancelled, expired, on hold or unknown."""
    PACK = "pack"
    """The pack was used elsewhere, is bad, or does not fit."""
    LIMIT = "limit"
    """A limit of the offline counter was passed; the hand-over is booked."""


class Judged(StrEnum):
    """How a reviewer ends a case; texts `pharmacy.offline.judged.<value>`."""

    IN_ORDER = "in-order"
    MISTAKE = "mistake"
    SUSPICION = "suspicion"


class ActPack(msgspec.Struct, frozen=True, kw_only=True):
    """A pack as the counter recorded it: the code raw, batch and expiry typed from the box."""

    raw: str
    quantity: Decimal
    lot: str
    expiry: date
    price: Decimal | None = None
    """Of the whole pack, in so'm, as the till's price list of its last sync said; None: it had
    none."""


class Act(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hand-over without a network, as the pharmacist's key on that computer signed it."""

    id: str
    at: datetime
    kit: datetime
    """When the kit was issued that the counter worked with."""
    token: str
    item: int
    packs: tuple[ActPack, ...]
    seq: int
    """Counts the acts of this key from 1: a lost or a doubled act is seen."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the server knows beside the act; a pure judgement rests on nothing else."""

    now: datetime
    token_fault: str = ""
    """Why the token is not believed; "" when its signature holds."""
    signed: date | None = None
    """The day on which the token's prescription was signed."""
    last_seq: int = 0
    """The last act of this key that the server has."""
    is_seq_taken: bool = False
    """Whether another act of this key came with this running number."""
    acts_that_day: int = 0
    """Acts of this pharmacy on the act's day that were believed before this one."""
    preparation: Preparation | None = None
    """What the item is; None where the register does not know it."""
    smallest: Decimal = Decimal(0)
    """Content of its smallest pack on the market, 0 when there is none."""


def finding(name: str, sentence: str, **values: str) -> Finding:
    """A finding by its short name: locale key `pharmacy.offline.why.<name>`."""
    return Finding(Reason(f"pharmacy.offline.why.{name}", values), sentence)


def most(preparation: Preparation, smallest: Decimal) -> Decimal:
    """Most units of presentation of one offline act: the usual dose of a week rounded up, or the
    smallest pack. The token tells no dose (decisions 22), so the register's usual one counts.
    """
    per_unit = preparation.dose_per_unit or Decimal(1)
    week = preparation.default_dose * preparation.default_times * DAYS / per_unit
    return max(week.to_integral_value(rounding=ROUND_CEILING), smallest)


def is_plausible(act: Act) -> bool:
    """Whether an act is made of what an act is made of; anything else was never made by a counter.
    Pure.
    """
    moments = all(each.tzinfo is not None and 2020 <= each.year < 2100
                  for each in (act.at, act.kit))  # fmt: skip  # One condition.
    texts = [act.token, *(pack.raw for pack in act.packs), *(pack.lot for pack in act.packs)]
    return (
        moments
        and _ID.fullmatch(act.id) is not None
        and 0 < act.item < 10
        and act.seq < 2**31
        and not any("\0" in text or len(text) > _TEXT_MAX for text in texts)
    )


def local_day(moment: datetime) -> date:
    """The day of a moment in Tashkent."""
    return moment.astimezone(TASHKENT).date()


def disbelieved(act: Act, facts: Facts) -> Finding | None:
    """Why an act cannot have happened as it says; None when it is believed. Pure."""
    if facts.token_fault:
        return finding("token", f"The signed token does not hold: {facts.token_fault}")
    if act.at > facts.now + SKEW:
        return finding("future", "The act lies in the future: the clock of that computer is wrong")
    if act.at < act.kit - SKEW:
        return finding("before_kit", "The act is older than the kit that it was made with: the "
                       "clock of that computer is wrong")  # fmt: skip  # One sentence.
    if facts.signed is not None and local_day(act.at) < facts.signed:
        return finding("before_signing", "The act is older than the prescription")
    if facts.is_seq_taken:
        return finding("replayed", "An act with this running number was sent before: this one is a "
                       "copy or a forgery")  # fmt: skip  # One sentence.
    amounts = [pack.quantity for pack in act.packs]
    if not 0 < len(amounts) <= PACKS_MAX or not all(_is_amount(each) for each in amounts):
        return finding("packs", f"An act has one to {PACKS_MAX} packs with a quantity each")
    return None


def expired(act: Act, valid_until: date) -> Finding | None:
    """That the prescription was over on the act's day in Tashkent, or None. Pure."""
    if local_day(act.at) <= valid_until:
        return None
    return finding("expired", f"The prescription had expired on {valid_until}",
                   date=f"{valid_until:%d.%m.%Y}")  # fmt: skip  # One finding.


def _is_amount(value: Decimal) -> bool:
    """A quantity of units of presentation: above 0, at most three digits behind the point."""
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -3 and 0 < value < 100_000


def passed_limits(act: Act, facts: Facts) -> tuple[Finding, ...]:
    """Limits of the offline counter that a believed act passed: it stays booked, and somebody
    asks. Pure.
    """
    found = []
    total = sum((pack.quantity for pack in act.packs), Decimal(0))
    if act.at - act.kit > KIT_AGE:
        found.append(finding("kit_age", "The kit was older than "
                             f"{KIT_AGE.total_seconds() / 3600:.0f} hours"))
    if facts.preparation is not None:
        if is_controlled(facts.preparation):
            found.append(finding("class", "A narcotic or potent medicine is never handed over "
                                 "without the line"))  # fmt: skip  # One sentence.
        allowed = most(facts.preparation, facts.smallest)
        if total > allowed:
            found.append(finding("quantity", f"{total:f} were handed over; without the line at "
                                 f"most {allowed:f} are", total=f"{total:f}",
                                 most=f"{allowed:f}"))  # fmt: skip  # One finding.
    if facts.acts_that_day >= ACTS_A_DAY:
        found.append(finding("acts", f"More than {ACTS_A_DAY} acts of this pharmacy on one day",
                             most=str(ACTS_A_DAY)))
    if act.seq > facts.last_seq + 1:
        found.append(finding("gap", f"{act.seq - facts.last_seq - 1} acts of this computer before "
                             "this one are missing", count=str(act.seq - facts.last_seq - 1)))
    return tuple(found)


def asked_too_much(price: Decimal | None, limit: Limit | None) -> Finding | None:
    """That a pack was sold above what limited its price, or at what is no price: the patient has
    it and paid, so the act stays booked and its owner is asked. None: nothing to say. Pure.
    """
    if price is None:
        return None
    if not is_price(price):
        return finding("no_price", f"{price} is no price in so'm and tiyin: none is kept")
    if limit is None or price <= limit.price:
        return None
    whose = "the register's ceiling" if limit.by == "register" else "the operator's highest price"
    return finding("price", f"{price:f} so'm were asked; {whose} was {limit.price:f} so'm",
                   price=f"{price:f}", most=f"{limit.price:f}")  # fmt: skip  # One finding.


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A Bloom filter (Bloom 1970): whether a key is surely new, or perhaps used."""

    bits: str
    """Base64, bit n is bit n % 8 of byte n // 8."""
    size: int
    """Bits."""
    hashes: int
    count: int
    rate: float
    """Promised share of new keys that are taken for used."""


def _places(key: str, size: int, hashes: int) -> list[int]:
    """Kirsch and Mitzenmacher 2006: two hashes make any number of them."""
    digest = hashlib.sha256(key.encode()).digest()
    first, step = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big") | 1
    return [(first + turn * step) % size for turn in range(hashes)]


def make_filter(keys: Iterable[str], rate: float = FALSE_POSITIVES) -> Filter:
    """The filter of these keys with that rate of false positives. Pure."""
    unique = set(keys)
    wanted = -max(len(unique), 64) * math.log(rate) / math.log(2) ** 2
    size = math.ceil(wanted / 8) * 8
    hashes = max(1, round(-math.log2(rate)))
    bits = bytearray(size // 8)
    for key in unique:
        for place in _places(key, size, hashes):
            bits[place >> 3] |= 1 << (place & 7)
    return Filter(bits=base64.b64encode(bits).decode(), size=size, hashes=hashes,
                  count=len(unique), rate=rate)  # fmt: skip  # One filter.


def may_hold(made: Filter, key: str) -> bool:
    """False: the key is surely not in the filter. Pure; the browser asks in the same way."""
    bits = base64.b64decode(made.bits)
    places = _places(key, made.size, made.hashes)
    return all(bits[place >> 3] >> (place & 7) & 1 for place in places)
