"""The reader: what a FHIR address answers, as a page for people.

A browser that opens an address below /fhir gets this module's page instead of JSON: the page asks
the same address of the FHIR room, with the reader's own rights and audit, and shows the answer.
"""

from __future__ import annotations

from dmed.modules.reader.pages import MENU, ROUTES
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="reader",
    titles={"uz": "Yozuvlar", "ru": "Записи", "en": "Records"},
    routes=ROUTES,
    menu=MENU,
)
