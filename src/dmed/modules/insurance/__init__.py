"""Claims for dispensed insured items to the State Health Insurance Fund, and its answers.

Sent until answered, under one key each, so that nothing is paid twice; compared every night.
"""

from __future__ import annotations

from dmed.modules.insurance.pages import MENU, ROUTES
from dmed.modules.insurance.service import keep
from dmed.modules.insurance.tables import DDL
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="insurance",
    titles={"uz": "Sug‘urta", "ru": "Страхование", "en": "Insurance"},
    routes=ROUTES,
    menu=MENU,
    ddl=DDL,
    jobs=(("claims to the fund", keep),),
)
