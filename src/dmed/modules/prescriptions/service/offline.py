"""What a counter without a network needs of prescriptions: keys, tokens and what was closed."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from dmed.kit.errors import InvalidError
from dmed.kit.settings import Settings
from dmed.modules.medicines.api import Preparation
from dmed.modules.prescriptions import tables
from dmed.modules.prescriptions.rules import tokens
from dmed.modules.prescriptions.service.keys import keys
from dmed.modules.signing.api import SignatureError

if TYPE_CHECKING:
    from dmed.trust.gateway import GatewayUnit


def token_key(preparation: Preparation) -> tuple[int | str, str, str]:
    """How a token names a preparation: national INN code (or ATC), form, strength. Pure."""
    inn = preparation.inn.code
    return (int(inn) if inn else preparation.atc, preparation.form.code,
            tokens.short_strength(preparation.strength_text))  # fmt: skip  # Three parts.


def read_token(settings: Settings, text: str) -> tokens.Token:
    """The token of a base45 text that this installation signed; InvalidError says why it is not
    believed: damaged, changed, or signed with a key that is not ours or was withdrawn.
    """
    try:
        key = keys(settings).seal.key(tokens.named_key(text))
    except SignatureError as error:
        raise InvalidError(str(error)) from error
    return tokens.verify(text, key.private.public_key())


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
