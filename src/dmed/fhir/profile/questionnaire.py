"""A QuestionnaireResponse against its Questionnaire.

https://hl7.org/fhir/R5/questionnaireresponse.html#link. Items by linkId, types of answers, options,
required, repeats, enableWhen. What is not enabled may not be answered and need not be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir.bindings import GuideValueSets, ValueSets
from dmed.fhir.profile.answers import answer_issues, count_issues, exclusive_issues
from dmed.fhir.profile.definition import decimal_of
from dmed.fhir.profile.leaves import codings_of, verdict_of
from dmed.fhir.profile.match import pattern_test
from dmed.fhir.profile.run import Item, ProfileRun
from dmed.fhir.validate_run import Place, any_of

_ANSWERS: dict[str, frozenset[str]] = {
    "boolean": frozenset({"valueBoolean"}),
    "decimal": frozenset({"valueDecimal", "valueInteger"}),
    "integer": frozenset({"valueInteger"}),
    "date": frozenset({"valueDate"}),
    "dateTime": frozenset({"valueDateTime", "valueDate"}),
    "time": frozenset({"valueTime"}),
    "string": frozenset({"valueString"}),
    "text": frozenset({"valueString"}),
    "url": frozenset({"valueUri"}),
    "attachment": frozenset({"valueAttachment"}),
    "reference": frozenset({"valueReference"}),
    "quantity": frozenset({"valueQuantity"}),
    "coding": frozenset({"valueCoding"}),
}
_ALL = frozenset().union(*_ANSWERS.values())
_UNANSWERED = frozenset({"group", "display", "question"})
"""Items without answers of their own; `question` is abstract, only its kinds are asked."""
_DONE = frozenset({"completed", "amended"})
Given = Mapping[str, Any]


def response_issues(resource: Any, place: Place, run: ProfileRun) -> None:
    """Every issue of a response whose Questionnaire is installed or contained."""
    if resource.fhir_type != "QuestionnaireResponse" or resource.questionnaire is UNSET:
        return
    questionnaire = _questionnaire(resource, run)
    if questionnaire is None:
        run.note("not-supported", f"the questionnaire {resource.questionnaire:.200} is not here: "
                 "answers not checked", place, "information")  # fmt: skip  # One sentence.
        return
    _Response(resource, questionnaire, run).check(place)


def _questionnaire(resource: Any, run: ProfileRun) -> Given | None:
    address = resource.questionnaire
    if address.startswith("#"):
        found = run.resolve(address)
        if found is None or found[0].fhir_type != "Questionnaire":
            return None
        made: Given = msgspec.to_builtins(found[0], builtin_types=(Decimal,))
        return made
    return run.library.questionnaire(address)


class _Response:
    """One response beside its questionnaire."""

    def __init__(self, resource: Any, questionnaire: Given, run: ProfileRun) -> None:
        self.resource = resource
        self.questionnaire = questionnaire
        self.run = run
        self.is_done = resource.status in _DONE
        self.answers: dict[str, list[Any]] = {}
        self._collect(resource)

    def _collect(self, node: Any) -> None:
        for item in () if node.item is UNSET else node.item:
            found = self.answers.setdefault(item.linkId, [])
            if item.answer is not UNSET:
                found += item.answer
                for answer in item.answer:
                    self._collect(answer)
            self._collect(item)

    def check(self, place: Place) -> None:
        """All items from the top."""
        self._items(self.questionnaire.get("item", ()), self.resource, place)

    def _items(self, wanted: Sequence[Given], node: Any, place: Place) -> None:
        given = () if node.item is UNSET else node.item
        known = {str(each.get("linkId")): each for each in wanted}
        order = {link: number for number, link in enumerate(known)}
        highest = -1
        by_link: dict[str, list[tuple[Any, Place]]] = {}
        for index, item in enumerate(given):
            where: Place = (place, "item", index)
            if item.linkId not in known:
                self._unknown(item, where)
                continue
            if order[item.linkId] < highest:
                self.run.note("structure", f"the item '{item.linkId}' is out of the "
                              "questionnaire's order", where)  # fmt: skip  # One sentence.
            highest = max(highest, order[item.linkId])
            by_link.setdefault(item.linkId, []).append((item, where))
        for link, question in known.items():
            self._question(question, by_link.get(link, []), place)

    def _unknown(self, item: Any, where: Place) -> None:
        if _has_link(self.questionnaire, item.linkId):
            self.run.note("structure", f"the item '{item.linkId}' stands in the wrong group", where)
        else:
            self.run.note("not-found", f"the questionnaire has no item '{item.linkId}'", where)

    def _question(self, question: Given, found: list[tuple[Any, Place]], place: Place) -> None:
        link, kind = str(question.get("linkId")), str(question.get("type"))
        if not self._enabled(question):
            for item, where in found:
                if _is_answered(item):
                    self.run.note("structure", f"the item '{link}' is not enabled by the other "
                                  "answers and must be empty", where)  # fmt: skip
            return
        is_needed = question.get("required") is True and self.is_done and kind != "display"
        if is_needed and not any(_is_answered(item) for item, _ in found):
            self.run.note("required", f"no answer to the required item '{link}'", place)
        repeats = question.get("repeats") is True
        if len(found) > 1 and not (repeats and kind == "group"):
            self.run.note("structure", f"the item '{link}' stands {len(found)} times", found[1][1])
        if self.is_done or found:
            count = len(found) if kind == "group" else sum(
                len(item.answer) for item, _ in found if item.answer is not UNSET)
            count_issues(question, count, found[0][1] if found else place, self.run)
        for item, where in found:
            self._item(question, item, where, repeats=repeats)

    def _item(self, question: Given, item: Any, where: Place, *, repeats: bool) -> None:
        link, kind = str(question.get("linkId")), str(question.get("type"))
        answers = () if item.answer is UNSET else item.answer
        if kind in _UNANSWERED:
            if answers:
                self.run.note("structure", f"'{link}' is a {kind} and takes no answer", where)
            if kind == "group":
                self._items(question.get("item", ()), item, where)
            return
        if len(answers) > 1 and not repeats:
            self.run.note("structure", f"'{link}' takes one answer, found {len(answers)}", where)
        values: list[tuple[Any, Place]] = []
        for index, answer in enumerate(answers):
            spot: Place = (where, "answer", index)
            values += [(getattr(answer, name), spot) for name in _ALL
                       if getattr(answer, name) is not UNSET]
            self._answer(question, answer, spot)
            self._items(question.get("item", ()), answer, spot)
        exclusive_issues(question, values, self.run)

    def _answer(self, question: Given, answer: Any, place: Place) -> None:
        kind = str(question.get("type"))
        name = next((each for each in sorted(_ALL) if getattr(answer, each) is not UNSET), "")
        if not name:
            return
        allowed = set(_ANSWERS.get(kind, _ALL))
        constraint = question.get("answerConstraint")
        if constraint == "optionsOrString":
            allowed.add("valueString")
        if name not in allowed:
            self.run.note("structure", f"the answer is a {name[5:]}, the question asks for "
                          f"{any_of(sorted(each[5:] for each in allowed))}", place)  # fmt: skip
            return
        value = getattr(answer, name)
        length = question.get("maxLength")
        if isinstance(length, int) and isinstance(value, str) and len(value) > length:
            self.run.note("too-long", f"the answer has {len(value)} characters, at most {length} "
                          "are allowed", place)  # fmt: skip  # One sentence.
        is_free = constraint == "optionsOrType" or (
            constraint == "optionsOrString" and name == "valueString"
        )
        if not is_free:
            self._option(question, name, value, place)
        answer_issues(question, value, (place, name, -1), self.run)

    def _option(self, question: Given, name: str, value: Any, place: Place) -> None:
        options = [
            option[key]
            for option in question.get("answerOption", ())
            for key in option
            if key.startswith("value")
        ]
        if options and not any(_same(each, value) for each in options):
            self.run.note("code-invalid", "the answer is none of the question's options", place)
        value_set = question.get("answerValueSet")
        if isinstance(value_set, str) and name == "valueCoding":
            self._of_value_set(value_set, value, (place, name, -1))

    def _of_value_set(self, value_set: str, value: Any, place: Place) -> None:
        sets: ValueSets = self.run.library.value_sets
        if value_set.startswith("#"):
            inside = {f"#{each.get('id')}": each for each in self.questionnaire.get("contained", ())
                      if each.get("resourceType") == "ValueSet"}  # fmt: skip  # One table.
            sets = GuideValueSets(inside, {}, sets)
        verdict = verdict_of(sets, value_set, codings_of(Item(value, None, "Coding", place)))
        if verdict is None:
            self.run.note("not-supported", f"the answer could not be checked: the content of "
                          f"{value_set} is not here", place, "information")  # fmt: skip
        elif not verdict:
            self.run.note("code-invalid", f"the answer is no code of {value_set}", place)

    def _enabled(self, question: Given) -> bool:
        rules = question.get("enableWhen", ())
        if not rules:
            return True
        verdicts = [self._holds(each) for each in rules]
        return any(verdicts) if question.get("enableBehavior") == "any" else all(verdicts)

    def _holds(self, rule: Given) -> bool:
        answers = [
            getattr(answer, name)
            for answer in self.answers.get(str(rule.get("question")), ())
            for name in _ALL
            if getattr(answer, name) is not UNSET
        ]
        sign = rule.get("operator")
        wanted = next((rule[key] for key in rule if key.startswith("answer")), None)
        if sign == "exists":
            return bool(answers) is (wanted is not False)
        if sign == "!=":
            return not any(_same(wanted, each) for each in answers)
        if sign == "=":
            return any(_same(wanted, each) for each in answers)
        return any(_ordered(str(sign), each, wanted) for each in answers)


def _has_link(node: Given, link: str) -> bool:
    return any(each.get("linkId") == link or _has_link(each, link) for each in node.get("item", ()))


def _is_answered(item: Any) -> bool:
    if item.answer is not UNSET and item.answer:
        return True
    return item.item is not UNSET and any(_is_answered(each) for each in item.item)


def _same(wanted: Any, value: Any) -> bool:
    """Equal as answers are: codings by system and code, quantities by number and unit."""
    if isinstance(wanted, Mapping):
        keys = {"system", "code", "value", "reference", "unit"} & set(wanted)
        if "code" in keys:
            keys.discard("unit")
        kept = {key: wanted[key] for key in keys} or wanted
        return pattern_test(kept)(value)
    return pattern_test(wanted)(value)


def _ordered(sign: str, value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        value, wanted = getattr(value, "value", None), wanted.get("value")
    left: Any = decimal_of(value)
    right: Any = decimal_of(wanted)
    if left is None or right is None:
        if not (isinstance(value, str) and isinstance(wanted, str)):
            return False
        left, right = value, wanted
    tests = {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}
    return bool(tests.get(sign, False))
