"""A person's file and posts out of the records, and the records that acts make of them.

https://hl7.org/fhir/R5/practitioner.html, https://hl7.org/fhir/R5/practitionerrole.html. What R5
has no element for stands in extensions of ours (decision 0061): the rate and kind of a post;
categories, licences and trainings, which are no right to practise as a certificate is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from dmed.modules.workforce.model import Employment, Held, Hours, Kind, Person, Post
from dmed.modules.workforce.rules.persons import (
    ARGOS_SYSTEM,
    CERTIFICATE,
    PINFL_SYSTEM,
    away_until,
    facts,
)

_OWN = "https://dmed.uz/fhir/StructureDefinition/"
RATE = f"{_OWN}post-rate"
KIND = f"{_OWN}post-kind"
HELD = f"{_OWN}staff-qualification"
CITIZENSHIP = f"{_OWN}staff-citizenship"
_PROFILE = "https://dhp.uz/fhir/core/StructureDefinition/uz-core-"
_POSITION = "https://terminology.dhp.uz/fhir/core/CodeSystem/position-and-profession-cs"
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_V2_0360 = "http://terminology.hl7.org/CodeSystem/v2-0360"
_CODED = {Kind.EDUCATION: "DIP", Kind.CERTIFICATE: CERTIFICATE}
"""Kinds that the national list of certificates (v2-0360) has a code for."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ABSENCE = "away"
"""All that a record says of an absence; why stands in the order, for whom it concerns."""


# Reading ----------------------------------------------------------------------------------------


def _day(text: Any) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _minute(text: str) -> int:
    hours, minutes = text[:2], text[3:5]
    return int(hours) * 60 + int(minutes) if hours.isdecimal() and minutes.isdecimal() else 0


def _extension(record: dict[str, Any], url: str) -> dict[str, Any]:
    return next((one for one in record.get("extension", []) if one.get("url") == url), {})


def _held(record: dict[str, Any], kind: Kind) -> Held:
    period = record.get("period", {})
    code = record.get("code", {})
    return Held(
        kind=kind, title=code.get("text", ""),
        number=next((one.get("value", "") for one in record.get("identifier", [])), ""),
        valid_from=_day(period.get("start")), valid_until=_day(period.get("end")),
        issuer=record.get("issuer", {}).get("display", ""))


def _held_beside(extension: dict[str, Any]) -> Held | None:
    parts = {one.get("url"): one for one in extension.get("extension", [])}
    period = parts.get("period", {}).get("valuePeriod", {})
    try:
        kind = Kind(parts.get("kind", {}).get("valueCode", ""))
    except ValueError:
        return None
    return Held(
        kind=kind, title=parts.get("title", {}).get("valueString", ""),
        number=parts.get("number", {}).get("valueString", ""),
        valid_from=_day(period.get("start")), valid_until=_day(period.get("end")),
        issuer=parts.get("issuer", {}).get("valueString", ""))


def held(practitioner: dict[str, Any]) -> tuple[Held, ...]:
    """All that a person holds, newest first within its kind."""
    found = []
    for record in practitioner.get("qualification", []):
        codes = {one.get("code") for one in record.get("code", {}).get("coding", [])}
        found.append(_held(record, Kind.CERTIFICATE if CERTIFICATE in codes else Kind.EDUCATION))
    for extension in practitioner.get("extension", []):
        one = _held_beside(extension) if extension.get("url") == HELD else None
        if one is not None:
            found.append(one)
    newest = sorted(found, key=lambda one: one.valid_until or date.max, reverse=True)
    order = list(Kind)
    return tuple(sorted(newest, key=lambda one: order.index(one.kind)))


def last_until(practitioner: dict[str, Any], kind: Kind) -> tuple[date | None, str]:
    """(last day, number) of what runs longest of a kind; a term without end is `date.max`."""
    own = [one for one in held(practitioner) if one.kind is kind]
    if not own:
        return None, ""
    longest = max(own, key=lambda one: one.valid_until or date.max)
    return longest.valid_until or date.max, longest.number


def person(practitioner: dict[str, Any]) -> Person:
    """The file of a Practitioner."""
    known = facts(practitioner, None)
    address: dict[str, Any] = next(iter(practitioner.get("address", [])), {})
    return Person(
        id=practitioner["id"], name=known.name, sex=practitioner.get("gender", ""),
        born=_day(practitioner.get("birthDate", "")),
        citizenship=_extension(practitioner, CITIZENSHIP).get("valueCode", ""),
        pinfl=known.pinfl, argos=known.argos,
        phones=tuple(one.get("value", "") for one in practitioner.get("telecom", [])
                     if one.get("system") == "phone"),
        address=address.get("text", "") or ", ".join(address.get("line", [])),
        languages=tuple(
            coding.get("code", "") for one in practitioner.get("communication", [])
            for coding in one.get("language", {}).get("coding", [])[:1]),
        held=held(practitioner), is_active=practitioner.get("active") is not False)


def rate(role: dict[str, Any]) -> Decimal:
    """The rate of a post; 1 where the record says nothing."""
    try:
        return Decimal(str(_extension(role, RATE).get("valueDecimal", 1)))
    except InvalidOperation:
        return Decimal(1)


def _hours(role: dict[str, Any]) -> tuple[Hours, ...]:
    found = []
    for availability in role.get("availability", []):
        for time in availability.get("availableTime", []):
            span = (0, 1440) if time.get("allDay") else (
                _minute(time.get("availableStartTime", "")),
                _minute(time.get("availableEndTime", "")))
            found += [Hours(_DAYS.index(day), *span) for day in time.get("daysOfWeek", _DAYS)
                      if day in _DAYS and span[0] < span[1]]
    return tuple(sorted(found))


def span(during: dict[str, Any]) -> tuple[date, date]:
    """(first, last) day of a Period; open ends are the ends of the calendar."""
    return _day(during.get("start", "")) or date.min, _day(during.get("end", "")) or date.max


def _next_absence(role: dict[str, Any], day: date) -> tuple[date | None, date | None]:
    """The absence of now, else the next one."""
    found = []
    for availability in role.get("availability", []):
        for absence in availability.get("notAvailableTime", []):
            start, end = span(absence.get("during", {}))
            if end >= day:
                found.append((start, end))
    return min(found, default=(None, None))


def post(role: dict[str, Any], day: date) -> Post:
    """A post of a PractitionerRole; absences as of a day."""
    known = facts({"id": ""}, role)
    period = role.get("period", {})
    place = role.get("organization", {})
    away_from, until = _next_absence(role, day)
    try:
        kind = Employment(_extension(role, KIND).get("valueCode", Employment.MAIN))
    except ValueError:
        kind = Employment.MAIN
    return Post(
        role=role["id"],
        practitioner=str(role.get("practitioner", {}).get("reference", "")).rpartition("/")[2],
        organisation=known.organisation, organisation_name=place.get("display", ""),
        code=known.post_code, title=known.post, rate=rate(role), kind=kind,
        since=_day(period.get("start", "")), until=_day(period.get("end", "")),
        away_from=away_from, away_until=away_until(role, day) or until, hours=_hours(role),
        is_active=role.get("active") is not False)


# Making -----------------------------------------------------------------------------------------


def qualification(one: Held) -> dict[str, Any]:
    """A diploma or certificate as Practitioner.qualification."""
    made: dict[str, Any] = {"code": {"coding": [{"system": _V2_0360, "code": _CODED[one.kind]}]}}
    if one.number:
        made = {"identifier": [{"use": "official", "value": one.number}], **made}
    if one.title:
        made["code"]["text"] = one.title
    if one.valid_from or one.valid_until:
        made["period"] = _period(one.valid_from, one.valid_until)
    if one.issuer:
        made["issuer"] = {"display": one.issuer}
    return made


def _period(start: date | None, end: date | None) -> dict[str, str]:
    made = {"start": start.isoformat()} if start else {}
    return made | ({"end": end.isoformat()} if end else {})


def beside(one: Held) -> dict[str, Any]:
    """A category, licence or training as extension of the Practitioner."""
    parts: list[dict[str, Any]] = [{"url": "kind", "valueCode": one.kind.value}]
    parts += [{"url": name, "valueString": text} for name, text in (
        ("title", one.title), ("number", one.number), ("issuer", one.issuer)) if text]
    if one.valid_from or one.valid_until:
        parts.append({"url": "period", "valuePeriod": _period(one.valid_from, one.valid_until)})
    return {"extension": parts, "url": HELD}


def with_held(practitioner: dict[str, Any], one: Held) -> dict[str, Any]:
    """The Practitioner with one thing more in the file; what was there stays as history."""
    made = dict(practitioner)
    if one.kind in _CODED:
        made["qualification"] = [*made.get("qualification", []), qualification(one)]
    else:
        made["extension"] = [*made.get("extension", []), beside(one)]
    return made


def practitioner_record(
    *, family: str, given: str, patronymic: str, sex: str, born: date, pinfl: str, argos: str,
    phone: str = "", citizenship: str = "", languages: Sequence[str] = (),
    holds: Sequence[Held] = (),
) -> dict[str, Any]:
    """A Practitioner after uz-core-practitioner without its id."""
    coded = {"coding": [{"system": _V2_0203, "code": "NI"}]}
    made: dict[str, Any] = {
        "resourceType": "Practitioner", "meta": {"profile": [f"{_PROFILE}practitioner"]},
        "language": "uz",
    }
    extensions = [beside(one) for one in holds if one.kind not in _CODED]
    if citizenship:
        extensions.append({"url": CITIZENSHIP, "valueCode": citizenship})
    if extensions:
        made["extension"] = extensions
    made["identifier"] = [
        {"use": "official", "type": coded, "system": system, "value": value}
        for system, value in ((ARGOS_SYSTEM, argos), (PINFL_SYSTEM, pinfl)) if value]
    made["active"] = True
    name: dict[str, Any] = {
        "use": "official", "text": " ".join(filter(None, (family, given, patronymic))),
        "family": family, "given": [given]}
    if patronymic:
        name["suffix"] = [patronymic]
    made["name"] = [name]
    if phone:
        made["telecom"] = [{"system": "phone", "value": phone, "use": "work"}]
    made |= {"gender": sex, "birthDate": born.isoformat()}
    own = [qualification(one) for one in holds if one.kind in _CODED]
    if own:
        made["qualification"] = own
    if languages:
        made["communication"] = [{"language": {"coding": [
            {"system": "urn:ietf:bcp:47", "code": code}]}} for code in languages]
    return made


def role_record(
    *, practitioner: str, practitioner_name: str, organisation: str, organisation_name: str,
    code: str, title: str, rate_held: Decimal, kind: Employment, since: date,
    until: date | None = None,
) -> dict[str, Any]:
    """A PractitionerRole after uz-core-practitioner-role without its id."""
    named: dict[str, Any] = {"text": title} if title else {}
    if code:
        named = {"coding": [{"system": _POSITION, "code": code}], **named}
    return {
        "resourceType": "PractitionerRole",
        "meta": {"profile": [f"{_PROFILE}practitioner-role"]},
        "language": "uz",
        "extension": [{"url": RATE, "valueDecimal": rate_held},
                      {"url": KIND, "valueCode": kind.value}],
        "active": True,
        "period": _period(since, until),
        "practitioner": {"reference": f"Practitioner/{practitioner}", "display": practitioner_name},
        "organization": {"reference": f"Organization/{organisation}", "display": organisation_name},
        "code": [named],
    }


def with_absence(role: dict[str, Any], start: date, end: date) -> dict[str, Any]:
    """The post with one absence more; the record does not tell why."""
    first, *others = role.get("availability", []) or [{}]
    absences = [*first.get("notAvailableTime", []),
                {"description": ABSENCE, "during": _period(start, end)}]
    return {**role, "availability": [{**first, "notAvailableTime": absences}, *others]}


def ended(role: dict[str, Any], last: date) -> dict[str, Any]:
    """The post with its last day."""
    return {**role, "period": {**role.get("period", {}), "end": last.isoformat()}}


def moved(
    role: dict[str, Any], *, organisation: str, organisation_name: str, code: str, title: str,
    rate_held: Decimal, day: date,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the post at its new place, a record of the post that was).

    The post keeps its id, so that the account, its sessions and its rights follow it the same
    minute (decision 0015); what it was until the day before stays as an ended post of its own.
    """
    past = ended({key: value for key, value in role.items() if key not in ("id", "meta")},
                 max(day - timedelta(days=1), _day(role.get("period", {}).get("start", ""))
                     or date.min))
    past["meta"] = {key: value for key, value in role.get("meta", {}).items() if key == "profile"}
    past["active"] = False
    now = {key: value for key, value in role.items() if key not in ("availability", "location",
                                                                    "healthcareService")}
    named: dict[str, Any] = {"text": title} if title else {}
    if code:
        named = {"coding": [{"system": _POSITION, "code": code}], **named}
    others = [one for one in now.get("extension", []) if one.get("url") != RATE]
    return {
        **now, "extension": [{"url": RATE, "valueDecimal": rate_held}, *others],
        "period": {"start": day.isoformat()},
        "organization": {"reference": f"Organization/{organisation}",
                         "display": organisation_name},
        "code": [named],
    }, past
