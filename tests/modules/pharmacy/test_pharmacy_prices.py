"""The price at the counter: whose it is, what limits it, who pays, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit import clock
from dmed.kit.errors import InvalidError, NotFoundError, UnprocessableError
from dmed.modules.insurance import api as insurance
from dmed.modules.insurance import rules as insurance_rules
from dmed.modules.medicines import api as medicines
from dmed.modules.medicines.model import Entry
from dmed.modules.medicines.service import force
from dmed.modules.medicines.service.starting import starting
from dmed.modules.pharmacy import api
from dmed.modules.pharmacy.rules import prices
from dmed.modules.pharmacy.rules.prices import Asked, Limit, Source
from dmed.modules.pharmacy.service import handing, receipt_slip, stock
from dmed.modules.pharmacy.tables import prices as table
from dmed.modules.prescriptions import api as prescriptions

AMOXICILLIN = "amoxicillin-capsule-500mg"
MONEY = st.decimals("0.01", "9999999", places=2)


@pytest.fixture
def ceiling() -> Iterator[Decimal]:
    """The register tells a ceiling of 30,000 so'm for every pack of amoxicillin capsules."""
    before, most = force.register(), Decimal(30_000)
    dear = {name: msgspec.structs.replace(one, price_ceiling=most)
            for one in medicines.products_of(AMOXICILLIN) for name in (one.key, one.gtin)}
    there = before.catalogue
    force.use(msgspec.structs.replace(before, catalogue=msgspec.structs.replace(
        there, products={**there.products, **{
            one.key: one for one in dear.values()}},
        by_gtin={**there.by_gtin, **{one.gtin: one for one in dear.values()}})))
    yield most
    force.use(None)


# Rules


@given(price=MONEY, content=st.integers(1, 200), part=st.integers(1, 200),
       percent=st.integers(0, 100))
def test_fund_and_patient_pay_the_whole(
    price: Decimal, content: int, part: int, percent: int
) -> None:
    """Both parts add up to the total, none is below zero, and a whole pack costs its price."""
    made = prices.charge(price, Decimal(content), Decimal(min(part, content)), Decimal(percent))

    assert made is not None
    assert made.fund + made.patient == made.total <= price
    assert min(made.fund, made.patient, made.total) >= 0
    assert prices.charge(price, Decimal(content), Decimal(content), Decimal(0)) == prices.Charge(
        price=price, total=price, fund=Decimal("0.00"), patient=price)


@given(total=MONEY, percent=st.integers(0, 100))
def test_a_charge_comes_back_from_its_record(total: Decimal, percent: int) -> None:
    """What is written into a MedicationDispense is read as it was; another currency is no price."""
    made = prices.charge(total, Decimal(10), Decimal(10), Decimal(percent))
    assert made is not None
    record = {"extension": [{"url": "https://example.org/other"}, prices.extension(made)]}
    assert prices.in_record(record) == made
    record["extension"][1]["extension"][0]["valueMoney"]["currency"] = "EUR"  # type: ignore[index]  # A nested record.
    assert prices.in_record(record) is None


@pytest.mark.parametrize(("typed", "kept", "bought", "limit", "price", "source"), [
    ("5", "4", "3", None, "5", Source.TYPED), (None, "4", "3", None, "4", Source.SET),
    (None, None, "3", None, "3", Source.BOUGHT), (None, None, "3", "2", "2", Source.BOUGHT),
    (None, "4", "3", "2", "4", Source.SET), (None, None, None, "2", None, Source.NONE),
    (None, None, "0", None, None, Source.NONE),
])  # fmt: skip  # A table.
def test_whose_price_counts(
    typed: str | None, kept: str | None, bought: str | None, limit: str | None,
    price: str | None, source: Source,
) -> None:
    """Typed before kept before bought; what was only bought is never offered above the limit."""
    def told(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    most = Limit(Decimal(limit), "register") if limit else None
    assert prices.asked(told(typed), told(kept), told(bought), most) == Asked(
        price=told(price), source=source, limit=most)


def test_the_lower_limit_counts() -> None:
    """Of the register's ceiling and the operator's highest price; neither is none."""
    assert prices.limit_of(Decimal(9), Decimal(8)) == Limit(Decimal(8), "operator")
    assert prices.limit_of(Decimal(7), Decimal(8)) == Limit(Decimal(7), "register")
    assert prices.limit_of(None, Decimal(0)) is None


@pytest.mark.parametrize("text", ["0", "-1", "NaN", "Infinity", "1.001", "sNaN",
                                  "1.0000000000000000000000000000001", "10000000001"])
def test_what_is_no_price(text: str) -> None:
    """Nothing, less than nothing, parts of a tiyin and sums beyond all reason are refused."""
    with pytest.raises(InvalidError):
        prices.read(Decimal(text))


def test_a_ceiling_in_another_currency_limits_nothing() -> None:
    """A register that tells prices in euro has no ceiling in so'm."""
    base = starting()
    one = next(iter(base.products.values()))
    for currency, expected in (("UZS", Decimal(5)), ("", Decimal(5)), ("EUR", None)):
        entry = Entry(
            key="x", product="x", trade="X", maker="", form="", form_text="",
            strengths=(), preparation=one.preparation.key, pack_units=Decimal(10),
            price_ceiling=Decimal(5), currency=currency)
        made = force.product_of(entry, "feed", dict(base.inns), dict(base.preparations))
        assert made is not None
        assert made.price_ceiling == expected


# At the counter


async def test_a_price_above_the_registers_ceiling_is_refused(ward: Any, ceiling: Decimal) -> None:
    """Typed above it the pack turns red, no suspect; at the ceiling it is green, and the sum stands
    with the hand-over, in the record, on the day's list and on the slip.
    """
    made = await ward.signed()
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    raw = ward.pack()
    dear = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw,
                               price=ceiling + Decimal("0.01"))
    assert (dear.ok, dear.is_quarantine, dear.reason.key) == (
        False, False, "pharmacy.verdict.price_register")
    good = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, raw, price=ceiling)
    assert (good.ok, good.price, good.price_source) == (True, ceiling, "typed")
    before = await api.today(ward.gateway, ward.pharmacist)
    claim = await api.dispense(ward.gateway, ward.pharmacist, made.number)

    [handed] = claim.handed
    expected = prices.charge(ceiling, ward.units(), handed.quantity, Decimal(0))
    assert expected is not None
    assert (handed.total, handed.fund) == (expected.total, 0)
    record = await ward.gateway.get(ward.pharmacist, "MedicationDispense", handed.id)
    assert prices.in_record(record) == expected
    after = await api.today(ward.gateway, ward.pharmacist)
    assert after.total - before.total == expected.total
    slip = await receipt_slip.receipt_pdf(ward.gateway, ward.pharmacist, made.number, "uz")
    assert slip.startswith(b"%PDF")
    await api.undo(ward.gateway, ward.pharmacist, handed.id)
    assert (await api.today(ward.gateway, ward.pharmacist)).total == before.total
    with pytest.raises(NotFoundError):
        await receipt_slip.receipt_pdf(ward.gateway, ward.pharmacist, made.number, "uz")


async def test_the_operators_highest_price_is_kept(ward: Any) -> None:
    """A system's `$dispense` above it is refused whole; without a price nothing is limited."""
    made = await ward.signed()
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    raw = ward.pack(serial=f"MAX{made.number[-10:]}")
    given = handing.GivenPack(marking=raw, price=Decimal(20_001))
    with pytest.raises(UnprocessableError, match="highest retail price, 20000"):
        await handing.dispense_item(ward.gateway, ward.pharmacist, made.number, 1, [given])
    given = handing.GivenPack(marking=raw, price=Decimal(20_000))
    ids, _ = await handing.dispense_item(ward.gateway, ward.pharmacist, made.number, 1, [given])
    record = await ward.gateway.get(ward.pharmacist, "MedicationDispense", ids[0])
    assert prices.in_record(record) is not None


async def test_a_pharmacy_keeps_its_prices(ward: Any, ceiling: Decimal) -> None:
    """A kept price counts where none is typed, not above the ceiling, and for this pharmacy alone;
    taken away, the pack goes out without a price.
    """
    gtin = ward.pack()[2:16]
    with pytest.raises(UnprocessableError, match="ceiling"):
        await stock.set_price(ward.gateway, ward.pharmacist, gtin, ceiling + 1)
    await stock.set_price(ward.gateway, ward.pharmacist, gtin, Decimal("25000.50"))
    assert (await stock.sheet(ward.gateway, ward.pharmacist, gtin)).retail == Decimal("25000.50")
    made = await ward.signed()
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    kept = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, ward.pack(),
                               quantity=Decimal(1))
    assert (kept.price, kept.price_source) == (Decimal("25000.50"), "set")
    async with ward.gateway.unit(ward.other) as unit:
        assert await table.known(unit, ward.other.organisation, gtin, "S") == (None, None)
    await stock.set_price(ward.gateway, ward.pharmacist, gtin, None)
    none = await api.scan_pack(ward.gateway, ward.pharmacist, made.number, ward.pack(),
                               quantity=Decimal(1))
    assert (none.ok, none.price, none.price_source) == (True, None, "none")


async def test_the_fund_is_asked_for_what_the_counter_said(ward: Any) -> None:
    """Of an insured item the fund pays by the table of limits, the patient the rest; the claim has
    that sum, line by line, and not the register's ceiling.
    """
    losartan = "losartan-film-tablet-50mg"
    made = await ward.signed(losartan, diagnosis="I10", validity_class="reimbursed")
    assert made.items[0].fund_percent == 100
    await api.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    await api.scan_pack(ward.gateway, ward.pharmacist, made.number,
                        ward.pack(losartan), price=Decimal(16_000))
    handed = (await api.dispense(ward.gateway, ward.pharmacist, made.number)).handed[0]
    assert handed.fund == handed.total > 0

    record = await ward.gateway.get(ward.pharmacist, "MedicationDispense", handed.id)
    request = await ward.gateway.get(ward.doctor, "MedicationRequest", made.items[0].request)
    claim = insurance_rules.claim("k", request, [record], "p", handed.fund, clock.now())
    assert claim["item"][0]["net"]["value"] == claim["total"]["value"] == handed.fund
    from dmed.modules.insurance import service as insurance_service

    assert insurance_service._amount([record]) == handed.fund
    assert insurance.REFUSALS
    assert prescriptions.fund_percent({}) == 0
