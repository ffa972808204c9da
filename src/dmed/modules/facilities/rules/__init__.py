"""Decisions about institutions: facts and licences, drafts and their faults, hours, places."""

from __future__ import annotations

from dmed.modules.facilities.rules.codes import UNIT_SYSTEM, code_list, name_of
from dmed.modules.facilities.rules.facts import (
    PHARMACY_TEXT,
    TAX_SYSTEM,
    facts,
    licence_valid,
    name_in,
    names,
)
from dmed.modules.facilities.rules.licences import licence_number, licences_of

__all__ = [
    "PHARMACY_TEXT", "TAX_SYSTEM", "UNIT_SYSTEM", "code_list", "facts", "licence_number",
    "licence_valid", "licences_of", "name_in", "name_of", "names",
]  # fmt: skip  # A list of names reads better filled.
