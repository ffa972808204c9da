"""The id of the request under way, which all its audit rows share."""

from __future__ import annotations

import itertools
from contextvars import ContextVar

from dmed.kit.ids import secret

REQUEST_ID: ContextVar[str] = ContextVar("dmed_request_id", default="")
REQUEST_KEY = "dmed_request_id"
"""Where an ASGI scope carries the id of its request, once somebody has given it."""
USER_KEY = "dmed_user"
"""Where an ASGI scope carries the sign-in name of whose request it turned out to be."""
_process = secret(48)
_count = itertools.count(1)


def new_request_id() -> str:
    """A request id: random for the process, counted within it. It is a name, not a secret."""
    return f"{_process}-{next(_count):x}"


def request_id() -> str:
    """The id of the request under way, or a new one outside of requests (jobs, commands)."""
    return REQUEST_ID.get() or new_request_id()
