"""The pharmacy's counter: claim a prescription, scan its packs, hand over, give back, undo."""

from __future__ import annotations

from dmed.modules.pharmacy import operations, pages, tables
from dmed.modules.pharmacy.pages import alerts as alert_pages
from dmed.modules.pharmacy.pages import journals as journal_pages
from dmed.modules.pharmacy.pages import receipts as receipt_pages
from dmed.modules.pharmacy.pages import stock as stock_pages
from dmed.modules.pharmacy.service import offline_store
from dmed.modules.pharmacy.tables import marking as marking_table
from dmed.modules.pharmacy.tables import prices, receipts, stock
from dmed.trust.manifest import Interceptor, Manifest

MODULE = Manifest(
    name="pharmacy",
    titles={"uz": "Dorixona", "ru": "Аптека", "en": "Pharmacy"},
    routes=(*pages.ROUTES, *stock_pages.ROUTES, *receipt_pages.ROUTES, *journal_pages.ROUTES,
            *alert_pages.ROUTES, *operations.OFFLINE_ROUTES),
    menu=(*pages.MENU, *stock_pages.MENU, *journal_pages.MENU, *alert_pages.MENU),
    interceptors=(
        Interceptor(type="MedicationDispense", on_create=operations.create_dispense),
    ),
    operations=operations.OPERATIONS,
    ddl=(*tables.DDL, *marking_table.DDL, *stock.DDL, *receipts.DDL, *prices.DDL,
         *offline_store.DDL),
    jobs=(("end-leases", operations.end_leases), ("define", operations.define),
          ("packs owed", operations.ask_owed)),
)
