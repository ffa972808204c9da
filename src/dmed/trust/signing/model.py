"""The port of signatures: who signs what, what comes of it, and why it is refused."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from dmed.kit.errors import UnprocessableError

CMS_FORMAT = "application/pkcs7-signature"
"""https://www.rfc-editor.org/rfc/rfc8551: a CMS SignedData, with or without its content."""
JWS_FORMAT = "application/jose"


class Reason(StrEnum):
    """Why a signature is refused."""

    MALFORMED = "malformed"
    NO_SIGNER = "no-signer"
    SEVERAL_SIGNERS = "several-signers"
    CHANGED = "changed"
    OTHER_DOCUMENT = "other-document"
    DOES_NOT_HOLD = "does-not-hold"
    WEAK = "weak"
    UNKNOWN_ALGORITHM = "unknown-algorithm"
    CHAIN = "chain"
    EXPIRED = "expired"
    REVOKED = "revoked"
    STATUS_UNKNOWN = "status-unknown"
    NO_STAMP = "no-stamp"
    TIME = "time"
    OTHER_PERSON = "other-person"
    OTHER_POST = "other-post"
    REPLAYED = "replayed"
    OPERATOR = "operator"


class SignatureError(UnprocessableError):
    """A signature that is not accepted; `reason` is the kind, the message one sentence."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence, "Provenance.signature")
        self.reason = reason


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Whose signature it must be: a member of staff in one post."""

    role: str
    """Id of the PractitionerRole."""
    name: str
    pinfl: str = ""
    """Personal number, by which the national certificate names him."""
    post: str = ""


class Part(msgspec.Struct, frozen=True):
    """One signature as it is kept: its format and its bytes."""

    format: str
    data: bytes


class Envelope(msgspec.Struct, frozen=True):
    """What a signer gives: his signatures over the same document, and what the operator said."""

    parts: tuple[Part, ...]
    operator: dict[str, str] = {}
    """Answer of the operator's service at the moment of signing: kept as proof under the seal."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the verification of an envelope established."""

    name: str
    """Name in the certificate."""
    serial: str
    """Number of the certificate, hexadecimal."""
    algorithm: str
    signed: datetime
    """When it was signed: the time stamp's moment, or the stated one where there is none."""
    stamped: datetime | None = None


class Verifier(Protocol):
    """Says whether an envelope is a holder's signature over exactly this document."""

    def verify(self, envelope: Envelope, document: bytes, holder: Holder) -> Proof:
        """The proof; SignatureError with the reason otherwise. Does no input or output."""


class Signer(Protocol):
    """Makes, or fetches and checks, the signature of a holder over a document."""

    @property
    def verifier(self) -> Verifier:
        """What judges its envelopes."""

    async def sign(self, document: bytes, holder: Holder, given: bytes) -> Envelope:
        """The envelope. `given` is what the holder's own program made, for signers outside."""
