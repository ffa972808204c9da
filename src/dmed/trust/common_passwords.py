"""Passwords that somebody else tries first: refused by rule, and by a list of what was stolen.

What is left of a password without digits, signs and look-alikes is compared with the words that
people choose everywhere, those of this country and of this platform, and with the person's own
names; rows of the keyboard and repetitions are no passwords either. What passes is given to zxcvbn
(Wheeler, USENIX Security 2016), which knows the 30,000 commonest passwords, the words and names of
English, dates and rows, and tells after how many tries a guesser has it.
The list of stolen ones is a port: a folder of ranges by the first five signs of the SHA-1, as
https://haveibeenpwned.com/API/v3#PwnedPasswords hands them out (k-anonymity); none is shipped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

_EVERYWHERE = """
password passwort passw pass parol parolim maxfiy secret letmein welcome iloveyou loveyou love
monkey dragon football baseball sunshine princess master superman batman michael shadow admin
administrator root user guest test testing demo login access changeme default hello freedom
computer internet samsung iphone google facebook instagram telegram whatever nothing trustno
"""
_HERE = """
salom assalom rahmat uzbekistan ozbekiston uzb toshkent tashkent samarqand samarkand buxoro
bukhara andijon fargona namangan xorazm qoraqalpogiston nukus vatan onajon otajon sevgi hayot
mustaqillik navroz navruz privet lyubov rossiya moskva zdravstvuy kompyuter poliklinika
"""
_AT_WORK = """
dmed medid klinika clinic hospital kasalxona shifoxona dorixona apteka doctor doktor shifokor
vrach hamshira nurse pharmacist farmatsevt registrator registrar inspektor inspector retsept
prescription patient bemor sogliq salomatlik health medicine tibbiyot minzdrav ssv
"""
WORDS = frozenset(f"{_EVERYWHERE} {_HERE} {_AT_WORK}".split())
"""Words that make no password, however they are dressed up (docs/security/passwords.md)."""
SENTENCE_MIN = 20
"""From so many signs on several of these words are a sentence, and good."""
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890", "abcdefghijklmnopqrstuvwxyz",
         "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю")  # fmt: skip  # A list.
_LOOKS = str.maketrans("013457@$!", "oieastasi")
_PART_MIN = 4
_DISTINCT_MIN = 5
_RANGE_SIGNS = 5
TRIES_MIN = 10**8
"""What a guesser who knows all that has before so many tries is no password (zxcvbn's third of
four grades). Tries at the door are counted; this is for a stolen table of argon2id hashes."""
_JUDGED_MAX = 72
"""zxcvbn takes no more signs than these."""


class Stolen(Protocol):
    """Says whether a password is known to have been stolen somewhere."""

    def knows(self, password: str) -> bool:
        """Whether it is listed."""


class RangeFiles:
    """Ranges in a folder: a file XXXXX or XXXXX.txt has lines of the other 35 signs and a count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def knows(self, password: str) -> bool:
        """See the port; a range that is not there lists nothing."""
        digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        first, rest = digest[:_RANGE_SIGNS], digest[_RANGE_SIGNS:]
        for name in (first, f"{first}.txt"):
            path = self._folder / name
            if path.is_file():
                with path.open(encoding="ascii", errors="replace") as lines:
                    return any(
                        line[: len(rest)].upper() == rest and not line.rstrip().endswith(":0")
                        for line in lines)
        return False


def fault_of(password: str, own: Iterable[str] = ()) -> str:
    """Why a password is among the first that are tried: "words", "own", "row", "repeats" or
    "guessed"; "" for one that is not. `own` are the names of the person and the institution.
    """
    plain = password.lower()
    if len(set(plain)) < _DISTINCT_MIN or _repeats(plain):
        return "repeats"
    if _is_rows(plain):
        return "row"
    if not any(sign.isalpha() for sign in plain):
        return "words"  # Digits and signs alone: a date, a telephone number.
    names = {part for text in own for part in re.split(r"[\W_]+", text.lower())
             if len(part) >= _PART_MIN}  # fmt: skip  # One set.
    for words, fault in ((names, "own"), (WORDS | names, "words")):
        if len(plain) >= SENTENCE_MIN:
            continue
        if _is_dressed(plain, words) or _is_dressed(plain.translate(_LOOKS), words):
            return fault
    return "guessed" if _is_guessed(password, names) else ""


def _is_guessed(password: str, names: Iterable[str]) -> bool:
    """Whether a guesser who knows the person's names, too, has a password within TRIES_MIN."""
    # Its lists take 70 ms and some megabytes: only a worker that judges a password loads them.
    from zxcvbn import zxcvbn

    judged = zxcvbn(password[:_JUDGED_MAX], user_inputs=sorted(WORDS.union(names)))
    return bool(judged["guesses"] < TRIES_MIN)


def _is_dressed(text: str, words: Iterable[str]) -> bool:
    """Whether nothing but a few signs is left when words, digits and rows are taken out."""
    parts = [part for part in re.split(r"[\W\d_]+", text) if part]
    known = set(words)
    return bool(parts) and all(_is_known(part, known) for part in parts)


def _is_known(part: str, words: set[str]) -> bool:
    """Whether a part is one word, or several of them written together."""
    if len(part) < 3 or part in words:
        return True
    return any(part.startswith(word) and _is_known(part[len(word):], words)
               for word in words if len(word) >= _PART_MIN)  # fmt: skip  # One search.


def _repeats(text: str) -> bool:
    sizes = range(1, len(text) // 2 + 1)
    return any(text == (text[:size] * len(text))[: len(text)] for size in sizes)


def _is_rows(text: str) -> bool:
    """Whether it is made of runs along the keyboard, forwards or backwards."""
    left, taken = text, 0
    while left:
        longest = 0
        for row in _ROWS:
            for way in (row, row[::-1]):
                size = next((size for size in range(min(len(left), len(way)), 2, -1)
                             if left[:size] in way), 0)  # fmt: skip  # The longest.
                longest = max(longest, size)
        taken += longest
        left = left[longest or 1:]
    return taken * 10 >= len(text) * 8
