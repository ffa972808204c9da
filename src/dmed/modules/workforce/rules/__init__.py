"""Decisions and readings of the staff register as pure functions."""

from dmed.modules.workforce.rules.persons import (
    ARGOS_SYSTEM,
    CERTIFICATE,
    PINFL_SYSTEM,
    away_until,
    facts,
    is_licensed_post,
    may_sign,
    short_name,
)

__all__ = [
    "ARGOS_SYSTEM", "CERTIFICATE", "PINFL_SYSTEM", "away_until", "facts", "is_licensed_post",
    "may_sign", "short_name",
]  # fmt: skip  # A list of names reads better filled.
