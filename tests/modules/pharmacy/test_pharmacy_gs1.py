"""Reading pack codes: the round trip and every trap of the shared design (B5)."""

from datetime import date, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dmed.modules.pharmacy.rules import gs1
from dmed.modules.pharmacy.rules.gs1 import GS, Code, Fault, read

GTIN = "09521001000024"
SERIAL = "5XbV'kQz%7a_Z"
CRYPTO = "fjqXr9PNI5xPnGSSk7Vl0aE2dVqFDkTcZ1o2Qs/+Ab0="
CLEAN = f"01{GTIN}21{SERIAL}{GS}91EE08{GS}92{CRYPTO}"
SET_82 = "".join(sorted(gs1._SET_82))
TO_RUSSIAN = str.maketrans(
    "qwertyuiop[]asdfghjkl;'zxcvbnm,./QWERTYUIOP{}ASDFGHJKL:\"ZXCVBNM<>?@#$^&",
    'йцукенгшщзхъфывапролджэячсмитьбю.ЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮ,"№;:?',
)


def _code(raw: str) -> Code:
    found = read(raw)
    assert isinstance(found, Code), found
    return found


def _fault(raw: str) -> str:
    found = read(raw)
    assert isinstance(found, Fault), found
    return found.reason.key.removeprefix("pharmacy.fault.")


def test_a_clean_code_is_read_whole() -> None:
    """GTIN, serial, key and crypto part come out; identity is the first 31 characters."""
    code = _code(CLEAN)

    assert (code.gtin, code.serial, code.key_id, code.crypto) == (GTIN, SERIAL, "EE08", CRYPTO)
    assert CLEAN[:31] == code.identity
    assert code.repairs == ()
    assert code.text() == CLEAN
    assert len(CLEAN) == 85


@settings(max_examples=150, deadline=None)
@given(
    st.text("0123456789", min_size=13, max_size=13),
    st.text(SET_82, min_size=13, max_size=13),
    st.text(SET_82, min_size=4, max_size=4),
    st.text(SET_82, min_size=44, max_size=44),
)
def test_round_trip(digits: str, serial: str, key_id: str, crypto: str) -> None:
    """Whatever legal signs a serial has, the written code reads back as it was."""
    gtin = digits + gs1.gtin_check_digit(digits)
    code = Code(gtin=gtin, serial=serial, key_id=key_id, crypto=crypto)

    assert code == read(code.text())
    assert code == read("]d2" + code.text())
    assert code == read(GS + code.text() + "\r\n")


@pytest.mark.parametrize("prefix", ["]d2", "]d1", "]C1", GS, "]d2" + GS, "]d1" + GS, " "])
def test_prefixes_of_scanners_are_taken_off(prefix: str) -> None:
    """Symbology identifiers and a leading FNC1 do not disturb and are no repair."""
    assert _code(CLEAN) == _code(prefix + CLEAN)


@pytest.mark.parametrize("escape", ["_x001D_", "<GS>", "{GS}", "\\x1d", "\\u001d", "␝"])
def test_a_separator_that_came_as_text_is_read(escape: str) -> None:
    """Spreadsheets and some scanners write the separator as text."""
    code = _code(CLEAN.replace(GS, escape))

    assert code.serial == SERIAL
    assert "escaped" in code.repairs


def test_lost_separators_are_found_by_the_fixed_lengths() -> None:
    """Glued fields are parted where the next identifier must stand."""
    code = _code(CLEAN.replace(GS, ""))

    assert (code.serial, code.key_id, code.crypto) == (SERIAL, "EE08", CRYPTO)
    assert code.repairs == ("separator",)


def test_one_lost_separator_is_enough_to_be_said() -> None:
    """Only the first separator lost: the serial still ends after thirteen signs."""
    code = _code(CLEAN.replace(GS, "", 1))

    assert code.serial == SERIAL
    assert code.crypto == CRYPTO
    assert "separator" in code.repairs


def test_russian_keyboard_is_turned_back() -> None:
    """A scanner that types through a Russian keyboard layout is understood, signs included."""
    typed = CLEAN.replace(GS, "").translate(TO_RUSSIAN)
    code = _code(typed)

    assert (code.serial, code.crypto) == (SERIAL, CRYPTO)
    assert "layout" in code.repairs


def test_russian_keyboard_with_prefix_is_turned_back() -> None:
    """The prefix too comes in Cyrillic: "]d2" is "ъв2"."""
    code = _code(("]d2" + CLEAN).translate(TO_RUSSIAN))

    assert code.serial == SERIAL


@settings(max_examples=100, deadline=None)
@given(st.text(SET_82, min_size=12, max_size=12))
def test_russian_keyboard_round_trip(rest: str) -> None:
    """Every legal serial with a letter survives the Russian layout."""
    code = Code(gtin=GTIN, serial="q" + rest, key_id="EE08", crypto=CRYPTO)

    found = _code(code.text().translate(TO_RUSSIAN))

    assert code.serial == found.serial


def test_uzbek_cyrillic_keyboard_is_turned_back() -> None:
    """The Uzbek Cyrillic layout has ў, қ, ғ and ҳ where Latin has o, s, hyphen and equals."""
    code = _code(f"01{GTIN}21ўқғҳ567890123")

    assert code.serial == "os-=567890123"


def test_caps_lock_is_proved_by_the_prefix() -> None:
    """A capital D in the prefix proves Caps Lock: the letters are turned back."""
    code = _code(("]d2" + CLEAN).swapcase())

    assert code.serial == SERIAL
    assert "caps" in code.repairs


def test_apostrophe_and_brackets_in_a_serial_are_kept() -> None:
    """Legal signs are part of the serial and never stripped."""
    for serial in ("'''''''''''''", "(21)(91)(92)a", "\"!%&'()*+,-./"):
        assert serial == _code(f"01{GTIN}21{serial}{GS}91EE08{GS}92{CRYPTO}").serial


def test_readable_form_with_brackets_is_read() -> None:
    """What stands beside the code, typed by hand with brackets, is understood."""
    code = _code(f"(01){GTIN}(21){SERIAL}(91)EE08(92){CRYPTO}")

    assert (code.serial, code.crypto) == (SERIAL, CRYPTO)
    assert "brackets" in code.repairs


def test_identity_alone_is_read_and_said() -> None:
    """A code without its verification part is read, and that is said."""
    code = _code(CLEAN[:31])

    assert code.serial == SERIAL
    assert code.repairs == ("bare",)
    assert "verification part is missing" in gs1.repairs_said(code.repairs)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("", "empty"),
        ("   \r\n", "empty"),
        ("4780001234567", "ean13"),
        ("00123456789012345675", "sscc"),
        ("01" + GTIN[:-1] + "9" + "21" + SERIAL, "check_digit"),
        ("01" + GTIN[:9], "cut_off"),
        (CLEAN[:60], "cut_off"),
        (CLEAN[:34], "cut_off"),
        (CLEAN[:25], "serial_length"),
        ("01" + GTIN, "no_serial"),
        (f"01{GTIN}21{SERIAL}X{GS}91EE08{GS}92{CRYPTO}", "serial_length"),
        (f"01{GTIN}21{SERIAL[:-1]}é{GS}91EE08", "illegal_sign"),
        (f"01{GTIN}77{SERIAL}", "fields"),
        ("https://example.uz/1", "web"),
        ("UZRX:1726004822157/AAAA/", "prescription"),
        ("hello world", "unknown"),
    ],
)
def test_everything_else_says_what_it_is(raw: str, key: str) -> None:
    """Each wrong text gets its own clear sentence."""
    assert key == _fault(raw)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120))
def test_reading_never_fails(raw: str) -> None:
    """Any text whatever gives a code or a fault with a sentence."""
    found = read(raw)

    assert isinstance(found, Code) or found.sentence


def test_foreign_code_with_batch_and_expiry_is_read() -> None:
    """Expiry and batch of a foreign code are taken, wherever they stand."""
    code = _code(f"01{GTIN}17280831" + f"10T220{GS}21{SERIAL}")

    assert (code.serial, code.lot, code.expiry) == (SERIAL, "T220", "280831")


# Property tests of the traps: a legal serial is read back whatever happened on its way.

SERIALS = st.text(SET_82, min_size=12, max_size=12).map(lambda rest: "q" + rest)
KEYS = st.text("ABCDEFGHXYZ0123456789", min_size=4, max_size=4)


def _whole(serial: str, key_id: str = "EE08") -> str:
    return f"01{GTIN}21{serial}{GS}91{key_id}{GS}92{CRYPTO}"


@settings(max_examples=60, deadline=None)
@given(SERIALS, KEYS, st.sampled_from(["", "]d2", "]d1", "]C1", "]Q3", GS, "\xe8", "]d2" + GS]),
       st.sampled_from([GS, "", "_x001D_", "\xe8", "␝", "↔", "^]", "&#29;", "{GS}", "[GS]"]),
       st.sampled_from(["", "\r\n", "\t", "\u200b", "\x04"]))
def test_prefix_separator_and_end_in_any_combination(
    serial: str, key_id: str, prefix: str, separator: str, end: str
) -> None:
    """Prefixes, lost or rewritten separators and line ends together leave the same code."""
    code = _code(prefix + _whole(serial, key_id).replace(GS, separator) + end)

    assert (code.serial, code.key_id, code.crypto) == (serial, key_id, CRYPTO)


@settings(max_examples=60, deadline=None)
@given(SERIALS, st.booleans())
def test_caps_lock_with_a_prefix_on_both_keyboards(serial: str, is_russian: bool) -> None:
    """The prefixes "]D2" and "ЪВ2" prove Caps Lock; the code is turned back whole."""
    sent = "]d2" + _whole(serial)
    if is_russian:
        sent = sent.replace(GS, "").translate(TO_RUSSIAN)
    code = _code(sent.swapcase())

    assert (code.serial, code.crypto) == (serial, CRYPTO)
    assert "caps" in code.repairs


@settings(max_examples=60, deadline=None)
@given(SERIALS, st.sampled_from("’‘ʻʼ′´“”„–—−"))
def test_signs_of_office_programs_are_turned_back(rest: str, sign: str) -> None:
    """A typeset apostrophe, quotation mark or hyphen is the plain one."""
    code = _code(_whole(rest[:6] + sign + rest[7:]))

    assert code.serial[6] == sign.translate(gs1._TYPESET)
    assert "typeset" in code.repairs


@settings(max_examples=60, deadline=None)
@given(SERIALS, st.text("ABCXYZ0123456789", min_size=1, max_size=20),
       st.sampled_from([GS, ""]), st.sampled_from(["280800", "280815", "290228"]))
@example("q000000000000", "011000000", "", "280800")  # Looks like a day that there is not.
@example("q000000000000", "A17290101", "", "280800")  # Looks like a second expiry.
@example("q000000000000", "A17290101", GS, "280800")
def test_a_batch_glued_to_the_serial_is_parted(
    serial: str, lot: str, separator: str, day: str
) -> None:
    """Batch and expiry before the serial, with its separator or without."""
    found = _code(f"01{GTIN}17{day}10{lot}{separator}21{serial}")

    assert (found.serial, found.expiry) == (serial, day)
    if separator:
        assert found.lot == lot


@settings(max_examples=60, deadline=None)
@given(SERIALS, st.sampled_from(["17280800", "10T220", "1728081510T220"]))
def test_fields_glued_after_the_serial_are_parted(serial: str, more: str) -> None:
    """A scanner that glues the next field to the serial: thirteen signs are the serial."""
    code = _code(f"01{GTIN}21{serial}{more}")

    assert code.serial == serial
    assert "separator" in code.repairs


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**13 - 1), st.integers(0, 12), st.integers(1, 9))
def test_one_wrong_digit_of_a_gtin_is_always_found(number: int, place: int, more: int) -> None:
    """Mod 10 with weights 3 and 1 sees every single wrong digit."""
    gtin = f"{number:013d}" + gs1.gtin_check_digit(f"{number:013d}")
    wrong = gtin[:place] + str((int(gtin[place]) + more) % 10) + gtin[place + 1 :]

    assert gs1.is_gtin(gtin)
    assert _fault(f"01{wrong}21{SERIAL}") == "check_digit"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**17 - 1), st.sampled_from(["00", "]C100", "(00)"]))
def test_a_box_is_read_by_its_sscc(number: int, prefix: str) -> None:
    """An SSCC with its check digit is a box and no pack; with another digit it is refused."""
    digits = f"{number:017d}" + gs1.gtin_check_digit(f"{number:017d}")
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)

    assert gs1.read_box(prefix + digits) == digits
    assert _fault(prefix + digits) == "sscc"
    assert isinstance(gs1.read_box(prefix + wrong), Fault)
    assert isinstance(gs1.read_box(CLEAN), Fault)


@given(st.dates(date(1980, 1, 1), date(2070, 12, 31)))
@settings(max_examples=80, deadline=None)
def test_a_day_of_a_code_comes_back(day: date) -> None:
    """YYMMDD within 49 years before and after is the day; DD=00 is the last of its month."""
    today = date(2026, 11, 23)
    if not -49 <= day.year - today.year <= 49:
        return
    assert gs1.day_of(f"{day:%y%m%d}", today) == day
    last = gs1.day_of(f"{day:%y%m}00", today)
    assert last is not None
    assert (last.year, last.month) == (day.year, day.month)
    assert (last + timedelta(days=1)).day == 1
    assert gs1.same_expiry(f"{day:%y%m}00", day, today)
    assert gs1.same_expiry(f"{day:%y%m%d}", day, today)
    assert not gs1.same_expiry(f"{day:%y%m%d}", day + timedelta(days=1), today)


@pytest.mark.parametrize("text", ["281301", "280832", "290229", "2808", "28080a", "280000"])
def test_what_is_no_day(text: str) -> None:
    """Month 13, day 32, 29 February of a common year, and what are no six digits."""
    assert gs1.day_of(text, date(2026, 11, 23)) is None


def test_a_separator_spelt_by_a_serial_is_kept_where_another_came_whole() -> None:
    """The word "<GS>" is made of legal signs: only a code without any separator is unfolded."""
    assert _code(_whole("ab<GS>cdefghi")).serial == "ab<GS>cdefghi"
    assert _code(_whole("a&amp;cdefghi")).serial == "a&amp;cdefghi"


# What a generator written apart from the reader found (docs/reference/packs.md) ------------------

BARE = f"01{GTIN}21{SERIAL}"
TAIL = f"{GS}91EE08{GS}92{CRYPTO}"


@pytest.mark.parametrize("text", [
    f"21{SERIAL}{GS}01{GTIN}", f"17280131{BARE}", f"10LOT7{GS}{BARE}{TAIL}",
    f"01{GTIN}240ABC/7{GS}21{SERIAL}", f"01{GTIN}71012345{GS}21{SERIAL}{TAIL}",
    f"{BARE}{TAIL}{GS}8005000120", f"{BARE}{GS}3103001750", f"01{GTIN}13260101{BARE[16:]}",
])  # fmt: skip  # A table of cases.
def test_element_strings_stand_in_any_order_with_others_between(text: str) -> None:
    """GS1 gives them no order, and a foreign pack carries more than ours: identity is the same."""
    assert _code(text).identity == BARE


@pytest.mark.parametrize("sign", ["\x1e", "\x1f", "\t", " ", "|", "~", "#", "\\", "$", "%1D",
                                  "<FNC1>", "{GS}", "\\F"])  # fmt: skip  # Separators.
def test_a_sign_that_no_field_has_is_the_separator(sign: str) -> None:
    """Where it is the only such sign, only one reading is possible, and it is said."""
    code = _code(f"{BARE}{sign}91EE08{sign}92{CRYPTO}")

    assert (code.identity, code.crypto) == (BARE, CRYPTO)
    assert "escaped" in code.repairs


@pytest.mark.parametrize("serial", ["ab%1Dcd<GS>ef", "<GS>91EE0892a", "_x001D_<gs>ab"])
def test_a_serial_may_spell_a_separator_although_none_came(serial: str) -> None:
    """As it stands it is a code: nothing is replaced then."""
    assert _code(f"01{GTIN}21{serial}").serial == serial
    assert _code(f"01{GTIN}21{serial}91EE0892{CRYPTO}").serial == serial


def test_a_keyboard_changed_in_the_middle_is_read_or_refused() -> None:
    """Cyrillic letters beside Latin ones: a sign of two meanings in the serial is not guessed."""
    plain = f"01{GTIN}21abcdefghijklm"
    assert _code(plain[:24] + plain[24:].translate(TO_RUSSIAN)).identity == plain
    dotted = f"01{GTIN}21abcd.fghijklm"
    assert _fault(dotted[:24] + dotted[24:].translate(TO_RUSSIAN)) == "mixed"


@pytest.mark.parametrize("turned", [str.upper, str.lower])
def test_a_scanner_that_loses_the_case_is_found_out(turned: object) -> None:
    """The random part proves it: another serial would be asked about otherwise, and suspected."""
    assert callable(turned)
    assert _fault(turned(f"01{GTIN}21aBcDeFgHiJkLm{TAIL}")) == "case"
    digits = f"01{GTIN}211234567890123"
    assert _code(turned(digits + TAIL)).identity == digits


def test_a_batch_with_two_ends_is_not_believed() -> None:
    """Glued to the serial, "A1" and an expiry look like a longer batch: neither is told."""
    code = _code(f"01{GTIN}10A117280131{BARE[16:]}")

    assert (code.identity, code.lot, code.expiry) == (BARE, "", "")
    kept = _code(f"01{GTIN}1729063010A117280131{BARE[16:]}")
    assert (kept.lot, kept.expiry) == ("A117280131", "290630")
    after = _code(f"{BARE}10LOT7{TAIL.replace(GS, '')}")
    assert (after.lot, after.crypto) == ("LOT7", CRYPTO)


@pytest.mark.parametrize("text", [
    f"(01) {GTIN} (21) {SERIAL}", f"(01){GTIN}\n(21){SERIAL}", f"(21){SERIAL}(01){GTIN}",
    f"(01){GTIN}(10)A(7)B(21){SERIAL}", f"(01){GTIN}(21){SERIAL}(240)X(1)(91)EE08(92){CRYPTO}",
])  # fmt: skip  # A table of cases.
def test_the_readable_form_has_blanks_brackets_and_any_order(text: str) -> None:
    """What is printed under the code and typed by hand."""
    assert _code(text).identity == BARE


def test_a_spreadsheets_cell_is_unwrapped() -> None:
    """Quotation marks around it, doubled ones in it, and the prefix sent twice."""
    serial = 'ab"cdefghijkl'
    assert _code(f'"01{GTIN}21{serial.replace(chr(34), chr(34) * 2)}"').serial == serial
    assert _code(f"]d2]d2{CLEAN}").identity == BARE


def test_a_code_cut_off_is_no_code_by_chance() -> None:
    """Unfolding "&lt;" in what is left must not make thirteen signs of it."""
    assert _fault(f"01{GTIN}21%1D_&lt;&lt;&91FSIC") == "cut_off"


def test_a_hostile_readable_form_ends_at_once() -> None:
    """Brackets within brackets could be parted in endless ways; more than twelve are refused."""
    many = "".join(f"({number})a" for number in [*range(90, 99), *range(240, 260), 710, 711, 712])
    assert _fault(f"(01){GTIN}{many * 20}(21){SERIAL}") == "fields"
