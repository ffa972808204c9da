"""Whether somebody still stands in a post: the staff register is asked, and what it says counts
within a minute, also for tokens that were issued and sessions that are open.
"""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import msgspec

from dmed.kit.clock import today
from dmed.store.model import Scope
from dmed.store.standing import staff_record
from dmed.trust.model import Role

CACHE_S = 15.0
_CACHE_MAX = 20_000
_CERTIFICATE = "CER"
"""v2-0360: the certificate without which a profession may not be practised."""
_CERTIFIED = frozenset({Role.DOCTOR, Role.PHARMACIST})


class Standing(msgspec.Struct, frozen=True):
    """What the register says of somebody in a post; `refusal` is "" or the key of the reason."""

    refusal: str = ""
    organisation: str = ""
    """Id of the institution that the register names for the post, "" where it names none."""
    organisation_name: str = ""


GOOD = Standing()


def judge(
    role: Role, person: dict[str, Any] | None, post: dict[str, Any] | None, day: date
) -> Standing:
    """The standing by a Practitioner and a PractitionerRole; None is a record that is gone. Pure.

    Who has no certificate at all may look (what needs one asks for it: prescribing); whose
    certificates have all run out has no rights of a doctor or pharmacist.
    """
    if person is None or post is None:
        return Standing("gone")
    if person.get("active") is False or post.get("active") is False:
        return Standing("inactive")
    owner = str(post.get("practitioner", {}).get("reference", "")).rpartition("/")[2]
    if owner and owner != person.get("id"):
        return Standing("gone")
    if not _is_running(post.get("period", {}), day):
        return Standing("post-over")
    certificates = [
        each
        for each in person.get("qualification", [])
        if any(code.get("code") == _CERTIFICATE for code in each.get("code", {}).get("coding", []))
    ]
    if (
        role in _CERTIFIED
        and certificates
        and not any(_is_running(each.get("period", {}), day) for each in certificates)
    ):
        return Standing("certificate-over")
    place = post.get("organization", {})
    return Standing(
        organisation=str(place.get("reference", "")).removeprefix("Organization/"),
        organisation_name=str(place.get("display", "")),
    )


def _is_running(period: dict[str, str], day: date) -> bool:
    """Whether a period holds a day; partial dates compare by the part they have."""
    text = day.isoformat()
    start, end = period.get("start", "")[:10], period.get("end", "")[:10]
    return not (start and text[: len(start)] < start) and not (end and text[: len(end)] > end)


class Register:
    """The standings of an installation, each looked up again after fifteen seconds."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str, Role], tuple[Standing, float]] = {}

    async def standing(self, user: str, role: Role, practitioner: str, post: str) -> Standing:
        """Who has no record in the register (a system, the first administrator) is not judged."""
        if not practitioner or not post:
            return GOOD
        at = time.monotonic()
        key = (practitioner, post, role)
        known = self._known.get(key)
        if known is not None and at < known[1]:
            return known[0]
        scope = Scope(user)
        person = await staff_record(self._connection, scope, "Practitioner", practitioner)
        record = await staff_record(self._connection, scope, "PractitionerRole", post)
        found = judge(role, _decoded(person), _decoded(record), today())
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[key] = (found, at + CACHE_S)
        return found

    def forget(self) -> None:
        """Look everything up anew."""
        self._known.clear()


def _decoded(body: bytes | None) -> dict[str, Any] | None:
    return None if body is None else msgspec.json.decode(body, type=dict[str, Any])
