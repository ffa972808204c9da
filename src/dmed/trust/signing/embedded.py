"""The embedded default of the port: the test authority signs for the demonstration's staff.

CMS detached with time stamp and revocation list, and a detached JWS, over the same canonical JSON.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from dmed.kit.settings import Settings
from dmed.trust.signing import certificates, cms, jose
from dmed.trust.signing.algorithms import P256Key
from dmed.trust.signing.authority import POST_ADDRESS, Authority
from dmed.trust.signing.certificates import Certificate
from dmed.trust.signing.model import (
    CMS_FORMAT,
    JWS_FORMAT,
    Envelope,
    Holder,
    Part,
    Proof,
    Reason,
    SignatureError,
    Verifier,
)

FOLDER = "signing-authority"


@lru_cache(maxsize=8)
def _opened(folder: Path) -> Authority:
    return Authority(folder)


def authority(settings: Settings) -> Authority:
    """The test authority of this installation, made on first use; read once a process."""
    return _opened(settings.data / "keys" / FOLDER)


class EmbeddedVerifier:
    """Verifies what the test authority's people signed."""

    def __init__(self, root: Certificate) -> None:
        self._roots = (root,)

    def verify(self, envelope: Envelope, document: bytes, holder: Holder) -> Proof:
        """See the port. Both forms must hold, by the same certificate, issued for this post."""
        signed = [part.data for part in envelope.parts if part.format == CMS_FORMAT]
        compact = [part.data for part in envelope.parts if part.format == JWS_FORMAT]
        if len(signed) != 1 or len(compact) != 1:
            raise SignatureError(Reason.NO_SIGNER, "A signature is one CMS and one JWS")
        message = cms.read(signed[0])
        proof = cms.verify(message, document, self._roots, stamp_roots=self._roots)
        mine = message.signer()
        check_holder(mine, holder)
        if POST_ADDRESS + holder.role not in mine.addresses:
            raise SignatureError(
                Reason.OTHER_POST,
                f"The certificate of {mine.name!r} was issued for another post than "
                f"PractitionerRole/{holder.role}",
            )
        _check_compact(compact[0], document, mine)
        return proof


def check_holder(mine: Certificate, holder: Holder) -> None:
    """SignatureError where the certificate names another person than who acts."""
    number = mine.names.get(certificates.PINFL, "")
    if number != holder.pinfl:
        raise SignatureError(
            Reason.OTHER_PERSON,
            f"The certificate is of {mine.name!r}, the act of {holder.name!r}: "
            "their personal numbers differ",
        )


def _check_compact(text: bytes, document: bytes, mine: Certificate) -> None:
    header, payload, signed, signature = jose.read(text, document)
    if payload != document:
        raise SignatureError(Reason.OTHER_DOCUMENT, "The JWS is over another document")
    if header.get("x5t#S256") != jose.encode(hashlib.sha256(mine.raw).digest()):
        raise SignatureError(Reason.OTHER_PERSON, "The JWS names another certificate than the CMS")
    key = load_der_public_key(mine.key.raw)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not jose.raw_holds(
        key, signed, signature
    ):
        raise SignatureError(
            Reason.DOES_NOT_HOLD, f"The JWS does not hold by the key of {mine.name!r}"
        )


class EmbeddedSigner:
    """Signs at once, in the name of the member of staff who acts."""

    def __init__(self, settings: Settings) -> None:
        self._authority = authority(settings)
        self.verifier: Verifier = EmbeddedVerifier(self._authority.root)

    async def sign(self, document: bytes, holder: Holder, given: bytes) -> Envelope:
        """The envelope, which its caller verifies like any other; `given` must be empty."""
        if given:
            raise SignatureError(
                Reason.MALFORMED, "This installation makes the signature itself; none is sent"
            )
        who = self._authority.person(holder)
        at = datetime.now(UTC).replace(microsecond=0)
        signed = cms.make(
            document, who, at, stamp=self._authority.stamp,
            lists=(self._authority.revocation_list(),),
        )  # fmt: skip  # One message.
        assert isinstance(who.key, P256Key)  # The embedded authority is on P-256.
        print_ = jose.encode(hashlib.sha256(who.certificate).digest())
        compact = jose.sign(who.key.key, document, {"x5t#S256": print_}, detached=True)
        return Envelope((Part(CMS_FORMAT, signed), Part(JWS_FORMAT, compact)))
