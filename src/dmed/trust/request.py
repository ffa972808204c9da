"""The id of the request under way, which all its audit rows share."""

from __future__ import annotations

from contextvars import ContextVar

from dmed.kit.ids import secret

REQUEST_ID: ContextVar[str] = ContextVar("dmed_request_id", default="")


def request_id() -> str:
    """The id of the request under way, or a new one outside of requests (jobs, commands)."""
    return REQUEST_ID.get() or secret(96)
