"""Breaking the glass: records of a person without care relationship, with a reason, for hours.

Who does it gives a reason in code and words; the person is told at once, an administrator reviews
it. Beside it the page and the operation that explain why a request was allowed or refused.
"""

from __future__ import annotations

from dmed.modules.glass import operations, pages, tables
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="glass",
    titles={"uz": "Shoshilinch ochish", "ru": "Экстренный доступ", "en": "Emergency access"},
    routes=pages.ROUTES,
    menu=pages.MENU,
    operations=operations.OPERATIONS,
    ddl=tables.DDL,
)
