"""What the checks are about: a person, the medicines taken, the lines; and how a finding is made.

Values of reasons whose name ends in `inn` are INN keys: whoever shows them puts the name in the
reader's language.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import cache

import msgspec

from dmed.kit.text import fold
from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions.model import Alert, DraftItem, Reason, Tier, reason_key
from dmed.modules.prescriptions.rules.tables import Table, table

_UNKNOWN_AGE = 40
"""Limits of children and of the old are not for somebody whose age is unknown."""


class Allergy(msgspec.Struct, frozen=True, kw_only=True):
    """An allergy on the card: INN key or name, or an ATC code or group."""

    text: str
    inn: str = ""
    atc: str = ""
    reaction: str = ""
    """What happened: a code of the card's list ("anaphylaxis") or words."""
    severity: str = ""
    """FHIR: mild, moderate, severe."""
    since: str = ""
    """FHIR date: of the first reaction, else of the record."""

    @property
    def recorded(self) -> dict[str, str]:
        """What the card records of it, by name; empty where it records nothing more."""
        known = {"reaction": self.reaction, "severity": self.severity, "since": self.since}
        return {name: value for name, value in known.items() if value}

    @property
    def said(self) -> str:
        """The allergy in an English sentence: "Penitsillin [reaction: rash; since: 2019]"."""
        more = "; ".join(f"{name}: {value}" for name, value in self.recorded.items())
        return self.text + (f" [{more}]" if more else "")

    @property
    def is_severe(self) -> bool:
        """Whether the reaction was one after which no relative is tried without a reason."""
        return self.severity == "severe" or "anaphyla" in self.reaction.lower()


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A medicine that the person takes now."""

    inn: str
    """INN key or name."""
    atc: str
    text: str = ""
    since: date | None = None
    until: date | None = None

    @property
    def inns(self) -> frozenset[str]:
        """The single INNs in it, each as key and folded."""
        parts = self.inn.split("+") if self.inn else [self.text]
        return frozenset({*parts, *(fold(part) for part in parts)} - {""})


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks read of a person; -1 and None mean unknown."""

    age_years: int = -1
    sex: str = ""
    pregnancy_weeks: int | None = None
    is_breastfeeding: bool = False
    weight_kg: Decimal | None = None
    egfr: Decimal | None = None
    """Kidney function in mL/min/1.73 m2, measured or estimated within a year."""
    diagnoses: tuple[str, ...] = ()
    """ICD-10 codes that stand on the card."""
    allergies: tuple[Allergy, ...] = ()
    running: tuple[Running, ...] = ()

    @property
    def is_pregnant(self) -> bool:
        """A pregnancy on the card of somebody who can have one (the gate by age and sex)."""
        return self.pregnancy_weeks is not None and self.sex != "male" and self.years >= 10

    @property
    def years(self) -> int:
        """The age that limits go by."""
        return self.age_years if self.age_years >= 0 else _UNKNOWN_AGE


class Line(msgspec.Struct, frozen=True):
    """One line of the draft with what it names."""

    index: int
    item: DraftItem
    preparation: Preparation
    diagnosis: str
    is_viral: bool

    @property
    def where(self) -> str:
        """How sentences name it."""
        return f"Item {self.index + 1}"

    @property
    def inn(self) -> str:
        """Key of its INN, as reasons carry it."""
        return self.preparation.inn.key


def alert_of(
    rule: str, tier: Tier, item: int, sentence: str, of: Table | None = None, /, **values: str
) -> Alert:
    """A finding with the table that it comes from."""
    return Alert(
        rule=rule,
        tier=tier,
        item=item,
        reason=Reason(reason_key(rule), values),
        owner=of.owner if of else "dmed",
        version=of.version if of else "",
        source=of.source if of else "",
        is_draft=of.is_draft if of else False,
        sentence=sentence,
    )


def applies(row: Mapping[str, str], preparation: Preparation) -> bool:
    """Whether a row is about a medicine: by the beginning of its ATC code, or one of its INNs.

    A row by INN is about what acts in the whole body, not about drops and ointments.
    """
    if row["atc"]:
        return preparation.atc.startswith(row["atc"])
    return row["inn"] in preparation.inn.components and not is_local(preparation.atc)


def worst(rows: Iterable[Mapping[str, str]]) -> Mapping[str, str] | None:
    """The row that speaks most strongly, the first of equals; None without rows."""
    order = [tier.value for tier in Tier]
    return min(rows, key=lambda row: order.index(row["tier"]), default=None)


def rows_of(of: Table, kind: str) -> list[Mapping[str, str]]:
    """The rows of one kind of a table that holds several."""
    return [row for row in of.rows if row["kind"] == kind]


@cache
def _codes(kind: str) -> tuple[str, ...]:
    return tuple(row["key"] for row in rows_of(table("overlap"), kind))


def is_local(atc: str) -> bool:
    """Whether a medicine of this ATC code acts where it is put on."""
    return atc.startswith(_codes("local")) and not atc.startswith(_codes("systemic"))


def note_of(row: Mapping[str, str]) -> str:
    """The note of a row as the end of a sentence."""
    return f" ({row['note']})" if row["note"] else ""


def has_diagnosis(codes: Iterable[str], prefixes: str) -> str:
    """The first ICD-10 code that begins with one of the prefixes, or ""."""
    beginnings = tuple(prefixes.split())
    return next((code for code in codes if code.startswith(beginnings)), "")
