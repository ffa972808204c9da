"""What becomes of a card in its life: corrected, attached elsewhere, closed; and its history.

Nothing is overwritten: a changed name, address or document stays on the card as a former one with
the day on which it ended, and every version of the card is kept by the store beside that.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from datetime import date, timedelta
from typing import Any

import msgspec

from dmed.modules.medid.model import Draft, Finding
from dmed.modules.medid.rules import documents, drafts, merging, numbers, reading, writing

Record = dict[str, Any]
ATTACHED_FOR = timedelta(days=365)
"""For so long a person stays with the primary clinic he chose: the national guide's extension
managing-organization-attachment."""
EXCEPTIONS = ("moved", "closed", "mistake")
"""Reasons for which it may be changed earlier: moved elsewhere, the clinic was closed, a wrong
entry is put right."""
ROLES = ("MTH", "FTH", "GUARD", "SPS", "CHILD", "SIB", "GRPRN", "FAMMEMB")
"""v3-RoleCode: what a relative is to the person."""


# --- Attachment -------------------------------------------------------------------------------


class Attachment(msgspec.Struct, frozen=True):
    """Where a person is attached, since when, and until when he stays there by his own choice."""

    organisation: str = ""
    name: str = ""
    since: date | None = None

    @property
    def until(self) -> date | None:
        """The first day on which he may choose another."""
        return self.since + ATTACHED_FOR if self.since else None


def attachment(patient: Record) -> Attachment:
    """As the card says."""
    told = next((one.get("valueDate", "") for one in patient.get("extension", [])
                 if one.get("url") == merging.ATTACHED), "")
    clinic = patient.get("managingOrganization", {})
    return Attachment(clinic.get("reference", "").removeprefix("Organization/"),
                      clinic.get("display", ""), numbers.read_date(told))


def check_attachment(patient: Record, to: str, exception: str, today: date) -> list[Finding]:
    """Why a person may not be attached to this clinic today; nothing where he may."""
    now = attachment(patient)
    if to == now.organisation:
        return [Finding("medid.attach.same", "organisation")]
    if exception and exception not in EXCEPTIONS:
        return [Finding("medid.attach.exception", "exception")]
    if now.organisation and now.until and today < now.until and not exception:
        return [Finding("medid.attach.once-a-year", "organisation", values={
            "since": f"{now.since:%d.%m.%Y}", "until": f"{now.until:%d.%m.%Y}"})]
    return []


def attach(patient: Record, to: str, name: str, today: date) -> Record:
    """The card attached to another clinic."""
    made = deepcopy(patient)
    made["managingOrganization"] = {"reference": f"Organization/{to}", "display": name}
    made["extension"] = [
        *(one for one in made.get("extension", []) if one.get("url") != merging.ATTACHED),
        {"url": merging.ATTACHED, "valueDate": today.isoformat()}]
    return made


# --- Correction -------------------------------------------------------------------------------


def draft_of(patient: Record) -> Draft:
    """What a form shows of a card that is to be corrected."""
    name = next(iter(reading.names(patient)), {})
    home: Record = next((one for one in patient.get("address", []) if one.get("use") != "old"), {})
    pinfl, is_official = reading.identifier(patient, numbers.PINFL_SYSTEM)
    given = name.get("given", [])
    return Draft(
        family=name.get("family", ""), given=given[0] if given else "",
        patronymic=" ".join((*given[1:], *name.get("suffix", []))),
        birth_date=patient.get("birthDate", ""), sex=patient.get("gender", ""), pinfl=pinfl,
        is_pinfl_unverified=bool(pinfl) and not is_official, phone=reading.phone(patient),
        region=home.get("state", ""), district=home.get("district", ""),
        address_line=" ".join(home.get("line", [])), language=patient.get("language", "uz"),
        category="unknown" if name.get("use") == "anonymous" else "")


def correct(
    patient: Record, draft: Draft, today: date, region: str, district: str
) -> tuple[Record, list[str]]:
    """The card with what a completed draft says, and the fields that changed (of Draft)."""
    made, before = deepcopy(patient), drafts.complete(draft_of(patient))
    changed = [field for field in (
        "family", "given", "patronymic", "birth_date", "sex", "pinfl", "phone", "region",
        "district", "address_line") if getattr(draft, field) != getattr(before, field)]
    if draft.is_pinfl_unverified != before.is_pinfl_unverified and "pinfl" not in changed:
        changed.append("pinfl")
    day = today.isoformat()
    if {"family", "given", "patronymic"} & set(changed):
        _retire(made, "name", lambda one: one.get("use") not in ("old", "maiden"), day)
        med_id, _ = reading.identifier(patient, numbers.MED_ID_SYSTEM)
        made.setdefault("name", []).insert(0, writing.name_of(draft, med_id))
    if {"region", "district", "address_line"} & set(changed):
        _retire(made, "address", lambda one: one.get("use") != "old", day)
        if place := writing.address(draft, region, district):
            made.setdefault("address", []).insert(0, place)
    if "phone" in changed:
        _retire(made, "telecom", lambda one: one.get("system") == "phone"
                and one.get("use") != "old", day)
        if draft.phone:
            made.setdefault("telecom", []).insert(0, {
                "system": "phone", "value": draft.phone, "use": "mobile"})
    if "pinfl" in changed:
        _set_pinfl(made, draft, day)
    for field, element in (("birth_date", "birthDate"), ("sex", "gender")):
        if field in changed:
            made[element] = getattr(draft, field)
            if not made[element]:
                del made[element]
    return made, changed


def _retire(made: Record, element: str, is_current: Any, day: str) -> None:
    made[element] = [
        one | {"use": "old", "period": {**one.get("period", {}), "end": day}}
        if is_current(one) else one for one in made.get(element, [])]
    if not made[element]:
        del made[element]


def _set_pinfl(made: Record, draft: Draft, day: str) -> None:
    kept = []
    for one in made.get("identifier", []):
        if one.get("system") != numbers.PINFL_SYSTEM or one.get("use") == "old":
            kept.append(one)
        elif one.get("value") != draft.pinfl:
            kept.append(one | {"use": "old", "period": {**one.get("period", {}), "end": day}})
    if draft.pinfl:
        is_official = drafts.is_pinfl_sound(draft) and not draft.is_pinfl_unverified
        kept.insert(0, documents.identifier("ni", draft.pinfl)
                    | {"use": "official" if is_official else writing.UNVERIFIED_USE})
    made["identifier"] = kept


def add_document(patient: Record, made: Record, today: date) -> Record:
    """The card with one more document; one of the same system becomes a former one."""
    result = deepcopy(patient)
    day = today.isoformat()
    result["identifier"] = [
        *(one | {"use": "old", "period": {**one.get("period", {}), "end": day}}
          if one.get("system") == made["system"] and one.get("use", "official") == "official"
          and one.get("value") != made["value"] else one
          for one in patient.get("identifier", [])
          if (one.get("system"), one.get("value")) != (made["system"], made["value"])), made]
    return result


# --- The end ----------------------------------------------------------------------------------


def check_death(patient: Record, text: str, today: date) -> list[Finding]:
    """What is wrong with a day of death as typed."""
    day = numbers.read_date(text)
    born = numbers.read_date(patient.get("birthDate", ""))
    if day is None:
        return [Finding("medid.death.form", "died")]
    if day > today:
        return [Finding("medid.death.future", "died")]
    if born is not None and day < born:
        return [Finding("medid.death.before-birth", "died")]
    return []


# --- History ----------------------------------------------------------------------------------


class Former(msgspec.Struct, frozen=True):
    """One name, address, number or clinic of a card, and when the card had it."""

    kind: str
    """"name", "address", "phone", "clinic", or "document." + its kind."""
    text: str
    use: str
    since: str
    """FHIR instant of the version with which it came."""
    until: str = ""
    """The same of the version without it; "" while the card has it."""


def history(versions: Iterable[Record]) -> list[Former]:
    """All that a card ever said of name, address, documents and clinic; newest first.

    `versions` are its bodies, oldest first.
    """
    standing: dict[tuple[str, str], Former] = {}
    ended: list[Former] = []
    for version in versions:
        at = version.get("meta", {}).get("lastUpdated", "")
        now = dict(_told(version))
        ended += [msgspec.structs.replace(standing.pop(key), until=at)
                  for key in list(standing) if key not in now]
        for key, use in now.items():
            if key not in standing:
                standing[key] = Former(key[0], key[1], use, at)
            elif standing[key].use != use:
                # It stays on the card, as a former one: that is the day on which it ended.
                was = standing[key]
                standing[key] = Former(key[0], key[1], use, at)
                ended.append(msgspec.structs.replace(was, until=at))
    return sorted([*standing.values(), *ended], key=lambda one: (one.since, one.kind), reverse=True)


def _told(version: Record) -> Iterable[tuple[tuple[str, str], str]]:
    for name in version.get("name", []):
        yield ("name", reading.full_name(name)), name.get("use", "official")
    for place in version.get("address", []):
        yield ("address", reading.address({"address": [place]})), place.get("use", "home")
    for one in version.get("telecom", []):
        yield ("phone", one.get("value", "")), one.get("use", "")
    for one in version.get("identifier", []):
        kind = documents.kind_of(one.get("system", ""))
        yield (f"document.{kind}", one.get("value", "")), one.get("use", "official")
    clinic = version.get("managingOrganization", {})
    if clinic:
        yield ("clinic", clinic.get("display", "") or clinic.get("reference", "")), ""
