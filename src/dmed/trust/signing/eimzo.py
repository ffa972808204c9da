"""The national signature behind the port: E-IMZO's PKCS#7, verified here and by the operator.

The person's own program makes the message (attached or detached, BER); the operator's service
(e-imzo-server) stamps it and tells of revocation; our own verification of chain, person and
document decides as well. Both must agree. docs/reference/signatures.md
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dmed.kit import outgoing
from dmed.kit.errors import DmedError, UnavailableError
from dmed.kit.settings import Settings
from dmed.trust.signing import certificates, cms, ocsp
from dmed.trust.signing.certificates import Certificate
from dmed.trust.signing.embedded import check_holder
from dmed.trust.signing.model import (
    CMS_FORMAT,
    Envelope,
    Holder,
    Part,
    Proof,
    Reason,
    SignatureError,
    Verifier,
)

ANSWER_MAX_BYTES = 512 * 1024
TIMEOUT_SECONDS = 10
_ACCEPTED = 1
Answer = TypeVar("Answer")


class _Signer(msgspec.Struct, rename="camel"):
    """What the operator says of one signer; what it does not say counts as no."""

    verified: bool = False
    certificate_verified: bool = False
    certificate_valid_at_signing_time: bool = False
    revoked_status_info: Any = None
    exception: str | None = None
    ocsp_response: str | None = msgspec.field(name="OCSPResponse", default=None)


class _Info(msgspec.Struct, rename="camel"):
    signers: list[_Signer] = []


class _Verdict(msgspec.Struct, rename="camel"):
    status: int
    message: str = ""
    pkcs7_info: _Info | None = None


class _Stamped(msgspec.Struct):
    status: int
    message: str = ""
    pkcs7b64: str = ""


class Operator(Protocol):
    """The operator's verification service."""

    async def stamp(self, message: bytes) -> bytes:
        """The message with a time stamp; UnavailableError where the service does not do it."""

    async def check(self, message: bytes, document: bytes) -> dict[str, str]:
        """What the service says, as proof to keep; SignatureError where it says no."""


class HttpOperator:
    """The service over HTTP, as e-imzo-server speaks it: Base64 in, JSON out."""

    def __init__(self, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise DmedError("DMED_EIMZO_URL names no service (http or https)")
        self._is_secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._timeout = timeout_seconds

    async def stamp(self, message: bytes) -> bytes:
        """See the port."""
        answer = await self._ask("/frontend/timestamp/pkcs7", base64.b64encode(message), _Stamped)
        if answer.status != _ACCEPTED:
            raise UnavailableError(
                f"The operator gave no time stamp ({answer.message[:200]}): nothing was signed"
            )
        try:
            return base64.b64decode(answer.pkcs7b64, validate=True)
        except ValueError as error:
            raise _nonsense() from error

    async def check(self, message: bytes, document: bytes) -> dict[str, str]:
        """See the port."""
        body = base64.b64encode(message)
        path = "/backend/pkcs7/verify/attached"
        if cms.read(message).content is None:
            path = "/backend/pkcs7/verify/detached"
            body = base64.b64encode(document) + b"|" + body
        answer = await self._ask(path, body, _Verdict)
        if answer.status != _ACCEPTED:
            raise SignatureError(
                Reason.OPERATOR, f"The operator refuses the signature: {answer.message[:200]}"
            )
        signers = answer.pkcs7_info.signers if answer.pkcs7_info else []
        if len(signers) != 1:
            raise SignatureError(
                Reason.SEVERAL_SIGNERS, f"The operator found {len(signers)} signers, not one"
            )
        _check_said(signers[0])
        return {"checked": datetime.now(UTC).isoformat(timespec="seconds"), "verified": "true",
                "ocsp": (signers[0].ocsp_response or "")[:20_000]}  # fmt: skip  # One answer.

    async def _ask(self, path: str, body: bytes, kind: type[Answer]) -> Answer:
        raw = await asyncio.to_thread(self._posted, self._base + path, body)
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError as error:
            raise _nonsense() from error

    def _posted(self, path: str, body: bytes) -> bytes:
        connection = outgoing.connection(
            "https" if self._is_secure else "http", self._host or "", self._port, self._timeout
        )
        with contextlib.closing(connection):
            try:
                connection.request("POST", path, body, {"Content-Type": "text/plain"})
                answer = connection.getresponse()
                raw = answer.read(ANSWER_MAX_BYTES + 1)
            except (OSError, http.client.HTTPException) as error:
                raise UnavailableError(
                    "The operator's verification service does not answer: nothing was signed, "
                    "try again in a moment",
                    headers={"Retry-After": "5"},
                ) from error
        if answer.status != 200 or len(raw) > ANSWER_MAX_BYTES:
            raise UnavailableError(
                f"The operator's service answers with status {answer.status}: nothing was signed",
                headers={"Retry-After": "5"},
            )
        return raw


def _nonsense() -> UnavailableError:
    return UnavailableError("The operator's service answers nonsense: nothing was signed")


def _check_said(said: _Signer) -> None:
    if said.revoked_status_info:
        raise SignatureError(Reason.REVOKED, "The operator says that the certificate was revoked")
    if not said.certificate_valid_at_signing_time:
        raise SignatureError(
            Reason.EXPIRED, "The operator says that the certificate was not valid at the signing"
        )
    if not (said.verified and said.certificate_verified):
        detail = f": {said.exception[:200]}" if said.exception else ""
        raise SignatureError(
            Reason.OPERATOR, f"The operator says that the signature does not hold{detail}"
        )


class EimzoVerifier:
    """Our own verification of a national signature, at the moment of its stamp."""

    def __init__(self, roots: tuple[Certificate, ...]) -> None:
        self._roots = roots

    def verify(self, envelope: Envelope, document: bytes, holder: Holder) -> Proof:
        """See the port. Revocation is the operator's answer, kept in the envelope."""
        if len(envelope.parts) != 1 or envelope.parts[0].format != CMS_FORMAT:
            raise SignatureError(Reason.NO_SIGNER, "A national signature is one PKCS#7 message")
        message = cms.read(envelope.parts[0].data)
        proof = cms.verify(message, document, self._roots, stamp_roots=self._roots,
                           needs_status=False)  # fmt: skip  # One question.
        if envelope.operator.get("verified") != "true":
            raise SignatureError(
                Reason.STATUS_UNKNOWN, "No answer of the operator about the certificate is kept"
            )
        check_status(envelope.operator, message, self._roots, proof.signed)
        check_person(message.signer(), holder)
        return proof


def check_status(
    said: dict[str, str], message: cms.Message, roots: tuple[Certificate, ...], at: datetime
) -> None:
    """SignatureError where the authority's answer that the operator handed on does not say good.

    Where the operator hands none on, its own word stands (`EimzoVerifier`).
    """
    if not said.get("ocsp"):
        return
    try:
        raw = base64.b64decode(said["ocsp"], validate=True)
    except ValueError as error:
        raise SignatureError(
            Reason.MALFORMED, "The answer about the certificate is no Base64") from error
    ocsp.check(raw, message.signer(), message.certificates, roots, at)


def check_person(mine: Certificate, holder: Holder) -> None:
    """SignatureError where a national certificate is not this person's, or names nobody."""
    if not holder.pinfl:
        raise SignatureError(
            Reason.OTHER_PERSON,
            f"The staff register holds no personal number of {holder.name!r}, so no national "
            "certificate can be his",
        )
    check_holder(mine, holder)


class EimzoSigner:
    """Takes what the person's program made, has it stamped and judged by the operator."""

    def __init__(self, roots: tuple[Certificate, ...], operator: Operator) -> None:
        self.verifier: Verifier = EimzoVerifier(roots)
        self._operator = operator

    async def sign(self, document: bytes, holder: Holder, given: bytes) -> Envelope:
        """The stamped message with the operator's answer; SignatureError or UnavailableError.

        What our own look refuses at once is never sent to the operator.
        """
        if not given:
            raise SignatureError(
                Reason.NO_SIGNER, "The signature made by the E-IMZO program is missing"
            )
        message = cms.read(given)
        if message.content is not None and message.content != document:
            raise SignatureError(Reason.OTHER_DOCUMENT, "The signature is over another document")
        check_person(cms.check_signature(message, document), holder)
        if message.stamp is None:
            given = await self._operator.stamp(given)
            if cms.read(given).signature != message.signature:
                raise _nonsense()
        said = await self._operator.check(given, document)
        return Envelope((Part(CMS_FORMAT, given),), said)


@lru_cache(maxsize=8)
def read_roots(path: str) -> tuple[Certificate, ...]:
    """The trusted roots of a PEM file; DmedError where it holds none."""
    try:
        loaded = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise DmedError(f"DMED_EIMZO_ROOTS: {path or 'no file'} holds no certificates") from error
    return tuple(certificates.read(one.public_bytes(Encoding.DER)) for one in loaded)


def signer(settings: Settings) -> EimzoSigner:
    """The signer of an installation with national keys; DmedError where its settings lack."""
    return EimzoSigner(read_roots(settings.eimzo_roots), HttpOperator(settings.eimzo_url))
