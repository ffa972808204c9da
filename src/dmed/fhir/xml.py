"""FHIR XML to FHIR JSON. https://hl7.org/fhir/R5/xml.html

The facts say which elements a type has, in which order, and which become attributes; the codec
reads the JSON that comes out, so every rule about values stands in one place. What only XML can
get wrong (namespaces, order, attributes, loose text) is told here. Document types are refused, so
there is no entity to expand and nothing outside the text is ever read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import msgspec

from dmed.fhir.facts import Element, facts
from dmed.fhir.types import is_primitive
from dmed.kit.errors import InvalidError, Issue

FHIR = "http://hl7.org/fhir"
_XHTML = "http://www.w3.org/1999/xhtml"
_XML = "http://www.w3.org/XML/1998/namespace"
_SCHEMA_HINTS = "http://www.w3.org/2001/XMLSchema-instance"
DEPTH_MAX = 200
"""Most elements inside each other; narrative counts too."""
_ENCODINGS = {"UTF-8", "US-ASCII", "ASCII"}
_WIDE_MARKS = (b"\xfe\xff", b"\xff\xfe")
_VALUE_LENGTH_MAX = 100
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,9})?")
_INTEGERS = {"integer", "positiveInt", "unsignedInt"}
_encoder = msgspec.json.Encoder(decimal_format="number")


class Node:
    """An element: namespace, local name, attributes (`{namespace}name` where they have one) and
    content, which is elements and text in order.
    """

    __slots__ = ("attributes", "content", "name", "space")

    def __init__(self, space: str, name: str, attributes: dict[str, str]) -> None:
        self.space = space
        self.name = name
        self.attributes = attributes
        self.content: list[Node | str] = []

    def children(self, name: str = "") -> Iterator[Node]:
        """The elements directly inside, by local name if one is given."""
        return (
            each
            for each in self.content
            if isinstance(each, Node) and (not name or each.name == name)
        )

    def child(self, name: str) -> Node | None:
        """The first element of that local name directly inside."""
        return next(self.children(name), None)

    def text(self) -> str:
        """All text inside, as it stands."""
        return "".join(each if isinstance(each, str) else each.text() for each in self.content)


class Reading(NamedTuple):
    """The JSON of a record, and the faults that only its XML had."""

    body: bytes
    issues: tuple[Issue, ...]


class _RefusedError(Exception):
    """The document holds what is never read."""


def parse(body: bytes) -> Node:
    """The root element of any XML document.

    Raises InvalidError for broken XML, an encoding other than UTF-8, a document type, and
    elements nested over DEPTH_MAX.
    """
    if body.startswith(_WIDE_MARKS):
        raise InvalidError("the encoding is UTF-16, not UTF-8")
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    top = Node("", "", {})
    stack = [top]

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > DEPTH_MAX:
            raise _RefusedError(f"elements are nested over {DEPTH_MAX} deep")
        space, _, name = tag.rpartition(" ")
        named = {_attribute(each): value for each, value in attributes.items()}
        node = Node(space, name, named)
        stack[-1].content.append(node)
        stack.append(node)

    def text(found: str) -> None:
        stack[-1].content.append(found)

    def declared(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.upper() not in _ENCODINGS:
            raise _RefusedError(f"the encoding is {encoding}, not UTF-8")

    def doctype(*_: Any) -> None:
        raise _RefusedError("a document type (DOCTYPE) is not read")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: stack.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    parser.XmlDeclHandler = declared
    try:
        parser.Parse(body, True)
    except _RefusedError as error:
        raise InvalidError(str(error)) from None
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise InvalidError(f"the XML is broken: {error}") from error
    return next(top.children())


def _attribute(name: str) -> str:
    space, _, local = name.rpartition(" ")
    return f"{{{space}}}{local}" if space else local


def to_json(body: bytes) -> bytes:
    """The FHIR JSON of an XML document. Raises InvalidError with every fault of its XML form."""
    found = read(parse(body))
    if found.issues:
        raise InvalidError(issues=found.issues)
    return found.body


def read(root: Node) -> Reading:
    """The FHIR JSON of a record's element, with all that can be kept, and the faults of form.

    Raises InvalidError where the element is no record at all.
    """
    if root.space != FHIR:
        raise InvalidError(f"the namespace is '{root.space}', not '{FHIR}'", root.name)
    if root.name not in facts().resources:
        raise InvalidError(f"'{root.name}' is no resource of R5", root.name)
    reader = _Reader()
    return Reading(_encoder.encode(reader.resource(root, root.name)), tuple(reader.issues))


class _Place(NamedTuple):
    """Where an element stands in its type, and what it holds."""

    order: int
    key: str
    code: str
    is_list: bool
    is_attribute: bool


@cache
def _places(type_name: str) -> dict[str, _Place]:
    """The XML names that a type knows."""
    owner = facts().types[type_name]
    made: dict[str, _Place] = {}
    for order, element in enumerate(owner.elements):
        if element.max == 0:
            continue
        for code in [element.content] if element.content else [t.code for t in element.types]:
            key = element.name if element.content else element.json_name(code)
            is_attribute = _is_attribute(owner.kind, type_name, element)
            made[key] = _Place(order, key, code, element.is_list, is_attribute)
    return made


def _is_attribute(kind: str, type_name: str, element: Element) -> bool:
    return (element.name == "id" and kind != "resource") or (
        type_name == "Extension" and element.name == "url"
    )


class _Reader:
    """One reading: what it makes, and what it finds wrong on the way."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []

    def fault(self, path: str, text: str) -> None:
        """Note a fault; the sentence begins with its place, as the codec's do."""
        self.issues.append(Issue("structure", f"{path}: {text}", path))

    def resource(self, node: Node, path: str) -> dict[str, Any]:
        """A record's object, its type first."""
        return {"resourceType": node.name, **self.object(node, node.name, path)}

    def object(self, node: Node, type_name: str, path: str) -> dict[str, Any]:
        """The object of a complex element."""
        places = _places(type_name)
        made: dict[str, Any] = {}
        for name, value in node.attributes.items():
            place = places.get(name)
            if place is not None and place.is_attribute:
                made[name] = value
            elif not name.startswith(f"{{{_SCHEMA_HINTS}}}"):
                self.fault(path, f"{type_name} has no attribute '{name}'")
        self._no_text(node, path)
        last = -1
        for child in node.children():
            place = self._place(child, places, type_name, path)
            if place is None:
                continue
            if place.order < last:
                self.fault(f"{path}.{child.name}", "the element is out of its order")
            last = max(last, place.order)
            self._put(made, place, child, path)
        return made

    def _no_text(self, node: Node, path: str) -> None:
        loose = "".join(each for each in node.content if isinstance(each, str)).strip()
        if loose:
            self.fault(path, f"text '{loose[:40]}' stands outside of any value")

    def _place(
        self, child: Node, places: dict[str, _Place], type_name: str, path: str
    ) -> _Place | None:
        place = places.get(child.name)
        is_narrative = place is not None and place.code == "xhtml"
        if child.space != FHIR and not is_narrative:
            self.fault(f"{path}.{child.name}", f"the namespace is '{child.space}', not '{FHIR}'")
        elif place is None or place.is_attribute:
            self.fault(f"{path}.{child.name}", f"{type_name} has no element '{child.name}'")
            return None
        return place

    def _put(self, made: dict[str, Any], place: _Place, child: Node, path: str) -> None:
        """Put a child's value, and for a primitive its id and extensions, where JSON has them."""
        key, extra = place.key, f"_{place.key}"
        if not place.is_list and (key in made or extra in made):
            self.fault(f"{path}.{key}", "the element is repeated, but may stand once")
            return
        here = f"{path}.{key}"
        if place.is_list:
            here += f"[{max(len(made.get(key, ())), len(made.get(extra, ())))}]"
        if not is_primitive(place.code):
            value = self._complex(child, place.code, here)
            if place.is_list:
                made.setdefault(key, []).append(value)
            else:
                made[key] = value
            return
        value, rest = self._primitive(child, place.code, here)
        if not place.is_list:
            made.update({key: value} if value is not None else {})
            made.update({extra: rest} if rest else {})
            return
        values, others = made.get(key, []), made.get(extra, [])
        count = max(len(values), len(others))
        if value is not None or values:
            made[key] = [*values, *[None] * (count - len(values)), value]
        if rest or others:
            made[extra] = [*others, *[None] * (count - len(others)), rest or None]

    def _complex(self, child: Node, code: str, path: str) -> Any:
        if code != "Resource":
            return self.object(child, code, path)
        self._no_text(child, path)
        inside = list(child.children())
        if len(inside) != 1 or inside[0].name not in facts().resources:
            self.fault(path, "exactly one resource of R5 stands here")
            return {}
        if inside[0].space != FHIR:
            self.fault(path, f"the namespace is '{inside[0].space}', not '{FHIR}'")
        return self.resource(inside[0], path)

    def _primitive(self, child: Node, code: str, path: str) -> tuple[Any, dict[str, Any]]:
        """A primitive's value (None if it has none), and its id and extensions."""
        if code == "xhtml":
            return _markup(child, child.space), {}
        self._no_text(child, path)
        rest: dict[str, Any] = {}
        value: Any = None
        for name, text in child.attributes.items():
            if name == "value":
                value = _value(text, code)
            elif name == "id":
                rest["id"] = text
            else:
                self.fault(path, f"{code} has no attribute '{name}'")
        for each in child.children():
            if each.name != "extension" or each.space != FHIR:
                self.fault(f"{path}.{each.name}", f"{code} has no element '{each.name}'")
                continue
            found = rest.setdefault("extension", [])
            found.append(self.object(each, "Extension", f"{path}.extension[{len(found)}]"))
        if value is None and not rest:
            self.fault(path, "the element has neither value nor extension")
        return value, rest


def _value(text: str, code: str) -> Any:
    """The JSON value of an attribute; what does not fit stays text, which the codec refuses."""
    if code == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if code in _INTEGERS:
        return int(text) if _INTEGER.fullmatch(text) else text
    if code == "decimal" and len(text) <= _VALUE_LENGTH_MAX and _DECIMAL.fullmatch(text):
        return Decimal(text)
    return text


def _markup(node: Node, outer: str, *, is_top: bool = True) -> str:
    """Narrative as JSON holds it: markup with XHTML as the default namespace."""
    head = node.name
    if is_top and node.space == FHIR:
        pass  # A div without a namespace of its own: the rule of narrative refuses it.
    elif is_top or node.space != outer:
        head += f' xmlns="{node.space}"'
    for name, value in node.attributes.items():
        space, _, local = name.rpartition("}")
        shown = f"xml:{local}" if space == f"{{{_XML}" else local
        head += f" {shown}={quoteattr(value)}"
    inside = "".join(
        escape(each) if isinstance(each, str) else _markup(each, node.space, is_top=False)
        for each in node.content
    )
    return f"<{head}>{inside}</{node.name}>" if inside else f"<{head}/>"
