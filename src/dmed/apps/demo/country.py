"""The synthetic country: institutions, staff, households and ten years of their records.

The same persons, seed and last day give the same bytes, in whatever number of parts they are
made: part `p` of `n` makes every n-th household, and part 0 the institutions besides.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import count

import msgspec

from dmed.apps.demo import tales
from dmed.apps.demo.chart import Chart
from dmed.apps.demo.life import Life, Staff
from dmed.kit.seed import Made, generator, local, make
from dmed.modules.facilities.demo import (
    DEMO_DISTRICT,
    OPENED,
    Institutions,
    authorities,
    institutions,
    used_districts,
)
from dmed.modules.facilities.model import District, Region
from dmed.modules.medicines import demo as medicines
from dmed.modules.medid import demo as medid
from dmed.modules.medid.demo import Home
from dmed.modules.workforce.demo import Holder, hire

UNTIL = date(2026, 11, 20)
"""The last day of the country's records: a constant, so that the same seed gives the same bytes."""


class Served(msgspec.Struct, frozen=True):
    """A district with its institutions and staff."""

    home: Home
    places: Institutions
    staff: Staff
    others: tuple[Holder, ...]
    """Registrar, administrator and head of the polyclinic."""


def _serve(region: Region, district: District) -> tuple[Served, list[Made]]:
    places, made = institutions(region, district)

    def take(post: str, place: int, organisation: str, name: str) -> Holder:
        holder, records = hire(district.code, post, place, organisation, name)
        made.extend(records)
        return holder

    clinic, clinic_name = places.polyclinic, places.polyclinic_name
    staff = Staff(
        doctors=(take("therapist", 0, clinic, clinic_name), take("gp", 0, clinic, clinic_name),
                 take("gp", 1, clinic, clinic_name)),
        pediatrician=take("pediatrician", 0, clinic, clinic_name),
        gynaecologist=take("gynaecologist", 0, clinic, clinic_name),
        cardiologist=take("cardiologist", 0, clinic, clinic_name),
        private=take("therapist", 1, places.clinic, places.clinic_name),
        hospital=take("therapist", 2, places.hospital, places.hospital_name),
        pharmacists=tuple(take("pharmacist", place, pharmacy, name)
                          for place, (pharmacy, name) in enumerate(places.pharmacies)),
    )
    others = (take("registrar", 0, clinic, clinic_name),
              take("administrator", 0, clinic, clinic_name), take("head", 0, clinic, clinic_name))
    home = Home(region=region.code, region_name=region.uz, district=district.code,
                district_name=district.uz, clinic=clinic, clinic_name=clinic_name)
    return Served(home, places, staff, others), made


def _medicines(*, whole: bool) -> Iterator[Made]:
    for resource in medicines.resources(whole=whole):
        record = dict(resource)
        profile = record.pop("meta", {}).get("profile", [""])[0]
        yield make(record.pop("id"), local(OPENED, 480), profile, record)


_WHOLE_REGISTER_FROM = 1_000
"""Persons from which on a country has a record of every product of the register."""


class Country:
    """Everything that all parts of one country share."""

    def __init__(self, persons: int, seed: int = 1, until: date = UNTIL) -> None:
        self.persons = persons
        self.seed = seed
        self.until = until
        is_large = persons >= _WHOLE_REGISTER_FROM
        self.common: list[Made] = [*authorities(), *_medicines(whole=is_large)]
        self.served: list[Served] = []
        for region, district in used_districts(persons):
            served, made = _serve(region, district)
            self.served.append(served)
            self.common += made

    def at_home(self, household: int) -> Served:
        """Where a household lives; the planted ones in Yunusobod, the last of them elsewhere."""
        if household < len(medid.PLANTED) - 1:
            return next(one for one in self.served if one.home.district == DEMO_DISTRICT)
        if household == len(medid.PLANTED) - 1:
            return next((one for one in self.served if one.home.region == "1706"), self.served[-1])
        mixed = zlib.crc32(f"{self.seed}/home/{household}".encode())
        return self.served[mixed % len(self.served)]

    def households(self) -> Iterator[tuple[int, int, int]]:
        """(household, number of its first person, how many of it belong to the country)."""
        first = 0
        for household in count():
            if first >= self.persons:
                return
            size = medid.household_size(self.seed, household)
            yield household, first, min(size, self.persons - first)
            first += size

    def records(self, part: int = 0, parts: int = 1) -> Iterator[Made]:
        """The records of one part, those of a household together."""
        if part == 0:
            yield from self.common
        for household, first, size in self.households():
            if household % parts == part:
                yield from self.household(household, first, size)

    def household(self, household: int, first: int, size: int) -> Iterator[Made]:
        """All records of a household's first `size` persons."""
        served = self.at_home(household)
        people = medid.household(self.seed, household, first, served.home, self.until)[:size]
        numbers = generator("records", self.seed, household)
        for person in people:
            yield medid.patient(person, numbers, self.until)
        yield from medid.relatives(people, numbers, self.until)
        for person in people:
            chart = Chart(person, numbers)
            life = Life(chart, numbers, served.staff, self.until)
            if person.tale:
                tales.tell(life)
            else:
                life.live()
                tales.maybe_pregnant(life)
            yield from chart.made


def generate(persons: int, seed: int = 1, until: date = UNTIL, *, part: int = 0,
             parts: int = 1) -> Iterator[Made]:
    """The records of one part of a country; see the module."""
    return Country(persons, seed, until).records(part, parts)


def digest(records: Iterable[Made]) -> str:
    """SHA-256 over all bodies, whatever their order: the sum of their digests, in hex."""
    total = 0
    for record in records:
        total += int.from_bytes(hashlib.sha256(record.body).digest())
    return f"{total % 2**256:064x}"
