"""The indicators computed once more, slowly and straight from the records: nothing is shared with
the platform's own counting but the list of codes below, written here by hand.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

from dmed.modules.medicines import api as medicines

Record = dict[str, Any]
Totals = dict[tuple[str, str, str], tuple[int, int]]
"""(prescriber, indicator, part) > (numerator, denominator)"""

ACCESS = {"J01CA04", "J01CR02", "J01AA02", "J01EE01", "J01XE01", "J01GB03", "J01GB06", "J01DB01"}
WATCH_RESERVE = {"J01DD04", "J01DD08", "J01FA10", "J01FA09", "J01MA02", "J01MA12", "J01DH02",
                 "J01FF02", "J01XA01", "J01XX08", "J01XB01", "J01AA12", "J01DD52"}
VIRAL = ("J00", "J04", "J05", "J06", "J20", "J21", "J10", "J11", "B34")
NSAID = ("M01AA", "M01AB", "M01AC", "M01AE", "M01AG", "M01AH", "M01AX01", "M01AX17")
ANTICOAGULANT = ("B01AA", "B01AB", "B01AE", "B01AF")


def atc(request: Record) -> str:
    for coding in request["medication"].get("concept", {}).get("coding", []):
        if coding["system"] == "http://www.whocc.no/atc":
            return coding["code"]
    return ""


def icd(request: Record) -> str:
    for reason in request.get("reason", []):
        for coding in reason.get("concept", {}).get("coding", []):
            if "icd-10" in coding["system"]:
                return coding["code"]
    return ""


def key(request: Record) -> str:
    for coding in request["medication"].get("concept", {}).get("coding", []):
        if coding["system"].endswith("/preparation"):
            return coding["code"]
    return atc(request)


def written(request: Record) -> datetime:
    return datetime.fromisoformat(request["authoredOn"])


def course(request: Record) -> tuple[date, date]:
    period = request["effectiveDosePeriod"]
    return date.fromisoformat(period["start"]), date.fromisoformat(period["end"])


def prescriber(request: Record) -> str:
    return request["requester"]["reference"].split("/")[1]


def group(request: Record) -> str:
    return request.get("groupIdentifier", {}).get("value") or request["id"]


def person(record: Record) -> str:
    return record["subject"]["reference"].split("/")[1]


def is_injected(request: Record) -> bool:
    known = medicines.preparation_of(request["medication"])
    return known is not None and known.form.route in {
        "parenteral", "intravenous", "intramuscular", "subcutaneous"}


def is_early(request: Record, same_person: list[Record]) -> bool:
    for other in same_person:
        start, end = course(other)
        days = 7 if (end - start).days + 1 >= 21 else 3
        if (atc(other) == atc(request) and written(other) < written(request)
                and end > course(request)[0] + timedelta(days=days)):
            return True
    return False


def is_late(request: Record) -> bool:
    at = written(request)
    return at.isoweekday() == 7 or not 7 * 60 <= at.hour * 60 + at.minute < 20 * 60


class Hand:
    """All records in lists; every number is found by looking through them."""

    def __init__(self, records: list[Record]) -> None:
        def of(type_: str) -> list[Record]:
            return [one for one in records if one["resourceType"] == type_]

        self.requests = [one for one in of("MedicationRequest") if one["status"] in {
            "active", "on-hold", "ended", "stopped", "completed"}]
        self.fills = [one for one in of("MedicationDispense") if one["status"] == "completed"]
        self.issues = [one for one in of("DetectedIssue") if one["status"] == "mitigated"]
        self.conditions = of("Condition")
        self.born = {one["id"]: date.fromisoformat(one["birthDate"]) for one in of("Patient")}
        self.by_person: dict[str, list[Record]] = defaultdict(list)
        for one in self.requests:
            self.by_person[person(one)].append(one)
        self.totals: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])

    def in_use(self, request: Record) -> list[Record]:
        """Other lines whose course covers the day, written by then."""
        day = written(request).date()
        return [one for one in self.by_person[person(request)]
                if one["id"] != request["id"] and written(one) <= written(request)
                and course(one)[0] <= day <= course(one)[1]]

    def age(self, request: Record) -> int:
        born, day = self.born[person(request)], written(request).date()
        return day.year - born.year - ((day.month, day.day) < (born.month, born.day))

    def is_ill(self, request: Record, codes: tuple[str, ...]) -> bool:
        day = written(request).date().isoformat()
        own = [icd(request)]
        for one in self.conditions:
            if person(one) == person(request) and one["onsetDateTime"][:10] <= day and (
                    one.get("abatementDateTime", "9999")[:10] >= day):
                own.append(one["code"]["coding"][0]["code"])
        return any(code.startswith(codes) for code in own if code)

    def first_fill(self, request: Record) -> Record | None:
        own = [one for one in self.fills if person(one) == person(request)
               and one["authorizingPrescription"][0]["reference"].endswith(request["id"])]
        return min(own, key=lambda one: one["whenHandedOver"]) if own else None

    def add(self, who: str, indicator: str, hit: int, part: str = "", whole: int = 1) -> None:
        cell = self.totals[who, indicator, part]
        cell[0] += hit
        cell[1] += whole

    def lines(self) -> None:
        """Indicators by line."""
        for one in self.requests:
            who, code = prescriber(one), atc(one)
            self.add(who, "by-inn", "reference" not in one["medication"])
            self.add(who, "redemption", self.first_fill(one) is not None)
            self.add(who, "early-repeat", is_early(one, self.by_person[person(one)]))
            if code in ACCESS | WATCH_RESERVE:
                self.add(who, "aware-access", code in ACCESS)
                self.add(who, "aware-watch-reserve", code in WATCH_RESERVE)
            fill = self.first_fill(one)
            if fill and fill.get("contained"):
                gtin = fill["contained"][0]["identifier"][0]["value"]
                known = medicines.product_or_none(gtin)
                self.add(who, "brand-in-inn", 0, key(one))
                self.add(who, "brand-in-inn", 1, f"{key(one)}|{known.trade if known else gtin}", 0)

    def prescriptions(self) -> None:
        """Indicators by prescription."""
        groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        for one in self.requests:
            groups[prescriber(one), person(one), group(one)].append(one)
        for (who, _, _), items in groups.items():
            is_antibiotic = any(atc(one).startswith("J01") for one in items)
            self.add(who, "drugs-per-prescription", len(items))
            self.add(who, "antibiotic", is_antibiotic)
            self.add(who, "injection", any(map(is_injected, items)))
            self.add(who, "out-of-hours", any(map(is_late, items)))
            if any(icd(one).startswith(VIRAL) for one in items):
                self.add(who, "antibiotic-viral", is_antibiotic)
            fills = [fill for one in items if (fill := self.first_fill(one))]
            if fills:
                first = min(fills, key=lambda fill: fill["whenHandedOver"])
                start = min(written(one) for one in items).date()
                self.add(who, "days-to-fill", max(0, (
                    datetime.fromisoformat(first["whenHandedOver"]).date() - start).days))
            rules = {issue["code"]["coding"][0]["code"] for issue in self.issues for one in items
                     if person(issue) == person(one)
                     and issue["implicated"][0]["reference"].endswith(one["id"])}
            self.add(who, "overrides", 0)
            for rule in rules:
                self.add(who, "overrides", 1, rule, 0)

    def people(self) -> None:
        """Indicators by person and year."""
        years: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
        for one in self.requests:
            years[prescriber(one), person(one), written(one).year].append(one)
        for (who, _, _), items in years.items():
            most = max(len({atc(one)} | {atc(x) for x in self.in_use(one)}) for one in items)
            self.add(who, "polypharmacy-5", most >= 5)
            self.add(who, "polypharmacy-10", most >= 10)
            self.hazards(who, items)
            fills = [fill for one in items if (fill := self.first_fill(one))]
            if fills:
                first = min(fills, key=lambda fill: fill["whenHandedOver"])
                pharmacy = first["performer"][-1]["actor"]["reference"].split("/")[1]
                self.add(who, "pharmacy-pair", 0)
                self.add(who, "pharmacy-pair", 1, pharmacy, 0)

    def hazards(self, who: str, items: list[Record]) -> None:
        """Of the medicines that a person was given in a year, whether one was a danger."""
        def of(*begins: str) -> list[Record]:
            return [one for one in items if atc(one).startswith(begins)]

        def uses(one: Record, begins: tuple[str, ...]) -> bool:
            return any(atc(other).startswith(begins) for other in self.in_use(one))

        def days(one: Record) -> int:
            return (course(one)[1] - course(one)[0]).days + 1

        if nsaids := of(*NSAID):
            self.add(who, "hazard-nsaid-old", any(
                self.age(one) >= 65 and not uses(one, ("A02B",)) for one in nsaids))
            self.add(who, "hazard-nsaid-heart-kidney", any(
                self.is_ill(one, ("I50", "N18.3", "N18.4", "N18.5")) for one in nsaids))
        if either := of(*NSAID, *ANTICOAGULANT):
            self.add(who, "hazard-nsaid-anticoagulant", any(
                uses(one, ANTICOAGULANT if atc(one).startswith(NSAID) else NSAID)
                for one in either))
        if blockers := of("C07"):
            self.add(who, "hazard-betablocker-asthma", any(
                self.is_ill(one, ("J45", "J46")) for one in blockers))
        if calming := of("N05BA", "N05CD", "N05CF"):
            self.add(who, "benzodiazepine-long", any(days(one) > 28 for one in calming))
        if acid := of("A02BC"):
            self.add(who, "ppi-long", any(days(one) > 56 for one in acid))


def compute(records: list[Record]) -> Totals:
    """Every figure."""
    hand = Hand(records)
    hand.lines()
    hand.prescriptions()
    hand.people()
    return {key_: (both[0], both[1]) for key_, both in hand.totals.items() if any(both)}
