"""Use cases of print: the wristband, which shows the MED-ID and never the PINFL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from dmed.kit import i18n, pdf, qr
from dmed.kit.errors import UnprocessableError
from dmed.modules.medid import rules
from dmed.modules.medid.rules import reading
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_BAND = Path(__file__).resolve().parent.parent / "templates" / "wristband.typ"


async def wristband_pdf(
    gateway: Gateway, subject: Subject, patient_id: str, language: str
) -> bytes:
    """The band of a person, 25 x 250 mm: name, birth date, sex and MED-ID with its code twice.

    UnprocessableError for a card without MED-ID or one that is not active.
    """
    patient = await gateway.get(subject, "Patient", patient_id)
    speech = i18n.translator().speech(language)
    med_id, _ = reading.identifier(patient, rules.MED_ID_SYSTEM)
    if not med_id or patient.get("active") is False:
        raise UnprocessableError("a wristband is printed for an active card with a MED-ID",
                                 "Patient.identifier")
    born = patient.get("birthDate", "")
    about = [speech.date(born) if born else "",
             speech(f"medid.sex.{patient.get('gender', 'unknown')}")]
    await gateway.note(subject, "E", "wristband printed", patient=patient_id)
    return await asyncio.to_thread(pdf.render, _BAND, {
        "name": speech.script(reading.name_for(patient, language)),
        "about": " · ".join(part for part in about if part),
        "med_id": rules.show_med_id(med_id), "qr": qr.svg(med_id),
        "heading": speech.script(subject.organisation_name), "note": "MED-ID"})
