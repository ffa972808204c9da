"""What the one search box looks for: decided from the text and the reader's role alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from dmed.kit.text import fold
from dmed.trust.model import Role
from dmed.trust.oauth.requests import tick
from dmed.trust.oauth.scopes import Scopes

QUERY_CHARACTERS_MAX = 400
PERSONS_MIN_CHARACTERS = 3
MEDICINES_MIN_CHARACTERS = 2
_CARD = re.compile(r"/card/([A-Za-z0-9.\-]{1,64})(?:[/?#]|$)")
SEES_PERSONS = frozenset({Role.DOCTOR, Role.REGISTRAR})
SEES_MEDICINES = frozenset({Role.DOCTOR, Role.PHARMACIST})
SEES_PRESCRIPTIONS = frozenset({Role.DOCTOR, Role.PHARMACIST})


class Place(msgspec.Struct, frozen=True):
    """A screen or an act that the box can lead to."""

    key: str
    """Locale key of its title."""
    path: str
    icon: str
    roles: frozenset[Role]


def places_for(
    text: str, role: Role, places: Sequence[tuple[Place, str]], limit: int = 5
) -> list[tuple[Place, str]]:
    """The (place, title) pairs whose title has a word that begins with the text, in given order."""
    wanted = fold(text)
    if not wanted:
        return []
    return [
        (place, title)
        for place, title in places
        if role in place.roles
        and any(word.startswith(wanted) for word in (fold(title), *fold(title).split()))
    ][:limit]


def may_be_person(text: str, role: Role) -> bool:
    """Whether to ask the person index: enough letters, and a role that works with persons."""
    return role in SEES_PERSONS and len(text.replace(" ", "")) >= PERSONS_MIN_CHARACTERS


def may_be_medicine(text: str, role: Role) -> bool:
    """Whether to ask the register of medicines: it is no number, and long enough."""
    return (
        role in SEES_MEDICINES
        and len(text) >= MEDICINES_MIN_CHARACTERS
        and not text.replace(" ", "").replace("-", "").isdecimal()
    )


def card_in(address: str) -> str:
    """The id of the person whose card an address shows, or ""."""
    found = _CARD.search(address)
    return found.group(1) if found else ""


class Right(msgspec.Struct, frozen=True):
    """One line of the consent screen: the rights to a type, each with the name of its tick."""

    level: str
    type: str
    ticks: tuple[tuple[str, str], ...]
    """(letter, name of the tick)."""
    only: str = ""
    """The restriction, as it was asked."""


def rights_of(scopes: Scopes) -> list[Right]:
    """The lines of the consent screen in the order in which the app asked."""
    return [
        Right(
            grant.level,
            grant.type,
            tuple((letter, tick(grant.text(), letter)) for letter in grant.letters),
            "&".join(f"{name}={value}" for name, value in grant.criteria),
        )
        for grant in scopes.grants
    ]


_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("YaBrowser/", "Yandex"),
             ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
_SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS", "Linux")


def browser_of(agent: str) -> str:
    """What a person recognises of a browser: "Firefox, Windows"; "" where it tells nothing."""
    names = [name for mark, name in _BROWSERS if mark in agent][:1]
    names += [name for name in _SYSTEMS if name in agent][:1]
    return ", ".join(names)
