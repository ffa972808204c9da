"""Narrative: which XHTML a `div` may hold. https://hl7.org/fhir/R5/narrative.html#xhtml

This is `htmlChecks()` of the invariants txt-1 and txt-2, and also what keeps active content out
of every screen that shows a narrative.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.parsers import expat

from dmed.fhir.validate_run import words

_XHTML = "http://www.w3.org/1999/xhtml"
_ELEMENTS = words(
    "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 "
    "h3 h4 h5 h6 hr i img li ol p pre q samp small span strong sub sup table tbody td tfoot th "
    "thead tr tt u ul var"
)
_XML_SPACE = "http://www.w3.org/XML/1998/namespace space"
"""XML's own word that blanks count, which <pre> carries in XHTML."""
_EMPTY_ELEMENTS = frozenset({"img", "br", "hr"})
_ATTRIBUTES = words(
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign "
    "char charoff charset cite class colspan compact coords dir frame headers height href hreflang "
    "hspace id lang longdesc name nowrap rel rev rowspan rules scope shape span src start style "
    "summary tabindex title type valign value vspace width"
)
_ACTIVE = ("javascript:", "vbscript:", "data:text")


class _Refused(Exception):  # noqa: N818  # It is a verdict, carried out of the parser's callbacks.
    """The first thing that a narrative may not hold."""


class _Checks:
    """Callbacks of one parse."""

    def __init__(self) -> None:
        self.has_content = False
        self.depth = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Check one element and its attributes."""
        space, _, local = name.rpartition(" ")
        if self.depth == 0 and (local != "div" or space != _XHTML):
            raise _Refused(f'the narrative must be one <div> with xmlns="{_XHTML}"')
        if space != _XHTML or local not in _ELEMENTS:
            raise _Refused(f"<{local}> is not allowed in a narrative")
        for key, value in attributes.items():
            plain = key.rpartition(" ")[2]
            if plain not in _ATTRIBUTES and key != _XML_SPACE:
                raise _Refused(f"the attribute {plain} of <{local}> is not allowed in a narrative")
            if plain in {"href", "src"} and value.strip().lower().startswith(_ACTIVE):
                raise _Refused(f'{plain}="{value[:20]}" would run in a browser')
        self.has_content = self.has_content or local in _EMPTY_ELEMENTS
        self.depth += 1

    def end(self, _name: str) -> None:
        """Leave an element."""
        self.depth -= 1

    def text(self, data: str) -> None:
        """Note that there is something to read."""
        self.has_content = self.has_content or not data.isspace()

    def doctype(self, *_: object) -> None:
        """Refuse a document type: it could define entities."""
        raise _Refused("a document type is not allowed in a narrative")


def narrative_fault(div: str) -> str:
    """Why a narrative's XHTML is refused, as a sentence; empty when it is sound."""
    checks = _Checks()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = checks.start
    parser.EndElementHandler = checks.end
    parser.CharacterDataHandler = checks.text
    parser.StartDoctypeDeclHandler = checks.doctype
    try:
        parser.Parse(div, True)
    except _Refused as refused:
        return str(refused)
    except expat.ExpatError as error:
        return f"the narrative is not well-formed XHTML: {error}"
    return "" if checks.has_content else "the narrative holds no text and no image"
