"""Orders about staff: hire, transfer, leave, discipline, end; and what a person has earned.

An order, the records that it changes and the rows of lists commit together. Rights follow the
records: the register is asked again within fifteen seconds (decision 0015).
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, NotFoundError, UnprocessableError
from dmed.modules.workforce.model import Act, Employment, Held, Measure, Order, Post
from dmed.modules.workforce.rules import ARGOS_SYSTEM, PINFL_SYSTEM, records, rows, watch
from dmed.modules.workforce.service import files, following, lists
from dmed.modules.workforce.tables import lists as kept_lists
from dmed.modules.workforce.tables import orders
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

WORDS_MAX = 1_000
_ABSENCE_DAYS_MAX = 3 * 366
_AHEAD_DAYS_MAX = 366


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """The order on paper that an act stands on."""

    number: str
    words: str = ""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A post at an institution, as an order gives it."""

    organisation: str
    """Its id; in a transfer its official number or whole name as well."""
    code: str
    title: str
    rate: Decimal


class NewPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who enters the register."""

    family: str
    given: str
    patronymic: str = ""
    sex: str
    born: date
    pinfl: str = ""
    argos: str = ""
    phone: str = ""
    holds: tuple[Held, ...] = ()


def _check_paper(paper: Paper) -> None:
    if not paper.number or len(paper.number) > 100 or len(paper.words) > WORDS_MAX:
        raise InvalidError("An order has a number, and at most 1000 characters of words")


def _check_place(place: Place) -> None:
    if not watch.is_rate(place.rate):
        raise InvalidError("A post has a rate in quarters from 0.25 to 1.5")
    if not place.title or len(place.title) > 200 or (place.code and not rows.is_post(place.code)):
        raise InvalidError("A post has a title, and a code such as 2212.113")


async def _own_post(gateway: Gateway, subject: Subject, role: str) -> Post:
    """A running post at an institution that the subject answers for.

    ForbiddenError also about oneself: nobody makes orders about himself.
    """
    try:
        post = records.post(await gateway.get(subject, "PractitionerRole", role), clock.today())
    except NotFoundError:
        raise NotFoundError("There is no such post in the register") from None
    if subject.practitioner and post.practitioner == subject.practitioner:
        raise ForbiddenError("Nobody makes orders about himself")
    await lists.check_house(gateway, subject, post.organisation)
    if not files.is_running(post):
        raise UnprocessableError("This post has ended already")
    return post


async def _locked(unit: GatewayUnit, type_: str, id_: str) -> dict[str, Any]:
    record = await unit.get(type_, id_, lock=True)
    if record is None:
        raise NotFoundError(f"There is no {type_}/{id_}")
    return record


async def _update(unit: GatewayUnit, type_: str, record: dict[str, Any]) -> None:
    done = await unit.update(type_, record["id"], record)
    await following.keep(unit, type_, done.body, done.vid)


async def _create(unit: GatewayUnit, type_: str, record: dict[str, Any]) -> str:
    done = await unit.create(type_, record)
    await following.keep(unit, type_, done.body, done.vid)
    return done.id


async def _check_rates(
    unit: GatewayUnit, person: str, more: Decimal, without: str = ""
) -> list[Post]:
    """The posts of a person; UnprocessableError where they would be more than 1.5 rates in all.

    Until the unit ends nobody else gives this person a post.
    """
    await unit.lock(f"staff/{person}")
    today = clock.today()
    held = [records.post(one, today) for one in await unit.find(
        "PractitionerRole", f"practitioner=Practitioner/{person}&_count={files.POSTS_MAX}")]
    running = [one for one in held if files.is_running(one)]
    total = more + sum((one.rate for one in running if one.role != without), Decimal(0))
    if total > watch.RATES_MAX:
        raise UnprocessableError(
            f"Together with the other posts this would be {total} rates; one person holds at "
            f"most {watch.RATES_MAX}")
    return running


# Hiring -----------------------------------------------------------------------------------------


async def hire(
    gateway: Gateway, subject: Subject, new: NewPerson, place: Place, since: date, paper: Paper
) -> str:
    """Gives a post to somebody new, or to whoever carries the same PINFL or Argos number already.

    The id of the Practitioner. InvalidError, UnprocessableError and ForbiddenError say why not.
    """
    _check_paper(paper)
    _check_place(place)
    faults = rows.person_faults(new, clock.today())
    if faults:
        raise InvalidError("; ".join(one.said for one in faults))
    house = await lists.house(gateway, subject, place.organisation)
    person = await _known(gateway, subject, new)
    name = " ".join(filter(None, (new.family, new.given)))
    async with gateway.unit(subject) as unit:
        if not person:
            person = await _create(unit, "Practitioner", records.practitioner_record(
                family=new.family, given=new.given, patronymic=new.patronymic, sex=new.sex,
                born=new.born, pinfl=new.pinfl, argos=new.argos, phone=new.phone,
                holds=new.holds))
        running = await _check_rates(unit, person, place.rate)
        kind = Employment.SECOND if running else Employment.MAIN
        role = await _create(unit, "PractitionerRole", records.role_record(
            practitioner=person, practitioner_name=name, organisation=house.id,
            organisation_name=house.name, code=place.code, title=place.title,
            rate_held=place.rate, kind=kind, since=since))
        number = await orders.add(
            unit, act=Act.HIRE, practitioner=person, role=role, organisation=house.id,
            effective=since, maker=subject.user, paper=paper.number, words=paper.words,
            detail={"title": place.title, "rate": str(place.rate)})
        await orders.applied(unit, number)
    return person


async def _known(gateway: Gateway, subject: Subject, new: NewPerson) -> str:
    """The id of the Practitioner with one of the numbers; UnprocessableError for another name."""
    for system, value in ((PINFL_SYSTEM, new.pinfl), (ARGOS_SYSTEM, new.argos)):
        found = await gateway.find(
            subject, "Practitioner", f"identifier={system}|{value}&active=true&_count=2",
        ) if value else []
        for record in found:
            known = records.person(record)
            if known.born != new.born:
                raise UnprocessableError(
                    f"The number {value} stands in the register for somebody of another date of "
                    "birth")
            return known.id
    return ""


# Transfer ---------------------------------------------------------------------------------------


async def transfer(
    gateway: Gateway, subject: Subject, role: str, to: Place, day: date, paper: Paper
) -> int:
    """Moves a post to another place; from today on at once, later on its day. The order's number.

    A head sends away from his institution; the keepers send between any two.
    """
    _check_paper(paper)
    _check_place(to)
    today = clock.today()
    if not today <= day <= today + timedelta(days=_AHEAD_DAYS_MAX):
        raise InvalidError("A transfer is of today or of a day within the next year")
    post = await _own_post(gateway, subject, role)
    async with gateway.unit(subject) as unit:
        await _check_rates(unit, post.practitioner, to.rate, without=role)
        houses = await kept_lists.named_house(unit, to.organisation)
        if not houses:
            raise NotFoundError("There is no such institution in the register")
        if len(houses) > 1:
            raise InvalidError("Several institutions carry this name: give the number")
        house = houses[0]
        number = await orders.add(
            unit, act=Act.TRANSFER, practitioner=post.practitioner, role=role,
            organisation=post.organisation, effective=day, maker=subject.user,
            paper=paper.number, words=paper.words,
            detail={"to": house["id"], "to_name": house["name"], "code": to.code,
                    "title": to.title, "rate": str(to.rate), "from": post.title})
        if day == today:
            await _move(unit, number, role, house["id"], house["name"], to, day)
    return number


async def _move(
    unit: GatewayUnit, number: int, role: str, organisation: str, name: str, to: Place, day: date
) -> None:
    record = await _locked(unit, "PractitionerRole", role)
    now, past = records.moved(
        record, organisation=organisation, organisation_name=name, code=to.code, title=to.title,
        rate_held=to.rate, day=day)
    await _update(unit, "PractitionerRole", now)
    await _create(unit, "PractitionerRole", past)
    await orders.applied(unit, number)


async def carry_out(gateway: Gateway) -> None:
    """The job: transfers whose day has come."""
    async with gateway.unit(following.PLATFORM) as unit:
        for order in await orders.due(unit, clock.today()):
            if order.act is Act.TRANSFER:
                await _carry(unit, order)


async def _carry(unit: GatewayUnit, order: Order) -> None:
    record = await unit.get("PractitionerRole", order.role, lock=True)
    if record is None or not files.is_running(records.post(record, clock.today())):
        await orders.applied(unit, order.number)  # The post ended before: nothing is to move.
        return
    detail = order.detail
    to = Place(organisation=detail["to"], code=detail["code"], title=detail["title"],
               rate=Decimal(detail["rate"]))
    await _move(unit, order.number, order.role, detail["to"], detail["to_name"], to,
                order.effective)


# Absence, discipline, end -----------------------------------------------------------------------


async def leave(
    gateway: Gateway, subject: Subject, role: str, start: date, end: date, kind: str,
    paper: Paper,
) -> int:
    """A leave: on its days nothing is signed in this post. The order's number.

    Its kind (annual, maternity, sick, study) stands in the order, not in the record.
    """
    _check_paper(paper)
    _check_span(start, end)
    post = await _own_post(gateway, subject, role)
    async with gateway.unit(subject) as unit:
        return await _absent(unit, subject, post, Act.LEAVE, start, end, paper, {"kind": kind})


async def discipline(
    gateway: Gateway, subject: Subject, role: str, measure: Measure, day: date, paper: Paper,
    until: date | None = None,
) -> int:
    """A measure of discipline; a suspension keeps from signing until its last day."""
    _check_paper(paper)
    if not paper.words:
        raise InvalidError("A measure of discipline says what for")
    post = await _own_post(gateway, subject, role)
    detail = {"measure": measure.value}
    async with gateway.unit(subject) as unit:
        if measure is Measure.SUSPENSION:
            if until is None:
                raise InvalidError("A suspension has a last day")
            _check_span(day, until)
            return await _absent(unit, subject, post, Act.DISCIPLINE, day, until, paper, detail)
        number = await orders.add(
            unit, act=Act.DISCIPLINE, practitioner=post.practitioner, role=role,
            organisation=post.organisation, effective=day, maker=subject.user,
            paper=paper.number, words=paper.words, detail=detail)
        await orders.applied(unit, number)
        return number


def _check_span(start: date, end: date) -> None:
    if not start <= end <= start + timedelta(days=_ABSENCE_DAYS_MAX):
        raise InvalidError("An absence ends after it begins, within three years")


async def _absent(
    unit: GatewayUnit, subject: Subject, post: Post, act: Act, start: date, end: date,
    paper: Paper, detail: dict[str, str],
) -> int:
    record = await _locked(unit, "PractitionerRole", post.role)
    await _update(unit, "PractitionerRole", records.with_absence(record, start, end))
    number = await orders.add(
        unit, act=act, practitioner=post.practitioner, role=post.role,
        organisation=post.organisation, effective=start, until=end, maker=subject.user,
        paper=paper.number, words=paper.words, detail=detail)
    await orders.applied(unit, number)
    return number


async def end(
    gateway: Gateway, subject: Subject, role: str, last: date, paper: Paper
) -> int:
    """Ends a post after its last day; a day that is past ends it, and its rights, at once."""
    _check_paper(paper)
    post = await _own_post(gateway, subject, role)
    if post.since and last < post.since:
        raise InvalidError("The last day lies before the first one")
    async with gateway.unit(subject) as unit:
        record = await _locked(unit, "PractitionerRole", role)
        await _update(unit, "PractitionerRole", records.ended(record, last))
        number = await orders.add(
            unit, act=Act.END, practitioner=post.practitioner, role=role,
            organisation=post.organisation, effective=last, maker=subject.user,
            paper=paper.number, words=paper.words, detail={"title": post.title})
        await orders.applied(unit, number)
    return number


# What a person has earned -----------------------------------------------------------------------


async def add_held(gateway: Gateway, subject: Subject, practitioner: str, one: Held) -> None:
    """Adds a diploma, certificate, category, licence or training to a file."""
    if not one.title or len(one.title) > 200 or len(one.number) > 100 or len(one.issuer) > 200:
        raise InvalidError("What is added to a file has a title of at most 200 characters")
    if one.valid_from and one.valid_until and one.valid_until < one.valid_from:
        raise InvalidError("The last day lies before the first one")
    found = await files.file(gateway, subject, practitioner)
    if not found.is_keeper:
        raise ForbiddenError("Nobody adds to the own file: the head of the institution does")
    async with gateway.unit(subject) as unit:
        record = await _locked(unit, "Practitioner", practitioner)
        await _update(unit, "Practitioner", records.with_held(record, one))
