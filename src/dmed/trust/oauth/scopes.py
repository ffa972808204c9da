"""What an app was allowed, as a pure model: https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html

How the decision uses it. `Subject.scopes` is a `Scopes`. Its default is a session of the platform
itself: `is_app` is False and nothing is narrowed. Otherwise, on top of what the person may do
anyway (an app never gets more than who signed in, a system never more than its account):

1. `allows(scopes, action, type)` must hold; False is a refusal (403).
   `action` is "read" (vread and history too), "search", "create", "update" or "delete".
2. `patients(scopes, action, type)` goes to `Scope.patients` of the statement: None is no limit,
   a tuple limits it to those compartments. A create or update must give a record in one of them.
3. `restriction(scopes, action, type)` are pairs that are added to a search of this type; a read
   by id is refused (404) unless `_id=<id>` with those pairs finds the record, and its older
   versions are not shown. () is no restriction.
4. `readable(scopes)` bounds every other type a statement touches (includes, chains, `_has`,
   type-less search and history): its `types` may be seen whole, its `confined` only with
   `Scope.patients = (scopes.patient,)`. None in `types` means every type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import parse_qsl, quote

import msgspec

from dmed.fhir.facts import facts
from dmed.kit.errors import InvalidError

LEVELS = ("patient", "user", "system")
LETTERS = "cruds"
SCOPES_MAX = 60
"""Scopes of one request; every one of them stands on the consent screen."""
TEXT_MAX = 2_000
_ACTIONS = {"create": "c", "read": "r", "update": "u", "delete": "d", "search": "s"}
_VERSION_1 = {"read": "rs", "write": "cud", "*": LETTERS}
_CLINICAL = re.compile(
    r"(?P<level>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,63})"
    r"\.(?P<rights>c?r?u?d?s?|read|write|\*)(?:\?(?P<criteria>.+))?",
    re.ASCII,
)
PLAIN = frozenset(
    {
        "openid",
        "profile",
        "fhirUser",
        "launch",
        "launch/patient",
        "launch/encounter",
        "offline_access",
        "online_access",
    }
)
"""Scopes that are no rights to records."""


class Grant(msgspec.Struct, frozen=True):
    """Rights to one type ("*": all) at one level; `letters` is a part of "cruds" in that order."""

    level: str
    type: str
    letters: str
    criteria: tuple[tuple[str, str], ...] = ()
    """Search pairs that every record must meet; only for reading and searching."""

    def covers(self, letter: str, type_: str) -> bool:
        """Whether this right is in it, criteria apart."""
        return letter in self.letters and self.type in {"*", type_}

    def text(self) -> str:
        """The scope as it is written on the wire, version 2."""
        written = "&".join(f"{quote(k, safe=':_-')}={quote(v, safe='|:,/_-.')}"
                           for k, v in self.criteria)  # fmt: skip  # One expression.
        return f"{self.level}/{self.type}.{self.letters}" + (f"?{written}" if written else "")


class Scopes(msgspec.Struct, frozen=True):
    """What one app was allowed by one sign-in; the default is the platform's own session."""

    client: str = ""
    """The registered client; "" is the platform itself, and nothing is narrowed."""
    grants: tuple[Grant, ...] = ()
    plain: tuple[str, ...] = ()
    """Scopes that are no rights to records: openid, fhirUser, launch..."""
    patient: str = ""
    """Id of the Patient in context."""
    encounter: str = ""
    """Id of the Encounter in context."""

    @property
    def is_app(self) -> bool:
        """Whether rights are narrowed at all."""
        return bool(self.client)

    def text(self) -> str:
        """The scopes as one parameter."""
        return " ".join((*self.plain, *(grant.text() for grant in self.grants)))


class Readable(msgspec.Struct, frozen=True):
    """Types that may be seen whole (None: all), and those only in the patient's compartment."""

    types: frozenset[str] | None
    confined: frozenset[str]


EVERYTHING = Scopes()
_WHOLE = Readable(None, frozenset())


def parse(text: str) -> Scopes:
    """The scopes of a request (no client or context yet), each once, in the given order.

    InvalidError for one that is not known, names no type of R5, holds no right, or restricts
    writing; and where two restrictions of a type could not be one search.
    """
    words = list(dict.fromkeys(text.split(" "))) if text else []
    if len(text) > TEXT_MAX or len(words) > SCOPES_MAX:
        raise InvalidError(f"At most {SCOPES_MAX} scopes in {TEXT_MAX} characters")
    plain: list[str] = []
    grants: list[Grant] = []
    for word in words:
        if word in PLAIN:
            plain.append(word)
        elif word:
            grants.append(_grant(word))
    found = Scopes(grants=tuple(dict.fromkeys(grants)), plain=tuple(plain))
    _check_searchable(found.grants)
    return found


def _grant(word: str) -> Grant:
    match = _CLINICAL.fullmatch(word)
    if match is None or not match["rights"]:
        raise InvalidError(f"The scope {word[:100]!r} is not known here")
    if match["type"] != "*" and match["type"] not in facts().resources:
        raise InvalidError(f"The scope {word[:100]!r} names no resource type of R5")
    letters = _VERSION_1.get(match["rights"], match["rights"])
    criteria = _criteria(word, match["criteria"] or "")
    if criteria and (match["type"] == "*" or not set(letters) <= {"r", "s"}):
        raise InvalidError(
            f"The scope {word[:100]!r}: a restriction goes with reading (r, s) of one type"
        )
    return Grant(match["level"], match["type"], letters, criteria)


def _criteria(word: str, text: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    try:
        pairs = parse_qsl(text, strict_parsing=True, max_num_fields=5, errors="strict")
    except ValueError as fault:
        raise InvalidError(f"The restriction of {word[:100]!r} cannot be read") from fault
    if any(not name or (name.startswith("_") and name not in _COMMON) for name, _ in pairs):
        raise InvalidError(f"The restriction of {word[:100]!r} is no search parameter")
    return tuple(pairs)


_COMMON = frozenset({"_tag", "_security", "_profile", "_source"})
"""Parameters of every type that may restrict; those that speak of the answer's form may not."""


def _check_searchable(grants: Iterable[Grant]) -> None:
    """Several restrictions of one type are one search only where they differ in one value."""
    seen: dict[tuple[bool, str], list[Grant]] = {}
    for grant in grants:
        if grant.criteria:
            seen.setdefault((grant.level == "patient", grant.type), []).append(grant)
    for (_, type_), alike in seen.items():
        names = {tuple(name for name, _ in grant.criteria) for grant in alike}
        if len(alike) > 1 and (len(names) > 1 or len(alike[0].criteria) > 1):
            raise InvalidError(f"The restrictions of {type_} cannot be joined into one search")


@lru_cache(maxsize=4096)
def allows(scopes: Scopes, action: str, type_: str) -> bool:
    """Whether the app was allowed this at all; see the module for what narrows it further."""
    if not scopes.is_app:
        return True
    return bool(_covering(scopes, action, type_))


def _covering(scopes: Scopes, action: str, type_: str) -> list[Grant]:
    letter = _ACTIONS[action]
    return [
        grant
        for grant in scopes.grants
        if grant.covers(letter, type_) and (grant.level != "patient" or scopes.patient)
    ]


def _used(scopes: Scopes, action: str, type_: str) -> list[Grant]:
    """The widest of the covering grants that are one statement: never limits of one with the
    freedom of another (all labs of anybody, and all of this patient, is not all of anybody).
    """
    covering = _covering(scopes, action, type_)
    for is_confined, is_restricted in ((False, False), (True, False), (False, True)):
        found = [
            grant
            for grant in covering
            if (grant.level == "patient", bool(grant.criteria)) == (is_confined, is_restricted)
        ]
        if found:
            return found
    return covering


@lru_cache(maxsize=4096)
def patients(scopes: Scopes, action: str, type_: str) -> tuple[str, ...] | None:
    """The compartments to which this is limited; None is no limit.

    Rights at level `patient` reach the compartment of the patient in context. Types that lie in
    no such compartment (Practitioner, Organization, Medication) may be read whole and are never
    written by such rights.
    """
    if not scopes.is_app:
        return None
    levels = {grant.level for grant in _used(scopes, action, type_)}
    if levels - {"patient"}:
        return None
    if action in {"read", "search"} and not is_in_compartment(type_):
        return None
    return (scopes.patient,) if levels else ()


@lru_cache(maxsize=4096)
def restriction(scopes: Scopes, action: str, type_: str) -> tuple[tuple[str, str], ...]:
    """Search pairs that what is read of this type must meet; () is no restriction."""
    if not scopes.is_app or action not in {"read", "search"}:
        return ()
    used = _used(scopes, action, type_)
    if not used or not used[0].criteria:
        return ()
    if len(used) == 1:
        return used[0].criteria
    name = used[0].criteria[0][0]
    return ((name, ",".join(dict.fromkeys(grant.criteria[0][1] for grant in used))),)


@lru_cache(maxsize=1024)
def readable(scopes: Scopes) -> Readable:
    """What statements may touch besides their own type: includes, chains, type-less searches.

    A type whose reading is restricted by criteria is left out: criteria bind its own search only.
    """
    if not scopes.is_app:
        return _WHOLE
    seen = frozenset(
        name
        for name in facts().resources
        if any(not grant.criteria for grant in _covering(scopes, "read", name))
    )
    confined = frozenset(name for name in seen if patients(scopes, "read", name) is not None)
    whole = seen - confined
    return Readable(None if len(whole) == len(facts().resources) else whole, confined)


def is_in_compartment(type_: str) -> bool:
    """Whether records of this type can lie in a patient's compartment."""
    return type_ == "Patient" or bool(facts().compartments["Patient"].get(type_))


def narrowed(asked: Scopes, allowed: Scopes) -> Scopes:
    """The part of what is asked that is in what is allowed: a client's registration, or what a
    person left ticked. Rights shrink letter by letter; what has no letter left is dropped.
    """
    grants = []
    for grant in asked.grants:
        letters = "".join(each for each in grant.letters if is_within(grant, each, allowed))
        if letters:
            grants.append(msgspec.structs.replace(grant, letters=letters))
    plain = tuple(word for word in asked.plain if word in allowed.plain)
    return msgspec.structs.replace(asked, grants=tuple(grants), plain=plain)


def is_within(grant: Grant, letter: str, allowed: Scopes) -> bool:
    """Whether one right of a grant is among those allowed."""
    return any(
        each.level == grant.level
        and each.covers(letter, grant.type)
        and (not each.criteria or each.criteria == grant.criteria)
        for each in allowed.grants
    )
