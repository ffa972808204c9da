"""Which packs a transport box holds: a port to the marking operator, and its stand-in for demos."""

from __future__ import annotations

from typing import Protocol

from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules import gs1

_DEMO = "952"
"""The GS1 demonstration prefix: invented boxes (decisions 24)."""
BOX_PACKS_MAX = 1_000


class Boxes(Protocol):
    """Whoever knows what was packed together."""

    async def packs_in(self, sscc: str) -> tuple[tuple[str, str], ...] | None:
        """(GTIN, serial) of every pack in a box, or None for a box that nobody knows."""
        ...


class DemoBoxes:
    """Boxes of the demonstration prefix, each of packs of one product: after the prefix stand 5
    digits of the product's number (nm-00017), 3 of how many packs, 5 of the box.
    """

    async def packs_in(self, sscc: str) -> tuple[tuple[str, str], ...] | None:
        """The same packs for the same code, each time."""
        product = medicines.product_or_none(f"nm-{sscc[4:9]}")
        count = int(sscc[9:12])
        if sscc[1:4] != _DEMO or product is None or not count:
            return None
        return tuple((product.gtin, f"B{sscc[12:17]}{place:07d}") for place in range(1, count + 1))


def demo_sscc(product: int, packs: int, box: int) -> str:
    """The code of such a box, without (00): for demos and tests."""
    digits = f"0{_DEMO}{product:05d}{packs:03d}{box:05d}"
    return digits + gs1.gtin_check_digit(digits)


BOXES: Boxes = DemoBoxes()
"""Which adapter answers; an installation in service puts its own here."""
