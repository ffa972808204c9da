"""The key by which the platform signs its seals over the audit: files beside the database's data.

Whoever can change every table still cannot make a seal: the private key lies in `data`/keys alone,
mode 0600, and an auditor needs the public part only. A new key is made by taking the old file's
`.pem` away to `.old.pem`: seals of both are verified.
ECDSA on P-256 with SHA-256, signatures as r and s in 64 bytes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from dmed.kit.errors import DmedError, InvalidError
from dmed.store.seal_check import Check

_FILE = "audit-seal.pem"
_NUMBER_CHARACTERS = 16
_HALF = 32
_HASH = ec.ECDSA(hashes.SHA256())


class AuditKey(msgspec.Struct, frozen=True):
    """The signing key of this installation; `number` is the beginning of its public part's hash."""

    private: ec.EllipticCurvePrivateKey
    number: str

    def sign(self, signed: bytes) -> bytes:
        """The signature of some bytes: r and s, 32 bytes each."""
        r, s = utils.decode_dss_signature(self.private.sign(signed, _HASH))
        return r.to_bytes(_HALF) + s.to_bytes(_HALF)

    def public_pem(self) -> bytes:
        """What an auditor needs to verify without this installation."""
        return _pem(self.private.public_key())


def load_audit_key(data: Path) -> AuditKey:
    """The key of this installation, made on first use; DmedError where others can read its file."""
    folder = data / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / _FILE
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise DmedError(f"{path} can be read by others; set its mode to 600")
    private = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise DmedError(f"{path} holds no P-256 key")
    return AuditKey(private, _number(private.public_key()))


def checks(data: Path, given: Path | None = None) -> Mapping[str, Check]:
    """How to check the seals of each key by its number: of the installation, or of a PEM file."""
    found: dict[str, Check] = {}
    files = [given] if given is not None else sorted((data / "keys").glob("audit-seal*.pem"))
    for file in files:
        public = _public(file)
        found[_number(public)] = _check(public)
    return found


def _check(public: ec.EllipticCurvePublicKey) -> Check:
    def check(signed: bytes, proof: bytes) -> bool:
        if len(proof) != 2 * _HALF:
            return False
        made = utils.encode_dss_signature(
            int.from_bytes(proof[:_HALF]), int.from_bytes(proof[_HALF:]))
        try:
            public.verify(made, signed, _HASH)
        except InvalidSignature:
            return False
        return True

    return check


def _public(file: Path) -> ec.EllipticCurvePublicKey:
    text = file.read_bytes()
    try:
        if b"PRIVATE" in text:
            key: object = serialization.load_pem_private_key(text, None)
            key = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
        else:
            key = serialization.load_pem_public_key(text)
    except ValueError as fault:
        raise InvalidError(f"{file.name} holds no key in PEM: {fault}") from fault
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidError(f"{file.name} holds no elliptic-curve key")
    return key


def _pem(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _number(public: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(_pem(public)).hexdigest()[:_NUMBER_CHARACTERS]


def _make(path: Path) -> None:
    """A draft of its own a worker, linked to the one name: exactly one wins."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
