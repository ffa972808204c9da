"""Search as you type over some 30,000 packs: an index in memory, made once a version.

Words are folded (one script, no accents). What is typed is met at the beginning of a word by
bisection; a misspelt beginning through neighbours of its first letters, which are then measured.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from dmed.kit.text import fold
from dmed.modules.medicines.model import Preparation, Product
from dmed.modules.medicines.rules.names import unit_name

WORD_LETTERS_MIN = 2
_HEAD = 4
"""Letters of a beginning by which misspelt words are looked for; one of them may be wrong."""
_FUZZY_FROM = 4
_TWO_ERRORS_FROM = 7
_INN, _SYNONYM, _TRADE, _ATC = 100, 98, 90, 80
"""Weights in hundredths: INN above household name above trade name above ATC code."""
_WHOLE, _BEGINS, _NEAR, _STEP = 100, 95, 90, 20
_LAST = "\U0010ffff"


class Word(msgspec.Struct, frozen=True):
    """One searchable word and what it stands for."""

    folded: str
    shown: str
    weight: int
    """Of a full match, in hundredths."""
    places: tuple[int, ...]
    """Preparations by their place in the order of ties."""


class Found(msgspec.Struct, frozen=True):
    """A preparation that fits the typed text, by which word, and how well (0 to 10,000)."""

    key: str
    shown: str
    score: int


def nearness(typed: str, word: str) -> int:
    """How well typed letters begin a word, in hundredths: 100 for the whole, less for a beginning,
    less again for each wrong, missing, doubled or swapped letter; 0 when it is another word.
    """
    if word == typed:
        return _WHOLE
    if word.startswith(typed):
        return _BEGINS
    allowed = _errors(typed)
    if not allowed:
        return 0
    distance = beginning_distance(typed, word, allowed)
    return 0 if distance > allowed else _NEAR - _STEP * distance


def _errors(typed: str) -> int:
    if len(typed) < _FUZZY_FROM:
        return 0
    return 1 if len(typed) < _TWO_ERRORS_FROM else 2


def beginning_distance(typed: str, word: str, limit: int) -> int:
    """The least number of edits (swap included) that make `typed` a beginning of `word`;
    `limit + 1` when more are needed.
    """
    width = min(len(word), len(typed) + limit)
    above: list[int] = []
    row = list(range(width + 1))
    for i, sign in enumerate(typed, 1):
        before, row, above = above, [i], row
        for j in range(1, width + 1):
            cost = above[j - 1] + (sign != word[j - 1])
            cost = min(cost, above[j] + 1, row[j - 1] + 1)
            if i > 1 and j > 1 and sign == word[j - 2] and typed[i - 2] == word[j - 1]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return min(row)


def distances(
    typed: str, words: Sequence[str], numbers: Iterable[int], limit: int
) -> Iterable[tuple[int, int]]:
    """`beginning_distance` of many words in their order, by number: what neighbours in the order
    begin with alike is measured once.
    """
    size = len(typed)
    rows = [list(range(size + 1))]
    least = [size]
    before, dead = "", -1
    for number in numbers:
        word = words[number][: size + limit]
        common = 0
        for one, other in zip(before, word, strict=False):
            if one != other:
                break
            common += 1
        if 0 <= dead <= common:
            yield number, least[dead]
            continue
        depth = min(common, len(rows) - 1)
        del rows[depth + 1 :], least[depth + 1 :]
        dead = -1
        for place in range(depth, len(word)):
            row = _row(typed, word, place, rows)
            rows.append(row)
            least.append(min(least[-1], row[size]))
            if min(row) > limit:
                dead = place + 1
                break
        before = word
        yield number, least[-1]


def _row(typed: str, word: str, place: int, rows: Sequence[Sequence[int]]) -> list[int]:
    """Distances of the word's first `place + 1` letters to each beginning of what was typed."""
    above, sign = rows[-1], word[place]
    left = place + 1
    row = [left]
    for i, letter in enumerate(typed):
        cost = above[i] + (letter != sign)
        cost = min(cost, above[i + 1] + 1, left + 1)
        if i and place and letter == word[place - 1] and typed[i - 1] == sign:
            cost = min(cost, rows[-2][i - 1] + 1)
        row.append(cost)
        left = cost
    return row


def _neighbours(head: str) -> set[str]:
    """The head itself and what is left of it without any one letter."""
    return {head} | {head[:place] + head[place + 1 :] for place in range(len(head))}


class Index:
    """All preparations of a version, to be searched by INN, trade name or ATC code."""

    def __init__(
        self,
        preparations: Iterable[Preparation],
        products: Iterable[Product],
        synonyms: Mapping[str, str],
    ) -> None:
        ordered = sorted(preparations, key=_tie)
        self.preparations: tuple[Preparation, ...] = tuple(ordered)
        self._place = {each.key: place for place, each in enumerate(ordered)}
        self._words = self._made(products, synonyms)
        self._folded = [word.folded for word in self._words]
        self._heads: dict[str, list[int]] = {}
        self._begun: dict[str, list[int]] = {}
        for number, word in enumerate(self._words):
            self._begun.setdefault(word.folded[: _HEAD + 1], []).append(number)
        for beginning in self._begun:
            self._add_heads(beginning)
        self._own: list[str] = [""] * len(ordered)
        """The words of each preparation, each after a blank, to look further parts up in."""
        own: list[list[str]] = [[] for _ in ordered]
        for word in self._words:
            for place in word.places:
                own[place].append(word.folded)
        for place, each in enumerate(ordered):
            form = each.form
            names = fold(f"{form.uz} {form.ru} {form.en} {unit_name(form.unit, 'uz')}")
            self._own[place] = f" {names} {' '.join(own[place])}"

    def _made(self, products: Iterable[Product], synonyms: Mapping[str, str]) -> list[Word]:
        found: dict[str, tuple[str, int, set[int]]] = {}
        folded_once: dict[str, list[str]] = {}

        def add(text: str, weight: int, place: int) -> None:
            parts = folded_once.get(text)
            if parts is None:
                words = (fold(part.strip("(),")) for part in text.replace("+", " ").split())
                parts = [word for word in words if len(word) >= WORD_LETTERS_MIN]
                folded_once[text] = parts
            for folded in parts:
                found.setdefault(folded, (text, weight, set()))[2].add(place)

        for place, each in enumerate(self.preparations):
            for name in (each.inn.uz, each.inn.ru, each.inn.en):
                add(name, _INN, place)
            add(each.atc, _ATC, place)
            add(synonyms.get(each.inn.key, ""), _SYNONYM, place)
        for product in products:
            place_of = self._place.get(product.preparation.key)
            if place_of is not None:
                add(product.trade, _TRADE, place_of)
        return [Word(folded, shown, weight, tuple(sorted(places)))
                for folded, (shown, weight, places) in sorted(found.items())]  # fmt: skip

    def _add_heads(self, beginning: str) -> None:
        reached: set[str] = set()
        for length in (_HEAD - 1, _HEAD, _HEAD + 1):
            reached |= _neighbours(beginning[:length])
        numbers = self._begun[beginning]
        for neighbour in reached:
            self._heads.setdefault(neighbour, []).extend(numbers)

    def find(self, text: str, limit: int = 12) -> list[Found]:
        """Preparations that fit every typed part: letters find INN, trade name or ATC code, parts
        that begin with a digit narrow by strength, other letters by form. Best first.
        """
        parts = fold(text).replace("+", " ").replace(",", ".").split()
        letters = [part for part in parts if not part[0].isdigit()]
        digits = [part for part in parts if part[0].isdigit()]
        if not letters:
            return []
        further = letters[1:]
        # A beginning that is right outweighs any that is misspelt: these are measured only where
        # nothing begins so.
        return (self._kept(self._begins(letters[0]), further, digits, limit)
                or self._kept(self._misspelt(letters[0]), further, digits, limit))

    def _kept(
        self, scored: Iterable[tuple[int, int]], letters: Sequence[str], digits: Sequence[str],
        limit: int,
    ) -> list[Found]:
        best: dict[int, tuple[int, int]] = {}
        for number, score in scored:
            word = self._words[number]
            points = score * word.weight
            for place in word.places:
                known = best.get(place)
                if known is None or known[0] < points:
                    best[place] = (points, number)
        kept: list[Found] = []
        for place, (points, number) in sorted(best.items(), key=lambda at: (-at[1][0], at[0])):
            if self._fits(place, letters, digits):
                each = self.preparations[place]
                kept.append(Found(each.key, self._words[number].shown, points))
                if len(kept) == limit:
                    break
        return kept

    def _begins(self, typed: str) -> Iterable[tuple[int, int]]:
        start = bisect_left(self._folded, typed)
        for number in range(start, bisect_left(self._folded, typed + _LAST, lo=start)):
            yield number, _WHOLE if self._folded[number] == typed else _BEGINS

    def _misspelt(self, typed: str) -> Iterable[tuple[int, int]]:
        allowed = _errors(typed)
        if not allowed:
            return
        seen: set[int] = set()
        for neighbour in _neighbours(typed[:_HEAD]):
            seen.update(self._heads.get(neighbour, ()))
        for number, distance in distances(typed, self._folded, sorted(seen), allowed):
            if distance <= allowed:
                yield number, _NEAR - _STEP * distance

    def _fits(self, place: int, letters: Sequence[str], digits: Sequence[str]) -> bool:
        each = self.preparations[place]
        own = self._own[place]
        return all(_strong(each, part) for part in digits) and all(
            f" {part}" in own or any(nearness(part, word) for word in own.split())
            for part in letters
        )


def _tie(each: Preparation) -> tuple[int, str, bool, str, object, str]:
    """Equal matches: a single INN before combinations with it, what has a usual dose before what
    has none (the doctor has to write it), then form and strength.
    """
    return (len(each.inn.components), each.inn.en, not each.default_dose, each.form.key,
            each.strength, each.key)


def _strong(preparation: Preparation, part: str) -> bool:
    """Whether a typed strength ("500", "500mg", "0.5") begins a number of this preparation."""
    number = part.rstrip("abcdefghijklmnopqrstuvwxyz%/")
    texts = preparation.strength_text.replace("/", " ").replace("%", " ").split()
    return any(text.startswith(number) for text in texts)
