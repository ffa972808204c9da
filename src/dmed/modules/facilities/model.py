"""What institutions are, to those who ask: facts of one organisation."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What an institution is here for."""

    POLYCLINIC = "polyclinic"
    HOSPITAL = "hospital"
    PRIVATE_CLINIC = "private-clinic"
    PHARMACY = "pharmacy"
    AUTHORITY = "authority"
    OTHER = "other"


class OrganisationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One institution as prescriptions, slips and decisions need it."""

    id: str
    name: str
    names: dict[str, str] = {}
    """Name by language (uz, uz-Cyrl, ru, en), where it has one."""
    tax_id: str = ""
    """Nine digits (soliq); that of the parent for a branch."""
    licence_number: str = ""
    """Empty for state institutions, which need none."""
    licence_from: date | None = None
    licence_until: date | None = None
    is_state: bool = True
    region: str = ""
    """Code of states-cs: "1726"."""
    district: str = ""
    """Code of regions-cs: "1726266"."""
    kind: Kind = Kind.OTHER
    address: str = ""
    phone: str = ""
    is_active: bool = True


class Department(msgspec.Struct, frozen=True):
    """A department or room of an institution (Location)."""

    id: str
    name: str
    kind: str
    """Branch, Ward or Bed."""


class District(msgspec.Struct, frozen=True):
    """A district or city with its code of regions-cs."""

    code: str
    uz: str
    ru: str
    city: bool


class Region(msgspec.Struct, frozen=True):
    """A region with its code of states-cs; `districts` is not the whole list of the country."""

    code: str
    uz: str
    ru: str
    en: str
    centre: str
    districts: tuple[District, ...]


class Reason(msgspec.Struct, frozen=True):
    """Why a verdict is as it is: translated by key."""

    key: str
    values: dict[str, str] = {}


class Verdict(msgspec.Struct, frozen=True):
    """Yes or no, with its reasons."""

    allowed: bool
    reasons: tuple[Reason, ...] = ()
