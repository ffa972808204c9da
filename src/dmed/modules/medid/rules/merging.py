"""Merging two cards of one person, and undoing it: pure functions over Patient dicts.

A merge moves no record and rewrites no reference: every record stays with the card it was written
to, and both cards know of each other by Patient.link. The surviving card takes over what it lacks
of the other (numbers, names, phones, addresses: "brought"), the other becomes inactive and answers
on. What the surviving card looks like follows from its own content and the standing merges alone:
undoing one composes it anew without that merge, so any order of merges and undoings ends alike.
https://hl7.org/fhir/R5/patient-operation-merge.html
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from dmed.fhir.persons import replaced_by
from dmed.kit.text import name_key
from dmed.modules.medid.model import Finding
from dmed.modules.medid.rules import numbers

Record = dict[str, Any]
Brought = list[tuple[str, Any]]
"""(element of Patient, value) in order: of a list one item, else the whole element."""

REASON_LETTERS_MIN = 5
CARDS_MAX = 50
"""Most cards of one person; more is a mistake of somebody or of some machine."""
ATTACHED = "https://dhp.uz/fhir/core/StructureDefinition/managing-organization-attachment"
_LISTS = ("identifier", "name", "telecom", "address", "contact", "link", "extension")
_SINGLE = (numbers.PINFL_SYSTEM, numbers.MED_ID_SYSTEM)
"""Numbers of which a card shows one: a second becomes a former one."""
_SCALARS = ("birthDate", "gender", "maritalStatus")
_NOT_CURRENT = ("old", "temp", "maiden", "nickname", "anonymous")


def reference(patient_id: str) -> Record:
    """The Reference to a card."""
    return {"reference": f"Patient/{patient_id}"}


# --- May they be merged? ----------------------------------------------------------------------


def check(source: Record, target: Record, reason: str) -> list[Finding]:
    """What speaks against merging `source` into `target`; an "error" forbids it."""
    found = []
    if source["id"] == target["id"]:
        found.append(Finding("medid.merge.same", "target"))
    for side, one in (("source", source), ("target", target)):
        if replaced_by(one):
            found.append(Finding("medid.merge.merged-already", side, values={
                "id": one["id"], "into": replaced_by(one)}))
    ours, theirs = official(source, numbers.PINFL_SYSTEM), official(target, numbers.PINFL_SYSTEM)
    if ours and theirs and not set(ours) & set(theirs):
        found.append(Finding("medid.merge.two-pinfl", "pinfl"))
    if len(reason.strip()) < REASON_LETTERS_MIN:
        found.append(Finding("medid.merge.reason", "reason"))
    for field, element in (("birth_date", "birthDate"), ("sex", "gender")):
        left, right = source.get(element), target.get(element)
        if left and right and left != right:
            found.append(Finding(f"medid.merge.differs-{field.replace('_', '-')}", field,
                                 "warning"))
    if is_deceased(source) != is_deceased(target):
        found.append(Finding("medid.merge.one-deceased", "deceased", "warning"))
    return found


def is_deceased(patient: Record) -> bool:
    """Whether the card says that the person has died."""
    return bool(patient.get("deceasedBoolean") or patient.get("deceasedDateTime"))


def official(patient: Record, system: str) -> list[str]:
    """The values of the official identifiers of a system."""
    return [one["value"] for one in patient.get("identifier", [])
            if one.get("system") == system and one.get("value")
            and one.get("use", "official") == "official"]


# --- Composing --------------------------------------------------------------------------------


def compose(base: Record, sources: list[Record]) -> tuple[Record, list[Brought]]:
    """The surviving card of its own content and the cards merged into it, in their order; and
    what each of them brought.
    """
    made, told = deepcopy(base), []
    for source in sources:
        brought = _lacking(made, source)
        for element, value in brought:
            if element in _LISTS:
                made.setdefault(element, []).append(deepcopy(value))
            else:
                made[element] = deepcopy(value)
        told.append(brought)
    return made, told


def strip(composed: Record, brought: Brought) -> Record:
    """The card without what a merge brought; what was changed since is its own, and stays."""
    made = deepcopy(composed)
    for element, value in reversed(brought):
        if element not in _LISTS:
            if made.get(element) == value:
                del made[element]
            continue
        items = made.get(element, [])
        places = [place for place, item in enumerate(items) if item == value]
        if places:
            del items[places[-1]]
        if element in made and not items:
            del made[element]
    return made


def _lacking(target: Record, source: Record) -> Brought:
    """What the source has and the target lacks, as it will stand on the target."""
    return [*_scalars(target, source), *_identifiers(target, source), *_names(target, source),
            *_telecoms(target, source), *_addresses(target, source), *_contacts(target, source),
            ("link", {"other": reference(source["id"]), "type": "replaces"})]


def _scalars(target: Record, source: Record) -> Brought:
    found = [(one, source[one]) for one in _SCALARS if one in source and one not in target]
    if not any(one in target for one in ("deceasedBoolean", "deceasedDateTime")):
        found += [(one, source[one]) for one in ("deceasedBoolean", "deceasedDateTime")
                  if one in source]
    if "managingOrganization" in source and "managingOrganization" not in target:
        found.append(("managingOrganization", source["managingOrganization"]))
        found += [("extension", one) for one in source.get("extension", [])
                  if one.get("url") == ATTACHED]
    return found


def _identifiers(target: Record, source: Record) -> Brought:
    found: Brought = []
    there = {(one.get("system"), one.get("value")) for one in target.get("identifier", [])}
    for one in source.get("identifier", []):
        key = one.get("system"), one.get("value")
        if key in there:
            continue
        there.add(key)
        is_second = one.get("system") in _SINGLE and official(target, one["system"])
        if is_second and one.get("use") not in _NOT_CURRENT:
            found.append(("identifier", one | {"use": "old"}))
        else:
            found.append(("identifier", one))
    return found


def _name_of(name: Record) -> str:
    parts = [name.get("family", ""), *name.get("given", []), *name.get("suffix", [])]
    return name_key(" ".join(parts) if any(parts) else name.get("text", "")) + str(
        name.get("text", ""))


def _names(target: Record, source: Record) -> Brought:
    there = {_name_of(one) for one in target.get("name", [])}
    found: Brought = []
    for one in source.get("name", []):
        if _name_of(one) in there:
            continue
        there.add(_name_of(one))
        # A card without any name takes the other's as it stands: it was an unknown person's.
        is_former = bool(target.get("name")) and one.get("use") not in _NOT_CURRENT
        found.append(("name", one | {"use": "old"} if is_former else one))
    return found


def _telecoms(target: Record, source: Record) -> Brought:
    there = {(one.get("system"), one.get("value")) for one in target.get("telecom", [])}
    return [("telecom", one) for one in source.get("telecom", [])
            if (one.get("system"), one.get("value")) not in there]


def _addresses(target: Record, source: Record) -> Brought:
    def place(one: Record) -> Record:
        return {key: value for key, value in one.items() if key not in ("use", "period", "id")}

    there = [place(one) for one in target.get("address", [])]
    is_former = bool(there)
    return [("address", one | {"use": "old"} if is_former and one.get("use") != "temp" else one)
            for one in source.get("address", []) if place(one) not in there]


def _contacts(target: Record, source: Record) -> Brought:
    there = target.get("contact", [])
    return [("contact", one) for one in source.get("contact", []) if one not in there]


# --- The other card ---------------------------------------------------------------------------


def retire(source: Record, target_id: str) -> tuple[Record, Record]:
    """The card that was merged away, and what of it must be remembered to undo that."""
    made = deepcopy(source)
    taken = {"active": source["active"]} if "active" in source else {}
    made["active"] = False
    made.setdefault("link", []).append({"other": reference(target_id), "type": "replaced-by"})
    return made, taken


def restore(source: Record, target_id: str, taken: Record) -> Record:
    """The card as it was before it was merged into `target_id`."""
    made = strip(source, [("link", {"other": reference(target_id), "type": "replaced-by"})])
    made.pop("active", None)
    return made | taken
