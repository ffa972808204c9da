"""What is wrong with a typed name: letters of two scripts in one word, pictures, one letter.

Cyrillic А, В, Е, К, М, Н, О, Р, С, Т, У, Х look like Latin letters and are others: a name typed
with them is found by nobody. Where every strange letter has a twin in the script of the rest, the
word can be straightened; otherwise a person must look.
"""

from __future__ import annotations

import re
import unicodedata

_CYRILLIC = "АВЕЅІЈКМНОРСТУХаеѕіјорсухԛԝ"
_LATIN = "ABESIJKMHOPCTYXaesijopcyxqw"
_TWINS = {"latin": str.maketrans(_CYRILLIC, _LATIN), "cyrillic": str.maketrans(_LATIN, _CYRILLIC)}
_APOSTROPHES = "'`´ʻʼ‘’ʹ′"
_ALLOWED = frozenset(_APOSTROPHES + " -.‐‑–")
_WORDS = re.compile(r"[^\s-]+")
_PLAIN = re.compile(r"[A-Za-zÀ-ɏ'`´ʻʼ‘’ .-]*|[\u0400-\u04ff'`´ʻʼ‘’ .-]*")
"""Letters of one script with what stands between them: nearly every name, told at a glance."""
_ENOUGH = re.compile(r"\w.*\w")
LETTERS_MIN = 2
LETTERS_MAX = 120


def script_of(letter: str) -> str:
    """The script of a letter: latin, cyrillic, other, or "" for what has none of its own."""
    if not letter.isalpha():
        return ""
    name = unicodedata.name(letter, "")
    if name.startswith(("LATIN", "FULLWIDTH LATIN")):
        return "latin"
    return "cyrillic" if name.startswith("CYRILLIC") else (
        "" if name.startswith("MODIFIER") else "other")


def _scripts(word: str) -> set[str]:
    return {script for letter in word if (script := script_of(letter))}


def is_mixed(text: str) -> bool:
    """Whether a word of the text has letters of more than one script."""
    return not _PLAIN.fullmatch(text) and any(
        len(_scripts(word)) > 1 for word in _WORDS.findall(text))


def straighten(text: str) -> str:
    """The text with look-alike letters in the script of the rest of their word; a word of which
    that cannot be said stays as it is.

    >>> straighten("Каримoв") == "Каримов"
    True
    """
    if _PLAIN.fullmatch(text):
        return text
    return _WORDS.sub(lambda found: _straight(found.group()), text)


def _straight(word: str) -> str:
    if _scripts(word) != {"latin", "cyrillic"}:
        return word
    whole = {script: word.translate(table) for script, table in _TWINS.items()}
    sound = [one for script, one in whole.items() if _scripts(one) == {script}]
    if len(sound) == 1:
        return sound[0]
    if len(sound) == 2:
        # Every letter has a twin: the script of the most letters is meant.
        count = sum(1 if script_of(letter) == "latin" else -1 for letter in word)
        return whole["latin"] if count > 0 else whole["cyrillic"]
    return word


def strange_signs(text: str) -> str:
    """The signs of a text that no name has: digits, pictures, brackets, invisible ones."""
    return "".join(dict.fromkeys(
        sign for sign in text
        if sign not in _ALLOWED and unicodedata.category(sign)[0] not in "LM"))


def faults(text: str) -> list[tuple[str, dict[str, str]]]:
    """(key of a sentence, its values) for everything wrong with one part of a name."""
    if _PLAIN.fullmatch(text) and _ENOUGH.search(text) and len(text) <= LETTERS_MAX:
        return []
    found: list[tuple[str, dict[str, str]]] = []
    strange = strange_signs(text)
    if strange:
        shown = " ".join(sign if sign.isprintable() else f"U+{ord(sign):04X}"
                         for sign in strange[:8])
        found.append(("medid.check.name-letters", {"signs": shown}))
    letters = [letter for letter in text if letter.isalpha()]
    if 0 < len(letters) < LETTERS_MIN:
        found.append(("medid.check.name-short", {}))
    if len(text) > LETTERS_MAX:
        found.append(("medid.check.name-long", {"most": str(LETTERS_MAX)}))
    if any(_scripts(word) - {"latin", "cyrillic"} for word in _WORDS.findall(text)):
        found.append(("medid.check.name-script", {}))
    elif is_mixed(text):
        better = straighten(text)
        key = "medid.check.name-mixed" if not is_mixed(better) else "medid.check.name-mixed-hard"
        found.append((key, {"text": text, "better": better}))
    return found
