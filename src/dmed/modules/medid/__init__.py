"""Person index and unified card: find and register a person, the card, facts for checks."""

from __future__ import annotations

from dmed.modules.medid import operations, pages, tables
from dmed.modules.medid.service import merge_door
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="medid",
    titles={"uz": "Shaxslar", "ru": "Лица", "en": "Persons"},
    routes=pages.ROUTES,
    menu=pages.MENU,
    operations=operations.OPERATIONS,
    ddl=tables.DDL,
    jobs=(("medid operations", merge_door.define),),
)
