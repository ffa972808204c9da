"""Institutions, pharmacies, departments, beds, services, equipment and licences: one tree."""

from __future__ import annotations

from dmed.modules.facilities.operations import OPERATIONS
from dmed.modules.facilities.pages import MENU, ROUTES
from dmed.modules.facilities.service.keeping import check_tree
from dmed.modules.facilities.tables import DDL
from dmed.trust.manifest import Keeper, Manifest

MODULE = Manifest(
    name="facilities",
    titles={"uz": "Muassasalar", "ru": "Учреждения", "en": "Institutions"},
    routes=ROUTES,
    menu=MENU,
    operations=OPERATIONS,
    keepers=(Keeper(type="Organization", check=check_tree),
             Keeper(type="Location", check=check_tree)),
    ddl=DDL,
)
