"""The checks of a draft: each rule fires where it must and is silent where it must not."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.modules.medicines.service import catalogue
from dmed.modules.prescriptions.model import Draft, DraftItem, Tier
from dmed.modules.prescriptions.rules import checks, courses, tables
from dmed.modules.prescriptions.service import diagnoses, drafts, views

TODAY = date(2026, 11, 22)
ADULT = checks.Person(age_years=40, sex="female")


def found(
    *keys: str, person: checks.Person = ADULT, icd: str = "J15.9", **item: object
) -> dict[str, Tier]:
    """Rule -> tier of a draft of these preparations."""
    lines = tuple(DraftItem(preparation=key, **item) for key in keys)  # type: ignore[arg-type]  # Fields by name.
    draft = drafts.derive(Draft(patient="p", diagnosis=icd, items=lines))
    alerts = checks.check(draft, drafts.preparations_of(draft), diagnoses.viral(), person, TODAY)
    return {alert.rule: alert.tier for alert in alerts}


def with_(**change: object) -> checks.Person:
    """The adult, changed."""
    return msgspec.structs.replace(ADULT, **change)


AMOXICILLIN = "amoxicillin-capsule-500mg"


def test_an_ordinary_draft_has_nothing_to_say() -> None:
    """Amoxicillin for bacterial pneumonia of a healthy adult."""
    assert found(AMOXICILLIN) == {}


def test_usual_doses_of_the_whole_register_are_within_the_maximum() -> None:
    """No preparation's usual dose meets its own maximum a day, and every line is complete."""
    loud = {}
    told = [key for key, each in catalogue().preparations.items() if each.default_dose]
    assert len(told) > 300
    for key in told:
        rules = found(key, icd="Z76.0", person=with_(sex="male"))
        if rules:
            loud[key] = rules
    assert loud == {}


@pytest.mark.parametrize(
    ("keys", "person", "icd", "rule", "tier"),
    [
        (("codeine-paracetamol-tablet-30mg-500mg",), with_(age_years=11), "R52.9", "min-age",
         Tier.STOP),
        (("doxycycline-capsule-100mg",), with_(age_years=7), "J15.9", "min-age", Tier.INTERRUPT),
        (("ciprofloxacin-film-tablet-500mg",), with_(age_years=17), "N10", "min-age",
         Tier.INTERRUPT),
        (("acetylsalicylic-acid-tablet-500mg",), with_(age_years=15), "R51", "min-age",
         Tier.INTERRUPT),
        (("methotrexate-tablet-2.5mg".replace(".", "_"),), with_(pregnancy_weeks=8), "M06.9",
         "pregnancy", Tier.STOP),
        (("enalapril-tablet-10mg",), with_(pregnancy_weeks=8), "I10", "pregnancy",
         Tier.INTERRUPT),
        (("diclofenac-enteric-tablet-50mg",), with_(pregnancy_weeks=30), "M54.5", "pregnancy",
         Tier.INTERRUPT),
        ((AMOXICILLIN,), ADULT, "J00", "antibiotic-viral", Tier.INTERRUPT),
        ((AMOXICILLIN,), ADULT, "J20.9", "antibiotic-viral", Tier.INTERRUPT),
        ((AMOXICILLIN, "amoxicillin-capsule-250mg"), ADULT, "J15.9", "duplicate-line",
         Tier.INTERRUPT),
        (("paracetamol-tablet-500mg", "codeine-paracetamol-tablet-30mg-500mg"), ADULT, "R52.9",
         "duplicate-line", Tier.INTERRUPT),
    ],
)  # fmt: skip  # A table of cases.
def test_rules_fire(
    keys: tuple[str, ...], person: checks.Person, icd: str, rule: str, tier: Tier
) -> None:
    """Each case meets its rule at its tier."""
    assert found(*keys, person=person, icd=icd).get(rule) is tier


@pytest.mark.parametrize(
    ("keys", "person", "icd"),
    [
        (("codeine-paracetamol-tablet-30mg-500mg",), with_(age_years=12), "R52.9"),
        (("doxycycline-capsule-100mg",), with_(age_years=8, weight_kg=Decimal(50)), "J15.9"),
        (("ciprofloxacin-film-tablet-500mg",), with_(age_years=18), "N10"),
        (("acetylsalicylic-acid-tablet-500mg",), with_(age_years=16), "R51"),
        (("diclofenac-enteric-tablet-50mg",), with_(pregnancy_weeks=12), "M54.5"),
        ((AMOXICILLIN,), with_(pregnancy_weeks=12), "J15.9"),
        (("codeine-paracetamol-tablet-30mg-500mg",), with_(age_years=-1), "R52.9"),
        (("paracetamol-tablet-500mg",), ADULT, "J00"),
    ],
)  # fmt: skip  # Same.
def test_rules_are_silent_at_their_border(
    keys: tuple[str, ...], person: checks.Person, icd: str
) -> None:
    """Exactly at the limit, outside the weeks, for an unknown age: nothing."""
    assert found(*keys, person=person, icd=icd) == {}


@pytest.mark.parametrize(
    ("allergy", "key", "rule"),
    [
        (checks.Allergy(text="Amoksitsillin"), AMOXICILLIN, "allergy-inn"),
        (checks.Allergy(text="Амоксициллин"), AMOXICILLIN, "allergy-inn"),
        (checks.Allergy(text="x", inn="amoxicillin"), AMOXICILLIN, "allergy-inn"),
        (checks.Allergy(text="x", atc="J01CA04"), AMOXICILLIN, "allergy-inn"),
        (checks.Allergy(text="amoxicillin"),
         "amoxicillin-clavulanic-acid-film-tablet-875mg-125mg", "allergy-inn"),
        (checks.Allergy(text="Penitsillin", atc="J01C"), AMOXICILLIN, "allergy-group"),
        (checks.Allergy(text="x", inn="ampicillin"), AMOXICILLIN, "allergy-cross"),
        (checks.Allergy(text="x", atc="J01CA01"), AMOXICILLIN, "allergy-group"),
        (checks.Allergy(text="x", atc="J01C"), "ceftriaxone-powder-injection-1g",
         "allergy-cross"),
        (checks.Allergy(text="x", atc="J01DD04"), AMOXICILLIN, "allergy-cross"),
        (checks.Allergy(text="x", atc="M01AE01"), "diclofenac-enteric-tablet-50mg",
         "allergy-group"),
        (checks.Allergy(text="x", inn="acetylsalicylic-acid"), "ibuprofen-film-tablet-400mg",
         "allergy-group"),
        (checks.Allergy(text="x", atc="J01EE01"), "furosemide-tablet-40mg", ""),
        (checks.Allergy(text="Gulchang"), AMOXICILLIN, ""),
    ],
)  # fmt: skip  # Same.
def test_allergies(allergy: checks.Allergy, key: str, rule: str) -> None:
    """By INN in any spelling, by code, by group, across groups; a stop only for the INN."""
    rules = found(key, person=with_(allergies=(allergy,)), icd="Z76.0")

    assert list(rules) == ([rule] if rule else [])
    if rule:
        assert (rules[rule] is Tier.STOP) == (rule == "allergy-inn")


def test_the_day_is_summed_over_lines() -> None:
    """Paracetamol alone and in a combination together pass four grams."""
    lines = (
        DraftItem(preparation="paracetamol-tablet-500mg", dose=Decimal(2), times_per_day=3),
        DraftItem(preparation="codeine-paracetamol-tablet-30mg-500mg", dose=Decimal(1),
                  times_per_day=4),
    )  # fmt: skip  # Two lines.
    draft = drafts.derive(Draft(patient="p", diagnosis="R52.9", items=lines))
    alerts = checks.check(draft, drafts.preparations_of(draft), frozenset(), ADULT, TODAY)
    dose = next(alert for alert in alerts if alert.rule == "max-daily")

    assert dose.reason.values == {"inn": "paracetamol", "day_mg": "5000", "max_mg": "4000"}
    assert dose.is_draft
    assert dose.source


def test_a_slip_of_the_pen_is_stopped() -> None:
    """More than three times the maximum has no way on."""
    assert found(AMOXICILLIN, dose=Decimal(5))["max-daily"] is Tier.INTERRUPT
    assert found(AMOXICILLIN, dose=Decimal(13))["max-daily"] is Tier.STOP


def test_a_childs_maximum_goes_by_weight() -> None:
    """500 mg three times a day is too much for a child of 10 kg, not for one of 20."""
    small = with_(age_years=1, weight_kg=Decimal(10))
    large = with_(age_years=6, weight_kg=Decimal(20))

    assert "max-daily" in found(AMOXICILLIN, person=small)
    assert "max-daily" not in found(AMOXICILLIN, person=large)


def _running(days_left: int, length: int, atc: str = "C09AA02") -> checks.Person:
    until = TODAY + timedelta(days=days_left)
    running = checks.Running(inn="enalapril" if atc == "C09AA02" else "lisinopril", atc=atc,
                             until=until, since=until - timedelta(days=length))
    return with_(running=(running,))  # fmt: skip  # One running medicine.


@pytest.mark.parametrize(
    ("left", "length", "fires"),
    [(8, 30, True), (7, 30, False), (4, 10, True), (3, 10, False), (-1, 30, False)],
)
def test_renewal_before_the_end(left: int, length: int, fires: bool) -> None:
    """A long course may be renewed seven days before its end, a short one three."""
    rules = found("enalapril-tablet-10mg", person=_running(left, length), icd="I10")

    assert ("duplicate-inn" in rules) == fires


def test_the_same_group_is_shown_passively() -> None:
    """Another INN of the same ATC group of level 4 is no interruption."""
    rules = found("enalapril-tablet-10mg", person=_running(20, 30, "C09AA03"), icd="I10")

    assert rules == {"duplicate-group": Tier.PASSIVE}


def test_five_medicines_are_said() -> None:
    """Polypharmacy is shown, passively."""
    many = tuple(checks.Running(inn=f"m{n}", atc=f"X0{n}AA01") for n in range(4))

    assert found(AMOXICILLIN, person=with_(running=many)) == {"polypharmacy": Tier.PASSIVE}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.builds(
        DraftItem,
        preparation=st.sampled_from([*list(catalogue().preparations)[::9], "", "nonsense"]),
        dose=st.decimals(-1, 50, places=2), times_per_day=st.integers(-1, 12),
        duration_days=st.integers(-1, 400), quantity=st.decimals(-1, 900, places=1),
    ), max_size=7),
    st.integers(-1, 100), st.one_of(st.none(), st.integers(0, 42)),
)  # fmt: skip  # One strategy.
def test_any_draft_is_judged(
    items: list[DraftItem], years: int, weeks: int | None
) -> None:
    """No draft whatever makes a check fail; each alert has a sentence and a reason key; stops come
    first; a draft without stops is complete.
    """
    draft = drafts.derive(Draft(patient="p", diagnosis="J06.9", items=tuple(items)))
    person = with_(age_years=years, pregnancy_weeks=weeks)
    known = drafts.preparations_of(draft)
    alerts = checks.check(draft, known, diagnoses.viral(), person, TODAY)

    assert all(alert.sentence and alert.reason.key for alert in alerts)
    tiers = [list(Tier).index(alert.tier) for alert in alerts]
    assert tiers == sorted(tiers)
    if not checks.unanswered(alerts):
        assert 0 < len(draft.items) <= 5
        assert all(item.quantity > 0 and item.dose > 0 for item in draft.items)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(catalogue().preparations.values())),
       st.decimals(Decimal("0.25"), 20, places=2), st.integers(1, 6), st.integers(1, 90))
def test_quantity_covers_the_course_and_no_more(
    preparation: object, dose: Decimal, times: int, days: int
) -> None:
    """The derived quantity holds the course, and one unit less would not."""
    item = DraftItem(dose=dose, times_per_day=times, duration_days=days)
    quantity = courses.quantity_of(preparation, item)  # type: ignore[arg-type]  # A preparation.
    per_unit = preparation.dose_per_unit  # type: ignore[attr-defined]  # Same.

    assert quantity * per_unit >= dose * times * days > (quantity - 1) * per_unit


def test_validity_is_a_dated_table() -> None:
    """Antibiotics ten days, decided by the strictest item; an unknown class is refused."""
    preparations = tuple(catalogue().preparations[key]
                         for key in (AMOXICILLIN, "paracetamol-tablet-500mg"))
    draft = Draft(validity_class="chronic")

    assert courses.validity_class(draft, preparations) == "antibiotic"
    assert courses.validity_class(draft, preparations[1:]) == "chronic"
    assert courses.valid_until("antibiotic", TODAY) == date(2026, 12, 2)
    assert courses.valid_until("chronic", TODAY) == TODAY + timedelta(days=90)
    with pytest.raises(Exception, match="No validity class"):
        courses.valid_until("eternal", TODAY)


@pytest.mark.parametrize(
    ("key", "repeats", "days", "start", "rules"),
    [
        ("losartan-film-tablet-50mg", 2, 30, None, set()),
        ("losartan-film-tablet-50mg", 3, 30, TODAY + timedelta(days=30), set()),
        ("losartan-film-tablet-50mg", 2, 31, None, {"repeats-days"}),
        ("losartan-film-tablet-50mg", 4, 10, None, {"repeats"}),
        ("losartan-film-tablet-50mg", 0, 10, None, {"repeats"}),
        ("losartan-film-tablet-50mg", 1, 30, TODAY - timedelta(days=1), {"start"}),
        ("losartan-film-tablet-50mg", 1, 30, TODAY + timedelta(days=31), {"start"}),
        (AMOXICILLIN, 2, 7, None, {"repeats-antibiotic"}),
    ],
)
def test_repeats_and_a_later_day_have_limits(
    key: str, repeats: int, days: int, start: date | None, rules: set[str]
) -> None:
    """Two courses in 60 days, three in 90, never of an antibiotic; a first day within 30 days."""
    item = DraftItem(preparation=key, duration_days=days)
    draft = drafts.derive(
        Draft(patient="p", diagnosis="J15.9", items=(item,), repeats=repeats, start=start)
    )
    made = checks.check(
        draft, drafts.preparations_of(draft), diagnoses.viral(), ADULT, TODAY
    )
    assert {alert.rule for alert in made if alert.tier is Tier.STOP} == rules


def test_an_allergy_alert_carries_what_the_card_records() -> None:
    """Reaction, severity and when stand in the values and in the English sentence."""
    allergy = checks.Allergy(
        text="Penitsillin", atc="J01C", reaction="anaphylaxis", severity="severe", since="2019"
    )
    draft = drafts.derive(Draft(patient="p", items=(DraftItem(preparation=AMOXICILLIN),)))
    known = drafts.preparations_of(draft)
    made = checks.check(draft, known, frozenset(), with_(allergies=(allergy,)), TODAY)
    alert = next(each for each in made if each.rule == "allergy-group")

    assert alert.reason.values["reaction"] == "anaphylaxis"
    said = "Penitsillin [reaction: anaphylaxis; severity: severe; since: 2019]"
    assert alert.sentence == f"Item 1: allergy to {said}, of the same group"
    assert views._allergy_in(alert.sentence) == {"allergy": "Penitsillin", **allergy.recorded}
    assert views._allergy_in("Item 1: may cross-react with the allergy to Sefaleksin") == {
        "allergy": "Sefaleksin"
    }
    assert views._allergy_in("Item 1: not below 12 years") == {}


TABLES = [path.name.removesuffix(".tsv") for path in
          (files("dmed.modules.prescriptions") / "data" / "rules").iterdir()]


@pytest.mark.parametrize("name", TABLES)
def test_tables_name_owner_version_and_source(name: str) -> None:
    """Each table says who answers for it, and that it is a draft."""
    table = tables.table(name)

    assert table.owner
    assert table.version
    assert table.source
    assert table.is_draft
    assert table.rows


def test_tables_speak_of_the_register() -> None:
    """Every INN of a table is an INN of the register: no row is dead by a spelling."""
    inns = {part for each in catalogue().inns.values() for part in each.components}
    for name in TABLES:
        for row in tables.table(name).rows:
            assert not row.get("inn") or row["inn"] in inns, (name, row)


def test_diagnoses_are_many_and_whole() -> None:
    """At least 300 ICD-10 codes with three names; viral ones are marked."""
    entries = diagnoses.entries()

    assert len(entries) >= 300
    assert all(each.uz and each.ru and each.en for each in entries.values())
    assert {"J00", "J06.9", "J20.9", "B01.9"} <= diagnoses.viral()
    assert "J15.9" not in diagnoses.viral()


@pytest.mark.parametrize(
    ("text", "code"),
    [("J20", "J20.9"), ("j209", "J20.9"), ("бронхит", "J20.9"), ("sistit", "N30.0"),
     ("Ўткир цистит", "N30.0"), ("anaemia iron", "D50.9"), ("гипертенз", "I10")],
)  # fmt: skip  # Pairs.
def test_diagnoses_are_found_as_you_type(text: str, code: str) -> None:
    """By code with and without the dot, and by words in any language and script."""
    assert code in {each.code for each in diagnoses.search(text, "uz", 12)}
