"""Who looked at whose record: the person's page with disputes, and the review of what is unusual.

Bulk reading that two people answer for, and canary persons whom nobody has a reason to read.
"""

from __future__ import annotations

from dmed.modules.oversight.pages import MENU, ROUTES
from dmed.modules.oversight.service import look_through
from dmed.modules.oversight.tables import DDL
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="oversight",
    titles={"uz": "Nazorat", "ru": "Надзор", "en": "Oversight"},
    routes=ROUTES,
    menu=MENU,
    ddl=DDL,
    jobs=(("unusual access", look_through),),
)
