"""How a person is told: a port with couriers. The shipped ones keep what they were given, so that a
demonstration and the tests can read it; an SMS gateway of the country takes the place of `Sms`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from dmed.modules.pharmacy.model import Message
from dmed.modules.pharmacy.tables import asking as asking_table
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

_SHOWN_MAX = 50


class Courier(Protocol):
    """Carries a text to a person inside the transaction that it tells of."""

    async def send(
        self, unit: GatewayUnit, patient: str, phone: str, text: str, at: datetime
    ) -> bool:
        """Whether the person can be reached by this courier."""
        ...


class Portal:
    """The citizen reads it on his own page, `/my/messages`."""

    async def send(
        self, unit: GatewayUnit, patient: str, phone: str, text: str, at: datetime
    ) -> bool:
        """Always taken; whether somebody looks is not known, so it reaches nobody by itself."""
        del phone
        await asking_table.keep_message(unit, patient, "portal", "", text, at)
        return False


class Sms:
    """A simulator of the gateway: it sends to nobody and keeps the text."""

    async def send(
        self, unit: GatewayUnit, patient: str, phone: str, text: str, at: datetime
    ) -> bool:
        """Taken where the card has a telephone number."""
        if not phone:
            return False
        await asking_table.keep_message(unit, patient, "sms", phone, text, at)
        return True


COURIERS: tuple[Courier, ...] = (Sms(), Portal())


async def tell(unit: GatewayUnit, patient: str, phone: str, text: str, at: datetime) -> bool:
    """Give a text to every courier; whether one of them reaches the person."""
    return any([await each.send(unit, patient, phone, text, at) for each in COURIERS])


async def messages(gateway: Gateway, subject: Subject, patients: list[str]) -> list[Message]:
    """What was sent to these persons, newest first; for the persons themselves."""
    async with gateway.unit(subject) as unit:
        rows = await asking_table.messages(unit, patients, _SHOWN_MAX)
    return [Message(channel=row["channel"], address=row["address"], text=row["text"],
                    at=row["at"]) for row in rows]  # fmt: skip  # One row.
