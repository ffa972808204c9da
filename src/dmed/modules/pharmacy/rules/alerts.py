"""Packs that were put aside: what to do with them, and how such an alert may end. Pure functions.

The words are those of the European practice: a potential suspect, never a fake, until somebody has
looked (shared design, eprescription B5). Most alerts are a scanner's or a register's slip, so each
ends as the fault of the scanner, of the data, or of the pack, and the false ones are counted.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How an alert ends; texts `pharmacy.alert.outcome.<value>`."""

    RESCANNED = "rescanned"
    """The scanner or the hand slipped: the pack is good."""
    CORRECTED = "corrected"
    """What is registered of it was wrong: the pack is good."""
    RETURNED = "returned"
    """The pack went back to its supplier."""
    SURRENDERED = "surrendered"
    """The pack was handed to the authority."""
    DESTROYED = "destroyed"
    """The pack was destroyed with a record of that."""
    GONE = "gone"
    """The pack is no more in the pharmacy: the person took it along."""


FAULT_OF = {
    Outcome.RESCANNED: "scanner", Outcome.CORRECTED: "data", Outcome.RETURNED: "pack",
    Outcome.SURRENDERED: "pack", Outcome.DESTROYED: "pack", Outcome.GONE: "pack",
}  # fmt: skip  # Outcome -> whose fault it then was.
GROUPS = {
    "caps_lock": "scan", "unknown_serial": "unknown", "unknown_product": "unknown",
    "lot_mismatch": "print", "expiry_mismatch": "print", "dispensed_here": "again",
    "dispensed_elsewhere": "reuse", "opened_elsewhere": "reuse", "reserved_elsewhere": "reuse",
    "stolen": "reuse", "withdrawn": "gone", "recalled": "gone", "expired": "gone",
}  # fmt: skip  # Reason of an alert -> what to do: `pharmacy.alert.do.<group>`.
WORDS_MAX = 1000


def group_of(reason: str) -> str:
    """What is to be done with such a pack; a reason nobody listed is looked into like an unknown
    serial.
    """
    return GROUPS.get(reason, "unknown")


def outcomes(reason: str, *, is_authority: bool) -> tuple[Outcome, ...]:
    """How an alert of this reason may be ended. A pack that was met in two places, or is reported
    stolen, is evidence: a pharmacy hands it in or says that it is gone; the rest is up to the
    authority.
    """
    if group_of(reason) == "reuse" and not is_authority:
        return (Outcome.SURRENDERED, Outcome.GONE)
    return tuple(Outcome)


def faulty(outcome: str, words: str) -> str:
    """Why nobody can end an alert so, in English; "" where it is well said."""
    if outcome not in set(Outcome):
        return f"{outcome!r} is no outcome of the list"
    if not 3 <= len(words) <= WORDS_MAX:
        return f"Say what was found, in 3 to {WORDS_MAX} characters"
    return ""


def refusal(reason: str, outcome: Outcome, *, is_authority: bool) -> str:
    """Why this alert may not be ended so by who asks, in English; "" where it may."""
    if outcome not in outcomes(reason, is_authority=is_authority):
        return ("A pack that was met in two places, or is reported stolen, is cleared by the "
                "authority alone")  # fmt: skip  # One sentence.
    return ""
