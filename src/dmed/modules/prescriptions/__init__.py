"""Prescriptions: drafted, checked, signed with one key, printed with a QR code, corrected,
cancelled, repeated. The state machine of the items is `rules.states`.
"""

from __future__ import annotations

from dmed.modules.prescriptions import operations, pages, tables
from dmed.modules.prescriptions.pages import offline, outside, paper
from dmed.modules.prescriptions.service import offline_store
from dmed.trust.manifest import Interceptor, Manifest

MODULE = Manifest(
    name="prescriptions",
    titles={"uz": "Retseptlar", "ru": "Рецепты", "en": "Prescriptions"},
    routes=pages.ROUTES,
    menu=(*paper.MENU, *offline.MENU, *outside.MENU),
    interceptors=(
        Interceptor(type="MedicationRequest", on_create=operations.create_request),
    ),
    operations=operations.OPERATIONS,
    ddl=(*tables.DDL, *offline_store.DDL),
    jobs=(
        ("expire", operations.expire),
        ("start", operations.start),
        ("define", operations.define),
        ("forget-drafts", operations.forget_drafts),
    ),
)
