"""What the counter's FHIR operations on the Task of an item take and give."""

from __future__ import annotations

import msgspec

from dmed.modules.medicines.api import Product
from dmed.modules.pharmacy.model import (
    CHANGES,
    LOOKUP_REASONS,
    NOT_DISPENSED_REASONS,
    RETURN_REASONS,
    PackVerdict,
)
from dmed.modules.prescriptions.api import OVERRIDE_REASONS, Input, Reason

_TASK = Input("task", "Task", "The item as it stands now.", is_required=True)
CODE = Input("code", text="The access code, or its first eight signs as printed under the QR code.",
             is_required=True)  # fmt: skip  # One parameter.
PACK = Input(
    "pack",
    text="A pack that is handed over.",
    is_required=True,
    is_list=True,
    parts=(
        Input("marking", text="The text of its GS1 DataMatrix; a pack outside the register has "
              "none and tells quantity, batch and expiry."),
        Input("quantity", "decimal", "Units of presentation taken from it; empty: what is needed."),
        Input("lot", text="As printed on it."),
        Input("expiry", "date", "As printed on it."),
        Input("price", "decimal", "Of the whole pack, in so'm; empty: as the pharmacy keeps it."),
        Input("trade", text="The name on a pack outside the register."),
    ),
)
CLAIM = (CODE,)
CLAIMED = (
    _TASK,
    Input("request", "MedicationRequest", "What was prescribed.", is_required=True),
    Input("secret", text="Of this lease; the same again for the same pharmacy.", is_required=True),
)
SCANNED = (
    Input("text", text="What the scanner read from the QR code, or the number.",
          is_required=True),
    Input("code", text="With the number alone: the code under the QR code, eight signs."),
)  # fmt: skip  # One parameter a thought.
TAKEN = (
    Input("number", text="Thirteen digits.", is_required=True),
    Input(
        "item",
        text="An item that is held here now.",
        is_required=True,
        is_list=True,
        parts=(
            Input("task", "Task", is_required=True),
            Input("request", "MedicationRequest", is_required=True),
            Input("secret", text="Of this lease.", is_required=True),
        ),
    ),
)
DISPENSE = (
    PACK,
    Input("receiver", text="Who collected it, if not the patient."),
    Input("releaseRest", "boolean", "Whether any pharmacy may hand over the rest."),
)
DISPENSED = (_TASK, Input("dispense", "Reference", "MedicationDispense, one a pack.", is_list=True))
RETURN = (Input("reason", "code", f"One of: {', '.join(RETURN_REASONS)}."),)
CLOSE = (
    Input("reason", "code", f"One of: {', '.join(NOT_DISPENSED_REASONS)}.", is_required=True),
    Input("final", "boolean", "Nothing was handed over and it is refused for good."),
)
UNDO = (Input("dispense", "Reference", "The MedicationDispense to take back.", is_required=True),)
ANSWER = (Input("accept", "boolean", "Whether the cancellation is accepted.", is_required=True),)
RETURNED = (_TASK,)
PROPOSE = (
    Input("kind", "code", f"One of: {', '.join(CHANGES)}.", is_required=True),
    Input("preparation", text="Key of the preparation with another strength or form."),
    Input("product", text="Key of the product, for a change of the trade name."),
    Input("quantity", "decimal", "Units of presentation; empty: as it was prescribed."),
    Input("text", text="Why, in words.", is_required=True),
)
ANSWER_CHANGE = (
    Input("approve", "boolean", "Whether the doctor signs the change.", is_required=True),
    Input("text", text="Why not, in words."),
    Input("override", text="A coded reason that leads past an alert.", is_list=True, parts=(
        Input("rule", text="Id of the alert's rule.", is_required=True),
        Input("reason", "code", f"One of: {', '.join(OVERRIDE_REASONS)}.", is_required=True),
    )),
)  # fmt: skip  # Three parameters.
PROPOSED = (_TASK, Input("proposal", "Task", "What the doctor is asked.", is_required=True))
ANSWERED = (
    _TASK,
    Input("proposal", "Task", "The question with its answer.", is_required=True),
    Input("number", text="Of the new prescription, where it was approved."),
)
FIND = (Input("pinfl", text="Fourteen digits.", is_required=True),)
FOUND = (
    Input("lookup", text="Names this question for a quarter of an hour.", is_required=True),
    Input("sent", "boolean", "Whether a code went to the patient.", is_required=True),
)
OPEN = (
    Input("lookup", is_required=True),
    Input("code", text="What the patient reads out: six digits."),
    Input("reason", "code", f"Without a code, one of: {', '.join(LOOKUP_REASONS)}."),
    Input("text", text="The reason in words; the patient reads it."),
)
OPENED = (Input("prescription", text="That may be handed over.", is_list=True, parts=(
    Input("number", is_required=True),
    Input("signed", "date", is_required=True),
    Input("prescriber", text="The institution."),
    Input("item", text="Medicine and quantity.", is_list=True),
)),)  # fmt: skip  # One list.
CLAIM_FOUND = (Input("lookup", is_required=True), Input("number", is_required=True))


def as_named(verdict: PackVerdict, named: str, product: Product) -> PackVerdict:
    """A green verdict stays so where the INN was prescribed, or this very product."""
    if not named or product.key == named:
        return verdict
    return msgspec.structs.replace(
        verdict, ok=False, reason=Reason("pharmacy.verdict.other_trade", {"trade": product.trade}),
        sentence=f"The doctor prescribed one trade name; {product.trade} is another: propose a "
        "change to him", advice=None, fault="prescription", is_quarantine=False,
    )  # fmt: skip  # One verdict.


OPERATIONS = (
    ("claim", "Take an item of a prescription to this pharmacy", CLAIM, CLAIMED),
    ("dispense", "Check packs and hand them over", DISPENSE, DISPENSED),
    ("return", "Give a held item back for any pharmacy", RETURN, RETURNED),
    ("close", "End an item without its rest, or say that it is not dispensed", CLOSE, RETURNED),
    ("undo", "Take a hand-over back", UNDO, RETURNED),
    ("answer-cancel", "Answer the prescriber's wish to cancel", ANSWER, RETURNED),
)
"""Name, title, parameters in and out."""
