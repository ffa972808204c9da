"""Decisions and readings as pure functions: numbers, likeness, records read and written."""

from dmed.modules.medid.rules.drafts import check, complete, is_pinfl_sound
from dmed.modules.medid.rules.likeness import NEAR_WEIGHT, compare, sound_of, spans
from dmed.modules.medid.rules.numbers import (
    MED_ID_SYSTEM,
    PINFL_SYSTEM,
    age_months,
    age_years,
    compose_pinfl,
    digits,
    is_med_id,
    mask_phone,
    mask_pinfl,
    med_id_check_digit,
    new_med_id,
    pinfl_check_digit,
    read_date,
    read_phone,
    read_pinfl,
    show_med_id,
)

__all__ = [
    "MED_ID_SYSTEM", "NEAR_WEIGHT", "PINFL_SYSTEM", "age_months", "age_years", "check", "compare",
    "complete", "compose_pinfl", "digits", "is_med_id", "is_pinfl_sound", "mask_phone",
    "mask_pinfl", "med_id_check_digit", "new_med_id", "pinfl_check_digit", "read_date",
    "read_phone", "read_pinfl", "show_med_id", "sound_of", "spans",
]  # fmt: skip  # A list of names reads better filled.
