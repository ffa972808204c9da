"""The access code at the counter: checked under lock, wrong ones counted."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import TYPE_CHECKING

from dmed.kit import clock
from dmed.kit.errors import NotFoundError
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.rules import numbers

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit

LOCK_AFTER = 5
LOCK_MINUTES = 15


async def check_code(unit: GatewayUnit, number: str, code: str, now: datetime) -> str:
    """Nothing ("") when the code, whole or its first eight signs, is right; else the sentence to
    refuse with. A wrong one is counted in this unit, so the caller lets the unit commit and then
    refuses. NotFoundError when there is no such prescription.
    """
    row = await tables.row(unit, number, lock=True)
    if row is None:
        raise NotFoundError(f"There is no prescription {numbers.show_number(number)}")
    locked = row["locked_until"]
    if locked and locked > now:
        local = locked.astimezone(clock.TASHKENT)
        return f"Too many wrong codes: this prescription is locked until {local:%H:%M}"
    given = numbers.code_digest(code)
    if hmac.compare_digest(given, row["code_digest"]) or hmac.compare_digest(
        given, row["short_digest"]
    ):
        if row["wrong_codes"]:
            await tables.clear_wrong(unit, number)
        return ""
    count = await tables.count_wrong(unit, number, LOCK_AFTER, LOCK_MINUTES)
    left = LOCK_AFTER - count % LOCK_AFTER
    if left == LOCK_AFTER:
        return f"The code is wrong: locked for {LOCK_MINUTES} minutes"
    return f"The code is wrong; {left} more wrong codes lock the prescription"

