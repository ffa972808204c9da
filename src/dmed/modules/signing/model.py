"""Documents that are signed, and what a signature leaves behind."""

from __future__ import annotations

from typing import Any

import msgspec

from dmed.modules.workforce.api import PractitionerFacts
from dmed.trust.signing.model import Envelope, Holder, Proof


class Given(msgspec.Struct, frozen=True):
    """What a person's own program signed: the request that showed the document, and its PKCS#7."""

    request: str
    message: bytes


class Request(msgspec.Struct, frozen=True):
    """A document that waits for its signature outside."""

    id: str
    document: bytes


class Right(msgspec.Struct, frozen=True):
    """That somebody may sign an act today, with the proof out of the staff register."""

    practitioner: PractitionerFacts

    @property
    def holder(self) -> Holder:
        """Whose signature it must be."""
        found = self.practitioner
        return Holder(role=found.role_id, name=found.name, pinfl=found.pinfl, post=found.post)

    def proof(self) -> dict[str, Any]:
        """Post, its version and the licence, as the document keeps them."""
        found = self.practitioner
        licence = found.licences[0]
        return {
            "name": found.name,
            "post": {"role": f"PractitionerRole/{found.role_id}", "version": found.role_version,
                     "code": found.post_code, "organisation": f"Organization/{found.organisation}"},
            "person": {"practitioner": f"Practitioner/{found.id}", "version": found.version},
            "licence": {
                "number": licence.number,
                "from": licence.valid_from.isoformat() if licence.valid_from else "",
                "until": licence.valid_until.isoformat() if licence.valid_until else "",
            },
        }  # fmt: skip  # Nested as it is kept.


class Signed(msgspec.Struct, frozen=True):
    """A verified signature over a document: what the record of the act keeps."""

    document: bytes
    envelope: Envelope
    proof: Proof
    made_by: str
    """`embedded` or `eimzo`."""
    request: str = ""
    """The request that is used up by this act, "" where the platform signed at once."""
