"""One name, one sound: alphabets, spellings, patronymics, initials, and what must stay apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit.text import APOSTROPHES, romanise, to_cyrillic
from dmed.modules.medid.rules.names import edits, is_courtesy, likeness, sound

ONE_NAME = """
Yo'ldoshev Йўлдошев Юлдашев Yuldashev Yoʻldosheva Юлдашева Yöldoshev Yóldoshev
Qodirov Қодиров Кадыров Kadirov Kadyrova
G'ulomov Ғуломов Гулямов Gulyamov Gʻulomova Ğulomov Ǵulomov
Jo'rayev Жўраев Джураев Djuraev Dzhuraev Jörayev
Xo'jayev Хўжаев Ходжаев Khodjaev Xöjayev
O'ktam Ўктам Уктам Öktam Oʻktam Õktam
Shahnoza Şahnoza Шахноза Шаҳноза Shakhnoza
Chori Çori Чори Чари
Каримович Karimovich Karim Каримов Karimova Каримовна
Abdulla Abdulloh Абдулла Абдуллах Abdullayev Абдуллаев
Fayzulla Fayzullo Файзулла Fayzullayevich
Dáwletov Дәўлетов Давлетов Davletov
Ótegenov Өтегенов Утегенов Utegenov
Tańirbergen Тәңирберген Танирберген
Ayımbetov Айымбетов Аимбетов
Gúlayım Гүлайым Гулайым
Qıdırbay Қыдырбай Кыдырбай Kidirbay
Ravshan Равшан Raushan Раушан
Barno Барно Барна
Toshpo'lat Тошпўлат Ташпулат Tashpulat
Yunus Юнус Yunusov
Sharof Шароф Шараф Sharofovich
""".strip().splitlines()
FATHERS = [
    ("Karim o'g'li", "Каримович"), ("Karim oʻgʻli", "Karimovich"), ("Карим ўғли", "Karim ogli"),
    ("Nodir qizi", "Надировна"), ("Нодир қизи", "Nadirovna"), ("Alisher uli", "Әлишер улы"),
    ("Икрамавич", "Ikrom o‘g‘li"), ("Abdulla qizi", "Абдуллаевна"), ("Botir ugli", "Батырович"),
    ("Yusuf kizi", "Юсуфовна"), ("Ali o'g'li", "Алиевич"), ("Murat qızı", "Муратовна"),
]  # fmt: skip  # Pairs.
TWO_NAMES = [("Hasan", "Husan"), ("Фотима", "Зухра"), ("Karimov", "Rahimov"), ("Nodir", "Qodir"),
             ("Хасанбой", "Husanboy"), ("Dilnoza", "Dilfuza"), ("Aziz", "Aziza"),
             ("Otajon", "Otabek"), ("Anvar", "Akbar")]  # fmt: skip  # Pairs.


@pytest.mark.parametrize("line", ONE_NAME)
def test_all_spellings_of_a_name_are_heard_alike(line: str) -> None:
    """Every spelling of a line is the same name as every other, both ways."""
    spellings = [sound(word) for word in line.split()]

    assert {likeness(one, other) for one in spellings for other in spellings} == {"same"}


@pytest.mark.parametrize(("left", "right"), FATHERS)
def test_patronymics_give_the_father(left: str, right: str) -> None:
    """A patronymic in any form is heard as the father's name."""
    assert likeness(sound(left), sound(right)) == "same"


@pytest.mark.parametrize(("left", "right"), TWO_NAMES)
def test_two_names_are_not_one(left: str, right: str) -> None:
    """Names of twins and neighbours in the dictionary are never the same name."""
    assert likeness(sound(left), sound(right)) != "same"
    assert not is_courtesy(sound(left), sound(right))


@pytest.mark.parametrize(("left", "right"), [
    ("Alisher", "Alisherjon"), ("Шерзод", "Sherzodjon"), ("Bekzod", "Бекзодбек"),
    ("Charos", "Charosxon"), ("Otabek", "Otabekbek"), ("Shohruh", "Шохруҳжон")])
def test_courtesy_is_no_difference_of_persons(left: str, right: str) -> None:
    """What is added in courtesy makes names alike, whichever comes first."""
    assert likeness(sound(left), sound(right)) == likeness(sound(right), sound(left)) == "alike"


@pytest.mark.parametrize(("initial", "name"), [
    ("A.", "Alisher"), ("Ш.", "Shuhrat"), ("Sh.", "Шухрат"), ("D", "Dilnoza"), ("Ў.", "O'ktam"),
    ("Ю.", "Yunus")])
def test_initials_meet_their_names(initial: str, name: str) -> None:
    """An initial agrees with names that begin so, in any alphabet, and with no others."""
    assert likeness(sound(initial), sound(name)) == "initial"
    assert likeness(sound(initial), sound("Farhod")) == "different"


@pytest.mark.parametrize("sign", APOSTROPHES)
def test_every_apostrophe_makes_the_closed_vowel(sign: str) -> None:
    """O‘tkir is Уткир whichever sign the keyboard gave, and has a closed vowel in it."""
    assert likeness(sound(f"O{sign}tkir"), sound("Уткир")) == "same"
    assert sound(f"O{sign}tkir").closed_bits == 1


_LETTERS = st.text(alphabet="abdefghijklmnopqrstuvxyz'", min_size=3, max_size=14).filter(
    lambda text: text[0].isalpha() and not text.endswith("'") and "''" not in text)


@settings(max_examples=200)
@given(_LETTERS)
def test_case_and_blanks_change_nothing(name: str) -> None:
    """Capitals, blanks and hyphens around a name are not heard."""
    heard = sound(name)

    assert sound(f"  {name.upper()} - ") == heard


@settings(max_examples=150)
@given(st.lists(st.sampled_from((
    "ba", "bo", "bu", "da", "do", "mu", "na", "ni", "no", "ra", "ri", "ro", "sa", "so", "ta", "to",
    "va", "vo", "za", "zo", "sha", "sho", "li", "lo", "ma", "mi", "qo", "qu", "xo", "ga",
)), min_size=2, max_size=4))
def test_the_alphabets_of_one_name_meet(syllables: list[str]) -> None:
    """A name of any syllables is the same in Uzbek Latin, Cyrillic and passport Latin."""
    name = "".join(syllables)

    assert likeness(sound(name), sound(to_cyrillic(name))) == "same"
    assert likeness(sound(name), sound(romanise(to_cyrillic(name).replace("ҳ", "х")
                                                 .replace("қ", "к")))) == "same"


@settings(max_examples=200)
@given(st.text(max_size=24), st.text(max_size=24))
def test_likeness_is_symmetric_and_never_fails(left: str, right: str) -> None:
    """Any texts have a sound, and who is compared with whom does not matter."""
    ours, theirs = sound(left), sound(right)

    assert likeness(ours, theirs) == likeness(theirs, ours)


@settings(max_examples=200)
@given(st.text(alphabet="abcd", max_size=7), st.text(alphabet="abcd", max_size=7))
def test_edits_are_counted_up_to_a_limit(left: str, right: str) -> None:
    """The bounded count is the whole count where it is small, and symmetric."""
    assert edits(left, right, 2) == min(edits(left, right, 20), 3) == edits(right, left, 2)
    assert (edits(left, right, 0) == 0) == (left == right)
