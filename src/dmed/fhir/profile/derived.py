"""A Questionnaire beside the one that it derives from.

https://hl7.org/fhir/R5/questionnaire-definitions.html#Questionnaire.derivedFrom. What complies
with or extends another must accept no answers that the other would refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from dmed.fhir.profile.match import pattern_test
from dmed.fhir.profile.run import ProfileRun
from dmed.fhir.validate_run import Place

_TYPE = "http://hl7.org/fhir/StructureDefinition/questionnaire-derivationType"
Given = Mapping[str, Any]


def derived_issues(resource: Any, place: Place, run: ProfileRun) -> None:
    """Compare the items of a Questionnaire with those of every one it complies with or extends."""
    if resource.fhir_type != "Questionnaire" or resource.derivedFrom is UNSET:
        return
    marks = resource.derivedFrom__ext
    for index, address in enumerate(resource.derivedFrom):
        mark = marks[index] if marks is not UNSET and index < len(marks) else None
        kind = _kind(mark)
        base = run.library.questionnaire(address) if address and kind else None
        if base is not None:
            known = dict(_items(base))
            _compare(resource, place, known, run, complies=kind == "compliesWith")


def _kind(mark: Any) -> str:
    for each in () if mark is None or mark.extension is UNSET else mark.extension:
        if each.url == _TYPE and each.valueCoding is not UNSET:
            code = each.valueCoding.code
            return code if code in {"compliesWith", "extends"} else ""
    return ""


def _items(node: Given) -> list[tuple[str, Given]]:
    found: list[tuple[str, Given]] = []
    for each in node.get("item", ()):
        found.append((str(each.get("linkId", "")), each))
        found.extend(_items(each))
    return found


def _compare(
    node: Any, place: Place, known: Mapping[str, Given], run: ProfileRun, *, complies: bool
) -> None:
    for index, item in enumerate(() if node.item is UNSET else node.item):
        where: Place = (place, "item", index)
        base = known.get(item.linkId)
        if base is not None:
            _one(item, base, where, run)
        elif complies:
            run.note("not-found", f"the questionnaire that this complies with has no item "
                     f"'{item.linkId}'", where)  # fmt: skip  # One sentence.
        _compare(item, where, known, run, complies=complies)


def _one(item: Any, base: Given, where: Place, run: ProfileRun) -> None:
    if item.type is not UNSET and item.type != base.get("type"):
        run.note("structure", f"the type was {base.get('type')} and cannot become {item.type}",
                 (where, "type", -1))  # fmt: skip  # One sentence.
    if item.repeats is True and base.get("repeats") is not True:
        run.note("structure", "the item did not repeat and cannot repeat here",
                 (where, "repeats", -1))  # fmt: skip  # One sentence.
    if base.get("required") is True and item.required is not True:
        run.note("structure", "the item was required and must be required here",
                 (where, "required", -1))  # fmt: skip  # One sentence.
    options = base.get("answerOption", ())
    for number, option in enumerate(() if item.answerOption is UNSET else item.answerOption):
        if options and not any(pattern_test(_value(each))(option) for each in options):
            run.note("structure", "this answer was no option and cannot be one here",
                     (where, "answerOption", number))  # fmt: skip  # One sentence.


def _value(option: Given) -> Given:
    return {key: each for key, each in option.items() if key.startswith("value")}
