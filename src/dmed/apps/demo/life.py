"""Ten years of a person's life with the health service, drawn from the person's own numbers."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from itertools import pairwise
from random import Random

import msgspec

from dmed.apps.demo.chart import Chart
from dmed.apps.demo.tables import (
    ACUTE,
    ALLERGENS,
    ANALYTES,
    CHRONIC,
    COVID,
    INFLUENZA,
    PANELS,
    PROCEDURES,
    SHIFTS,
    VACCINES,
    Acute,
    Chronic,
    Vaccine,
)
from dmed.kit.seed import local
from dmed.modules.medid.demo import Person
from dmed.modules.medid.rules import age_years
from dmed.modules.workforce.demo import Holder

YEARS = 10
_VISITS = ((1, 3.2), (5, 1.4), (15, 0.74), (40, 0.84), (60, 0.98), (200, 1.3))
"""(age below, visits a year that no chronic disease explains)."""
_DOSE_SHARE = 0.75
_CHECK_UP_SHARE, _ERRAND_SHARE = 0.17, 0.37
_CHRONIC_DAYS = 90


class Staff(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks after the persons of a district."""

    doctors: tuple[Holder, ...]
    pediatrician: Holder
    gynaecologist: Holder
    cardiologist: Holder
    private: Holder
    hospital: Holder
    pharmacists: tuple[Holder, ...]


class Ongoing:
    """A chronic disease of a person, with its Condition once that is written."""

    def __init__(self, disease: Chronic, onset: date) -> None:
        self.disease = disease
        self.onset = onset
        self.condition = ""


def ongoing_of(codes: tuple[str, ...], until: date) -> list[Ongoing]:
    """Chronic diseases by code, each with an onset before the ten years."""
    return [Ongoing(disease, until - timedelta(days=4200 - 300 * place))
            for place, disease in enumerate(one for one in CHRONIC if one.code in codes)]


class Life:
    """The drawing of one person's ten years; `live` fills the chart."""

    def __init__(self, chart: Chart, numbers: Random, staff: Staff, until: date) -> None:
        self.chart = chart
        self.person: Person = chart.person
        self.numbers = numbers
        self.staff = staff
        self.until = until
        self.start = max(self.person.born, date(until.year - YEARS, until.month, until.day))
        self.frailty = math.exp(numbers.gauss(0, 0.55)) * 0.9
        self.levels: dict[str, float] = {}
        self.ongoing: list[Ongoing] = []
        self.family_doctor = staff.doctors[numbers.randrange(len(staff.doctors))]
        self.height = 0.0
        self.body_mass = numbers.gauss(24.5, 3.6)

    def live(self) -> None:
        """Draws diseases, then visits in order of time, then vaccinations and the rest."""
        self._fall_ill_for_good()
        self.live_on()
        self.vaccinate()
        self._allergies()

    def live_on(self) -> None:
        """The visits of the years, by the diseases that are there."""
        for day, ongoing in self._plan():
            if ongoing is not None:
                self._follow(day, ongoing)
                continue
            draw = self.numbers.random()
            if draw < _CHECK_UP_SHARE:
                self.check_up(day)
            elif draw < _CHECK_UP_SHARE + _ERRAND_SHARE:
                self._errand(day)
            else:
                self._acute(day)

    # --- What is drawn ---

    def _fall_ill_for_good(self) -> None:
        age = age_years(self.person.born, self.until)
        draw = self.numbers.random
        for disease in CHRONIC:
            share = _share(disease, age) * (
                disease.woman_factor if self.person.sex == "female" else
                max(0.0, 2 - disease.woman_factor))
            if disease.code == "N40" and self.person.sex == "female":
                share = 0.0
            if draw() < share * min(1.6, 0.6 + self.frailty * 0.4):
                back = min(draw() ** 1.4 * 16, max(1.0, age - 3.0))
                self.ongoing.append(
                    Ongoing(disease, self.until - timedelta(days=30 + int(back * 365))))
        if len(self.ongoing) >= 1:
            self.body_mass += 2.0

    def _plan(self) -> list[tuple[date, Ongoing | None]]:
        numbers = self.numbers
        plan: list[tuple[date, Ongoing | None]] = []
        day = self.start + timedelta(days=numbers.randrange(60))
        while day < self.until:
            rate = self._rate(day)
            plan.append((day, None))
            day += timedelta(days=1 + int(numbers.expovariate(rate) * 365))
        plan = plan[1:]
        for ongoing in self.ongoing:
            first = max(ongoing.onset, self.start + timedelta(days=numbers.randrange(90)))
            rate = ongoing.disease.visits_year * 0.9 * min(1.5, 0.7 + self.frailty * 0.3)
            while first < self.until:
                plan.append((first, ongoing))
                first += timedelta(days=20 + int(numbers.gammavariate(3, 1 / 3) / rate * 365))
        return sorted(plan, key=lambda visit: visit[0])

    def _rate(self, day: date) -> float:
        age = age_years(self.person.born, day)
        rate = next(rate for below, rate in _VISITS if age < below)
        if self.person.sex == "female" and 18 <= age < 45:
            rate *= 1.35
        return rate * self.frailty

    def _moment(self, day: date) -> datetime:
        if day.weekday() == 6:
            day = day - timedelta(days=1) if day > self.start else day
        return local(day, 540 + self.numbers.randrange(470), self.numbers.randrange(60))

    def _doctor(self, age: int) -> Holder:
        draw = self.numbers.random()
        if draw < 0.08:
            return self.staff.private
        if age < 15:
            return self.staff.pediatrician
        return self.family_doctor

    # --- Visits ---

    def _acute(self, day: date) -> None:
        age = age_years(self.person.born, day)
        disease = _pick(self.numbers, age, self.person.sex)
        moment, doctor = self._moment(day), self._doctor(age)
        encounter = self.chart.new_id()
        end_day = day + timedelta(days=disease.days)
        condition = self.chart.condition(
            disease.code, disease.name, moment + timedelta(minutes=11), doctor=doctor,
            encounter=encounter, onset=day - timedelta(days=self.numbers.randrange(4)),
            until=end_day if end_day < self.until else None)
        kind = "HH" if (age < 3 or age > 74) and self.numbers.random() < 0.3 else "AMB"
        self.chart.encounter(
            moment, moment + timedelta(minutes=15), doctor=doctor, place=doctor.organisation,
            kind=kind, condition=condition, encounter_id=encounter, reason=disease.name,
            code=disease.code)
        self.vitals(moment, encounter, doctor, age, has_fever=disease.has_fever)
        if disease.panel and self.numbers.random() < disease.panel_share:
            self.panel(disease.panel, moment, encounter, doctor, disease.code)
        usual = disease.for_child if age < 12 else disease.for_adult
        self._give(usual, moment, doctor, encounter, disease.code, disease.name, again=0.55)
        if self.numbers.random() < 0.06:
            self._procedure(moment, encounter, doctor)

    def _follow(self, day: date, ongoing: Ongoing) -> None:
        disease = ongoing.disease
        age = age_years(self.person.born, day)
        is_heart = disease.code[0] == "I" and self.numbers.random() < 0.25
        doctor = self.staff.cardiologist if is_heart else self._doctor(age)
        moment, encounter = self._moment(day), self.chart.new_id()
        is_first = not ongoing.condition
        if is_first:
            ongoing.condition = self.chart.condition(
                disease.code, disease.name, moment + timedelta(minutes=12), doctor=doctor,
                encounter=encounter, onset=min(day, ongoing.onset), is_chronic=True)
            self.chart.episode(ongoing.condition, day, doctor, moment + timedelta(minutes=14))
        is_inpatient = disease.visits_year > 1.2 and self.numbers.random() < 0.05
        stay = timedelta(days=4 + self.numbers.randrange(7)) if is_inpatient else timedelta(
            minutes=18)
        if moment.date() + stay > self.until:
            is_inpatient, stay = False, timedelta(minutes=18)
        self.chart.encounter(
            moment, moment + stay, doctor=self.staff.hospital if is_inpatient else doctor,
            place=(self.staff.hospital if is_inpatient else doctor).organisation,
            kind="IMP" if is_inpatient else "AMB", service=4 if is_first else 3,
            condition=ongoing.condition, encounter_id=encounter, reason=disease.name,
            code=disease.code)
        self.vitals(moment, encounter, doctor, age, always=True)
        if disease.panel and self.numbers.random() < 0.42:
            self.panel(disease.panel, moment, encounter, doctor, "")
        self._give(disease.medicines, moment, doctor, encounter, disease.code, disease.name,
                   again=0.55, days=_CHRONIC_DAYS if disease.medicines[:1] != (
                       "norfloxacin-film-tablet-400mg",) else 10)
        if self.numbers.random() < 0.10:
            self._procedure(moment, encounter, doctor)

    def check_up(self, day: date) -> None:
        """A preventive visit."""
        age = age_years(self.person.born, day)
        moment, doctor = self._moment(day), self._doctor(age)
        encounter = self.chart.encounter(
            moment, moment + timedelta(minutes=20), doctor=doctor, place=doctor.organisation,
            service=1)
        self.vitals(moment, encounter, doctor, age, always=True)
        if self.numbers.random() < 0.62:
            self.panel("cbc", moment, encounter, doctor, "")
        if age >= 40 and self.numbers.random() < 0.5:
            self.panel("chem", moment, encounter, doctor, "")
        if self.numbers.random() < 0.45:
            self.panel("urine", moment, encounter, doctor, "")
        if self.numbers.random() < 0.35:
            self._procedure(moment, encounter, doctor)

    def _errand(self, day: date) -> None:
        """A short visit without a diagnosis: a paper, a referral, a result to hear."""
        moment, doctor = self._moment(day), self._doctor(age_years(self.person.born, day))
        self.chart.encounter(moment, moment + timedelta(minutes=7), doctor=doctor,
                             place=doctor.organisation, service=3)

    # --- What is written at a visit ---

    def vitals(self, moment: datetime, encounter: str, doctor: Holder, age: int, *,
                has_fever: bool = False, always: bool = False) -> None:
        """Pressure, pulse, temperature, weight, as the visit asks for them."""
        draw, chart = self.numbers.random, self.chart
        moment = moment + timedelta(minutes=4)
        if age >= 15 and (always or draw() < 0.55):
            codes = {one.disease.code for one in self.ongoing if one.onset <= moment.date()}
            lift = (16 if "I10" in codes else 0) + max(0, age - 30) * 0.25 + (
                (self.body_mass - 24) * 0.8)
            systolic = round(self.numbers.gauss(113 + lift, 7))
            chart.blood_pressure(systolic, round(systolic * 0.6 + self.numbers.gauss(3, 4)),
                                 moment, encounter, doctor)
            if draw() < 0.7:
                chart.vital("8867-4", "Yurak urishi", round(self.numbers.gauss(75, 8)), "/min",
                            "/daq", moment, encounter, doctor)
        if has_fever or draw() < 0.12:
            mean = 37.7 if has_fever else 36.6
            chart.vital("8310-5", "Tana harorati", round(self.numbers.gauss(mean, 0.5), 1), "Cel",
                        "°C", moment, encounter, doctor)
        if (always and draw() < 0.6) or (age < 6 and draw() < 0.6):
            height, weight = self._body(age, moment.date())
            chart.vital("29463-7", "Vazn", weight, "kg", "kg", moment, encounter, doctor)
            if age < 18 or draw() < 0.3:
                chart.vital("8302-2", "Bo‘y", height, "cm", "sm", moment, encounter, doctor)
        if has_fever and draw() < 0.35:
            chart.vital("59408-5", "Kislorod bilan to‘yinish", min(100, round(
                self.numbers.gauss(97, 1.2))), "%", "%", moment, encounter, doctor)

    def _body(self, age: int, day: date) -> tuple[float, float]:
        if not self.height:
            mean = 174 if self.person.sex == "male" else 162
            self.height = self.numbers.gauss(mean, 6)
        if age >= 18:
            mass = self.body_mass + min(4.0, (age - 18) * 0.09) + self.numbers.gauss(0, 0.4)
            return round(self.height), round(max(16.0, mass) * (self.height / 100) ** 2, 1)
        months = max(0, (day - self.person.born).days) / 30.44
        share = _GROWTH[min(len(_GROWTH) - 1, int(months / 12))]
        nearer = _GROWTH[min(len(_GROWTH) - 1, int(months / 12) + 1)]
        share += (nearer - share) * (months / 12 % 1)
        height = self.height * share
        lean = 15.5 + max(0.0, age - 6) * 0.45 + (self.body_mass - 24.5) * 0.35
        return round(height), round(max(12.0, lean) * (height / 100) ** 2, 1)

    def panel(self, key: str, moment: datetime, encounter: str, doctor: Holder,
              code: str) -> None:
        """A laboratory report with its measurements, moved by the diseases of the day."""
        moment = moment + timedelta(minutes=40)
        shifts = [SHIFTS.get(code, {})] + [
            SHIFTS.get(one.disease.code, {}) for one in self.ongoing
            if one.onset <= moment.date()]
        results = []
        for analyte_key in PANELS[key].analytes:
            analyte = ANALYTES[analyte_key]
            usual = self.levels.get(analyte_key)
            if usual is None:
                mean = analyte.woman_mean if (
                    self.person.sex == "female" and analyte.woman_mean) else analyte.mean
                usual = self.levels[analyte_key] = self.numbers.gauss(mean, analyte.spread * 0.8)
            value = usual + self.numbers.gauss(0, analyte.spread * 0.45)
            for shift in shifts:
                value += shift.get(analyte_key, 0.0) * (0.6 + 0.6 * self.numbers.random())
            results.append(self.chart.laboratory(analyte_key, value, moment, encounter, doctor))
        self.chart.report(key, results, moment, encounter, doctor)

    def _give(self, usual: tuple[str, ...], moment: datetime, doctor: Holder, encounter: str,
              code: str, name: str, *, again: float, days: int = 0) -> None:
        numbers = self.numbers
        if not usual or numbers.random() < 0.14:
            return
        moment = moment + timedelta(minutes=13)
        group = self.chart.prescription()
        pharmacists = self.staff.pharmacists
        pharmacist = pharmacists[numbers.randrange(len(pharmacists))]
        is_dispensed = numbers.random() < _DOSE_SHARE
        later = moment + timedelta(minutes=25 + numbers.randrange(300))
        for place, key in enumerate(usual):
            if place and numbers.random() > again:
                break
            item = self.chart.prescribe(key, moment, doctor=doctor, encounter=encounter,
                                        code=code, name=name, days=days, group=group)
            if is_dispensed and numbers.random() < 0.96:
                self.chart.dispense(item, later + timedelta(seconds=20 * place), pharmacist)

    def _procedure(self, moment: datetime, encounter: str, doctor: Holder) -> None:
        draw = self.numbers.randrange(sum(weight for _, weight in PROCEDURES))
        for name, weight in PROCEDURES:
            draw -= weight
            if draw < 0:
                self.chart.procedure(name, moment + timedelta(minutes=30), encounter, doctor)
                return

    # --- Vaccines and allergies ---

    def vaccinate(self) -> None:
        """Doses of the calendar, of the campaign of 2021 and of the autumns."""
        numbers, born = self.numbers, self.person.born
        nurse = self.staff.pediatrician
        for vaccine in VACCINES:
            day = born + timedelta(days=vaccine.age_days + numbers.randrange(1, 25) * (
                vaccine.age_days > 5))
            if not (self.start <= day < self.until) or day.year < vaccine.since:
                continue
            if (vaccine.sex and vaccine.sex != self.person.sex) or (
                    numbers.random() > vaccine.share):
                continue
            self.chart.vaccination(vaccine, self._moment(day), nurse)
        self._vaccinate_covid()
        if age_years(born, self.until) >= 60 or self.ongoing:
            for year in range(max(self.start.year, 2017), self.until.year + 1):
                day = date(year, 10, 5) + timedelta(days=numbers.randrange(40))
                if self.start <= day < self.until and numbers.random() < 0.28:
                    self.chart.vaccination(Vaccine(0, *INFLUENZA, 1), self._moment(day), nurse)

    def _vaccinate_covid(self) -> None:
        numbers = self.numbers
        day = date(2021, 4, 5) + timedelta(days=numbers.randrange(300))
        if age_years(self.person.born, day) < 18 or numbers.random() > 0.78:
            return
        cvx, name = COVID[numbers.randrange(len(COVID))]
        for dose in range(1, 2 + (numbers.random() < 0.93) + (numbers.random() < 0.62)):
            if self.start <= day < self.until:
                self.chart.vaccination(Vaccine(0, cvx, name, dose), self._moment(day),
                                       self.family_doctor)
            day += timedelta(days=28 if dose == 1 else 170)

    def _allergies(self) -> None:
        numbers = self.numbers
        if self.person.tale or numbers.random() > 0.085:
            return
        draw = numbers.randrange(sum(row[4] for row in ALLERGENS))
        for text, inn, atc, category, weight in ALLERGENS:
            draw -= weight
            if draw >= 0:
                continue
            span = max(1, (self.until - self.start).days - 1)
            day = self.start + timedelta(days=numbers.randrange(span))
            is_severe = category == "medication" and numbers.random() < 0.25
            self.chart.allergy(
                text, inn, atc, category, self._moment(day), doctor=self.family_doctor,
                is_severe=is_severe, reaction="anaphylaxis" if is_severe else "urticaria",
                onset=day.isoformat()[:7])
            return


_GROWTH = (0.29, 0.43, 0.50, 0.55, 0.59, 0.63, 0.66, 0.70, 0.73, 0.76, 0.79, 0.83, 0.87, 0.91, 0.94,
           0.97, 0.985, 0.995, 1.0)  # fmt: skip  # A row of numbers.
"""Share of the adult height at each birthday."""


def _share(disease: Chronic, age: int) -> float:
    """How many of an age have the disease: straight lines between the four ages of the table."""
    points = ((0, 0.0), (20, disease.at_20), (40, disease.at_40), (60, disease.at_60),
              (75, disease.at_75))
    for (left, low), (right, high) in pairwise(points):
        if age < right:
            return low + (high - low) * (age - left) / (right - left)
    return disease.at_75


def _weights(place: int, sex: str) -> tuple[list[Acute], list[int]]:
    found = [one for one in ACUTE if not one.sex or one.sex == sex]
    return found, [(one.child, one.adult, one.old)[place] for one in found]


_ACUTE = {(place, sex): _weights(place, sex) for place in range(3) for sex in ("male", "female")}


def _pick(numbers: Random, age: int, sex: str) -> Acute:
    found, weights = _ACUTE[0 if age < 15 else 1 if age < 60 else 2, sex]
    draw = numbers.randrange(sum(weights))
    for one, weight in zip(found, weights, strict=True):
        draw -= weight
        if draw < 0:
            return one
    return found[0]
