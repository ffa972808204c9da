"""Folding, skeletons of names, and scripts by rule."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmed.kit import text

ONE_NAME = """
Yo'ldoshev Йўлдошев Юлдашев Yuldashev Yoʻldosheva Юлдашева Yo‘ldoshev
Qodirov Қодиров Кадыров Kadirov Kadyrova
Rahimov Раҳимов Рахимов Rakhimov Raximov
Yunusobod Юнусобод Юнусабад Yunusabad
G'ulomov Ғуломов Гулямов Gulyamov Gʻulomova
Jo'rayev Жўраев Джураев Djuraev Jo‘rayeva Джураева
Xo'jayev Хўжаев Ходжаев Khodjaev
O'ktam Ўктам Уктам Oʻktam
Каримович Karimovich Karim Каримов Karimova
Mirzayev Мирзаев Mirzaev
Dilnoza Дилноза DILNOZA
Botirovna Ботировна Ботир Botir
Sergey Сергей Sergei
Yevgeniy Евгений
Ma'mura Маъмура Мамура
Toshkent Тошкент
Jasur Жасур Джасур Dzhasur
Shohruh Шоҳруҳ Шохрух Shakhrukh
Go'zal Гўзал Гузал
Álisher Әлишер Алишер Alisher
Ǵalıy Ғалий Galiy
Oybek Ойбек Айбек
Şahnoza Shahnoza Шахноза Шаҳноза
Dubrovskiy Дубровский Дубровская Dubrovskaya
Valiyev Валиев Valiev Валиева
Dáwletov Даулетов Dauletov
""".strip().splitlines()
TWO_NAMES = [("Karimov", "Rahimov"), ("Dilnoza", "Dilfuza"), ("Anvar", "Akbar"),
             ("Yusupov", "Yunusov"), ("Malika", "Malohat")]  # fmt: skip  # Pairs.
WRITTEN = [
    ("O‘zbekiston Respublikasi Sog‘liqni saqlash vazirligi",
     "Ўзбекистон Республикаси Соғлиқни сақлаш вазирлиги"),
    ("14-oilaviy poliklinika", "14-оилавий поликлиника"),
    ("Is’hoqov", "Исҳоқов"), ("SHOSHILINCH", "ШОШИЛИНЧ"), ("yetti yil", "етти йил"),
    ("retsept, litsenziya", "рецепт, лицензия"), ("ketsin", "кетсин"),
    ("amoksitsillin", "амоксициллин"), ("noyabrda", "ноябрда"), ("noyabr", "ноябрь"),
    ("san’at", "санъат"), ("poyezd", "поезд"), ("eshik", "эшик"), ("aeroport", "аэропорт"),
    ("dunyo, quyosh, tayoq", "дунё, қуёш, таёқ"), ("{count} ta", "{count} та"),
    ("<b>Chop etish</b> PDF", "<b>Чоп этиш</b> PDF"), ("Yo‘ldosheva", "Йўлдошева"),
    ("kompyuterda", "компьютерда"), ("singil", "сингил"), ("ming", "минг"),
]  # fmt: skip  # Uzbek Latin and Cyrillic side by side.
LATIN = [
    ("Йўлдошева Дилноза Ботир қизи", "Yo‘ldosheva Dilnoza Botir qizi"), ("Маъмура", "Ma’mura"),
    ("Елена", "Yelena"), ("поезд", "poyezd"), ("ҒУЛОМОВ", "G‘ULOMOV"), ("Шарипов", "Sharipov"),
    ("ЧОРСУ", "CHORSU"), ("конституция", "konstitutsiya"),
]  # fmt: skip  # Uzbek Cyrillic and Latin side by side.


@pytest.mark.parametrize("line", ONE_NAME)
def test_spellings_of_one_name_have_one_key(line):
    """Latin of 1995 and later, Cyrillic, Russian and passport spelling meet in one skeleton."""
    assert len({text.name_key(word) for word in line.split()}) == 1


@pytest.mark.parametrize(("left", "right"), TWO_NAMES)
def test_different_names_have_different_keys(left, right):
    """The skeleton is lossy, but not so lossy that common names fall together."""
    assert text.name_key(left) != text.name_key(right)


def test_patronymics_lose_the_words_for_son_and_daughter():
    """Botir qizi, Ботировна and Botirovna are heard as Botir; o‘g‘li likewise."""
    assert text.name_key("Botir qizi") == text.name_key("Ботировна") == "batir"
    assert text.name_key("Karim o'g'li") == text.name_key("Каримович") == "karim"


@pytest.mark.parametrize("sign", text.APOSTROPHES)
def test_every_apostrophe_is_the_same(sign):
    """O‘tkir is found whichever sign the keyboard gave."""
    assert text.fold(f"O{sign}tkir") == "otkir"


def test_fold_bridges_script_and_case():
    """The search key of Uzbek Latin and Uzbek Cyrillic is one."""
    assert text.fold("Йўлдошева") == text.fold("YO‘LDOSHEVA") == "yoldosheva"
    assert text.fold("  Ñandú   Ǵalıy ") == "nandu galiy"


@settings(max_examples=300)
@given(st.text(max_size=40))
def test_folding_twice_is_folding_once(value):
    """The key of a key is itself, for any text at all."""
    once = text.fold(value)

    assert text.fold(once) == once
    assert once == once.strip()


@settings(max_examples=200)
@given(st.text(alphabet="abcdefghijklmnopqrstuvxyz'‘ абвгдеёжзийклмнопрстуфхцчшъыьэюяўқғҳ",
               max_size=30), st.text(alphabet="abcd xyz", max_size=6))
def test_the_fold_of_a_beginning_begins_the_fold(begun, rest):
    """What is typed first is a prefix of the whole key, so that search as you type works."""
    assert text.fold(begun + rest).startswith(text.fold(begun))


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_keys_never_fail_and_are_plain(value):
    """Skeleton, frame and trigrams exist for any text; the frame is no longer than the key."""
    key = text.name_key(value)

    assert len(text.name_frame(value)) <= len(key)
    assert text.trigrams(value) == sorted(set(text.trigrams(value)))


@pytest.mark.parametrize(("latin", "cyrillic"), WRITTEN)
def test_uzbek_latin_becomes_cyrillic(latin, cyrillic):
    """Rule and exceptions give the spelling of the schoolbook; places and markup stay."""
    assert text.to_cyrillic(latin) == cyrillic


@pytest.mark.parametrize(("cyrillic", "latin"), LATIN)
def test_uzbek_cyrillic_becomes_latin(cyrillic, latin):
    """The Latin of 1995 with ‘ and ’."""
    assert text.to_latin(cyrillic) == latin


@settings(max_examples=200)
@given(st.lists(st.sampled_from(
    ["sh", "ch", "o‘", "g‘", "a", "i", "u", "b", "d", "k", "l", "m", "n", "q", "r", "x", "z"]),
    min_size=1, max_size=8))
def test_native_syllables_come_back(pieces):
    """Latin to Cyrillic and back gives the same word, where no loan rule interferes."""
    word = "".join(pieces).replace("s‘h", "sh")

    assert text.to_latin(text.to_cyrillic(word)) == word


def test_russian_is_romanised_as_in_passports():
    """Kh, zh, ya: the spelling of travel documents."""
    assert text.romanise("Хаджимуратова Юлия Жанновна") == "Khadzhimuratova Yuliya Zhannovna"


def test_trigrams_weigh_the_beginning():
    """A word gives as many trigrams as it has letters, and one more."""
    assert len(text.trigrams("karim")) == 6
    assert set(text.trigrams("karim")) & set(text.trigrams("karimov"))


def test_spellings_of_invented_people_meet(shared_data):
    """Of pairs of records of one person in different scripts nearly all surnames have one key."""
    groups: dict[str, set[str]] = {}
    with (shared_data / "mpi" / "uz_synth_dev_20k.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["sex"] == "M" and row["surname"] and row["given"]:
                groups.setdefault(row["person_id"], set()).add(text.name_frame(row["surname"]))
    several = [len(keys) for keys in groups.values()]

    assert sum(1 for count in several if count == 1) / len(several) > 0.9
