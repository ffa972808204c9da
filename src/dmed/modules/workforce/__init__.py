"""Register of staff: practitioners, posts with rates, certificates, orders, norms and activity."""

from __future__ import annotations

from dmed.modules.workforce.pages import MENU, ROUTES
from dmed.modules.workforce.service import jobs
from dmed.modules.workforce.tables import DDL
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="workforce",
    titles={"uz": "Xodimlar", "ru": "Персонал", "en": "Staff"},
    routes=ROUTES,
    menu=MENU,
    ddl=DDL,
    jobs=(("staff orders", jobs.carry_out), ("staff lists", jobs.follow)),
)
