"""The pharmacy's counter: claim a prescription, scan its packs, hand over, give back, undo."""

from __future__ import annotations

from dmed.modules.pharmacy import operations, pages, tables
from dmed.modules.pharmacy.service import offline_store
from dmed.trust.manifest import Interceptor, Manifest

MODULE = Manifest(
    name="pharmacy",
    titles={"uz": "Dorixona", "ru": "Аптека", "en": "Pharmacy"},
    routes=(*pages.ROUTES, *operations.OFFLINE_ROUTES),
    menu=pages.MENU,
    interceptors=(
        Interceptor(type="MedicationDispense", on_create=operations.create_dispense),
    ),
    operations=operations.OPERATIONS,
    ddl=(*tables.DDL, *offline_store.DDL),
    jobs=(("end-leases", operations.end_leases), ("define", operations.define)),
)
