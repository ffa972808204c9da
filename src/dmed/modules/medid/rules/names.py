"""Names as they are heard: one sound for one name, whatever alphabet and form it was written in.

Stronger than the index's `name_key` (decision 0020) and built on its `fold`: it also bridges
Karakalpak, the reformed Latin, patronymics with misspelt endings, and keeps what `name_key`
throws away, namely which vowels are surely open and which surely closed. Hasan and Husan have
one skeleton, and are two brothers; Bobur and Бабур have one skeleton, and are one name.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import msgspec

from dmed.kit.text import APOSTROPHES, fold

_CHILD = frozenset({
    "ogli", "ugli", "oghli", "ugly", "ogly", "qizi", "kizi", "kyzy", "gizi", "qizy", "uli", "uuli",
    "uulu", "kyzi", "kizy", "ogil", "ugil", "qiz", "uly", "ulu",
})  # fmt: skip  # The words for son and daughter, folded.
_OPEN, _CLOSED, _EITHER = "a", "u", "o"
_MARKED = {
    # Letters whose sound the fold of search merges: o‘ in every alphabet is closed, like u.
    "ў": "u", "ö": "u", "ó": "u", "ō": "u", "õ": "u", "ŏ": "u", "ø": "u", "ө": "u", "ő": "u",
    "ş": "sh", "ș": "sh", "ç": "ch", "ğ": "g", "ḡ": "g", "ǵ": "g", "ñ": "n", "ń": "n", "ң": "n",
    "щ": "sh", "ы": "i", "ı": "i", "w": "v",
}  # fmt: skip  # A table of letters reads better filled.
_APOSTROPHE = f"[{re.escape(APOSTROPHES)}]"
_CLOSED_O = re.compile(f"o{_APOSTROPHE}")
_VOWEL_W = re.compile("(?<=[аәaáæ])ў(?![аеёиоуыэюяәөүі])")
_SOUNDS = (
    ("shch", "sh"), ("dzh", "j"), ("dj", "j"), ("zh", "j"), ("kh", "h"), ("gh", "g"), ("ph", "f"),
    ("ts", "s"), ("ck", "k"), ("ng", "n"), ("x", "h"), ("q", "k"), ("w", "v"),
)  # fmt: skip  # Pairs in the order in which they are taken.
_C = re.compile("c(?!h)")
_DIPHTHONG = re.compile("(?<=[ao])u(?=[bcdfghjklmnprstvz])")
_GOD = re.compile("l+[ao]h?$")
_ENDING = re.compile("(?:[iy]*[aeo]v(?:[iy]ch|na|a|i)?|inichna|skaya|sk[iy]+)$")
_TAIL = re.compile("(?:jan|han|bik|bay|bai|bi|biki|bigim|bana|aka|ay|tay|zada|say[iy]d)$")
ADDED = _TAIL.pattern.removesuffix("$")
"""What is added to a name in courtesy, as a regular expression over its key."""
_ADDED = re.compile(ADDED)
_STEM_MIN = 3
_MERGED = str.maketrans({"e": "i", "o": "a", "u": "a"})


class Sound(msgspec.Struct, frozen=True):
    """How a name is heard. Two names are one where `key` is and no vowel contradicts."""

    key: str = ""
    """The skeleton: vowels merged to a and i, endings gone; words joined by one blank."""
    core: str = ""
    """The skeleton without what is added in courtesy: -jon, -bek, -xon, -boy, -oy."""
    letters: str = ""
    """The letters before they were merged, in Latin: for slips of the finger."""
    frame: str = ""
    """First letter and consonants of the core: for vowels heard wrongly."""
    open_bits: int = 0
    """Bit n: the n-th letter of `key` is surely an open a."""
    closed_bits: int = 0
    """Bit n: the n-th letter of `key` is surely a closed u or o‘."""
    is_initial: bool = False
    """Nothing but a first letter was written."""

    def contradicts(self, other: Sound) -> bool:
        """Whether a vowel is surely open in one and surely closed in the other."""
        return bool(self.open_bits & other.closed_bits or self.closed_bits & other.open_bits)


_NONE = Sound()


@lru_cache(maxsize=131_072)
def sound(text: str) -> Sound:
    """The sound of a surname, given name or patronymic; empty for a text without letters.

    Patronymics give the father's name: Karim o‘g‘li, Каримович and Karimovich are heard alike.
    """
    words = _words(text)
    if not words:
        return _NONE
    keys: list[str] = []
    vowels: list[str] = []
    for word in words:
        key, marks = _heard(word)
        if key:
            keys.append(key)
            vowels.append(marks)
    marks = " ".join(vowels)
    cores = [_core(key) for key in keys]
    return Sound(
        key=" ".join(keys),
        core=" ".join(cores),
        letters=" ".join(words),
        frame=" ".join(core[:1] + re.sub("[ai]", "", core[1:]) for core in cores),
        open_bits=sum(1 << place for place, mark in enumerate(marks[:60]) if mark == _OPEN),
        closed_bits=sum(1 << place for place, mark in enumerate(marks[:60]) if mark == _CLOSED),
        is_initial=len(words) == 1 and _is_initial(text),
    )


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFC", text).lower()
    plain = _VOWEL_W.sub("v", plain)  # Karakalpak ў after a is the w of Dáwlet.
    plain = _CLOSED_O.sub("ў", plain)
    folded = fold("".join(_MARKED.get(letter, letter) for letter in plain))
    words = re.sub(r"[^a-z]+", " ", folded).split()
    return [word for word in words if word not in _CHILD and not _is_child(word)] or words[:0]


def _is_child(word: str) -> bool:
    # o‘g‘li with its marks read as sounds.
    return word in {"ugli", "uglu", "ugil"}


def _is_initial(text: str) -> bool:
    letters = "".join(letter for letter in text if letter.isalpha())
    if len(letters) == 1:
        return True
    return len(letters) == 2 and fold(letters) in {"sh", "ch", "yo", "yu", "ya", "ye", "kh", "zh"} \
        and text.rstrip().endswith(".")


def _heard(word: str) -> tuple[str, str]:
    """The key of a word and, letter by letter, whether a vowel is open, closed or either."""
    for spelling, heard in _SOUNDS:
        word = word.replace(spelling, heard)
    word = _C.sub("k", word)
    ending = _ENDING.search(word)
    if ending:
        is_of_stem = ending.start() == _STEM_MIN - 1 and word[ending.start()] in "iy"  # Ali-ev.
        cut = ending.start() + is_of_stem
        word = word[:cut] if cut >= _STEM_MIN else word
    word = _GOD.sub("la", _DIPHTHONG.sub("v", word))
    key: list[str] = []
    marks: list[str] = []
    for place, letter in enumerate(word):
        if letter == "y":
            around = word[max(0, place - 1) : place] + word[place + 1 : place + 2]
            if any(near in "aeiou" for near in around):
                continue
        merged = "i" if letter == "y" else letter.translate(_MERGED)
        mark = letter if letter in "aou" else "-"
        if key and key[-1] == merged:
            if marks[-1] != mark:
                marks[-1] = _EITHER
            continue
        key.append(merged)
        marks.append(mark)
    return "".join(key), "".join(marks)


def _core(key: str) -> str:
    while (cut := _TAIL.search(key)) and cut.start() >= _STEM_MIN:
        key = key[: cut.start()]
    # The d of Sherzodjon is heard as the beginning of -jon.
    return key[:-1] if key.endswith("d") and len(key) > _STEM_MIN else key


# --- Comparing -------------------------------------------------------------------------------


def edits(left: str, right: str, at_most: int) -> int:
    """How many letters were changed, left out, put in or swapped with the next one.

    `at_most` + 1 stands for more.
    """
    if left == right:
        return 0
    if abs(len(left) - len(right)) > at_most:
        return at_most + 1
    begin = 0
    while begin < min(len(left), len(right)) and left[begin] == right[begin]:
        begin += 1
    left, right = left[begin:], right[begin:]
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > at_most + 1:
            return at_most + 1
    return min(row[-1], at_most + 1)


def is_courtesy(left: Sound, right: Sound) -> bool:
    """Whether nothing but -jon, -bek or the like was added: Alisher, Alisherbek."""
    shorter, longer = sorted((left.key, right.key), key=len)
    stem = shorter if longer.startswith(shorter) else shorter.removesuffix("d")
    # The shorter begins the longer, so the vowels of both lie above one another.
    return (longer.startswith(stem) and _ADDED.fullmatch(longer, len(stem)) is not None
            and not left.contradicts(right))


def likeness(left: Sound, right: Sound) -> str:
    """"same", "alike" (courtesy or one letter), "initial", "near" or "different".

    Empty sounds have no likeness: the caller asks for names that are there.
    """
    if left.is_initial or right.is_initial:
        begins = left.key.startswith(right.key) or right.key.startswith(left.key)
        return "initial" if begins else "different"
    if left.key == right.key:
        return "near" if left.contradicts(right) else "same"
    shorter = min(len(left.key), len(right.key))
    if is_courtesy(left, right):
        return "alike"
    if shorter >= 4 and edits(left.key, right.key, 1) <= 1:
        return "alike"
    ours, theirs = left.letters, right.letters
    if min(len(ours), len(theirs)) >= 4 and edits(ours, theirs, 1) <= 1:
        return "alike"  # A vowel left out merges its neighbours: Anora, Aora.
    is_framed = left.frame == right.frame and len(left.frame) >= _STEM_MIN
    if is_framed or (shorter >= 6 and edits(left.key, right.key, 2) <= 2):
        return "near"
    return "different"
