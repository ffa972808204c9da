"""Refusals of lower floors in the reader's language."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from dmed.kit import i18n
from dmed.pages import sentences, view

SOURCE = Path(view.__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("The code is wrong; 4 more wrong codes lock the prescription",
         "Код неверен. Ещё 4 неверных попыток — и рецепт временно закроется."),
        ("The code is wrong: locked for 15 minutes", "Код неверен: рецепт закрыт на 15 минут."),
        ("Item 2 is with a pharmacy (27-dorixona) [state with-pharmacy]; claim is not possible",
         None),
        ("There is no prescription 1726-0048-2215-9", "Рецепта 1726-0048-2215-9 нет."),
        ("a sentence that nobody translated", "a sentence that nobody translated"),
    ],
)  # fmt: skip  # A table of cases.
def test_a_known_sentence_is_said_in_russian(sentence: str, said: str | None) -> None:
    """The English text of a key is its pattern; an unknown sentence stays as it came."""
    t = i18n.translator().speech("ru")
    expected = said or t("said.state", item=2, state=t("prescriptions.state.with-pharmacy"))

    assert sentences.said(t, sentence) == expected


def test_in_english_a_sentence_stays_what_it_was() -> None:
    """Reading a sentence by its own pattern changes nothing."""
    t = i18n.translator().speech("en")

    assert sentences.said(t, "a pregnancy lasts 1 to 42 weeks") == "a pregnancy lasts 1 to 42 weeks"


def literals() -> list[str]:
    """The text of every string of the platform's code, with its values left out."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0"
                         for part in node.values]  # fmt: skip  # Text, or a value.
                found.append("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_pattern_is_still_said_somewhere() -> None:
    """A sentence reworded in a service must be reworded here, or it would fall back to English."""
    texts = i18n.translator().texts["en"]
    known = literals()
    stale = []
    for key, text in texts.items():
        if not key.startswith("said.") or key == "said.state":
            continue
        pieces = [piece.strip("': ") for piece in re.split(r"\{\w+\}", text)]
        if not any(all(piece in literal for piece in pieces) for literal in known):
            stale.append(key)

    assert stale == []
