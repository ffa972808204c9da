"""Signing: who may sign which act, the document that is shown, and the published seal keys."""

from __future__ import annotations

from dmed.modules.signing import pages, service, tables
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="signing",
    titles={"uz": "Imzolar", "ru": "Подписи", "en": "Signatures"},
    routes=pages.ROUTES,
    ddl=tables.DDL,
    jobs=(("forget-requests", service.forget),),
)
