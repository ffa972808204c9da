"""Facts of a member of staff out of the records, and whether he may sign."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from dmed.modules.workforce.model import Licence, PractitionerFacts, Reason, Verdict

ARGOS_SYSTEM = "https://dhp.uz/fhir/core/sid/pro/uz/argos"
PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
CERTIFICATE = "CER"
"""v2-0360: the certificate without which a profession may not be practised."""
_POSITION = "position-and-profession-cs"
_LICENSED = ("2211", "2212", "2221", "2222", "2261", "2262")
"""Position codes of doctors, dentists, nurses and pharmacists: they sign under a certificate."""


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _coded(concepts: list[dict[str, Any]], system: str) -> tuple[str, str]:
    for concept in concepts:
        for coding in concept.get("coding", []):
            if str(coding.get("system", "")).endswith(f"/{system}"):
                return coding.get("code", ""), concept.get("text") or coding.get("display", "")
    return "", next((one["text"] for one in concepts if one.get("text")), "")


def _licence(record: dict[str, Any]) -> Licence:
    code = record.get("code", {})
    period = record.get("period", {})
    return Licence(
        number=next((one.get("value", "") for one in record.get("identifier", [])), ""),
        code=next((one.get("code", "") for one in code.get("coding", [])), ""),
        title=code.get("text", ""),
        valid_from=_day(period.get("start", "")),
        valid_until=_day(period.get("end", "")),
        issuer=record.get("issuer", {}).get("display", ""),
    )


def _identifier(practitioner: dict[str, Any], system: str) -> str:
    return next((str(one.get("value", "")) for one in practitioner.get("identifier", [])
                 if one.get("system") == system), "")


def short_name(family: str, given: str) -> str:
    """The name as signatures and lists show it: "Yusupova A."."""
    initial = given[:2] if given[1:2] in tuple("‘’'ʻ") and given[:1] in "OoGg" else given[:1]
    return f"{family} {initial}." if given else family


def facts(practitioner: dict[str, Any], role: dict[str, Any] | None) -> PractitionerFacts:
    """The facts of a Practitioner in one post (PractitionerRole), or in none."""
    names = practitioner.get("name", [])
    name: dict[str, Any] = next(
        (one for one in names if one.get("use") == "official"), next(iter(names), {}))
    family, given = name.get("family", ""), next(iter(name.get("given", [])), "")
    role = role or {}
    post_code, post = _coded(role.get("code", []), _POSITION)
    return PractitionerFacts(
        id=practitioner["id"],
        name=name.get("text") or f"{family} {given}".strip(),
        short_name=short_name(family, given) or name.get("text", ""),
        role_id=role.get("id", ""),
        organisation=str(role.get("organization", {}).get("reference", "")).removeprefix(
            "Organization/"),
        post_code=post_code,
        post=post,
        specialty=_coded(role.get("specialty", []), "profession-specialization-cs")[0],
        licences=tuple(_licence(one) for one in practitioner.get("qualification", [])),
        argos=_identifier(practitioner, ARGOS_SYSTEM),
        pinfl=_identifier(practitioner, PINFL_SYSTEM),
        version=practitioner.get("meta", {}).get("versionId", ""),
        role_version=role.get("meta", {}).get("versionId", ""),
        is_active=practitioner.get("active", True) is not False
        and role.get("active", True) is not False,
    )


def is_licensed_post(post_code: str) -> bool:
    """Whether a post is practised under a certificate."""
    return post_code.partition(".")[0] in _LICENSED


def away_until(role: dict[str, Any], day: date) -> date | None:
    """The last day of the absence (leave, suspension) that holds a day, or None when at work.

    PractitionerRole.availability.notAvailableTime; an absence without end lasts until `date.max`.
    """
    ends = []
    for availability in role.get("availability", []):
        for absence in availability.get("notAvailableTime", []):
            during = absence.get("during", {})
            start, end = _day(during.get("start", "")), _day(during.get("end", ""))
            if not (start and day < start) and not (end and day > end):
                ends.append(end or date.max)
    return max(ends, default=None)


def may_sign(found: PractitionerFacts, role: dict[str, Any] | None, day: date) -> Verdict:
    """Whether somebody may sign in a post on a day, and if not, why."""
    values = {"name": found.short_name, "post": found.post}
    if role is None:
        return Verdict(False, (Reason("workforce.reason.no-post", values),), found)
    if not found.is_active:
        return Verdict(False, (Reason("workforce.reason.inactive", values),), found)
    period = role.get("period", {})
    start, end = _day(period.get("start", "")), _day(period.get("end", ""))
    if (start and day < start) or (end and day > end):
        return Verdict(False, (Reason("workforce.reason.post-over", values),), found)
    away = away_until(role, day)
    if away is not None:
        values["until"] = "" if away == date.max else away.strftime("%d.%m.%Y")
        return Verdict(False, (Reason("workforce.reason.away", values),), found)
    if not is_licensed_post(found.post_code):
        return Verdict(False, (Reason("workforce.reason.post-signs-nothing", values),), found)
    certificates = [one for one in found.licences if one.code == CERTIFICATE]
    if not certificates:
        return Verdict(False, (Reason("workforce.reason.no-certificate", values),), found)
    running = [one for one in certificates
               if not (one.valid_from and day < one.valid_from)
               and not (one.valid_until and day > one.valid_until)]
    if not running:
        newest = max(certificates, key=lambda one: one.valid_until or date.max)
        values["number"] = newest.number
        values["until"] = newest.valid_until.strftime("%d.%m.%Y") if newest.valid_until else ""
        return Verdict(False, (Reason("workforce.reason.certificate-over", values),), found)
    values["number"] = running[0].number
    found = msgspec.structs.replace(found, licences=tuple(running))
    return Verdict(True, (Reason("workforce.reason.certified", values),), found)
