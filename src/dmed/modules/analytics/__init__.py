"""Indicators of prescribing, counted live: the doctor's own first, then the head, the inspector.

Flags of what stands out are told to the prescriber before anybody else, and become cases.
"""

from __future__ import annotations

from dmed.modules.analytics.pages import MENU, ROUTES
from dmed.modules.analytics.service.figures import keep
from dmed.modules.analytics.tables import DDL
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="analytics",
    titles={"uz": "Ko‘rsatkichlar", "ru": "Показатели", "en": "Indicators"},
    routes=ROUTES,
    menu=MENU,
    ddl=DDL,
    jobs=(("prescribing indicators", keep),),
)
