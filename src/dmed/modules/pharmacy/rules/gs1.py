"""A pack's code as a scanner sends it: GS1 DataMatrix of the Uzbek marking, with all its traps.

`01` + 14 digits, `21` + 13 signs, GS, `91` + 4, GS, `92` + 44 (Resolution 149 of 2 Apr 2022; shared
design, eprescription B5). GS1 General Specifications: https://ref.gs1.org/standards/genspecs/
Batch and expiry are not in the code. Nothing here guesses a serial: a text is repaired only where
one reading is possible, and the repair is said.
"""

from __future__ import annotations

import calendar
import html
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import date

import msgspec

from dmed.modules.prescriptions.api import Reason

GS = "\x1d"
SERIAL_LENGTH = 13
KEY_LENGTH = 4
CRYPTO_LENGTH = 44
_PREFIX = re.compile(r"\](?:d[12]|c1|q3|e0)", re.IGNORECASE)
_SIGN_FOR_GS = re.compile(r"[␝↔\xe8]|\^\]|&#29;|&#x1d;", re.IGNORECASE)
"""Signs that no serial has: the picture of GS, what code page 437 shows for it, the Latin-1 letter
of DataMatrix codeword 232 (FNC1), the caret notation, and the references of XML."""
_ESCAPED_GS = re.compile(
    r"_x001d_|[<{\[](?:gs|fnc1)[>}\]]|\\x1d|\\u001d|\\035|\\f|%1d", re.IGNORECASE)
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|#39|#34);")
_TYPESET = str.maketrans({
    "’": "'", "‘": "'", "ʻ": "'", "ʼ": "'", "′": "'", "´": "'", "`": "'", "“": '"', "”": '"',
    "„": '"', "«": '"', "»": '"', "–": "-", "—": "-", "‑": "-", "−": "-", "…": "...",
})  # fmt: skip  # A table.
"""What word processors and telephones make of the apostrophe, quotation mark, hyphen and three
dots: no serial has them, so only one reading is possible."""
_TYPESET_SIGNS = "’‘ʻʼ′´`“”„«»–—‑−…"
_SET_82 = frozenset(
    "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
)
_DAYS = frozenset({"11", "12", "13", "15", "16", "17"})
_VARIABLE = frozenset({"10", "21", "91", "92", "93"})
_LENGTHS = {"21": SERIAL_LENGTH, "91": KEY_LENGTH, "92": CRYPTO_LENGTH}
_FIXED = {"01": 14, "02": 14, "20": 2, **dict.fromkeys(_DAYS, 6)}
"""Identifiers whose value has so many digits and no separator after it (GS1 7.8.5)."""
_SHORT = re.compile(r"0[12]|1[0-9]|2[0-2]|30|37|9[0-9]")
_LONG = re.compile(r"(?:23|24|25|40|41|42|71)[0-9]|(?:3[1-6]|39|43|7[02]|8[012])[0-9]{2}")
"""Identifiers of two signs, and of three or four; the first two say how many."""
_OPENED = re.compile(r"\(([0-9]{2,4})\)\s*")
_PARTS_MAX = 12
_LOT_MAX = 20
_VALUE_MAX = 90
_DATE = r"1[157][0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])"
_AFTER_LOT = re.compile(rf"((?:{_DATE})*)(21.{{13}})?(91.{{4}}92.{{44}})?")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_NEVER_CYRILLIC = re.compile(r"[A-Za-z'\"`;:<>\[\]{}]")
"""What no Cyrillic keyboard makes of a key that a scanner presses: beside Cyrillic letters it is
proof that the keyboard was changed in the middle of the scan."""
_TWO_MEANINGS = frozenset(".,?")
"""Signs that both keyboards have, of different keys, and that a serial may hold in either meaning.
"""
_CASE_PROOF_LETTERS = 12
"""So many different letters of a verification part (Base64 of random bytes) that are all of one
case are proof that a scanner turned them: by chance at most one code of 4,096 had them if it held
no other letters, and usual are 36 letters, of which all would have to fall so."""
_KEYS_RU = "йцукенгшщзхъфывапролджэячсмитьбюё"
_KEYS_US = "qwertyuiop[]asdfghjkl;'zxcvbnm,.`"
_SHIFTED_RU = "ЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮЁ"
_SHIFTED_US = 'QWERTYUIOP{}ASDFGHJKL:"ZXCVBNM<>~'
_LAYOUT = str.maketrans(
    _KEYS_RU + _SHIFTED_RU + "ўқғҳЎҚҒҲ" + '.,"№;:?/',
    _KEYS_US + _SHIFTED_US + "os-=OS_+" + "/?@#$^&|",
)
"""Russian and Uzbek Cyrillic keyboards -> the keys that the scanner meant; the signs at the end
stand on other keys of those keyboards, so they are turned back only when letters are Cyrillic."""

_CYRILLIC_LETTERS = {code: key for code, key in _LAYOUT.items() if 0x400 <= code < 0x500}


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack's code says."""

    gtin: str
    serial: str
    key_id: str = ""
    crypto: str = ""
    lot: str = ""
    expiry: str = ""
    """YYMMDD where a foreign code carries it."""
    repairs: tuple[str, ...] = ()
    """What was put right: "layout", "mixed", "caps", "separator", "escaped", "brackets", "typeset",
    "entities", "bare"."""

    @property
    def identity(self) -> str:
        """The identification code: the first 31 characters."""
        return f"01{self.gtin}21{self.serial}"

    def text(self) -> str:
        """The whole code as a DataMatrix carries it, without the leading FNC1."""
        tail = f"{GS}91{self.key_id}{GS}92{self.crypto}" if self.crypto else ""
        return self.identity + tail


class Fault(msgspec.Struct, frozen=True):
    """Why a text is no pack code that can be used: a sentence by key, and in English."""

    reason: Reason
    sentence: str


def fault(name: str, sentence: str, **values: str) -> Fault:
    """A fault by its short name: "ean13" -> the locale key pharmacy.fault.ean13."""
    return Fault(Reason(f"pharmacy.fault.{name}", values), sentence)


def gtin_check_digit(digits: str) -> str:
    """The mod-10 check digit of a GTIN or SSCC without its last digit."""
    total = sum(int(sign) * (3 if at % 2 == 0 else 1) for at, sign in enumerate(reversed(digits)))
    return str(-total % 10)


def is_gtin(digits: str) -> bool:
    """Whether these digits carry a right check digit."""
    return digits.isascii() and digits.isdigit() and gtin_check_digit(digits[:-1]) == digits[-1]


def is_sscc(digits: str) -> bool:
    """Whether these are the 18 digits of a transport box with a right check digit."""
    return bool(re.fullmatch(r"[0-9]{18}", digits)) and is_gtin(digits)


def read_box(raw: str) -> str | Fault:
    """The 18 digits of a transport box's SSCC in a scanned text, or a fault."""
    text, _ = _cleaned(raw)
    text = re.sub(r"^\(00\)", "00", text)
    found = re.match(r"00([0-9]{18})(?:\x1d|$)", text)
    if not found:
        return fault("no_box", "This is no code of a transport box (SSCC)")
    if not is_sscc(found.group(1)):
        return fault("box_digit", "The check digit of this box (SSCC) is wrong: scan once more")
    return found.group(1)


def day_of(text: str, today: date) -> date | None:
    """The day of a date YYMMDD: DD=00 is the last day of the month, and the century is the one
    that lies nearest (GS1 General Specifications 7.12: 50 years back, 49 on). None: no date.
    """
    if not re.fullmatch(r"[0-9]{6}", text):
        return None
    year, month, day = int(text[:2]), int(text[2:4]), int(text[4:])
    apart = year - today.year % 100
    century = today.year // 100 - (1 if apart >= 51 else -1 if apart <= -50 else 0)
    year += century * 100
    try:
        return date(year, month, day or calendar.monthrange(year, month)[1])
    except (ValueError, calendar.IllegalMonthError):
        return None


def same_expiry(text: str, registered: date, today: date) -> bool:
    """Whether a date YYMMDD of a code is the registered day; DD=00 tells no more than the month."""
    told = day_of(text, today)
    if told is None:
        return False
    if text.endswith("00"):
        return (told.year, told.month) == (registered.year, registered.month)
    return told == registered


def read(raw: str) -> Code | Fault:
    """The code in a scanned text, or a fault that says what it is instead and what to do."""
    found = _read(raw)
    if isinstance(found, Fault) and _ENTITY.search(raw):
        again = _read(html.unescape(raw))
        if isinstance(again, Code) and again.crypto:
            # An exported file wrote & as &amp;: only its unfolded text is a code, to its very end.
            # A code that is cut off may become one by chance.
            return msgspec.structs.replace(again, repairs=(*again.repairs, "entities"))
    return found


def _read(raw: str) -> Code | Fault:
    text, repairs = _cleaned(raw)
    if not text:
        return fault("empty", "Nothing was read: scan once more")
    if text.upper().startswith("UZRX:"):
        return fault("prescription", "This is a prescription, no pack")
    if re.match(r"(?:00|\(00\))[0-9]{18}(?:\x1d|$)", text):
        return fault("sscc", "This is the code of a transport box (SSCC): scan the packs in it")
    if re.fullmatch(r"[0-9]{8}|[0-9]{12,13}", text):
        return fault(
            "ean13",
            "This is the bar code without a serial (EAN): scan the square DataMatrix code",
            digits=text,
        )
    if "brackets" in repairs:
        return _of_brackets(text, repairs)
    found = _fields(text, list(repairs))
    if isinstance(found, Code) or GS in text:
        return found
    # Only what cannot be read as it stands is read with other signs as separators, so that a
    # serial may spell them.
    for other in _separated(text):
        again = _fields(other, [*repairs, "escaped"])
        if isinstance(again, Code):
            return again
    return found


def _separated(text: str) -> Iterator[str]:
    """The text with what may stand for a separator turned into one: words of programs, and the one
    sign that no field has where only one such sign is in the text.
    """
    if _ESCAPED_GS.search(text):
        yield _ESCAPED_GS.sub(GS, text).lstrip(GS)
    strange = set(text) - _SET_82
    if len(strange) == 1:
        yield text.replace(strange.pop(), GS).strip(GS)


def _no_medicine_code(text: str) -> Fault:
    if text.startswith("01"):
        return fault("cut_off", "The code is cut off: scan once more")
    if text.startswith(("http://", "https://")):
        return fault("web", "This is a web address, no medicine code")
    return fault("unknown", "This is no medicine code: scan the square DataMatrix code of the pack")


def as_meant(raw: str) -> str:
    """What the scanner or the hand meant: keys of a Cyrillic keyboard turned back to Latin."""
    return raw.translate(_LAYOUT) if _CYRILLIC.search(raw) else raw


def _cleaned(raw: str) -> tuple[str, list[str]]:
    """The text as the scanner meant it, and what had to be put right for that."""
    repairs: list[str] = []
    text = _unquoted(_INVISIBLE.sub("", raw).strip(" \t\r\n\x04\x1e\xa0"))
    if _CYRILLIC.search(text):
        text = _latin(text, repairs)
    if any(sign in text for sign in _TYPESET_SIGNS):
        text = text.translate(_TYPESET)
        repairs.append("typeset")
    found = _SIGN_FOR_GS.sub(GS, text)
    # A leading FNC1 that came as its Latin-1 letter is a prefix like the others, no repair.
    if found.lstrip(GS) != text.lstrip(GS + "\xe8"):
        repairs.append("escaped")
    text = found.strip(GS)
    while prefix := _PREFIX.match(text):
        # A capital D of the prefix is proof that Caps Lock turned every letter.
        if prefix.group(0) in {"]D1", "]D2"} and "caps" not in repairs:
            text = text.swapcase()
            repairs.append("caps")
        text = text[prefix.end() :].lstrip(GS)
    if re.match(r"\([0-9]{2,4}\)", text) and not text.startswith("(00)"):
        repairs.append("brackets")
    return text, repairs


def _unquoted(text: str) -> str:
    """A cell of a spreadsheet's file without the quotation marks around it: no code begins so."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    return text


def _latin(text: str, repairs: list[str]) -> str:
    """A text with Cyrillic letters as the keys that were meant."""
    if text.startswith(("ЪВ1", "ЪВ2")):
        # The prefix "ъв2" in capitals is proof of Caps Lock, too.
        text = text.swapcase()
        repairs.append("caps")
    if _NEVER_CYRILLIC.search(_ESCAPED_GS.sub("", text)):
        # Of the signs that both keyboards have nobody knows on which one they were typed.
        repairs.append("mixed")
        return text.translate(_CYRILLIC_LETTERS)
    repairs.append("layout")
    return text.translate(_LAYOUT)


def _of_brackets(text: str, repairs: list[str]) -> Code | Fault:
    """The readable form "(01)...(21)...": brackets are legal in a serial and in a batch, so every
    way to part the text is tried, and what differs between them is not believed.
    """
    if len(_OPENED.findall(text)) > _PARTS_MAX:
        return fault("fields", "The readable form holds something that no medicine code has: scan "
                     "the square DataMatrix code")  # fmt: skip  # Every part doubles the ways.
    found = [each for values in _parted(text, {})
             if isinstance(each := _code(values, list(repairs)), Code)]  # fmt: skip  # A filter.
    if not found:
        return fault("fields", "The readable form holds something that no medicine code has: scan "
                     "the square DataMatrix code")  # fmt: skip  # One sentence.
    first = found[0]
    if any(each.identity != first.identity for each in found):
        return fault("fields", "The readable form can be read in more than one way: scan the "
                     "square DataMatrix code")  # fmt: skip  # One sentence.
    is_sure = all((each.lot, each.expiry) == (first.lot, first.expiry) for each in found)
    return first if is_sure else msgspec.structs.replace(first, lot="", expiry="")


def _parted(text: str, values: dict[str, str]) -> Iterator[dict[str, str]]:
    """Every way to part "(AI)value(AI)value", each identifier once."""
    opened = _OPENED.match(text)
    if not opened:
        return
    identifier, rest = opened.group(1), text[opened.end() :]
    if identifier in values or _identifier(identifier) != identifier:
        return
    length = _FIXED.get(identifier) or _LENGTHS.get(identifier, 0)
    most = _LOT_MAX if identifier == "10" else _VALUE_MAX
    for end in range(length or 1, (length or min(len(rest), most)) + 1):
        value, after = rest[:end], rest[end:].lstrip(" \t\r\n" + GS)
        if len(value) < end or (identifier in _FIXED and not value.isdigit()):
            return
        made = {**values, identifier: value.strip()}
        if not after:
            yield made
        elif after[0] == "(":
            yield from _parted(after, made)


def _identifier(text: str) -> str:
    """The application identifier with which a text begins, or ""."""
    found = _LONG.match(text) or _SHORT.match(text)
    return found.group(0) if found else ""


def _fields(text: str, repairs: list[str]) -> Code | Fault:
    """Read element strings in any order; a glued field is parted where only one reading fits."""
    values: dict[str, str] = {}
    rest = text
    if not re.match(r"01[0-9]{14}", text) and not _names_gtin(text):
        return _no_medicine_code(text)
    while rest:
        identifier = _identifier(rest)
        if not identifier or identifier in values:
            return fault(
                "fields", "The code holds something that no medicine code has: scan once more"
            )
        length = _FIXED.get(identifier, 0)
        if length:
            values[identifier], rest = rest[2 : 2 + length], rest[2 + length :].lstrip(GS)
            if not re.fullmatch(rf"[0-9]{{{length}}}", values[identifier]):
                return fault("cut_off", "The code is cut off: scan once more")
            continue
        if re.match(r"3[1-6]|41", identifier):
            end = len(identifier) + (13 if identifier.startswith("41") else 6)
            values[identifier], rest = rest[len(identifier) : end], rest[end:].lstrip(GS)
            continue
        field, separator, after = rest[len(identifier) :].partition(GS)
        if not field:
            return fault("cut_off", "The code is cut off: scan once more")
        field, more = _part(identifier, field, values.keys())
        if more:
            repairs.append("separator")
            after = more + separator + after
        values[identifier], rest = field, after.lstrip(GS)
    return _code(values, repairs)


def _names_gtin(text: str) -> bool:
    """Whether a text that begins with another identifier holds a GTIN where one may stand."""
    return bool(_identifier(text)) and bool(re.search(r"01[0-9]{14}", text))


def _part(identifier: str, field: str, known: AbstractSet[str]) -> tuple[str, str]:
    """A field that swallowed the next because the separator was lost: its own part, and the rest.

    Serial, key and verification part have fixed lengths. A batch has none: it ends where what may
    follow it reaches exactly to the end: days, a serial, "91" and "92", each only once in a code.
    Where it may end in two places nobody knows it: then the batch is empty and the days are left.
    """
    length = _LENGTHS.get(identifier, 0)
    if length and field[length : length + 2] in _VARIABLE | _DAYS:
        return field[:length], field[length:]
    if identifier != "10":
        return field, ""
    ends = []
    for end in range(1, min(len(field), _LOT_MAX) + 1):
        found = _AFTER_LOT.fullmatch(field, end)
        if found is None:
            continue
        days, serial, tail = found.groups()
        named = [days[at : at + 2] for at in range(0, len(days), 8)]
        named += ["21"] * bool(serial) + ["91", "92"] * bool(tail)
        if len({*named, *known}) == len(named) + len(known) and ("21" in known) != bool(serial):
            ends.append((end, days, (serial or "") + (tail or "")))
    if len(ends) == 1:
        return field[: ends[0][0]], field[ends[0][0] :]
    rests = {rest for _, _, rest in ends}
    return ("", rests.pop()) if len(rests) == 1 else (field, "")


def _code(values: dict[str, str], repairs: list[str]) -> Code | Fault:
    gtin, serial = values.get("01", ""), values.get("21", "")
    if not gtin:
        return fault("cut_off", "The code is cut off: scan once more")
    if not is_gtin(gtin):
        return fault(
            "check_digit", f"The check digit of GTIN {gtin} is wrong: scan once more", gtin=gtin
        )
    if not serial:
        return fault("no_serial", "The code carries no serial: scan the square DataMatrix code")
    if len(serial) != SERIAL_LENGTH:
        return fault(
            "serial_length",
            f"The serial has {len(serial)} signs instead of {SERIAL_LENGTH}: scan once more",
            count=str(len(serial)),
        )
    wrong = sorted(set(serial) - _SET_82)
    if wrong:
        return fault(
            "illegal_sign",
            f"The serial holds the sign {wrong[0]!r}, which no serial "
            "has: check the keyboard layout",
            sign=wrong[0],
        )
    key_id, crypto = values.get("91", ""), values.get("92", "")
    lot = values.get("10", "")
    if "mixed" in repairs:
        if _TWO_MEANINGS & set(serial):
            return fault("mixed", "The keyboard layout was changed in the middle of the code: "
                         "switch it to English and scan once more")  # fmt: skip  # One sentence.
        crypto = crypto.replace(".", "/")
        lot = "" if _TWO_MEANINGS & set(lot) else lot
    if len(lot) > _LOT_MAX:
        return fault("fields", "The batch is longer than 20 signs: scan once more")
    if (key_id and len(key_id) != KEY_LENGTH) or (crypto and len(crypto) != CRYPTO_LENGTH):
        return fault("cut_off", "The code is cut off: scan once more")
    if bool(key_id) != bool(crypto):
        return fault("cut_off", "The code is cut off: scan once more")
    if _is_case_lost(crypto) and serial != serial.swapcase():
        return fault("case", "The scanner turns all letters into one case: switch that off and "
                     "scan once more")  # fmt: skip  # One sentence.
    for name in sorted(_DAYS & set(values)):
        # Any year will do here: whether month and day exist, but for 29 February, is the same.
        if day_of(values[name], date(2028, 1, 1)) is None:
            return fault("date", f"{values[name]} is no date: scan once more", text=values[name])
    if not crypto:
        repairs = [*repairs, "bare"]
    return Code(
        gtin=gtin,
        serial=serial,
        key_id=key_id,
        crypto=crypto,
        lot=lot,
        expiry=values.get("17", ""),
        repairs=tuple(dict.fromkeys(repairs)),
    )


def _is_case_lost(crypto: str) -> bool:
    letters = {sign for sign in crypto if sign.isalpha()}
    return len(letters) >= _CASE_PROOF_LETTERS and (
        crypto == crypto.upper() or crypto == crypto.lower())


def repairs_said(repairs: tuple[str, ...]) -> str:
    """What was put right, in one English sentence, or ""."""
    said = {
        "layout": "the keyboard layout was Cyrillic",
        "mixed": "the keyboard layout changed in the middle",
        "caps": "Caps Lock was on",
        "separator": "a separator was lost",
        "escaped": "the separator came as text",
        "brackets": "the readable form was typed",
        "typeset": "signs came as a word processor sets them",
        "entities": "signs came as an exported file writes them",
        "bare": "the verification part is missing",
    }
    parts = [said[repair] for repair in repairs]
    return "Read although " + " and ".join(parts) if parts else ""
