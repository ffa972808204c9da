"""QR codes (ISO/IEC 18004) as inline SVG and as PNG.

segno writes QR only; GS1 DataMatrix of packs is written in the browser (decisions 25).
"""

from __future__ import annotations

import io

import segno

from dmed.kit.errors import TooLargeError

TEXT_MAX = 1_800
"""Above it a printed code of 4 cm cannot be read by a phone."""


def _made(text: str, error: str) -> segno.QRCode:
    if not text or len(text) > TEXT_MAX:
        raise TooLargeError(f"A QR code carries 1 to {TEXT_MAX} characters, not {len(text)}")
    return segno.make_qr(text, error=error, boost_error=False)


def svg(text: str, *, error: str = "M", title: str = "") -> str:
    """The QR code of a text as an inline SVG element without fixed size; black on white with the
    quiet zone of four modules. `error`: L, M, Q or H. TooLargeError outside 1..TEXT_MAX signs.
    """
    out = io.BytesIO()
    _made(text, error).save(
        out, kind="svg", border=4, xmldecl=False, svgns=True, omitsize=True, light="#fff",
        title=title or None, svgclass="qr", lineclass=None,
    )  # fmt: skip  # Options of one call.
    return out.getvalue().decode().strip()


def png(text: str, *, error: str = "M", scale: int = 6) -> bytes:
    """The QR code of a text as a PNG picture, `scale` pixels a module."""
    out = io.BytesIO()
    _made(text, error).save(out, kind="png", scale=scale, border=4)
    return out.getvalue()
