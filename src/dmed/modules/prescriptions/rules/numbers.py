"""Numbers, codes and the text in the QR code: pure functions.

Number: 4 digits region, 8 digits running, 1 check digit by ISO/IEC 7064 MOD 11,10 (decisions 18).
Code: 256 bits, HMAC-SHA256 of the number under a key of the installation, so that a slip can be
printed again although only its digest is kept. Base45: https://www.rfc-editor.org/rfc/rfc9285
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import msgspec

from dmed.kit.errors import InvalidError

NUMBER_SYSTEM = "https://dhp.uz/fhir/core/sid/doc/uz/prescription"
ITEM_SYSTEM = "https://dhp.uz/fhir/core/sid/doc/uz/prescription-item"
QR_PREFIX = "UZRX"
SHORT_CODE_LENGTH = 8
_BASE45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_CODE = re.compile(r"[A-Z2-7]{52}")
_LOOKS = re.compile(r"17\d{11}|\d{4}[- ]\d{4}[- ]\d{4}[- ]\d", re.ASCII)


def check_digit(digits: str) -> str:
    """The check digit of ISO/IEC 7064 MOD 11,10: finds every single wrong digit and nearly all
    swaps of neighbours.
    """
    product = 10
    for digit in digits:
        remainder = (product + int(digit)) % 10 or 10
        product = (remainder * 2) % 11
    return str((11 - product) % 10)


def make_number(region: str, running: int) -> str:
    """The 13 digits of a prescription number; ValueError outside 0..99,999,999."""
    if not (len(region) == 4 and region.isdigit() and 0 <= running <= 99_999_999):
        raise ValueError(f"no number can be made of region {region!r} and {running}")
    digits = f"{region}{running:08d}"
    return digits + check_digit(digits)


def read_number(text: str) -> str:
    """The 13 digits of a number as people type it; InvalidError says what is wrong with it."""
    digits = re.sub(r"[\s\-‐‑–]", "", text)
    if not (digits.isascii() and digits.isdigit() and len(digits) == 13):
        raise InvalidError("A prescription number has 13 digits: 1726-0048-2215-9")
    if check_digit(digits[:12]) != digits[12]:
        raise InvalidError("The check digit of this prescription number is wrong: look once more")
    return digits


def show_number(number: str) -> str:
    """A number as people read it: "1726-0048-2215-9"."""
    return f"{number[:4]}-{number[4:8]}-{number[8:12]}-{number[12:]}"


def is_prescription_text(raw: str) -> bool:
    """Whether a scanned or typed text is a prescription (QR or number) rather than a pack. Bare
    digits are one only with a region of this country in front: else they are an EAN-13.
    """
    text = raw.strip()
    return text.upper().startswith(QR_PREFIX + ":") or bool(_LOOKS.fullmatch(text))


def make_code(key: bytes, number: str) -> str:
    """The 256-bit access code of a number, 52 letters and digits of base32."""
    digest = hmac.digest(key, b"dmed prescription code " + number.encode(), "sha256")
    return base64.b32encode(digest).decode().rstrip("=")


def clean_code(code: str) -> str:
    """A code as typed: blanks and hyphens gone, capital letters."""
    return re.sub(r"[\s\-]", "", code).upper()


def code_digest(code: str) -> bytes:
    """What is kept of a code: SHA-256 over the cleaned text."""
    return hashlib.sha256(clean_code(code).encode()).digest()


def show_code(code: str) -> str:
    """The short code under the QR, for typing: "ABCD-EFGH"."""
    return f"{code[:4]}-{code[4:SHORT_CODE_LENGTH]}"


class QrText(msgspec.Struct, frozen=True):
    """What a QR code holds."""

    number: str
    code: str
    token: str
    """Base45 text of the signed token; "" when there is none."""


def write_qr(number: str, code: str, token: str) -> str:
    """The text of the QR code, all in the alphanumeric mode of QR."""
    return f"{QR_PREFIX}:{number}/{code}/{token}"


def read_qr(raw: str) -> QrText:
    """The parts of a scanned QR text; InvalidError when it is none of ours."""
    text = raw.strip()
    if not text.upper().startswith(QR_PREFIX + ":"):
        raise InvalidError("This is no prescription QR code")
    parts = text[len(QR_PREFIX) + 1 :].split("/", 2)
    if len(parts) < 2:
        raise InvalidError("The prescription QR code is cut off: scan it again")
    code = clean_code(parts[1])
    if not _CODE.fullmatch(code):
        raise InvalidError("The prescription QR code is damaged: scan it again")
    return QrText(read_number(parts[0]), code, parts[2].upper() if len(parts) == 3 else "")


def base45(data: bytes) -> str:
    """Bytes as base45 (RFC 9285)."""
    out = []
    for at in range(0, len(data) - 1, 2):
        value = data[at] * 256 + data[at + 1]
        out += [_BASE45[value % 45], _BASE45[value // 45 % 45], _BASE45[value // 2025]]
    if len(data) % 2:
        out += [_BASE45[data[-1] % 45], _BASE45[data[-1] // 45]]
    return "".join(out)


def from_base45(text: str) -> bytes:
    """The bytes of a base45 text; InvalidError when it is none."""
    try:
        values = [_BASE45.index(sign) for sign in text]
    except ValueError:
        raise InvalidError("The signed token holds a sign that base45 has not") from None
    out = bytearray()
    for at in range(0, len(values), 3):
        group = values[at : at + 3]
        if len(group) == 1:
            raise InvalidError("The signed token is cut off")
        number = sum(value * 45**place for place, value in enumerate(group))
        size = len(group) - 1
        if number >= 256**size:
            raise InvalidError("The signed token is damaged")
        out += number.to_bytes(size, "big")
    return bytes(out)
