"""Answers about one certificate (OCSP, RFC 6960): read, believed only by signature, and judged.

The operator of the national keys hands on the authority's answer. It is kept with the signature and
judged again by everybody who verifies: it must be about this certificate, say good at the moment of
the signature, and be signed by the issuer or by a responder whom the issuer named for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from dmed.kit import der
from dmed.trust.signing import algorithms, certificates
from dmed.trust.signing.algorithms import PrivateKey
from dmed.trust.signing.certificates import Certificate
from dmed.trust.signing.model import Reason, SignatureError

SIGNING = "1.3.6.1.5.5.7.3.9"
"""Extended key usage of a responder."""
AGE_MAX = timedelta(days=1)
SLACK = timedelta(minutes=15)
_BASIC = "1.3.6.1.5.5.7.48.1.1"
_SHA1 = "1.3.14.3.2.26"
_GOOD, _REVOKED = 0x80, 0xA1


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says of one certificate; read, not believed."""

    hash: str
    issuer_hash: bytes
    serial: int
    is_good: bool
    revoked: datetime | None
    made: datetime
    next: datetime | None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer with who signed it."""

    signed: bytes
    algorithm: str
    signature: bytes
    statuses: tuple[Status, ...]
    certificates: tuple[Certificate, ...]


def read(raw: bytes) -> Answer:
    """The answer of these bytes; SignatureError for what is none, or says that there is none."""
    try:
        return _read(raw)
    except (der.DerError, ValueError) as error:
        raise SignatureError(
            Reason.MALFORMED, f"The answer about the certificate is malformed: {error}"
        ) from error


def _read(raw: bytes) -> Answer:
    whole = der.read(raw).expect(der.SEQUENCE).parts()
    code = whole.next(der.ENUM).number()
    if code:
        raise SignatureError(
            Reason.STATUS_UNKNOWN, f"The authority gave no answer about the certificate ({code})")
    held = der.read(whole.next(0xA0).body).expect(der.SEQUENCE).parts()
    whole.end()
    if held.next(der.OID).oid() != _BASIC:
        raise der.DerError("the answer is of an unknown kind")
    parts = der.read(held.next(der.OCTETS).octets()).expect(der.SEQUENCE).parts()
    held.end()
    signed = parts.next(der.SEQUENCE)
    algorithm = algorithms.read_algorithm(parts.next())
    signature = parts.next(der.BITS).bits()
    brought = parts.maybe(0xA0)
    parts.end()
    found = der.read(brought.body).expect(der.SEQUENCE).parts() if brought is not None else ()
    return Answer(
        signed=signed.raw, algorithm=algorithm, signature=signature, statuses=_statuses(signed),
        certificates=tuple(certificates.read(one.raw) for one in found),
    )  # fmt: skip  # Facts of one answer.


def _statuses(signed: der.Node) -> tuple[Status, ...]:
    parts = signed.parts()
    parts.maybe(0xA0)  # The version, where it is not the first.
    parts.next(0xA1, 0xA2)  # Who answers; whose signature it is says the signature.
    parts.next(der.GENERAL_TIME)
    rows = parts.next(der.SEQUENCE)
    parts.maybe(0xA1)
    parts.end()
    return tuple(_status(row) for row in rows.parts())


def _status(row: der.Node) -> Status:
    parts = row.expect(der.SEQUENCE).parts()
    named = parts.next(der.SEQUENCE).parts()
    kind = named.next(der.SEQUENCE).parts().next(der.OID).oid()
    issuer_hash = named.next(der.OCTETS).octets()
    named.next(der.OCTETS)
    serial = named.next(der.INTEGER).number()
    named.end()
    said = parts.next()
    revoked = said.parts().next().moment() if said.tag == _REVOKED else None
    made = parts.next(der.GENERAL_TIME).moment()
    later = parts.maybe(0xA0)
    parts.maybe(0xA1)
    parts.end()
    return Status(
        hash=kind, issuer_hash=issuer_hash, serial=serial, is_good=said.tag == _GOOD,
        revoked=revoked, made=made, next=der.read(later.body).moment() if later else None,
    )  # fmt: skip  # Facts of one status.


def check(
    raw: bytes, mine: Certificate, others: Iterable[Certificate], roots: Sequence[Certificate],
    at: datetime,
) -> Status:
    """The status of a certificate at a moment, by a fresh answer of its own issuer.

    SignatureError: revoked by then, unknown, too old, about another certificate, or not signed by
    the issuer or its responder.
    """
    answer = read(raw)
    path = certificates.chain(mine, others, roots, at)
    issuer = path[1] if len(path) > 1 else path[0]
    _check_signed(answer, issuer, at)
    for one in answer.statuses:
        if one.serial == mine.serial and one.issuer_hash == _hashed(one.hash, mine.issuer):
            _check_status(one, mine, at)
            return one
    raise SignatureError(
        Reason.STATUS_UNKNOWN, "The operator's answer is about another certificate")


def _hashed(kind: str, data: bytes) -> bytes:
    """The hash by which an answer names an issuer: SHA-1 does for a name, it proves nothing."""
    if kind == _SHA1:
        return hashlib.sha1(data, usedforsecurity=False).digest()
    return algorithms.hashed(kind, data)


def _check_signed(answer: Answer, issuer: Certificate, at: datetime) -> None:
    signers = [issuer]
    signers += [
        one for one in answer.certificates
        if issuer.issued(one) and SIGNING in (one.extended or ()) and one.begins <= at <= one.ends
    ]
    if not any(_holds(one, answer) for one in signers):
        raise SignatureError(
            Reason.STATUS_UNKNOWN,
            "The answer about the certificate is signed neither by its issuer nor its responder")


def _holds(one: Certificate, answer: Answer) -> bool:
    try:
        return algorithms.holds(one.key, answer.algorithm, answer.signed, answer.signature)
    except SignatureError:
        return False  # Another kind of key: not this one's signature.


def _check_status(one: Status, mine: Certificate, at: datetime) -> None:
    if one.revoked is not None and one.revoked <= at:
        raise SignatureError(
            Reason.REVOKED,
            f"The certificate of {mine.name!r} was revoked on {one.revoked:%d.%m.%Y %H:%M} UTC")
    if not one.is_good and one.revoked is None:
        raise SignatureError(Reason.STATUS_UNKNOWN, "The authority does not know the certificate")
    if one.made > at + SLACK + AGE_MAX or at > (one.next or one.made + AGE_MAX) + SLACK:
        raise SignatureError(
            Reason.STATUS_UNKNOWN,
            f"The answer of {one.made:%d.%m.%Y %H:%M} UTC says nothing of {at:%d.%m.%Y %H:%M} UTC")


# Making, for the simulated authority ------------------------------------------------------------


def make(
    mine: Certificate, issuer: Certificate, key: PrivateKey, at: datetime,
    revoked: datetime | None = None, *, brought: Sequence[bytes] = (),
) -> bytes:
    """An answer about one certificate, signed by a key."""
    name = hashlib.sha1(issuer.subject, usedforsecurity=False).digest()
    held = hashlib.sha1(issuer.key.raw, usedforsecurity=False).digest()
    named = der.sequence(
        der.sequence(der.oid(_SHA1), der.NOTHING), der.octets(name), der.octets(held),
        der.number(mine.serial))
    said = der.write(_GOOD) if revoked is None else der.write(
        _REVOKED, der.general_moment(revoked))
    single = der.sequence(named, said, der.general_moment(at),
                          der.write(0xA0, der.general_moment(at + AGE_MAX)))
    signed = der.sequence(
        der.write(0xA1, issuer.subject), der.general_moment(at), der.sequence(single))
    basic = der.sequence(
        signed, certificates.algorithm_of(key), der.bits(key.sign(signed)),
        *([der.write(0xA0, der.sequence(*brought))] if brought else []))
    return der.sequence(
        der.write(der.ENUM, b"\0"),
        der.write(0xA0, der.sequence(der.oid(_BASIC), der.octets(basic))))
