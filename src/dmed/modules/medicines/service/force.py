"""The register in force in this process: the starting catalogue until a national feed published.

What was in force before stays known with the time in which it was, so that a prescription is read
against the register of its signing day. Made anew by `service.following` when a version appears.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache

import msgspec

from dmed.kit import clock
from dmed.kit.errors import NotFoundError
from dmed.kit.text import fold
from dmed.modules.medicines.model import Entry, Inn, Preparation, Product
from dmed.modules.medicines.rules import Index
from dmed.modules.medicines.rules import starting as compact
from dmed.modules.medicines.rules.rows import Names, strength_of
from dmed.modules.medicines.service.starting import Catalogue, assembled, starting


class Span(msgspec.Struct, frozen=True):
    """A product as it was from `begun` (None: from the start) until `ended` (None: still)."""

    begun: datetime | None
    ended: datetime | None
    product: Product

    def holds(self, at: datetime) -> bool:
        """Whether it was in force then."""
        return (self.begun is None or self.begun <= at) and (self.ended is None or at < self.ended)


class Stay(msgspec.Struct, frozen=True):
    """An entry with the moments from and until which it is in force."""

    feed: str
    entry: Entry
    begun: datetime
    ended: datetime | None


class Register(msgspec.Struct, frozen=True):
    """A version of the register, ready to be asked."""

    version: int
    catalogue: Catalogue
    index: Index
    preparations: Mapping[str, Preparation]
    """Every preparation that was ever known."""
    products: Mapping[str, tuple[Span, ...]]
    """Key or GTIN to all that it ever was, newest first."""
    by_gtin: Mapping[str, Product]
    """Every GTIN ever known, as it is now or last was."""
    fresh_until: datetime
    """Registrations run out at midnight: then it is made again."""


_current: Register | None = None


def register() -> Register:
    """What is in force now."""
    return _current or _at_start()


def use(made: Register | None) -> None:
    """Puts a version in force in this process; None: the starting catalogue again."""
    global _current  # noqa: PLW0603  # One register a process, as one installation.
    _current = made


@cache
def _at_start() -> Register:
    return made_of(0, ())


def made_of(version: int, stays: Iterable[Stay], now: datetime | None = None) -> Register:
    """The register of these entries of national feeds; without any the starting catalogue.

    An entry whose registration has run out, or that no preparation is certain of, is not offered.
    """
    now = now or clock.now()
    today = now.astimezone(clock.TASHKENT).date()
    base = starting()
    stays = list(stays)
    first = min((one.begun for one in stays), default=None)
    inns, preparations = dict(base.inns), dict(base.preparations)
    spans: list[Span] = []
    for stay in stays:
        product = product_of(stay.entry, stay.feed, inns, preparations)
        if product is not None:
            spans.append(Span(stay.begun, _end(stay, product), product))
    spans += [Span(None, first, product) for product in base.products.values()]
    chosen = [span.product for span in spans if span.holds(now) and is_valid(span.product, today)]
    used = {one.preparation.key: one.preparation for one in chosen}
    catalogue = assembled(inns, base.forms, used, chosen)
    index = Index(used.values(), chosen, base.synonyms)
    spans.sort(key=lambda one: one.begun.timestamp() if one.begun else 0.0, reverse=True)
    by_name: dict[str, list[Span]] = {}
    for span in spans:
        by_name.setdefault(span.product.key, []).append(span)
        if span.product.gtin:
            by_name.setdefault(span.product.gtin, []).append(span)
    known = {span.product.gtin: span.product for span in reversed(spans) if span.product.gtin}
    return Register(version, catalogue, index, preparations,
                    {name: tuple(those) for name, those in by_name.items()},
                    known | dict(catalogue.by_gtin),
                    datetime.combine(today + timedelta(days=1), time.min, clock.TASHKENT)
                    if version else datetime.max.replace(tzinfo=UTC))  # fmt: skip  # One record.


def _end(stay: Stay, product: Product) -> datetime | None:
    """When it goes out of force: by a version, or by the end of its registration."""
    if not product.registered_until:
        return stay.ended
    last = date.fromisoformat(product.registered_until)
    after = datetime.combine(last + timedelta(days=1), time.min, clock.TASHKENT)
    return after if stay.ended is None else min(after, stay.ended)


def is_valid(product: Product, day: date) -> bool:
    """Whether the registration certificate holds on a day."""
    return ((not product.registered_from or product.registered_from <= day.isoformat())
            and (not product.registered_until or day.isoformat() <= product.registered_until))


def product_of(
    entry: Entry, feed: str, inns: dict[str, Inn], preparations: dict[str, Preparation]
) -> Product | None:
    """The product of an entry, None where it cannot be prescribed; new preparations are added."""
    if not entry.preparation or entry.pack_units is None:
        return None
    known = preparations.get(entry.preparation)
    if known is None:
        known = _made(entry, inns)
        if known is None:
            return None
        preparations[entry.preparation] = known
    if known.prescription_only != entry.prescription_only:
        known = msgspec.structs.replace(known, prescription_only=entry.prescription_only)
    return Product(
        key=entry.key, gtin=entry.gtin, trade=entry.trade, maker=entry.maker,
        registration=entry.registration, preparation=known, pack_units=entry.pack_units, feed=feed,
        stage=entry.stage, is_essential=entry.is_essential, price_ceiling=_ceiling(entry),
        shelf_months=entry.shelf_months, registered_from=entry.registered_from,
        registered_until=entry.registered_until, ikpu=entry.ikpu, uzpharm=entry.uzpharm,
        box_group=entry.box_group)  # fmt: skip  # One row.


def _ceiling(entry: Entry) -> Decimal | None:
    """The price ceiling in so'm; a price in another currency limits nothing here."""
    return entry.price_ceiling if entry.currency in {"", "UZS"} else None


def _made(entry: Entry, inns: dict[str, Inn]) -> Preparation | None:
    """A preparation that the starting catalogue does not have; it tells no usual dose."""
    form = starting().forms.get(entry.form)
    first = entry.strengths[0] if entry.strengths else None
    if form is None or first is None or first.value is None or first.per is None:
        return None
    key = "+".join(one.inn for one in entry.strengths)
    try:
        inn = inns.setdefault(key, compact.inn_of(key, inns))
    except KeyError:
        return None
    return Preparation(
        key=entry.preparation, inn=inn, form=form, atc=entry.atc, strength=first.value,
        strength_unit=first.unit, per=first.per, per_unit=first.per_unit,
        strength_text=entry.strength_text, dose_per_unit=entry.dose_per_unit,
        prescription_only=entry.prescription_only, antibiotic=entry.atc.startswith("J01"),
        default_dose=Decimal(0), default_times=0, default_days=0)  # fmt: skip  # One row.


# What others ask --------------------------------------------------------------------------------


def catalogue() -> Catalogue:
    """The catalogue in force now."""
    return register().catalogue


def find_inn(key: str) -> Inn:
    """The INN of a key, or NotFoundError."""
    found = catalogue().inns.get(key)
    if found is None:
        raise NotFoundError(f"No INN {key!r} in the register of medicines")
    return found


def find_preparation(key: str) -> Preparation:
    """The preparation of a key, in force or known from before, or NotFoundError."""
    found = catalogue().preparations.get(key) or register().preparations.get(key)
    if found is None:
        raise NotFoundError(f"No preparation {key!r} in the register of medicines")
    return found


def find_registered(key: str) -> Preparation:
    """The preparation of a key that is in force now, or NotFoundError."""
    found = catalogue().preparations.get(key)
    if found is None:
        raise NotFoundError(f"No preparation {key!r} in the register of medicines in force")
    return found


def find_product(key: str, at: datetime | None = None) -> Product:
    """The product of a registration key or a GTIN-14 as it is, or was at a moment; NotFoundError
    where it never was, or not then.
    """
    entries = catalogue()
    found = None
    if at is None:
        found = entries.products.get(key) or entries.by_gtin.get(key)
        if found is None:
            past = register().products.get(key)
            found = past[0].product if past else None
    else:
        spans = register().products.get(key, ())
        found = next((span.product for span in spans if span.holds(at)), None)
    if found is None:
        raise NotFoundError(f"No product {key!r} in the register of medicines")
    return found


def names(links: Mapping[str, str] | None = None) -> Names:
    """What a feed's names mean: by the starting catalogue and the links that people made."""
    known = _names()
    return msgspec.structs.replace(known, links=dict(links)) if links else known


@cache
def _names() -> Names:
    base = starting()
    inns: dict[str, str] = {}
    for inn in base.inns.values():
        if "+" in inn.key:
            continue
        for name in (inn.en, inn.uz, inn.ru, inn.key, inn.code):
            if name:
                inns.setdefault(fold(name), inn.key)
    keys: dict[str, str] = {}
    for one in base.preparations.values():
        read = strength_of(one.strength_text)
        if read is not None:
            keys.setdefault(f"{one.inn.key}|{one.form.key}|{read.slug}", one.key)
    forms = {fold(name): form for form in base.forms.values()
             for name in (form.en, form.ru, form.uz, form.key)}  # fmt: skip  # One table.
    for form in base.forms.values():
        forms.setdefault(fold(form.code), form)
    return Names(inns, keys, forms, {})
