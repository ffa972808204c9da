"""Systems of others: the developers' page, sandboxes, the conformance check, and going live."""

from __future__ import annotations

from dmed.modules.developers import operations, pages
from dmed.modules.developers.tables import DDL
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="developers",
    titles={"uz": "Dasturchilarga", "ru": "Разработчикам", "en": "Developers"},
    routes=(*pages.ROUTES, *operations.ROUTES),
    menu=pages.MENU,
    ddl=DDL,
)
