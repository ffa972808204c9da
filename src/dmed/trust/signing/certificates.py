"""X.509 certificates and revocation lists: read, made, and followed up to a trusted root.

https://www.rfc-editor.org/rfc/rfc5280. Chains are checked at a given moment, that of the signature.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec

from dmed.kit import der
from dmed.trust.signing import algorithms
from dmed.trust.signing.algorithms import PrivateKey, PublicKey
from dmed.trust.signing.model import Reason, SignatureError

CHAIN_MAX = 5
COMMON_NAME, ORGANISATION, COUNTRY, TITLE = "2.5.4.3", "2.5.4.10", "2.5.4.6", "2.5.4.12"
PINFL = "1.2.860.3.16.1.2"
"""Attribute of the subject of a national certificate: the person's number."""
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
_BASIC, _USAGE, _EXTENDED, _ALTERNATIVE, _POLICIES = (
    "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17", "2.5.29.32")  # fmt: skip  # One line.
_KNOWN = frozenset({_BASIC, _USAGE, _EXTENDED, _ALTERNATIVE, _POLICIES})
SIGNS, CONFIRMS, ISSUES, LISTS = 0, 1, 5, 6
"""Bits of the key usage: digitalSignature, nonRepudiation, keyCertSign, cRLSign."""
_URI = 0x86


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says."""

    raw: bytes
    signed: bytes
    """The part that its issuer signed."""
    algorithm: str
    signature: bytes
    serial: int
    issuer: bytes
    subject: bytes
    names: dict[str, str]
    """Attributes of the subject by identifier; the first of each kind."""
    begins: datetime
    ends: datetime
    key: PublicKey
    is_authority: bool = False
    path_max: int = CHAIN_MAX
    usage: frozenset[int] | None = None
    extended: frozenset[str] | None = None
    addresses: tuple[str, ...] = ()
    """URIs among the alternative names."""

    @property
    def name(self) -> str:
        """The common name of the subject."""
        return self.names.get(COMMON_NAME, "")

    def issued(self, other: Certificate) -> bool:
        """Whether it may have issued the other and its key made the signature of that."""
        return self.subject == other.issuer and _issued(self.raw, other.raw)


@lru_cache(maxsize=512)
def _issued(above: bytes, below: bytes) -> bool:
    """Remembered, since a few authorities stand above everybody."""
    other = read(below)
    return algorithms.holds(read(above).key, other.algorithm, other.signed, other.signature)


def read(raw: bytes) -> Certificate:
    """The certificate of these bytes; SignatureError for what is none or asks for the unknown."""
    try:
        return _read(raw)
    except (der.DerError, ValueError) as error:
        raise SignatureError(Reason.MALFORMED, f"The certificate is malformed: {error}") from error


@lru_cache(maxsize=512)
def _read(raw: bytes) -> Certificate:
    whole = der.read(raw).expect(der.SEQUENCE).parts()
    signed = whole.next(der.SEQUENCE)
    algorithm = algorithms.read_algorithm(whole.next())
    signature = whole.next(der.BITS).bits()
    whole.end()
    parts = signed.parts()
    version = parts.maybe(0xA0)
    is_third = version is not None and der.read(version.body).number() == 2
    serial = parts.next(der.INTEGER).number()
    if algorithms.read_algorithm(parts.next()) != algorithm:
        raise der.DerError("it names two algorithms of its signature")
    issuer = parts.next(der.SEQUENCE)
    validity = parts.next(der.SEQUENCE).parts()
    begins, ends = validity.next().moment(), validity.next().moment()
    validity.end()
    subject = parts.next(der.SEQUENCE)
    key = algorithms.read_key(parts.next())
    more = parts.maybe(0xA3) if is_third else None
    parts.end()
    extensions = _extensions(der.read(more.body)) if more is not None else {}
    return Certificate(
        raw=raw, signed=signed.raw, algorithm=algorithm, signature=signature, serial=serial,
        issuer=issuer.raw, subject=subject.raw, names=_names(subject), begins=begins, ends=ends,
        key=key, **_understood(extensions),
    )  # fmt: skip  # Facts of one certificate.


def _names(name: der.Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in name.parts():
        for one in step.expect(der.SET).parts():
            parts = one.expect(der.SEQUENCE).parts()
            kind, value = parts.next(der.OID).oid(), parts.next()
            parts.end()
            found.setdefault(kind, value.text())
    return found


def _extensions(node: der.Node) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for one in node.expect(der.SEQUENCE).parts():
        parts = one.expect(der.SEQUENCE).parts()
        kind = parts.next(der.OID).oid()
        critical = parts.maybe(der.BOOLEAN)
        value = parts.next(der.OCTETS).octets()
        parts.end()
        if kind in found:
            raise der.DerError(f"the extension {kind} stands twice")
        if critical is not None and critical.boolean() and kind not in _KNOWN:
            raise der.DerError(f"the extension {kind} is critical and not understood")
        found[kind] = value
    return found


def _understood(extensions: dict[str, bytes]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if _BASIC in extensions:
        parts = der.read(extensions[_BASIC]).expect(der.SEQUENCE).parts()
        authority = parts.maybe(der.BOOLEAN)
        length = parts.maybe(der.INTEGER)
        parts.end()
        facts["is_authority"] = authority is not None and authority.boolean()
        if length is not None:
            facts["path_max"] = length.number()
    if _USAGE in extensions:
        facts["usage"] = der.read(extensions[_USAGE]).flags()
    if _EXTENDED in extensions:
        uses = der.read(extensions[_EXTENDED]).expect(der.SEQUENCE).parts()
        facts["extended"] = frozenset(one.oid() for one in uses)
    if _ALTERNATIVE in extensions:
        names = der.read(extensions[_ALTERNATIVE]).expect(der.SEQUENCE).parts()
        facts["addresses"] = tuple(one.body.decode("ascii") for one in names if one.tag == _URI)
    return facts


# Chains


def chain(
    leaf: Certificate, others: Iterable[Certificate], roots: Sequence[Certificate], at: datetime
) -> list[Certificate]:
    """From the leaf up to a trusted root, all valid at a moment; SignatureError says what breaks.

    The root is trusted because it is listed, not because a message brought it.
    """
    known = {root.raw for root in roots}
    pool = [*roots, *others]
    path = [leaf]
    while path[-1].raw not in known:
        if len(path) > CHAIN_MAX:
            raise SignatureError(Reason.CHAIN, "The chain of certificates is too long")
        above = next(
            (one for one in pool if one not in path and _may_issue(one, len(path) - 1)
             and one.issued(path[-1])), None)  # fmt: skip  # One search.
        if above is None:
            raise SignatureError(
                Reason.CHAIN,
                f"The certificate of {path[-1].name!r} was not issued by an authority trusted here",
            )
        path.append(above)
    for one in path:
        _check_time(one, at)
    return path


def _may_issue(one: Certificate, below: int) -> bool:
    is_allowed = one.usage is None or ISSUES in one.usage
    return one.is_authority and is_allowed and one.path_max >= below


def _check_time(one: Certificate, at: datetime) -> None:
    if at < one.begins:
        raise SignatureError(
            Reason.EXPIRED,
            f"The certificate of {one.name!r} is valid from {one.begins:%d.%m.%Y}, "
            f"the signature is of {at:%d.%m.%Y %H:%M} UTC",
        )
    if at > one.ends:
        raise SignatureError(
            Reason.EXPIRED,
            f"The certificate of {one.name!r} ended on {one.ends:%d.%m.%Y}, "
            f"the signature is of {at:%d.%m.%Y %H:%M} UTC",
        )


# Revocation lists


class RevocationList(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of revoked certificates says (RFC 5280, 5)."""

    raw: bytes
    signed: bytes
    algorithm: str
    signature: bytes
    issuer: bytes
    made: datetime
    next: datetime
    revoked: dict[int, datetime]


def read_list(raw: bytes) -> RevocationList:
    """The list of these bytes; SignatureError for what is none."""
    try:
        return _read_list(raw)
    except (der.DerError, ValueError) as error:
        raise SignatureError(
            Reason.MALFORMED, f"The revocation list is malformed: {error}"
        ) from error


@lru_cache(maxsize=32)
def _read_list(raw: bytes) -> RevocationList:
    whole = der.read(raw).expect(der.SEQUENCE).parts()
    signed = whole.next(der.SEQUENCE)
    algorithm = algorithms.read_algorithm(whole.next())
    signature = whole.next(der.BITS).bits()
    whole.end()
    parts = signed.parts()
    parts.maybe(der.INTEGER)
    if algorithms.read_algorithm(parts.next()) != algorithm:
        raise der.DerError("it names two algorithms of its signature")
    issuer = parts.next(der.SEQUENCE)
    made, following = parts.next().moment(), parts.next().moment()
    rows = parts.maybe(der.SEQUENCE)
    extensions = parts.maybe(0xA0)
    parts.end()
    if extensions is not None:
        _extensions(der.read(extensions.body))
    revoked: dict[int, datetime] = {}
    for row in rows.parts() if rows is not None else ():
        entry = row.expect(der.SEQUENCE).parts()
        serial, since = entry.next(der.INTEGER).number(), entry.next().moment()
        revoked[serial] = min(since, revoked.get(serial, since))
    return RevocationList(
        raw=raw, signed=signed.raw, algorithm=algorithm, signature=signature,
        issuer=issuer.raw, made=made, next=following, revoked=revoked,
    )  # fmt: skip  # Facts of one list.


def check_status(
    path: Sequence[Certificate], lists: Iterable[RevocationList], at: datetime
) -> None:
    """That no certificate below the root was revoked at a moment, by lists that cover the moment.

    SignatureError: revoked, or no list speaks of the signer (a missing answer is no good answer).
    """
    found = list(lists)
    for place, (one, above) in enumerate(pairwise(path)):
        fitting = [each for each in found if each.issuer == one.issuer
                   and each.made <= at <= each.next and _may_list(above)
                   and _listed(above.raw, each.raw)
                   ]  # fmt: skip  # One filter.
        if not fitting and not place:
            raise SignatureError(
                Reason.STATUS_UNKNOWN,
                f"Nothing says that the certificate of {one.name!r} was not revoked at "
                f"{at:%d.%m.%Y %H:%M} UTC",
            )
        since = min((each.revoked[one.serial] for each in fitting if one.serial in each.revoked),
                    default=None)  # fmt: skip  # One look-up.
        if since is not None and since <= at:
            raise SignatureError(
                Reason.REVOKED,
                f"The certificate of {one.name!r} was revoked on {since:%d.%m.%Y %H:%M} UTC",
            )


@lru_cache(maxsize=128)
def _listed(above: bytes, listed: bytes) -> bool:
    found = read_list(listed)
    return algorithms.holds(read(above).key, found.algorithm, found.signed, found.signature)


def _may_list(one: Certificate) -> bool:
    return one.usage is None or LISTS in one.usage


# Making


def name(attributes: dict[str, str]) -> bytes:
    """A distinguished name of one attribute a step, in the given order."""
    return der.sequence(*(
        der.set_of([der.sequence(der.oid(kind), der.text(value))])
        for kind, value in attributes.items()
    ))  # fmt: skip  # One expression.


def algorithm_of(key: PrivateKey) -> bytes:
    """The AlgorithmIdentifier of signatures by a key."""
    oid = der.oid(key.signature)
    # ECDSA has no parameters (RFC 5758); the national algorithms carry a NULL.
    return der.sequence(oid) if key.signature == algorithms.ECDSA_SHA256 else der.sequence(
        oid, der.NOTHING
    )


def _extension(kind: str, value: bytes, *, critical: bool = True) -> bytes:
    flag = der.write(der.BOOLEAN, b"\xff") if critical else b""
    return der.sequence(der.oid(kind), flag, der.octets(value))


def make(
    *,
    subject: bytes,
    public: bytes,
    issuer: bytes,
    key: PrivateKey,
    begins: datetime,
    ends: datetime,
    is_authority: bool = False,
    extended: str = "",
    addresses: Sequence[str] = (),
    serial: int = 0,
) -> bytes:
    """A certificate over a public key, signed by the issuer's `key`."""
    usage = der.flags(ISSUES, LISTS) if is_authority else der.flags(SIGNS, CONFIRMS)
    added = [_extension(_USAGE, usage)]
    if is_authority:
        added.append(_extension(_BASIC, der.sequence(der.write(der.BOOLEAN, b"\xff"))))
    if extended:
        added.append(_extension(_EXTENDED, der.sequence(der.oid(extended))))
    if addresses:
        names = [der.write(_URI, each.encode("ascii")) for each in addresses]
        added.append(_extension(_ALTERNATIVE, der.sequence(*names), critical=False))
    signed = der.sequence(
        der.write(0xA0, der.number(2)), der.number(serial or secrets.randbits(120) + 1),
        algorithm_of(key), issuer, der.sequence(der.moment(begins), der.moment(ends)), subject,
        public, der.write(0xA3, der.sequence(*added)),
    )  # fmt: skip  # Fields of RFC 5280, 4.1.
    return der.sequence(signed, algorithm_of(key), der.bits(key.sign(signed)))


def make_list(
    *, issuer: bytes, key: PrivateKey, made: datetime, following: datetime,
    revoked: dict[int, datetime],
) -> bytes:  # fmt: skip  # One line of arguments.
    """A revocation list."""
    rows = [der.sequence(der.number(serial), der.moment(since))
            for serial, since in sorted(revoked.items())]  # fmt: skip  # One row an entry.
    signed = der.sequence(
        der.number(1), algorithm_of(key), issuer, der.moment(made), der.moment(following),
        der.sequence(*rows) if rows else b"",
    )  # fmt: skip  # Fields of RFC 5280, 5.1.
    return der.sequence(signed, algorithm_of(key), der.bits(key.sign(signed)))
