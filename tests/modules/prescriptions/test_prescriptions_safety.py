"""The tables of safety: every rule fires at its border and not beside it."""

from __future__ import annotations

import csv
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from dmed.kit.i18n import translator
from dmed.modules.medicines.service import catalogue
from dmed.modules.prescriptions.model import Alert, Draft, DraftItem, Tier, reason_key
from dmed.modules.prescriptions.rules import checks, checks_doses, tables
from dmed.modules.prescriptions.rules.checks_facts import Allergy, Person, Running
from dmed.modules.prescriptions.service import diagnoses, drafts
from dmed.modules.prescriptions.service.speaking import say

TODAY = date(2026, 11, 22)
MAN = Person(age_years=40, sex="male", weight_kg=Decimal(80))
WOMAN = Person(age_years=30, sex="female", weight_kg=Decimal(60))


def key_of(inn: str, form: str = "") -> str:
    """A preparation of an INN, by the mouth where there is one."""
    keys = [key for key, one in catalogue().preparations.items() if one.inn.key == inn]
    oral = [key for key in keys if catalogue().preparations[key].form.route == "oral"]
    return next(key for key in (oral or keys) if form in key)


def judged(*items: DraftItem, person: Person = MAN, icd: str = "Z76.0") -> list[Alert]:
    """The findings about a draft of lines."""
    draft = drafts.derive(Draft(patient="p", diagnosis=icd, items=items))
    return checks.check(draft, drafts.preparations_of(draft), diagnoses.viral(), person, TODAY)


def line(inn: str, *, dose: str = "1", times: int = 1, days: int = 1, form: str = "") -> DraftItem:
    """One unit of an INN, once, for a day."""
    return DraftItem(preparation=key_of(inn, form), dose=Decimal(dose), times_per_day=times,
                     duration_days=days)


def rules(*inns: str, person: Person = MAN, icd: str = "Z76.0") -> dict[str, Tier]:
    """Rule -> tier of one unit of each INN, once, for a day."""
    found = judged(*(line(inn) for inn in inns), person=person, icd=icd)
    return {alert.rule: alert.tier for alert in found}


def with_(person: Person = MAN, /, **change: object) -> Person:
    """A person, changed."""
    return msgspec.structs.replace(person, **change)


def taking(*inns: str, person: Person = MAN) -> Person:
    """A person who takes these already, for long."""
    running = tuple(Running(inn=inn, atc=catalogue().preparations[key_of(inn)].atc)
                    for inn in inns)
    return with_(person, running=running)


@pytest.mark.parametrize(
    ("allergy", "given", "tier"),
    [
        ("amoxicillin", "cefadroxil", Tier.INTERRUPT),
        ("ampicillin", "cefalexin", Tier.INTERRUPT),
        ("amoxicillin", "ceftriaxone", Tier.PASSIVE),
        ("ceftriaxone", "cefotaxime", Tier.INTERRUPT),
        ("cefazolin", "ceftriaxone", Tier.PASSIVE),
        ("ceftazidime", "aztreonam", Tier.INTERRUPT),
        ("amoxicillin", "meropenem", Tier.PASSIVE),
        ("amoxicillin", "aztreonam", None),
        ("sulfamethoxazole", "sulfadiazine", Tier.INTERRUPT),
        ("sulfadiazine", "sulfasalazine", Tier.INTERRUPT),
        ("sulfadiazine", "furosemide", None),
        ("sulfadiazine", "trimethoprim", None),
        ("ibuprofen", "diclofenac", Tier.INTERRUPT),
        ("ibuprofen", "celecoxib", Tier.PASSIVE),
        ("ibuprofen", "glucosamine", None),
        ("ibuprofen", "paracetamol", None),
        ("carbamazepine", "phenytoin", Tier.INTERRUPT),
        ("enalapril", "lisinopril", Tier.INTERRUPT),
    ],
)
def test_cross_reactions(allergy: str, given: str, tier: Tier | None) -> None:
    """By side chain and class: what shares a structure asks for a reason, what rarely reacts is
    shown, what is merely called alike is silent.
    """
    keys = [key for key, one in catalogue().preparations.items()
            if allergy in one.inn.components]
    atc = catalogue().preparations[keys[0]].atc
    known = Allergy(text="x", inn=allergy, atc=atc)
    found = rules(given, person=with_(allergies=(known,)))

    told = {name: each for name, each in found.items() if name.startswith("allergy")}
    assert list(told.values()) == ([tier] if tier else [])
    assert "allergy-inn" not in told


def test_a_severe_reaction_makes_a_rare_cross_reaction_loud() -> None:
    """After an anaphylaxis to amoxicillin even another side chain asks for a reason."""
    severe = Allergy(text="x", atc="J01CA04", severity="severe")

    assert rules("ceftriaxone", person=with_(allergies=(severe,))) == {
        "allergy-cross": Tier.INTERRUPT}


@pytest.mark.parametrize("words", ["Penitsillin", "пенициллины", "PENICILLIN"])
def test_a_group_without_a_code_is_understood(words: str) -> None:
    """Cards say "penicillin" in any script and no code."""
    found = rules("amoxicillin", person=with_(allergies=(Allergy(text=words),)))

    assert found == {"allergy-group": Tier.INTERRUPT}


def _pairs() -> list[tuple[str, str, str]]:
    """(rule, INN, INN) of the first members of each pair that the register has."""
    inns = {inn for one in catalogue().preparations.values() for inn in [one.inn.key]}
    made = []
    for row in tables.table("interactions").rows:
        left = [inn for inn in row["members_a"].split() if inn in inns]
        right = [inn for inn in row["members_b"].split() if inn in inns]
        pairs = [(a, b) for a in left for b in right if a != b]
        made += [(f"interaction-{row['id']}", *pair) for pair in pairs[:1]]
    return made


@pytest.mark.parametrize(("rule", "one", "other"), _pairs())
def test_interactions_are_found_among_lines_and_with_the_card(
    rule: str, one: str, other: str
) -> None:
    """A pair is found in both orders, in one draft and against what is taken already."""
    for first, second in ((one, other), (other, one)):
        assert rule in rules(first, second)
        assert rule in rules(first, person=taking(second))


def test_the_published_class_pairs_stand_in_the_table(shared_data: Path) -> None:
    """All fifteen pairs with all their members, at the tier of the list."""
    file = shared_data / "medicines" / "ddi-high-priority" / "class_pairs.csv"
    ours = {row["id"]: row for row in tables.table("interactions").rows}
    with file.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            mine = ours[row["id"].lower()]
            assert mine["tier"] == {"contraindicated": "interrupt"}[row["tier"]]
            for theirs, column in (("members_a_inn", "members_a"), ("members_b_inn", "members_b")):
                named = {name.replace(" ", "-") for name in row[theirs].split("|") if name}
                assert named <= set(mine[column].split()), row["id"]
    assert len([name for name in ours if name.startswith("hp")]) == 15


def test_members_of_pairs_are_spelt_as_the_register_spells_them() -> None:
    """Every member is an INN of the register, or stands in the list of those that it lacks."""
    inns = {part for each in catalogue().inns.values() for part in each.components}
    text = Path(tables.__file__).parent.parent.joinpath("data/rules/interactions.tsv").read_text()
    lacking = next(line for line in text.splitlines() if line.startswith("# not-in-register:"))
    known = inns | set(lacking.split(":")[1].split())
    for row in tables.table("interactions").rows:
        assert set(row["members_a"].split()) | set(row["members_b"].split()) <= known, row["id"]


def test_drops_and_ointments_do_not_interact() -> None:
    """Erythromycin of the eye and a statin: nothing."""
    drops = next(key for key, one in catalogue().preparations.items()
                 if one.atc.startswith("S01") and one.inn.key == "erythromycin")
    eye = DraftItem(preparation=drops, dose=Decimal(1), times_per_day=1, duration_days=1)
    found = {alert.rule for alert in judged(eye, line("simvastatin"))}

    assert not {rule for rule in found if rule.startswith("interaction")}


@pytest.mark.parametrize(
    ("inn", "egfr", "found"),
    [
        ("metformin", 29, {"kidney": Tier.INTERRUPT}),
        ("metformin", 30, {}),
        ("nitrofurantoin", 44, {"kidney": Tier.INTERRUPT}),
        ("ibuprofen", 29, {"kidney": Tier.INTERRUPT}),
        ("ibuprofen", 30, {}),
        ("baclofen", 20, {"kidney": Tier.PASSIVE}),
    ],
)
def test_kidneys(inn: str, egfr: int, found: dict[str, Tier]) -> None:
    """Not below the number, silent at it."""
    assert rules(inn, person=with_(egfr=Decimal(egfr))) == found


def test_the_dose_follows_the_kidneys() -> None:
    """Metformin: 2000 mg a day are shown at an eGFR of 40, not at 60 or where none is known."""
    strong = DraftItem(preparation=key_of("metformin", "1000mg"), dose=Decimal(1),
                       times_per_day=2, duration_days=30)
    at = {egfr: {alert.rule: alert.reason.values for alert in
                 judged(strong, person=with_(egfr=egfr and Decimal(egfr)))}
          for egfr in (40, 60, None)}

    assert at[40]["kidney-dose"]["max_mg"] == "1000"
    assert at[60] == at[None] == {}


@pytest.mark.parametrize(
    ("inn", "icd", "rule", "tier"),
    [
        ("methotrexate", "K74.6", "liver", Tier.INTERRUPT),
        ("nimesulide", "B18.1", "liver", Tier.INTERRUPT),
        ("propranolol", "J45.9", "disease", Tier.INTERRUPT),
        ("ibuprofen", "I50.0", "disease", Tier.PASSIVE),
        ("ibuprofen", "K25.9", "disease", Tier.INTERRUPT),
        ("ibuprofen", "E11.9", "disease", None),
        ("tramadol", "G40.9", "disease", Tier.PASSIVE),
    ],
)
def test_diseases(inn: str, icd: str, rule: str, tier: Tier | None) -> None:
    """A disease of the card forbids, or is shown; another one does neither."""
    assert rules(inn, person=with_(diagnoses=(icd,))).get(rule) is tier


def test_paracetamol_is_halved_by_a_sick_liver() -> None:
    """Three grams a day: shown with cirrhosis, silent without."""
    paracetamol = line("paracetamol", dose="2", times=3, form="500mg")
    sick = judged(paracetamol, person=with_(diagnoses=("K74.6",)))

    assert [alert.rule for alert in sick] == ["liver-dose"]
    assert judged(paracetamol) == []


@pytest.mark.parametrize(
    ("inn", "person", "found"),
    [
        ("isotretinoin", with_(WOMAN, pregnancy_weeks=8), {"pregnancy": Tier.STOP}),
        ("isotretinoin", WOMAN, {"childbearing": Tier.INTERRUPT}),
        ("isotretinoin", with_(WOMAN, age_years=51), {}),
        ("isotretinoin", with_(WOMAN, age_years=11), {}),
        ("isotretinoin", MAN, {}),
        ("isotretinoin", with_(MAN, pregnancy_weeks=8), {}),
        ("warfarin", WOMAN, {"childbearing": Tier.PASSIVE}),
        ("nitrofurantoin", with_(WOMAN, pregnancy_weeks=36), {}),
        ("nitrofurantoin", with_(WOMAN, pregnancy_weeks=37), {"pregnancy": Tier.INTERRUPT}),
        ("trimethoprim", with_(WOMAN, pregnancy_weeks=12), {"pregnancy": Tier.PASSIVE}),
        ("trimethoprim", with_(WOMAN, pregnancy_weeks=13), {}),
        ("atorvastatin", with_(WOMAN, is_breastfeeding=True), {"lactation": Tier.INTERRUPT}),
        ("atorvastatin", with_(MAN, is_breastfeeding=True), {}),
        ("amoxicillin", with_(WOMAN, is_breastfeeding=True), {}),
    ],
)
def test_pregnancy_and_lactation(inn: str, person: Person, found: dict[str, Tier]) -> None:
    """By week, by sex and age, and while breast-feeding."""
    assert rules(inn, person=person) == found


def test_at_once_and_by_weight() -> None:
    """Four tablets of paracetamol at once are too many though the day is not; a child's dose goes
    by weight, and where no weight is known that is said.
    """
    four = line("paracetamol", dose="4", form="500mg")
    child = with_(age_years=6, weight_kg=Decimal(20))
    one = line("paracetamol", form="500mg")

    assert [alert.rule for alert in judged(four)] == ["max-single"]
    assert [alert.rule for alert in judged(one, person=child)] == ["max-single"]
    assert [alert.rule for alert in judged(one, person=with_(child, weight_kg=None))] == [
        "weight-missing"]


def test_the_old_get_less() -> None:
    """Citalopram: 40 mg until 64 years, 20 from 65; an unknown age counts as an adult's."""
    assert checks_doses.limit_of("citalopram", "oral", MAN).daily_mg == 40
    assert checks_doses.limit_of("citalopram", "oral", with_(age_years=64)).daily_mg == 40
    assert checks_doses.limit_of("citalopram", "oral", with_(age_years=65)).daily_mg == 20
    assert checks_doses.limit_of("citalopram", "oral", with_(age_years=-1)).daily_mg == 40


@pytest.mark.parametrize(
    ("inn", "days", "icd", "found"),
    [
        ("amoxicillin", 14, "J15.9", {}),
        ("amoxicillin", 15, "J15.9", {"antibiotic-long": Tier.PASSIVE}),
        ("amoxicillin", 8, "N30.0", {"course-long": Tier.PASSIVE}),
        ("metoclopramide", 5, "K30", {}),
        ("metoclopramide", 6, "K30", {"course-long": Tier.PASSIVE}),
        ("methotrexate", 1, "M06.9", {}),
        ("methotrexate", 7, "M06.9", {"not-daily": Tier.INTERRUPT}),
    ],
)
def test_lengths(inn: str, days: int, icd: str, found: dict[str, Tier]) -> None:
    """A course up to its limit is silent; methotrexate for days in a row asks for a reason."""
    alerts = judged(line(inn, days=days), icd=icd)
    assert {alert.rule: alert.tier for alert in alerts} == found


@pytest.mark.parametrize(
    ("icd", "tier"),
    [("J00", Tier.INTERRUPT), ("J01.9", Tier.PASSIVE), ("J02.9", Tier.INTERRUPT), ("J02.0", None),
     ("J03.9", Tier.PASSIVE), ("J03.0", None), ("J04.2", Tier.INTERRUPT), ("J05.1", None),
     ("J06.8", Tier.INTERRUPT), ("J20.3", Tier.INTERRUPT), ("J20.0", None), ("J15.9", None)],
)  # fmt: skip  # Pairs.
def test_antibiotics_for_viral_diagnoses(icd: str, tier: Tier | None) -> None:
    """J00 to J06 and J20 with their bacterial exceptions; codes outside our short list too."""
    assert rules("amoxicillin", icd=icd).get("antibiotic-viral") is tier


def test_overlap_of_groups_and_parts() -> None:
    """A part of a combination is the same INN; two anti-inflammatory medicines ask for a reason;
    insulins are combined on purpose; an ointment beside a tablet is shown only.
    """
    combined = with_(running=(Running(inn="amoxicillin+clavulanic-acid", atc="J01CR02"),))
    gel = with_(running=(Running(inn="diclofenac", atc="M02AA15"),))

    assert rules("amoxicillin", person=combined)["duplicate-inn"] is Tier.INTERRUPT
    assert rules("ibuprofen", "diclofenac")["group-line"] is Tier.INTERRUPT
    assert rules("ibuprofen", person=taking("diclofenac"))["duplicate-group"] is Tier.INTERRUPT
    assert rules("insulin-glargine", person=taking("insulin-degludec")) == {}
    assert rules("diclofenac", person=gel)["duplicate-inn"] is Tier.PASSIVE


@pytest.mark.parametrize(("count", "rule"), [(4, ""), (5, "polypharmacy"), (9, "polypharmacy"),
                                             (10, "polypharmacy-high")])
def test_how_many(count: int, rule: str) -> None:
    """Five and ten medicines at the same time, each counted once; what has ended does not count."""
    running = [Running(inn=f"m{n}", atc=f"X{n:02}AA01") for n in range(count - 1)]
    running += [Running(inn="m0", atc="X00AA01"),
                Running(inn="old", atc="X99AA01", until=TODAY - timedelta(days=1))]

    assert list(rules("amoxicillin", person=with_(running=tuple(running)))) == (
        [rule] if rule else [])


def test_the_card_alone_is_read_too() -> None:
    """Without a draft: pairs among what is taken, and how many there are."""
    alerts = checks.of_card(taking("simvastatin", "clarithromycin"), TODAY)

    assert [(alert.rule, alert.item) for alert in alerts] == [("interaction-hp11", -1)]


def test_every_rule_speaks_three_languages() -> None:
    """Rules and effects of the tables have a sentence in uz, ru and en, names in words."""
    texts = translator()
    named = {"max-daily", "max-single", "kidney", "kidney-dose", "liver", "liver-dose", "disease",
             "lactation", "pregnancy", "childbearing", "weight-missing", "min-age", "allergy-inn",
             "allergy-group", "allergy-cross", "antibiotic-viral", "duplicate-inn",
             "duplicate-group", "duplicate-line", "group-line", "polypharmacy",
             "polypharmacy-high"}  # fmt: skip  # A list.
    named |= {row["rule"] for row in tables.table("courses").rows}
    named |= {f"interaction-{row['id']}" for row in tables.table("interactions").rows}
    effects = {row["effect"] for row in tables.table("interactions").rows}
    for language in ("uz", "ru", "en"):
        assert all(texts.has(reason_key(rule)) for rule in named)
        assert all(texts.has(f"prescriptions.effect.{effect}") for effect in effects)
        said = say(texts.speech(language), judged(
            line("simvastatin"), line("clarithromycin"))[0].reason)
        assert "{" not in said
        assert "hp11" not in said


def test_interruptions_are_few() -> None:
    """Of the ordinary lines of the register on a healthy man none interrupts (a bar of one in
    twenty orders is the target), and among tables the interrupting rows have a reason to.
    """
    loud = [key for key, one in catalogue().preparations.items() if one.default_dose
            and checks.unanswered(judged(DraftItem(preparation=key)))]

    assert loud == []
