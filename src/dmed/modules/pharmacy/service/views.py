"""What the counter shows: a claim, the queue, the day."""

from __future__ import annotations

from datetime import datetime, time
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import tables
from dmed.modules.pharmacy.model import Claim, Handover, QueueRow, ScannedPack, Today
from dmed.modules.prescriptions import api as prescriptions
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_QUEUE_MAX = 50
_HANDED_MAX = 50
_LANGUAGES = ("uz", "ru", "en")


async def own_claim(gateway: Gateway, subject: Subject, text: str) -> Claim:
    """The claim of a pharmacy that has to do with this prescription, or ForbiddenError."""
    number = prescriptions.read_number(text)
    async with gateway.unit(subject) as unit:
        leases = await tables.claims(unit, number, subject.organisation)
        handed = await tables.handovers_of(unit, number, subject.organisation)
    if not leases and not handed:
        raise ForbiddenError(
            "This pharmacy has not claimed the prescription: scan its QR code, "
            "or type the number and the code under it"
        )
    return await claim(gateway, subject, number)


async def claim(
    gateway: Gateway, subject: Subject, number: str, *, is_token_valid: bool | None = None
) -> Claim:
    """A prescription as it stands at this counter."""
    found = await prescriptions.prescription(gateway, subject, number)
    pharmacy = subject.organisation
    async with gateway.unit(subject) as unit:
        leases = await tables.claims(unit, found.number, pharmacy)
        holds = await tables.holds(unit, found.number, pharmacy, clock.now())
        handed = await tables.handovers_of(unit, found.number, pharmacy)
    held = tuple(item.number for item in found.items
                 if item.holder == pharmacy and item.status == "active")  # fmt: skip  # A filter.
    return Claim(
        prescription=found,
        held=held,
        scanned=tuple(_scanned(row) for row in holds if row["item"] in held),
        handed=tuple(
            msgspec.structs.replace(_handover(row), patient_name=found.patient_name)
            for row in handed
        ),
        secrets={row["item"]: row["secret"] for row in leases if row["item"] in held},
        is_token_valid=is_token_valid,
    )


def _scanned(row: Any) -> ScannedPack:
    product = _trade(row["gtin"])
    return ScannedPack(
        item=row["item"], gtin=row["gtin"], serial=row["serial"], trade=product,
        quantity=row["quantity"], lot=row["lot"], expiry=row["expiry"],
        marking=f"01{row['gtin']}21{row['serial']}" if row["gtin"] else "", price=row["price"],
    )  # fmt: skip  # Facts of one pack.


def _trade(gtin: str) -> str:
    found = medicines.product_or_none(gtin)
    return found.trade if found else gtin


def _handover(row: Any) -> Handover:
    key = row["preparation"]
    return Handover(
        id=row["dispense"],
        number=row["number"],
        item=row["item"],
        label={language: medicines.label(key, language) for language in _LANGUAGES},
        quantity=row["quantity"],
        unit=row["unit"],
        at=row["at"],
        packs=(_scanned(row),),
        status="entered-in-error" if row["undone"] else "completed",
        patient=row["patient"],
        total=row["total"],
        fund=row["fund"],
    )


async def queue(gateway: Gateway, subject: Subject, pharmacy: str) -> list[QueueRow]:
    """Prescriptions that this pharmacy holds, oldest lease first."""
    async with gateway.unit(subject) as unit:
        rows = await tables.open_claims(unit, pharmacy, _QUEUE_MAX)
        out = []
        for row in rows:
            requests = await unit.find(
                "MedicationRequest",
                f"group-identifier={prescriptions.NUMBER_SYSTEM}|{row['number']}&_count=1",
            )
            name = str((requests[0].get("subject") or {}).get("display", "")) if requests else ""
            out.append(QueueRow(
                number=row["number"], patient_name=name,
                state="ready" if row["with_packs"] == row["items"] else "open",
                items=row["items"], lease_until=row["lease_until"],
            ))  # fmt: skip  # One row.
    return out


async def today(gateway: Gateway, subject: Subject, pharmacy: str) -> Today:
    """What this pharmacy did since midnight in Tashkent."""
    since = datetime.combine(clock.today(), time(), clock.TASHKENT)
    async with gateway.unit(subject) as unit:
        counts = await tables.day(unit, pharmacy, since)
        rows = await tables.handovers_since(unit, pharmacy, since, _HANDED_MAX)
    return Today(
        prescriptions=counts["prescriptions"],
        items=counts["items"],
        packs=counts["packs"],
        refused_packs=counts["refused"],
        median_seconds=int(counts["median_seconds"]),
        handed=tuple(_handover(row) for row in rows),
        total=counts["total"],
        fund=counts["fund"],
    )


async def for_person(
    gateway: Gateway, subject: Subject, patient: str, limit: int
) -> list[Handover]:
    """What was handed over to a person, newest first, from the records alone."""
    found = await gateway.find(
        subject, "MedicationDispense", f"patient={patient}&_sort=-whenhandedover&_count={limit}"
    )
    return [_of_record(each) for each in found]


def _of_record(record: dict[str, Any]) -> Handover:
    from dmed.modules.pharmacy.rules import dispenses

    return dispenses.handover_of(record)
