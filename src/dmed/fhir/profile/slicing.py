"""Slices: which item belongs to which, and what is asked of them.

https://hl7.org/fhir/R5/profiling.html#slicing
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec import UNSET

from dmed.fhir.facts import UNBOUNDED, facts
from dmed.fhir.profile.definition import CORE, Discriminator, Node, Slicing
from dmed.fhir.profile.leaves import codings_of, verdict_of
from dmed.fhir.profile.locate import Step, located, steps_of, values
from dmed.fhir.profile.match import fixed_test, pattern_test, said
from dmed.fhir.profile.run import Check, Item, Library, ProfileRun
from dmed.fhir.profile.targets import target_types
from dmed.fhir.types import attribute
from dmed.fhir.validate_run import Place

Test = Callable[[Item, int, ProfileRun], bool]
Quietly = Callable[[Node, str], "Check | None"]
_BY_URL = Slicing((Discriminator("value", "url"),), "open", False)
_BY_TYPE = Slicing((Discriminator("type", "$this"),), "open", False)


class Matcher(msgspec.Struct, frozen=True):
    """Decides whether an item (and its index) belongs to a slice; `said` tells how, for people.

    `key` is set where a plain text decides, as the url of an extension does.
    """

    test: Test
    said: str
    key: tuple[str, str] | None = None
    is_told: bool = True
    """Whether the slice says anything that decides."""


class Slice(msgspec.Struct, frozen=True):
    """One slice: its node, its matcher, the check of its items, and the slices inside it."""

    node: Node
    matcher: Matcher
    check: Check | None
    inner: Slices | None


class Slices:
    """All slices of an element."""

    def __init__(self, node: Node, slices: list[Slice]) -> None:
        self._name = node.name
        self._slicing = _slicing_of(node)
        self._slices = slices
        self._is_strict = self._slicing.rules != "open" or self._slicing.is_ordered
        self.has_required = any(each.node.min > 0 for each in slices)
        attrs = {each.matcher.key[0] for each in slices if each.matcher.key}
        self._attr = attrs.pop() if len(attrs) == 1 else ""
        self._by_key: dict[object, int] = {}
        for number, each in enumerate(slices):
            if self._attr and each.matcher.key:
                self._by_key.setdefault(each.matcher.key[1], number)
        # Slices that no plain text tells are asked one by one.
        self._asked = [
            (number, each.matcher.test)
            for number, each in enumerate(slices)
            if not (self._attr and each.matcher.key)
        ]

    def __call__(self, items: list[Item], place: Place, run: ProfileRun) -> None:
        """Sort the items into slices, count them, and check each by its slice."""
        sorted_: list[list[Item]] = [[] for _ in self._slices]
        order: list[int] = []
        for index, item in enumerate(items):
            number = self._slice_of(item, index, run)
            order.append(number)
            if number >= 0:
                sorted_[number].append(item)
        if self._is_strict:
            self._rules(items, order, run)
        for each, found in zip(self._slices, sorted_, strict=True):
            self._one(each, found, place, run)

    def _slice_of(self, item: Item, index: int, run: ProfileRun) -> int:
        if self._attr:
            key = getattr(item.value, self._attr, "")
            found = self._by_key.get(key, -1) if type(key) is str else -1
            if found >= 0:
                return found
        for number, test in self._asked:
            if test(item, index, run):
                return number
        return -1

    def _one(self, each: Slice, items: list[Item], place: Place, run: ProfileRun) -> None:
        node, count = each.node, len(items)
        if count < node.min:
            how = f" ({each.matcher.said})" if each.matcher.said else ""
            run.note("required", f"the slice {self._name}:{node.slice_name}{how} is needed at "
                     f"least {node.min} times, found {count}", place)  # fmt: skip
        elif node.max != UNBOUNDED and count > node.max:
            run.note("structure", f"the slice {self._name}:{node.slice_name} may stand at most "
                     f"{node.max} times, found {count}", place)  # fmt: skip
        if each.check is not None:
            for item in items:
                each.check(item, run)
        if each.inner is not None:
            each.inner(items, place, run)

    def _rules(self, items: list[Item], order: list[int], run: ProfileRun) -> None:
        rules = self._slicing.rules
        highest, has_rest = -1, False
        for item, number in zip(items, order, strict=True):
            if number < 0:
                has_rest = True
                if rules == "closed":
                    names = ", ".join(each.node.slice_name for each in self._slices)
                    run.note("structure", f"this {self._name} fits none of the slices that the "
                             f"profile allows ({names:.200})", item.place)  # fmt: skip
                continue
            if rules == "openAtEnd" and has_rest:
                run.note("structure", f"{self._name} outside the slices must stand at the end",
                         item.place)  # fmt: skip  # One sentence.
            if self._slicing.is_ordered and number < highest:
                run.note("structure", f"the slice {self._slices[number].node.slice_name} must "
                         f"stand before {self._slices[highest].node.slice_name}",
                         item.place)  # fmt: skip  # One sentence.
            highest = max(highest, number)


def _slicing_of(node: Node) -> Slicing:
    if node.slicing is not None:
        return node.slicing
    return _BY_URL if node.name in {"extension", "modifierExtension"} else _BY_TYPE


def matcher(node: Node, slice_: Node, library: Library, quietly: Quietly) -> Matcher:
    """How items of a slice are told from others. Without discriminators, by fitting the slice."""
    slicing = _slicing_of(node)
    if node.slicing is None and node.name not in {"extension", "modifierExtension"}:
        is_choice = any(each.code for each in slice_.types)
        slicing = slicing if is_choice else Slicing((), "open", False)
    if not slicing.discriminators:
        return _fitting(slice_, quietly)
    found = [
        _discriminator(each, node, slice_, library, quietly) for each in slicing.discriminators
    ]
    # A slice that says nothing of one discriminator is told by the others.
    parts = [each for each in found if each.is_told] or found
    if len(parts) == 1:
        return parts[0]
    tests = [part.test for part in parts]
    return Matcher(
        lambda item, index, run: all(test(item, index, run) for test in tests),
        " and ".join(part.said for part in parts if part.said),
    )


def _fitting(slice_: Node, quietly: Quietly) -> Matcher:
    found: list[Check | None] = []

    def test(item: Item, _index: int, run: ProfileRun) -> bool:
        if not found:
            found.append(quietly(slice_, item.type))
        return found[0] is None or run.is_sound(found[0], item)

    return Matcher(test, "")


def _discriminator(
    given: Discriminator, node: Node, slice_: Node, library: Library, quietly: Quietly
) -> Matcher:
    steps = steps_of(given.path)
    if given.type == "position":
        position = list(node.slices).index(slice_.slice_name)
        return Matcher(lambda _item, index, _run: index == position, f"number {position + 1}")
    nodes = located(slice_, node, steps, library)
    if given.type == "exists":
        return _exists(nodes, steps, given.path)
    if given.type == "type":
        return _type(nodes, steps, library, given.path)
    if given.type == "profile":
        return _profile(nodes, steps, given.path)
    return _value(nodes, steps, given, slice_, quietly)


def _exists(nodes: list[Node], steps: tuple[Step, ...], path: str) -> Matcher:
    wanted = not nodes or nodes[0].max != 0
    words = "has" if wanted else "has no"
    return Matcher(
        lambda item, _index, run: bool(values(item, steps, run)) is wanted, f"it {words} {path}"
    )


def _type(nodes: list[Node], steps: tuple[Step, ...], library: Library, path: str) -> Matcher:
    codes: set[str] = set()
    for node in nodes[:1]:
        for each in node.types:
            inner = target_types(each.profiles, library) if each.code == "Resource" else ()
            codes.update(inner or (each.code,))
        if not node.types:
            codes.add(node.name)
    resolved = bool(steps) and steps[-1].kind == "resolve"
    if resolved:
        targets = [t for node in nodes for each in node.types for t in each.targets]
        codes |= set(target_types(targets, library))
    known = facts()

    def test(item: Item, _index: int, run: ProfileRun) -> bool:
        return any(
            any(known.is_a(found.type, code) for code in codes)
            for found in values(item, steps, run)
        )

    return Matcher(test, f"the type of {path} is {' or '.join(sorted(codes))}",
                   is_told=bool(codes))  # fmt: skip  # One sentence.


def _profile(nodes: list[Node], steps: tuple[Step, ...], path: str) -> Matcher:
    profiles = [p for node in nodes[:1] for each in node.types for p in each.profiles]
    if not profiles:
        profiles = [p for node in nodes[:1] for each in node.types for p in each.targets]

    def fits(item: Item, profile: str, run: ProfileRun) -> bool:
        kind = run.library.type_of(profile)
        if kind and not facts().is_a(item.type, kind):
            return False
        if profile.removeprefix(CORE) in facts().types:
            return True
        return run.conforms(item, profile) is True

    def test(item: Item, _index: int, run: ProfileRun) -> bool:
        return any(fits(each, p, run) for each in values(item, steps, run) for p in profiles)

    return Matcher(test, f"{path} fits {' or '.join(profiles)}", is_told=bool(profiles))


def _value(
    nodes: list[Node],
    steps: tuple[Step, ...],
    given: Discriminator,
    slice_: Node,
    quietly: Quietly,
) -> Matcher:
    """By the fixed or pattern value, the binding, or else the children of what the path names."""
    own = _profile_url(slice_) if given.path == "url" else ""
    if own:
        # The profile of an extension need not be installed to know its address.
        return Matcher(lambda item, _i, _r: item.value.url == own, f"url is '{own}'", ("url", own))
    for node in [one for each in nodes for one in (*each.slices.values(), each)]:
        expected = node.fixed or node.pattern
        if expected is not None:
            is_key = isinstance(expected.value, str) and len(steps) == 1
            is_key = is_key and steps[0].kind == "child"
            key = (attribute(steps[0].name), expected.value) if is_key else None
            return _equal(expected.value, steps, given.path, key, is_fixed=bool(node.fixed))
        bound = [each for each in node.bindings if each.strength in {"required", "extensible"}]
        if bound and not _has_values(node):
            return _bound_to(bound[0].value_set, steps, given.path)
        if _has_values(node):
            return _by_children(node, steps, quietly)
    path = given.path
    if nodes and nodes[0].max == 0:
        return Matcher(lambda item, _i, run: not values(item, steps, run), f"it has no {path}")
    is_told = not steps or any(node.min > 0 for node in nodes)
    return Matcher(
        lambda item, _i, run: bool(values(item, steps, run)), f"it has {path}", is_told=is_told
    )


def _profile_url(slice_: Node) -> str:
    """The address of an extension, from the profile of the slice."""
    for each in slice_.types:
        if each.code == "Extension" and each.profiles:
            return each.profiles[0].partition("|")[0]
    return ""


def _equal(
    expected: object,
    steps: tuple[Step, ...],
    path: str,
    key: tuple[str, str] | None,
    *,
    is_fixed: bool,
) -> Matcher:
    one = fixed_test(expected) if is_fixed else pattern_test(expected)

    def test(item: Item, _index: int, run: ProfileRun) -> bool:
        return any(e.value is not None and one(e.value) for e in values(item, steps, run))

    return Matcher(test, f"{path} is {said(expected)}", key)


def _has_values(node: Node) -> bool:
    """Whether something below a node is fixed."""
    below: Iterable[Node] = [*node.children.values(), *node.slices.values()]
    return any(each.fixed or each.pattern or _has_values(each) for each in below)


def _bound_to(value_set: str, steps: tuple[Step, ...], path: str) -> Matcher:
    def test(item: Item, _index: int, run: ProfileRun) -> bool:
        sets = run.library.value_sets
        return any(
            verdict_of(sets, value_set, codings_of(each)) is True
            for each in values(item, steps, run)
            if each.value is not None and each.value is not UNSET
        )

    return Matcher(test, f"{path} is a code of {value_set}")


def _by_children(node: Node, steps: tuple[Step, ...], quietly: Quietly) -> Matcher:
    made: dict[str, Check | None] = {}

    def test(item: Item, _index: int, run: ProfileRun) -> bool:
        for each in values(item, steps, run):
            if each.type not in made:
                made[each.type] = quietly(node, each.type)
            check = made[each.type]
            if check is None or run.is_sound(check, each):
                return True
        return False

    return Matcher(test, "")
