"""Acts of a counter without a network, judged by the server over a real database."""

from __future__ import annotations

import asyncio
import runpy
import secrets
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit import clock
from dmed.kit.errors import ForbiddenError, InvalidError, NotFoundError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.rules import offline as rules
from dmed.modules.pharmacy.rules.offline import Kind, Outcome
from dmed.modules.pharmacy.service import offline, offline_cases, offline_kit
from dmed.modules.pharmacy.service import offline_store as store
from dmed.modules.pharmacy.service.operator.demo import invented
from dmed.modules.prescriptions import api as prescriptions
from dmed.modules.prescriptions.model import ItemState
from dmed.modules.prescriptions.rules import numbers as prescriptions_numbers
from dmed.modules.prescriptions.rules import offline as doctors_rules
from dmed.modules.prescriptions.rules import papers
from dmed.modules.prescriptions.service import offline_writing
from dmed.trust.model import Role, Subject
from dmed.trust.signing import jose

OFFLINE = runpy.run_path(
    str(Path(__file__).parents[1] / "prescriptions" / "test_prescriptions_offline.py"))
"""A doctor's computer, as the tests of prescriptions have it."""
AMOXICILLIN = "amoxicillin-capsule-500mg"
CANCELLED = prescriptions.CANCEL_REASONS[0]
INSPECTOR = Subject(user="inspector", role=Role.INSPECTOR, name="Qodirova Zulfiya")


@pytest.fixture(autouse=True)
def _many_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of one file are one pharmacy's day; the limit of acts has a test of its own."""
    monkeypatch.setattr(rules, "ACTS_A_DAY", 10_000)
    monkeypatch.setattr(doctors_rules, "COMPUTERS", 10_000)


class Till:
    """A computer at a counter: its key, and what it signs while it has no line."""

    def __init__(self, ward: Any, subject: Subject) -> None:
        self.ward, self.subject, self.seq = ward, subject, 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key().public_numbers()
        self.x, self.y = (jose.encode(part.to_bytes(32, "big")) for part in (public.x, public.y))
        self.id = jose.thumbprint(self.x, self.y)

    async def enrol(self) -> Till:
        """Its pharmacist sets a PIN on it while there is a line."""
        await offline.enrol(self.ward.gateway, self.subject, self.x, self.y)
        return self

    async def act(self, made: Any, *packs: str, quantity: str = "14", **more: Any) -> str:
        """One signed hand-over of an item from these packs."""
        token = (await prescriptions.qr_text(
            self.ward.gateway, self.ward.doctor, made.number)).split("/", 2)[2]
        self.seq += 1
        now = clock.now()
        seen = [_printed(code) for code in packs]
        content = {
            "id": secrets.token_hex(16), "at": now.isoformat(),
            "kit": (now - timedelta(hours=1)).isoformat(), "token": token, "item": 1,
            "packs": [{"raw": code, "quantity": quantity, "lot": lot, "expiry": expiry}
                      for code, (lot, expiry) in zip(packs, seen, strict=True)],
            "seq": self.seq, **more,
        }  # fmt: skip  # One act.
        return self.signed(content)

    def signed(self, content: dict[str, Any]) -> str:
        """A compact JWS by this key."""
        return jose.sign(
            self.key, msgspec.json.encode(content), {"kid": self.id}, detached=False).decode()

    async def send(self, *acts: str) -> list[offline.Result]:
        """The line is there again."""
        return await offline.reconcile(self.ward.gateway, self.subject, list(acts))


def _printed(code: str) -> tuple[str, str]:
    """Batch and expiry as they stand on the box of a demo pack."""
    found = invented(code[2:16], code[18:31])
    if found is None or found.expiry is None:
        return "A1", "2030-01-31"
    return found.lot, found.expiry.isoformat()


async def _till(ward: Any, subject: Subject | None = None) -> Till:
    return await Till(ward, subject or ward.pharmacist).enrol()


async def _standing(ward: Any, made: Any) -> Any:
    found = await prescriptions.prescription(ward.gateway, ward.doctor, made.number)
    return found.items[0]


async def test_an_act_is_booked_as_if_it_had_been_online(ward: Any) -> None:
    """Claim, pack check and hand-over in one, with the moment of the act; the rest is released."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    # No older than the day of the prescription, also when it is just past midnight in Tashkent.
    midnight = datetime.combine(clock.today(), time.min, clock.TASHKENT)
    at = max(clock.now() - timedelta(minutes=40), midnight)
    act = await till.act(made, ward.pack(), quantity="14", at=at.isoformat())

    done, = await till.send(act)

    assert done.outcome is Outcome.ACCEPTED, done.findings
    item = await _standing(ward, made)
    assert (item.dispensed, item.state) == (Decimal(14), ItemState.PART_DISPENSED)
    assert item.holder == ""
    record, = await ward.gateway.find(
        ward.doctor, "MedicationDispense",
        f"prescription=MedicationRequest/{made.items[0].request}")
    assert datetime.fromisoformat(record["whenHandedOver"]) == at.replace(microsecond=0)
    assert record["performer"][0]["actor"]["reference"].endswith(till.subject.practitioner_role)
    assert "without a network" in record["note"][0]["text"]


async def test_the_same_act_again_gives_the_same_answer(ward: Any) -> None:
    """A lost answer is asked for again, five times at once: handed over once."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    act = await till.act(made, ward.pack())

    answers = await asyncio.gather(*(till.send(act) for _ in range(5)))

    assert {one.outcome for one, in answers} == {Outcome.ACCEPTED}
    assert sum(not one.is_repeated for one, in answers) == 1
    assert (await _standing(ward, made)).dispensed == Decimal(14)


async def test_two_pharmacies_handed_over_the_same(ward: Any) -> None:
    """Both acts are kept, a case names both pharmacies, and the item stays as it was."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    act = await till.act(made, ward.pack())
    await api.claim(ward.gateway, ward.other, made.number, made.code)
    for place in (0, 1):
        await api.scan_pack(ward.gateway, ward.other, made.number, ward.pack(place=place))
    await api.dispense(ward.gateway, ward.other, made.number, key=secrets.token_hex(8))

    done, = await till.send(act)

    assert done.outcome is Outcome.CONFLICT
    assert (await _standing(ward, made)).state is ItemState.DISPENSED
    for subject in (ward.pharmacist, ward.other, INSPECTOR):
        found = await offline_cases.case(ward.gateway, subject, done.case)
        assert found.case.kind is Kind.DOUBLE
        assert found.case.others == (ward.other.organisation,)
    kept = (await offline_cases.case(ward.gateway, INSPECTOR, done.case)).act
    record = await ward.gateway.get(ward.doctor, "MedicationDispense", kept.dispenses[0])
    assert "authorizingPrescription" not in record
    assert record["status"] == "completed"
    again, = await till.send(act)
    assert (again.case, again.outcome) == (done.case, Outcome.CONFLICT)
    await offline_cases.judge(ward.gateway, INSPECTOR, done.case, "in-order", "The line was cut")
    assert (await offline_cases.case(ward.gateway, INSPECTOR, done.case)).case.judged == "in-order"


async def test_a_pack_that_went_out_elsewhere(ward: Any) -> None:
    """The same serial in two pharmacies: the second act is kept with a case about the pack."""
    pack = ward.pack()
    first, second = await ward.signed(AMOXICILLIN), await ward.signed(AMOXICILLIN)
    here, there = await _till(ward), await _till(ward, ward.other)
    acts = [await here.act(first, pack), await there.act(second, pack)]

    (one,), (two,) = await here.send(acts[0]), await there.send(acts[1])

    assert one.outcome is Outcome.ACCEPTED
    assert two.outcome is Outcome.CONFLICT
    found = await offline_cases.case(ward.gateway, INSPECTOR, two.case)
    assert (found.case.kind, found.case.others) == (Kind.PACK, (ward.pharmacist.organisation,))


async def test_a_passed_limit_is_booked_and_asked_about(ward: Any) -> None:
    """More than a week's dose, and an old kit: booked, with a case that says both."""
    made = await ward.signed(AMOXICILLIN, items=_long())
    till = await _till(ward)
    old = (clock.now() - timedelta(hours=30)).isoformat()
    act = await till.act(made, ward.pack(), ward.pack(), quantity="16", kit=old)

    done, = await till.send(act)

    assert done.outcome is Outcome.QUESTIONED, done.findings
    names = {each.reason.key.rsplit(".", 1)[-1] for each in done.findings}
    assert names == {"kit_age", "quantity"}
    assert (await _standing(ward, made)).dispensed == Decimal(32)


def _long() -> tuple[Any, ...]:
    from dmed.modules.prescriptions.model import DraftItem

    return (DraftItem(preparation=AMOXICILLIN, duration_days=14),)


async def test_a_cancelled_prescription_is_kept_beside(ward: Any) -> None:
    """The doctor had cancelled it: the hand-over is a fact, the item stays cancelled."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    act = await till.act(made, ward.pack())
    await prescriptions.cancel(ward.gateway, ward.doctor, made.number, reason=CANCELLED)

    done, = await till.send(act)

    assert done.outcome is Outcome.CONFLICT
    assert (await offline_cases.case(ward.gateway, INSPECTOR, done.case)).case.kind is Kind.CLOSED
    assert (await _standing(ward, made)).state is ItemState.CANCELLED


@pytest.mark.parametrize(("more", "name"), [
    ({"at": "2020-01-01T00:00:00Z"}, "before_kit"),
    ({"at": "2035-01-01T00:00:00Z"}, "future"),
    ({"at": "2020-01-01T00:00:00Z", "kit": "2020-01-01T00:00:00Z"}, "before_signing"),
    ({"token": "NONSENSE"}, "token"), ({"item": 4}, "token"), ({"packs": []}, "packs"),
])  # fmt: skip  # A table of cases.
async def test_what_cannot_have_happened_is_refused(
    ward: Any, more: dict[str, Any], name: str
) -> None:
    """Clocks that are wrong, tokens that are none, items that are not: nothing is handed over."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)

    done, = await till.send(await till.act(made, ward.pack(), **more))

    assert done.outcome is Outcome.REFUSED
    assert done.findings[0].reason.key == f"pharmacy.offline.why.{name}"
    assert (await _standing(ward, made)).dispensed == Decimal(0)


@pytest.mark.parametrize("more", [
    {"id": "a\0b-12345678"}, {"id": ""}, {"id": "x" * 65}, {"item": 2**40}, {"item": 0},
    {"seq": 2**40}, {"at": "9999-12-31T23:59:59Z"}, {"at": "2026-05-05T12:00:00"},
    {"packs": [{"raw": "a\0", "quantity": "1", "lot": "A", "expiry": "2030-01-01"}]},
    {"packs": [{"raw": "a", "quantity": "NaN", "lot": "A", "expiry": "2030-01-01"}]},
    {"packs": [{"raw": "a", "quantity": "1e-30", "lot": "A", "expiry": "2030-01-01"}]},
    {"packs": [{"raw": "a", "quantity": "-1", "lot": "A", "expiry": "2030-01-01"}]},
    {"packs": [{"raw": "a", "quantity": "1", "lot": "A" * 999, "expiry": "2030-01-01"}]},
    {"more": 1}, {"packs": "none"}, {"token": None},
])  # fmt: skip  # A table of cases.
async def test_an_odd_act_is_refused_and_holds_nobody_back(
    ward: Any, more: dict[str, Any]
) -> None:
    """Signed by a known key and yet no act of a counter: refused, and the next one is judged."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    odd = await till.act(made, ward.pack(), **more)
    till.seq = 1 if "seq" not in more else 0

    one, two = await till.send(odd, await till.act(made, ward.pack()))

    assert one.outcome is Outcome.REFUSED
    assert two.outcome in {Outcome.ACCEPTED, Outcome.QUESTIONED}


async def test_a_tampered_token_and_a_forged_act_are_refused(ward: Any) -> None:
    """One turned sign in the token, a key that nobody enrolled, text that is no act."""
    made = await ward.signed(AMOXICILLIN)
    till, stranger = await _till(ward), Till(ward, ward.pharmacist)
    token = (await prescriptions.qr_text(ward.gateway, ward.doctor, made.number)).split("/", 2)[2]
    turned = ("1" if token[9] != "1" else "2").join((token[:9], token[10:]))

    changed, = await till.send(await till.act(made, ward.pack(), token=turned))
    forged, nonsense = await till.send(await stranger.act(made, ward.pack()), "a.b.c")

    assert [one.outcome for one in (changed, forged, nonsense)] == [Outcome.REFUSED] * 3
    assert forged.findings[0].reason.key.endswith(".key")
    assert (await _standing(ward, made)).dispensed == Decimal(0)


async def test_replays_and_withdrawn_computers_are_refused(ward: Any) -> None:
    """A running number that was used, an id that was used, a key that was withdrawn."""
    first, second = await ward.signed(AMOXICILLIN), await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    done, = await till.send(await till.act(first, ward.pack()))
    async with ward.gateway.unit(ward.pharmacist) as unit:  # As one of before it was kept beside.
        await unit.execute("update pharmacy_offline_act set seq = null where id = $1", done.id)
        for statement in store.DDL:
            await unit.execute(statement)
    replayed = await till.act(second, ward.pack(), seq=1)
    reused = await till.act(second, ward.pack(), id=done.id)

    one, two = await till.send(replayed, reused)
    await offline.withdraw(ward.gateway, ward.pharmacist, till.id)
    three, = await till.send(await till.act(second, ward.pack()))

    names = [each.findings[0].reason.key.rsplit(".", 1)[-1] for each in (one, two, three)]
    assert names == ["replayed", "reused", "withdrawn"]
    assert (await _standing(ward, second)).dispensed == Decimal(0)


async def test_an_act_that_comes_after_later_ones_is_booked(ward: Any) -> None:
    """The server stumbled over it, and those behind it went first: it is not taken for a copy."""
    first, second = await ward.signed(AMOXICILLIN), await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    stumbled = await till.act(first, ward.pack())
    later, = await till.send(await till.act(second, ward.pack()))

    done, = await till.send(stumbled)

    assert later.outcome is Outcome.QUESTIONED  # One before it was missing.
    assert later.findings[0].reason.key.endswith("why.gap")
    assert done.outcome is Outcome.ACCEPTED, done.findings
    assert (await _standing(ward, first)).dispensed == Decimal(14)


async def test_acts_of_another_pharmacy_stay_in_their_queue(ward: Any) -> None:
    """Whoever is signed in elsewhere may not send them, nor enrol the same key."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    act = await till.act(made, ward.pack())
    with pytest.raises(ForbiddenError, match="another pharmacy"):
        await offline.reconcile(ward.gateway, ward.other, [act])
    with pytest.raises(ForbiddenError, match="somebody else"):
        await offline.enrol(ward.gateway, ward.other, till.x, till.y)
    with pytest.raises(InvalidError, match="P-256"):
        await offline.enrol(ward.gateway, ward.pharmacist, "AAAA", "AAAA")
    assert (await till.send(act))[0].outcome is Outcome.ACCEPTED


async def test_a_case_is_seen_by_its_parties_alone(ward: Any) -> None:
    """A third pharmacy does not see it, and no pharmacist judges."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    await prescriptions.cancel(ward.gateway, ward.doctor, made.number, reason=CANCELLED)
    done, = await till.send(await till.act(made, ward.pack()))
    third = msgspec.structs.replace(ward.other, organisation="elsewhere")
    with pytest.raises(ForbiddenError):
        await offline_cases.case(ward.gateway, third, done.case)
    with pytest.raises(ForbiddenError):
        await offline_cases.judge(ward.gateway, ward.pharmacist, done.case, "in-order", "Ours")
    assert done.case in {one.number for one in
                         await offline_cases.listed(ward.gateway, INSPECTOR, closed=False)}


async def test_the_kit_is_sealed_and_knows_what_was_used(ward: Any) -> None:
    """Its seal holds; what was handed over in the district is in its filter, what was cancelled in
    its list; a narcotic may not go, amoxicillin may, for a week.
    """
    used, cancelled = await ward.signed(AMOXICILLIN), await ward.signed(AMOXICILLIN)
    till, pack = await _till(ward), ward.pack()
    await prescriptions.cancel(ward.gateway, ward.doctor, cancelled.number, reason=CANCELLED)
    await offline_kit.kit(ward.gateway, ward.pharmacist, "uz")
    await till.send(await till.act(used, pack, quantity=str(ward.units())))
    ward.gateway.held("pharmacy.offline", dict).clear()

    body, seal = await offline_kit.kit(ward.gateway, ward.pharmacist, "uz")

    from dmed.trust.signing import seal as seals
    assert seals.load(ward.gateway.settings.data).opened_jws(seal.encode(), body) == body
    kit = msgspec.json.decode(body)
    made = msgspec.convert(kit["used"], rules.Filter)
    assert rules.may_hold(made, f"{used.number}:1")
    assert rules.may_hold(made, cancelled.number)
    assert rules.may_hold(made, pack[:31])
    assert not rules.may_hold(made, ward.pack()[:31])
    assert cancelled.number in kit["revoked"]
    rows = {tuple(row[:3]): row for row in kit["register"]}
    amoxicillin = rows[prescriptions.token_key(medicines.preparation(AMOXICILLIN))]
    assert (amoxicillin[5], amoxicillin[6]) == ("21", True)
    assert not [row for row in kit["register"] if "orfin" in row[3] and row[6]]


def test_controlled_classes_are_never_offline() -> None:
    """Opioids, benzodiazepines, codeine in a combination; what has no ATC code neither."""
    by_inn = {each.preparation.inn.key: each.preparation for each in medicines.all_products()}
    controlled = ("morphine", "tramadol", "diazepam", "codeine+paracetamol", "phenobarbital")
    assert all(prescriptions.is_controlled(by_inn[name]) for name in controlled)
    others = ("amoxicillin", "losartan")
    assert not any(prescriptions.is_controlled(by_inn[name]) for name in others)
    unknown = msgspec.structs.replace(by_inn["amoxicillin"], atc="")
    assert prescriptions.is_controlled(unknown)


@given(st.sets(st.text(min_size=1, max_size=20), max_size=200))
def test_the_filter_never_forgets(keys: set[str]) -> None:
    """Whatever was put in is found: a used number is never taken for a new one."""
    made = rules.make_filter(keys)
    assert all(rules.may_hold(made, key) for key in keys)


def test_the_filter_keeps_its_promise() -> None:
    """Of 20,000 new keys at most three in a thousand are taken for used; one is promised."""
    made = rules.make_filter(f"{number}:1" for number in range(5_000))
    wrong = sum(rules.may_hold(made, f"{number}:2") for number in range(20_000))
    assert wrong <= 60
    assert made.size / 8 <= 5_000 * 2


@given(st.timedeltas(min_value=timedelta(days=-3), max_value=timedelta(days=3)),
       st.booleans(), st.integers(min_value=1, max_value=5))
def test_an_act_is_believed_only_in_its_time(off: timedelta, taken: bool, seq: int) -> None:
    """Never from the future, never older than its kit, never with a used running number."""
    now = datetime(2026, 5, 5, 12, tzinfo=clock.TASHKENT)
    pack = rules.ActPack(raw="x", quantity=Decimal(1), lot="A", expiry=date(2030, 1, 1))
    act = rules.Act(id="a", at=now + off, kit=now - timedelta(hours=2), token="t", item=1,
                    packs=(pack,), seq=seq)
    found = rules.disbelieved(act, rules.Facts(now=now, last_seq=3, is_seq_taken=taken))
    in_time = -timedelta(hours=2) - rules.SKEW <= off <= rules.SKEW
    assert (found is None) == (in_time and not taken)


@pytest.mark.parametrize(("before", "names"), [(2, []), (3, ["acts"]), (9, ["acts"])])
def test_the_acts_of_a_day_are_counted(
    before: int, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third act of three is in order, the fourth is asked about."""
    monkeypatch.setattr(rules, "ACTS_A_DAY", 3)
    now = clock.now()
    pack = rules.ActPack(raw="x", quantity=Decimal(1), lot="A", expiry=date(2030, 1, 1))
    act = rules.Act(id="a" * 8, at=now, kit=now, token="t", item=1, packs=(pack,), seq=1)
    found = rules.passed_limits(act, rules.Facts(now=now, acts_that_day=before))
    assert [each.reason.key.rsplit(".", 1)[-1] for each in found] == names


def test_a_case_keeps_its_names() -> None:
    """Kinds and outcomes have texts in every language."""
    from dmed.kit.i18n import translator

    keys = [f"pharmacy.offline.kind.{each.value}" for each in Kind]
    keys += [f"pharmacy.offline.outcome.{each.value}" for each in Outcome]
    keys += [f"pharmacy.offline.judged.{each.value}" for each in rules.Judged]
    assert [key for key in keys if not translator().has(key)] == []
    assert store.DDL


async def test_a_price_travels_with_the_act(ward: Any) -> None:
    """The price of the till's list is booked: a part of a pack costs its part."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    pack = ward.pack()
    lot, expiry = _printed(pack)
    row = {"raw": pack, "quantity": "4", "lot": lot, "expiry": expiry, "price": "16000"}

    done, = await till.send(await till.act(made, packs=[row]))

    assert done.outcome is Outcome.ACCEPTED, done.findings
    claim = await api.for_person(ward.gateway, ward.doctor, made.patient)
    assert claim[0].total == Decimal(16000) * 4 / ward.units()


@pytest.mark.parametrize(("price", "name"), [("20000.01", "price"), ("0.001", "no_price"),
                                             ("-5", "no_price")])  # fmt: skip  # A table of cases.
async def test_a_price_above_its_ceiling_is_a_case_and_no_refusal(
    ward: Any, price: str, name: str
) -> None:
    """The patient has the medicine and paid: it stays booked, and the owner is asked."""
    made = await ward.signed(AMOXICILLIN)
    till = await _till(ward)
    pack = ward.pack(serial="MAX" + secrets.token_hex(5))
    lot, expiry = _printed(pack)
    row = {"raw": pack, "quantity": "4", "lot": lot, "expiry": expiry, "price": price}

    done, = await till.send(await till.act(made, packs=[row]))

    assert done.outcome is Outcome.QUESTIONED
    assert [each.reason.key.rsplit(".", 1)[-1] for each in done.findings] == [name]
    assert (await _standing(ward, made)).dispensed == Decimal(4)
    found = await offline_cases.case(ward.gateway, ward.pharmacist, done.case)
    assert found.case.kind is Kind.LIMIT
    total = (await api.for_person(ward.gateway, ward.doctor, made.patient))[0].total
    assert (total is None) == (name == "no_price")


async def test_the_kit_holds_the_pharmacys_price_list(ward: Any) -> None:
    """What the till knows without a line is what it was told with one."""
    from dmed.modules.pharmacy.tables import prices

    product = medicines.products_of(AMOXICILLIN)[0]
    async with ward.gateway.unit(ward.pharmacist) as unit:
        await prices.keep(unit, ward.pharmacist.organisation, product.gtin, Decimal("15500.50"),
                          "test")  # fmt: skip  # One price.
    body, _ = await offline_kit.kit(ward.gateway, ward.pharmacist, "uz")
    assert msgspec.json.decode(body)["prices"][product.gtin] == "15500.50"
    async with ward.gateway.unit(ward.pharmacist) as unit:
        await prices.keep(unit, ward.pharmacist.organisation, product.gtin, None, "test")


# A prescription that a doctor wrote without a network, too


async def _written(ward: Any, *, diagnosis: str = "J15.9") -> tuple[Any, dict[str, Any]]:
    """A doctor's computer, and what it wrote for a new person but has not sent."""
    desk = await OFFLINE["Desk"](ward).ready()
    _, med_id = await OFFLINE["_person"](ward)
    return desk, desk.content(med_id, 1980, AMOXICILLIN, diagnosis=diagnosis)


async def _handed(till: Till, written: dict[str, Any], **more: Any) -> str:
    """The hand-over of its first item, signed at a counter without a network."""
    lot, expiry = _printed(pack := till.ward.pack())
    till.seq += 1
    now = clock.now()
    return till.signed({
        "id": secrets.token_hex(16), "at": now.isoformat(), "seq": till.seq, "item": 1,
        "kit": (now - timedelta(hours=1)).isoformat(), "token": written["token"],
        "packs": [{"raw": pack, "quantity": "7", "lot": lot, "expiry": expiry}],
        **more})  # fmt: skip  # One act.


async def test_a_hand_over_waits_for_a_prescription_that_is_on_its_way(ward: Any) -> None:
    """Sent before the doctor sends his part it waits, as do its repeats; others go on; then the
    same act is booked on the prescription.
    """
    desk, written = await _written(ward)
    till = await _till(ward)
    act = await _handed(till, written)
    other = await till.act(await ward.signed(AMOXICILLIN), ward.pack(), quantity="7")

    first, beside, again = await till.send(act, other, act)

    assert [first.outcome, beside.outcome, again.outcome] == [
        Outcome.WAITING, Outcome.ACCEPTED, Outcome.WAITING]
    done, = await desk.send(written)
    assert done.outcome.value == "signed", done.findings
    booked, repeated = await till.send(act, act)
    assert booked.outcome is Outcome.ACCEPTED, booked.findings
    assert (repeated.outcome, repeated.is_repeated) == (Outcome.ACCEPTED, True)
    found = await prescriptions.prescription(ward.gateway, ward.doctor, written["number"])
    assert found.items[0].dispensed == Decimal(7)


async def test_one_that_never_comes_becomes_a_case(ward: Any) -> None:
    """Taken back by its doctor, the hand-over that waited for it is kept with a case; the patient
    is not asked.
    """
    desk, written = await _written(ward, diagnosis="J06.9")  # An antibiotic for a cold is asked.
    till = await _till(ward)
    act = await _handed(till, written)
    asked, = await desk.send(written)
    assert asked.outcome.value == "asked"
    waits, = await till.send(act)
    assert waits.outcome is Outcome.WAITING

    await offline_writing.drop(ward.gateway, ward.doctor, written["id"])

    done, = await till.send(act)
    assert done.outcome is Outcome.CONFLICT
    found = await offline_cases.case(ward.gateway, INSPECTOR, done.case)
    assert found.case.kind is Kind.CLOSED


async def test_after_ten_days_nobody_waits(ward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A doctor who never sends his part does not hold a pharmacy's queue for ever."""
    _, written = await _written(ward)
    till = await _till(ward)
    act = await _handed(till, written)
    monkeypatch.setattr(papers, "ENTER_WITHIN", timedelta(0))

    done, = await till.send(act)

    assert done.outcome is Outcome.CONFLICT


async def test_the_kit_names_the_computers_of_doctors(ward: Any) -> None:
    """A counter without a network believes their tokens; the key of a lost one is not there."""
    desk, _ = await _written(ward)
    lost, _ = await _written(ward)
    await offline_writing.withdraw(ward.gateway, ward.doctor, lost.id)

    body, _ = await offline_kit.kit(ward.gateway, ward.pharmacist, "uz")

    doctors = {each["kid"] for each in msgspec.json.decode(body)["doctors"]}
    assert desk.id in doctors
    assert lost.id not in doctors


async def test_the_line_is_there_but_not_yet_the_prescription(ward: Any) -> None:
    """The counter says that it is on its way and where it may be handed over; once it is here the
    doctor's own token is as good as the platform's, and a changed one is not.
    """
    desk, written = await _written(ward)
    _, code = next(pair for pair in await offline_writing.free_numbers(
        ward.gateway, ward.doctor, desk.id) if pair[0] == written["number"])
    text = prescriptions_numbers.write_qr(written["number"], code, written["token"])
    with pytest.raises(NotFoundError, match="has not sent it yet"):
        await api.claim(ward.gateway, ward.pharmacist, text)
    await desk.send(written)

    claim = await api.claim(ward.gateway, ward.pharmacist, text)

    assert claim.is_token_valid is True
    changed = desk.token({**written, "number": "1726000000001"})
    false = prescriptions_numbers.write_qr(written["number"], code, changed)
    with pytest.raises(ForbiddenError, match="does not hold"):
        await api.claim(ward.gateway, ward.other, false)
