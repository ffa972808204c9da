"""Checks of one line against the person: allergies, age, pregnancy, lactation, organs, diseases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from dmed.kit.text import fold
from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions.model import Alert, Tier
from dmed.modules.prescriptions.rules.checks_facts import (
    Allergy,
    Line,
    Person,
    alert_of,
    applies,
    has_diagnosis,
    is_local,
    note_of,
    worst,
)
from dmed.modules.prescriptions.rules.tables import table

CHILDBEARING_YEARS = range(12, 51)


# --- Allergies -------------------------------------------------------------------------------


def inn_names(preparation: Preparation) -> set[str]:
    """Every way in which one of the preparation's INNs may be written elsewhere, folded."""
    inn = preparation.inn
    names: set[str] = set(inn.components) | {inn.key, inn.code} - {""}
    for text in (inn.uz, inn.ru, inn.en):
        names |= {fold(text), *(fold(part) for part in text.split(" + "))}
    return names


def is_same_inn(preparation: Preparation, written: str) -> bool:
    """Whether a key or name, as it stands on a card, is one of the preparation's INNs."""
    return bool(written) and bool({written, fold(written)} & inn_names(preparation))


def _groups(atc: str, inns: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Allergy groups of a medicine -> groups that they cross-react with -> the row's tier."""
    found: dict[str, dict[str, str]] = {}
    for row in table("allergy_groups").rows:
        if (row["atc"] and atc.startswith(row["atc"])) or (row["inn"] and row["inn"] in inns):
            reacts = found.setdefault(row["group"], {})
            reacts.update(dict.fromkeys(row["reacts_with"].split(), row["tier"]))
    return found


def _allergy_groups(allergy: Allergy) -> set[str]:
    """The groups that an allergy is about: by its INN, its ATC code or beginning of one, or the
    words of a card that gives no code.
    """
    found = set(_groups(allergy.atc, (allergy.inn,)) if allergy.atc or allergy.inn else ())
    if allergy.atc:
        found |= {
            row["group"]
            for row in table("allergy_groups").rows
            if row["atc"] and row["atc"].startswith(allergy.atc)
        }
    return found or {group for group in [_group_words().get(fold(allergy.text), "")] if group}


@cache
def _group_words() -> dict[str, str]:
    """Folded words -> allergy group."""
    return {
        fold(word): row["group"]
        for row in table("allergy_words").rows
        for word in row["words"].split("|")
    }


@cache
def _chains() -> dict[str, str]:
    """INN -> its side chain."""
    return {row["inn"]: row["chain"] for row in table("side_chains").rows}


def _has_same_chain(allergy: Allergy, preparation: Preparation, groups: set[str]) -> bool:
    """Whether both carry the same side chain; an allergy to a whole group has all of its chains."""
    rows = table("side_chains").rows
    mine = {row["chain"] for row in rows if row["inn"] in preparation.inn.components}
    written = {allergy.inn, fold(allergy.inn), fold(allergy.text)}
    is_whole = not allergy.inn and len(allergy.atc) < 7
    return any(
        row["chain"] in mine
        and (
            row["inn"] in written
            or (bool(allergy.atc) and row["atc"].startswith(allergy.atc))
            or (is_whole and bool(groups & set(_groups(row["atc"], ()))))
        )
        for row in rows
    )


def allergies(line: Line, person: Person) -> Iterator[Alert]:
    """The same INN stops; the same group or side chain, or a severe reaction to a group that
    cross-reacts, asks for a reason; a rare cross-reaction is shown.
    """
    preparation = line.preparation
    mine = _groups(preparation.atc, preparation.inn.components)
    crossed = {other: tier for others in mine.values() for other, tier in others.items()}
    for allergy in person.allergies:
        if _is_allergy_to(allergy, preparation):
            said = f"the card records an allergy to {allergy.said}"
            yield _allergy("allergy-inn", Tier.STOP, line, allergy, said)
            continue
        theirs = _allergy_groups(allergy)
        is_below = bool(allergy.atc) and preparation.atc.startswith(allergy.atc)
        if theirs & set(mine) or is_below:
            is_far = theirs & set(mine) == {"cephalosporins"} and not _is_close(
                allergy, preparation, theirs)
            tier = Tier.PASSIVE if is_far else Tier.INTERRUPT
            said = f"allergy to {allergy.said}, of the same group"
            yield _allergy("allergy-group", tier, line, allergy, said)
            continue
        tiers = [Tier(crossed[group]) for group in sorted(theirs & set(crossed))]
        is_same_chain = _has_same_chain(allergy, preparation, theirs)
        if tiers or is_same_chain:
            is_sure = is_same_chain or allergy.is_severe
            tier = Tier.INTERRUPT if is_sure else max(tiers, key=list(Tier).index)
            said = f"may cross-react with the allergy to {allergy.said}"
            yield _allergy("allergy-cross", tier, line, allergy, said)


def _is_close(allergy: Allergy, preparation: Preparation, groups: set[str]) -> bool:
    """Cephalosporins differ by their side chains: a group, an unknown one and a severe reaction
    count as close.
    """
    is_one = len(allergy.atc) == 7 or bool(allergy.inn)
    return not is_one or allergy.is_severe or _has_same_chain(allergy, preparation, groups)


def _is_allergy_to(allergy: Allergy, preparation: Preparation) -> bool:
    if is_same_inn(preparation, allergy.inn):
        return True
    if len(allergy.atc) == 7 and preparation.atc == allergy.atc:
        return True
    return not allergy.inn and not allergy.atc and is_same_inn(preparation, allergy.text)


def _allergy(rule: str, tier: Tier, line: Line, allergy: Allergy, said: str) -> Alert:
    return alert_of(
        rule,
        tier,
        line.index,
        f"{line.where}: {said}",
        table("allergy_groups"),
        inn=line.inn,
        allergy=allergy.text,
        **allergy.recorded,
    )


# --- Age, pregnancy, lactation ---------------------------------------------------------------


def ages(line: Line, person: Person) -> Iterator[Alert]:
    """Not below an age."""
    of = table("min_age")
    for row in of.rows:
        limit = int(row["min_age_years"])
        if applies(row, line.preparation) and 0 <= person.age_years < limit:
            yield alert_of(
                "min-age",
                Tier(row["tier"]),
                line.index,
                f"{line.where}: not below {limit} years{note_of(row)}",
                of,
                inn=line.inn,
                years=str(limit),
            )


def pregnancies(line: Line, person: Person) -> Iterator[Alert]:
    """Harm to an unborn child: by the week of a known pregnancy, else for those women who may be
    pregnant without the card knowing it, where prevention is part of the treatment.
    """
    of = table("pregnancy")
    mine = [row for row in of.rows if applies(row, line.preparation)]
    weeks = person.pregnancy_weeks
    if person.is_pregnant and weeks is not None:
        row = worst(row for row in mine if _is_in(row, weeks))
        if row is not None:
            yield alert_of(
                "pregnancy",
                Tier(row["tier"]),
                line.index,
                f"{line.where}: pregnancy of {weeks} weeks{note_of(row)}",
                of,
                inn=line.inn,
                weeks=str(weeks),
            )
        return
    prevented = [row for row in mine if row["prevention"]]
    if prevented and person.sex == "female" and person.age_years in CHILDBEARING_YEARS:
        tier = Tier.INTERRUPT
        if all(row["prevention"] == Tier.PASSIVE.value for row in prevented):
            tier = Tier.PASSIVE
        sentence = f"{line.where}: exclude a pregnancy and agree contraception"
        yield alert_of("childbearing", tier, line.index, sentence, of, inn=line.inn)


def _is_in(row: Mapping[str, str], weeks: int) -> bool:
    return int(row["from_week"]) <= weeks and (not row["to_week"] or weeks < int(row["to_week"]))


def lactation(line: Line, person: Person) -> Iterator[Alert]:
    """What the child would drink."""
    of = table("lactation")
    if not person.is_breastfeeding or person.sex == "male":
        return
    row = worst(row for row in of.rows if applies(row, line.preparation))
    if row is not None:
        sentence = f"{line.where}: not while breast-feeding{note_of(row)}"
        yield alert_of("lactation", Tier(row["tier"]), line.index, sentence, of, inn=line.inn)


# --- Organs and diseases ---------------------------------------------------------------------


def kidneys(line: Line, person: Person) -> Iterator[Alert]:
    """Not at this kidney function; limits of the dose are with the doses."""
    of = table("kidney")
    if person.egfr is None or is_local(line.preparation.atc):
        return
    row = worst(
        row
        for row in of.rows
        if row["kind"] == "avoid"
        and person.egfr < int(row["egfr_below"])
        and applies(row, line.preparation)
    )
    if row is not None:
        yield alert_of(
            "kidney",
            Tier(row["tier"]),
            line.index,
            f"{line.where}: not below an eGFR of {row['egfr_below']}, it is "
            f"{person.egfr:.0f}{note_of(row)}",
            of,
            inn=line.inn,
            egfr=f"{person.egfr:.0f}",
            below=row["egfr_below"],
        )


def diseases(line: Line, person: Person) -> Iterator[Alert]:
    """What a disease on the card, or the one that is treated, forbids."""
    codes = (*person.diagnoses, *([line.diagnosis] if line.diagnosis else ()))
    for name, rule in (("liver", "liver"), ("diseases", "disease")):
        of = table(name)
        mine = [
            {**row, "found": found}
            for row in of.rows
            if not row["daily_mg"]
            and applies(row, line.preparation)
            and (found := has_diagnosis(codes, row["icd"]))
        ]
        row = worst(mine)
        if row is not None:
            yield alert_of(
                rule,
                Tier(row["tier"]),
                line.index,
                f"{line.where}: not with {row['found']}{note_of(row)}",
                of,
                inn=line.inn,
                icd=row["found"],
            )
