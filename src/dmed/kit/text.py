"""Text for people and for search: one key for a name in three scripts, and rule-made scripts.

`fold` is what every search of text compares; `name_key` is the stronger skeleton under which
one name meets itself in Uzbek Latin, Uzbek Cyrillic, Russian and Karakalpak spelling. Both
lose letters on purpose: keep the original for display and for exact comparison.
"""

from __future__ import annotations

import unicodedata

APOSTROPHES = "'`´ʹʻʼʽˈˊˋ‘’‛′＇"
"""Every sign that is met as an apostrophe of o‘, g‘ and the tutuq belgisi."""

_CYRILLIC = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "yo", "ж": "j", "з": "z",
    "и": "i", "й": "y", "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r",
    "с": "s", "т": "t", "у": "u", "ф": "f", "х": "x", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "sh",
    "ъ": "", "ы": "i", "ь": "", "э": "e", "ю": "yu", "я": "ya",
    "ў": "o", "қ": "q", "ғ": "g", "ҳ": "h",
    "ә": "a", "ө": "o", "ү": "u", "ң": "n", "і": "i", "ї": "i", "є": "e", "ґ": "g",
}  # fmt: skip  # One line an alphabet's stretch reads better than one line a letter.
_LATIN = {
    "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th",
    "ə": "a", "ŋ": "n",
}  # fmt: skip  # Same reason.


class _Folding(dict[int, str]):
    """A table for `str.translate` that works out a character the first time it is met."""

    def __missing__(self, code: int) -> str:
        plain = "".join(
            mark for mark in unicodedata.normalize("NFKD", chr(code))
            if unicodedata.category(mark) != "Mn"
        ).lower()
        folded = plain if plain == chr(code) else plain.translate(self)
        self[code] = folded
        return folded


_FOLDING = _Folding(
    {ord(letter): plain for letter, plain in {**_CYRILLIC, **_LATIN}.items()}
    | {ord(sign): "" for sign in APOSTROPHES}
)


def fold(text: str) -> str:
    """The key under which text is searched: lower-case, without accents and apostrophes, in Latin.

    Cyrillic (Uzbek, Russian, Karakalpak) becomes Uzbek Latin without apostrophes, blanks become
    one space. Folding twice gives the same. Punctuation other than apostrophes stays.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.lower().translate(_FOLDING).split())
