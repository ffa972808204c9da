"""Persons with a story: those whom the README and the screens name, and women with child."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from dmed.apps.demo.life import Life, ongoing_of
from dmed.kit.seed import local
from dmed.modules.medid.rules import age_years

PREGNANT_WEEKS = 22
"""Completed weeks of the planted pregnancy on the country's last day."""


def tell(life: Life) -> None:
    """The records of a planted person."""
    life.body_mass = 23.0
    {"pregnant": _pregnant, "angina": _angina, "chronic": _chronic,
     "double": _double}.get(life.person.tale, _healthy)(life)


def maybe_pregnant(life: Life) -> None:
    """A pregnancy that runs now, for some four in a hundred women of the age."""
    if life.person.sex != "female" or not life.person.is_married:
        return
    if not 19 <= age_years(life.person.born, life.until) < 40 or life.numbers.random() > 0.09:
        return
    _pregnancy(life, 6 + life.numbers.randrange(32))


def _at(life: Life, day: date) -> datetime:
    return local(day, 560 + life.numbers.randrange(380), life.numbers.randrange(60))


def _healthy(life: Life) -> None:
    life.frailty = 0.6
    life.ongoing = []
    for days in (900, 420, 60):
        if life.start < life.until - timedelta(days=days):
            life.check_up(life.until - timedelta(days=days))
    life.vaccinate()


def _pregnancy(life: Life, weeks: int) -> None:
    chart, doctor = life.chart, life.staff.gynaecologist
    conceived = life.until - timedelta(days=7 * weeks)
    visit = min(conceived + timedelta(days=49), life.until - timedelta(days=2))
    moment, encounter = _at(life, visit), chart.new_id()
    condition = chart.condition("Z34.9", "Homiladorlik", moment + timedelta(minutes=9),
                                doctor=doctor, encounter=encounter, onset=conceived,
                                is_chronic=True)
    chart.encounter(moment, moment + timedelta(minutes=25), doctor=doctor,
                    place=doctor.organisation, service=1, condition=condition,
                    encounter_id=encounter, reason="Homiladorlik", code="Z34.9")
    life.vitals(moment, encounter, doctor, 25, always=True)
    life.panel("cbc", moment, encounter, doctor, "")
    life.panel("urine", moment, encounter, doctor, "")
    chart.prescribe("folic-acid-tablet-0_4mg", moment + timedelta(minutes=12), doctor=doctor,
                    encounter=encounter, code="Z34.9", name="Homiladorlik", days=90)
    later = visit + timedelta(days=28)
    while later < life.until:
        moment = _at(life, later)
        encounter = chart.encounter(moment, moment + timedelta(minutes=15), doctor=doctor,
                                    place=doctor.organisation, service=1, condition=condition,
                                    reason="Homiladorlik", code="Z34.9")
        life.vitals(moment, encounter, doctor, 25, always=True)
        later += timedelta(days=28)


def _pregnant(life: Life) -> None:
    """Karimova Dilnoza: 22 weeks, penicillin anaphylaxis of 2019, anaemia, varicose veins."""
    chart, staff = life.chart, life.staff
    life.ongoing, life.frailty = [], 0.5
    family, women = staff.doctors[0], staff.gynaecologist
    chart.allergy("Penitsillin", "", "J01C", "medication", _at(life, date(2019, 9, 14)),
                  doctor=staff.hospital, is_severe=True, reaction="anaphylaxis",
                  onset="2019-09-13")
    for day in (date(2021, 3, 9), date(2023, 5, 17), date(2024, 11, 12), date(2025, 10, 6)):
        moment = _at(life, day)
        encounter = chart.encounter(moment, moment + timedelta(minutes=20), doctor=family,
                                    place=family.organisation, service=1)
        life.levels["hb"] = 121.0
        life.vitals(moment, encounter, family, 30, always=True)
        life.panel("cbc", moment, encounter, family, "")
        life.panel("chem", moment, encounter, family, "")
        if day.year == 2023:
            chart.condition("I83.9", "Oyoq venalari varikozi", moment + timedelta(minutes=9),
                            doctor=family, encounter=encounter, onset=day, is_chronic=True)
    _pregnancy(life, PREGNANT_WEEKS)
    told = life.until - timedelta(days=47)
    moment = _at(life, told)
    encounter = chart.new_id()
    anaemia = chart.condition("O99.0", "Homiladorlikda kamqonlik", moment + timedelta(minutes=9),
                              doctor=women, encounter=encounter, onset=told,
                              is_chronic=True, is_main=True)
    chart.encounter(moment, moment + timedelta(minutes=20), doctor=women,
                    place=women.organisation, condition=anaemia, encounter_id=encounter,
                    reason="Homiladorlikda kamqonlik", code="O99.0")
    iron = chart.prescribe("ferrous-sulfate-er-tablet-80mg", moment + timedelta(minutes=12),
                           doctor=women, encounter=encounter, code="O99.0",
                           name="Homiladorlikda kamqonlik", days=60)
    chart.dispense(iron, moment + timedelta(hours=2), staff.pharmacists[0])
    folic = chart.prescribe("folic-acid-tablet-0_4mg", moment + timedelta(minutes=12, seconds=30),
                            doctor=women, encounter=encounter, code="Z34.9", name="Homiladorlik",
                            days=103)
    chart.dispense(folic, moment + timedelta(hours=2, minutes=1), staff.pharmacists[0])
    for day, hb in ((told, 104), (life.until - timedelta(days=2), 98)):
        moment = _at(life, day)
        visit = chart.encounter(moment, moment + timedelta(minutes=15), doctor=women,
                                place=women.organisation, condition=anaemia,
                                reason="Homiladorlikda kamqonlik", code="O99.0")
        results = [chart.laboratory("hb", hb, moment, visit, women),
                   chart.laboratory("glu", 4.7, moment, visit, women)]
        chart.blood_pressure(118, 74, moment, visit, women)
        chart.report("cbc", results, moment, visit, women)
    life.vaccinate()


def _angina(life: Life) -> None:
    """Rahimov Otabek: no allergies, an acute tonsillitis since two days, nothing given yet."""
    _healthy(life)
    chart, doctor = life.chart, life.staff.doctors[0]
    day = life.until - timedelta(days=1)
    moment, encounter = _at(life, day), chart.new_id()
    condition = chart.condition("J03.9", "O‘tkir tonzillit", moment + timedelta(minutes=9),
                                doctor=doctor, encounter=encounter,
                                onset=day - timedelta(days=2))
    chart.encounter(moment, moment + timedelta(minutes=15), doctor=doctor,
                    place=doctor.organisation, condition=condition, encounter_id=encounter,
                    reason="O‘tkir tonzillit", code="J03.9")
    chart.vital("8310-5", "Tana harorati", 38.1, "Cel", "°C", moment, encounter, doctor)
    chart.vital("29463-7", "Vazn", 81.0, "kg", "kg", moment, encounter, doctor)


def _chronic(life: Life) -> None:
    """Yo‘ldosheva Saodat: an old woman with many diseases and hundreds of records."""
    life.frailty = 1.6
    life.ongoing = ongoing_of(("I10", "E11.9", "I25.9", "M17.9", "N18.3"), life.until)
    life.live_on()
    life.vaccinate()


def _double(life: Life) -> None:
    """Юлдашева Дилноза: a second card of the first one's likeness, with a single visit."""
    doctor = life.staff.private
    moment = _at(life, date(2024, 2, 14))
    encounter = life.chart.encounter(moment, moment + timedelta(minutes=20), doctor=doctor,
                                     place=doctor.organisation, service=3)
    life.vitals(moment, encounter, doctor, 31, always=True)
    life.panel("cbc", moment, encounter, doctor, "")
