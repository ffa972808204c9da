"""What the marking operator tells the stock: of packs, and which of them a transport box holds.

The only place where the stock asks the operator; asked before a unit begins, never inside one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules import gs1
from dmed.modules.pharmacy.rules.packs import Seen
from dmed.modules.pharmacy.service import operator

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_AT_ONCE = 20
"""So many packs are asked of the operator at the same time."""
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


async def look_up(
    gateway: Gateway,  # noqa: ARG001  # An operator with a memory of its own keeps it there.
    keys: Sequence[tuple[str, str]],
) -> list[Seen | None]:
    """What the operator says of each pack by (GTIN, serial), in their order; None for unknown."""
    out: list[Seen | None] = []
    for at in range(0, len(keys), _AT_ONCE):
        out += await asyncio.gather(*(
            operator.OPERATOR.look_up(gtin, serial) for gtin, serial in keys[at : at + _AT_ONCE]
        ))  # fmt: skip  # Asked together.
    return out
