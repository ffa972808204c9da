"""Signatures of systems: the canonical bytes, the keys that may sign, and every refusal."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from dmed.kit.errors import InvalidError, NotFoundError, UnprocessableError
from dmed.trust import signatures
from dmed.trust.identity import Identity

ORDER = {"resourceType": "MedicationRequest", "status": "active", "note": [{"text": "Ў«>"}]}
KEY = ECKey.generate_key("P-256")


def registered(*keys: Any) -> dict[str, str]:
    """The keys of a system as they lie in the table."""
    found = [signatures.read_key(json.dumps(key.as_dict(private=False))) for key in keys]
    return {key.number: key.text for key in found}


def provenance(text: str, **more: Any) -> dict[str, Any]:
    """A Provenance with one signature."""
    data = base64.b64encode(text.encode()).decode()
    return {"signature": [{"sigFormat": "application/jose", "data": data, **more}]}


def sealed(key: Any, over: Any, algorithm: str = "ES256", **head: str) -> str:
    """A compact JWS over the canonical bytes of one resource."""
    header = {"alg": algorithm, "kid": key.thumbprint(), **head}
    return jws.serialize_compact(
        header, signatures.signed_bytes([over]), key, algorithms=signatures.ALGORITHMS
    )


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(KEY, "ES256"), (ECKey.generate_key("P-384"), "ES384"), (RSAKey.generate_key(2048), "PS256")],
)
def test_a_registered_key_signs(key: Any, algorithm: str) -> None:
    """Attached or detached, over the resource as sent; id, meta and narrative are not signed."""
    text = sealed(key, ORDER, algorithm)
    number = key.thumbprint()
    assert signatures.check(provenance(text), [ORDER], registered(key)) == number
    head, _, seal = text.split(".")
    assert signatures.check(provenance(f"{head}..{seal}"), [ORDER], registered(key)) == number
    with_more = {**ORDER, "id": "x", "meta": {"source": "y"}, "text": {"status": "empty"}}
    assert signatures.check(provenance(text), [with_more], registered(key)) == number


def test_what_does_not_hold_is_refused_with_a_sentence() -> None:
    """Unknown signer, changed content, another content, another format, no JWS, none at all."""
    keys, text = registered(KEY), sealed(KEY, ORDER)
    head, _, seal = text.split(".")
    changed = {**ORDER, "status": "completed"}
    foreign = ECKey.generate_key("P-256")
    none = base64.urlsafe_b64encode(
        json.dumps({"alg": "none", "kid": KEY.thumbprint()}).encode()
    ).decode().rstrip("=")  # fmt: skip  # One expression.
    cases: list[tuple[dict[str, Any], Any, str]] = [
        (provenance(sealed(foreign, ORDER)), ORDER, "not registered for this system"),
        (provenance(sealed(foreign, ORDER, kid=KEY.thumbprint())), ORDER, "does not hold"),
        (provenance(f"{head}..{seal}"), changed, "does not hold"),
        (provenance(text), changed, "over something else"),
        (provenance(text, sigFormat="application/pdf"), ORDER, "Only JWS"),
        (provenance("no.jws"), ORDER, "no compact JWS"),
        (provenance(f"{none}.."), ORDER, "does not hold"),
        ({}, ORDER, "no signature"),
    ]
    for given_, target, said in cases:
        with pytest.raises(UnprocessableError, match=said):
            signatures.check(given_, [target], keys)


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_only_strong_public_keys_are_registered() -> None:
    """Private, symmetric, short and meaningless keys are refused; PEM is read as JWK is."""
    pem = signatures.read_key(KEY.as_pem(private=False).decode())
    assert pem.number == KEY.thumbprint()
    assert '"d"' not in pem.text
    short = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  # It is to be refused.
    wrong = [
        json.dumps(KEY.as_dict(private=True)),
        KEY.as_pem(private=True).decode(),
        json.dumps(OctKey.generate_key(256).as_dict()),
        short.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "{}", "[", "", "x" * 20_000,
    ]  # fmt: skip  # One list.
    for text in wrong:
        with pytest.raises(InvalidError):
            signatures.read_key(text)


def test_numbers_are_written_as_rfc_8785_says() -> None:
    """The table of RFC 8785 appendix B, and its example of names and strings."""
    cases = {
        "0": 0.0, "5e-324": 5e-324, "1.7976931348623157e+308": 1.7976931348623157e308,
        "9007199254740992": 9007199254740992.0, "295147905179352830000": 295147905179352825856.0,
        "1e+21": 1e21, "1e-7": 1e-7, "0.000001": 1e-6, "333333333.3333332": 333333333.3333332,
        "9.999999999999997e+22": 9.999999999999997e22,
        "-0.0000033333333333333333": -3.3333333333333333e-06,
    }  # fmt: skip  # Pairs.
    for text, value in cases.items():
        assert signatures.canonical(value) == text.encode()
    assert signatures.canonical([Decimal("2.50"), Decimal("1E+2"), 7]) == b"[2.5,100,7]"
    names = {
        "\u20ac": 1,
        "\r": 2,
        "\ufb33": 3,
        "1": True,
        "\U0001f600": 5,
        "\u0080": None,
        "ö": "/\n\u000f",
    }
    assert signatures.canonical(names).decode() == (
        '{"\\r":2,"1":true,"\u0080":null,"ö":"/\\n\\u000f","\u20ac":1,"\U0001f600":5,"\ufb33":3}'
    )


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_comes_back(value: float) -> None:
    """What is written means the same double."""
    assert float(signatures.canonical(value)) == value


async def test_keys_are_registered_for_one_account(identity: Identity) -> None:
    """A key counts for its own system, until it is forgotten; nobody's key is not found."""
    number = await identity.register_key("service", json.dumps(KEY.as_dict(private=False)))
    assert list(await identity.keys_of("service")) == [number]
    assert await identity.keys_of("doctor") == {}
    await identity.forget_key("service", number)
    assert await identity.keys_of("service") == {}
    with pytest.raises(NotFoundError):
        await identity.forget_key("service", number)
    with pytest.raises(NotFoundError):
        await identity.register_key("nobody", json.dumps(KEY.as_dict(private=False)))
