"""Signatures of systems over what they send: a JWS by a key that the administrator registered.

R5 Signature: https://hl7.org/fhir/R5/datatypes.html#Signature. The data is a compact JWS (RFC
7515), attached or detached, over the canonical JSON (RFC 8785) of the signed resource as it was
sent, without id, meta and text (http://hl7.org/fhir/canonicalization/json#static); of several
targets it is the array of them in the order of Provenance.target.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from dmed.kit.errors import InvalidError, UnprocessableError

FORMAT = "application/jose"
ALGORITHMS = ["ES256", "ES384", "PS256", "RS256"]
KEY_MAX_CHARACTERS = 10_000
_RSA_MIN_BITS = 2048
_NOT_SIGNED = frozenset({"id", "meta", "text"})

Key = ECKey | RSAKey


class PublicKey(msgspec.Struct, frozen=True):
    """A registered key: its number (kid) and the public JWK as JSON."""

    number: str
    text: str


def read_key(text: str) -> PublicKey:
    """A public key from a JWK or PEM. InvalidError for what is private, symmetric or too weak."""
    try:
        key = _imported(text)
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise InvalidError("This is no public key as JWK or PEM") from error
    if key.is_private:
        raise InvalidError("This key is private: only its public part is registered")
    if isinstance(key, RSAKey) and key.raw_value.key_size < _RSA_MIN_BITS:
        raise InvalidError(f"An RSA key has at least {_RSA_MIN_BITS} bits")
    public = key.as_dict(private=False)
    number = str(public.get("kid") or key.thumbprint())
    return PublicKey(number, json.dumps({**public, "kid": number}, sort_keys=True))


def _imported(text: str) -> Key:
    if len(text) > KEY_MAX_CHARACTERS:
        raise ValueError
    kinds: dict[str, type[Key]] = {"EC": ECKey, "RSA": RSAKey}
    if text.lstrip().startswith("{"):
        raw = msgspec.json.decode(text, type=dict[str, Any])
        return kinds[str(raw.get("kty"))].import_key(raw)
    for kind in kinds.values():
        try:
            return kind.import_key(text.encode())
        except (JoseError, ValueError, TypeError, AttributeError):
            continue
    raise ValueError


def signed_bytes(targets: Sequence[Mapping[str, Any]]) -> bytes:
    """What a signature is made over: the canonical JSON of the targets."""
    bare = [{name: value for name, value in each.items() if name not in _NOT_SIGNED}
            for each in targets]  # fmt: skip  # One filter.
    return canonical(bare[0] if len(bare) == 1 else bare)


def check(
    provenance: Mapping[str, Any],
    targets: Sequence[Mapping[str, Any]],
    keys: Mapping[str, str],
) -> str:
    """The number of the registered key whose signature over the targets holds.

    UnprocessableError, with a sentence, where no signature of the Provenance holds.
    """
    said = "The Provenance carries no signature"
    for signature in provenance.get("signature", ()):
        try:
            return _check_one(signature, signed_bytes(targets), keys)
        except UnprocessableError as refusal:
            said = refusal.issues[0].diagnostics
    raise UnprocessableError(said, "Provenance.signature")


def _check_one(signature: Mapping[str, Any], expected: bytes, keys: Mapping[str, str]) -> str:
    if signature.get("sigFormat") != FORMAT:
        raise UnprocessableError(f"Only JWS signatures are verified here (sigFormat {FORMAT})")
    try:
        text = base64.b64decode(str(signature.get("data", "")), validate=True).decode("ascii")
        head, body, seal = text.split(".")
        header = msgspec.json.decode(_unpadded(head), type=dict[str, Any])
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise UnprocessableError("The signature is no compact JWS (RFC 7515)") from error
    number = str(header.get("kid", ""))
    key = keys.get(number)
    if key is None:
        raise UnprocessableError(
            f"The signature is by the key {number[:80]!r}, which is not registered for this "
            "system: ask the administrator to register its public key"
        )
    body = body or base64.urlsafe_b64encode(expected).decode().rstrip("=")
    try:
        payload = jws.deserialize_compact(f"{head}.{body}.{seal}", _imported(key),
                                          algorithms=ALGORITHMS).payload  # fmt: skip
    except (JoseError, ValueError, TypeError) as error:
        raise UnprocessableError(
            "The signature does not hold over what was sent: it was changed, or signed otherwise"
        ) from error
    if payload != expected:
        raise UnprocessableError("The signature holds, but over something else than was sent")
    return number


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def canonical(value: Any) -> bytes:
    """RFC 8785 of plain values (dict, list, str, bool, None, int, Decimal, float)."""
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(name)}:{_canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_canonical(each) for each in value) + "]"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, str):
        return _text(value)
    return _number(float(value) if isinstance(value, Decimal | int) else value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """A number as ECMAScript writes it (7.1.12.1): the shortest digits that mean this double."""
    if not math.isfinite(value):
        raise UnprocessableError("A number is too large to be signed")
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)  # It is finite.
    shown, length = "".join(map(str, digits)), len(digits)
    point = length + exponent
    if 0 < point <= 21:
        text = shown.ljust(point, "0") if point >= length else f"{shown[:point]}.{shown[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + shown
    else:
        power = point - 1
        first = shown[0] + (f".{shown[1:]}" if length > 1 else "")
        text = f"{first}e{'+' if power > 0 else '-'}{abs(power)}"
    return ("-" if sign else "") + text
