"""The second factor: time-based codes, and recovery codes for a lost telephone.

TOTP: https://www.rfc-editor.org/rfc/rfc6238 over HOTP https://www.rfc-editor.org/rfc/rfc4226, with
the parameters that every authenticator app knows: SHA-1, six digits, thirty seconds.
WebAuthn would stand beside it: another way to pass the same stage of a session.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from urllib.parse import quote

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dmed.kit.errors import ConflictError, InvalidError
from dmed.trust import people_tables
from dmed.trust.keys import Keys
from dmed.trust.tables import Connection

STEP_S = 30
DIGITS = 6
DRIFT_STEPS = 1
"""A code of the step before or after is taken: clocks of telephones are not exact."""
RECOVERY_CODES = 10
_SECRET_BYTES = 20
_NONCE_BYTES = 12
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""Without l and o, which look like digits on paper; 32 letters, five bits each."""
_RECOVERY_LETTERS = 16


class Enrolment(msgspec.Struct, frozen=True):
    """What the page of enrolment shows, once: the secret in letters, and the address for the QR."""

    secret: str
    uri: str


def code_at(secret: bytes, step: int) -> str:
    """The six digits of a time step (RFC 4226, 5.3)."""
    mac = hmac.digest(secret, step.to_bytes(8), hashlib.sha1)
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4]) & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(moment_s: float) -> int:
    """The time step of a moment in Unix seconds."""
    return int(moment_s) // STEP_S


def matching_step(secret: bytes, code: str, moment_s: float) -> int | None:
    """The step whose code this is, within the allowed drift; None for a wrong code."""
    now_step = step_of(moment_s)
    found = None
    for step in range(now_step - DRIFT_STEPS, now_step + DRIFT_STEPS + 1):
        # Every step is compared, so that the time does not tell which one was right.
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            found = step
    return found


def recovery_codes() -> list[str]:
    """Ten fresh codes of eighty random bits: "abcd-efgh-ijkm-npqr"."""
    made = []
    for _ in range(RECOVERY_CODES):
        letters = "".join(secrets.choice(_ALPHABET) for _ in range(_RECOVERY_LETTERS))
        made.append("-".join(letters[n : n + 4] for n in range(0, _RECOVERY_LETTERS, 4)))
    return made


def bare(typed: str) -> str:
    """A code as it was typed, without blanks and hyphens, in small letters."""
    return "".join(letter for letter in typed.lower() if letter.isalnum())[:64]


def recovery_digest(user: str, code: str) -> bytes:
    """What the database keeps of a recovery code: eighty random bits need no slow hash."""
    return hashlib.sha256(f"recovery\0{user}\0{bare(code)}".encode()).digest()


class Factors:
    """The second factors of one installation; their secrets lie encrypted in the database."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._cipher = AESGCM(keys.sealing)

    async def is_set(self, user: str) -> bool:
        """Whether a person has a confirmed second factor."""
        row = await people_tables.factor(self._connection, user)
        return row is not None and bool(row["is_confirmed"])

    async def begin(self, user: str, issuer: str = "DMED") -> Enrolment:
        """A fresh secret to be confirmed by its first code; ConflictError where one stands."""
        secret = secrets.token_bytes(_SECRET_BYTES)
        if not await people_tables.begin_factor(
            self._connection, user, self._sealed(user, secret)
        ):
            raise ConflictError("A second factor is set already; take it away first")
        return _enrolment(user, secret, issuer)

    async def pending(self, user: str, issuer: str = "DMED") -> Enrolment:
        """The enrolment under way, begun where there is none: a page shown twice shows the same."""
        row = await people_tables.factor(self._connection, user)
        if row is None or row["is_confirmed"]:
            return await self.begin(user, issuer)
        return _enrolment(user, self._opened(user, row["secret"]), issuer)

    async def confirm(self, user: str, code: str) -> list[str]:
        """The first right code makes the factor stand; gives the recovery codes, shown once.

        InvalidError for a wrong code.
        """
        if await self.is_set(user) or not await self._passes_time(user, code):
            raise InvalidError("The code is not right")
        return await self.renew_recovery(user)

    async def renew_recovery(self, user: str) -> list[str]:
        """Fresh recovery codes; the old ones are void."""
        codes = recovery_codes()
        digests = [recovery_digest(user, code) for code in codes]
        await people_tables.save_recovery(self._connection, user, digests)
        return codes

    async def passes(self, user: str, typed: str) -> bool:
        """Whether a time code or a recovery code is right; each works once."""
        code = bare(typed)
        if len(code) == DIGITS:
            return await self.is_set(user) and await self._passes_time(user, code)
        if len(code) != _RECOVERY_LETTERS:
            return False
        return await people_tables.use_recovery(
            self._connection, user, recovery_digest(user, code)
        )

    async def recovery_left(self, user: str) -> int:
        """How many recovery codes a person has left."""
        return await people_tables.recovery_left(self._connection, user)

    async def remove(self, user: str) -> None:
        """Take the second factor away: by the person with a code, or by the administrator."""
        await people_tables.drop_factor(self._connection, user)

    async def _passes_time(self, user: str, code: str) -> bool:
        row = await people_tables.factor(self._connection, user)
        if row is None:
            return False
        step = matching_step(self._opened(user, row["secret"]), bare(code), time.time())
        return step is not None and await people_tables.use_step(self._connection, user, step)

    def _sealed(self, user: str, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, user.encode())

    def _opened(self, user: str, sealed: bytes) -> bytes:
        try:
            return self._cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], user.encode()
            )
        except InvalidTag as error:
            raise ConflictError(
                "The second factor cannot be read: its key is not the one that made it"
            ) from error


def _enrolment(user: str, secret: bytes, issuer: str) -> Enrolment:
    letters = base64.b32encode(secret).decode()
    uri = (
        f"otpauth://totp/{quote(issuer)}:{quote(user)}?secret={letters}&issuer={quote(issuer)}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
    )
    return Enrolment(letters, uri)
