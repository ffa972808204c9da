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
_ESCAPED_GS = re.compile(r"_x001d_|<gs>|\{gs\}|\[gs\]|\\x1d|\\u001d|\\035", re.IGNORECASE)
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
_DAYS = frozenset({"11", "15", "17"})
_VARIABLE = frozenset({"10", "21", "91", "92", "93"})
_LENGTHS = {"21": SERIAL_LENGTH, "91": KEY_LENGTH, "92": CRYPTO_LENGTH}
_LOT_MAX = 20
_DATE = r"1[157][0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])"
_AFTER_LOT = re.compile(rf"((?:{_DATE})*)21.{{13}}(?:91.{{4}}92.{{44}})?")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
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
    """What was put right: "layout", "caps", "separator", "escaped", "brackets", "typeset",
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
        if isinstance(again, Code):
            # An exported file wrote & as &amp;: only its unfolded text is a code.
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
    if not re.match(r"01[0-9]{14}", text):
        return _no_medicine_code(text)
    gtin, rest = text[2:16], text[16:]
    if not is_gtin(gtin):
        return fault(
            "check_digit", f"The check digit of GTIN {gtin} is wrong: scan once more", gtin=gtin
        )
    return _fields(gtin, rest.lstrip(GS), repairs)


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
    text = _INVISIBLE.sub("", raw).strip(" \t\r\n\x04\x1e\xa0")
    if _CYRILLIC.search(text):
        if text.startswith(("ЪВ1", "ЪВ2")):
            # The prefix "ъв2" in capitals is proof that Caps Lock turned every letter.
            text = text.swapcase()
            repairs.append("caps")
        text = as_meant(text)
        repairs.append("layout")
    if any(sign in text for sign in _TYPESET_SIGNS):
        text = text.translate(_TYPESET)
        repairs.append("typeset")
    text, was_escaped = _with_separators(text)
    if was_escaped:
        repairs.append("escaped")
    text = text.lstrip(GS)
    prefix = _PREFIX.match(text)
    if prefix:
        # A capital D of the prefix is proof of the same.
        if prefix.group(0) in {"]D1", "]D2"}:
            text = text.swapcase()
            repairs.append("caps")
        text = text[prefix.end() :].lstrip(GS)
    if text.startswith("(01)"):
        text = _without_brackets(text)
        repairs.append("brackets")
    return text, repairs


def _with_separators(text: str) -> tuple[str, bool]:
    """The text with separators that came as other signs or as words turned back, and whether there
    were any. Words are believed only where no separator came whole: a serial may spell "<GS>".
    """
    found = _SIGN_FOR_GS.sub(GS, text)
    body = found.lstrip(GS)
    prefix = _PREFIX.match(body)
    body = body[prefix.end() :] if prefix else body
    body = body.strip(GS)
    if GS not in body and _ESCAPED_GS.search(body):
        found = _ESCAPED_GS.sub(GS, found)
    # A leading FNC1 that came as its Latin-1 letter is a prefix like the others, no repair.
    return found, found.lstrip(GS) != text.lstrip(GS + "\xe8")


def _without_brackets(text: str) -> str:
    """The readable form "(01)...(21)...(91)...(92)..." as a scanner would send it. Only these
    identifiers at these lengths, because brackets are legal in a serial.
    """
    found = re.fullmatch(
        r"\(01\)([0-9]{14})((?:\(1[157]\)[0-9]{6})*)(?:\(10\)(.{1,20}?))?((?:\(1[157]\)[0-9]{6})*)"
        r"\(21\)(.{13})\x1d?(?:\(91\)(.{4})\x1d?\(92\)(.+))?", text)  # fmt: skip  # One pattern.
    if not found:
        return text.replace("(01)", "01", 1).replace("(21)", "21", 1)
    gtin, days, lot, more, serial, key_id, crypto = found.groups()
    days = re.sub(r"[()]", "", days + more)
    batch = f"10{lot}{GS}" if lot else ""
    tail = f"{GS}91{key_id}{GS}92{crypto}" if crypto else ""
    return f"01{gtin}{days}{batch}21{serial}{tail}"


def _fields(gtin: str, rest: str, repairs: list[str]) -> Code | Fault:
    """Read identifiers after the GTIN; a glued field is parted where only one reading fits."""
    values: dict[str, str] = {}
    while rest:
        identifier = rest[:2]
        if identifier in _DAYS and identifier not in values and re.match(r"[0-9]{6}", rest[2:8]):
            values[identifier], rest = rest[2:8], rest[8:].lstrip(GS)
            continue
        if identifier not in _VARIABLE or identifier in values:
            return fault(
                "fields", "The code holds something that no medicine code has: scan once more"
            )
        field, separator, after = rest[2:].partition(GS)
        if not field:
            return fault("cut_off", "The code is cut off: scan once more")
        field, more = _part(identifier, field, values.keys())
        if more:
            repairs.append("separator")
            after = more + separator + after
        values[identifier], rest = field, after.lstrip(GS)
    return _code(gtin, values, repairs)


def _part(identifier: str, field: str, known: AbstractSet[str]) -> tuple[str, str]:
    """A field that swallowed the next because the separator was lost: its own part, and the rest.

    Serial, key and verification part have fixed lengths. A batch has none: it ends where a serial
    of the right length begins that reaches to the end, or stands before "91" and "92". Before the
    serial there may be days, but only such as there are, and none that was `known` before: a batch
    that looks like an expiry may not become one.
    """
    length = _LENGTHS.get(identifier, 0)
    if length and field[length : length + 2] in _VARIABLE | _DAYS:
        return field[:length], field[length:]
    if identifier == "10":
        for end in range(1, min(len(field), _LOT_MAX) + 1):
            found = _AFTER_LOT.fullmatch(field, end)
            if found:
                named = [field[at : at + 2] for at in range(*found.span(1), 8)]
                if len({*named, *known}) == len(named) + len(known):
                    return field[:end], field[end:]
    return field, ""


def _code(gtin: str, values: dict[str, str], repairs: list[str]) -> Code | Fault:
    serial = values.get("21", "")
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
    if (key_id and len(key_id) != KEY_LENGTH) or (crypto and len(crypto) != CRYPTO_LENGTH):
        return fault("cut_off", "The code is cut off: scan once more")
    if bool(key_id) != bool(crypto):
        return fault("cut_off", "The code is cut off: scan once more")
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
        lot=values.get("10", ""),
        expiry=values.get("17", ""),
        repairs=tuple(dict.fromkeys(repairs)),
    )


def repairs_said(repairs: tuple[str, ...]) -> str:
    """What was put right, in one English sentence, or ""."""
    said = {
        "layout": "the keyboard layout was Cyrillic",
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
