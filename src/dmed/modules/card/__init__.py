"""The unified card: one person's whole record, with where and when each fact comes from."""

from __future__ import annotations

from dmed.modules.card.operations import OPERATIONS
from dmed.modules.card.pages import MENU, ROUTES
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="card",
    titles={"uz": "Yagona karta", "ru": "Единая карта", "en": "Unified card"},
    routes=ROUTES,
    menu=MENU,
    operations=OPERATIONS,
)
