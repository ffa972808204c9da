"""What other modules may call of the staff register."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from dmed.modules.workforce import service
from dmed.modules.workforce.model import Licence, Line, PractitionerFacts, Reason, Verdict
from dmed.modules.workforce.rules.importing import House, Item, Person, Planner, resources_of
from dmed.modules.workforce.service import lists
from dmed.modules.workforce.service.following import known
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

__all__ = [
    "House", "Item", "Licence", "Line", "Person", "Planner", "PractitionerFacts", "Reason",
    "Verdict", "find", "follow", "known", "licence_valid", "practitioner", "resources_of", "staff",
]  # fmt: skip  # A list of names reads better filled.


async def practitioner(
    gateway: Gateway, subject: Subject, practitioner_id: str, role_id: str = ""
) -> PractitionerFacts:
    """Facts of a member of staff, in the given post if there are several; NotFoundError if none."""
    return await service.practitioner(gateway, subject, practitioner_id, role_id)


async def licence_valid(gateway: Gateway, subject: Subject, day: date) -> Verdict:
    """Whether the subject may sign on a day: post active, licence of the profession in force.

    Reads the register anew each time, so that a licence withdrawn a minute ago counts.
    """
    return await service.licence_valid(gateway, subject, day)


async def staff(gateway: Gateway, subject: Subject, organisation_id: str) -> (
        list[PractitionerFacts]):
    """Everybody with an active post at an institution, by name, at most 200."""
    return await service.staff(gateway, subject, organisation_id)


async def find(gateway: Gateway, subject: Subject, text: str) -> list[Line]:
    """Staff of the country in their posts, by the beginning of a name or a number; none for less
    than two signs. ForbiddenError for whoever does not keep the register.
    """
    return await lists.everywhere(gateway, subject, text)


async def follow(gateway: Gateway) -> int:
    """Brings the lists of staff up to date with the records at once; how many rows were read."""
    return await service.follow(gateway)
