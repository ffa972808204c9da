"""What other rooms may call of insurance."""

from __future__ import annotations

from dmed.modules.insurance.model import Answer, Decided, Outcome
from dmed.modules.insurance.rules import REFUSALS, response
from dmed.modules.insurance.service import collect, reconcile, send
from dmed.modules.insurance.service.fund import Fund, HttpFund

__all__ = ["REFUSALS", "Answer", "Decided", "Fund", "HttpFund", "Outcome", "collect", "reconcile",
           "response", "send"]  # fmt: skip  # A list of names reads better filled.
