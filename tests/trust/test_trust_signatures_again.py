"""What systems signed is verified again: with its document, from a version, or not at all."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from dmed.apps import signing_systems
from dmed.kit.settings import Settings
from dmed.store.pool import Database
from dmed.trust import signatures
from dmed.trust.gateway import Gateway
from dmed.trust.identity import Identity
from dmed.trust.model import Role, Subject
from dmed.trust.signing.model import Reason, SignatureError

SERVICE = Subject(user="service", role=Role.SERVICE)
KEY = ECKey.generate_key("P-384", {"kid": "lab-1"})
STRANGE = ECKey.generate_key("P-256", {"kid": "nobodys"})


@pytest.fixture
async def gateway(database: Database, settings: Settings, identity: Identity) -> Gateway:
    """A door, and the system's key known."""
    await identity.register_key("service", json.dumps(KEY.as_dict(private=False)))
    return Gateway(database, settings)


def flag(subject: str, text: str = "x") -> dict[str, Any]:
    """A record that a system sends."""
    return {"resourceType": "Flag", "status": "active", "code": {"text": text},
            "subject": {"reference": subject}}


def signed(
    sent: list[dict[str, Any]], names: list[str], *, key: ECKey = KEY, detached: bool = False
) -> tuple[dict[str, Any], bytes]:
    """A Provenance over what was sent, and its JWS."""
    algorithm = "ES384" if key is KEY else "ES256"
    text = jws.serialize_compact(
        {"alg": algorithm, "kid": key.kid}, signatures.signed_bytes(sent), key,
        algorithms=[algorithm])
    if detached:
        head, _, end = text.split(".")
        text = f"{head}..{end}"
    record = {
        "target": [{"reference": name} for name in names],
        "signature": [{"sigFormat": signatures.FORMAT,
                       "data": base64.b64encode(text.encode()).decode()}]}
    return record, text.encode()


async def test_what_a_system_signed_holds_again(gateway: Gateway) -> None:
    """With its document also over resolved references; without, where they were literal."""
    person = (await gateway.create(SERVICE, "Patient", {"resourceType": "Patient"})).id
    made = (await gateway.create(SERVICE, "Flag", flag(f"Patient/{person}"))).id
    sent, name = flag("urn:uuid:6a1f2a04-1c5c-4c0c-9f0e-111111111111"), f"Flag/{made}"
    for content, detached, again in (
        (sent, False, True), (flag(f"Patient/{person}"), True, True), (sent, True, False),
    ):
        record, data = signed([content], [name], detached=detached)
        assert await signing_systems.verify(gateway, SERVICE, record, data) is again


async def test_what_was_changed_or_is_nobodys_is_named(gateway: Gateway) -> None:
    """Another content, a target too many, a changed signature, an unknown key."""
    person = (await gateway.create(SERVICE, "Patient", {"resourceType": "Patient"})).id
    made = (await gateway.create(SERVICE, "Flag", flag(f"Patient/{person}"))).id
    name = f"Flag/{made}"
    good = flag(f"Patient/{person}")
    for sent, names, key, reason in (
        ([flag(f"Patient/{person}", "other")], [name], KEY, Reason.CHANGED),
        ([good], [name, name], KEY, Reason.OTHER_DOCUMENT),
        ([good], ["Flag/nobodys"], KEY, Reason.CHANGED),
        ([good], [name], STRANGE, Reason.CHAIN),
    ):
        record, data = signed(sent, names, key=key)
        with pytest.raises(SignatureError) as caught:
            await signing_systems.verify(gateway, SERVICE, record, data)
        assert caught.value.reason is reason, str(caught.value)
    record, data = signed([good], [name])
    head, body, end = data.decode().split(".")
    changed = f"{head}.{body}.{'A' * 10}{end[10:]}"
    record["signature"][0]["data"] = base64.b64encode(changed.encode()).decode()
    with pytest.raises(SignatureError) as caught:
        await signing_systems.verify(gateway, SERVICE, record, changed.encode())
    assert caught.value.reason is Reason.DOES_NOT_HOLD


def test_only_resolved_references_may_differ() -> None:
    """A urn becomes one Type/id; any other difference is a change."""
    sent = {"a": ["urn:uuid:1", "b"], "c": 1}

    assert signing_systems.is_as_sent(sent, {"a": ["Patient/1", "b"], "c": 1})
    for other in ({"a": ["Patient/1", "x"], "c": 1}, {"a": ["Patient/1", "b"]},
                  {"a": ["no reference", "b"], "c": 1}, {"a": ["Patient/1"], "c": 1}):
        assert not signing_systems.is_as_sent(sent, other)
