"""The test authority: issues certificates to the staff of a demonstration, stamps times, revokes.

Root > issuing authority > person, and root > stamps; on P-256 for the embedded signer, on the
national algorithms for the simulator of E-IMZO. It holds the keys of those for whom it signs, so
its signatures prove the whole flow, and nothing in law.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from dmed.kit.errors import NotFoundError
from dmed.kit.keyfile import kept
from dmed.trust.signing import certificates, cms, ocsp
from dmed.trust.signing.algorithms import GostKey, P256Key
from dmed.trust.signing.certificates import Certificate
from dmed.trust.signing.model import Holder

POST_ADDRESS = "urn:dmed:PractitionerRole:"
"""Alternative name of a certificate that is issued for one post."""
_AUTHORITY_DAYS = 3650
_PERSON_DAYS = 730
_BACKDATED = timedelta(hours=1)
"""Clocks of desks differ."""
_LIST_LIVES = timedelta(days=1)
_LIST_AGE_MAX = timedelta(minutes=10)


class Kind(StrEnum):
    """Which algorithms an authority speaks."""

    P256 = "p256"
    NATIONAL = "national"


class _Held(msgspec.Struct):
    """A key and its certificate as they lie in a file."""

    key: bytes
    certificate: bytes


class _State(msgspec.Struct):
    root: _Held
    issuing: _Held
    stamps: _Held


class Authority:
    """One authority in a folder; made on first use, the same for all workers."""

    def __init__(self, folder: Path, kind: Kind = Kind.P256) -> None:
        self.folder = folder
        self.kind = kind
        state = msgspec.msgpack.decode(kept(folder / "authority.key", self._made), type=_State)
        self._issuing = self._identity(state.issuing)
        self._stamps = self._identity(state.stamps)
        self.root = certificates.read(state.root.certificate)
        self._people: dict[str, cms.Identity] = {}
        self._list: tuple[bytes, datetime, int] = (b"", datetime.min.replace(tzinfo=UTC), -1)

    def _key(self) -> P256Key | GostKey:
        return P256Key() if self.kind is Kind.P256 else GostKey()

    def _made(self) -> bytes:
        begins = _now() - _BACKDATED
        ends = begins + timedelta(days=_AUTHORITY_DAYS)
        names = [certificates.name({certificates.ORGANISATION: "DMED test authority",
                                    certificates.COMMON_NAME: text})
                 for text in ("Test root", "Test issuing authority", "Test time stamps")
                 ]  # fmt: skip  # Three names.
        root = self._key()
        held = [_held(root, certificates.make(
            subject=names[0], public=root.public(), issuer=names[0], key=root, begins=begins,
            ends=ends, is_authority=True))]  # fmt: skip  # One certificate.
        for subject, extended in ((names[1], ""), (names[2], certificates.TIME_STAMPING)):
            key = self._key()
            held.append(_held(key, certificates.make(
                subject=subject, public=key.public(), issuer=names[0], key=root, begins=begins,
                ends=ends, is_authority=not extended, extended=extended,
            )))  # fmt: skip  # One certificate.
        return msgspec.msgpack.encode(_State(*held))

    def _identity(self, held: _Held, *above: bytes) -> cms.Identity:
        key: P256Key | GostKey
        if self.kind is Kind.NATIONAL:
            key = GostKey(int.from_bytes(held.key, "big"))
        else:
            loaded = load_der_private_key(held.key, None)
            assert isinstance(loaded, EllipticCurvePrivateKey)  # We wrote it.
            key = P256Key(loaded)
        return cms.Identity(key, held.certificate, above)

    # People

    def person(self, holder: Holder) -> cms.Identity:
        """The key and certificate of a member of staff in a post; issued anew before they end."""
        at = _now()
        found = self._people.get(holder.role)
        if found is not None and certificates.read(found.certificate).ends > at:
            return found
        path = self.folder / "people" / f"{holder.role}.key"
        held = msgspec.msgpack.decode(kept(path, lambda: self._issued(holder)), type=_Held)
        if certificates.read(held.certificate).ends <= at:
            path.unlink(missing_ok=True)
            held = msgspec.msgpack.decode(kept(path, lambda: self._issued(holder)), type=_Held)
        self._people[holder.role] = self._identity(held, self._issuing.certificate)
        return self._people[holder.role]

    def _issued(self, holder: Holder) -> bytes:
        return msgspec.msgpack.encode(self.issue(holder)[1])

    def issue(
        self, holder: Holder, begins: datetime | None = None, ends: datetime | None = None
    ) -> tuple[cms.Identity, _Held]:
        """A new certificate of a member of staff, and what is kept of it."""
        begins = begins or _now() - _BACKDATED
        key = self._key()
        attributes = {certificates.COMMON_NAME: holder.name, certificates.TITLE: holder.post,
                      certificates.PINFL: holder.pinfl}  # fmt: skip  # Three facts.
        made = certificates.make(
            subject=certificates.name({kind: text for kind, text in attributes.items() if text}),
            public=key.public(),
            issuer=certificates.read(self._issuing.certificate).subject,
            key=self._issuing.key,
            begins=begins,
            ends=ends or begins + timedelta(days=_PERSON_DAYS),
            addresses=[POST_ADDRESS + holder.role] if holder.role else [],
        )
        held = _held(key, made)
        return self._identity(held, self._issuing.certificate), held

    # Stamps and revocation

    def stamp(self, signature: bytes) -> bytes:
        """A time stamp over a signature, of this moment."""
        return cms.make_stamp(signature, self._stamps, _now())

    def revocation_list(self) -> bytes:
        """The list of revoked certificates, made anew when it changed or after ten minutes."""
        at = _now()
        path = self.folder / "revoked.json"
        changed = path.stat().st_mtime_ns if path.exists() else 0
        raw, made, known = self._list
        if not raw or known != changed or at - made > _LIST_AGE_MAX:
            raw = certificates.make_list(
                issuer=certificates.read(self._issuing.certificate).subject,
                key=self._issuing.key, made=at - _BACKDATED, following=at + _LIST_LIVES,
                revoked=self._revoked(),
            )  # fmt: skip  # Facts of one list.
            self._list = (raw, at, changed)
        return raw

    def status(self, mine: Certificate) -> bytes:
        """The answer about one certificate at this moment (OCSP)."""
        issuing = certificates.read(self._issuing.certificate)
        return ocsp.make(mine, issuing, self._issuing.key, _now(),
                         self._revoked().get(mine.serial))  # fmt: skip  # One call.

    def _revoked(self) -> dict[int, datetime]:
        path = self.folder / "revoked.json"
        if not path.exists():
            return {}
        rows = msgspec.json.decode(path.read_bytes(), type=dict[str, datetime])
        return {int(serial, 16): since for serial, since in rows.items()}

    def revoke(self, serial: str, at: datetime | None = None) -> None:
        """Put a certificate (number in hexadecimal) on the list from a moment on."""
        try:
            number = int(serial, 16)
        except ValueError:
            raise NotFoundError(f"{serial!r} is no number of a certificate") from None
        rows = {f"{one:x}": since for one, since in self._revoked().items()}
        rows.setdefault(f"{number:x}", at or _now())
        path = self.folder / "revoked.json"
        draft = path.with_name(f"revoked.{secrets.token_hex(4)}")
        draft.write_bytes(msgspec.json.encode(rows))
        draft.replace(path)

    def issued(self) -> list[Certificate]:
        """The certificates of the staff that has signed, by file."""
        found = []
        for path in sorted((self.folder / "people").glob("*.key")):
            held = msgspec.msgpack.decode(path.read_bytes(), type=_Held)
            found.append(certificates.read(held.certificate))
        return found


def _held(key: P256Key | GostKey, certificate: bytes) -> _Held:
    if isinstance(key, GostKey):
        return _Held(key.private.to_bytes(32, "big"), certificate)
    raw = key.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return _Held(raw, certificate)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
