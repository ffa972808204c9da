"""What the counter's FHIR operations on the Task of an item take and give."""

from __future__ import annotations

from dmed.modules.pharmacy.model import NOT_DISPENSED_REASONS, RETURN_REASONS
from dmed.modules.prescriptions.api import Input

_TASK = Input("task", "Task", "The item as it stands now.", is_required=True)
CODE = Input("code", text="The access code, or its first eight signs as printed under the QR code.",
             is_required=True)  # fmt: skip  # One parameter.
PACK = Input(
    "pack",
    text="A pack that is handed over.",
    is_required=True,
    is_list=True,
    parts=(
        Input("marking", text="The text of its GS1 DataMatrix.", is_required=True),
        Input("quantity", "decimal", "Units of presentation taken from it; empty: what is needed."),
        Input("lot", text="As printed on it."),
        Input("expiry", "date", "As printed on it."),
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
OPERATIONS = (
    ("claim", "Take an item of a prescription to this pharmacy", CLAIM, CLAIMED),
    ("dispense", "Check packs and hand them over", DISPENSE, DISPENSED),
    ("return", "Give a held item back for any pharmacy", RETURN, RETURNED),
    ("close", "End an item without its rest, or say that it is not dispensed", CLOSE, RETURNED),
    ("undo", "Take a hand-over back", UNDO, RETURNED),
    ("answer-cancel", "Answer the prescriber's wish to cancel", ANSWER, RETURNED),
)
"""Name, title, parameters in and out."""
