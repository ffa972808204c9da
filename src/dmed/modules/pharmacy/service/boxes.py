"""What the marking operator tells the stock: of packs, and which of them a transport box holds.

The only place where the stock asks the operator; asked before a unit begins, never inside one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmed.kit.errors import UnavailableError
from dmed.modules.medicines import api as medicines
from dmed.modules.pharmacy.rules import gs1
from dmed.modules.pharmacy.rules.packs import Seen, Source
from dmed.modules.pharmacy.service import operator

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway

_DEMO = "952"
"""The GS1 demonstration prefix: invented boxes (decisions 24)."""
BOX_PACKS_MAX = 1_000


async def packs_in(gateway: Gateway, sscc: str) -> tuple[tuple[str, str], ...] | None:
    """(GTIN, serial) of every pack in a box, or None for a box that nobody knows.

    UnavailableError where the operator is connected and not reached.
    """
    desk = operator.desk_of(gateway)
    if desk is None:
        return invented_box(sscc)
    code = f"00{sscc}"
    told = (await desk.ask([code]))[code]
    if told.marked is None:
        raise UnavailableError("The marking operator is not reached now: scan the packs one by one")
    packs = [gs1.read(each) for each in told.marked.children]
    return tuple((one.gtin, one.serial) for one in packs if isinstance(one, gs1.Code)) or None


def invented_box(sscc: str) -> tuple[tuple[str, str], ...] | None:
    """Boxes of the demonstration prefix, each of packs of one product: after the prefix stand 5
    digits of the product's number (nm-00017), 3 of how many packs, 5 of the box. Pure.
    """
    product = medicines.product_or_none(f"nm-{sscc[4:9]}")
    count = int(sscc[9:12])
    if sscc[1:4] != _DEMO or product is None or not count:
        return None
    return tuple((product.gtin, f"B{sscc[12:17]}{place:07d}") for place in range(1, count + 1))


def demo_sscc(product: int, packs: int, box: int) -> str:
    """The code of such a box, without (00): for demos and tests."""
    digits = f"0{_DEMO}{product:05d}{packs:03d}{box:05d}"
    return digits + gs1.gtin_check_digit(digits)


async def look_up(gateway: Gateway, keys: Sequence[tuple[str, str]]) -> list[Seen | None]:
    """What the operator says of each pack by (GTIN, serial), in their order; None for unknown.

    UnavailableError where it is connected and was not reached: "unknown" would be no answer.
    """
    codes = [f"01{gtin}21{serial}" for gtin, serial in keys]
    words = await operator.words(gateway, codes)
    is_away = any(one.seen is None and one.source is Source.OWN for one in words.values())
    if is_away and operator.desk_of(gateway) is not None:
        raise UnavailableError(
            "The marking operator is not reached now: packs are taken in when it answers again")
    return [words[code].seen for code in codes]
