"""Puts the synthetic country into a database: made, validated, indexed and copied side by side."""

from __future__ import annotations

import gc
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path

import msgspec

from dmed.apps.demo.country import UNTIL, Country, digest
from dmed.fhir import codec, params, words
from dmed.kit.errors import ConflictError, InvalidError
from dmed.kit.ids import bucket_in
from dmed.kit.seed import Made
from dmed.modules.medid import demo as medid
from dmed.modules.workforce.demo import DEMO_POSTS
from dmed.store import load as store_load
from dmed.store.load_chunk import Fault
from dmed.store.model import AuditRow, Scope, Write
from dmed.trust.gateway import prepare
from dmed.trust.identity import DEMO_ACCOUNTS, Account
from dmed.trust.model import Role
from dmed.trust.policy import care, sensitivity

CHUNK_HOUSEHOLDS = 10
"""Households of one transaction: some 3,500 records."""
_VARIABLE = b"0123456789abcdef-"
_COMMON = (-1, 0, 0)
"""The item that stands for institutions, staff and the register of medicines."""


class AlreadyThereError(ConflictError):
    """Records of another synthetic country are in this database."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What was loaded; `digest` is the same for the same persons, seed and last day."""

    records: int
    seconds: float
    digest: str


_passed: set[int] = set()
"""Shapes that this process has validated."""
Report = Callable[[int, int], None]
"""Called with persons done so far and records stored so far."""


@lru_cache(maxsize=2)
def _country(persons: int, seed: int, until: date) -> Country:
    return Country(persons, seed, until)


def write_of(record: Made, passed: set[int] | None = None) -> Write:
    """The Write of a made record; InvalidError if it breaks FHIR R5 (a fault of our own).

    `passed` holds the shapes that passed validation before: a body that differs from such a one
    in digits and hexadecimal letters alone (numbers, dates, ids) is decoded, not validated again.
    """
    resource = codec.decode(record.body, record.type)
    shape = hash(record.body.translate(None, _VARIABLE))
    if passed is None or shape not in passed:
        faults = prepare.faults(resource)
        if faults:
            raise InvalidError(issues=faults)
        if passed is not None:
            passed.add(shape)
    labels = sensitivity.labels_of(record.body)
    return Write(
        kind="create", type=record.type, id=record.id, bucket=record.bucket, vid=record.vid,
        updated=record.updated, body=record.body, index=params.extract(resource),
        texts=words.texts_of(resource), patients=params.patients(resource),
        identities=prepare.identities(resource),
        client_id=bucket_in(record.id) is None,
        labels=labels, care=care.relations(resource, labels))


class Produce:
    """Makes the Writes of one household; each process notes the digests of what it made."""

    def __init__(self, persons: int, seed: int, until: date, notes: Path) -> None:
        self.persons = persons
        self.seed = seed
        self.until = until
        self.notes = notes

    def __call__(self, item: tuple[int, int, int]) -> list[Write]:
        """All records of (household, first person, size), validated and indexed."""
        country = _country(self.persons, self.seed, self.until)
        made = country.common if item == _COMMON else list(country.household(*item))
        total = sum(int.from_bytes(hashlib.sha256(one.body).digest()) for one in made)
        with (self.notes / f"{os.getpid()}").open("a") as notes:
            notes.write(f"{item[0]} {total:x}\n")
        # Structs make no cycles: the collector would look through them in vain.
        was_on = gc.isenabled()
        gc.disable()
        try:
            return [write_of(record, _passed) for record in made]
        finally:
            if was_on:
                gc.enable()


def _digest(notes: Path) -> str:
    by_household: dict[str, int] = {}
    for file in notes.iterdir():
        for line in file.read_text().splitlines():
            household, _, total = line.partition(" ")
            by_household[household] = int(total, 16)
    return f"{sum(by_household.values()) % 2**256:064x}"


async def load(
    url: str, *, persons: int, seed: int = 1, until: date = UNTIL, processes: int = 2,
    report: Report | None = None,
) -> Loaded:
    """Fills a database (`url`: the owner's address, tables made) with a country.

    A load that was interrupted goes on where it stopped when it is called again, and a whole one
    stores nothing more. Raises AlreadyThereError if records of another country are there.
    """
    country = _country(persons, seed, until)

    def items() -> Iterator[tuple[int, int, int]]:
        yield _COMMON
        yield from country.households()

    def landed(progress: store_load.Progress, faults: Sequence[Fault]) -> None:
        if faults:
            raise AlreadyThereError(f"another synthetic country is here: {faults[0].reasons[0]}")
        if report is not None:
            report(min(persons, progress.items * persons // max(1, households)), progress.loaded)

    households = sum(1 for _ in country.households())
    source = f"synthetic country {persons} {seed} {until}"
    audit = AuditRow(request=f"demo-{persons}-{seed}", action="C", subject="demo",
                     role="administrator", purpose="HSYSADMIN", detail="synthetic country")
    with tempfile.TemporaryDirectory(prefix="dmed-demo-") as notes:
        done = await store_load.load(
            url, Scope("demo"), audit, items(), Produce(persons, seed, until, Path(notes)),
            digest=source, processes=processes, chunk_items=CHUNK_HOUSEHOLDS, report=landed)
        # What an earlier run stored was not made again: then all is made once more to tell.
        told = digest(country.records()) if done.skipped else _digest(Path(notes))
    return Loaded(records=done.loaded, seconds=done.seconds, digest=told)


def pharmacies(persons: int, seed: int = 1) -> tuple[str, ...]:
    """Ids of the pharmacies of a country, each once."""
    return tuple(dict.fromkeys(
        id_ for served in _country(persons, seed, UNTIL).served
        for id_, _ in served.places.pharmacies))


def _citizen(persons: int, seed: int) -> str:
    """The Patient of the demo citizen: the mother of the first family, who is in every country."""
    country = _country(persons, seed, UNTIL)
    household, first, size = next(country.households())
    served = country.at_home(household)
    people = medid.household(seed, household, first, served.home, UNTIL)[:size]
    mothers = [one for one in people if one.sex == "female"]
    return (mothers or people)[0].id


def accounts(persons: int = 20, seed: int = 1) -> tuple[Account, ...]:
    """The demo accounts with the posts they hold in every synthetic country."""
    holders = {}
    for served in _country(persons, 1, UNTIL).served:
        for holder in (*served.staff.doctors, *served.staff.pharmacists, *served.others):
            holders[served.home.district, holder.post.key, holder.organisation] = holder
    found = []
    for account in DEMO_ACCOUNTS:
        key = DEMO_POSTS.get(account.user)
        if account.role is Role.CITIZEN:
            patient = _citizen(persons, seed)
            found.append(msgspec.structs.replace(account, patient=patient, language="uz"))
            continue
        if key is None:
            found.append(account)
            continue
        holder = next(one for (district, post, _), one in holders.items()
                      if (district, post) == key[:2])
        found.append(msgspec.structs.replace(
            account, name=holder.name, practitioner=holder.practitioner,
            practitioner_role=holder.role, organisation=holder.organisation,
            organisation_name=holder.organisation_name, post=holder.post.title, language="uz"))
    return tuple(found)
