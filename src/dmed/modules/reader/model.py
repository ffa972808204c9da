"""What the reader's pages show: fields of a record, parameters of a search, changes, faults."""

from __future__ import annotations

from typing import Any

import msgspec


class Field(msgspec.Struct, frozen=True):
    """One element of a record: its FHIR name, and either a text or fields of its own.

    `kind` says how a template writes the text: date, moment, number, code, name, text, flag.
    `href` leads to the record that a reference names.
    """

    name: str
    path: str
    text: str = ""
    kind: str = "text"
    href: str = ""
    note: str = ""
    children: tuple[Field, ...] = ()


class Parameter(msgspec.Struct, frozen=True):
    """A search parameter as the capability statement declares it."""

    name: str
    kind: str
    ways: tuple[str, ...] = ()
    """Modifiers (":exact") and prefixes ("ge") that it takes."""


class Criterion(msgspec.Struct, frozen=True):
    """One line of the search form: a parameter, a modifier or prefix, and a value."""

    name: str = ""
    way: str = ""
    value: str = ""


class Row(msgspec.Struct, frozen=True):
    """One record in a list: where it is, and what tells it from others."""

    type: str
    id: str
    title: str
    detail: str
    about: str
    """The address of the person or thing it is about, or ""."""
    updated: str
    mode: str = "match"
    version: str = ""
    method: str = ""
    """PUT, DELETE and so on, in a history."""


class Change(msgspec.Struct, frozen=True):
    """One difference between two versions; an empty side was not there."""

    path: str
    kind: str
    """added, removed or changed."""
    before: str = ""
    after: str = ""


class Fault(msgspec.Struct, frozen=True):
    """One issue of an OperationOutcome."""

    severity: str
    code: str
    sentence: str
    place: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What the FHIR room answered: status, headers in lower case, and the resource or {}."""

    status: int
    headers: dict[str, str]
    resource: dict[str, Any]
    body: bytes


class Trial(msgspec.Struct, frozen=True):
    """A FHIRPath tried on a record: typed values, or faults and the place they name (-1)."""

    values: tuple[tuple[str, str], ...] = ()
    faults: tuple[Fault, ...] = ()
    at: int = -1
    milliseconds: str = ""
