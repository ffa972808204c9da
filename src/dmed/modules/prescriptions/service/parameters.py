"""FHIR operations on the Task of an item: their Parameters in and out, and their definitions.

https://hl7.org/fhir/R5/parameters.html, https://hl7.org/fhir/R5/operationdefinition.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.kit.errors import InvalidError, NotFoundError
from dmed.modules.prescriptions import tables
from dmed.trust.model import Subject

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

DEFINITIONS = "https://dmed.uz/fhir/OperationDefinition/"
KEY_MAX_CHARACTERS = 200
_ETAG = re.compile(r'W/"(\d{1,19})"')
_TASKS_KEPT = 50_000
_tasks: WeakKeyDictionary[Any, dict[str, tuple[str, int]]] = WeakKeyDictionary()
"""Whose Task it is: what was committed of this never changes, so it is read once."""
_stored: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Input(msgspec.Struct, frozen=True):
    """One parameter of an operation."""

    name: str
    type: str = "string"
    text: str = ""
    is_required: bool = False
    is_list: bool = False
    parts: tuple[Input, ...] = ()


class Given(msgspec.Struct, frozen=True):
    """The parameters of a call, each checked against the definition."""

    values: dict[str, list[Any]]

    def text(self, name: str, default: str = "") -> str:
        """The text of a parameter, or the default."""
        return str(self.values[name][0]) if name in self.values else default

    def flag(self, name: str) -> bool:
        """Whether a parameter says true."""
        return bool(self.values.get(name, [False])[0])

    def amount(self, name: str) -> Decimal | None:
        """The number of a parameter, or None."""
        return Decimal(str(self.values[name][0])) if name in self.values else None

    def parts(self, name: str) -> list[Given]:
        """Every repetition of a parameter that has parts."""
        return list(self.values.get(name, ()))


class TaskCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of an operation on a Task: who asks what of which item."""

    gateway: Any
    subject: Subject
    task: str
    number: str
    item: int
    given: Given
    key: str
    """Idempotency-Key, or ""."""
    expected: dict[int, int]
    """Item -> version of its Task that the caller knows (If-Match); empty without."""


def read(body: bytes, inputs: Sequence[Input]) -> Given:
    """The Parameters of a body, checked; nothing at all is none. InvalidError names each fault."""
    if not body.strip():
        found: dict[str, Any] = {}
    else:
        try:
            found = _decoder.decode(body)
        except msgspec.DecodeError as error:
            raise InvalidError("The body is no JSON") from error
        if found.get("resourceType") != "Parameters":
            raise InvalidError("The body of an operation is a Parameters resource")
    return _given(found.get("parameter", []), inputs, "Parameters.parameter")


def _given(rows: Any, inputs: Sequence[Input], place: str) -> Given:
    known = {each.name: each for each in inputs}
    values: dict[str, list[Any]] = {}
    if not isinstance(rows, list):
        raise InvalidError("The parameters are a list", place)
    for at, row in enumerate(rows):
        here = f"{place}[{at}]"
        name = row.get("name") if isinstance(row, dict) else None
        if name not in known:
            raise InvalidError(
                f"{str(name)[:40]!r} is no parameter here; known are: {', '.join(known) or 'none'}",
                here,
            )
        values.setdefault(name, []).append(_value(row, known[name], here))
        if len(values[name]) > 1 and not known[name].is_list:
            raise InvalidError(f"The parameter {name} stands once", here)
    missing = [each.name for each in inputs if each.is_required and each.name not in values]
    if missing:
        raise InvalidError(f"Parameters are missing: {', '.join(missing)}", place)
    return Given(values)


def _value(row: dict[str, Any], of: Input, place: str) -> Any:
    if of.parts:
        return _given(row.get("part", []), of.parts, f"{place}.part")
    field = f"value{of.type[:1].upper()}{of.type[1:]}"
    value = row.get("resource") if of.type == "Resource" else row.get(field)
    kinds: dict[str, tuple[type, ...]] = {
        "boolean": (bool,), "decimal": (Decimal, int), "Reference": (dict,), "Resource": (dict,),
    }  # fmt: skip  # A table.
    is_fit = isinstance(value, kinds.get(of.type, (str,)))
    if not is_fit or (of.type == "decimal" and isinstance(value, bool)):
        field = "resource" if of.type == "Resource" else field
        raise InvalidError(f"The parameter {of.name} has a {field}", place)
    return value


async def called(
    request: Request, inputs: Sequence[Input], *, subject: Subject | None = None
) -> TaskCall:
    """What a request asks of the item of its Task; NotFoundError where there is none. `subject`:
    who acts, where that is not simply who asks.
    """
    gateway: Gateway = request.app.state.gateway
    subject = subject or request.state.subject
    task = str(request.path_params["id"])
    given = read(await request.body(), inputs)
    number, item = await _item_of(gateway, subject, task)
    return TaskCall(
        gateway=gateway,
        subject=subject,
        task=task,
        number=number,
        item=item,
        given=given,
        key=key_of(request),
        expected=_expected(request, item),
    )


async def _item_of(gateway: Gateway, subject: Subject, task: str) -> tuple[str, int]:
    known = _tasks.setdefault(gateway, {})
    if task in known:
        return known[task]
    async with gateway.unit(subject) as unit:
        row = await tables.of_task(unit, task)
    if row is None:
        raise NotFoundError(f"There is no Task {task} of a prescription")
    if len(known) >= _TASKS_KEPT:
        known.clear()
    known[task] = row["number"], row["item"]
    return known[task]


def key_of(request: Request) -> str:
    """The Idempotency-Key of a request, or ""; InvalidError for one that is too long."""
    key = request.headers.get("idempotency-key", "")
    if len(key) > KEY_MAX_CHARACTERS:
        raise InvalidError(f"An Idempotency-Key has at most {KEY_MAX_CHARACTERS} characters")
    return key


def _expected(request: Request, item: int) -> dict[int, int]:
    text = request.headers.get("if-match", "")
    if not text:
        return {}
    found = _ETAG.fullmatch(text.strip())
    if found is None:
        raise InvalidError('If-Match names a version of the Task: W/"1"')
    return {item: int(found.group(1))}


async def answer(call: TaskCall, *more: dict[str, Any]) -> Response:
    """Parameters with the Task as it stands now, and what else the act gives back."""
    return answer_with(await call.gateway.get(call.subject, "Task", call.task), *more)


def answer_with(task: dict[str, Any], *more: dict[str, Any]) -> Response:
    """The same with the Task as the act left it, which need not be read again."""
    return written([{"name": "task", "resource": task}, *more],
                   {"ETag": f'W/"{task["meta"]["versionId"]}"'})  # fmt: skip  # One answer.


def written(parameters: list[dict[str, Any]], headers: dict[str, str] | None = None) -> Response:
    """Parameters as the answer."""
    body = {"resourceType": "Parameters", "parameter": parameters}
    return Response(
        _encoder.encode(body),
        media_type="application/fhir+json",
        headers=headers,
    )


def definition(
    name: str,
    title: str,
    inputs: Sequence[Input],
    outputs: Sequence[Input],
    *,
    type_: str = "Task",
    is_instance: bool | None = None,
) -> dict[str, Any]:
    """The OperationDefinition of an operation on the Task of an item, or on a type. Without a word
    those of Task are on instances, the others on their type.
    """
    id_ = f"{type_}-{name}"
    on_instance = type_ == "Task" if is_instance is None else is_instance
    return {
        "resourceType": "OperationDefinition",
        "id": id_,
        "url": DEFINITIONS + id_,
        "name": "".join(word.capitalize() for word in id_.split("-")),
        "title": title,
        "status": "active",
        "kind": "operation",
        "affectsState": True,
        "code": name,
        "resource": [type_],
        "system": False,
        "type": not on_instance,
        "instance": on_instance,
        "parameter": [
            *(_defined(each, "in") for each in inputs),
            *(_defined(each, "out") for each in outputs),
        ],
    }


def _defined(one: Input, use: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": one.name,
        "use": use,
        "min": int(one.is_required),
        "max": "*" if one.is_list else "1",
    }
    if one.text:
        made["documentation"] = one.text
    if one.parts:
        made["part"] = [_defined(each, use) for each in one.parts]
    else:
        made["type"] = one.type
    return made


async def define(
    gateway: Gateway, platform: Subject, definitions: Sequence[dict[str, Any]]
) -> None:
    """Store OperationDefinitions that are not stored yet, or stand there otherwise; looks once in
    the life of a process.
    """
    done = _stored.setdefault(gateway, set())
    if done >= {each["id"] for each in definitions}:
        return
    for each in definitions:
        # A short transaction each: on a busy machine all at once would take too long.
        async with gateway.unit(platform) as unit:
            stored = await unit.get("OperationDefinition", each["id"])
            bare = {name: value for name, value in (stored or {}).items() if name != "meta"}
            if bare != each:
                await unit.update("OperationDefinition", each["id"], each)
    done |= {each["id"] for each in definitions}
