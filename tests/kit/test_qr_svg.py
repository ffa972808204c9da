"""QR codes: what is written can be read, and what cannot be printed is refused."""

import re
import struct

import pytest

from dmed.kit import qr
from dmed.kit.errors import TooLargeError


def test_svg_is_one_inline_element_with_a_quiet_zone() -> None:
    """No XML head, no fixed size, a viewBox that includes four modules on each side."""
    made = qr.svg("UZRX:1726004822157/ABC", title="Retsept")

    assert made.startswith("<svg")
    assert made.endswith("</svg>")
    assert "<title>Retsept</title>" in made
    assert " width=" not in made.partition(">")[0]
    assert re.search(r'viewBox="0 0 33 33"|viewBox="0 0 (\d+) \1"', made)


def test_capital_letters_and_digits_make_a_smaller_code() -> None:
    """The alphanumeric mode is used: the whole prescription text of 470 signs fits 69 modules."""
    text = "UZRX:1726004822157/" + "A" * 52 + "/" + "Z" * 398
    side = re.search(r'viewBox="0 0 (\d+)', qr.svg(text))

    assert side is not None
    assert int(side.group(1)) - 8 <= 69


def test_png_has_the_asked_scale() -> None:
    """A picture of whole modules."""
    made = qr.png("1726004822157", scale=5)
    width, height = struct.unpack(">II", made[16:24])

    assert made.startswith(b"\x89PNG")
    assert width == height
    assert width % 5 == 0


@pytest.mark.parametrize("text", ["", "x" * (qr.TEXT_MAX + 1)])
def test_what_no_phone_could_read_is_refused(text: str) -> None:
    """Empty and too long texts are errors."""
    with pytest.raises(TooLargeError):
        qr.svg(text)
