"""Pages for print: typst templates of our own, filled with plain data.

A template is a `.typ` file of this package that reads `json(bytes(sys.inputs.data))` and may import
`/kit/print/base.typ`. Only the fonts that typst carries are used (they have Cyrillic with the
Uzbek letters), so that a page looks the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import typst

from dmed.kit import qr
from dmed.kit.errors import DmedError

PACKAGE = Path(__file__).resolve().parent.parent
PAPERS = ("a4", "a5", "a6")


def render(template: Path, data: Mapping[str, Any], *, paper: str = "a5") -> bytes:
    """The PDF of a template within this package. `data` is JSON-like; a text of it is never read
    as markup. DmedError when the template does not compile, which is a fault of the platform.
    """
    if paper not in PAPERS:
        raise ValueError(f"no paper {paper!r}: one of {', '.join(PAPERS)}")
    text = msgspec.json.encode({**data, "paper": paper}).decode()
    try:
        made = typst.compile(
            template, root=PACKAGE, sys_inputs={"data": text}, ignore_system_fonts=True
        )
    except (typst.TypstError, RuntimeError) as error:
        raise DmedError(f"{template.name} could not be printed: {error}") from error
    if not isinstance(made, bytes):
        raise DmedError(f"{template.name} gave no single PDF")
    return made


def slip(
    title: str,
    fields: Sequence[tuple[str, str]],
    *,
    code: str = "",
    code_label: str = "",
    heading: str = "",
    note: str = "",
    paper: str = "a6",
) -> bytes:
    """A small slip: a heading (the institution), a title, labelled lines, a QR code with the text
    below it, a note. Used for the registration slip.
    """
    data = {
        "heading": heading,
        "title": title,
        "fields": [list(field) for field in fields],
        "qr": qr.svg(code) if code else "",
        "code_label": code_label,
        "note": note,
    }
    return render(PACKAGE / "kit" / "print" / "slip.typ", data, paper=paper)
