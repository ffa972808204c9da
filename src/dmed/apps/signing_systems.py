"""`dmed signatures verify` of what systems signed: again, by their registered keys.

A system signs what it sends. What lies here differs in id, meta and text, which are not signed,
and in references that a transaction resolved (urn:uuid > Type/id). A signature that carries its
document is compared with the stored versions, those references apart; one without is made again
from a version.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from dmed.kit.errors import GoneError, NotFoundError, UnprocessableError
from dmed.trust import signatures, tables
from dmed.trust.gateway import Gateway, decoded
from dmed.trust.model import Subject
from dmed.trust.signing.model import Reason, SignatureError

_VERSIONS_MAX = 100
_RESOLVED = "urn:"
_decoder = msgspec.json.Decoder(float_hook=Decimal)


async def verify(gateway: Gateway, asker: Subject, record: dict[str, Any], data: bytes) -> bool:
    """Verifies a system's signature again; False where it cannot be made again: it came without
    its document, over references that were resolved since. SignatureError where it does not hold.
    """
    head, body = _parts(data)
    keys = await _keys(gateway, asker, str(head.get("kid", "")))
    targets = [await _versions(gateway, asker, str(one.get("reference", "")))
               for one in record["target"]]  # fmt: skip  # One list.
    if body:
        said = _decoder.decode(_unpadded(body))
        _check(record, said if isinstance(said, list) else [said], keys)
        _check_stored(said if isinstance(said, list) else [said], targets, record)
        return True
    if len(targets) != 1:
        return False
    return any(_holds(record, version, keys) for version in targets[0])


def _parts(data: bytes) -> tuple[dict[str, Any], str]:
    try:
        head, body, _ = data.decode("ascii").split(".")
        return msgspec.json.decode(_unpadded(head), type=dict[str, Any]), body
    except (ValueError, msgspec.DecodeError) as error:
        raise SignatureError(Reason.MALFORMED, "The signature is no compact JWS") from error


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def _keys(gateway: Gateway, asker: Subject, number: str) -> dict[str, str]:
    async with gateway.unit(asker) as unit:
        found = await tables.keys_named(unit, number)
    if not found:
        raise SignatureError(
            Reason.CHAIN, f"The signature is by the key {number[:43]!r}, which is nobody's here")
    return {number: found[0]}


async def _versions(gateway: Gateway, asker: Subject, name: str) -> list[dict[str, Any]]:
    type_, _, rest = name.partition("/")
    id_ = rest.partition("/_history/")[0]
    try:
        page = await gateway.plain().history(asker, type_, id_, count=_VERSIONS_MAX)
    except (NotFoundError, GoneError):
        return []
    return [decoded(one.body) for one in page.versions if not one.deleted]


def _check(
    record: dict[str, Any], said: Sequence[dict[str, Any]], keys: dict[str, str]
) -> None:
    try:
        signatures.check(record, said, keys)
    except UnprocessableError as refusal:
        raise SignatureError(Reason.DOES_NOT_HOLD, refusal.issues[0].diagnostics) from refusal


def _holds(record: dict[str, Any], version: dict[str, Any], keys: dict[str, str]) -> bool:
    try:
        signatures.check(record, [version], keys)
    except UnprocessableError:
        return False
    return True


def _check_stored(
    said: Sequence[dict[str, Any]], targets: Sequence[list[dict[str, Any]]], record: dict[str, Any]
) -> None:
    if len(said) != len(targets):
        raise SignatureError(
            Reason.OTHER_DOCUMENT, "The record names other targets than were signed")
    for signed, versions, one in zip(said, targets, record["target"], strict=True):
        if not any(is_as_sent(_bare(signed), _bare(version)) for version in versions):
            raise SignatureError(
                Reason.CHANGED, f"No version of {one['reference']} is the one that was signed")


def _bare(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name not in {"id", "meta", "text"}}


def is_as_sent(sent: Any, stored: Any) -> bool:
    """Whether a stored value is what was sent, but for references that were resolved since."""
    if isinstance(sent, dict) and isinstance(stored, dict):
        return sent.keys() == stored.keys() and all(
            is_as_sent(value, stored[name]) for name, value in sent.items())
    if isinstance(sent, list) and isinstance(stored, list):
        return len(sent) == len(stored) and all(map(is_as_sent, sent, stored))
    if isinstance(sent, str) and sent.startswith(_RESOLVED) and isinstance(stored, str):
        return sent == stored or stored.count("/") == 1
    return bool(sent == stored)
