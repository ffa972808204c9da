"""The short list of frequent ICD-10 codes: a file of this package, searched as you type."""

from __future__ import annotations

from functools import cache

from dmed.kit.text import fold
from dmed.modules.prescriptions.model import Diagnosis
from dmed.modules.prescriptions.rules.tables import parse


@cache
def entries() -> dict[str, Diagnosis]:
    """Every diagnosis by code, in the order of the codes."""
    from importlib.resources import files

    folder = files("dmed.modules.prescriptions").joinpath("data")
    found = parse("diagnoses", folder.joinpath("diagnoses.tsv").read_text(encoding="utf-8"))
    return {
        row["code"]: Diagnosis(
            code=row["code"], uz=row["uz"], ru=row["ru"], en=row["en"], is_viral=row["viral"] == "1"
        )
        for row in found.rows
    }


@cache
def viral() -> frozenset[str]:
    """Codes of viral infections."""
    return frozenset(code for code, each in entries().items() if each.is_viral)


@cache
def _words() -> tuple[tuple[Diagnosis, tuple[str, ...]], ...]:
    return tuple(
        (each, tuple(fold(f"{each.uz} {each.ru} {each.en}").replace(",", " ").split()))
        for each in entries().values()
    )


def search(text: str, language: str, limit: int) -> list[Diagnosis]:
    """Diagnoses whose code begins with the text, or whose names hold a word that begins with each
    typed part, in any language or script; the best first.
    """
    typed = fold(text).replace(",", " ").split()
    if not typed:
        return []
    code = "".join(typed).upper().replace(".", "")
    found = []
    for each, words in _words():
        if each.code.replace(".", "").startswith(code):
            found.append((0, each.code, each))
        elif all(any(word.startswith(part) for word in words) for part in typed):
            first = fold(each.name(language)).startswith(typed[0])
            found.append((1 if first else 2, each.code, each))
    return [each for _, _, each in sorted(found, key=lambda row: row[:2])[:limit]]
