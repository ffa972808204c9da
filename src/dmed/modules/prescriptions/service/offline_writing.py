"""Prescribing without a network: the kit, a doctor's computers, and what they send afterwards.

What is believed is entered as a form of paper is: by the same checks, in one transaction, under
the number that the patient already has. What the checks ask about waits for its doctor; nothing
that a doctor signed is lost.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from dmed.kit import clock
from dmed.kit.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from dmed.modules.facilities import api as facilities
from dmed.modules.medicines import api as medicines
from dmed.modules.medid import api as medid
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.model import ITEMS_MAX, Draft, Finding, Reason
from dmed.modules.prescriptions.rules import checks, numbers, tokens
from dmed.modules.prescriptions.rules import offline as rules
from dmed.modules.prescriptions.rules.offline import Act, Facts, Outcome
from dmed.modules.prescriptions.service import diagnoses, drafts, offline, signing
from dmed.modules.prescriptions.service import offline_store as store
from dmed.modules.prescriptions.service.keys import keys
from dmed.modules.signing import api as signatures
from dmed.trust.model import Subject
from dmed.trust.signing import jose

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

LISTED_MAX = 100
_ID_MAX = 64
_LANGUAGES = ("uz", "ru", "en")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer about one act."""

    id: str
    outcome: Outcome
    number: str = ""
    findings: tuple[Finding, ...] = ()


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent, for its doctor to read: with the act itself."""

    kept: store.Kept
    act: Act


# The kit


async def kit(gateway: Gateway, subject: Subject, language: str) -> tuple[bytes, str]:
    """The kit as JSON and its detached seal (JWS). ForbiddenError for who may not prescribe."""
    now = clock.now()
    who = await signing.signer(gateway, subject, now)
    body = msgspec.json.encode({
        "issued": now.isoformat(timespec="milliseconds"),
        "until": (now + rules.KIT_AGE).isoformat(timespec="milliseconds"),
        "user": subject.user, "organisation": subject.organisation,
        "organisation_name": who.organisation.name, "doctor": who.name,
        "keys": offline.public_keys(gateway.settings)["keys"],
        "limits": {"items": ITEMS_MAX, "days": rules.DAYS_MAX, "child_years": rules.CHILD_YEARS,
                   "skew_seconds": int(rules.SKEW.total_seconds())},
        "diagnoses": [[each.code, each.name(language)] for each in diagnoses.entries().values()],
        "register": _register(gateway, language, now),
    })  # fmt: skip  # One kit.
    await gateway.note(subject, "R", "kit for prescribing without a network")
    return body, offline.seal(gateway.settings, body)


def _register(gateway: Gateway, language: str, now: datetime) -> msgspec.Raw:
    """All preparations on the market, made once a day, language and version of the register."""
    held = gateway.held("prescriptions.offline", dict[str, tuple[object, msgspec.Raw]])
    products = medicines.all_products()
    day = now.astimezone(clock.TASHKENT).date()
    # The tuple of all products is another object in each version of the register.
    made_of = (id(products), day)
    found = held.get(language)
    if found is not None and found[0] == made_of:
        return found[1]
    known = {each.preparation.key: each.preparation for each in products}
    rows = [
        rules.offered(
            each, medicines.label(each.key, language),
            " ".join(dict.fromkeys(medicines.label(each.key, one) for one in _LANGUAGES)),
            lambda unit: medicines.unit_name(unit, language), day)
        for each in known.values()
    ]  # fmt: skip  # One row.
    made = msgspec.Raw(msgspec.json.encode(rows))
    held[language] = (made_of, made)
    return made


# Computers


async def enrol(gateway: Gateway, subject: Subject, x: str, y: str) -> tuple[str, int]:
    """Register the key that a doctor's PIN guards on this computer; the same key again is the same
    computer. Its number, and the last running number that came from it. InvalidError for what is no
    point of P-256 in base64url.
    """
    now = clock.now()
    who = await signing.signer(gateway, subject, now)
    try:
        jose.public_key(x, y)
    except ValueError as error:
        raise InvalidError("This is no public key on P-256") from error
    made = store.Key(
        id=jose.thumbprint(x, y), author=subject.user, organisation=subject.organisation,
        region=_region(who.organisation), x=x, y=y, since=now,
    )  # fmt: skip  # One key.
    async with gateway.unit(subject) as unit:
        others = await store.count_keys(unit, subject.user, made.id)
        if others >= rules.COMPUTERS:
            raise ConflictError(
                f"You have {others} computers for prescribing without a network: withdraw one "
                "that you do not use")
        await store.keep_key(unit, made)
        kept = await store.key(unit, made.id)
        last = await store.last_seq(unit, made.id)
    assert kept is not None  # It was kept just now.
    _require_own(kept, subject)
    await gateway.note(subject, "C", f"computer for prescribing without a network {made.id}")
    return kept.id, last


def _require_own(key: store.Key, subject: Subject) -> None:
    if (key.author, key.organisation) != (subject.user, subject.organisation):
        raise ForbiddenError("This key belongs to somebody else, or to another post of yours")


def _region(place: facilities.OrganisationFacts) -> str:
    return place.region if place.region in tables.REGIONS else tables.REGIONS[9]


async def free_numbers(gateway: Gateway, subject: Subject, id_: str) -> list[tuple[str, str]]:
    """The unused numbers of a computer with their access codes, filled up to `rules.NUMBERS`. They
    are good for nothing without the doctor's signature.
    """
    who = await signing.signer(gateway, subject, clock.now())
    region, codes = _region(who.organisation), keys(gateway.settings).codes
    async with gateway.unit(subject) as unit:
        key = await store.key(unit, id_, lock=True)
        if key is None or key.withdrawn is not None:
            raise NotFoundError("This computer is not known, or its key was withdrawn")
        _require_own(key, subject)
        await store.see(unit, id_)
        used = await store.used_numbers(unit, id_)
        rows = await tables.papers(unit, subject.user, id_)
        held = [row["number"] for row in rows if row["number"] not in used]
        more = rules.NUMBERS - len(held)
        for _ in range(more):
            number = numbers.make_number(region, await tables.next_running(unit, region))
            await tables.insert_paper(unit, number, subject.user, subject.organisation, id_)
            held.append(number)
    if more > 0:
        await gateway.note(subject, "C", f"{more} numbers for prescribing without a network")
    return [(number, numbers.make_code(codes, number)) for number in held]


async def computers(gateway: Gateway, subject: Subject) -> list[store.Key]:
    """The doctor's computers, newest first."""
    async with gateway.unit(subject) as unit:
        return await store.keys_of(unit, subject.user)


async def withdraw(gateway: Gateway, subject: Subject, id_: str) -> None:
    """What this key signs from now on counts no more, and it gets no more numbers; what it signed
    before may still come.
    """
    now = clock.now()
    async with gateway.unit(subject) as unit:
        if not await store.withdraw(unit, subject.user, id_, now):
            raise NotFoundError("No such computer of yours is known")
    await gateway.note(subject, "U", f"computer {id_} withdrawn from prescribing")


# What is sent


async def send(gateway: Gateway, subject: Subject, signed: list[str]) -> list[Result]:
    """Judge what was written, in the order of its writing; one answer each, in the same order. The
    same act again is answered by what became of it.
    """
    drafts.require_doctor(subject)
    if len(signed) > rules.ACTS_AT_ONCE:
        raise InvalidError(f"At most {rules.ACTS_AT_ONCE} prescriptions are sent at once")
    return [await _settle(gateway, subject, each) for each in signed]


async def _settle(gateway: Gateway, subject: Subject, text: str) -> Result:
    try:
        header, payload, over, signature = jose.read(text.encode())
        act = msgspec.json.decode(payload, type=Act)
    except (signatures.SignatureError, msgspec.DecodeError, UnicodeEncodeError):
        return _refused("", "unreadable", "This is no prescription of a doctor's page")
    if not rules.is_plausible(act):
        return _refused(act.id, "unreadable", "This is no prescription of a doctor's page")
    async with gateway.unit(subject) as unit:
        key = await store.key(unit, str(header.get("kid", "")))
    if key is None or not jose.raw_holds(jose.public_key(key.x, key.y), over, signature):
        await gateway.note(subject, "E", f"offline prescription {act.id}: unknown key", outcome=403)
        return _refused(act.id, "key", "It is not signed by a known key of a doctor")
    if (key.author, key.organisation) != (subject.user, subject.organisation):
        return Result(id=act.id, outcome=Outcome.WAITING, findings=(rules.finding(
            "other_doctor", "Another doctor, or another post, wrote it: sign in as that one to "
            "send it"),))  # fmt: skip  # One answer.
    digest = hashlib.sha256(payload).digest()
    async with gateway.unit(subject) as unit:
        kept = await _received(unit, key.id, act, digest, text)
    if kept.digest != digest:
        return _refused(act.id, "reused", "The number of this act was used for another act")
    if kept.outcome is Outcome.ASKED:
        return await _entered(gateway, subject, act, kept)
    return Result(id=kept.id, outcome=kept.outcome, number=kept.number, findings=kept.findings)


def _refused(id_: str, name: str, sentence: str) -> Result:
    return Result(id=id_[:_ID_MAX], outcome=Outcome.REFUSED,
                  findings=(rules.finding(name, sentence),))  # fmt: skip  # One answer.


async def _received(
    unit: GatewayUnit, key_id: str, act: Act, digest: bytes, text: str
) -> store.Kept:
    """The act as it is kept: from now on nothing loses it. It was kept before, or is judged now
    under the lock of its key.
    """
    key = await store.key(unit, key_id, lock=True)
    assert key is not None  # Keys are never deleted.
    before = await store.act(unit, act.id)
    if before is not None:
        return before
    now = clock.now()
    try:
        token = tokens.verify(act.token, jose.public_key(key.x, key.y))
    except InvalidError:
        token = None
    fault = await _number_fault(unit, key, act.number)
    wrong = rules.disbelieved(act, Facts(
        now=now, withdrawn=key.withdrawn, token=token, number_fault=fault,
        is_seq_taken=await store.is_seq_taken(unit, key.id, act.seq),
        known={line.preparation: found for line in act.items
               if (found := _known(line.preparation)) is not None},
    ))  # fmt: skip  # Facts of one act.
    await store.see(unit, key.id)
    if wrong is not None and not fault:
        # It may stand on a slip: nobody gets it again, and no counter waits for it.
        await tables.end_paper(unit, act.number, entered=None, voided=now)
    kept = store.Kept(
        id=act.id, digest=digest, key=key.id, seq=act.seq, author=key.author, number=act.number,
        at=act.at, received=now, outcome=Outcome.REFUSED if wrong else Outcome.ASKED,
        findings=(wrong,) if wrong else (), signed=text,
    )  # fmt: skip  # One row.
    await store.keep_act(unit, kept)
    return kept


def _known(key: str) -> medicines.Preparation | None:
    try:
        return medicines.preparation(key)
    except NotFoundError:
        return None


async def _number_fault(unit: GatewayUnit, key: store.Key, number: str) -> str:
    row = await tables.paper(unit, number)
    if row is None or row["device"] != key.id:
        return "it was given to nobody, or to another computer"
    if row["entered"] or await store.act_of_number(unit, number):
        return "it was used before"
    return "it was taken back" if row["voided"] else ""


async def _entered(gateway: Gateway, subject: Subject, act: Act, kept: store.Kept) -> Result:
    """The prescription of a believed act, or what its doctor has to answer before."""
    patient, asked = await _person(gateway, subject, act, kept.person)
    if asked is not None:
        said: tuple[Finding, ...] = (asked,)
    elif signatures.is_outside(gateway.settings):
        said = (rules.finding("own_program", "Your own program signs it: open it and sign"),)
    else:
        said = await _signed(gateway, subject, act, patient)
    outcome = Outcome.ASKED if said else Outcome.SIGNED
    async with gateway.unit(subject) as unit:
        row = await tables.paper(unit, act.number)
        if row and row["entered"]:
            # By this, or its doctor answered and signed it in another window.
            outcome, said = Outcome.SIGNED, ()
        await store.settle_act(unit, act.id, outcome, said, kept.person)
    await gateway.note(subject, "E", f"offline prescription {act.number}: {outcome.value}")
    return Result(id=act.id, outcome=outcome, number=act.number, findings=said)


async def _signed(
    gateway: Gateway, subject: Subject, act: Act, patient: str
) -> tuple[Finding, ...]:
    """Sign it under its own number; nothing, or what keeps it from being signed."""
    draft = rules.draft_of(act, patient)
    try:
        await signing.sign(gateway, subject, draft, key=f"offline:{act.id}")
    except UnprocessableError as refusal:
        if rules.is_late(act.at, clock.now()):
            return (rules.finding("late", str(refusal)),)
        alerts = checks.unanswered(await drafts.check(gateway, subject, drafts.derive(draft)))
        return tuple(
            Finding(_named(alert.reason, draft, alert.item), alert.sentence) for alert in alerts
        ) or (rules.finding("asked", str(refusal), text=str(refusal)),)
    except (ConflictError, ForbiddenError, InvalidError, NotFoundError) as refusal:
        return (rules.finding("asked", str(refusal), text=str(refusal)),)
    return ()


def _named(reason: Reason, draft: Draft, item: int) -> Reason:
    """The reason of an alert with the medicine of its line, which the workspace shows beside it."""
    known = _known(draft.items[item].preparation) if item >= 0 else None
    inn = {"inn": known.inn.key} if known is not None and "inn" not in reason.values else {}
    return Reason(reason.key, {**reason.values, **inn})


async def _person(
    gateway: Gateway, subject: Subject, act: Act, stated: str
) -> tuple[str, Finding | None]:
    """Id of the Patient of the act, or of the number that its doctor stated afterwards; or what is
    asked where nobody has it, or the card is of another year of birth or begins with other letters.
    A number that was stated on being asked may have other letters: people change their names.
    """
    number = stated or act.person.value
    # A name or a telephone would find somebody, too: only a number of the person names him.
    is_number = rules.is_person_number(number)
    found = await medid.find(gateway, subject, number, 2) if is_number else []
    if len(found) != 1:
        return "", rules.finding(
            "nobody", "Nobody is found by this MED-ID or PINFL: state another one")
    born = found[0].birth_date[:4]
    if born != str(act.birth_year):
        return "", rules.finding(
            "birth_year", f"The slip says born in {act.birth_year}, the card {born}: state whose "
            "it is", slip=str(act.birth_year), card=born)  # fmt: skip  # One finding.
    names = [each for each in (found[0].name, found[0].name_other) if each]
    if not stated and not rules.are_initials_of(act.initials, names):
        card = "".join(f"{letter}." for letter in rules.first_letters(names[0]))
        return "", rules.finding(
            "initials", f"The slip says {act.initials}, the card {card}: confirm the number, or "
            "state another one", slip=act.initials, card=card)  # fmt: skip  # One finding.
    return await medid.survivor(gateway, subject, found[0].id), None


# What waits for its doctor


async def sent(gateway: Gateway, subject: Subject) -> list[Sent]:
    """What the doctor sent, what asks him something first, then newest first. One that was signed
    in the ordinary workspace meanwhile is shown as signed.
    """
    async with gateway.unit(subject) as unit:
        rows = [await _looked(unit, row)
                for row in await store.acts(unit, subject.user, LISTED_MAX)]
    await gateway.note(subject, "R", f"{len(rows)} prescriptions written without a network")
    return [Sent(kept=row, act=_act(row)) for row in rows]


async def _looked(unit: GatewayUnit, kept: store.Kept) -> store.Kept:
    """The act as it stands: its doctor may have signed or voided its number elsewhere."""
    if kept.outcome is not Outcome.ASKED:
        return kept
    paper = await tables.paper(unit, kept.number)
    if paper is None or not (paper["entered"] or paper["voided"]):
        return kept
    outcome = Outcome.SIGNED if paper["entered"] else Outcome.DROPPED
    await store.settle_act(unit, kept.id, outcome, (), kept.person)
    return msgspec.structs.replace(kept, outcome=outcome, findings=())


def _act(kept: store.Kept) -> Act:
    _, payload, _, _ = jose.read(kept.signed.encode())
    return msgspec.json.decode(payload, type=Act)


async def again(gateway: Gateway, subject: Subject, id_: str, person: str = "") -> Result:
    """Enter one that asks something once more, for another person where its doctor states one
    (MED-ID or PINFL).
    """
    kept = await _mine(gateway, subject, id_)
    named = "".join(person.split())
    return await _entered(gateway, subject, _act(kept),
                          msgspec.structs.replace(kept, person=named or kept.person))


async def answer(gateway: Gateway, subject: Subject, id_: str) -> Draft:
    """A saved draft of one that asks something, for the ordinary workspace: there its doctor
    answers and signs it under its own number.
    """
    kept = await _mine(gateway, subject, id_)
    act = _act(kept)
    patient, asked = await _person(gateway, subject, act, kept.person)
    if asked is not None:
        raise ConflictError(asked.sentence)
    for draft in await drafts.listed(gateway, subject, patient):
        if draft.paper is not None and draft.paper.number == act.number:
            return draft
    return await drafts.save(gateway, subject, drafts.derive(rules.draft_of(act, patient)))


async def drop(gateway: Gateway, subject: Subject, id_: str) -> None:
    """Take back one that is no prescription yet: its number is never used. What a pharmacy handed
    over meanwhile becomes a case there.
    """
    kept = await _mine(gateway, subject, id_)
    async with gateway.unit(subject) as unit:
        row = await tables.paper(unit, kept.number)
        if row is None or row["entered"]:
            raise ConflictError("It is a prescription already: cancel it there")
        await tables.end_paper(unit, kept.number, entered=None, voided=clock.now())
        await store.settle_act(unit, id_, Outcome.DROPPED, (), kept.person)
    await gateway.note(subject, "D", f"offline prescription {kept.number} taken back")


async def _mine(gateway: Gateway, subject: Subject, id_: str) -> store.Kept:
    async with gateway.unit(subject) as unit:
        kept = await store.act(unit, id_)
    if kept is None or kept.author != subject.user or kept.outcome is not Outcome.ASKED:
        raise NotFoundError("No prescription of yours waits under this number")
    return kept
