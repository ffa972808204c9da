"""Decision support for the systems of others: the checks of our own screen as a CDS Hooks 2.0
server, and how well the alerts work. https://cds-hooks.hl7.org/2.0/
"""

from __future__ import annotations

from dmed.modules.hooks import operations, pages
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="hooks",
    titles={
        "uz": "Qarorlarni qo‘llab-quvvatlash",
        "ru": "Поддержка решений",
        "en": "Decision support",
    },
    routes=(*operations.ROUTES, *pages.ROUTES),
    menu=pages.MENU,
    operations=operations.OPERATIONS,
)
