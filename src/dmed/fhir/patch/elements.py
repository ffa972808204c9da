"""Values of a FHIRPath Patch, and how they come into a struct and out of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from dmed.fhir import codec
from dmed.fhir.facts import facts
from dmed.fhir.patch.places import Place, length
from dmed.fhir.path.model import Step, is_open, members, steps
from dmed.fhir.types import struct_of
from dmed.kit.errors import InvalidError

_PLAIN: dict[str, type] = {
    "boolean": bool, "decimal": Decimal, "integer": int, "positiveInt": int, "unsignedInt": int,
}  # fmt: skip  # A short table; every other primitive is text.


class MisfitError(ValueError):
    """A value does not fit the element that it is meant for; the text says why."""


class Given(msgspec.Struct, frozen=True):
    """A value as the patch gives it: of a FHIR type, or of parts where the type has no name.

    `element` holds id and extensions of a primitive.
    """

    type: str = ""
    value: Any = None
    element: Any = None
    parts: tuple[tuple[str, Given], ...] = ()

    def fitting(self, wanted: tuple[Step, ...]) -> Step:
        """The one of the steps of an element that this value may take; MisfitError if none."""
        found = [step for step in wanted if step.type == self.type]
        if not found and len(wanted) == 1:
            found = [step for step in wanted if self._may_become(step)]
        if len(found) != 1:
            types = ", ".join(step.type for step in wanted)
            raise MisfitError(f"{self.type or 'a value of parts'} does not fit {types}"[:200])
        return found[0]

    def _may_become(self, step: Step) -> bool:
        if step.is_primitive:
            if self.type == "" or isinstance(self.value, msgspec.Struct):
                return False
            wanted = _PLAIN.get(step.type, str)
            return self.value is None or type(self.value) is wanted or (
                wanted is Decimal and type(self.value) is int)  # fmt: skip  # One condition.
        if is_open(step.type):
            return isinstance(self.value, msgspec.Struct)
        return not self.type or isinstance(self.value, msgspec.Struct)

    def made(self, step: Step) -> tuple[Any, Any]:
        """The value and its Element as they stand under a step that fits."""
        if step.is_primitive:
            value = Decimal(self.value) if step.type == "decimal" else self.value
            return value, self.element
        if not self.type:
            built = struct_of(step.type)()
            for name, part in self.parts:
                put(built, name, part)
            return built, None
        is_resource = facts().types[self.type].kind == "resource"
        if self.type == step.type or (is_resource and is_open(step.type)):
            return self.value, None
        try:
            return codec.decode(codec.encode(self.value), step.type), None
        except InvalidError as fault:
            raise MisfitError(f"{self.type} does not fit {step.type}") from fault


def given_in(part: Any, place: str) -> Given:
    """What a part of Parameters holds: value[x], a resource, or parts of its own."""
    values = [
        Given(step.type, _set(part, step.attribute), _set(part, step.extension))
        for step in steps("Parameters.parameter", "value")
        if _set(part, step.attribute) is not None or _set(part, step.extension) is not None
    ]
    if part.resource is not UNSET:
        values.append(Given(part.resource.fhir_type, part.resource))
    if part.part is not UNSET:
        inner = tuple((each.name, given_in(each, place)) for each in part.part)
        values.append(Given(parts=inner))
    if len(values) != 1:
        raise InvalidError(f"The part {part.name} needs one value, or parts", place)
    return values[0]


def _set(struct: Any, attribute: str) -> Any:
    value = getattr(struct, attribute) if attribute else UNSET
    return None if value is UNSET else value


def put(struct: Any, name: str, given: Given) -> None:
    """Add an element: to the end of its list, or where there is none yet (else MisfitError)."""
    wanted = steps(struct.fhir_type, name) or tuple(
        step for step in members(struct.fhir_type) if step.attribute == name
    )
    if not wanted:
        raise MisfitError(f"{struct.fhir_type} has no element {name[:60]!r}")
    step = given.fitting(wanted)
    if step.is_list:
        insert(struct, step, length(struct, step), given)
        return
    if any(_is_there(struct, each) for each in steps(struct.fhir_type, name) or wanted):
        raise MisfitError(f"{struct.fhir_type} has {name[:60]} already: replace it")
    write(Place(struct, step), *given.made(step))


def write(place: Place, value: Any, element: Any) -> None:
    """Set what stands at a place, which is no part of a list."""
    owner, step = place.owner, place.step
    setattr(owner, step.attribute, UNSET if value is None else value)
    if step.extension:
        setattr(owner, step.extension, UNSET if element is None else element)


def replace(place: Place, given: Given, wanted: tuple[Step, ...]) -> None:
    """Put a value in place of what is there; `wanted` are all steps that the element has."""
    step = given.fitting(wanted)
    made = given.made(step)
    if place.step.is_list:
        remove(place)
        _insert(place.owner, step, place.index, made)
        return
    write(place, None, None)
    write(Place(place.owner, step), *made)


def insert(owner: Any, step: Step, index: int, given: Given) -> None:
    """Put a value into a list before the entry of this index."""
    _insert(owner, given.fitting((step,)), index, given.made(step))


def _insert(owner: Any, step: Step, index: int, made: tuple[Any, Any]) -> None:
    plain, more = _lists(owner, step)
    plain.insert(index, made[0])
    more.insert(index, made[1])
    _store(owner, step, plain, more)


def remove(place: Place) -> None:
    """Take away what stands at a place; later entries of its list move up."""
    if not place.step.is_list:
        write(place, None, None)
        return
    plain, more = _lists(place.owner, place.step)
    del plain[place.index], more[place.index]
    _store(place.owner, place.step, plain, more)


def move(owner: Any, step: Step, source: int, destination: int) -> None:
    """Take an entry out of a list, and put it back before what then has that index."""
    plain, more = _lists(owner, step)
    plain.insert(destination, plain.pop(source))
    more.insert(destination, more.pop(source))
    _store(owner, step, plain, more)


def tidy(struct: Any) -> None:
    """Take away elements that have become empty, however deep."""
    for step in members(struct.fhir_type):
        value = getattr(struct, step.attribute)
        if step.is_primitive:
            continue
        if value is UNSET:
            continue
        for each in value if step.is_list else (value,):
            tidy(each)
        if step.is_list:
            kept = [each for each in value if not _is_empty(each)]
            setattr(struct, step.attribute, kept or UNSET)
        elif _is_empty(value):
            setattr(struct, step.attribute, UNSET)
    _tidy_elements(struct)


def _tidy_elements(struct: Any) -> None:
    """The same for the Elements of primitives, whose place in a list is kept."""
    for step in members(struct.fhir_type):
        more = getattr(struct, step.extension) if step.extension else UNSET
        if more is UNSET:
            continue
        for each in more if step.is_list else (more,):
            if each is not None:
                tidy(each)
        if step.is_list:
            plain, more = _lists(struct, step)
            more = [None if each is None or _is_empty(each) else each for each in more]
            pairs = [pair for pair in zip(plain, more, strict=True) if pair != (None, None)]
            _store(struct, step, [one for one, _ in pairs], [other for _, other in pairs])
        elif _is_empty(more):
            setattr(struct, step.extension, UNSET)


def _is_empty(struct: Any) -> bool:
    if facts().types[struct.fhir_type].kind == "resource":
        return False
    return all(getattr(struct, name) is UNSET for name in struct.__struct_fields__)


def _is_there(struct: Any, step: Step) -> bool:
    return _set(struct, step.attribute) is not None or _set(struct, step.extension) is not None


def _lists(owner: Any, step: Step) -> tuple[list[Any], list[Any]]:
    """Copies of a list and of its Elements, of one length."""
    count = length(owner, step)
    plain = list(_set(owner, step.attribute) or ())
    more = list(_set(owner, step.extension) or ())
    return plain + [None] * (count - len(plain)), more + [None] * (count - len(more))


def _store(owner: Any, step: Step, plain: list[Any], more: list[Any]) -> None:
    has_values = any(each is not None for each in plain)
    setattr(owner, step.attribute, plain if has_values else UNSET)
    if step.extension:
        has_elements = any(each is not None for each in more)
        setattr(owner, step.extension, more if has_elements else UNSET)
