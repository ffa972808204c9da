"""Blank forms with numbers given out beforehand, and their later entry.

The number and its code stand on the form, so that a pharmacy finds the prescription by them as
soon as it is typed in; nobody else's number can be used, and none twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ConflictError, InvalidError, NotFoundError
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import OFFLINE_REASON, Paper
from dmed.modules.prescriptions.rules import numbers, papers
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit


class Form(msgspec.Struct, frozen=True):
    """A blank form that waits."""

    number: str
    printed: datetime


async def blank(gateway: Gateway, subject: Subject) -> list[Form]:
    """The doctor's forms that are neither typed in nor void, oldest first."""
    async with gateway.unit(subject) as unit:
        rows = await tables.papers(unit, subject.user)
    return [Form(row["number"], row["printed"]) for row in rows]


async def allocate(
    gateway: Gateway, subject: Subject, count: int, region: str
) -> list[str]:
    """So many new numbers for forms of this doctor. ConflictError where he holds too many."""
    if not 1 <= count <= papers.FORMS_MAX:
        raise InvalidError(f"1 to {papers.FORMS_MAX} forms are printed at once")
    region = region if region in tables.REGIONS else tables.REGIONS[9]
    async with gateway.unit(subject) as unit:
        held = len(await tables.papers(unit, subject.user))
        if held + count > papers.FORMS_MAX:
            raise ConflictError(
                f"{held} forms wait already; a doctor holds at most {papers.FORMS_MAX}: type them "
                "in, or say which are spoilt"
            )
        made = []
        for _ in range(count):
            number = numbers.make_number(region, await tables.next_running(unit, region))
            await tables.insert_paper(unit, number, subject.user, subject.organisation)
            made.append(number)
    await gateway.note(subject, "C", f"{count} blank prescription forms, first {made[0]}")
    return made


async def void(gateway: Gateway, subject: Subject, text: str) -> None:
    """A form is spoilt or lost: its number is never used."""
    number = numbers.read_number(text)
    async with gateway.unit(subject) as unit:
        await _mine(unit, subject, number)
        await tables.end_paper(unit, number, entered=None, voided=clock.now())
    await gateway.note(subject, "D", f"blank prescription form {number} is void")


async def check(gateway: Gateway, subject: Subject, text: str) -> str:
    """The number of a form of this doctor that may be typed in; errors as `enter`."""
    number = numbers.read_number(text)
    async with gateway.unit(subject) as unit:
        await _mine(unit, subject, number)
    return number


async def enter(unit: GatewayUnit, subject: Subject, paper: Paper, now: datetime) -> None:
    """The form of this number is typed in now; NotFoundError for a number that was not given to
    this doctor, ConflictError for one that is used or void.
    """
    row = await _mine(unit, subject, paper.number)
    if bool(row["device"]) != (paper.reason == OFFLINE_REASON):
        raise InvalidError("The number of a computer without a network is of no form of paper")
    await tables.end_paper(unit, paper.number, entered=now, voided=None)


async def _mine(unit: GatewayUnit, subject: Subject, number: str) -> Any:
    row = await tables.paper(unit, number)
    shown = numbers.show_number(number)
    if row is None or row["author"] != subject.user:
        raise NotFoundError(f"No form of paper with the number {shown} was given to you")
    if row["entered"]:
        raise ConflictError(f"The form {shown} is typed in already")
    if row["voided"]:
        raise ConflictError(f"The form {shown} was said to be spoilt")
    return row
