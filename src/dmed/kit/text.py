"""Text for people and for search: one key for a name in three scripts, and rule-made scripts.

`fold` is what every search of text compares; `name_key` is the stronger skeleton under which
one name meets itself in Uzbek Latin, Uzbek Cyrillic, Russian and Karakalpak spelling. Both
lose letters on purpose: keep the original for display and for exact comparison.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable
from functools import lru_cache

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


# --- The skeleton of names -------------------------------------------------------------------

_SON_OR_DAUGHTER = frozenset({
    "ogli", "ugli", "oghli", "ugly", "qizi", "kizi", "kyzy", "gizi", "qizy", "uli", "uuli",
    "uulu", "kyzi", "kizy",
})  # fmt: skip  # A list of words reads better filled.
_REFORMED = str.maketrans({"ş": "sh", "ç": "ch", "ğ": "g", "ñ": "n"})
_ENDINGS = (
    "yevich", "yevna", "ovich", "evich", "ovna", "evna", "inichna", "skaya", "skiy", "skii",
    "ski", "sky", "yeva", "yev", "ova", "eva", "ov", "ev",
)  # fmt: skip  # Same reason.
_SOUNDS = (
    ("dzh", "j"), ("dj", "j"), ("zh", "j"), ("kh", "h"), ("gh", "g"), ("ts", "s"), ("ck", "k"),
    ("x", "h"), ("q", "k"), ("w", "u"),
)  # fmt: skip  # Pairs in the order in which they are taken.
_VOWELS = str.maketrans({"e": "i", "o": "a", "u": "a"})
_STEM_LETTERS_MIN = 3


@lru_cache(maxsize=65_536)
def _word_key(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_LETTERS_MIN:
            word = word[: -len(ending)]
            break
    for spelling, sound in _SOUNDS:
        word = word.replace(spelling, sound)
    kept: list[str] = []
    for place, letter in enumerate(word):
        sound = letter
        if letter == "y":
            around = word[max(0, place - 1) : place] + word[place + 1 : place + 2]
            if any(near in "aeiou" for near in around):
                continue
            sound = "i"
        sound = sound.translate(_VOWELS)
        if not kept or kept[-1] != sound:
            kept.append(sound)
    return "".join(kept)


def name_words(text: str) -> list[str]:
    """The words of a name, folded, without the words for son and daughter."""
    folded = fold(text.lower().translate(_REFORMED)).replace("-", " ").replace(".", " ")
    return [word for word in folded.split() if word not in _SON_OR_DAUGHTER]


def name_key(text: str) -> str:
    """The skeleton of a name: one for Yo‘ldosheva, Йўлдошев, Юлдашева and Yuldashev.

    Word by word: endings of surnames and patronymics go, letters that the scripts write in
    two ways become one, a/o/u and e/i are merged, doubled letters count once. The words keep
    their order and are joined by one space; son and daughter (o‘g‘li, qizi) are left out.
    """
    return " ".join(key for word in name_words(text) if (key := _word_key(word)))


def name_frame(text: str) -> str:
    """The consonants of `name_key`: a second, looser key for vowels heard wrongly."""
    return " ".join(
        word[:1] + "".join(letter for letter in word[1:] if letter not in "ai")
        for word in name_key(text).split()
    )


# --- Scripts ---------------------------------------------------------------------------------

_KEEP = re.compile(
    r"\{[^{}]*\}|<[^<>]*>|&[a-z]+;|https?://\S+|[\w.-]+@[\w.-]+"
    r"|\b(?:DMED|MED-ID|FHIR|PDF|QR|API|ATC|GTIN|DataMatrix|SMS|ID|Ctrl|Alt|Esc|Enter|Tab|Shift"
    r"|Chromium|PostgreSQL|HL7|ICD-10|IKPU|URL|JSON|HTTPS?)\b"
)
_WORD = re.compile(r"[A-Za-zÀ-ɏ'`´ʻʼ‘’]+")
_UZ_EXCEPTIONS = {
    "rayon": "район", "mikrorayon": "микрорайон", "yod": "йод", "mayor": "майор",
    "kompyuter": "компьютер", "fakultet": "факультет", "yanvar": "январь", "fevral": "февраль",
    "aprel": "апрель", "iyun": "июнь", "iyul": "июль", "sentabr": "сентябрь",
    "oktabr": "октябрь", "noyabr": "ноябрь", "dekabr": "декабрь", "vaksina": "вакцина",
    "medal": "медаль", "rol": "роль", "albom": "альбом", "kislota": "кислота",
    "sirk": "цирк", "sement": "цемент", "sex": "цех", "familiya": "фамилия",
    "serebrovaskulyar": "цереброваскуляр", "shpris": "шприц", "obyekt": "объект",
    "subyekt": "субъект", "parol": "пароль", "kalsiy": "кальций", "sirroz": "цирроз",
}  # fmt: skip  # Loan words whose Cyrillic spelling no rule gives.
_UZ_PAIRS = {
    "o'": "ў", "g'": "ғ", "sh": "ш", "ch": "ч", "yo": "ё", "yu": "ю", "ya": "я", "ye": "е",
}  # fmt: skip  # Two letters that are one sound.
_UZ_SINGLES = {
    "a": "а", "b": "б", "d": "д", "f": "ф", "g": "г", "h": "ҳ", "i": "и", "j": "ж", "k": "к",
    "l": "л", "m": "м", "n": "н", "o": "о", "p": "п", "q": "қ", "r": "р", "s": "с", "t": "т",
    "u": "у", "v": "в", "x": "х", "y": "й", "z": "з", "c": "с", "w": "в", "'": "ъ",
}  # fmt: skip  # One letter, one letter.
_LOAN_TSIN = re.compile(r"(?:mi|sa|li|di|bri|ri|nka)tsin")


def _is_upper_run(piece: str) -> bool:
    return len(piece) > 1 and piece.isupper()


def _match_case(model: str, made: str) -> str:
    if _is_upper_run(model.replace("'", "")):
        return made.upper()
    return made[:1].upper() + made[1:] if model[:1].isupper() else made


def _word_to_cyrillic(word: str) -> str:
    plain = "".join("'" if letter in APOSTROPHES else letter for letter in word)
    low = plain.lower()
    for stem, cyrillic in _UZ_EXCEPTIONS.items():
        if low.startswith(stem) and (len(stem) > _STEM_LETTERS_MIN or low == stem):
            tail = low[len(stem) :]
            if tail and cyrillic.endswith("ь"):
                cyrillic = cyrillic[:-1]  # noqa: PLW2901  # The soft sign goes before an ending.
            rest = plain[len(stem) :]
            return _match_case(plain, cyrillic) + (_letters_to_cyrillic(rest, "т") if rest else "")
    return _letters_to_cyrillic(plain, "")


def _letters_to_cyrillic(plain: str, before: str) -> str:
    low, made, place = plain.lower(), [before], 0
    whole_upper = _is_upper_run(plain.replace("'", ""))
    is_loan = not low.endswith(("tsin", "tsinlar")) or _LOAN_TSIN.search(low) is not None
    while place < len(low):
        two, one = low[place : place + 2], low[place]
        if two == "yo" and low[place + 2 : place + 3] == "'":
            letter, width = "й", 1
        elif two == "ts" and is_loan and low[place + 2 : place + 3] in ("i", "e", "y", ""):
            letter, width = "ц", 2
        elif two in _UZ_PAIRS:
            letter, width = _UZ_PAIRS[two], 2
        elif one == "'" and low[place - 1 : place + 2] == "s'h":
            letter, width = "", 1
        elif one == "e":
            letter = "э" if not made[-1] or made[-1].lower() in "аеёиоуўэюя" else "е"
            width = 1
        else:
            letter, width = _UZ_SINGLES.get(one, plain[place]), 1
        upper = whole_upper or plain[place].isupper()
        made.append(letter.upper() if upper else letter)
        place += width
    return "".join(made[1:])


def to_cyrillic(text: str) -> str:
    """Uzbek Latin text in Uzbek Cyrillic by rule, with exceptions for loan words.

    Placeholders in braces, markup, addresses and a few technical names stay as they are.
    """
    made: list[str] = []
    place = 0
    for kept in _KEEP.finditer(text):
        made.append(_WORD.sub(lambda m: _word_to_cyrillic(m.group()), text[place : kept.start()]))
        made.append(kept.group())
        place = kept.end()
    made.append(_WORD.sub(lambda m: _word_to_cyrillic(m.group()), text[place:]))
    return "".join(made)


_UZ_LATIN = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "ё": "yo", "ж": "j", "з": "z", "и": "i",
    "й": "y", "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s",
    "т": "t", "у": "u", "ф": "f", "х": "x", "ч": "ch", "ш": "sh", "щ": "sh", "ъ": "’", "ы": "i",
    "ь": "", "э": "e", "ю": "yu", "я": "ya", "ў": "o‘", "қ": "q", "ғ": "g‘", "ҳ": "h",
}  # fmt: skip  # One letter, one sound.
_RU_LATIN = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "yo", "ж": "zh", "з": "z",
    "и": "i", "й": "y", "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r",
    "с": "s", "т": "t", "у": "u", "ф": "f", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh",
    "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu", "я": "ya",
}  # fmt: skip  # Same.
_CYRILLIC_VOWELS = "аеёиоуўэюяъь"


def _by_letters(text: str, sound: Callable[[str, str], str]) -> str:
    made: list[str] = []
    for place, letter in enumerate(text):
        low = letter.lower()
        new = sound(low, text[place - 1].lower() if place else "")
        if letter != low and new:
            near = text[place + 1 : place + 2] or text[max(0, place - 1) : place]
            new = new.upper() if near.isupper() else new[0].upper() + new[1:]
        made.append(new if letter != low or new != low else letter)
    return "".join(made)


def to_latin(text: str) -> str:
    """Uzbek Cyrillic text in the Uzbek Latin of 1995 (o‘, g‘, tutuq ’); other letters stay."""

    def sound(low: str, before: str) -> str:
        starts = not before.isalpha()
        if low == "е":
            return "ye" if starts or before in _CYRILLIC_VOWELS else "e"
        if low == "ц":
            return "s" if starts or before not in _CYRILLIC_VOWELS else "ts"
        return _UZ_LATIN.get(low, low)

    return _by_letters(text, sound)


def romanise(text: str) -> str:
    """Russian text in the Latin of passports: Юлдашева becomes Yuldasheva, Хаким Khakim."""
    return _by_letters(text, lambda low, _before: _RU_LATIN.get(low, low))


def is_cyrillic(text: str) -> bool:
    """Whether the first letter of the text is Cyrillic."""
    first = next((letter for letter in text if letter.isalpha()), "")
    return "Ѐ" <= first <= "ԯ"


# --- Trigrams --------------------------------------------------------------------------------


def trigrams(text: str) -> list[int]:
    """The distinct trigrams of `fold(text)` as sorted signed 32-bit numbers.

    Each word gets two blanks before and one behind, so that its beginning weighs more.
    """
    found = set()
    for word in fold(text).split():
        padded = f"  {word} "
        for place in range(len(padded) - 2):
            found.add(zlib.crc32(padded[place : place + 3].encode()) - 2**31)
    return sorted(found)
