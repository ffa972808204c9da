"""PINFL, MED-ID, phones and dates.

PINFL (JShShIR), 14 digits: century and sex, DDMMYY, area (3), serial (3), check digit = weights
7-3-1 over the first thirteen, sum modulo 10. The form is hard, the check digit a warning, since
numbers with a wrong one are in use (Cabinet resolutions 200 of 1996 and 177 of 2022).
MED-ID: twelve random digits and a check digit by Damm's table, which finds every single wrong
digit and every swap of neighbours.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

from dmed.modules.medid.model import Pinfl

PINFL_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/ni"
MED_ID_SYSTEM = "https://dhp.uz/fhir/core/sid/pid/uz/hc"
_BLANKS = re.compile(r"[\s.\-–]+")
_WEIGHTS = (7, 3, 1)
_DAMM = (
    "0317598642", "7092154863", "4206871359", "1750983426", "6123045978",
    "3674209581", "5869720134", "8945362017", "9438617205", "2581436790",
)  # fmt: skip  # The published table, row by row.
_PINFL_SEX_AND_CENTURY = {
    "1": ("male", 1800), "2": ("female", 1800), "3": ("male", 1900), "4": ("female", 1900),
    "5": ("male", 2000), "6": ("female", 2000),
}  # fmt: skip  # A small table reads better filled.


# --- Numbers ---------------------------------------------------------------------------------


def digits(text: str) -> str:
    """The text without blanks, hyphens and full stops."""
    return _BLANKS.sub("", text)


def pinfl_check_digit(first_thirteen: str) -> str:
    """The fourteenth digit for the first thirteen."""
    return str(sum(int(one) * _WEIGHTS[place % 3] for place, one in enumerate(first_thirteen)) % 10)


def compose_pinfl(birth: date, sex: str, area: int, serial: int) -> str:
    """The PINFL of a person: `area` and `serial` are numbers from 0 to 999."""
    lead = {1800: 1, 1900: 3, 2000: 5}[birth.year // 100 * 100] + (sex == "female")
    body = f"{lead}{birth:%d%m%y}{area:03d}{serial:03d}"
    return body + pinfl_check_digit(body)


@lru_cache(maxsize=4_096)
def read_pinfl(text: str) -> Pinfl | None:
    """The PINFL in a text with what it tells, or None if it is not well formed."""
    value = digits(text)
    if len(value) != 14 or not value.isascii() or not value.isdigit():
        return None
    told = _PINFL_SEX_AND_CENTURY.get(value[0])
    if told is None:
        return None
    sex, century = told
    try:
        birth = date(century + int(value[5:7]), int(value[3:5]), int(value[1:3]))
    except ValueError:
        return None
    return Pinfl(value, birth, sex, value[7:10], value[10:13],
                 pinfl_check_digit(value[:13]) == value[13])


def med_id_check_digit(first_twelve: str) -> str:
    """The thirteenth digit for the first twelve."""
    interim = "0"
    for one in first_twelve:
        interim = _DAMM[int(interim)][int(one)]
    return interim


def new_med_id(drawn: int) -> str:
    """The MED-ID of a number drawn from 0 to 999,999,999,999."""
    body = f"{drawn:012d}"
    return body + med_id_check_digit(body)


def is_med_id(text: str) -> bool:
    """Whether the text (blanks allowed) is a MED-ID with the right check digit."""
    value = digits(text)
    return (len(value) == 13 and value.isascii() and value.isdigit()
            and med_id_check_digit(value[:12]) == value[12])


def show_med_id(value: str) -> str:
    """A MED-ID in groups of four, as it is printed and read aloud."""
    return " ".join(value[place : place + 4] for place in range(0, len(value), 4))


def read_phone(text: str) -> str:
    """The phone as +998XXXXXXXXX, or "" if the text is no number of the country."""
    value = digits(text).removeprefix("+").translate(str.maketrans("", "", "()"))
    if not value.isascii() or not value.isdigit():
        return ""
    if len(value) == 9:
        return f"+998{value}"
    return f"+{value}" if len(value) == 12 and value.startswith("998") else ""


def mask_pinfl(value: str) -> str:
    """All but the last four digits as dots."""
    return "•" * max(0, len(value) - 4) + value[-4:] if value else ""


def mask_phone(value: str) -> str:
    """+998901232140 as "+998 90 ••• 21 40"; other texts all but the last two as dots."""
    if len(value) == 13 and value.startswith("+998"):
        return f"+998 {value[4:6]} ••• {value[9:11]} {value[11:]}"
    return "•" * max(0, len(value) - 2) + value[-2:] if value else ""


# --- Dates -----------------------------------------------------------------------------------


def read_date(text: str) -> date | None:
    """The day in YYYY-MM-DD or DD.MM.YYYY, or None."""
    text = text.strip()
    if re.fullmatch(r"[0-9]{2}\.[0-9]{2}\.[0-9]{4}", text):
        text = f"{text[6:]}-{text[3:5]}-{text[:2]}"
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


# --- Ages ------------------------------------------------------------------------------------


def age_years(born: date, day: date) -> int:
    """Whole years of age on a day."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def age_months(born: date, day: date) -> int:
    """Whole months of age on a day beyond the whole years."""
    return (day.month - born.month - (day.day < born.day)) % 12
