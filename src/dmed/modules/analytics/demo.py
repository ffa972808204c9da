"""Planted over-prescribers and arrangements for kick-back, by a seed, in the records of a country.

The choice is made by the seed that is given when it runs, among those who wrote enough to be
judged at all; every other record stays as it was, only hand-overs get a pack.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from dmed.kit.ids import bucket_in
from dmed.kit.seed import Made, drawn_id, generator, make
from dmed.modules.analytics.rules.definitions import lists
from dmed.modules.medicines import api as medicines

ENOUGH_PRESCRIPTIONS = 60
"""Whoever wrote fewer is not planted: over so few nothing can be told from chance."""
ENOUGH_VIRAL = 25
ENOUGH_BRAND = 25
_ANTIBIOTICS = ("azithromycin", "amoxicillin", "cefixime", "levofloxacin")
_MORE = ("ascorbic-acid", "metamizole", "drotaverine", "cetirizine", "loratadine", "pantoprazole",
         "magnesium", "acetylcysteine")
_INJECTIONS = ("diclofenac-injection-75mg-3ml-3", "ketorolac-injection-30mg-1ml-1",
               "metamizole-sodium-injection-500mg-1ml-2")
_GTIN = "https://mobile-api.aslbelgisi.uz/gtin"
_ICD = "http://hl7.org/fhir/sid/icd-10"
_decoder = msgspec.json.Decoder(dict[str, Any])


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """One planted case: what kind, whose, and what of (a pharmacy, a product)."""

    kind: str
    """antibiotic, many, injection, night, pharmacy, brand"""
    prescriber: str
    part: str = ""
    indicators: tuple[str, ...]
    """Any of these, flagged, finds it."""


_FOUND_BY = {
    "antibiotic": ("antibiotic-viral", "antibiotic"),
    "many": ("drugs-per-prescription", "polypharmacy-5"),
    "injection": ("injection",),
    "night": ("out-of-hours",),
    "pharmacy": ("pharmacy-pair",),
    "brand": ("brand-in-inn",),
}
COUNTS = {"antibiotic": 3, "many": 3, "injection": 2, "night": 2, "pharmacy": 4, "brand": 2}


class Country:
    """The records of prescribing of a country, opened to be changed; posts and persons beside."""

    def __init__(self, records: Iterable[Made]) -> None:
        self.others: list[Made] = []
        self.requests: dict[str, dict[str, Any]] = {}
        self.fills: list[dict[str, Any]] = []
        for record in records:
            if record.type == "MedicationRequest":
                self.requests[record.id] = _decoder.decode(record.body)
            elif record.type == "MedicationDispense":
                self.fills.append(_decoder.decode(record.body))
            else:
                self.others.append(record)
        self._give_packs()

    def made(self) -> list[Made]:
        """All records, those changed made anew."""
        changed = [_again(record) for record in (*self.requests.values(), *self.fills)]
        return [*self.others, *changed]

    def _give_packs(self) -> None:
        for fill in self.fills:
            found = medicines.preparation_of(fill["medication"])
            products = medicines.products_of(found.key) if found else ()
            if products:
                digest = hashlib.sha256(f"pack/{fill['id']}".encode()).digest()[0]
                _pack(fill, products[digest % len(products)])

    # What the plan needs to know

    def prescriptions(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Prescriber > number > items."""
        found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for request in self.requests.values():
            found[prescriber_of(request)][request["groupIdentifier"]["value"]].append(request)
        return found

    def request_of(self, fill: dict[str, Any]) -> dict[str, Any]:
        """The request that a hand-over fulfils."""
        reference = fill["authorizingPrescription"][0]["reference"]
        return self.requests[reference.rpartition("/")[2]]


def prescriber_of(request: dict[str, Any]) -> str:
    """The post that wrote a request."""
    return str(request["requester"]["reference"]).rpartition("/")[2]


def pharmacy_of(fill: dict[str, Any]) -> str:
    """The institution that handed over."""
    return next(str(one["actor"]["reference"]).rpartition("/")[2] for one in fill["performer"]
                if one["actor"]["reference"].startswith("Organization/"))


def _is_viral(request: dict[str, Any]) -> bool:
    return any(str(coding["code"]).startswith(lists()["viral"])
               for reason in request["reason"] for coding in reason["concept"]["coding"]
               if coding["system"] == _ICD)


def _atc(record: dict[str, Any]) -> str:
    return next((str(coding["code"]) for coding in record["medication"]["concept"]["coding"]
                 if "atc" in coding["system"]), "")


def _is_antibiotic(request: dict[str, Any]) -> bool:
    return _atc(request).startswith("J01")


def _pack(fill: dict[str, Any], product: medicines.Product) -> None:
    resource = medicines.product_resource(product.key)
    fill["contained"] = [{
        "resourceType": "Medication", "id": "pack",
        "identifier": [one for one in resource["identifier"] if one["system"] == _GTIN],
        "code": resource["code"], "status": "active"}]
    fill["medication"]["reference"] = {"reference": "#pack"}


_ORDER = ("resourceType", "contained", "groupIdentifier", "status", "intent", "category",
          "medication", "subject", "encounter", "performer", "authorizingPrescription",
          "authoredOn", "requester", "reason", "quantity", "recorded", "whenHandedOver", "receiver",
          "effectiveDosePeriod", "dosageInstruction", "dispenseRequest")


def _again(record: dict[str, Any]) -> Made:
    moment = datetime.fromisoformat(record.get("authoredOn") or record["recorded"])
    profile = next(iter(record.get("meta", {}).get("profile", ())), "")
    return make(record["id"], moment, profile,
                {name: record[name] for name in _ORDER if name in record})


def plant(country: Country, seed: int) -> list[Planted]:
    """Changes the country; what was planted, each prescriber once."""
    numbers = generator("planted", seed)
    by_prescriber = country.prescriptions()
    free = sorted(one for one, groups in by_prescriber.items()
                  if len(groups) >= ENOUGH_PRESCRIPTIONS)
    numbers.shuffle(free)
    made: list[Planted] = []
    for kind, count in COUNTS.items():
        left = count
        for prescriber in [*free]:
            if not left:
                break
            groups = by_prescriber[prescriber]
            part = _ACTS[kind](country, prescriber, groups, numbers)
            if part is None:
                continue
            free.remove(prescriber)
            left -= 1
            made.append(Planted(kind=kind, prescriber=prescriber, part=part,
                                indicators=_FOUND_BY[kind]))
    return made


Groups = dict[str, list[dict[str, Any]]]


def _add(country: Country, like: dict[str, Any], key: str, numbers: Random) -> None:
    """One more line in the prescription of a line."""
    new = dict(like)
    new["id"] = drawn_id(bucket_in(like["id"]) or 0, numbers)
    new["medication"] = medicines.medication(key)
    country.requests[new["id"]] = new


def _keys(wanted: Sequence[str]) -> list[str]:
    """Preparations by mouth whose keys begin with these, in the order of the register."""
    found = sorted({product.preparation.key for product in medicines.all_products()
                    if product.preparation.key.startswith(tuple(wanted))
                    and product.preparation.form.route == "oral"})
    return found or ["paracetamol-tablet-500mg"]


def _antibiotic(country: Country, _who: str, groups: Groups, numbers: Random) -> str | None:
    viral = [items for items in groups.values() if any(map(_is_viral, items))]
    if len(viral) < ENOUGH_VIRAL:
        return None
    keys = _keys(_ANTIBIOTICS)
    for items in viral:
        if not any(map(_is_antibiotic, items)) and numbers.random() < 0.75:
            _add(country, items[0], numbers.choice(keys), numbers)
    return ""


def _many(country: Country, _who: str, groups: Groups, numbers: Random) -> str | None:
    keys = _keys(_MORE)
    for items in groups.values():
        if numbers.random() < 0.8:
            for key in numbers.sample(keys, min(len(keys), numbers.randint(2, 4))):
                _add(country, items[0], key, numbers)
    return ""


def _injection(country: Country, _who: str, groups: Groups, numbers: Random) -> str | None:
    for items in groups.values():
        if numbers.random() < 0.5:
            _add(country, items[0], numbers.choice(_INJECTIONS), numbers)
    return ""


def _night(_country: Country, _who: str, groups: Groups, numbers: Random) -> str | None:
    for items in groups.values():
        if numbers.random() < 0.4:
            late = timedelta(minutes=numbers.randrange(150))
            for item in items:
                moment = datetime.fromisoformat(item["authoredOn"])
                moved = moment.replace(hour=21, minute=0) + late
                item["authoredOn"] = moved.isoformat(timespec="seconds")
    return ""


def _fills(country: Country, prescriber: str) -> list[dict[str, Any]]:
    return [fill for fill in country.fills
            if prescriber_of(country.request_of(fill)) == prescriber]


def _pharmacy(country: Country, who: str, _groups: Groups, numbers: Random) -> str | None:
    own = _fills(country, who)
    seen = Counter(map(pharmacy_of, own))
    if len(own) < ENOUGH_PRESCRIPTIONS or len(seen) < 2:
        return None
    target = min(seen)
    like = next(fill for fill in own if pharmacy_of(fill) == target)
    moved: dict[str, bool] = {}
    for fill in own:
        number = country.request_of(fill)["groupIdentifier"]["value"]
        if moved.setdefault(number, numbers.random() < 0.9):
            fill["performer"] = like["performer"]
    return target


def _brand(country: Country, who: str, _groups: Groups, numbers: Random) -> str | None:
    own: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fill in _fills(country, who):
        found = medicines.preparation_of(fill["medication"])
        own[found.key if found else ""].append(fill)
    for key, fills in sorted(own.items(), key=lambda pair: -len(pair[1])):
        products = medicines.products_of(key)
        if len(fills) < ENOUGH_BRAND or len({one.trade for one in products}) < 2:
            continue
        chosen = products[numbers.randrange(len(products))]
        for fill in fills:
            if numbers.random() < 0.95:
                _pack(fill, chosen)
        return f"{key}|{chosen.trade}"
    return None


_ACTS = {"antibiotic": _antibiotic, "many": _many, "injection": _injection, "night": _night,
         "pharmacy": _pharmacy, "brand": _brand}
