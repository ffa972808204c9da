"""The slip of the counter: what a person got, what it cost and who pays which part."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from dmed.kit import pdf
from dmed.kit.errors import NotFoundError
from dmed.kit.i18n import Speech, translator
from dmed.modules.facilities import api as facilities
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.model import Handover
from dmed.modules.pharmacy.service import views
from dmed.modules.pharmacy.service.counter import pharmacy_of
from dmed.modules.prescriptions import api as prescriptions
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_TEMPLATE = pdf.PACKAGE / "modules" / "pharmacy" / "data" / "print" / "receipt.typ"
_TEXTS = ("title", "prescription", "patient", "total", "fund", "patient_pays", "note")


async def receipt_pdf(gateway: Gateway, subject: Subject, number: str, language: str) -> bytes:
    """What this pharmacy handed over of a prescription and did not take back, as PDF (A6); the
    print is noted in the audit. NotFoundError where it handed nothing over.
    """
    place = await facilities.organisation(gateway, subject, pharmacy_of(subject))
    claim = await views.own_claim(gateway, subject, number)
    handed = [one for one in claim.handed if one.status == "completed"]
    if not handed:
        raise NotFoundError("This pharmacy handed nothing over of this prescription")
    t = translator().speech(language)
    known = [one for one in handed if one.total is not None]
    total = sum((one.total or Decimal(0) for one in known), Decimal(0))
    fund = sum((one.fund or Decimal(0) for one in known), Decimal(0))
    found, last = claim.prescription, max(one.at for one in handed)
    dosage = {item.number: item.dosage for item in found.items}
    made = pdf.render(_TEMPLATE, {
        "texts": {name: t(f"pharmacy.receipt.{name}") for name in _TEXTS},
        "pharmacy": place.names.get(language) or t.script(place.name),
        "pharmacy_line": _place_line(place, t),
        "number": prescriptions.show_number(found.number),
        "at": f"{t.date(last)} {t.time(last)}",
        "patient": t.name(found.patient_name),
        "lines": [_line(one, dosage.get(one.item, {}), t) for one in handed],
        "total": said(t, total if known else None),
        "fund": said(t, fund) if fund else "",
        "patient_pays": said(t, total - fund if known else None),
    }, paper="a6")  # fmt: skip  # Facts of one slip.
    await gateway.note(
        subject, "R", f"print what was handed over of {found.number}", patient=found.patient)
    return made


def said(t: Speech, value: Decimal | None) -> str:
    """A sum in so'm; a dash for one that is not known. Pure."""
    return "—" if value is None else t("pharmacy.price.sum", sum=t.number(value, 2))


def _line(one: Handover, dosage: dict[str, str], t: Speech) -> dict[str, str]:
    pack = one.packs[0]
    unit = t.script(medicines.unit_name(one.unit, t.language))
    parts = [pack.trade, pack.serial, pack.lot, t.date(pack.expiry)]
    return {
        "label": t.script(one.label.get(t.language) or one.label["uz"]),
        "pack": " · ".join(part for part in parts if part),
        "dosage": t.script(dosage.get(t.language) or dosage.get("uz", "")),
        "quantity": f"{t.number(one.quantity.normalize())} {unit}",
        "price": "" if pack.price is None else t(
            "pharmacy.receipt.pack_price", sum=t.number(pack.price, 2)),
        "total": said(t, one.total),
    }  # fmt: skip  # Facts of one line.


def _place_line(place: facilities.OrganisationFacts, t: Speech) -> str:
    parts = [t.script(place.address)]
    if place.tax_id:
        parts.append(t("prescriptions.slip.tax", number=place.tax_id))
    return " · ".join(part for part in parts if part)
