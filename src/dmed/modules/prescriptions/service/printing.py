"""The slip for the patient and its QR code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmed.kit import clock, pdf, qr
from dmed.kit.errors import ForbiddenError
from dmed.kit.i18n import Speech, translator
from dmed.modules.facilities import api as facilities
from dmed.modules.medicines import api as medicines
from dmed.modules.prescriptions.model import ITEMS_MAX, Item, ItemState, Prescription
from dmed.modules.prescriptions.rules import courses, numbers, tokens
from dmed.modules.prescriptions.rules.offline import token_key
from dmed.modules.prescriptions.service import diagnoses, paper_forms, signing, views
from dmed.modules.prescriptions.service.keys import Keys, keys
from dmed.trust.model import Role, Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_TEMPLATE = pdf.PACKAGE / "modules" / "prescriptions" / "data" / "print" / "slip.typ"
_BLANK = _TEMPLATE.with_name("blank.typ")
_BLANK_TEXTS = ("blank_title", "blank_note", "medicine", "course", "reason", "signed", "code",
                "patient", "birth_date", "pinfl", "diagnosis", "quantity", "doctor",
                "signature")  # fmt: skip  # One list.
_TEXTS = (
    "title",
    "signed",
    "valid_until",
    "code",
    "patient",
    "birth_date",
    "pinfl",
    "diagnosis",
    "quantity",
    "doctor",
    "signature",
    "trustee",
    "commission",
    "note",
)


def token_of(found: Prescription, patient: dict[str, Any], secrets: Keys) -> str:
    """The signed token of a prescription, base45; "" when an item names nothing of the register."""
    items = []
    if len(found.items) > ITEMS_MAX:
        return ""  # A commission's long list does not fit in a QR code: it goes online.
    for item in found.items:
        if not item.preparation:
            return ""
        amount = courses.whole(item.quantity)
        items.append(tokens.TokenItem(
            *token_key(medicines.preparation(item.preparation)),
            int(amount) if amount == amount.to_integral_value() else str(amount),
        ))  # fmt: skip  # Four parts of an item.
    born = str(patient.get("birthDate", ""))[:4]
    token = tokens.Token(
        number=int(found.number),
        signed_day=tokens.day_number(found.signed.date()),
        valid_day=tokens.day_number(found.valid_until),
        prescriber_key=secrets.number,
        person=tokens.opaque(secrets.codes, found.patient),
        initials=views.initials_of(patient),
        birth_year=int(born) if born.isdigit() else 0,
        items=tuple(items),
    )
    return tokens.sign(token, secrets.private)


def require_issuer(subject: Subject, found: Prescription) -> None:
    """The code leaves the platform on paper of the prescribing organisation only: a pharmacist,
    who must be shown it, cannot look it up.
    """
    is_own = subject.practitioner_role == found.prescriber  # A history names no organisation.
    is_here = bool(found.organisation) and subject.organisation == found.organisation
    if subject.role is not Role.DOCTOR or not (is_here or is_own):
        raise ForbiddenError("Only a doctor of the prescribing organisation may print the code")


async def qr_text(gateway: Gateway, subject: Subject, number: str) -> str:
    """The text in the QR code: number, access code, signed token."""
    found = await views.prescription(gateway, subject, number)
    require_issuer(subject, found)
    patient = await views.patient_of(gateway, subject, found.patient)
    return _text(gateway, found, patient)


def _text(gateway: Gateway, found: Prescription, patient: dict[str, Any]) -> str:
    secrets = keys(gateway.settings)
    code = numbers.make_code(secrets.codes, found.number)
    return numbers.write_qr(found.number, code, token_of(found, patient, secrets))


async def slip_pdf(
    gateway: Gateway, subject: Subject, number: str, language: str, paper: str
) -> bytes:
    """The slip as PDF; the print is noted in the audit."""
    found = await views.prescription(gateway, subject, number)
    require_issuer(subject, found)
    patient = await views.patient_of(gateway, subject, found.patient)
    place = None
    if found.organisation:
        place = await facilities.organisation(gateway, subject, found.organisation)
    speech = translator().speech(language)
    code = numbers.make_code(keys(gateway.settings).codes, found.number)
    data = {
        "texts": {name: speech(f"prescriptions.slip.{name}") for name in _TEXTS},
        "organisation": _place_name(place, found, speech),
        "organisation_line": _place_line(place, speech),
        "number": numbers.show_number(found.number),
        "signed": speech.date(found.signed),
        "valid_until": speech.date(found.valid_until),
        "qr": qr.svg(_text(gateway, found, patient)),
        "code": numbers.show_code(code),
        "state": "" if found.is_open else _state(found.items[0].state, speech),
        "patient": speech.script(found.patient_name),
        "birth_date": speech.date(found.patient_birth_date),
        "pinfl": views.pinfl_of(patient),
        "diagnosis": _diagnosis(found.diagnosis, speech),
        "items": [_line(item, speech) for item in found.items],
        "doctor": speech.script(found.prescriber_name),
        "signature": _confirmed(found, speech),
        "commission": speech.script(found.commission),
        "trustee": speech.script(found.trustee),
    }
    made = pdf.render(_TEMPLATE, data, paper=paper)
    await gateway.note(subject, "R", f"print prescription {found.number}", patient=found.patient)
    return made


def _confirmed(found: Prescription, speech: Speech) -> str:
    moment = speech.date(found.signed) + " " + speech.time(found.signed)
    told = "paper_from" if found.paper else "signed_by_platform"
    return speech(f"prescriptions.slip.{told}", moment=moment)


async def new_forms(gateway: Gateway, subject: Subject, count: int) -> list[str]:
    """Numbers for blank forms; only who may sign today gets some."""
    who = await signing.signer(gateway, subject, clock.now())
    return await paper_forms.allocate(gateway, subject, count, who.organisation.region)


async def forms_pdf(gateway: Gateway, subject: Subject, language: str) -> bytes:
    """Every blank form of the doctor, a page each."""
    who = await signing.signer(gateway, subject, clock.now())
    speech = translator().speech(language)
    secrets = keys(gateway.settings)
    pages = []
    for form in await paper_forms.blank(gateway, subject):
        code = numbers.make_code(secrets.codes, form.number)
        pages.append({
            "number": numbers.show_number(form.number), "code": numbers.show_code(code),
            "qr": qr.svg(numbers.write_qr(form.number, code, "")),
        })  # fmt: skip  # One form.
    data = {
        "texts": {name: speech(f"prescriptions.slip.{name}") for name in _BLANK_TEXTS},
        "organisation": who.organisation.names.get(language) or speech.script(
            who.organisation.name),
        "organisation_line": _place_line(who.organisation, speech),
        "doctor": speech.script(who.name),
        "items": ITEMS_MAX,
        "pages": pages,
    }
    made = pdf.render(_BLANK, data, paper="a5")
    await gateway.note(subject, "R", f"print {len(pages)} blank prescription forms")
    return made


def _place_name(
    place: facilities.OrganisationFacts | None, found: Prescription, speech: Speech
) -> str:
    if place is None:
        return speech.script(found.organisation_name)
    return place.names.get(speech.language) or speech.script(place.name)


def _place_line(place: facilities.OrganisationFacts | None, speech: Speech) -> str:
    """Address, tax number and, for those who need one, the licence."""
    if place is None:
        return ""
    parts = [speech.script(place.address)]
    if place.tax_id:
        parts.append(speech("prescriptions.slip.tax", number=place.tax_id))
    if place.licence_number:
        parts.append(speech(
            "prescriptions.slip.licence", number=place.licence_number,
            since=speech.date(place.licence_from), until=speech.date(place.licence_until),
        ))  # fmt: skip  # One sentence.
    return " · ".join(part for part in parts if part)


def _diagnosis(code: str, speech: Speech) -> str:
    known = diagnoses.entries().get(code)
    return f"{code} {speech.script(known.name(speech.language))}" if known else code


def _state(state: ItemState, speech: Speech) -> str:
    return speech(f"prescriptions.state.{state.value}")


def _note(item: Item, speech: Speech) -> str:
    """The doctor's words, how often it is handed over, and a later first day."""
    told = [speech.script(item.note)]
    if item.unregistered is not None:
        told.append(speech("prescriptions.unregistered.says", number=item.unregistered.decision))
    if item.instances > 1:
        told.append(speech("prescriptions.repeat.whole", instances=str(item.instances)))
    if item.state is ItemState.FUTURE and item.starts:
        told.append(speech("prescriptions.repeat.from", date=speech.date(item.starts)))
    return ". ".join(text for text in told if text)


def _route(item: Item) -> str:
    if item.unregistered is not None:
        form = medicines.forms().get(item.unregistered.form)
        return form.route if form else ""
    return medicines.preparation(item.preparation).form.route if item.preparation else ""


def _line(item: Item, speech: Speech) -> dict[str, str]:
    language = speech.language if speech.language in item.label else "uz"
    unit = medicines.unit_name(item.unit, language)
    is_open = item.status == "active"
    route = _route(item)
    return {
        "number": str(item.number),
        "label": speech.script(item.label[language]),
        "dosage": speech.script(item.dosage[language]),
        "route": speech(f"prescriptions.route.{route}") if route else "",
        "note": _note(item, speech),
        "state": "" if is_open else _state(item.state, speech),
        "quantity": f"{speech.number(courses.whole(item.quantity))} {speech.script(unit)}",
    }
