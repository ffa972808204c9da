"""What the home of each role shows, read through the gateway; and rows for the search box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dmed.kit.errors import NotFoundError
from dmed.kit.i18n import Speech
from dmed.modules.medicines import api as medicines
from dmed.modules.medicines.api import MedicineHit
from dmed.modules.medid.api import PersonHit
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

ROWS = 12


def demo_users(
    accounts: Sequence[Mapping[str, Any]], passwords: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The demo sign-ins to offer on the door: (name, password) of open demo accounts of people."""
    known = {row["name"] for row in accounts if row["demo"] and row["active"]}
    return [
        (name, word) for name, word in passwords.items() if name in known and name != Role.SERVICE
    ]


def medicine_names(keys: Sequence[str], language: str) -> list[str]:
    """The labels of preparations; a key that left the register is shown as it is."""
    names = []
    for key in keys:
        try:
            names.append(medicines.preparation(key).label(language))
        except NotFoundError:
            names.append(key)
    return names


def digits_of_number(text: str) -> str:
    """The thirteen digits of a prescription number in a typed or scanned text."""
    digits = "".join(letter for letter in text if letter.isdecimal())
    return digits[:13]


def person_row(t: Speech, hit: PersonHit) -> dict[str, str]:
    """One person as a line of the search box."""
    about = [t.date(hit.birth_date), t.age(hit.birth_date), hit.address]
    return {
        "icon": "person",
        "title": t.name(hit.name),
        "detail": " · ".join(t.script(part) for part in about if part),
        "href": f"/card/{hit.id}",
    }


def medicine_row(t: Speech, hit: MedicineHit, card: str) -> dict[str, str]:
    """One medicine as a line: prescribes for the person whose card is open, else shows it."""
    key = hit.preparation.key
    return {
        "icon": "pill",
        "title": t.script(hit.label),
        "detail": t("search.prescribe") if card else ", ".join(hit.trades[:3]),
        "href": f"/card/{card}/prescribe?medicine={key}" if card else f"/medicines/{key}",
    }


async def signed_lately(gateway: Gateway, subject: Subject) -> list[dict[str, Any]]:
    """The doctor's newest prescriptions, one row a number: number, person, medicines, time."""
    if not subject.practitioner_role:
        return []
    found = await gateway.find(
        subject,
        "MedicationRequest",
        f"requester=PractitionerRole/{subject.practitioner_role}&_sort=-authoredon&_count=30",
    )
    rows: dict[str, dict[str, Any]] = {}
    for request in found:
        number = request.get("groupIdentifier", {}).get("value", "")
        if not number:
            continue
        row = rows.setdefault(
            number,
            {
                "number": number,
                "at": request.get("authoredOn", ""),
                "medicines": [],
                "person": request.get("subject", {}).get("display", ""),
                "status": request["status"],
            },
        )
        row["medicines"].append(_medicine_text(request))
    return list(rows.values())[:ROWS]


def _medicine_text(request: dict[str, Any]) -> str:
    concept = request.get("medication", {}).get("concept", {})
    first: dict[str, Any] = next(iter(concept.get("coding", [])), {})
    text: str = concept.get("text") or first.get("display", "")
    return text


async def visits_lately(gateway: Gateway, subject: Subject) -> list[dict[str, str]]:
    """The persons whom the doctor saw last: id, name, day, reason."""
    if not subject.practitioner:
        return []
    found = await gateway.find(
        subject,
        "Encounter",
        f"practitioner=Practitioner/{subject.practitioner}&_sort=-date&_count=30",
    )
    rows: dict[str, dict[str, str]] = {}
    for visit in found:
        reference = visit.get("subject", {})
        person = reference.get("reference", "").removeprefix("Patient/")
        if person and person not in rows:
            rows[person] = {
                "id": person,
                "name": await _name(gateway, subject, reference),
                "when": visit.get("actualPeriod", {}).get("start", ""),
            }
        if len(rows) == ROWS:
            break
    return list(rows.values())


async def _name(gateway: Gateway, subject: Subject, reference: dict[str, str]) -> str:
    if reference.get("display"):
        return reference["display"]
    person = await gateway.get(subject, "Patient", reference["reference"].removeprefix("Patient/"))
    return _person_name(person)


def _person_name(person: dict[str, Any]) -> str:
    name: dict[str, Any] = next(iter(person.get("name", [])), {})
    text: str = name.get("text") or " ".join([name.get("family", ""), *name.get("given", [])])
    return text


async def registered_lately(gateway: Gateway, subject: Subject) -> list[dict[str, str]]:
    """The newest cards: id, name, birth date, moment."""
    found = await gateway.find(subject, "Patient", f"_sort=-_lastUpdated&_count={ROWS}")
    return [
        {
            "id": person["id"],
            "name": _person_name(person),
            "born": person.get("birthDate", ""),
            "at": person.get("meta", {}).get("lastUpdated", ""),
        }
        for person in found
    ]
