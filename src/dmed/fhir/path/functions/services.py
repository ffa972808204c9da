"""What a service beside the record answers: `%terminologies`, slices and definitions of elements.

https://hl7.org/fhir/R5/fhirpath.html#txapi and #functions. Hooks that know terminology or profiles
have the methods of `Terminology` and `Profiles`; where they do not, the answer is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dmed.fhir.facts import UNBOUNDED, Element, facts
from dmed.fhir.path.code import NONE, Code, Env, Items, Profiles, Terminology, boxed, single, values
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError, PathSemanticError
from dmed.fhir.path.functions.table import Arguments, function
from dmed.fhir.path.items import Typed
from dmed.fhir.path.tree import Call, Indexer, Member, Node
from dmed.fhir.types import struct_of

_OPERATIONS = {
    "expand": (1, ("ValueSet",)), "lookup": (1, ("Parameters",)),
    "validateVS": (2, ("Parameters",)), "validateCS": (2, ("Parameters",)),
    "subsumes": (3, None), "translate": (2, ("Parameters",)),
}  # fmt: skip  # A table.
"""The operations: how many arguments come before `params`, and what is answered."""
_CORE = "http://hl7.org/fhir/StructureDefinition/"


def build(compiler: Compiler, node: Call, scope: Scope) -> Code:
    """A call on `%terminologies`. PathSemanticError for an operation that it does not have."""
    count, types = _OPERATIONS.get(node.name, (-1, None))
    if count < 0 or not count <= len(node.arguments) <= count + 1:
        raise PathSemanticError(
            f"%terminologies has no {node.name}() of {len(node.arguments)} arguments")
    runs = [boxed(compiler.code(each, scope)) for each in node.arguments]

    def ask(env: Env, this: Items) -> Items:
        if not isinstance(env.hooks, Terminology):
            return NONE
        given = [single(run(env, this), f"{node.name}()") for run in runs]
        if None in given[:count]:
            return NONE
        more = given[count] if len(given) > count and given[count] is not None else ""
        text = more.value if isinstance(more, Typed) else more
        if not isinstance(text, str):
            raise PathExecutionError("the parameters of an operation are one text: a=b&c=d")
        found = env.hooks.terminology(node.name, given[:count], text)
        return NONE if found is None else [found]

    return Code(ask, types, many=False)


@function("slice", 2)
def _slice(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run = boxed(source)
    structure, name = (values(compiler.code(each, scope)) for each in arguments)

    def keep(env: Env, this: Items) -> Items:
        address = single(structure(env, this), "slice()")
        wanted = single(name(env, this), "slice()")
        items = run(env, this)
        if not items or address is None or wanted is None:
            return NONE
        if not isinstance(env.hooks, Profiles):
            raise PathExecutionError(f"the profile {address} is not known here")
        found = env.hooks.slice(items, str(address), str(wanted))
        if found is None:
            raise PathExecutionError(f"{address} has no slice {wanted!r} that is known here")
        return found

    return Code(keep, None if source.primitive else source.types)


@function("elementDefinition")
def _unplaced(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    return defined(source, "")


def defined(source: Code, path: str) -> Code:
    """The definition of the element at a path of R5, once for each item; empty for no path."""
    run = source.run
    if not path:
        return Code(lambda _env, _this: NONE, ("ElementDefinition",))
    made = _definition(path)
    return Code(lambda env, this: [made] * len(run(env, this)) if made else NONE,
                ("ElementDefinition",), source.many)  # fmt: skip  # One thought.


_SAME = frozenset({"where", "first", "last", "tail", "skip", "take", "single", "trace", "slice"})


def path_of(node: Node | None, root: str) -> str:
    """The path in R5's definitions that an expression walks from a focus; "" where none is."""
    match node:
        case None:
            return root
        case Member(source=None, name=name) if name == root or facts().is_a(root, name):
            return root
        case Member(source=source, name=name):
            outer = path_of(source, root)
            return f"{outer}.{name}" if outer else ""
        case Indexer(source=source):
            return path_of(source, root)
        case Call(source=source, name=name) if name in _SAME:
            return path_of(source, root)
    return ""


def _definition(path: str) -> Any | None:
    """An ElementDefinition of what R5 says of an element, without its prose."""
    head, *names = path.split(".")
    if head not in facts().types:
        return None
    made: Any = struct_of("ElementDefinition")(id=path, path=path)
    if not names:
        made.min, made.max = 0, "*"
        return made
    found = _element(head, names)
    if found is None:
        return None
    element, place = found
    made.id = made.path = place + ("[x]" if element.is_choice else "")
    made.min = element.min
    made.max = "*" if element.max == UNBOUNDED else str(element.max)
    made.base = struct_of("ElementDefinition.base")(path=made.path, min=made.min, max=made.max)
    made.isModifier, made.isSummary = element.is_modifier, element.is_summary
    if element.content:
        made.contentReference = f"#{element.content}"
    elif element.types:
        made.type = list(_types(element))
    if element.binding:
        made.binding = struct_of("ElementDefinition.binding")(
            strength=element.strength or "example", valueSet=element.binding)
    return made


def _element(owner: str, names: list[str]) -> tuple[Element, str] | None:
    """The last element of a path, and the path of its own definition."""
    found: Element | None = None
    place = owner
    for number, name in enumerate(names):
        known = facts().types.get(owner)
        found = next((e for e in known.elements if e.name == name), None) if known else None
        if found is None:
            return None
        place = f"{owner}.{name}"
        if number < len(names) - 1:
            owner = found.content or (found.types[0].code if len(found.types) == 1 else "")
    return None if found is None else (found, place)


def _types(element: Element) -> Iterator[Any]:
    make: Callable[..., Any] = struct_of("ElementDefinition.type")
    for each in element.types:
        code = "BackboneElement" if "." in each.code else each.code
        made = make(code=code)
        if each.targets:
            made.targetProfile = [_CORE + target for target in each.targets]
        yield made
