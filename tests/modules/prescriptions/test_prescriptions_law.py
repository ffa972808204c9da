"""The law's rules: names, INN and exceptions, forbidden classes, commission, limits, content."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmed.kit import clock
from dmed.kit.errors import UnprocessableError
from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions import api
from dmed.modules.prescriptions.model import Draft, DraftItem
from dmed.modules.prescriptions.rules import law, weights
from dmed.modules.prescriptions.service import drafts, printing

AMOXICILLIN = "amoxicillin-capsule-500mg"
SIX = ("losartan-film-tablet-50mg", "amlodipine-tablet-5mg", "metformin-film-tablet-500mg",
       "paracetamol-tablet-500mg", "omeprazole-enteric-capsule-20mg", "cetirizine-film-tablet-10mg")


def said(draft: Draft) -> dict[str, str]:
    """Rule > sentence of what the law says against a draft."""
    draft = api.derive(draft)
    found = law.check(draft, drafts.preparations_of(draft), drafts.products_of(draft))
    return {alert.rule: alert.sentence for alert in found}


def a_draft(key: str = AMOXICILLIN, **more: Any) -> Draft:
    """A draft of one line."""
    fields = {name: more.pop(name) for name in ("product", "exception", "duration_days")
              if name in more}
    return Draft(patient="p", diagnosis="J15.9",
                 items=(DraftItem(preparation=key, **fields),), **more)


def test_general_anaesthetics_are_refused() -> None:
    """A class of the table of forbidden ones stops; the alert names table and source."""
    key = next(one.preparation.key for one in medicines.search("propofol"))
    draft = api.derive(a_draft(key))
    (alert,) = law.check(draft, drafts.preparations_of(draft), {})

    assert (alert.rule, alert.tier.value) == ("forbidden-class", "stop")
    assert "570" in alert.source
    assert alert.is_draft


def test_a_trade_name_needs_a_reason_of_the_list() -> None:
    """INN is the rule; a product of another preparation is refused, too."""
    product = medicines.products_of(AMOXICILLIN)[0].key
    other = medicines.products_of("paracetamol-tablet-500mg")[0].key

    assert "brand-reason" in said(a_draft(product=product))
    assert "brand-unknown" in said(a_draft(product=other, exception="potent"))
    assert said(a_draft(product=product, exception="narrow-index")) == {}


def test_reimbursement_has_a_limit_of_days() -> None:
    """Thirty days are reimbursed, thirty-one are not; without reimbursement nothing is limited."""
    assert said(a_draft(validity_class="reimbursed", duration_days=30)) == {}
    assert "30" in said(a_draft(validity_class="reimbursed", duration_days=31))["reimbursed-days"]
    assert said(a_draft(duration_days=90)) == {}


@pytest.mark.parametrize("name", ["law_classes", "law_limits", "validity"])
def test_the_laws_tables_name_owner_version_and_source(name: str) -> None:
    """Each is a draft until its owner approves it."""
    from dmed.modules.prescriptions.rules.tables import table

    found = table(name)

    assert all((found.owner, found.version, found.source, found.rows))
    assert found.is_draft


async def test_a_sixth_name_needs_the_commissions_decision(ward: Any) -> None:
    """Five are the law; a decision opens the sixth, stands in every record and is signed."""
    patient = await ward.person()
    draft = ward.draft(patient, *SIX, diagnosis="I10")
    with pytest.raises(UnprocessableError, match="at most 5"):
        await api.sign(ward.gateway, ward.doctor, draft)
    decided = msgspec.structs.replace(draft, commission="VKK 17, 23.11.2026")
    alerts = await api.check(ward.gateway, ward.doctor, decided)
    answered = tuple(
        msgspec.structs.replace(item, overrides={alert.rule: "benefit-outweighs"
                                                 for alert in alerts if alert.item == place})
        for place, item in enumerate(decided.items))
    made = await api.sign(
        ward.gateway, ward.doctor, msgspec.structs.replace(decided, items=answered))

    assert len(made.items) == 6
    assert made.commission == "VKK 17, 23.11.2026"
    text = await api.qr_text(ward.gateway, ward.doctor, made.number)
    assert text.endswith("/")  # No offline token: it would not fit.


async def test_a_named_product_alone_is_handed_over(ward: Any) -> None:
    """The order forbids substitution; another trade name of the same INN turns red."""
    from dmed.modules.pharmacy import api as pharmacy

    named, other = medicines.products_of(AMOXICILLIN)[:2]
    made = await ward.signed(AMOXICILLIN, items=(
        DraftItem(preparation=AMOXICILLIN, product=named.key, exception="narrow-index"),))
    record = await ward.gateway.get(ward.doctor, "MedicationRequest", made.items[0].request)
    assert record["substitution"]["allowedBoolean"] is False
    assert made.items[0].product == named.key
    await pharmacy.claim(ward.gateway, ward.pharmacist, made.number, made.code)
    wrong = await pharmacy.scan_pack(
        ward.gateway, ward.pharmacist, made.number, ward.pack(AMOXICILLIN, place=1))
    right = await pharmacy.scan_pack(
        ward.gateway, ward.pharmacist, made.number, ward.pack(AMOXICILLIN, place=0))

    assert (wrong.ok, wrong.reason.values) == (False, {"trade": other.trade})
    assert right.ok


async def test_the_slip_holds_all_that_the_law_names(
    ward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Organisation, tax number, licence, number, dates, person with PINFL, diagnosis, INN, dose,
    times, route, quantity, duration, doctor, QR, signature: what goes into the printed form.
    """
    printed: dict[str, Any] = {}
    monkeypatch.setattr(printing.pdf, "render",
                        lambda _template, data, **_: printed.update(data) or b"%PDF")
    made = await ward.signed(patient=ward.people["allergy"] if "allergy" in ward.people
                             else next(iter(ward.people.values())),
                             items=(DraftItem(preparation="losartan-film-tablet-50mg"),),
                             diagnosis="I10")
    await api.slip_pdf(ward.gateway, ward.doctor, made.number)

    for name in ("organisation", "organisation_line", "number", "signed", "valid_until", "patient",
                 "birth_date", "pinfl", "diagnosis", "doctor", "signature", "qr", "code"):
        assert printed[name], name
    assert re.search(r"\d{9}", printed["organisation_line"])
    (line,) = printed["items"]
    assert line["label"].startswith("Lozartan 50 mg")
    assert re.search(r"kuniga \d+ mahal, \d+ kun", line["dosage"])
    assert all(line[name] for name in ("route", "quantity"))


async def test_a_prescription_is_read_against_the_register_of_its_day(
    ward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every reading of a signed order asks for the register of the moment it was written."""
    made = await ward.signed()
    asked: list[Any] = []
    real = medicines.preparation_of

    def noted(reference: dict[str, Any], at: Any = None) -> Any:
        asked.append(at)
        return real(reference, at)

    monkeypatch.setattr(medicines, "preparation_of", noted)
    await api.prescription(ward.gateway, ward.doctor, made.number)

    assert asked
    assert all(moment == made.signed for moment in asked)


@given(st.decimals("0.5", "200", places=1), st.integers(1, 6), st.decimals("3", "60", places=1))
def test_a_dose_by_weight_is_never_above_what_was_meant(
    wanted: Decimal, times: int, weight: Decimal
) -> None:
    """What is written gives at most the mg/kg a day that the doctor typed, but for the smallest
    measure; and it can be measured.
    """
    known = next(one.preparation for one in medicines.search("paracetamol sirop")
                 if one.preparation.form.dose_unit == "ml")
    dose = weights.dose_for(known, wanted, times, weight)
    assert dose is not None
    assert dose % Decimal("0.5") == 0
    back = weights.per_kg_day(
        known, DraftItem(preparation=known.key, dose=dose, times_per_day=times), weight)
    assert back is not None
    assert dose == Decimal("0.5") or back <= wanted + Decimal("0.01")


def test_without_weight_nothing_is_worked_out() -> None:
    """No weight, no strength in mass, no times: no dose."""
    known = medicines.preparation(AMOXICILLIN)

    assert weights.dose_for(known, Decimal(50), 3, None) is None
    assert weights.dose_for(known, Decimal(50), 0, Decimal(20)) is None
    assert weights.per_kg_day(known, DraftItem(preparation=AMOXICILLIN), Decimal(20)) is None


async def test_a_favourite_keeps_lines_without_the_person(ward: Any) -> None:
    """It is added to another person's draft, belongs to its doctor alone and can be dropped."""
    draft = ward.draft(await ward.person(), AMOXICILLIN)
    line = msgspec.structs.replace(draft.items[0], note="for this one only",
                                   overrides={"x": "palliative"})
    kept = await api.favourites.keep(
        ward.gateway, ward.doctor, " Bronxit ", msgspec.structs.replace(draft, items=(line,)))
    other = Draft(patient="somebody")

    filled = await api.favourites.added(ward.gateway, ward.doctor, kept.id, other)
    assert filled.items[0].dose == draft.items[0].dose
    assert (filled.items[0].note, filled.items[0].overrides) == ("", {})
    stranger = msgspec.structs.replace(ward.doctor, user="another")
    assert await api.favourites.listed(ward.gateway, stranger) == []
    await api.favourites.drop(ward.gateway, ward.doctor, kept.id)
    assert kept.id not in {one.id for one in await api.favourites.listed(ward.gateway, ward.doctor)}


async def test_a_form_of_paper_is_typed_in_once(ward: Any) -> None:
    """Its number was given out before; the day on the paper is authoredOn and counts for validity,
    the entry is told, the checks run, and a second entry is refused.
    """
    from dmed.kit.errors import ConflictError, NotFoundError

    (number,) = await api.paper_forms.allocate(ward.gateway, ward.doctor, 1, "1726")
    written = (clock.now() - timedelta(days=3)).replace(microsecond=0)
    paper = api.Paper(number=number, written=written, reason="no-network")
    draft = ward.draft(await ward.person(), AMOXICILLIN, paper=paper)
    made = await api.sign(ward.gateway, ward.doctor, draft)

    assert (made.number, made.signed, made.paper) == (number, written, paper)
    assert made.valid_until == written.astimezone(clock.TASHKENT).date() + timedelta(days=10)
    record = await ward.gateway.get(ward.doctor, "MedicationRequest", made.items[0].request)
    (about,) = [one for one in record["extension"] if one["url"].endswith("paper-form")]
    assert {part["url"] for part in about["extension"]} == {"written", "entered", "reason"}
    again = ward.draft(await ward.person(), AMOXICILLIN, paper=paper)
    with pytest.raises(ConflictError, match="typed in already"):
        await api.sign(ward.gateway, ward.doctor, again)
    unknown = msgspec.structs.replace(paper, number="1726000999996")
    with pytest.raises(NotFoundError):
        await api.sign(ward.gateway, ward.doctor,
                       msgspec.structs.replace(again, paper=unknown))


@pytest.mark.parametrize(("days", "said_"), [(11, "within 10 days"), (-1, "future")])
async def test_a_form_of_paper_has_its_time(ward: Any, days: int, said_: str) -> None:
    """Neither long after it was written nor before."""
    (number,) = await api.paper_forms.allocate(ward.gateway, ward.doctor, 1, "1726")
    paper = api.Paper(number=number, written=datetime.now(UTC) - timedelta(days=days),
                      reason="no-power")
    draft = ward.draft(await ward.person(), AMOXICILLIN, paper=paper)

    with pytest.raises(UnprocessableError, match=said_):
        await api.sign(ward.gateway, ward.doctor, draft)
    await api.paper_forms.void(ward.gateway, ward.doctor, number)
    waiting = await api.paper_forms.blank(ward.gateway, ward.doctor)
    assert number not in {form.number for form in waiting}


async def test_an_autosave_after_the_signature_brings_no_draft_back(ward: Any) -> None:
    """What was typed a moment before arrives late: it is refused, and nothing waits to be signed
    a second time.
    """
    from dmed.kit.errors import NotFoundError

    patient = await ward.person()
    kept = await api.save_draft(ward.gateway, ward.doctor, ward.draft(patient, AMOXICILLIN))
    await api.sign(ward.gateway, ward.doctor, kept)
    with pytest.raises(NotFoundError):
        await api.save_draft(ward.gateway, ward.doctor, kept)

    assert await api.drafts(ward.gateway, ward.doctor, patient) == []
