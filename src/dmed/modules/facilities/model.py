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


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one field of a draft: translated by key."""

    field: str
    key: str
    values: dict[str, str] = {}


class Licence(msgspec.Struct, frozen=True):
    """A licence with its term, both days in it."""

    number: str
    what: str
    start: date
    end: date


class Shape(StrEnum):
    """What a row of the tree is."""

    INSTITUTION = "institution"
    """An Organization with a tax number: hospital, polyclinic, pharmacy, authority."""
    BRANCH = "branch"
    """An Organization below one with a tax number."""
    DEPARTMENT = "department"
    WARD = "ward"
    ROOM = "room"
    BED = "bed"
    SERVICE = "service"
    EQUIPMENT = "equipment"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """One place of the tree as a form or a file tells it, read and found sound."""

    shape: Shape
    code: str
    """Its own short code in the file and in the register; a tax number for an institution."""
    name: str
    name_ru: str = ""
    parent: str = ""
    """Code of the place above."""
    tax_id: str = ""
    shif_id: str = ""
    subordination: str = ""
    nomenclature: str = ""
    structure: str = ""
    services: tuple[str, ...] = ()
    """Codes of the organizational service groups."""
    place: str = ""
    """Code of the kind of department (location-types)."""
    payment: str = ""
    """Code of the way of payment of a service."""
    is_pharmacy: bool = False
    is_active: bool = True
    region: str = ""
    district: str = ""
    address: str = ""
    phone: str = ""
    position: tuple[float, float] | None = None
    """Latitude and longitude in degrees."""
    hours: str = ""
    licences: tuple[Licence, ...] = ()
    maker: str = ""
    serial: str = ""
    checked_until: date | None = None
    """Last day of the verification of equipment."""


class Equipment(msgspec.Struct, frozen=True, kw_only=True):
    """One device of an institution, as the register of equipment keeps it."""

    code: str
    organisation: str
    place: str
    """Id of the Location where it stands, "" where only the institution is known."""
    name: str
    maker: str = ""
    serial: str = ""
    checked_until: date | None = None
    is_active: bool = True
