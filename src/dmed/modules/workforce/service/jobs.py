"""What the register does by itself each minute."""

from __future__ import annotations

from dmed.modules.workforce.service import acts, following
from dmed.trust.gateway import Gateway


async def carry_out(gateway: Gateway) -> None:
    """Transfers whose day has come."""
    await acts.carry_out(gateway)


async def follow(gateway: Gateway) -> None:
    """Lists follow the records."""
    await following.follow(gateway)
