"""Words, dates and numbers in the reader's language, from flat JSON files of texts.

Uzbek in Latin letters is the base: a text that another language lacks is a fault that a test
finds, and Uzbek in Cyrillic letters is made from it by rule, with a file of exceptions (the rule
cannot know that "retsept" is spelt "рецепт"). A text may hold `{name}` places, and
`{count?one|few|many}` where the word follows the number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from datetime import date as Day  # noqa: N812  # `date` is what a Speech says of one.
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from dmed.kit import clock
from dmed.kit.text import is_cyrillic

LANGUAGES: tuple[str, ...] = ("uz", "uz-Cyrl", "ru", "en")
"""Shipped languages: all of them complete, in the order in which screens offer them."""
WRITTEN: tuple[str, ...] = ("uz", "ru", "en")
"""Languages that have files of texts; uz-Cyrl is derived."""
BASE = "uz"
SHORT = {"uz": "O‘z", "uz-Cyrl": "Ўз", "ru": "Ру", "en": "En"}
NAMES = {"uz": "O‘zbekcha", "uz-Cyrl": "Ўзбекча", "ru": "Русский", "en": "English"}

_RUSSIAN = str.maketrans("ўқғҳЎҚҒҲ", "укгхУКГХ")
_PLACE = re.compile(r"\{(\w+)(?:\?([^{}]*))?\}")
_MONTHS_EN = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip  # Twelve words in a row.
_THIN = " "  # A narrow no-break space: 12 345 stays on one line.


def plural(language: str, count: int) -> int:
    """Which of the forms one, few, many (0, 1, 2) a number takes in a language.

    >>> [plural("ru", n) for n in (1, 3, 11, 22, 25)]
    [0, 1, 2, 1, 2]
    """
    count = abs(count)
    if language == "ru":
        if count % 10 == 1 and count % 100 != 11:
            return 0
        return 1 if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14) else 2
    return 0 if count == 1 else 2


def fill(language: str, text: str, values: Mapping[str, object]) -> str:
    """The text with its places filled; a place without a value stays visible as `{name}`."""

    def place(match: re.Match[str]) -> str:
        name, forms = match.group(1), match.group(2)
        value = values.get(name)
        if value is None:
            return match.group(0)
        if forms is None:
            return str(value)
        choices = forms.split("|")
        number = int(value) if isinstance(value, int | Decimal | str) else 0
        return choices[min(plural(language, number), len(choices) - 1)]

    return _PLACE.sub(place, text)


class Translator:
    """All texts of all languages; made once at start, then only read."""

    def __init__(
        self,
        texts: Mapping[str, Mapping[str, str]],
        *,
        to_cyrillic: Callable[[str], str] | None = None,
        exceptions: Mapping[str, str] | None = None,
    ) -> None:
        exceptions = exceptions or {}
        self.texts: dict[str, dict[str, str]] = {
            language: dict(texts.get(language, {})) for language in WRITTEN
        }
        cyrillic = Cyrillic(to_cyrillic or str, exceptions)
        self.cyrillic = cyrillic
        self.texts["uz-Cyrl"] = {
            key: exceptions.get(key) or cyrillic(text) for key, text in self.texts[BASE].items()
        }

    def text(self, language: str, key: str, **values: object) -> str:
        """The text of a key; a missing key comes back as itself, so that it is seen and fixed."""
        text = self.texts.get(language, {}).get(key) or self.texts[BASE].get(key) or key
        return fill(language, text, values) if "{" in text else text

    def has(self, key: str) -> bool:
        """Whether the base language knows the key."""
        return key in self.texts[BASE]

    def missing(self) -> dict[str, list[str]]:
        """For each written language the keys that it lacks or has alone: empty lists are right."""
        every = set().union(*(self.texts[language].keys() for language in WRITTEN))
        return {
            language: sorted(key for key in every if not self.texts[language].get(key))
            for language in WRITTEN
        }

    def speech(self, language: str) -> Speech:
        """The one language of one page."""
        return Speech(self, language if language in LANGUAGES else BASE)


class Cyrillic:
    """Uzbek Latin to Cyrillic for texts: the rule, then stems that the rule spells wrong.

    Stems are matched where a word begins, so that "retseptni" follows "retsept"; places such as
    `{name}` and codes that begin with a capital and hold a digit (F2, J01CA04) stay as they are.
    """

    def __init__(self, rule: Callable[[str], str], exceptions: Mapping[str, str]) -> None:
        self._rule = rule
        self._stems = {key: value for key, value in exceptions.items() if "." not in key}
        longest_first = sorted(self._stems, key=len, reverse=True)
        stems = "|".join(re.escape(stem) for stem in longest_first) or r"(?!)"
        self._pattern = re.compile(
            r"(?P<place>\{[^{}]*\})" r"|(?P<code>\b[A-Z]+\d[\w-]*)" rf"|(?P<stem>\b(?i:{stems}))"
        )

    def __call__(self, text: str) -> str:
        parts: list[str] = []
        at = 0
        for match in self._pattern.finditer(text):
            parts.append(self._rule(text[at : match.start()]))
            parts.append(self._kept(match))
            at = match.end()
        parts.append(self._rule(text[at:]))
        return "".join(parts)

    def _kept(self, match: re.Match[str]) -> str:
        found = match.group(0)
        if match.lastgroup != "stem":
            return found
        spelt = self._stems[found.lower()]
        return spelt if spelt.isupper() or found[0].islower() else spelt.capitalize()


_SUMS = frozenset({"price", "most", "total"})


class Speech:
    """How one page speaks: texts, dates, numbers and scripts of one language."""

    def __init__(self, translator: Translator, language: str) -> None:
        self.translator = translator
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        return self.translator.text(self.language, key, **values)

    def date(self, value: Day | datetime | str | None) -> str:
        """A day: 18.11.2026, or 18 Nov 2026 in English; FHIR's partial dates stay partial."""
        year, month, day = _parts(value)
        if year == 0:
            return ""
        if self.language == "en":
            return f"{day} {_MONTHS_EN[month - 1]} {year}" if day else _month_en(year, month)
        if day:
            return f"{day:02d}.{month:02d}.{year:04d}"
        return f"{month:02d}.{year:04d}" if month else f"{year:04d}"

    def day(self, value: Day | datetime | str | None) -> str:
        """A recent day as people say it: today, yesterday, else the date."""
        year, month, day = _parts(value)
        if day:
            apart = (clock.today() - Day(year, month, day)).days
            if apart in (0, 1):
                return self("date.today" if apart == 0 else "date.yesterday")
        return self.date(value)

    def time(self, value: datetime | str | None) -> str:
        """Hours and minutes in Tashkent: 14:05."""
        moment = as_moment(value)
        return f"{moment.astimezone(clock.TASHKENT):%H:%M}" if moment else ""

    def moment(self, value: datetime | str | None) -> str:
        """Day and time in Tashkent: "today 14:05"."""
        moment = as_moment(value)
        if moment is None:
            return self.date(value)
        return f"{self.day(moment)} {self.time(moment)}"

    def number(self, value: Decimal | float | str | None, places: int | None = None) -> str:
        """A number with the language's decimal sign; digits after it as given, or `places`."""
        if value is None or value == "":
            return ""
        amount = Decimal(str(value))
        text = f"{amount:f}" if places is None else f"{amount:.{places}f}"
        whole, _, rest = text.partition(".")
        sign, whole = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
        if len(whole) > 4:
            whole = _THIN.join(_thousands(whole))
        point = "." if self.language == "en" else ","
        return sign + whole + (point + rest if rest else "")

    def figure(self, name: str, value: str) -> str:
        """The value of a sentence's blank: sums and limits (`price`, `most`, `total`) as `number`
        where they are numbers, anything else as it is: "20500" -> "20 500".
        """
        is_number = name in _SUMS and re.fullmatch(r"-?\d{1,20}(\.\d{1,20})?", value, re.ASCII)
        return self.number(value) if is_number else value

    def age(self, born: Day | str | None, at: Day | None = None) -> str:
        """The age in words: years, below two years months, below two months days."""
        year, month, day = _parts(born)
        if year == 0:
            return ""
        at = at or clock.today()
        months = (at.year - year) * 12 + at.month - (month or 1) - (at.day < (day or 1))
        if months >= 24 or not day:
            return self("date.age_years", count=max(months // 12, 0))
        if months >= 2:
            return self("date.age_months", count=months)
        return self("date.age_days", count=max((at - Day(year, month, day)).days, 0))

    def name(self, text: str) -> str:
        """A person's name or post in letters that this page's reader is used to.

        In Russian an Uzbek name is written with Russian letters alone: Shuhratovich, Шухратович.
        """
        if self.language == "ru" and not is_cyrillic(text):
            return self.translator.cyrillic(text).translate(_RUSSIAN)
        return self.script(text)

    def script(self, text: str) -> str:
        """A Latin text of the data (a name, a medicine) in the letters of this page."""
        return self.translator.cyrillic(text) if self.language == "uz-Cyrl" else text


def _thousands(whole: str) -> list[str]:
    head = len(whole) % 3
    groups = [whole[at : at + 3] for at in range(head, len(whole), 3)]
    return [whole[:head], *groups] if head else groups


def _month_en(year: int, month: int) -> str:
    return f"{_MONTHS_EN[month - 1]} {year}" if month else f"{year}"


def _parts(value: Day | datetime | str | None) -> tuple[int, int, int]:
    """Year, month and day of a value, with 0 for what a partial date leaves out."""
    if isinstance(value, str):
        if "T" in value:
            value = as_moment(value)
        else:
            pieces = [int(piece) for piece in value.split("-") if piece.isdecimal()]
            pieces += [0, 0, 0]
            return pieces[0], pieces[1], pieces[2]
    if isinstance(value, datetime):
        local = value.astimezone(clock.TASHKENT)
        return local.year, local.month, local.day
    return (value.year, value.month, value.day) if value else (0, 0, 0)


def as_moment(value: datetime | str | None) -> datetime | None:
    """The moment of a FHIR dateTime or instant; None for a day without a time."""
    if isinstance(value, str):
        if "T" not in value:
            return None
        value = datetime.fromisoformat(value)
    if value is not None and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def read_texts(folders: Iterable[Path]) -> dict[str, dict[str, str]]:
    """The texts of all folders merged: `{language: {key: text}}`; a key in two files is a fault."""
    texts: dict[str, dict[str, str]] = {language: {} for language in WRITTEN}
    for folder in folders:
        for language in WRITTEN:
            path = folder / f"{language}.json"
            if not path.exists():
                continue
            found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            twice = sorted(
                key for key in found if texts[language].get(key, found[key]) != found[key]
            )
            if twice:
                raise ValueError(f"{path}: {', '.join(twice)} already has another text")
            texts[language].update(found)
    return texts


def locale_folders() -> list[Path]:
    """Where texts lie: those of pages first, then each module's own."""
    package = Path(__file__).resolve().parent.parent
    return [
        package / "pages" / "locale",
        *sorted((package / "modules").glob("*/data/locale")),
    ]


@lru_cache(maxsize=1)
def translator() -> Translator:
    """All shipped texts; Cyrillic Uzbek is made by the rule of kit.text."""
    from dmed.kit.text import to_cyrillic

    folders = locale_folders()
    exceptions: dict[str, str] = {}
    for folder in folders:
        path = folder / "uz-Cyrl.json"
        if path.exists():
            exceptions.update(json.loads(path.read_text(encoding="utf-8")))
    return Translator(read_texts(folders), to_cyrillic=to_cyrillic, exceptions=exceptions)
