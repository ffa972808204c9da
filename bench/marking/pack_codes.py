"""Pack codes as they come to a counter, made from the GS1 rules alone.

Nothing of the platform is imported here: the check digit, the layout of a code and the keyboards
are written down a second time, so that a mistake of the reader is not made by its own examiner.
Sources: GS1 General Specifications (element strings, check digit, dates, FNC1 and symbology
identifiers); the keyboards are those of Windows, US and Russian.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

FNC1 = chr(29)
SIGNS = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
         "!\"%&'()*+,-./_:;<=>?")
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

# Rows of keys as they lie on the desk, left to right: unshifted, then shifted.
US = (r"`1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./",
      "~!@#$%^&*()_+", "QWERTYUIOP{}", 'ASDFGHJKL:"', "ZXCVBNM<>?")
RU = ("ё1234567890-=", "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю.",
      'Ё!"№;%:?*()_+', "ЙЦУКЕНГШЩЗХЪ", "ФЫВАПРОЛДЖЭ", "ЯЧСМИТЬБЮ,")
ON_RUSSIAN = {ord(us): ru for row_us, row_ru in zip(US, RU, strict=True)
              for us, ru in zip(row_us, row_ru, strict=True)}


def check_digit(body: str) -> str:
    """GS1 7.9: weights 3 and 1 from the right."""
    total = 0
    for place, digit in enumerate(body[::-1], 1):
        total += int(digit) * (3 if place % 2 == 1 else 1)
    return str((10 - total % 10) % 10)


@dataclass(frozen=True)
class Pack:
    """What is printed on a pack."""

    gtin: str
    serial: str
    key: str
    crypto: str

    @property
    def element(self) -> str:
        """The whole element string with its separators."""
        return f"01{self.gtin}21{self.serial}{FNC1}91{self.key}{FNC1}92{self.crypto}"


@dataclass(frozen=True)
class Case:
    """One text at the counter: which trap, what was sent, and what it is."""

    trap: str
    text: str
    pack: Pack | None
    """None: no pack; it must be refused."""
    expect: str
    """read, or refuse, or operator (only the operator's word can tell: it may neither be taken as
    it stands nor raise an alert)."""
    says: str = ""
    """What a refusal must name, where it matters: sscc, ean13, check_digit, ..."""
    truth: str = "good"
    """What the operator and our own records know of the pack: good, unknown, withdrawn, recalled,
    expired, waiting (not introduced), batch, date (printed otherwise), month (DD=00 of the right
    month), elsewhere (handed over by another pharmacy), here, opened (a part elsewhere)."""


def pack(chance: random.Random, gtins: list[str] | None = None, *, first: str = "") -> Pack:
    """A pack with any legal serial, apostrophes and other signs among them."""
    body = "0952" + "".join(chance.choices("0123456789", k=9))
    serial = first + "".join(chance.choices(SIGNS, k=13 - len(first)))
    return Pack(gtin=chance.choice(gtins) if gtins else body + check_digit(body), serial=serial,
                key="".join(chance.choices(SIGNS[:62], k=4)),
                crypto="".join(chance.choices(BASE64, k=43)) + "=")


def _caps(text: str) -> str:
    return text.swapcase()


def _lettered(chance: random.Random, gtins: list[str] | None) -> Pack:
    """A pack whose serial has a letter, so that its keyboard can be told."""
    return pack(chance, gtins, first=chance.choice("QWRTYSDFGqwrtysdfg"))


def _good(name: str, change: Callable[[Pack, random.Random], str]) -> Callable[..., Case]:
    def made(chance: random.Random, gtins: list[str] | None) -> Case:
        one = _lettered(chance, gtins)
        return Case(name, change(one, chance), one, "read")
    return made


def _bad(name: str, says: str, change: Callable[[Pack, random.Random], str]) -> Callable[..., Case]:
    def made(chance: random.Random, gtins: list[str] | None) -> Case:
        return Case(name, change(_lettered(chance, gtins), chance), None, "refuse", says)
    return made


def _typed_ru(text: str) -> str:
    """What a Russian keyboard makes of the keys that a scanner presses; GS has no key."""
    return text.replace(FNC1, "").translate(ON_RUSSIAN)


def _with_sign(one: Pack, sign: str, chance: random.Random) -> Pack:
    at = chance.randrange(1, 13)
    return Pack(one.gtin, one.serial[:at] + sign + one.serial[at + 1:], one.key, one.crypto)


def _signed(name: str, signs: str, change: Callable[[str, str], str]) -> Callable[..., Case]:
    """A serial that holds a certain sign for sure."""
    def made(chance: random.Random, gtins: list[str] | None) -> Case:
        sign = chance.choice(signs)
        one = _with_sign(_lettered(chance, gtins), sign, chance)
        return Case(name, change(one.element, sign), one, "read")
    return made


def _spelling(name: str, change: Callable[[Pack], str]) -> Callable[..., Case]:
    """A serial made of what elsewhere are identifiers."""
    def made(chance: random.Random, gtins: list[str] | None) -> Case:
        parts = "".join(chance.choices(["91", "92", "21", "10", "17", "01", "(21)", "<"], k=13))
        one = _lettered(chance, gtins)
        one = Pack(one.gtin, (one.serial[0] + parts)[:13], one.key, one.crypto)
        return Case(name, change(one), one, "read")
    return made


def _wrong_digit(one: Pack, chance: random.Random) -> str:
    digit = str((int(one.gtin[-1]) + chance.randrange(1, 10)) % 10)
    return one.element.replace(one.gtin, one.gtin[:-1] + digit, 1)


def _swapped_digits(one: Pack, chance: random.Random) -> str:
    """Two neighbours of the GTIN change places: mod 10 sees it unless they differ by 0 or 5."""
    places = [at for at in range(12)
              if abs(int(one.gtin[at]) - int(one.gtin[at + 1])) not in {0, 5}]
    at = chance.choice(places)
    gtin = one.gtin[:at] + one.gtin[at + 1] + one.gtin[at] + one.gtin[at + 2:]
    return one.element.replace(one.gtin, gtin, 1)


def _sscc(chance: random.Random) -> str:
    body = "".join(chance.choices("0123456789", k=17))
    return "00" + body + check_digit(body)


def _caps_alone(chance: random.Random, gtins: list[str] | None) -> Case:
    one = _lettered(chance, gtins)
    return Case("Caps Lock, no prefix", _caps(one.element), one, "operator")


def _foreign(chance: random.Random, separator: str) -> tuple[str, str]:
    """Expiry with and without a day, and a batch, before the serial."""
    day = chance.choice(["00", "15", "28"])
    lot = "".join(chance.choices("ABCDEFGHJKMNP345678", k=chance.randrange(3, 9)))
    return f"17{chance.randrange(28, 33)}{chance.randrange(1, 13):02d}{day}", f"10{lot}{separator}"


def _foreign_text(one: Pack, chance: random.Random, separator: str) -> str:
    days, lot = _foreign(chance, separator)
    return f"01{one.gtin}{days}{lot}21{one.serial}"


def _lost(one: Pack, which: int) -> str:
    parts = one.element.split(FNC1)
    return parts[0] + ("" if which in {0, 2} else FNC1) + parts[1] + (
        "" if which in {1, 2} else FNC1) + parts[2]


TRAPS: tuple[Callable[..., Case], ...] = (
    _good("clean", lambda one, _: one.element),
    _good("symbology prefix", lambda one, chance: chance.choice(
        ["]d2", "]d1", "]C1", "]Q3", "]e0"]) + one.element),
    _good("leading FNC1 (GS)", lambda one, _: FNC1 + one.element),
    _good("leading FNC1 as codeword 232", lambda one, _: "\u00e8" + one.element),
    _good("prefix and FNC1", lambda one, _: "]d2" + FNC1 + one.element),
    _good("blanks, tab, line end", lambda one, chance: chance.choice(
        ["{}\r\n", " {}\t", "\ufeff{}\n", "\u200b{}"]).format(one.element)),
    _good("first separator lost", lambda one, _: _lost(one, 0)),
    _good("second separator lost", lambda one, _: _lost(one, 1)),
    _good("all separators lost", lambda one, _: _lost(one, 2)),
    _good("GS as _x001D_", lambda one, _: one.element.replace(FNC1, "_x001D_")),
    _good("GS as words or signs", lambda one, chance: one.element.replace(FNC1, chance.choice(
        ["<GS>", "{GS}", "[GS]", "\\x1d", "\\u001d", "\u241d", "\u2194", "^]", "&#29;",
         "\u00e8"]))),
    _good("Caps Lock, with prefix", lambda one, _: _caps("]d2" + one.element)),
    _caps_alone,
    _good("Russian keyboard", lambda one, _: _typed_ru(one.element)),
    _good("Russian keyboard, with prefix", lambda one, _: _typed_ru("]d2" + one.element)),
    _good("Russian keyboard and Caps Lock, with prefix",
          lambda one, _: _caps(_typed_ru("]d2" + one.element))),
    _signed("apostrophe in the serial", "'", lambda text, _: text),
    _signed("other legal signs in the serial", '"%&()*+,-./_:;<=>?!', lambda text, _: text),
    _signed("apostrophe set by an office program", "'",
            lambda text, sign: text.replace(sign, "\u2019")),
    _signed("quotes set by an office program", '"',
            lambda text, sign: text.replace(sign, "\u201c")),
    _signed("hyphen set by an office program", "-",
            lambda text, sign: text.replace(sign, "\u2013")),
    _signed("& written as &amp;", "&", lambda text, sign: text.replace(sign, "&amp;")),
    _good("typed with brackets", lambda one, _:
          f"(01){one.gtin}(21){one.serial}(91){one.key}(92){one.crypto}"),
    _good("identity alone", lambda one, _: one.element[:31]),
    _good("expiry and batch before the serial",
          lambda one, chance: _foreign_text(one, chance, FNC1)),
    _good("batch glued to the serial", lambda one, chance: _foreign_text(one, chance, "")),
    _good("expiry and batch glued after the serial", lambda one, chance:
          f"01{one.gtin}21{one.serial}" + "".join(_foreign(chance, ""))),
    _spelling("serial that spells identifiers", lambda one: one.element),
    _spelling("the same, separators lost", lambda one: one.element.replace(FNC1, "")),
    _good("Russian keyboard, identity alone", lambda one, _: _typed_ru(one.element[:31])),
    _good("prefix, separators as _x001D_, one lost, line end", lambda one, chance:
          "]d2" + _lost(one, chance.randrange(2)).replace(FNC1, "_x001D_") + "\r\n"),
    _good("codeword 232 and brackets", lambda one, _:
          f"\u00e8(01){one.gtin}(21){one.serial}"),
    _bad("wrong check digit", "check_digit", _wrong_digit),
    _bad("neighbouring digits swapped", "check_digit", _swapped_digits),
    _bad("cut off", "", lambda one, chance: one.element[:chance.choice(
        [*range(3, 31), *range(33, 39), *range(42, 84)])]),
    _bad("a sign too many in the serial", "", lambda one, chance:
         one.element[:20] + chance.choice("xyzXYZ") + one.element[20:]),
    _bad("a sign lost in the serial", "", lambda one, _: one.element[:20] + one.element[21:]),
    _bad("a sign no serial has", "", lambda one, chance:
         one.element[:20] + chance.choice("@#$~|\\{}\u00e9\u00f1") + one.element[21:]),
    _bad("no date (month 13, day 32)", "", lambda one, chance: "".join((
        "01", one.gtin, "17", chance.choice(["281301", "280832", "280231"]), "21", one.serial))),
    _bad("transport box (SSCC)", "sscc", lambda _, chance: chance.choice(["", "]C1"]) + _sscc(
        chance)),
    _bad("bar code without serial (EAN)", "ean13", lambda one, _: one.gtin[1:]),
    _bad("web address", "web", lambda one, _: f"https://example.uz/01/{one.gtin}/21/1"),
    _bad("prescription", "prescription", lambda _, chance:
         f"UZRX:{chance.randrange(10**12, 10**13)}/AAAA/"),
    _bad("two scans in one", "", lambda one, _: one.element + one.element),
    _bad("noise", "", lambda _, chance: "".join(chance.choices(SIGNS, k=chance.randrange(1, 90)))
         .replace("01", "1").replace("00", "0")),
)


SUSPECTS = ("unknown", "withdrawn", "recalled", "expired", "waiting", "batch", "date", "elsewhere",
            "here", "opened")


def _of_truth(truth: str) -> Callable[..., Case]:
    """A pack whose code is clean and whose history is not; or that only looks so."""
    def made(chance: random.Random, gtins: list[str] | None) -> Case:
        one = _lettered(chance, gtins)
        name = f"history: {truth}"
        return Case(name, one.element, one, "refuse" if truth in SUSPECTS else "read", truth, truth)
    return made


HISTORIES = tuple(_of_truth(truth) for truth in (*SUSPECTS, "month", "good"))


def cases(seed: int, count: int, gtins: list[str] | None = None) -> list[Case]:
    """So many texts, every trap in turn, the same for the same seed."""
    chance = random.Random(seed)
    made = (*TRAPS, *HISTORIES)
    return [made[place % len(made)](chance, gtins) for place in range(count)]
