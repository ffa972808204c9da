"""The kit of a counter without a network: everything it may trust, signed and dated."""

from __future__ import annotations

import time as clockwork
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.modules.facilities import api as facilities
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules import offline as rules
from dmed.modules.pharmacy.service import counter, recalls
from dmed.modules.pharmacy.service import offline_store as store
from dmed.modules.pharmacy.tables import prices as prices_table
from dmed.modules.prescriptions import api as prescriptions
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

USED_SINCE = timedelta(days=35)
"""Hand-overs in the filter: longer than the usual validity of a prescription (30 days)."""
_USED_MAX = 200_000
_CLOSED_MAX = 50_000
_REVOKED_MAX = 5_000
_DOCTORS_MAX = 3_000
_KEEP_SECONDS = 60
"""A district's filter is made at most once in so many seconds in a worker."""


class District(msgspec.Struct, frozen=True, kw_only=True):
    """What a district's counters share."""

    made: float
    used: rules.Filter
    revoked: tuple[str, ...]


async def kit(gateway: Gateway, subject: Subject, language: str) -> tuple[bytes, str]:
    """The kit as JSON and its detached seal (JWS). ForbiddenError for who may not dispense."""
    pharmacy, now = counter.pharmacy_of(subject), clock.now()
    await counter.require_licence(gateway, subject, now)
    place = await facilities.organisation(gateway, subject, pharmacy)
    shared = await _district(gateway, subject, place, now)
    day = datetime.combine(clock.today(), time(), clock.TASHKENT)
    async with gateway.unit(subject) as unit:
        count = await store.count_acts(unit, pharmacy, day, day + timedelta(days=1))
        prices = await prices_table.kept(unit, pharmacy)
        # Not shared: who was ready a moment ago sends his patient to the pharmacy next door.
        doctors = await prescriptions.doctors_keys(unit, place.region, _DOCTORS_MAX)
    recalled = await recalls.in_force(gateway, subject)
    body = msgspec.json.encode({
        "issued": now.isoformat(timespec="milliseconds"),
        "until": (now + rules.KIT_AGE).isoformat(timespec="milliseconds"),
        "pharmacy": pharmacy, "user": subject.user, "district": place.district,
        "keys": prescriptions.public_keys(gateway.settings)["keys"],
        "doctors": doctors, "used": shared.used, "revoked": shared.revoked,
        "recalls": [[one.gtin, one.lot] for one in recalled],
        "limits": {"days": rules.DAYS, "acts": rules.ACTS_A_DAY, "packs": rules.PACKS_MAX,
                   "skew_seconds": int(rules.SKEW.total_seconds()), "acts_today": count},
        "register": register(gateway, language),
        "prices": {gtin: f"{price:f}" for gtin, price in prices},
    })  # fmt: skip  # One kit.
    await gateway.note(subject, "R", "offline kit")
    return body, prescriptions.seal(gateway.settings, body)


async def _district(
    gateway: Gateway, subject: Subject, place: facilities.OrganisationFacts, now: datetime
) -> District:
    held = gateway.held("pharmacy.offline", dict[str, District])
    found = held.get(place.district)
    async with gateway.unit(subject) as unit:
        await store.keep_place(unit, place.id, place.district)
        if found is not None and clockwork.monotonic() - found.made < _KEEP_SECONDS:
            return found
        used = await store.used(unit, place.district, now - USED_SINCE, _USED_MAX)
        packs = await store.used_packs(unit, place.district, now - USED_SINCE, _USED_MAX)
        closed = await prescriptions.closed_numbers(
            unit, place.region, clock.today(), _CLOSED_MAX)
        handed = await store.handed_numbers(unit, closed)
    revoked = tuple(number for number in closed if number not in handed)[:_REVOKED_MAX]
    made = District(made=clockwork.monotonic(), revoked=revoked,
                    used=rules.make_filter([*used, *packs, *closed]))  # fmt: skip  # One district.
    held[place.district] = made
    return made


def register(gateway: Gateway, language: str) -> list[list[Any]]:
    """The register for a counter: INN, form and strength as tokens name them, what to call it, its
    unit, the most of one act, whether it may go at all, and its packs (GTIN, content, trade name).
    """
    held = gateway.held("pharmacy.offline.register", dict[str, tuple[float, list[list[Any]]]])
    found = held.get(language)
    if found is not None and clockwork.monotonic() - found[0] < _KEEP_SECONDS:
        return found[1]
    packs: dict[str, list[medicines.Product]] = {}
    for product in medicines.all_products():
        packs.setdefault(product.preparation.key, []).append(product)
    rows = [_row(products, language) for products in packs.values()]
    held[language] = (clockwork.monotonic(), rows)
    return rows


def _row(products: list[medicines.Product], language: str) -> list[Any]:
    preparation = products[0].preparation
    smallest = min(product.pack_units for product in products)
    return [
        *prescriptions.token_key(preparation), medicines.label(preparation.key, language),
        medicines.unit_name(preparation.form.unit, language),
        _figure(rules.most(preparation, smallest)), not prescriptions.is_controlled(preparation),
        [[product.gtin, _figure(product.pack_units), product.trade] for product in products],
    ]  # fmt: skip  # One row.


def _figure(value: Decimal) -> str:
    """A quantity as text: JavaScript knows no decimals."""
    return f"{value.normalize():f}"
