"""What a module says of itself; apps/ collects the manifests and builds the platform of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.trust.model import Role, Subject

Endpoint = Callable[[Request], Awaitable[Response]]
Quick = Callable[[Any, Subject, list[tuple[str, Any]], str, str], Awaitable[bytes]]
"""Answers an operation without a Request: of the gateway, the caller, the query's pairs, the id of
the record or "", and the Accept-Language header; the body of a 200 in FHIR JSON."""
OnUpdate = Callable[[Any, str, dict[str, Any] | None, dict[str, Any] | None], None]
ANYBODY: frozenset[Role] = frozenset()
"""For the few routes without sign-in: the sign-in page itself, health, static files."""
SIGNED_IN: frozenset[Role] = frozenset(Role)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One address. `roles` is its access rule (ANYBODY: open); `audit` names the act it records."""

    path: str
    endpoint: Endpoint
    roles: frozenset[Role]
    methods: tuple[str, ...] = ("GET",)
    audit: str = ""
    """What the audit row of this route calls the act; "" where the gateway's own rows suffice."""


class MenuItem(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the narrow rail of the shell."""

    key: str
    """Locale key of its title."""
    path: str
    icon: str
    """Name of an icon of pages/icons."""
    roles: frozenset[Role]
    order: int = 100
    main: frozenset[Role] = frozenset()
    """Roles that use it so often that a phone's bar has it before places of lower order."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A FHIR operation; `type` "" is system level, on instances path_params has "id"."""

    name: str
    type: str
    endpoint: Endpoint
    roles: frozenset[Role]
    instance: bool = False
    affects_state: bool = True
    quick: Quick | None = None
    """The same answer for a plain GET, where calls are so frequent that a Request costs too much.
    It does all that the endpoint does, its audit row among it; role and sign-in are checked."""
    audits: bool = False
    """Whether each answer of the endpoint has an audit row of its own; else the server writes one
    that says that it was called. A refusal is always noted by the server."""


class Interceptor(msgspec.Struct, frozen=True, kw_only=True):
    """A module's say in plain REST writes of a type (decisions 19): POST MedicationRequest.

    `on_create(gateway, subject, resource)` gets the decoded resource as a dict and does the whole
    act; it returns the id of the record of this type that now stands for it.
    """

    type: str
    on_create: Callable[[Any, Any, dict[str, Any]], Awaitable[str]]
    on_bundle: Callable[[Any, dict[str, Any], list[dict[str, Any]]], None] | None = None
    """`on_bundle(subject, resource, others)` raises where a POST inside a transaction Bundle is
    refused; `others` are the Bundle's other resources. None: persons are refused, and a system
    needs a signed Provenance over an active or completed one."""
    on_update: OnUpdate | None = None
    """`on_update(subject, verb, before, after)` raises where a plain PUT, PATCH or DELETE of this
    type is refused, alone or in a Bundle; before or after is None where there is no record. None:
    every one is refused, since only the module's acts change such records."""


class Keeper(msgspec.Struct, frozen=True, kw_only=True):
    """A module's look at plain REST writes of a type that stay plain: what they broke is undone.

    `check(unit, type, id)` is asked after the write, in its transaction; the record is read through
    the unit, None where it was deleted. It raises where the register would no longer hold together.
    """

    type: str
    check: Callable[[Any, str, str], Awaitable[None]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a module, as the platform sees it."""

    name: str
    titles: dict[str, str]
    routes: tuple[Route, ...] = ()
    menu: tuple[MenuItem, ...] = ()
    operations: tuple[Operation, ...] = ()
    interceptors: tuple[Interceptor, ...] = ()
    keepers: tuple[Keeper, ...] = ()
    ddl: tuple[str, ...] = ()
    """Statements that make its own tables, each repeatable (IF NOT EXISTS)."""
    jobs: tuple[tuple[str, Callable[[Any], Awaitable[None]]], ...] = ()
    """(name, coroutine of the gateway) to run every minute, e.g. expiry."""
    background: tuple[Callable[[Any], Awaitable[None]], ...] = ()
    """Coroutines of the gateway that every worker runs from its start until its end, e.g. to keep
    what it holds in memory as the database has it. Each deals with its own errors."""
