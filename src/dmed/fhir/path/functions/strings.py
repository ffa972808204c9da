"""Functions of texts. https://hl7.org/fhirpath/#string-manipulation."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from functools import lru_cache
from typing import Any

from dmed.fhir.path.code import NONE, Code, Env, Items, single, values
from dmed.fhir.path.compiler import Compiler, Scope
from dmed.fhir.path.errors import PathExecutionError
from dmed.fhir.path.functions.table import TEXTS, Arguments, function, scalar
from dmed.fhir.path.items import type_of


@scalar("indexOf", TEXTS, "Integer", 1)
def _index_of(text: str, part: str) -> int:
    return text.find(part)


@scalar("lastIndexOf", TEXTS, "Integer", 1)
def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


@scalar("substring", TEXTS, "String", 1, 2, given=(int,))
def _substring(text: str, start: int, length: int | None = None) -> str | None:
    if not 0 <= start < len(text):
        return None
    return text[start:] if length is None else text[start : start + max(0, length)]


@scalar("startsWith", TEXTS, "Boolean", 1)
def _starts_with(text: str, part: str) -> bool:
    return text.startswith(part)


@scalar("endsWith", TEXTS, "Boolean", 1)
def _ends_with(text: str, part: str) -> bool:
    return text.endswith(part)


@scalar("contains", TEXTS, "Boolean", 1)
def _contains(text: str, part: str) -> bool:
    return part in text


@scalar("upper", TEXTS, "String")
def _upper(text: str) -> str:
    return text.upper()


@scalar("lower", TEXTS, "String")
def _lower(text: str) -> str:
    return text.lower()


@scalar("replace", TEXTS, "String", 2)
def _replace(text: str, old: str, new: str) -> str:
    return text.replace(old, new)


_GROUP_NAME = re.compile(r"(?<!\\)\(\?<(?![=!])")
"""How the name of a group begins; Python writes a P there."""


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    try:
        # The specification's single-line mode: a dot takes line ends too.
        return re.compile(_GROUP_NAME.sub("(?P<", text), re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise PathExecutionError(f"{text!r} is no regular expression: {error}") from error


@scalar("matches", TEXTS, "Boolean", 1, 2)
def _matches(text: str, pattern: str, flags: str = "") -> bool:
    return _flagged(pattern, flags).search(text) is not None


@scalar("matchesFull", TEXTS, "Boolean", 1, 2)
def _matches_full(text: str, pattern: str, flags: str = "") -> bool:
    return _flagged(pattern, flags).fullmatch(text) is not None


@scalar("replaceMatches", TEXTS, "String", 2, 3)
def _replace_matches(text: str, pattern: str, new: str, flags: str = "") -> str:
    if not pattern:
        return text
    # Groups are written $1 or ${name} here, \1 or \g<name> in Python.
    new = re.sub(r"\$\{(\w+)\}|\$(\d+)", r"\\g<\1\2>", new.replace("\\", "\\\\"))
    try:
        return _flagged(pattern, flags).sub(new, text)
    except (re.error, IndexError) as error:
        raise PathExecutionError(f"{pattern!r} has no such group: {error}") from error


def _flagged(pattern: str, flags: str) -> re.Pattern[str]:
    unknown = flags.strip("im")
    if unknown:
        raise PathExecutionError(f"{unknown!r} is no flag of a regular expression")
    return _pattern(f"(?{flags}){pattern}" if flags else pattern)


@scalar("length", TEXTS, "Integer")
def _length(text: str) -> int:
    return len(text)


@scalar("trim", TEXTS, "String")
def _trim(text: str) -> str:
    return text.strip(" \t\r\n")


@scalar("encode", TEXTS, "String", 1)
def _encode(text: str, scheme: str) -> str | None:
    raw = text.encode()
    match scheme:
        case "hex":
            return raw.hex()
        case "base64":
            return base64.b64encode(raw).decode()
        case "urlbase64":
            return base64.urlsafe_b64encode(raw).decode()
        case "ascii":
            return text.encode("ascii", "replace").decode()
    return None


@scalar("decode", TEXTS, "String", 1)
def _decode(text: str, scheme: str) -> str | None:
    try:
        match scheme:
            case "hex":
                return bytes.fromhex(text).decode()
            case "base64":
                return base64.b64decode(text, validate=True).decode()
            case "urlbase64":
                return base64.urlsafe_b64decode(text).decode()
    except (ValueError, binascii.Error):
        return None
    return None


@scalar("escape", TEXTS, "String", 1)
def _escape(text: str, target: str) -> str | None:
    if target == "html":
        return html.escape(text)
    return json.dumps(text, ensure_ascii=False)[1:-1] if target == "json" else None


@scalar("unescape", TEXTS, "String", 1)
def _unescape(text: str, target: str) -> str | None:
    if target == "html":
        return html.unescape(text)
    if target != "json":
        return None
    try:
        # A quotation mark that was never escaped is taken as it stands.
        plain = re.sub(r'(?<!\\)"', r"\"", text)
        found: Any = json.loads(f'"{plain}"')
    except ValueError:
        return None
    return str(found)


@function("toChars")
def _to_chars(_compiler: Compiler, source: Code, _arguments: Arguments, _scope: Scope) -> Code:
    run = values(source)

    def split(env: Env, this: Items) -> Items:
        text = single(run(env, this), "toChars()")
        return NONE if text is None else list(_text("toChars", text))

    return Code(split, ("System.String",))


@function("split", 1)
def _split(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run, mark = values(source), values(compiler.code(arguments[0], scope))

    def split(env: Env, this: Items) -> Items:
        text, separator = single(run(env, this), "split()"), single(mark(env, this), "split()")
        if text is None or separator is None:
            return NONE
        text, separator = _text("split", text), _text("split", separator)
        return text.split(separator) if separator else list(text)

    return Code(split, ("System.String",))


@function("join", 0, 1)
def _join(compiler: Compiler, source: Code, arguments: Arguments, scope: Scope) -> Code:
    run = values(source)
    mark = values(compiler.code(arguments[0], scope)) if arguments else None

    def join(env: Env, this: Items) -> Items:
        separator = _text("join", "" if mark is None else single(mark(env, this), "join()") or "")
        items = run(env, this)
        return [separator.join(_text("join", item) for item in items)] if items else NONE

    return Code(join, ("System.String",), many=False)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise PathExecutionError(f"{name}() takes texts, not {type_of(value)}")
    return value
