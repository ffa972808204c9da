"""Codes found as you type: by the beginnings of words of their names in any language.

Names are folded by `kit.text`, so that Latin and Cyrillic spelling, accents and apostrophes meet.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from dmed.kit.text import fold

_Range: TypeAlias = "tuple[array[int], array[int]]"


class _NotWords(dict[int, str]):
    """A table for `str.translate`: what is neither letter nor digit becomes a blank."""

    def __missing__(self, code: int) -> str:
        made = chr(code) if chr(code).isalnum() else " "
        self[code] = made
        return made


_TABLE = _NotWords()


def words_of(text: str) -> list[str]:
    """The folded words of a text: letters and digits."""
    return fold(text).translate(_TABLE).split()


def found_in(text: str, typed: list[str]) -> int:
    """How well a name answers what was typed: 2 at its beginning, 1 anywhere, 0 not at all."""
    words = words_of(text)
    if not all(any(word.startswith(part) for word in words) for part in typed):
        return 0
    return 2 if words and words[0].startswith(typed[0]) else 1


class WordIndex:
    """Places by words. `labels` gives pairs of a place (0, 1, 2, ... in any order) and a name."""

    def __init__(self, labels: Iterable[tuple[int, str]]) -> None:
        first: dict[str, array[int]] = {}
        every: dict[str, array[int]] = {}
        for place, label in labels:
            for number, word in enumerate(words_of(label)):
                _note(every, word, place)
                if number == 0:
                    _note(first, word, place)
        self._words = sorted(every)
        self._every = [every[word] for word in self._words]
        self._first = [first.get(word, _NONE) for word in self._words]
        # One letter meets a large part of everything, and is what is typed most.
        self._letters: dict[str, _Range] = {}
        for word in self._words:
            if word[0] not in self._letters:
                leading, anywhere = self._range(word[0])
                self._letters[word[0]] = array("I", sorted(leading)), array("I", sorted(anywhere))

    def _range(self, prefix: str) -> tuple[set[int], set[int]]:
        low = bisect_left(self._words, prefix)
        high = bisect_left(self._words, prefix + "\U0010ffff")
        leading = set(chain.from_iterable(self._first[low:high]))
        return leading, set(chain.from_iterable(self._every[low:high]))

    def find(self, typed: list[str]) -> tuple[list[int], list[int]]:
        """Places in order: those whose name begins with the first word, then the others.

        Every typed word must be the beginning of some word of the concept's names.
        """
        if len(typed) == 1 and len(typed[0]) == 1:
            leading, anywhere = self._letters.get(typed[0], (_NONE, _NONE))
            known = set(leading)
            return list(leading), [place for place in anywhere if place not in known]
        ranges = sorted((self._range(word) for word in typed[1:]), key=lambda each: len(each[1]))
        first, found = self._range(typed[0])
        for _, others in ranges:
            found &= others
        first &= found
        return sorted(first), sorted(found - first)


_NONE: array[int] = array("I")


def _note(postings: dict[str, array[int]], word: str, place: int) -> None:
    known = postings.get(word)
    if known is None:
        postings[word] = array("I", (place,))
    elif known[-1] != place:
        known.append(place)


def interleaved(groups: Iterable[tuple[list[int], list[int]]]) -> Iterator[tuple[int, int]]:
    """(group, place) of several findings: of all groups the leading ones first."""
    kept = list(groups)
    for tier in (0, 1):
        for number, group in enumerate(kept):
            for place in group[tier]:
                yield number, place
