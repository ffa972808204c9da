"""Who may join, by what the register of licences says; and what a live system is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from dmed.modules.developers.model import Entry, Kind, Reason
from dmed.modules.facilities import api as facilities

_EMAIL = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}", re.ASCII)
TRIES_MAX = 5
"""Wrong codes after which an application is closed."""
SANDBOX_SCOPES = "system/Organization.rs system/Location.rs system/HealthcareService.rs"
"""All that a sandbox client may see of the real records: the public directory."""
_DIRECTORY = ("Organization", "Location", "HealthcareService", "Practitioner", "PractitionerRole")
_MEDICINES = ("Medication", "MedicationKnowledge", "MedicinalProductDefinition")


def read_application(
    given: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, Reason]]:
    """The fields of an application in order, or what is wrong by field."""
    number, fault = facilities.licence_number(given.get("licence", ""))
    wrong: dict[str, Reason] = {}
    if fault is not None:
        wrong["licence"] = Reason(fault.key, fault.values)
    tax = re.sub(r"\s", "", given.get("tax_id", ""))
    if not re.fullmatch(r"\d{9}", tax, re.ASCII):
        wrong["tax_id"] = Reason("facilities.fault.tax")
    email = given.get("email", "").strip()
    if not _EMAIL.fullmatch(email):
        wrong["email"] = Reason("developers.fault.email")
    if given.get("kind", "") not in set(Kind):
        wrong["kind"] = Reason("developers.fault.kind")
    return {"licence": number, "tax_id": tax, "email": email, "kind": given.get("kind", "")}, wrong


def admits(entry: Entry | None, tax_id: str, kind: Kind, day: date) -> tuple[str, Reason] | None:
    """None where a licence opens the door; else the field and the reason why not.

    A licence of another holder is answered as one that is not there: nobody learns whose it is.
    """
    if entry is None or entry.tax_id != tax_id:
        return "licence", Reason("developers.fault.unknown")
    values = {"number": entry.number, "until": entry.end.strftime("%d.%m.%Y"),
              "from": entry.start.strftime("%d.%m.%Y")}
    if entry.status != "active":
        known = entry.status if entry.status in {"suspended", "revoked"} else "suspended"
        return "licence", Reason(f"developers.fault.{known}", values)
    if day > entry.end:
        return "licence", Reason("developers.fault.over", values)
    if day < entry.start:
        return "licence", Reason("developers.fault.early", values)
    if entry.kind != kind:
        return "kind", Reason(f"developers.fault.not-{kind}", values)
    return None


def live_scopes(kind: Kind, organisation: str) -> str:
    """What a live system may do without a person at it: the directory, and its own records.

    People of the institution sign in through its system for the rest (authorization code): then
    what they may see follows from their posts and from care.
    """
    own = f"Organization/{organisation}"
    scopes = [f"system/{name}.rs" for name in _DIRECTORY]
    if kind is Kind.CLINIC:
        scopes += [
            "system/Patient.c", f"system/Patient.rs?organization={own}", "system/Encounter.c",
            f"system/Encounter.rs?service-provider={own}", "system/Observation.c",
            "system/Condition.c", "system/DiagnosticReport.c", "system/MedicationRequest.c",
            "system/Provenance.c",
        ]  # fmt: skip  # A list reads better filled.
    else:
        # The counter's operations ask for no more: what the patient's code opens is enough.
        scopes += [f"system/{name}.rs" for name in _MEDICINES]
        scopes += [f"system/Task.rs?owner={own}"]
        scopes += ["system/MedicationDispense.c",
                   f"system/MedicationDispense.rs?performer={own}"]
    return " ".join(scopes)
