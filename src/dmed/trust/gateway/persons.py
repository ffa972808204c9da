"""Whose records a citizen sees: his own, and those of children and wards; looked up at most every
half minute, so that a guardianship that ends has ended for his session within a minute.
"""

from __future__ import annotations

import time
from functools import lru_cache

import msgspec

from dmed.kit.clock import today
from dmed.store import guardians as store_guardians
from dmed.store.model import Scope
from dmed.store.pool import Database
from dmed.trust.gateway.common import decoded
from dmed.trust.model import Role, Subject
from dmed.trust.oauth.scopes import is_in_compartment
from dmed.trust.policy import guardians

_KEPT_SECONDS = 30
_KEPT_MAX = 10_000
_TYPES = frozenset({"Patient", "RelatedPerson"})


def is_citizen(subject: Subject) -> bool:
    """Whether a subject sees certain persons alone, whatever else is asked."""
    return subject.role is Role.CITIZEN


def kept_persons(db: Database, subject: Subject) -> tuple[str, ...] | None:
    """The citizen's persons as this worker knew them in the last half minute, or None."""
    if not subject.patient:
        return ()
    known = db.kept.get("persons")
    found = known.get(subject.patient) if known else None
    return found[0] if found is not None and time.monotonic() < found[1] else None


async def persons(db: Database, subject: Subject) -> tuple[str, ...]:
    """The Patient ids that a citizen sees: himself first, then those for whom he answers.

    A citizen whose card is gone or closed sees nobody.
    """
    found = kept_persons(db, subject)
    if found is None:
        found = await _persons(db, subject)
        known = db.kept.setdefault("persons", {})
        if len(known) > _KEPT_MAX:
            known.clear()
        known[subject.patient] = (found, time.monotonic() + _KEPT_SECONDS)
    return found


async def _persons(db: Database, subject: Subject) -> tuple[str, ...]:
    scope = Scope(subject.user, types=_TYPES)
    body = await store_guardians.card(db, scope, subject.patient)
    if body is None:
        return ()
    own = decoded(body)
    if own.get("active") is False:
        return ()
    day, found = today(), [subject.patient]
    for each in await store_guardians.named(db, scope, guardians.numbers_of(own)):
        related = decoded(each)
        ward = guardians.ward_of(related, day)
        card = await store_guardians.card(db, scope, ward) if ward else None
        if card is not None and guardians.is_open(related, decoded(card), day):
            found.append(ward)
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=4096)
def beside(scope: Scope, type_: str) -> Scope:
    """A citizen's Scope in a statement about a type.

    Types that lie in nobody's compartment (institutions, medicines, definitions) are read whole;
    such a statement then reaches no others, whatever it includes or follows.
    """
    if not type_ or is_in_compartment(type_) or scope.patients is None:
        return scope
    types = frozenset(each for each in scope.types or () if not is_in_compartment(each))
    return msgspec.structs.replace(scope, patients=None, types=types)
