"""What other modules may call to have an act signed."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

from dmed.kit.settings import Settings
from dmed.modules.signing import service
from dmed.modules.signing.model import Given, Request, Right, Signed
from dmed.trust.model import Subject
from dmed.trust.signing import choice
from dmed.trust.signing.model import CMS_FORMAT, JWS_FORMAT, SignatureError
from dmed.trust.signing.model import Reason as Why

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

__all__ = [
    "CMS_FORMAT", "JWS_FORMAT", "Given", "Request", "Right", "SignatureError", "Signed",
    "Why", "document", "is_outside", "opened", "prepare", "read", "right", "sign", "use",
]  # fmt: skip  # A list of names reads better filled.


def is_outside(settings: Settings) -> bool:
    """Whether the person's own program signs, so that the document is shown first."""
    return choice.is_outside(settings)


async def right(gateway: Gateway, subject: Subject, act: str, day: date) -> Right:
    """That the subject may sign an act today (post active, licence in force, category of the
    post), with the proof; ForbiddenError with the reason in a sentence.
    """
    return await service.right(gateway, subject, act, day)


def document(act: str, given: Right, content: dict[str, Any], moment: str, nonce: str) -> bytes:
    """The canonical JSON of what is shown and signed, with the proof of the right to sign."""
    return service.document(act, given, content, moment, nonce)


def read(shown: bytes) -> dict[str, Any]:
    """The document as JSON."""
    found: dict[str, Any] = json.loads(shown)
    return found


async def prepare(gateway: Gateway, subject: Subject, act: str, shown: bytes) -> Request:
    """Keep a document that a person's own program will sign within a quarter of an hour."""
    return await service.prepare(gateway, subject, act, shown)


async def opened(gateway: Gateway, subject: Subject, act: str, given: Given) -> bytes:
    """The document that a given signature must be over; SignatureError where none waits."""
    return await service.opened(gateway, subject, act, given)


async def sign(
    gateway: Gateway, given: Right, shown: bytes, message: Given | None = None
) -> Signed:
    """The verified signature of a document; SignatureError with the reason otherwise."""
    return await service.sign(gateway, given, shown, message)


async def use(unit: GatewayUnit, subject: Subject, signed: Signed) -> None:
    """Bind a signature to the act of this transaction: its document is signed once."""
    await service.use(unit, subject, signed)
