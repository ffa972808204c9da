"""Numbers and terms of licences as people write them."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from dmed.modules.facilities.model import Fault, Licence

_NUMBER = re.compile(r"[A-Z0-9][A-Z0-9/-]{2,31}", re.ASCII)
_ALIKE = str.maketrans("АВЕКМНОРСТХУІавекмнорстхуі", "ABEKMHOPCTXYIABEKMHOPCTXYI")
"""Cyrillic letters that look like Latin ones: a number with one of them is never found."""
_DASHES = re.compile(r"[‐‑‒–—−]")
LICENCES_MAX = 20


def licence_number(text: str, field: str = "licence") -> tuple[str, Fault | None]:
    """The number in capital Latin letters, digits, "-" and "/", or what is wrong with it.

    A letter of another script is refused, with the number as it was probably meant.
    """
    bare = _DASHES.sub("-", re.sub(r"\s+", "", text)).upper()
    if not bare:
        return "", Fault(field, "facilities.fault.licence-empty")
    foreign = sorted({letter for letter in bare if letter.isalpha() and not letter.isascii()})
    if foreign:
        meant = bare.translate(_ALIKE)
        if meant.isascii():
            return "", Fault(field, "facilities.fault.licence-script",
                             {"letters": ", ".join(foreign), "meant": meant})
        return "", Fault(field, "facilities.fault.licence-letters",
                         {"letters": ", ".join(foreign)})
    if not _NUMBER.fullmatch(bare):
        return "", Fault(field, "facilities.fault.licence-form")
    return bare, None


def read_licences(text: str) -> tuple[tuple[Licence, ...], list[Fault]]:
    """Licences as text: one a line (or between "|"): number; what for; first day; last day."""
    found: list[Licence] = []
    faults: list[Fault] = []
    lines = [line for line in re.split(r"[\n|]", text) if line.strip()]
    if len(lines) > LICENCES_MAX:
        return (), [Fault("licences", "facilities.fault.too-many", {"most": str(LICENCES_MAX)})]
    for line in lines:
        parts = [part.strip() for part in line.split(";")]
        parts += [""] * (4 - len(parts))
        number, fault = licence_number(parts[0], "licences")
        start, end = _day(parts[2]), _day(parts[3])
        if fault is not None:
            faults.append(fault)
        elif len(parts) > 4 or start is None or end is None:
            faults.append(Fault("licences", "facilities.fault.licence-line", {"line": line[:80]}))
        elif end < start:
            faults.append(Fault("licences", "facilities.fault.licence-term", {"number": number}))
        else:
            found.append(Licence(number, parts[1], start, end))
    numbers = [one.number for one in found]
    faults += [Fault("licences", "facilities.fault.licence-twice", {"number": number})
               for number in sorted({one for one in numbers if numbers.count(one) > 1})]
    return tuple(found), faults


def _day(text: str) -> date | None:
    for pattern in (r"(\d{4})-(\d{2})-(\d{2})", r"(\d{2})\.(\d{2})\.(\d{4})"):
        match = re.fullmatch(pattern, text, re.ASCII)
        if match:
            parts = [int(part) for part in match.groups()]
            year, month, day = parts if len(match[1]) == 4 else parts[::-1]
            try:
                return date(year, month, day)
            except ValueError:
                return None
    return None


def licences_of(record: dict[str, Any]) -> tuple[Licence, ...]:
    """The licences of an Organization record, in its order; those without a term are left out."""
    found = []
    for each in record.get("qualification", []):
        term = each.get("period", {})
        start, end = _day(term.get("start", "")[:10]), _day(term.get("end", "")[:10])
        number = next((one.get("value", "") for one in each.get("identifier", [])), "")
        if number and start and end:
            found.append(Licence(number, each.get("code", {}).get("text", ""), start, end))
    return tuple(found)


def written(licences: tuple[Licence, ...]) -> str:
    """The text that `read_licences` reads."""
    return "\n".join(f"{one.number}; {one.what}; {one.start}; {one.end}" for one in licences)
