"""Codes found as you type: by the beginnings of words of their names in any language.

Names are folded by `kit.text`, so that Latin and Cyrillic spelling, accents and apostrophes meet.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain

from dmed.kit.text import fold


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


class Places:
    """A set of places as one byte each, 1 for those in it: sets of 100,000 meet in microseconds."""

    __slots__ = ("marks",)

    def __init__(self, marks: bytes | bytearray) -> None:
        self.marks = marks

    @classmethod
    def of(cls, places: Iterable[int], size: int) -> Places:
        """The set of these places among 0 to size - 1."""
        marks = bytearray(size)
        for place in places:
            marks[place] = 1
        return cls(marks)

    def __len__(self) -> int:
        return self.marks.count(1)

    def __iter__(self) -> Iterator[int]:
        place = self.marks.find(1)
        while place >= 0:
            yield place
            place = self.marks.find(1, place + 1)

    def __and__(self, other: Places) -> Places:
        return self._made(self._number & other._number)

    def __or__(self, other: Places) -> Places:
        return self._made(self._number | other._number)

    def __sub__(self, other: Places) -> Places:
        return self._made(self._number & ~other._number)

    @property
    def _number(self) -> int:
        return int.from_bytes(self.marks, "little")

    def _made(self, number: int) -> Places:
        return Places(number.to_bytes(len(self.marks), "little"))


class WordIndex:
    """Places by words. `labels` gives pairs of a place (0 to size - 1, in any order) and a name."""

    def __init__(self, labels: Iterable[tuple[int, str]], size: int) -> None:
        first: dict[str, array[int]] = {}
        every: dict[str, array[int]] = {}
        folded: dict[str, list[str]] = {}  # Names share words: each is folded once.
        for place, label in labels:
            is_first = True
            for raw in label.split():
                words = folded.get(raw)
                if words is None:
                    words = folded[raw] = words_of(raw)
                for word in words:
                    _note(every, word, place)
                    if is_first:
                        _note(first, word, place)
                        is_first = False
        self._size = size
        self._words = sorted(every)
        self._every = [every[word] for word in self._words]
        self._first = [first.get(word, _NONE) for word in self._words]
        self._kept: dict[str, tuple[Places, Places]] = {}

    def _range(self, prefix: str) -> tuple[Places, Places]:
        """Places with a name that begins with the prefix, and with any word that does."""
        kept = self._kept.get(prefix)
        if kept is not None:
            return kept
        low = bisect_left(self._words, prefix)
        high = bisect_left(self._words, prefix + "\U0010ffff")
        found = (
            Places.of(chain.from_iterable(self._first[low:high]), self._size),
            Places.of(chain.from_iterable(self._every[low:high]), self._size),
        )
        if sum(map(len, self._every[low:high])) > _COSTLY:
            if len(self._kept) >= _KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[prefix] = found
        return found

    def find(self, typed: list[str]) -> tuple[Places, Places]:
        """Places whose name begins with the first typed word, and the other places found.

        Every typed word must be the beginning of some word of the concept's names.
        """
        leading, found = self._range(typed[0])
        for word in typed[1:]:
            found &= self._range(word)[1]
        leading &= found
        return leading, found - leading


_NONE: array[int] = array("I")
_COSTLY = 2_000
"""Beginnings of words that meet more places are kept, at most so many of them: one or two letters
are typed most and meet a large part of everything.
"""
_KEPT_MAX = 128


def _note(postings: dict[str, array[int]], word: str, place: int) -> None:
    known = postings.get(word)
    if known is None:
        postings[word] = array("I", (place,))
    elif known[-1] != place:
        known.append(place)
