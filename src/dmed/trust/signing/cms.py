"""CMS SignedData and time stamps, made and verified: what PKCS#7 messages are.

https://www.rfc-editor.org/rfc/rfc5652, time stamps https://www.rfc-editor.org/rfc/rfc3161. One
signer, signed attributes always: what is signed is the hash of the document, its kind and the time.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dmed.kit import der
from dmed.trust.signing import algorithms, certificates
from dmed.trust.signing.algorithms import PrivateKey
from dmed.trust.signing.certificates import Certificate, RevocationList
from dmed.trust.signing.model import Proof, Reason, SignatureError

SIZE_MAX_BYTES = 256 * 1024
_SIGNED_DATA, _DATA = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.1"
_STAMP_INFO = "1.2.840.113549.1.9.16.1.4"
_CONTENT_TYPE, _DIGEST, _TIME = (
    "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5")  # fmt: skip  # A line.
_CERTIFICATE_V2, _STAMP = "1.2.840.113549.1.9.16.2.47", "1.2.840.113549.1.9.16.2.14"
_STAMP_POLICY = "1.3.6.1.4.1.99999.1.1"
"""Policy of the embedded stamps; under the arc that is kept for examples."""
STAMP_DELAY_MAX = timedelta(hours=24)
"""A stamp may come so long after the stated time, and the clock of a desk may be so wrong."""
CLOCK_ERROR_MAX = timedelta(minutes=10)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A SignedData of one signer, read but not believed."""

    kind: str
    content: bytes | None
    """The document inside, None where the message is detached."""
    digest: str
    signature_algorithm: str
    signature: bytes
    attributes: bytes
    """The signed attributes as they are hashed: DER of a SET OF."""
    stated_kind: str
    stated_digest: bytes
    stated_time: datetime | None
    stated_certificate: tuple[str, bytes] | None
    """Hash algorithm and hash of the signer's certificate (RFC 5035)."""
    issuer: bytes
    serial: int
    certificates: tuple[Certificate, ...]
    lists: tuple[RevocationList, ...]
    stamp: bytes | None

    def signer(self) -> Certificate:
        """The signer's certificate; SignatureError where it is not in the message."""
        found = [one for one in self.certificates
                 if one.serial == self.serial and one.issuer == self.issuer]  # fmt: skip  # Same.
        if not found:
            raise SignatureError(Reason.CHAIN, "The message does not hold its signer's certificate")
        return found[0]


def read(raw: bytes) -> Message:
    """The message of these bytes (DER, or BER as E-IMZO writes it); SignatureError otherwise."""
    if len(raw) > SIZE_MAX_BYTES:
        raise SignatureError(Reason.MALFORMED, "The signature is too long to be one")
    try:
        return _read(der.definite(raw))
    except ValueError as error:
        raise SignatureError(Reason.MALFORMED, f"The signature is malformed: {error}") from error


def _read(raw: bytes) -> Message:
    whole = der.read(raw).expect(der.SEQUENCE).parts()
    if whole.next(der.OID).oid() != _SIGNED_DATA:
        raise der.DerError("it is no SignedData")
    wrapped = whole.next(0xA0)
    whole.end()
    parts = der.read(wrapped.body).expect(der.SEQUENCE).parts()
    if parts.next(der.INTEGER).number() not in {1, 3, 4, 5}:
        raise der.DerError("its version is unknown")
    digests = [algorithms.read_algorithm(one) for one in parts.next(der.SET).parts()]
    kind, content = _content(parts.next(der.SEQUENCE))
    held, lists = parts.maybe(0xA0), parts.maybe(0xA1)
    signers = list(parts.next(der.SET).parts())
    parts.end()
    if not signers:
        raise SignatureError(Reason.NO_SIGNER, "Nobody signed the message")
    if len(signers) > 1:
        raise SignatureError(
            Reason.SEVERAL_SIGNERS, "Several people signed the message; one is expected"
        )
    facts = _signer(signers[0])
    if facts["digest"] not in digests:
        raise der.DerError("the signer's hash is not among those of the message")
    return Message(
        kind=kind, content=content,
        certificates=tuple(certificates.read(one.raw) for one in held.parts()) if held else (),
        lists=tuple(certificates.read_list(one.raw) for one in lists.parts()) if lists else (),
        **facts,
    )  # fmt: skip  # Facts of one message.


def _content(node: der.Node) -> tuple[str, bytes | None]:
    parts = node.parts()
    kind = parts.next(der.OID).oid()
    wrapped = parts.maybe(0xA0)
    parts.end()
    return kind, None if wrapped is None else der.read(wrapped.body).octets()


def _signer(node: der.Node) -> dict[str, Any]:
    parts = node.expect(der.SEQUENCE).parts()
    if parts.next(der.INTEGER).number() != 1:
        raise der.DerError("the signer is not named by issuer and number")
    named = parts.next(der.SEQUENCE).parts()
    issuer, serial = named.next(der.SEQUENCE).raw, named.next(der.INTEGER).number()
    named.end()
    digest = algorithms.read_algorithm(parts.next())
    attributes = parts.next(0xA0)
    algorithm = algorithms.read_algorithm(parts.next())
    signature = parts.next(der.OCTETS).octets()
    unsigned = parts.maybe(0xA1)
    parts.end()
    stated = _attributes(attributes)
    if _CONTENT_TYPE not in stated or _DIGEST not in stated:
        raise der.DerError("the signed attributes name no kind or no hash")
    moment = stated.get(_TIME)
    certificate = stated.get(_CERTIFICATE_V2)
    stamp = _attributes(unsigned).get(_STAMP) if unsigned is not None else None
    return {
        "digest": digest, "signature_algorithm": algorithm, "signature": signature,
        "attributes": der.write(der.SET, attributes.body),
        "stated_kind": stated[_CONTENT_TYPE].oid(), "stated_digest": stated[_DIGEST].octets(),
        "stated_time": moment.moment() if moment is not None else None,
        "stated_certificate": _named_certificate(certificate) if certificate else None,
        "issuer": issuer, "serial": serial, "stamp": stamp.raw if stamp is not None else None,
    }  # fmt: skip  # Facts of one signer.


def _attributes(node: der.Node) -> dict[str, der.Node]:
    found: dict[str, der.Node] = {}
    for one in node.parts():
        parts = one.expect(der.SEQUENCE).parts()
        kind, values = parts.next(der.OID).oid(), parts.next(der.SET).parts()
        parts.end()
        value = values.next()
        values.end()
        if kind in found:
            raise der.DerError(f"the attribute {kind} stands twice")
        found[kind] = value
    return found


def _named_certificate(node: der.Node) -> tuple[str, bytes]:
    first = node.expect(der.SEQUENCE).parts().next(der.SEQUENCE).parts().next(der.SEQUENCE).parts()
    kind = algorithms.SHA256
    if first.peek() == der.SEQUENCE:
        kind = algorithms.read_algorithm(first.next())
    return kind, first.next(der.OCTETS).octets()


# Verifying


def verify(
    message: Message,
    document: bytes,
    roots: Sequence[Certificate],
    *,
    stamp_roots: Sequence[Certificate] | None = None,
    needs_status: bool = True,
) -> Proof:
    """That one person, whose chain leads to a root, signed exactly this document.

    Needs a time stamp where `stamp_roots` are given; the chain and, with `needs_status`, the
    revocation lists of the message are judged at its moment. SignatureError says what fails.
    """
    if message.kind != _DATA or message.stated_kind != _DATA:
        raise SignatureError(Reason.MALFORMED, "The message holds something else than a document")
    if message.content is not None and message.content != document:
        raise SignatureError(Reason.OTHER_DOCUMENT, "The signature is over another document")
    signer = check_signature(message, document)
    stamped = None
    if stamp_roots is not None:
        stamped = check_stamp(message, stamp_roots)
    signed = stamped or message.stated_time
    if signed is None:
        raise SignatureError(Reason.TIME, "The signature does not say when it was made")
    if signer.usage is not None and not signer.usage & {certificates.SIGNS, certificates.CONFIRMS}:
        raise SignatureError(Reason.CHAIN, "The certificate is not made for signing documents")
    path = certificates.chain(signer, message.certificates, roots, signed)
    if needs_status:
        certificates.check_status(path, message.lists, signed)
    return Proof(
        name=signer.name, serial=f"{signer.serial:x}", signed=signed, stamped=stamped,
        algorithm=algorithms.NAMES.get(message.signature_algorithm, message.signature_algorithm),
    )  # fmt: skip  # Facts of one proof.


def check_signature(message: Message, document: bytes) -> Certificate:
    """The certificate whose key made the signature over this document; no chain is followed."""
    hashed = algorithms.hashed(message.digest, document)
    if not hmac.compare_digest(hashed, message.stated_digest):
        raise SignatureError(
            Reason.CHANGED, "The document was changed after it was signed: its hash is another"
        )
    signer = message.signer()
    if message.stated_certificate is not None:
        kind, expected = message.stated_certificate
        if algorithms.hashed(kind, signer.raw) != expected:
            raise SignatureError(
                Reason.CHAIN, "The certificate is another than the one that the signer named"
            )
    if not algorithms.holds(signer.key, message.signature_algorithm, message.attributes,
                            message.signature, message.digest):  # fmt: skip  # One question.
        raise SignatureError(
            Reason.DOES_NOT_HOLD, f"The signature does not hold by the key of {signer.name!r}"
        )
    return signer


def check_stamp(message: Message, roots: Sequence[Certificate]) -> datetime:
    """The moment of the time stamp over the signature; SignatureError where none holds."""
    if message.stamp is None:
        raise SignatureError(Reason.NO_STAMP, "The signature carries no time stamp")
    stamp = read(message.stamp)
    if stamp.kind != _STAMP_INFO or stamp.stated_kind != _STAMP_INFO or stamp.content is None:
        raise SignatureError(Reason.NO_STAMP, "What stands for a time stamp is none")
    signer = check_signature(stamp, stamp.content)
    moment = _stamped(stamp.content, message.signature)
    if signer.extended != frozenset({certificates.TIME_STAMPING}):
        raise SignatureError(Reason.CHAIN, "The stamp is by a certificate not made for stamping")
    certificates.chain(signer, [*stamp.certificates, *message.certificates], roots, moment)
    stated = message.stated_time
    if stated and not -CLOCK_ERROR_MAX <= moment - stated <= STAMP_DELAY_MAX:
        raise SignatureError(
            Reason.TIME,
            f"The signature states {stated:%d.%m.%Y %H:%M} UTC, "
            f"its time stamp {moment:%d.%m.%Y %H:%M} UTC",
        )
    return moment


def _stamped(info: bytes, signature: bytes) -> datetime:
    try:
        parts = der.read(info).expect(der.SEQUENCE).parts()
        parts.next(der.INTEGER)
        parts.next(der.OID)
        imprint = parts.next(der.SEQUENCE).parts()
        kind, expected = algorithms.read_algorithm(imprint.next()), imprint.next().octets()
        parts.next(der.INTEGER)
        moment = parts.next(der.GENERAL_TIME).moment()
    except ValueError as error:
        raise SignatureError(Reason.MALFORMED, f"The time stamp is malformed: {error}") from error
    if algorithms.hashed(kind, signature) != expected:
        raise SignatureError(Reason.NO_STAMP, "The time stamp is over another signature")
    return moment


# Making


class Identity(msgspec.Struct, frozen=True):
    """A key with its certificate and those above it."""

    key: PrivateKey
    certificate: bytes
    above: tuple[bytes, ...] = ()


Stamp = Callable[[bytes], bytes]
"""From a signature to its time stamp."""


def _algorithm(oid: str) -> bytes:
    is_national = oid.startswith("1.2.860.")
    return der.sequence(der.oid(oid), der.NOTHING if is_national else b"")


def make(
    document: bytes,
    who: Identity,
    at: datetime,
    *,
    attached: bool = False,
    stamp: Stamp | None = None,
    lists: Sequence[bytes] = (),
    kind: str = _DATA,
) -> bytes:
    """A SignedData of one signer over a document, with signing time and named certificate."""
    key = who.key
    digest = _algorithm(key.digest)
    named = der.sequence(der.sequence(der.sequence(
        b"" if key.digest == algorithms.SHA256 else digest,
        der.octets(algorithms.hashed(key.digest, who.certificate)))))  # fmt: skip  # Nested so.
    attributes = [
        _attribute(_CONTENT_TYPE, der.oid(kind)),
        _attribute(_TIME, der.moment(at)),
        _attribute(_DIGEST, der.octets(algorithms.hashed(key.digest, document))),
        _attribute(_CERTIFICATE_V2, named),
    ]
    signed = der.set_of(attributes)
    signature = key.sign(signed)
    mine = certificates.read(who.certificate)
    unsigned = b""
    if stamp is not None:
        unsigned = der.write(0xA1, _attribute(_STAMP, stamp(signature)))
    signer = der.sequence(
        der.number(1), der.sequence(mine.issuer, der.number(mine.serial)), digest,
        b"\xa0" + signed[1:], _algorithm(key.signature), der.octets(signature), unsigned,
    )  # fmt: skip  # Fields of RFC 5652, 5.3.
    content = der.sequence(
        der.oid(kind), der.write(0xA0, der.octets(document)) if attached else b"")
    data = der.sequence(
        der.number(1 if kind == _DATA else 3), der.write(der.SET, digest), content,
        der.write(0xA0, *sorted((who.certificate, *who.above))),
        der.write(0xA1, *sorted(lists)) if lists else b"", der.write(der.SET, signer),
    )  # fmt: skip  # Fields of RFC 5652, 5.1.
    return der.sequence(der.oid(_SIGNED_DATA), der.write(0xA0, data))


def _attribute(kind: str, value: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.write(der.SET, value))


def make_stamp(signature: bytes, who: Identity, at: datetime) -> bytes:
    """A time stamp token over a signature (RFC 3161, 2.4.2)."""
    kind = who.key.digest
    info = der.sequence(
        der.number(1), der.oid(_STAMP_POLICY),
        der.sequence(_algorithm(kind), der.octets(algorithms.hashed(kind, signature))),
        der.number(secrets.randbits(63) + 1), der.general_moment(at),
    )  # fmt: skip  # Fields of a TSTInfo.
    return make(info, who, at, attached=True, kind=_STAMP_INFO)


def with_stamp(raw: bytes, stamp: Stamp) -> bytes:
    """The same message with a time stamp over its signature, as an operator's service adds it."""
    message = read(raw)
    added = der.write(0xA1, _attribute(_STAMP, stamp(message.signature)))
    whole = list(der.read(der.definite(raw)).parts())
    parts = list(der.read(whole[1].body).parts())
    signer = list(parts[-1].parts().next().parts())
    kept = b"".join(one.raw for one in signer if one.tag != 0xA1)
    data = b"".join(one.raw for one in parts[:-1])
    signers = der.write(der.SET, der.sequence(kept, added))
    return der.sequence(whole[0].raw, der.write(0xA0, der.sequence(data, signers)))
