"""An expression tried on a record, as the operation $fhirpath of the FHIRPath Lab asks and answers.

https://github.com/brianpos/fhirpath-lab/blob/develop/server-api.md. Parameters in: `expression`,
`resource` (a record, or its JSON or XML as text in an extension), and optionally `context` and
`variables`. Parameters out: `parameters`, what was asked, and a `result` for each item of the
context (or one for the record) with its values and what trace() told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET

from dmed import __version__
from dmed.fhir import codec, xml
from dmed.fhir.facts import facts
from dmed.fhir.path.code import NoHooks
from dmed.fhir.path.expression import compile as compiled
from dmed.fhir.path.items import SYSTEM, Stub, Typed, TypeInfo, plain, type_of
from dmed.fhir.path.quantity import Quantity
from dmed.fhir.path.temporal import Temporal
from dmed.fhir.path.units import UCUM
from dmed.fhir.types import is_primitive
from dmed.kit.errors import InvalidError

EXPRESSION_LENGTH_MAX = 10_000
ITEMS_MAX = 1_000
"""Most values of one result, and most results, that are told."""
_LAB = "http://fhir.forms-lab.com/StructureDefinition/"
_JSON_VALUE, _XML_VALUE, _PATH = f"{_LAB}json-value", f"{_LAB}xml-value", f"{_LAB}resource-path"
_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
Json = dict[str, Any]


class Traces(NoHooks):
    """Hooks that keep what trace() tells."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[Any]]] = []

    def trace(self, name: str, items: list[Any]) -> None:
        """Keep it; a loop cannot fill the memory."""
        if len(self.told) < ITEMS_MAX:
            self.told.append((name, items[:ITEMS_MAX]))


def answer(body: bytes, hooks: Callable[[], Traces] = Traces) -> bytes:
    """The Parameters that answer Parameters. Raises InvalidError, PathError among them.

    `hooks` makes what each evaluation may ask beside the record.
    """
    asked = _Asked(codec.decode(body, "Parameters"))
    places = _places(asked.resource, asked.resource.fhir_type, {})
    results = [_result(focus, where, asked, (places, hooks()))
               for focus, where in _contexts(asked, places)]  # fmt: skip  # One list.
    return _encode(
        {
            "resourceType": "Parameters",
            "id": "fhirpath",
            "parameter": [{"name": "parameters", "part": _told(asked)}, *results],
        }
    )


class _Asked:
    """What the Parameters ask for."""

    def __init__(self, parameters: Any) -> None:
        given = {} if parameters.parameter is UNSET else {p.name: p for p in parameters.parameter}
        self.expression = self._text(given, "expression")
        self.context = self._text(given, "context")
        if not self.expression:
            raise InvalidError("give the expression as valueString", "Parameters.parameter")
        self.variables = {}
        parts = given["variables"].part if "variables" in given else UNSET
        for part in () if parts is UNSET else parts:
            value = _value_of(part)
            self.variables[part.name] = [] if value is None else [value]
        if "resource" not in given:
            raise InvalidError("give the resource to evaluate on", "Parameters.parameter")
        self.resource = _resource_of(given["resource"])

    @staticmethod
    def _text(given: dict[str, Any], name: str) -> str:
        found = given[name].valueString if name in given else UNSET
        text = "" if found is UNSET else str(found)
        if len(text) > EXPRESSION_LENGTH_MAX:
            raise InvalidError(f"{name} is longer than {EXPRESSION_LENGTH_MAX} characters")
        return text


def _resource_of(parameter: Any) -> Any:
    if parameter.resource is not UNSET:
        return parameter.resource
    for extension in () if parameter.extension is UNSET else parameter.extension:
        if extension.url == _JSON_VALUE and extension.valueString is not UNSET:
            return codec.decode(extension.valueString.encode())
        if extension.url == _XML_VALUE and extension.valueString is not UNSET:
            return codec.decode(xml.to_json(extension.valueString.encode()))
    raise InvalidError("resource holds no record", "Parameters.parameter")


@cache
def _value_types() -> dict[str, str]:
    """The types that a parameter may hold, with their property."""
    element = next(e for e in facts().types["Parameters.parameter"].elements if e.name == "value")
    return {each.code: element.json_name(each.code) for each in element.types}


def _value_of(part: Any) -> Any:
    if part.resource is not UNSET:
        return part.resource
    for code, name in _value_types().items():
        value = getattr(part, name)
        if value is not UNSET:
            return Typed(value, code) if is_primitive(code) else value
    return None


def _contexts(asked: _Asked, places: dict[int, str]) -> Iterator[tuple[Any, str]]:
    """Each focus with its place; the record itself where no context is given."""
    if not asked.context:
        yield asked.resource, ""
        return
    found = compiled(asked.context, asked.resource.fhir_type).typed(asked.resource)
    for number, (kind, item) in enumerate(found[:ITEMS_MAX]):
        focus = Typed(item, kind) if is_primitive(kind) else item
        yield focus, places.get(id(item), f"{asked.context}[{number}]")


def _result(
    focus: Any, where: str, asked: _Asked, known: tuple[dict[int, str], Traces]
) -> Json:
    places, traces = known
    # `typed` takes the focus as it is: a primitive of a context is its Typed.
    expression = compiled(asked.expression, _static(focus), variables=tuple(asked.variables))
    found = expression.typed(
        focus, resource=asked.resource, hooks=traces, variables=asked.variables
    )
    parts = [part(kind, item, places) for kind, item in found[:ITEMS_MAX]]
    for name, items in traces.told:
        told = [part(type_of(item), plain(item), places) for item in items]
        parts.append({"name": "trace", "valueString": name or "trace", **_listed("part", told)})
    place = {"valueString": where} if where else {}
    return {"name": "result", **place, **_listed("part", parts)}


def _static(focus: Any) -> str:
    return "" if isinstance(focus, Typed) else type_of(focus)


def _listed(name: str, values: Sequence[Json]) -> Json:
    return {name: list(values)} if values else {}


def part(kind: str, value: Any, places: dict[int, str] | None = None) -> Json:
    """One value as a part: its type as the name, and the value where Parameters can hold it."""
    code = kind.removeprefix(SYSTEM)
    if code not in {kind, "Quantity"}:
        code = "integer64" if code == "Long" else code[0].lower() + code[1:]
    made: Json = {"name": code or "Resource"}
    place = (places or {}).get(id(value))
    if place:
        made["extension"] = [{"url": _PATH, "valueString": place}]
    if value == "":
        return {"name": "empty-string"}
    shown = _shown(value)
    if value is None:
        return made
    if code in facts().resources and isinstance(value, msgspec.Struct):
        return {**made, "resource": shown}
    if code in _value_types() and not isinstance(value, (Temporal, TypeInfo)):
        return {**made, _value_types()[code]: shown}
    if isinstance(value, Temporal):
        return {**made, _temporal_property(value): str(value)}
    text = shown if isinstance(shown, str) else _encode(shown).decode()
    return {
        **made,
        "extension": [*made.get("extension", ()), {"url": _JSON_VALUE, "valueString": text}],
    }


def _temporal_property(value: Temporal) -> str:
    """FHIR knows no hour without minutes and no time without seconds: those stay text."""
    if value.kind == "Time":
        return "valueTime" if len(value.parts) == 3 else "valueString"
    if value.kind == "Date" or len(value.parts) < 4:
        return "valueDate" if value.kind == "Date" else "valueDateTime"
    is_whole = len(value.parts) == 6 and value.offset is not None
    return "valueDateTime" if is_whole else "valueString"


def _shown(value: Any) -> Any:
    """A value as JSON would hold it."""
    if isinstance(value, Quantity):
        unit = {"unit": value.unit} if value.is_calendar else {"system": UCUM, "code": value.unit}
        return {"value": value.value, **unit}
    if isinstance(value, TypeInfo):
        return value._asdict()
    if isinstance(value, Stub):
        return value.address
    return _decode(_encode(value)) if isinstance(value, msgspec.Struct) else value


def _told(asked: _Asked) -> list[Json]:
    """What was asked, for the record of who looks at the answer."""
    told: list[Json] = [
        {"name": "evaluator", "valueString": f"DMED {__version__} (R5)"},
        {"name": "expression", "valueString": asked.expression},
        {"name": "resource", "resource": _shown(asked.resource)},
    ]
    if asked.context:
        told.insert(1, {"name": "context", "valueString": asked.context})
    if asked.variables:
        values = [(name, items) for name, items in asked.variables.items()]
        told.append(
            {
                "name": "variables",
                "part": [
                    {**(part(type_of(items[0]), plain(items[0])) if items else {}), "name": name}
                    for name, items in values
                ],
            }
        )
    return told


def _places(item: Any, path: str, found: dict[int, str]) -> dict[int, str]:
    """The path of every struct inside a record, by identity."""
    found[id(item)] = path
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if isinstance(value, msgspec.Struct):
            _places(value, f"{path}.{name}", found)
        elif isinstance(value, list):
            for number, each in enumerate(value):
                if isinstance(each, msgspec.Struct):
                    _places(each, f"{path}.{name}[{number}]", found)
    return found


def line(value: Any) -> str:
    """A value on one line: text as JSON has it, dates and quantities as FHIRPath writes them."""
    if isinstance(value, (Temporal, Quantity)):
        return str(value)
    return _encode(_shown(value)).decode()
