"""Who asks: roles, posts and subjects."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from dmed.trust.oauth.scopes import EVERYTHING, Scopes


class Role(StrEnum):
    """What a signed-in person or system is here to do."""

    DOCTOR = "doctor"
    PHARMACIST = "pharmacist"
    REGISTRAR = "registrar"
    ADMINISTRATOR = "administrator"
    SERVICE = "service"
    HEAD = "head"
    """Head of an institution: answers for its staff, sees the registers and its reviews."""
    INSPECTOR = "inspector"
    """Looks into the audit and reviews access, for the authority; keeps no register."""
    CITIZEN = "citizen"
    """A person as himself, and for the children and wards whom the register gives him."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One signed-in person or system in one post: what every decision is about."""

    user: str
    """Sign-in name: "doctor"."""
    role: Role
    name: str = ""
    """Name to show."""
    practitioner: str = ""
    """Id of the Practitioner resource."""
    practitioner_role: str = ""
    """Id of the PractitionerRole resource: the post."""
    organisation: str = ""
    """Id of the Organization of the post: clinic or pharmacy."""
    organisation_name: str = ""
    post: str = ""
    """Title of the post to show: "terapevt"."""
    purpose: str = "TREAT"
    session: str = ""
    """Id of the page session or token."""
    language: str = ""
    """Language chosen by the person: uz, uz-Cyrl, ru, en."""
    patient: str = ""
    """Id of the Patient who a citizen is; "" for everybody else."""
    scopes: Scopes = EVERYTHING
    """What the app was allowed through which they act; the default narrows nothing."""
