"""The way in and the first look: sign-in of people and apps, language, "my work today", the one
search box.
"""

from __future__ import annotations

from dmed.modules.access import operations
from dmed.modules.access.pages import MENU, ROUTES
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="access",
    titles={"uz": "Kirish", "ru": "Вход", "en": "Access"},
    routes=(*ROUTES, *operations.ROUTES),
    menu=MENU,
)
