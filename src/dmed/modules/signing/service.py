"""The use cases of signing: the right, the document, the verified signature."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from dmed.kit import clock, ids
from dmed.kit.errors import ForbiddenError
from dmed.kit.i18n import translator
from dmed.modules.signing import rules, tables
from dmed.modules.signing.model import Given, Request, Right, Signed
from dmed.modules.workforce import api as workforce
from dmed.trust.model import Role, Subject
from dmed.trust.signatures import canonical
from dmed.trust.signing import choice
from dmed.trust.signing.model import Reason, SignatureError

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit

REQUEST_LIVES = timedelta(minutes=15)


async def right(gateway: Gateway, subject: Subject, act: str, day: date) -> Right:
    """Reads the staff register anew; ForbiddenError with the reason in a sentence."""
    verdict = rules.may_sign(await workforce.licence_valid(gateway, subject, day), act)
    if not verdict.allowed or verdict.practitioner is None:
        speech = translator().speech("en")
        said = ". ".join(speech(reason.key, **reason.values) for reason in verdict.reasons)
        raise ForbiddenError(f"{subject.name or 'You'} may not sign today: {said}")
    return Right(verdict.practitioner)


def document(act: str, given: Right, content: dict[str, Any], moment: str, nonce: str) -> bytes:
    """The canonical JSON (RFC 8785) of what is shown and signed; the nonce is of one act only."""
    return canonical(
        {"act": act, "id": nonce, "at": moment, "signer": given.proof(), "content": content}
    )


async def prepare(gateway: Gateway, subject: Subject, act: str, shown: bytes) -> Request:
    """Keep a document for a signature outside, for a quarter of an hour."""
    id_ = ids.secret(128)
    async with gateway.unit(subject) as unit:
        await tables.insert(unit, id_, subject.user, act, shown)
    return Request(id_, shown)


async def opened(gateway: Gateway, subject: Subject, act: str, given: Given) -> bytes:
    """The document of a request; SignatureError where it is another's, another act's, or used."""
    async with gateway.unit(subject) as unit:
        kind, shown = await tables.document(
            unit, given.request, subject.user, clock.now() - REQUEST_LIVES
        )
    if not shown or kind != act:
        raise SignatureError(
            Reason.REPLAYED,
            "The signature is for no document that waits for yours: it was used before, is of "
            "another act, or took longer than a quarter of an hour",
        )
    return shown


async def sign(
    gateway: Gateway, given: Right, shown: bytes, message: Given | None = None
) -> Signed:
    """The signature of a document, verified; SignatureError says why there is none."""
    signer = choice.signer(gateway.settings)
    envelope = await signer.sign(shown, given.holder, message.message if message else b"")
    proof = signer.verifier.verify(envelope, shown, given.holder)
    if abs(clock.now() - proof.signed) > REQUEST_LIVES:
        raise SignatureError(
            Reason.TIME, f"The signature is of {proof.signed:%d.%m.%Y %H:%M} UTC, not of now"
        )
    return Signed(shown, envelope, proof, gateway.settings.signer,
                  message.request if message else "")  # fmt: skip  # One value.


async def use(unit: GatewayUnit, subject: Subject, signed: Signed) -> None:
    """Use the request of a signature up, in the transaction of its act; SignatureError if it was
    used meanwhile.
    """
    if signed.request and not await tables.use(unit, signed.request, subject.user):
        raise SignatureError(Reason.REPLAYED, "The signature was used for another act meanwhile")


async def forget(gateway: Gateway) -> None:
    """Drop documents that nobody signed."""
    platform = Subject(user="platform", role=Role.SERVICE, purpose="HSYSADMIN")
    async with gateway.unit(platform) as unit:
        await tables.forget(unit, clock.now() - REQUEST_LIVES)
