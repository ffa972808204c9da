"""What the staff register speaks of: practitioners, posts, licences."""

from __future__ import annotations

from datetime import date

import msgspec


class Licence(msgspec.Struct, frozen=True, kw_only=True):
    """A licence or certificate (Practitioner.qualification)."""

    number: str
    code: str
    """v2-0360 code of the national list: DIP diploma, MD, PHD..., LIC is ours by text."""
    title: str
    valid_from: date | None = None
    valid_until: date | None = None
    issuer: str = ""


class PractitionerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One member of staff in one post."""

    id: str
    name: str
    short_name: str
    """"Yusupova A.": as signatures and lists show it."""
    role_id: str = ""
    """Id of the PractitionerRole: the post."""
    organisation: str = ""
    """Id of the Organization of the post."""
    post_code: str = ""
    """Code of position-and-profession-cs: "2212.30"."""
    post: str = ""
    """Title of the post."""
    specialty: str = ""
    licences: tuple[Licence, ...] = ()
    argos: str = ""
    pinfl: str = ""
    version: str = ""
    """Version of the Practitioner record that these facts are of."""
    role_version: str = ""
    """Version of the PractitionerRole record."""
    is_active: bool = True


class Reason(msgspec.Struct, frozen=True):
    """Why a verdict is as it is: translated by key."""

    key: str
    values: dict[str, str] = {}


class Verdict(msgspec.Struct, frozen=True):
    """Yes or no, with its reasons; `practitioner` is who was judged, if found."""

    allowed: bool
    reasons: tuple[Reason, ...] = ()
    practitioner: PractitionerFacts | None = None
