"""Findings of checks, and how an item stands, in the reader's language and letters."""

from __future__ import annotations

import re
from datetime import date

from dmed.kit.errors import NotFoundError
from dmed.kit.i18n import Speech
from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions.model import HOLD_REASONS, Item, ItemState, Reason

_UNKNOWN = re.compile(r"\s*\([^()]*\{\w+\}[^()]*\)|\s*[“«\"]?\{\w+\}[”»\"]?")
_CODED = ("reaction", "severity")


def say(t: Speech, reason: Reason, inn: str = "") -> str:
    """A reason in the reader's language; values named "...inn" are INN keys and become names, and
    what the card records of an allergy (reaction, severity, since) follows the sentence.

    A finding read back from a signed prescription may lack values: its medicine comes as `inn`,
    and what else is missing is left out.
    """
    given = {"inn": inn, **reason.values} if inn else reason.values
    sentence = t(reason.key, **{name: _value(t, name, value) for name, value in given.items()})
    sentence = _UNKNOWN.sub("", sentence)
    about = [_value(t, name, given[name]) for name in _CODED if given.get(name)]
    if given.get("since"):
        about.append(t.date(given["since"]))
    recorded = f" ({', '.join(about)})" if about else ""
    return sentence[:1].upper() + sentence[1:] + recorded


def standing(t: Speech, item: Item, valid_until: date) -> list[str]:
    """What else is to be known of how an item stands: repeats, a later first day, a hold, expiry;
    nothing for an ordinary one.
    """
    told = []
    if item.state is ItemState.ON_HOLD:
        reason = item.reason if item.reason in HOLD_REASONS else "other"
        told.append(t("prescriptions.hold.says", reason=t(f"prescriptions.hold.{reason}")))
    if item.instances > 1:
        told.append(t("prescriptions.repeat.of", instance=str(item.instance),
                      instances=str(item.instances)))  # fmt: skip  # One sentence.
    if item.state is ItemState.FUTURE and item.starts:
        told.append(t("prescriptions.repeat.from", date=t.date(item.starts)))
    if item.state is ItemState.EXPIRED:
        told.append(t("prescriptions.expired.says", date=t.date(valid_until)))
    return told


def _value(t: Speech, name: str, value: str) -> str:
    if name in _CODED and t.translator.has(f"{name}.{value}"):
        return t(f"{name}.{value}")
    if name == "effect" and t.translator.has(f"prescriptions.effect.{value}"):
        return t(f"prescriptions.effect.{value}")
    if not name.endswith("inn"):
        return t.script(t.figure(name, value))
    try:
        return t.script(medicines.inn(value).name(t.language))
    except NotFoundError:
        return value
