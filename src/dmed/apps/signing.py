"""`dmed signatures` and `dmed seal`: verify what is stored, revoke certificates, change the key."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec

from dmed.apps import signing_systems
from dmed.apps.accounts import opened
from dmed.apps.database import Addresses, database, prepare
from dmed.kit import clock
from dmed.kit.errors import DmedError, GoneError, InvalidError, NotFoundError
from dmed.kit.settings import Settings
from dmed.modules.prescriptions import api as prescriptions
from dmed.trust.gateway import Gateway, decoded
from dmed.trust.model import Role, Subject
from dmed.trust.signatures import canonical
from dmed.trust.signing import choice, embedded, jose, seal
from dmed.trust.signing.model import (
    JWS_FORMAT,
    Envelope,
    Holder,
    Part,
    Reason,
    SignatureError,
)

_PLATFORM = Subject(user="platform", role=Role.SERVICE, name="DMED", purpose="HSYSADMIN")
_PAGE = 200
_VERSIONS_MAX = 100


class Tally(msgspec.Struct):
    """What a verification found."""

    held: int = 0
    sealed_only: int = 0
    """Confirmed before people signed themselves: the platform's seal alone."""
    foreign: int = 0
    """Signed by systems, and verified again."""
    foreign_open: int = 0
    """Signed by systems without the document, over references that were resolved since: verified
    when they came, and not to be made again."""
    seals: dict[str, int] = {}
    """Seals that held, by the first eight signs of their key."""
    failed: list[tuple[str, str]] = []
    """Provenance and the reason in a sentence."""


def verify_all(settings: Settings, since: str) -> bool:
    """Verifies every stored signature and prints each that fails; whether none did."""
    with database(settings) as addresses:
        tally = asyncio.run(_verify_all(settings, addresses, since))
    for name, said in tally.failed:
        sys.stdout.write(f"{name}: {said}\n")
    sys.stdout.write(
        f"{tally.held:,} signed documents hold, {len(tally.failed):,} fail; "
        f"{tally.sealed_only:,} with the platform's seal alone, {tally.foreign:,} by systems "
        f"({tally.foreign_open:,} more cannot be made again)\n"
    )
    for line in seal_keys(settings):
        number, _, standing = line.partition(" ")
        sys.stdout.write(
            f"seal key {number[:8]}: {standing}, {tally.seals.get(number[:8], 0):,} seals hold\n")
    return not tally.failed


async def _verify_all(settings: Settings, addresses: Addresses, since: str) -> Tally:
    await prepare(addresses)
    async with opened(settings, addresses) as store:
        return await verified(Gateway(store, settings), since)


async def verified(gateway: Gateway, since: str = "") -> Tally:
    """Verifies the signatures of all Provenances, written since a day if one is named."""
    tally = Tally()
    async for record in _signed(gateway, since):
        name = f"Provenance/{record['id']}"
        try:
            await verify_one(gateway, record, tally)
        except SignatureError as refusal:
            tally.failed.append((name, str(refusal)))
        except (ValueError, KeyError, TypeError, IndexError, DmedError) as error:
            tally.failed.append((name, f"The signature cannot be read: {error!r}"[:300]))
    return tally


async def _signed(gateway: Gateway, since: str) -> AsyncIterator[dict[str, Any]]:
    cursor = ""
    while True:
        pairs = [("_count", str(_PAGE)), ("_sort", "_lastUpdated"), ("_total", "none")]
        pairs += [("_lastUpdated", f"ge{since}")] if since else []
        pairs += [("_cursor", cursor)] if cursor else []
        _, page = await gateway.plain().search(_PLATFORM, "Provenance", pairs, strict=True)
        for hit in page.hits:
            record = decoded(hit.record.body)
            if record.get("signature"):
                yield record
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


async def verify_one(gateway: Gateway, record: dict[str, Any], tally: Tally) -> None:
    """Verifies one signed Provenance and counts it; SignatureError with the reason otherwise."""
    parts = [Part(str(one.get("sigFormat")), _data(one)) for one in record["signature"]]
    keys = seal.load(gateway.settings.data)
    if parts[0].format != JWS_FORMAT or not _is_ours(keys, parts[0].data):
        if len(parts) > 1:
            raise SignatureError(Reason.DOES_NOT_HOLD, "The platform's seal is missing or changed")
        is_again = await signing_systems.verify(gateway, _PLATFORM, record, parts[0].data)
        tally.foreign += is_again
        tally.foreign_open += not is_again
        return
    stored = prescriptions.moment_of(str(record["meta"]["lastUpdated"]))
    said = json.loads(keys.opened_jws(parts[0].data, proved=stored))
    _count_seal(tally, parts[0].data)
    if "document" not in said:
        await _check_records(gateway, record, said, None)
        tally.sealed_only += 1
        return
    document = canonical(said["document"])
    signer = said["document"]["signer"]
    holder = Holder(
        role=str(signer["post"]["role"]).removeprefix("PractitionerRole/"), name=signer["name"],
        pinfl=await _number(gateway, str(signer["person"]["practitioner"])),
    )  # fmt: skip  # Facts of one person.
    verifier = choice.verifier_of(gateway.settings, str(said["made_by"]))
    verifier.verify(Envelope(tuple(parts[1:]), said.get("operator") or {}), document, holder)
    _check_named(record, said["document"])
    await _check_records(gateway, record, said, said["document"])
    tally.held += 1


def _count_seal(tally: Tally, text: bytes) -> None:
    number = str(jose.read(text)[0].get("kid", ""))[:8]
    tally.seals[number] = tally.seals.get(number, 0) + 1


def _data(signature: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(signature.get("data", "")), validate=True)
    except binascii.Error as error:
        raise SignatureError(Reason.MALFORMED, "The signature is no Base64") from error


def _is_ours(keys: seal.Seal, text: bytes) -> bool:
    """Whether it is by a key of the seal, or was: a system names a key of its own."""
    try:
        keys.opened_jws(text)
    except SignatureError as refusal:
        return refusal.reason not in {Reason.CHAIN, Reason.WEAK}
    return True


async def _number(gateway: Gateway, practitioner: str) -> str:
    """The personal number that the register holds of a signer."""
    from dmed.modules.workforce import api as workforce

    found = await workforce.practitioner(
        gateway, _PLATFORM, practitioner.removeprefix("Practitioner/"))
    return found.pinfl


def _check_named(record: dict[str, Any], document: dict[str, Any]) -> None:
    """The record must name the post and the moment that were signed."""
    role = document["signer"]["post"]["role"]
    named = {one["who"].get("reference") for one in [*record["signature"], *record["agent"]]}
    if named != {role}:
        raise SignatureError(
            Reason.OTHER_POST, f"The record names {', '.join(map(str, named))}, {role} signed")
    if prescriptions.moment_of(record["recorded"]) != prescriptions.moment_of(document["at"]):
        raise SignatureError(Reason.TIME, "The record names another moment than was signed")


async def _check_records(
    gateway: Gateway, record: dict[str, Any], said: dict[str, Any],
    document: dict[str, Any] | None,
) -> None:
    """The versions that were signed must be there, and mean what the document says, as must the
    current ones.
    """
    digests: dict[str, str] = said["sha256"]
    named = {one["reference"] for one in record["target"]}
    if not digests or not set(digests) <= named:
        raise SignatureError(Reason.OTHER_DOCUMENT, "The record names other targets than the seal")
    for place, (name, digest) in enumerate(sorted(
        digests.items(), key=lambda row: list(digests).index(row[0])
    )):
        signed, current = await _versions(gateway, name, digest)
        if document is None or document["act"] != prescriptions.SIGNED_ACT:
            continue
        for version in (signed, current):
            if version is not None and not prescriptions.is_as_signed(version, document, place):
                raise SignatureError(
                    Reason.CHANGED, f"{name} says something else than the signed document")


async def _versions(
    gateway: Gateway, name: str, digest: str
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The version of a record with this SHA-256, and the current one."""
    type_, _, id_ = name.partition("/")
    try:
        page = await gateway.plain().history(_PLATFORM, type_, id_, count=_VERSIONS_MAX)
    except (NotFoundError, GoneError):
        page = None
    versions = page.versions if page is not None else []
    current = decoded(versions[0].body) if versions and not versions[0].deleted else None
    for version in versions:
        if hashlib.sha256(version.body).hexdigest() == digest:
            return decoded(version.body), current
    raise SignatureError(
        Reason.CHANGED, f"{name} was changed: no version of it is the one that was signed")


def revoke(settings: Settings, serial: str) -> None:
    """Puts a certificate of the test authority on its revocation list."""
    embedded.authority(settings).revoke(serial)


def people(settings: Settings) -> list[str]:
    """The certificates of the test authority: number, last day, name."""
    return [f"{one.serial:x} {one.ends:%Y-%m-%d} {one.name}"
            for one in embedded.authority(settings).issued()]


def withdraw_seal(settings: Settings, number: str, since: str) -> str:
    """Withdraws a key of the seal since a moment (ISO 8601 with zone; "" is now); the number of
    the key that seals from now on.
    """
    try:
        moment = datetime.fromisoformat(since) if since else clock.now()
    except ValueError:
        raise InvalidError(f"{since!r} is no moment: write 2026-11-23T09:00+05:00") from None
    if moment.tzinfo is None:
        raise InvalidError("The moment needs its zone: write 2026-11-23T09:00+05:00")
    return seal.withdraw(settings.data, number, moment)


def seal_keys(settings: Settings) -> list[str]:
    """The keys of the seal, oldest first: number, and whether it seals, counts or was withdrawn."""
    found = seal.load(settings.data)
    return [
        f"{key.number} " + (
            f"withdrawn since {key.withdrawn:%Y-%m-%d %H:%M} UTC" if key.withdrawn is not None
            else "seals" if key.number == found.active.number else "counts")
        for key in found.keys
    ]


def rotate_seal(settings: Settings) -> str:
    """Adds a key to the seal, which seals from now on; its number."""
    return seal.rotate(settings.data)
