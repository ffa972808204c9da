"""Passwords and PINs as argon2id hashes (RFC 9106), and how many are reckoned at once."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dmed.kit.errors import InvalidError, UnavailableError

MIN_CHARACTERS = 10
MAX_CHARACTERS = 200
_hasher = PasswordHasher()
# A hash takes 64 MB: more than two at once in a worker would let strangers fill its memory.
_hashing = asyncio.Semaphore(2)
_WAITING_MAX = 64
_waiting = 0


async def hashed(password: str) -> str:
    """The argon2id hash of a password; InvalidError when it is too short or too long."""
    check_length(password)
    return await made(password)


def check_length(password: str) -> None:
    """InvalidError for a password that is too short or too long."""
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise InvalidError(
            f"A password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters", "password.length")


async def verified(stored: str, password: str) -> bool:
    """Whether a password belongs to a stored hash; never raises for strange input."""
    if len(password) > MAX_CHARACTERS:
        return False
    global _waiting  # noqa: PLW0603  # One count a process, as the semaphore.
    if _waiting >= _WAITING_MAX:
        raise UnavailableError("Too many people sign in at once, try again")
    _waiting += 1
    try:
        return await _verified(stored, password)
    finally:
        _waiting -= 1


async def made(word: str) -> str:
    """The hash of a word whose length was looked at already."""
    async with _hashing:
        return await asyncio.to_thread(_hasher.hash, word)


def is_old(stored: str) -> bool:
    """Whether a stored hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(stored)


async def _verified(stored: str, password: str) -> bool:
    async with _hashing:
        try:
            return await asyncio.to_thread(_hasher.verify, stored, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
