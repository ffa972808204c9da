"""How well alerts work: shown, passed with which reason, and which rule should be looked at.

Of 23 studies between 46 and 96 % of alerts were overridden; a rule that nearly everybody passes
teaches to pass all of them. Counts are of alerts, never of persons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

OVERRIDDEN = "overridden"
ACCEPTED = "accepted"
REVIEW_ABOVE = Decimal("0.90")
"""A rule that is passed more often than this is looked at by clinicians: retire or change it."""
REVIEW_LEAST = 20
"""Of fewer alerts no share is told."""


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of one version of its table, over some days."""

    rule: str
    version: str
    tier: str
    shown: int
    overridden: int
    accepted: int
    """Of those shown to other systems: the suggestion was taken."""
    reasons: dict[str, int]
    """Coded reason -> how often it led on; "" where none was told."""

    @property
    def heeded(self) -> int:
        """Neither passed with a reason nor shown for the eye alone: something was changed."""
        return self.shown - self.overridden if self.tier == "interrupt" else self.accepted

    @property
    def share(self) -> Decimal | None:
        """Part of the alerts that were passed, to two digits; None below REVIEW_LEAST."""
        if self.shown < REVIEW_LEAST:
            return None
        return (Decimal(self.overridden) / self.shown).quantize(Decimal("0.01"))

    @property
    def is_for_review(self) -> bool:
        """Whether clinicians should judge if the rule was passed rightly, and retire it then."""
        return self.shown >= REVIEW_LEAST and Decimal(self.overridden) / self.shown > REVIEW_ABOVE


def precision(rows: Iterable[Mapping[str, Any]]) -> list[Precision]:
    """Rows (rule, version, tier, outcome, reason, count) as one figure a rule, those for review
    first, then by how often they were shown.
    """
    rules: dict[tuple[str, str, str], dict[tuple[str, str], int]] = {}
    for row in rows:
        of = rules.setdefault((row["rule"], row["version"], row["tier"]), {})
        key = (row["outcome"], row["reason"])
        of[key] = of.get(key, 0) + int(row["count"])
    found = [
        Precision(
            rule=rule,
            version=version,
            tier=tier,
            shown=sum(of.values()),
            overridden=sum(n for (outcome, _), n in of.items() if outcome == OVERRIDDEN),
            accepted=sum(n for (outcome, _), n in of.items() if outcome == ACCEPTED),
            reasons={reason: n for (outcome, reason), n in of.items() if outcome == OVERRIDDEN},
        )
        for (rule, version, tier), of in rules.items()
    ]
    return sorted(found, key=lambda one: (not one.is_for_review, -one.shown, one.rule, one.tier))
