"""The national code lists of institutions (uz-core, CC BY 4.0), by short names of our own.

https://dhp.uz/fhir/core: subordination, nomenclature, structure and service groups, kinds of
units, kinds of departments, ways of payment.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

UNIT_SYSTEM = "https://dhp.uz/fhir/core/NamingSystem/location-unit"


class Code(msgspec.Struct, frozen=True):
    """One code with its names."""

    code: str
    uz: str
    ru: str = ""
    en: str = ""


class CodeList(msgspec.Struct, frozen=True):
    """One list: its address and its codes in order."""

    system: str
    codes: tuple[Code, ...]


@cache
def _lists() -> dict[str, CodeList]:
    raw = files("dmed.modules.facilities").joinpath("data/codes.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, CodeList])


@cache
def _known(name: str) -> dict[str, Code]:
    return {each.code: each for each in _lists()[name].codes}


def code_list(name: str) -> CodeList:
    """The list subordination, nomenclature, structure, service, unit, payment or place."""
    return _lists()[name]


def is_known(name: str, code: str) -> bool:
    """Whether the list has this code."""
    return code in _known(name)


def name_of(name: str, code: str, language: str) -> str:
    """The name of a code in a language, Uzbek where it has none there; the code where unknown."""
    found = _known(name).get(code)
    if found is None:
        return code
    return {"ru": found.ru, "en": found.en}.get(language, "") or found.uz


def coding(name: str, code: str) -> dict[str, str]:
    """A Coding of the list."""
    return {"system": _lists()[name].system, "code": code, "display": _known(name)[code].uz}


def code_in(record_codings: list[dict[str, str]], name: str) -> str:
    """The first code of this list among codings, or ""."""
    system = _lists()[name].system
    return next((one.get("code", "") for one in record_codings if one.get("system") == system), "")
