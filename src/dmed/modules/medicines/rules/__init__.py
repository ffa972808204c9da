"""Decisions about medicines as pure functions: names, search, resources, rows, changes."""

from dmed.modules.medicines.rules.names import (
    ATC_SYSTEM,
    FORM_SYSTEM,
    GTIN_SYSTEM,
    INN_SYSTEM,
    MARKING_SYSTEM,
    PREPARATION_SYSTEM,
    PROFILE,
    REGISTRATION_SYSTEM,
    UNREGISTERED_SYSTEM,
    label,
    strength_label,
    unit_name,
)
from dmed.modules.medicines.rules.resources import coded, key_in, medication
from dmed.modules.medicines.rules.search import Index, beginning_distance, nearness

__all__ = [
    "ATC_SYSTEM",
    "FORM_SYSTEM",
    "GTIN_SYSTEM",
    "INN_SYSTEM",
    "MARKING_SYSTEM",
    "PREPARATION_SYSTEM",
    "PROFILE",
    "REGISTRATION_SYSTEM",
    "UNREGISTERED_SYSTEM",
    "Index",
    "beginning_distance",
    "coded",
    "key_in",
    "label",
    "medication",
    "nearness",
    "strength_label",
    "unit_name",
]
