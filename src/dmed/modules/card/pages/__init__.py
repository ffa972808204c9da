"""Screens of the unified card, for those who treat and for the person."""

from __future__ import annotations

from dmed.modules.card.pages import entries, mine, staff
from dmed.trust.manifest import MenuItem, Route
from dmed.trust.model import Role

ROUTES: tuple[Route, ...] = (*staff.ROUTES, *entries.ROUTES, *mine.ROUTES)
MENU: tuple[MenuItem, ...] = (
    MenuItem(key="my.menu", path="/my", icon="person", roles=frozenset({Role.CITIZEN}), order=10),
)
