"""Registrations and authorization requests as pure rules: addresses, keys, ticks, PKCE."""

from __future__ import annotations

import msgspec
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from dmed.kit.errors import InvalidError, UnprocessableError
from dmed.kit.settings import Settings
from dmed.trust.oauth import requests
from dmed.trust.oauth.addresses import Addresses, addresses, openid_configuration, security
from dmed.trust.oauth.clients import CONFIDENTIAL, Client, check_address, checked, origin
from dmed.trust.oauth.errors import OAuthError
from dmed.trust.oauth.grants import is_verified
from dmed.trust.oauth.scopes import parse

GOOD = Client(id="app", name="App", redirect_uris=("https://a.example/x",), scopes="patient/*.rs")


@pytest.mark.parametrize("address", [
    "https://a.example/back?x=1", "http://localhost:8000/", "http://127.0.0.1/x", "uz.ex.app:/done",
])  # fmt: skip  # A list of cases.
def test_addresses_that_are_safe(address: str) -> None:
    """https, this very machine, or an app's own scheme: registered as it is."""
    check_address(address)

    client = msgspec.structs.replace(GOOD, redirect_uris=(address,))
    assert checked(client).redirect_uris == (address,)


@pytest.mark.parametrize("address", [
    "http://a.example/", "https://a.example/#x", "javascript:alert(1)", "https://u:p@a.example/",
    "https://", "//a.example", "data:text/html,x", "app:/x", "https://a.example/ b", "",
    "https://a.example/;form-action *",
])  # fmt: skip  # Same.
def test_addresses_that_are_not(address: str) -> None:
    """In the clear, with fragment or password, of a dangerous or anybody's scheme, or a policy."""
    with pytest.raises(InvalidError):
        check_address(address)


@pytest.mark.parametrize("changes", [
    {"id": "a b"}, {"name": ""}, {"kind": "secret"}, {"kind": CONFIDENTIAL}, {"account": "service"},
    {"scopes": "system/*.rs"}, {"scopes": "everything"}, {"redirect_uris": ("http://a.example",)},
    {"launch_uri": "http://a.example"},
])  # fmt: skip  # Same.
def test_registrations_that_cannot_be_served(changes: dict[str, object]) -> None:
    """Each names its fault when it is registered, not when a person waits."""
    assert checked(GOOD) == GOOD
    with pytest.raises(InvalidError):
        checked(msgspec.structs.replace(GOOD, **changes))


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_only_strong_public_keys_are_registered() -> None:
    """Private, symmetric, short and strange keys are refused; a set keeps nothing private."""
    def registered(key: object) -> Client:
        text = msgspec.json.encode({"keys": [key]}).decode()
        return checked(msgspec.structs.replace(GOOD, kind=CONFIDENTIAL, keys=text))

    good = ECKey.generate_key("P-384")
    assert '"d"' not in registered(good.as_dict(private=False)).keys
    weak = RSAKey.generate_key(1024, auto_kid=False)
    for bad in (good.as_dict(private=True), OctKey.generate_key(256).as_dict(private=True),
                weak.as_dict(private=False), ECKey.generate_key("P-521").as_dict(private=False),
                {"kty": "EC"}, {}, "x"):  # fmt: skip  # A list of cases.
        with pytest.raises(InvalidError):
            registered(bad)


def test_parameters_come_once() -> None:
    """A second redirect_uri cannot hide behind the first."""
    with pytest.raises(OAuthError):
        requests.once([("redirect_uri", "https://a"), ("redirect_uri", "https://b")])


def test_pkce_of_the_standard() -> None:
    """The example of RFC 7636, appendix B; anything else is refused."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

    assert is_verified(verifier, challenge)
    assert not is_verified(verifier + "x", challenge)
    assert not is_verified(challenge, challenge)
    assert not is_verified("", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")


def test_the_answer_keeps_what_the_address_had() -> None:
    """Its own query stays, and the issuer says who answers."""
    made = requests.answer("https://a.example/x?a=1", {"code": "c d", "state": ""}, "https://i")

    assert made == "https://a.example/x?a=1&code=c+d&iss=https%3A%2F%2Fi"


def test_ticks_only_take_away() -> None:
    """What was not asked cannot be ticked, and offline access is a right like others."""
    asked = parse("openid offline_access patient/Patient.rs user/Task.cu")
    found = requests.ticked(asked, ["r patient/Patient.rs", "d user/Task.cu", "u user/Task.cu"])

    assert found.text() == "openid patient/Patient.r user/Task.u"


def test_an_issuer_is_never_a_strangers_word() -> None:
    """Without a public address only this very machine may name itself."""
    def at(host: bytes, public_url: str = "") -> str:
        scope = {"headers": [(b"host", host)], "scheme": "http"}
        return addresses(scope, Settings(public_url=public_url)).issuer

    assert at(b"127.0.0.1:8080") == "http://127.0.0.1:8080"
    assert at(b"evil.example", "https://dmed.example/") == "https://dmed.example"
    for host in (b"evil.example", b"localhost.evil.example", b"127.0.0.1@evil.example"):
        with pytest.raises(UnprocessableError):
            at(host)


def test_documents_hold_no_weak_way() -> None:
    """No implicit flow, no plain PKCE, no secrets, no algorithm but ours."""
    told = openid_configuration(Addresses("https://i"))

    assert told["response_types_supported"] == ["code"]
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["token_endpoint_auth_methods_supported"] == ["none", "private_key_jwt"]
    assert told["id_token_signing_alg_values_supported"] == ["ES256"]
    assert security("https://i/fhir")["extension"][0]["extension"][1]["valueUri"] == (
        "https://i/oauth/token")  # fmt: skip  # One address.


def test_origins_for_policies() -> None:
    """The form of a page may lead to this origin and no further."""
    assert origin("https://A.example:8443/x?y") == "https://a.example:8443"
    assert origin("uz.ex.app:/done") == "uz.ex.app:"
