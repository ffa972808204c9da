"""What a counter without a network needs of prescriptions: keys, tokens and what was closed."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from dmed.kit.clock import TASHKENT
from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.rules import tokens
from dmed.modules.prescriptions.rules.numbers import QrText
from dmed.modules.prescriptions.service import offline_store
from dmed.modules.prescriptions.service.keys import keys
from dmed.modules.signing.api import SignatureError
from dmed.trust.model import Subject
from dmed.trust.signing import jose

if TYPE_CHECKING:
    from dmed.trust.gateway import Gateway, GatewayUnit


class Signed(msgspec.Struct, frozen=True):
    """A token whose signature holds, and by whose key."""

    token: tokens.Token
    is_offline: bool = False
    """By a doctor's computer without a network: the prescription may not be here yet."""


async def read_token(unit: GatewayUnit, settings: Settings, text: str) -> Signed:
    """The token of a base45 text that this installation signed, or a doctor's computer without a
    network; InvalidError says why it is not believed: damaged, changed, signed with a key that is
    not ours, or that was withdrawn when it was signed.
    """
    number = tokens.named_key(text)
    try:
        return Signed(tokens.verify(text, keys(settings).seal.key(number).private.public_key()))
    except SignatureError as error:
        unknown = str(error)
    for key in await offline_store.keys_named(unit, number):
        try:
            token = tokens.verify(text, jose.public_key(key.x, key.y))
        except InvalidError as error:
            unknown = str(error)
            continue
        if key.withdrawn and token.signed_on >= key.withdrawn.astimezone(TASHKENT).date():
            raise InvalidError("The key of the doctor's computer was withdrawn")
        return Signed(token, is_offline=True)
    raise InvalidError(unknown)


async def token_holds(gateway: Gateway, subject: Subject, text: QrText) -> bool | None:
    """Whether the signed token of a QR text is ours and of this number; None when it has none."""
    if not text.token:
        return None
    async with gateway.unit(subject) as unit:
        try:
            signed = await read_token(unit, gateway.settings, text.token)
        except InvalidError:
            return False
    return signed.token.number == int(text.number)


async def is_on_its_way(unit: GatewayUnit, number: str) -> bool:
    """Whether a number without a prescription belongs to a doctor's computer that may still send
    one: given to it, neither used nor void.
    """
    row = await tables.paper(unit, number)
    return bool(row and row["device"] and not row["entered"] and not row["voided"])


async def doctors_keys(unit: GatewayUnit, region: str, most: int) -> list[dict[str, str]]:
    """Public keys (JWK) of the computers on which doctors of a region write without a network,
    those seen last first: a counter without a network believes their tokens, too.
    """
    return [
        {"kid": key.id, "kty": "EC", "crv": "P-256", "x": key.x, "y": key.y}
        for key in await offline_store.keys_of_region(unit, region, most)
    ]


def public_keys(settings: Settings) -> dict[str, Any]:
    """The JWK Set of the keys that sign tokens, and which were withdrawn (RFC 7517)."""
    return keys(settings).seal.jwk_set()


def seal(settings: Settings, payload: bytes) -> str:
    """A detached compact JWS of the platform over bytes: `header..signature`."""
    return keys(settings).seal.jws(payload, detached=True).decode()


async def closed_numbers(unit: GatewayUnit, region: str, today: date, most: int) -> list[str]:
    """Numbers of a region that are closed although their validity has not ended (handed over,
    cancelled, refused), newest first, at most `most`. They name nobody.
    """
    return await tables.closed_numbers(unit, region, today, most)
