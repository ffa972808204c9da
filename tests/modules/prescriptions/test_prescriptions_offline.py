"""Prescriptions written without a network, judged and entered over a real database."""

from __future__ import annotations

import asyncio
import csv
import secrets
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit import clock
from dmed.kit.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from dmed.modules.medicines import api as medicines
from dmed.modules.medid import rules as medid_rules
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.model import OFFLINE_REASON, ItemState, Paper
from dmed.modules.prescriptions.rules import numbers, papers, tokens
from dmed.modules.prescriptions.rules import offline as rules
from dmed.modules.prescriptions.rules.offline import Outcome
from dmed.modules.prescriptions.service import offline, offline_store, offline_writing
from dmed.trust.signing import jose

AMOXICILLIN = "amoxicillin-capsule-500mg"
PARACETAMOL = "paracetamol-tablet-500mg"


class Desk:
    """A doctor's computer: its key, and what it signs while it has no line."""

    def __init__(self, ward: Any, subject: Any = None) -> None:
        self.ward, self.subject, self.seq = ward, subject or ward.doctor, 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key().public_numbers()
        self.x, self.y = (jose.encode(part.to_bytes(32, "big")) for part in (public.x, public.y))
        self.id = jose.thumbprint(self.x, self.y)
        self.numbers: list[tuple[str, str]] = []

    async def ready(self) -> Desk:
        """Its doctor sets a PIN on it while there is a line."""
        await offline_writing.enrol(self.ward.gateway, self.subject, self.x, self.y)
        self.numbers = await offline_writing.free_numbers(
            self.ward.gateway, self.subject, self.id)
        return self

    def content(self, person: str, born: int, *keys: str, **more: Any) -> dict[str, Any]:
        """What is signed for a person of a MED-ID: the usual course of each preparation."""
        self.seq += 1
        now = clock.now()
        number = more.pop("number", None) or self.numbers.pop(0)[0]
        lines = [_line(key) for key in keys or (PARACETAMOL,)]
        made = {
            "id": secrets.token_hex(16), "seq": self.seq, "at": now.isoformat(),
            "kit": (now - timedelta(hours=1)).isoformat(), "number": number,
            "person": {"kind": "med-id", "value": person}, "initials": "S.N.", "birth_year": born,
            "diagnosis": "J15.9", "items": lines, "asked": True,
        }  # fmt: skip  # One act.
        return {**made, "token": self.token(made), **more}

    def token(self, made: dict[str, Any], **more: Any) -> str:
        """The signed token of the slip."""
        day = tokens.day_number(clock.today())
        items = tuple(
            tokens.TokenItem(*rules.token_key(medicines.preparation(line["preparation"])),
                             int(line["quantity"]))
            for line in made["items"]
        )  # fmt: skip  # One item.
        fields = {"number": int(made["number"]), "signed_day": day, "valid_day": day + 30,
                  "prescriber_key": self.id[:8], "person": bytes(8),
                  "initials": made["initials"], "birth_year": made["birth_year"], "items": items}
        return tokens.sign(tokens.Token(**{**fields, **more}), self.key)

    def signed(self, content: dict[str, Any]) -> str:
        """A compact JWS by this key."""
        return jose.sign(
            self.key, msgspec.json.encode(content), {"kid": self.id}, detached=False).decode()

    async def send(self, *contents: dict[str, Any]) -> list[offline_writing.Result]:
        """The line is there again."""
        signed = [self.signed(each) for each in contents]
        return await offline_writing.send(self.ward.gateway, self.subject, signed)


def _line(key: str) -> dict[str, Any]:
    known = medicines.preparation(key)
    days = known.default_days
    units = known.default_dose * known.default_times * days / known.dose_per_unit
    return {"preparation": key, "dose": f"{known.default_dose:f}",
            "times_per_day": known.default_times, "duration_days": days,
            "quantity": str(int(units)), "as_needed": False, "note": ""}  # fmt: skip  # One line.


def _med_id() -> str:
    return medid_rules.new_med_id(secrets.randbelow(10**12))


async def _person(ward: Any, born: int = 1980) -> tuple[str, str]:
    """Id and MED-ID of a new person."""
    med_id = _med_id()
    made = await ward.gateway.create(ward.doctor, "Patient", {
        "resourceType": "Patient", "gender": "female", "birthDate": f"{born}-05-17",
        "identifier": [{"system": medid_rules.MED_ID_SYSTEM, "value": med_id}],
        "name": [{"family": "Sinovova", "given": ["Namuna"]}],
    })  # fmt: skip  # One record.
    return str(made.id), med_id


@pytest.fixture(autouse=True)
def _many_computers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of one file are one doctor's; the limit of computers has a test of its own."""
    monkeypatch.setattr(rules, "COMPUTERS", 10_000)


@pytest.fixture
async def desk(ward: Any) -> Desk:
    """A computer with a key and numbers."""
    return await Desk(ward).ready()


async def test_what_was_written_becomes_a_prescription_of_the_day_of_writing(
    ward: Any, desk: Desk
) -> None:
    """Its number, its person, its lines; valid from the writing, and said to be written offline."""
    patient, med_id = await _person(ward)
    written = desk.content(med_id, 1980, PARACETAMOL, AMOXICILLIN)

    done, = await desk.send(written)

    assert done.outcome is Outcome.SIGNED, done.findings
    found = await api.prescription(ward.gateway, ward.doctor, written["number"])
    assert (found.patient, found.is_open) == (patient, True)
    assert [item.preparation for item in found.items] == [PARACETAMOL, AMOXICILLIN]
    assert {item.state for item in found.items} == {ItemState.TO_BE_DISPENSED}
    assert found.paper is not None
    assert found.paper.reason == OFFLINE_REASON
    assert abs(found.paper.written - clock.now()) < timedelta(minutes=5)
    # An antibiotic among them: ten days from the writing.
    assert found.valid_until == clock.today() + timedelta(days=10)


async def test_sent_again_it_is_the_same_one(ward: Any, desk: Desk) -> None:
    """Eight times at once after a lost answer: one prescription, eight equal answers."""
    patient, med_id = await _person(ward)
    written = desk.content(med_id, 1980)

    answers = await asyncio.gather(*(desk.send(written) for _ in range(8)))

    assert {one.outcome for one, in answers} == {Outcome.SIGNED}, answers
    assert len(await api.for_person(ward.gateway, ward.doctor, patient)) == 1
    other = {**written, "diagnosis": "J06.9"}
    refused, = await desk.send(other)
    assert refused.outcome is Outcome.REFUSED
    assert refused.findings[0].reason.key.endswith("why.reused")


async def test_what_the_checks_ask_waits_for_its_doctor(ward: Any, desk: Desk) -> None:
    """An antibiotic for a cold is no prescription until its doctor gave a reason in the workspace,
    and then it is one under the number that the patient holds.
    """
    patient, med_id = await _person(ward)
    written = desk.content(med_id, 1980, AMOXICILLIN, diagnosis="J06.9")

    asked, = await desk.send(written)

    assert asked.outcome is Outcome.ASKED
    assert asked.findings[0].reason.key == "prescriptions.alert.antibiotic_viral"
    with pytest.raises(NotFoundError):
        await api.prescription(ward.gateway, ward.doctor, written["number"])
    draft = await offline_writing.answer(ward.gateway, ward.doctor, written["id"])
    assert draft == await offline_writing.answer(ward.gateway, ward.doctor, written["id"])
    item = msgspec.structs.replace(
        draft.items[0], overrides={"antibiotic-viral": "benefit-outweighs"})
    await api.sign(ward.gateway, ward.doctor, msgspec.structs.replace(draft, items=(item,)))
    assert (await api.prescription(ward.gateway, ward.doctor, written["number"])).patient == patient
    row = next(one for one in await offline_writing.sent(ward.gateway, ward.doctor)
               if one.kept.id == written["id"])  # fmt: skip  # One filter.
    assert row.kept.outcome is Outcome.SIGNED
    again, = await desk.send(written)
    assert again.outcome is Outcome.SIGNED


async def test_the_wrong_person_is_asked_about(ward: Any, desk: Desk) -> None:
    """Another year of birth than the card's, or a number of nobody: its doctor states whose it is,
    and it becomes that person's. A name or a telephone is no number of a person.
    """
    _, wrong = await _person(ward, born=1950)
    patient, right = await _person(ward, born=1980)
    one, two = desk.content(wrong, 1980), desk.content(_med_id(), 1980)

    answers = await desk.send(one, two)

    assert [each.outcome for each in answers] == [Outcome.ASKED, Outcome.ASKED]
    assert [each.findings[0].reason.key.rsplit(".", 1)[1] for each in answers] == [
        "birth_year", "nobody"]
    with pytest.raises(ConflictError, match="1950"):
        await offline_writing.answer(ward.gateway, ward.doctor, one["id"])
    for stated in ("Sinovova Namuna", "901234567", "+998 90 123 45 67"):
        still = await offline_writing.again(ward.gateway, ward.doctor, one["id"], stated)
        assert still.findings[0].reason.key.endswith("why.nobody"), stated
    spaced = f"{right[:4]} {right[4:]}"
    done = await offline_writing.again(ward.gateway, ward.doctor, one["id"], spaced)
    assert done.outcome is Outcome.SIGNED
    assert (await api.prescription(ward.gateway, ward.doctor, one["number"])).patient == patient


async def test_other_initials_are_confirmed_by_the_number(ward: Any, desk: Desk) -> None:
    """A card that begins with other letters is not written to before its doctor has confirmed the
    number, with or without another sending meanwhile.
    """
    patient, med_id = await _person(ward, born=1980)
    written = desk.content(med_id, 1980, initials="K.B.")
    written["token"] = desk.token(written)

    asked, = await desk.send(written)
    still, = await desk.send(written)

    assert [each.findings[0].reason.key.rsplit(".", 1)[1] for each in (asked, still)] == [
        "initials", "initials"]
    assert asked.findings[0].reason.values == {"slip": "K.B.", "card": "S.N."}
    with pytest.raises(ConflictError, match="confirm the number"):
        await offline_writing.answer(ward.gateway, ward.doctor, written["id"])
    done = await offline_writing.again(ward.gateway, ward.doctor, written["id"], med_id)
    assert done.outcome is Outcome.SIGNED
    found = await api.prescription(ward.gateway, ward.doctor, written["number"])
    assert found.patient == patient


@pytest.mark.parametrize(
    ("initials", "names", "holds"),
    [("Y.S.", ["Юлдашев Сардор"], True), ("Ю.С.", ["Yo‘ldoshev Sardor"], True),
     ("S.Y.", ["Yo‘ldoshev Sardor"], True), ("Q.D.", ["Кадыров Джамшид"], True),
     ("K.J.", ["Қодиров Жамшид"], True), ("X.E.", ["Hakimova Elmira"], True),
     ("C.S.", ["Шарипов Чори"], True), ("O.U.", ["Abdullayev Ulug‘bek"], True),
     ("Y.T.", ["Ergashev To‘lqin"], True), ("К.Б.", ["Юлдашев Сардор"], False),
     ("S.M.", ["Yo‘ldoshev Sardor Murodovich"], False), ("B.B.", ["Aliyev Bobur"], False),
     ("B.A.", ["Karimova Aziza", "Boboyeva Aziza"], True), ("Y.S.", ["Sardor"], True),
     ("U.‘.", ["‘Umarov Ali"], True), ("У.А.", ["‘Umarov Ali"], True),
     ("У.Б.", ["‘Umarov Ali"], False), ("A.U.", ["12 ‘Umarov - Ali"], True),
     ("Y.S.", [], True), ("", ["Aliyev Ali"], True)],
)  # fmt: skip  # A table of cases.
def test_initials_are_compared_over_scripts(
    initials: str, names: list[str], holds: bool  # A parameter of the case.
) -> None:
    """One name begins alike in all spellings and either order; another name does not."""
    assert rules.are_initials_of(initials, names) is holds


def test_initials_of_invented_people_agree_and_those_of_strangers_do_not(
    shared_data: Path
) -> None:
    """Of records of one man in several scripts, with errors, nearly all agree; of neighbours in the
    file few do.
    """
    people: dict[str, list[tuple[str, str]]] = {}
    with (shared_data / "mpi" / "uz_synth_dev_20k.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["sex"] == "M" and row["surname"] and row["given"]:
                people.setdefault(row["person_id"], []).append((row["surname"], row["given"]))

    def agree(one: tuple[str, str], other: tuple[str, str]) -> bool:
        return rules.are_initials_of(f"{one[0][0]}.{one[1][0]}.", [" ".join(other)])

    same = [agree(*pair) for rows in people.values() for pair in permutations(rows, 2)]
    first = [rows[0] for rows in people.values()]
    strangers = [agree(*pair) for pair in pairwise(first)]
    assert len(same) > 4_000
    assert sum(same) / len(same) > 0.99
    assert sum(strangers) / len(strangers) < 0.03


async def test_nothing_is_believed_that_this_doctor_cannot_have_written(
    ward: Any, desk: Desk
) -> None:
    """A future moment, a kit of later, a copied running number, a number of nobody, of another
    computer or used before, a slip that says something else: each refused with its reason, and no
    prescription is made.
    """
    patient, med_id = await _person(ward)
    other = await Desk(ward).ready()
    later = (clock.now() + timedelta(hours=2)).isoformat()
    used = desk.content(med_id, 1980)
    done, = await desk.send(used)
    assert done.outcome is Outcome.SIGNED
    cases: list[tuple[str, dict[str, Any]]] = [
        ("future", desk.content(med_id, 1980, at=later)),
        ("before_kit", desk.content(med_id, 1980, kit=later)),
        ("replayed", desk.content(med_id, 1980, seq=1)),
        ("number", desk.content(med_id, 1980, number=numbers.make_number("1726", 99_000_001))),
        ("number", desk.content(med_id, 1980, number=other.numbers[0][0])),
        ("number", desk.content(med_id, 1980, number=used["number"])),
        ("token", desk.content(med_id, 1980, birth_year=1981)),
        ("token", desk.content(med_id, 1980, items=[{**_line(PARACETAMOL), "quantity": "99"}])),
        ("token", desk.content(med_id, 1980, items=[_line(AMOXICILLIN)])),
        ("token", desk.content(med_id, 1980, token=used["token"])),
        ("unreadable", desk.content(med_id, 1980, items=[])),
        ("unreadable", desk.content("Sinovova Namuna", 1980)),
        ("unreadable", desk.content(med_id, 1980, items=[{**_line(PARACETAMOL), "dose": "-1"}])),
    ]
    for reason, content in cases:
        answer, = await desk.send(content)
        assert answer.outcome is Outcome.REFUSED, reason
        assert answer.findings[0].reason.key == f"prescriptions.offline.why.{reason}"
    forged = desk.signed(desk.content(med_id, 1980)).replace(".", ".A", 1)
    foreign = other.signed(desk.content(med_id, 1980))
    for text in (forged, foreign, "nothing", ""):
        answer, = await offline_writing.send(ward.gateway, ward.doctor, [text])
        assert answer.outcome is Outcome.REFUSED
    assert len(await api.for_person(ward.gateway, ward.doctor, patient)) == 1


async def test_a_lost_computer_signs_no_more(ward: Any, desk: Desk) -> None:
    """After its key is withdrawn nothing that it signs is believed, here or at a counter, and it
    gets no numbers; what it wrote before is entered.
    """
    _, med_id = await _person(ward)
    before = desk.content(med_id, 1980)
    await asyncio.sleep(0.01)
    await offline_writing.withdraw(ward.gateway, ward.doctor, desk.id)
    after = desk.content(med_id, 1980)

    one, two = await desk.send(before, after)

    assert (one.outcome, two.outcome) == (Outcome.SIGNED, Outcome.REFUSED)
    assert two.findings[0].reason.key.endswith("why.withdrawn")
    with pytest.raises(NotFoundError):
        await offline_writing.free_numbers(ward.gateway, ward.doctor, desk.id)
    async with ward.gateway.unit(ward.pharmacist) as unit:
        with pytest.raises(InvalidError, match="withdrawn"):
            await offline.read_token(unit, ward.gateway.settings, after["token"])
        keys = await offline.doctors_keys(unit, "1726", 10_000)
    assert desk.id not in {each["kid"] for each in keys}


async def test_a_doctor_has_so_many_computers(
    ward: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more is refused until another is withdrawn; the same one again is no more."""
    async with ward.gateway.unit(ward.doctor) as unit:
        held = await offline_store.count_keys(unit, ward.doctor.user, "")
    monkeypatch.setattr(rules, "COMPUTERS", held)
    await desk.ready()
    with pytest.raises(ConflictError, match="withdraw one"):
        await Desk(ward).ready()
    await offline_writing.withdraw(ward.gateway, ward.doctor, desk.id)
    await Desk(ward).ready()


async def test_another_doctor_sends_nothing_of_his(ward: Any, desk: Desk) -> None:
    """In another's session it stays in its queue, and his computer stays his."""
    _, med_id = await _person(ward)
    written = desk.signed(desk.content(med_id, 1980))
    stranger = msgspec.structs.replace(ward.doctor, user="stranger")

    answer, = await offline_writing.send(ward.gateway, stranger, [written])

    assert answer.outcome is Outcome.WAITING
    with pytest.raises(ForbiddenError):
        await offline_writing.enrol(ward.gateway, stranger, desk.x, desk.y)
    with pytest.raises(ForbiddenError):
        await offline_writing.free_numbers(ward.gateway, stranger, desk.id)
    with pytest.raises(NotFoundError):
        await offline_writing.withdraw(ward.gateway, stranger, desk.id)
    with pytest.raises(ForbiddenError):
        await offline_writing.kit(ward.gateway, ward.pharmacist, "uz")
    with pytest.raises(ForbiddenError):
        await offline_writing.send(ward.gateway, ward.pharmacist, [written])


async def test_numbers_are_filled_up_and_are_of_no_form(ward: Any, desk: Desk) -> None:
    """Twenty unused ones whatever is asked at once; none of them is typed in as a form of paper,
    and forms of paper are none of them.
    """
    patient, _ = await _person(ward)
    lists = await asyncio.gather(*(
        offline_writing.free_numbers(ward.gateway, ward.doctor, desk.id) for _ in range(4)))
    assert all(sorted(each) == sorted(desk.numbers) for each in lists)
    assert len(desk.numbers) == rules.NUMBERS
    number, code = desk.numbers[0]
    assert numbers.read_number(number) == number
    assert len(code) == 52
    waiting = {form.number for form in await api.paper_forms.blank(ward.gateway, ward.doctor)}
    assert number not in waiting
    form = Paper(number=number, written=clock.now(), reason="no-network")
    with pytest.raises(InvalidError, match="no form of paper"):
        await api.sign(ward.gateway, ward.doctor, ward.draft(patient, PARACETAMOL, paper=form))


async def test_a_number_that_stands_on_a_slip_is_given_to_nobody(ward: Any, desk: Desk) -> None:
    """Signed, asked about or refused: the number goes, and another one comes in its place."""
    _, med_id = await _person(ward)
    good = desk.content(med_id, 1980)
    asked = desk.content(_med_id(), 1980)
    refused = desk.content(med_id, 1980, birth_year=1981)
    done = await desk.send(refused, asked, good)  # A later running number does not hold it back.
    assert [one.outcome for one in done] == [Outcome.REFUSED, Outcome.ASKED, Outcome.SIGNED]

    free = {number for number, _ in await offline_writing.free_numbers(
        ward.gateway, ward.doctor, desk.id)}

    assert len(free) == rules.NUMBERS
    assert not free & {each["number"] for each in (good, asked, refused)}
    async with ward.gateway.unit(ward.doctor) as unit:
        waits = [await offline.is_on_its_way(unit, each["number"]) for each in (asked, refused)]
    assert waits == [True, False]


async def test_one_that_was_taken_back_is_never_entered(ward: Any, desk: Desk) -> None:
    """Its number is void, and the same sent again says that it was taken back."""
    written = desk.content(_med_id(), 1980)
    await desk.send(written)

    await offline_writing.drop(ward.gateway, ward.doctor, written["id"])

    again, = await desk.send(written)
    assert again.outcome is Outcome.DROPPED
    with pytest.raises(NotFoundError):
        await offline_writing.drop(ward.gateway, ward.doctor, written["id"])
    async with ward.gateway.unit(ward.doctor) as unit:
        assert not await offline.is_on_its_way(unit, written["number"])


async def test_one_sent_too_late_says_so(
    ward: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten days it is not entered any more, and its doctor reads why."""
    _, med_id = await _person(ward)
    written = desk.content(med_id, 1980)
    monkeypatch.setattr(papers, "ENTER_WITHIN", timedelta(0))

    asked, = await desk.send(written)

    assert asked.outcome is Outcome.ASKED
    assert asked.findings[0].reason.key.endswith("why.late")


async def test_the_kit_holds_what_a_page_needs(ward: Any) -> None:
    """Sealed, a day old at most; every preparation with its limits; what the law forbids is not
    offered.
    """
    body, seal = await offline_writing.kit(ward.gateway, ward.doctor, "uz")

    kit = msgspec.json.decode(body)
    header, _, signed, signature = jose.read(seal.encode(), body)
    key = next(each for each in kit["keys"] if each["kid"] == header["kid"])
    assert jose.raw_holds(jose.public_key(key["x"], key["y"]), signed, signature)
    rows = {row["key"]: row for row in kit["register"]}
    assert len(rows) == len({each.preparation.key for each in medicines.all_products()})
    assert rows[PARACETAMOL]["most_daily"] == "8"
    assert rows[PARACETAMOL]["validity_days"] == 30
    assert rows[AMOXICILLIN]["validity_days"] == 10
    assert "амоксициллин" in rows[AMOXICILLIN]["names"].lower()
    refused = {row["key"] for row in rows.values() if not row["allowed"]}
    narcotic = {each.preparation.key for each in medicines.all_products()
                if each.preparation.inn.key in {"morphine", "diazepam", "codeine+paracetamol"}}
    assert narcotic
    assert narcotic <= refused
    assert AMOXICILLIN not in refused
    assert all(len(each) == 2 for each in kit["diagnoses"])
    assert len(body) < 1_500_000


@pytest.mark.parametrize("fault", ["signature", "number", "day", "person", "count", "quantity"])
def test_a_slip_that_differs_is_seen(fault: str) -> None:
    """Each part of the token is compared with the act."""
    known = medicines.preparation(PARACETAMOL)
    line = rules.Line(preparation=PARACETAMOL, dose=Decimal(1), times_per_day=3, duration_days=5,
                      quantity=Decimal(15))
    at = clock.now()
    act = rules.Act(
        id="x" * 12, seq=1, at=at, kit=at, number="1726000000001", initials="S.N.",
        person=rules.Named(kind="pinfl", value="1"), birth_year=1980, diagnosis="J15.9",
        items=(line,), asked=True, token="")  # fmt: skip  # One act.
    item = tokens.TokenItem(*rules.token_key(known), 15)
    right = tokens.Token(
        number=1726000000001, signed_day=tokens.day_number(at.astimezone(clock.TASHKENT).date()),
        valid_day=9999, prescriber_key="k", person=bytes(8), initials="S.N.", birth_year=1980,
        items=(item,))  # fmt: skip  # One token.
    wrong = {
        "signature": None,
        "number": msgspec.structs.replace(right, number=1726000000002),
        "day": msgspec.structs.replace(right, signed_day=right.signed_day - 1),
        "person": msgspec.structs.replace(right, initials="S.M."),
        "count": msgspec.structs.replace(right, items=(item, item)),
        "quantity": msgspec.structs.replace(
            right, items=(msgspec.structs.replace(item, quantity=16),)),
    }[fault]
    facts = rules.Facts(now=at, token=right, known={PARACETAMOL: known})

    assert rules.token_differs(act, facts) == ""
    assert rules.token_differs(act, msgspec.structs.replace(facts, token=wrong))


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner,
                                                                max_size=3), max_leaves=6)
_FIELDS = ("id", "seq", "at", "kit", "number", "person", "initials", "birth_year", "diagnosis",
           "items", "asked", "token")


@given(st.dictionaries(st.sampled_from(_FIELDS), _ANYTHING, min_size=1, max_size=4))
def test_whatever_is_sent_is_read_or_refused(strange: dict[str, Any]) -> None:
    """Any value in any field is an act that is judged, or is no act; nothing else happens."""
    line = {"preparation": PARACETAMOL, "dose": "1", "times_per_day": 1, "duration_days": 1,
            "quantity": "1", "as_needed": False, "note": ""}
    whole = {
        "id": "0123456789ab", "seq": 1, "at": "2026-11-20T10:00:00+05:00",
        "kit": "2026-11-20T09:00:00+05:00", "number": "1726000000001",
        "person": {"kind": "pinfl", "value": "30101800000000"}, "initials": "S.N.",
        "birth_year": 1980, "diagnosis": "J15.9", "items": [line], "asked": True, "token": "A",
        **strange,
    }  # fmt: skip  # One act.
    try:
        act = msgspec.json.decode(msgspec.json.encode(whole), type=rules.Act)
    except msgspec.DecodeError:
        return
    if rules.is_plausible(act):
        finding = rules.disbelieved(act, rules.Facts(now=clock.now()))
        assert finding is not None  # A token that does not hold is never believed.


def test_a_late_one_is_not_waited_for() -> None:
    """Ten days after the writing, and not before."""
    now = clock.now()
    assert not rules.is_late(now - timedelta(days=9), now)
    assert rules.is_late(now - timedelta(days=11), now)


def test_the_most_of_a_day_is_rounded_down() -> None:
    """4,000 mg of paracetamol are eight tablets of 500 mg."""
    assert rules.most_daily(medicines.preparation(PARACETAMOL)) == "8"
