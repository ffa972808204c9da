"""Numbers, codes, base45 and the signed token."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit.errors import InvalidError
from dmed.modules.medicines.service import catalogue
from dmed.modules.prescriptions.rules import numbers, tokens

KEY = ec.generate_private_key(ec.SECP256R1())
RUNNING = st.integers(0, 99_999_999)


@given(RUNNING)
def test_number_round_trip(running: int) -> None:
    """A number reads back from every way in which people type it."""
    number = numbers.make_number("1726", running)
    shown = numbers.show_number(number)

    assert number == numbers.read_number(shown)
    assert number == numbers.read_number(shown.replace("-", " "))
    assert numbers.is_prescription_text(shown)


@given(RUNNING, st.integers(0, 12), st.integers(1, 9))
def test_one_wrong_digit_is_always_found(running: int, place: int, by: int) -> None:
    """The check digit finds every single wrong digit."""
    number = numbers.make_number("1726", running)
    wrong = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]

    with pytest.raises(InvalidError, match="check digit"):
        numbers.read_number(wrong)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("1726004822157", True), ("1726-0048-2215-8", True), ("2726-0048-2215-8", True),
     ("UZRX:1726004822157/A/", True), ("uzrx:1", True), ("4780001234567", False),
     ("0109521001000024", False), ("", False), ("172600482215", False)],
)  # fmt: skip  # Pairs.
def test_a_bar_code_is_no_prescription(text: str, is_one: bool) -> None:
    """Thirteen bare digits of an EAN are a pack, also where a number has a wrong check digit."""
    assert numbers.is_prescription_text(text) is is_one


def test_nearly_all_swapped_neighbours_are_found() -> None:
    """Of all swaps of different neighbours in a sample, at least 97 in 100 are found."""
    tried = found = 0
    for running in range(0, 99_999_999, 1_234_567):
        number = numbers.make_number("1714", running)
        for at in range(12):
            if number[at] != number[at + 1]:
                tried += 1
                swapped = number[:at] + number[at + 1] + number[at] + number[at + 2 :]
                found += numbers.check_digit(swapped[:12]) != swapped[12]

    assert found / tried >= 0.97


@pytest.mark.parametrize("text", ["", "1726", "abcd-efgh-ijkl-m", "１７２６００４８２２１５７"])
def test_what_is_no_number_is_refused(text: str) -> None:
    """Too short, letters and foreign digits are refused with a sentence."""
    with pytest.raises(InvalidError, match="13 digits"):
        numbers.read_number(text)


@given(st.binary(max_size=300))
def test_base45_round_trip(data: bytes) -> None:
    """Bytes survive base45, and the text has only signs of QR's alphanumeric mode."""
    text = numbers.base45(data)

    assert data == numbers.from_base45(text)
    assert set(text) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def test_base45_examples_of_the_standard() -> None:
    """The examples of RFC 9285."""
    assert numbers.base45(b"AB") == "BB8"
    assert numbers.base45(b"Hello!!") == "%69 VD92EX0"
    assert numbers.from_base45("QED8WEX0") == b"ietf!"


@pytest.mark.parametrize("text", ["A", "GGW", "!!!", "abcd"])
def test_broken_base45_is_refused(text: str) -> None:
    """Cut off, too large and foreign signs are InvalidError."""
    with pytest.raises(InvalidError):
        numbers.from_base45(text)


def test_code_has_256_bits_and_needs_the_key() -> None:
    """Codes differ by number and key; the short code is their beginning."""
    one = numbers.make_code(b"k" * 32, "1726004822157")

    assert len(one) == 52
    assert one != numbers.make_code(b"l" * 32, "1726004822157")
    assert one != numbers.make_code(b"k" * 32, "1726004822158")
    assert numbers.show_code(one) == f"{one[:4]}-{one[4:8]}"
    assert numbers.code_digest(one.lower()) == numbers.code_digest(f"{one[:4]}-{one[4:]}")


def _token(items: tuple[tokens.TokenItem, ...]) -> tokens.Token:
    return tokens.Token(
        number=1726004822157, signed_day=2500, valid_day=2510, prescriber_key="AbCdEf12",
        person=tokens.opaque(b"k" * 32, "9fe-0123456789abcdef0123"), initials="KD",
        birth_year=1992, items=items,
    )  # fmt: skip  # Facts of one token.


def _items() -> list[tokens.TokenItem]:
    return [
        tokens.TokenItem(int(each.inn.code) if each.inn.code else each.atc, each.form.code,
                         tokens.short_strength(each.strength_text), 120)
        for each in catalogue().preparations.values()
    ]  # fmt: skip  # One comprehension.


def test_token_with_the_five_longest_items_fits_400_characters() -> None:
    """Whatever five medicines of the register are prescribed, the token stays within 400."""
    longest = sorted(_items(), key=lambda item: -len(f"{item.inn}{item.strength}{item.form}"))

    text = tokens.sign(_token(tuple(longest[:5])), KEY)

    assert len(text) <= tokens.TOKEN_LENGTH_MAX


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(_items()), min_size=1, max_size=5))
def test_token_round_trip(items: list[tokens.TokenItem]) -> None:
    """A signed token reads back with the public key."""
    token = _token(tuple(items))
    text = tokens.sign(token, KEY)

    assert token == tokens.verify(text, KEY.public_key())
    assert text == text.rstrip()  # A blank at the end would be stripped by what reads a scan.


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_changed_token_does_not_hold(place: int) -> None:
    """Any changed sign makes the token invalid."""
    text = tokens.sign(_token(tuple(_items()[:2])), KEY)
    at = place % len(text)
    changed = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]

    with pytest.raises(InvalidError):
        tokens.verify(changed, KEY.public_key())


def test_foreign_key_does_not_hold() -> None:
    """A token of another key is refused."""
    other = ec.generate_private_key(ec.SECP256R1()).public_key()

    with pytest.raises(InvalidError, match="signature"):
        tokens.verify(tokens.sign(_token(tuple(_items()[:1])), KEY), other)


def test_token_carries_no_name_and_no_diagnosis() -> None:
    """The person is eight opaque bytes, initials and a year; nothing else of him is inside."""
    fields = set(tokens.Token.__struct_fields__)

    assert {"number", "signed_day", "valid_day", "prescriber_key", "person", "initials",
            "birth_year", "items"} == fields
    assert len(tokens.opaque(b"k" * 32, "x")) == 8


def test_qr_text_round_trip() -> None:
    """Number, code and token come back from the QR text, also when a scanner lowers letters."""
    code = numbers.make_code(b"k" * 32, "1726004822157")
    number = numbers.make_number("1726", 48_2215)
    text = numbers.write_qr(number, code, "ABC+/:%")

    assert numbers.QrText(number, code, "ABC+/:%") == numbers.read_qr(text)
    assert code == numbers.read_qr(text.lower()).code
    with pytest.raises(InvalidError, match="damaged"):
        numbers.read_qr(f"UZRX:{number}/{code[:20]}/")
    with pytest.raises(InvalidError, match="no prescription"):
        numbers.read_qr("https://example.uz")
