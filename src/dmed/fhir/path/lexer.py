"""Text of a FHIRPath expression to tokens. https://hl7.org/fhirpath/#tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from dmed.fhir.path.errors import PathSyntaxError


class Token(NamedTuple):
    """One token: its kind, its meaning (escapes resolved) and where it begins.

    Kinds: name, quoted (a name in backticks), string, number, long, date, datetime, time,
    variable (after %), special ($this), sign, end.
    """

    kind: str
    text: str
    at: int


_DATE = r"@\d{4}(?:-\d\d(?:-\d\d)?)?"
_CLOCK = r"\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?"
_SCANNER = re.compile(
    rf"""
      (?P<space>\s+|//[^\r\n]*|/\*.*?\*/)
    | (?P<datetime>{_DATE}T(?:{_CLOCK}(?:Z|[+-]\d\d:\d\d)?)?)
    | (?P<date>{_DATE})
    | (?P<time>@T{_CLOCK}(?:Z|[+-]\d\d:\d\d)?)
    | (?P<long>\d+L\b)
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<quoted>`(?:[^`\\]|\\.)*`)
    | (?P<variable>%(?:[A-Za-z_][A-Za-z0-9_-]*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'))
    | (?P<special>\$[A-Za-z]+)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign><=|>=|!=|!~|[-+*/&|=<>~.,:()\[\]{{}}])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]").search
_PLAIN_ESCAPES = {
    "r": "\r", "n": "\n", "t": "\t", "f": "\f",
    "\\": "\\", "/": "/", "'": "'", '"': '"', "`": "`",
}  # fmt: skip  # A short table.


def tokens(text: str) -> list[Token]:
    """All tokens, the last of kind end. Raises PathSyntaxError at the first that is none."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _SCANNER.match(text, at)
        if match is None or match.lastgroup is None:
            raise PathSyntaxError(f"{text[at : at + 20]!r} at {at} is no FHIRPath token")
        if match.lastgroup != "space":
            found.append(Token(match.lastgroup, _meaning(match.lastgroup, match[0]), at))
        at = match.end()
    found.append(Token("end", "", at))
    return found


def _meaning(kind: str, raw: str) -> str:
    if kind in ("string", "quoted"):
        return _unescape(raw[1:-1])
    if kind == "variable":
        return _unescape(raw[2:-1]) if raw[1] in "`'" else raw[1:]
    if kind in ("date", "datetime", "time", "special"):
        return raw[1:]
    return raw[:-1] if kind == "long" else raw


def _unescape(text: str) -> str:
    """A text without escapes. Raises PathSyntaxError for half of a UTF-16 pair that stands alone;
    a whole pair is one character.
    """
    if "\\" in text:
        text = _ESCAPE.sub(_plain, text)
    if _HALF(text) is None:
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise PathSyntaxError(f"{text!r} holds half a character") from error


def _plain(match: re.Match[str]) -> str:
    escaped = match[1]
    if len(escaped) == 5:
        return chr(int(escaped[1:], 16))
    # The published invariants hold escapes that the grammar does not know: they mean themselves.
    return _PLAIN_ESCAPES.get(escaped, escaped)
