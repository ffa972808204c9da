"""The input of a terminology operation, read from an address or from a Parameters resource.

https://hl7.org/fhir/R5/operations.html#executing
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from dmed.fhir.facts import facts
from dmed.fhir.terminology.model import Coding
from dmed.kit.errors import InvalidError

_T = TypeVar("_T")
MORE = frozenset({
    "_format", "_pretty", "inferSystem", "cache-id", "lenient-display-validation", "tx-resource",
    "profile", "diagnostics", "uuid", "sourceSystem",
})  # fmt: skip  # A list of words reads better filled.
"""Names beyond R5's own that widely used clients send; inferSystem, lenient-display-validation and
sourceSystem are followed."""


class CodeableConcept(msgspec.Struct, omit_defaults=True):
    """A concept as one or several codings."""

    coding: list[Coding] = []
    text: str = ""


class Given:
    """The parameters that were given, by name, each with its values in the order given."""

    def __init__(self, pairs: Iterable[tuple[str, Any]], type_: str, operation: str) -> None:
        self._values: dict[str, list[Any]] = {}
        known = _names(type_, operation)
        for name, value in pairs:
            if name not in known:
                allowed = ", ".join(sorted(known - MORE))
                raise InvalidError(
                    f"${operation} of {type_} has no parameter {name[:60]!r}; it has: {allowed}",
                    f"Parameters.parameter.where(name='{name[:60]}')" if name.isalnum() else "",
                )
            self._values.setdefault(name, []).append(value)

    def has(self, name: str) -> bool:
        """Whether a parameter was given."""
        return name in self._values

    def text(self, name: str) -> str:
        """A text, address, code or date; "" where it was not given."""
        values = self._values.get(name)
        if not values:
            return ""
        if not isinstance(values[0], str):
            raise _wrong(name, "a text")
        return values[0]

    def texts(self, name: str) -> list[str]:
        """Every value of a repeated text."""
        values = self._values.get(name, [])
        if not all(isinstance(value, str) for value in values):
            raise _wrong(name, "a text")
        return values

    def flag(self, name: str) -> bool | None:
        """A boolean, or None where it was not given."""
        values = self._values.get(name)
        if not values:
            return None
        if isinstance(values[0], bool):
            return values[0]
        if values[0] not in ("true", "false"):
            raise _wrong(name, "true or false")
        return bool(values[0] == "true")

    def number(self, name: str) -> int | None:
        """A whole number from 0, or None where it was not given."""
        values = self._values.get(name)
        if not values:
            return None
        value = values[0]
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
            raise _wrong(name, "a whole number from 0")
        return value

    def structure(self, name: str, kind: type[_T]) -> _T | None:
        """A value of a complex type or a resource, or None where it was not given."""
        values = self._values.get(name)
        if not values:
            return None
        if not isinstance(values[0], dict):
            raise InvalidError(f"{name} is given in a Parameters resource, with POST", name)
        try:
            return msgspec.convert(values[0], kind)
        except msgspec.ValidationError as fault:
            raise InvalidError(f"{name} cannot be read: {fault}", name) from fault

    def codings(self) -> tuple[tuple[Coding, ...], str, bool]:
        """The codings of code, coding or codeableConcept, the path to them ("" of a plain code),
        and whether they are a concept's. InvalidError where none or several were given.
        """
        ways = [name for name in ("code", "coding", "codeableConcept") if self.has(name)]
        if len(ways) != 1:
            told = " and ".join(ways) if ways else "none"
            raise InvalidError(f"One of code, coding and codeableConcept is needed; given: {told}")
        if ways[0] == "code":
            version = self.text("systemVersion") or self.text("version")
            made = Coding(self.text("system"), version, self.text("code"), self.text("display"))
            return (made,), "", False
        if ways[0] == "coding":
            coding = self.structure("coding", Coding)
            assert coding is not None
            return (coding,), "Coding", False
        concept = self.structure("codeableConcept", CodeableConcept)
        if concept is None or not concept.coding:
            raise InvalidError("The codeableConcept has no coding", "codeableConcept")
        return tuple(concept.coding[:50]), "CodeableConcept", True


def _names(type_: str, operation: str) -> frozenset[str]:
    known = _KNOWN.get((type_, operation))
    if known is None:
        names = {
            parameter.name
            for each in facts().operations
            if each.code == operation and type_ in each.resources
            for parameter in each.parameters
            if parameter.use == "in"
        }
        known = _KNOWN[type_, operation] = MORE | names
    return known


_KNOWN: dict[tuple[str, str], frozenset[str]] = {}


def _wrong(name: str, kind: str) -> InvalidError:
    return InvalidError(f"The parameter {name} is {kind}", name)


def pairs_of_body(body: bytes) -> list[tuple[str, Any]]:
    """The names and values of a Parameters resource. InvalidError where it is none."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.MsgspecError as fault:
        raise InvalidError(f"The body is no JSON: {fault}") from fault
    if not isinstance(found, dict) or found.get("resourceType") != "Parameters":
        raise InvalidError("The body must be a Parameters resource", "resourceType")
    listed = found.get("parameter", [])
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise InvalidError("Parameters.parameter must be a list", "Parameters.parameter")
    pairs = []
    for number, each in enumerate(listed):
        place = f"Parameters.parameter[{number}]"
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise InvalidError("A parameter needs a name", f"{place}.name")
        values = [one for key, one in each.items() if key == "resource" or key.startswith("value")]
        if len(values) != 1 and "part" not in each:
            raise InvalidError("A parameter has one value", place)
        pairs.append((each["name"], values[0] if values else each["part"]))
    return pairs
