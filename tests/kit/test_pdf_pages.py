"""Printed pages: they compile on every paper, and data is never read as markup."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dmed.kit import pdf
from dmed.kit.errors import DmedError

HOSTILE = "#panic(1) *bold* $x$ \\ ] [ \" ' // /* <label> @ref"


@pytest.mark.parametrize("paper", pdf.PAPERS)
def test_a_slip_is_a_pdf_on_every_paper(paper: str) -> None:
    """Labels, values, code and note in three scripts."""
    made = pdf.slip(
        "Рўйхатга олиш варақаси", [("Ф.И.О.", "Каримова Дилноза"), ("Izoh", "Oʻtkir ғ қ ҳ ў")],
        code="MEDID:1234567890123", code_label="1234 5678 9012 3", heading="14-poliklinika",
        note="Saqlang", paper=paper,
    )  # fmt: skip  # One slip.

    assert made.startswith(b"%PDF")
    assert len(made) < 60_000


def test_texts_are_never_markup(tmp_path: Path) -> None:
    """Signs of the template language come out as they are typed."""
    made = pdf.slip(HOSTILE, [(HOSTILE, HOSTILE)], note=HOSTILE)

    assert made.startswith(b"%PDF")
    if shutil.which("pdftotext"):
        path = tmp_path / "slip.pdf"
        path.write_bytes(made)
        text = subprocess.run(["pdftotext", "-layout", str(path), "-"], check=True,
                              capture_output=True, text=True).stdout
        assert "#panic(1) *bold* $x$" in text


def test_unknown_paper_and_broken_template_are_told(tmp_path: Path) -> None:
    """A wrong paper is a ValueError, a template that does not compile a DmedError with its name."""
    with pytest.raises(ValueError, match="no paper"):
        pdf.slip("x", [], paper="a0")
    with pytest.raises(DmedError, match=r"nothing\.typ"):
        pdf.render(pdf.PACKAGE / "kit" / "print" / "nothing.typ", {})
