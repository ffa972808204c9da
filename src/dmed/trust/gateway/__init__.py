"""The only door to records for server, pages and modules."""

from dmed.store.model import HistoryPage, Hit, SearchPage, Stored, Written
from dmed.trust.gateway.common import RefusedError, decoded
from dmed.trust.gateway.door import Gateway
from dmed.trust.gateway.kept import Kept
from dmed.trust.gateway.unit import Change, GatewayUnit

__all__ = [
    "Change",
    "Gateway",
    "GatewayUnit",
    "HistoryPage",
    "Hit",
    "Kept",
    "RefusedError",
    "SearchPage",
    "Stored",
    "Written",
    "decoded",
]
