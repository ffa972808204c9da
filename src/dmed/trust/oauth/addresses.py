"""Under which addresses the protocol is reached, and the documents that tell them.

OpenID Connect Discovery 1.0, RFC 8414, and
https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from dmed.kit.errors import UnprocessableError
from dmed.kit.settings import Settings
from dmed.trust.oauth.assertions import ALGORITHMS
from dmed.trust.strength import VALUES

_LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.ASCII)
CAPABILITIES = (
    "launch-ehr",
    "launch-standalone",
    "client-public",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
SCOPES = (
    "openid", "profile", "fhirUser", "launch", "launch/patient", "launch/encounter",
    "offline_access", "online_access", "patient/*.cruds", "user/*.cruds", "system/*.cruds",
)  # fmt: skip  # A list of names reads better filled.


class Addresses(msgspec.Struct, frozen=True):
    """The address of this installation as the protocol names it."""

    issuer: str

    @property
    def fhir(self) -> str:
        """The FHIR base."""
        return f"{self.issuer}/fhir"

    @property
    def token(self) -> str:
        """Where codes, refresh tokens and assertions become access tokens."""
        return f"{self.issuer}/oauth/token"


def addresses(scope: Any, settings: Settings) -> Addresses:
    """DMED_PUBLIC_URL, or the address as asked where that is this very machine (trials, tests).

    UnprocessableError otherwise: who signs may not be what a stranger writes into a header.
    """
    if settings.public_url:
        return Addresses(settings.public_url.rstrip("/"))
    for name, value in scope["headers"]:
        if name == b"host" and _LOCAL.fullmatch(value.decode("latin-1")):
            return Addresses(f"{scope.get('scheme', 'http')}://{value.decode('latin-1')}")
    raise UnprocessableError("Apps can sign in once DMED_PUBLIC_URL is set")


def openid_configuration(at: Addresses) -> dict[str, Any]:
    """`/.well-known/openid-configuration`, which is also that of RFC 8414."""
    return {
        "issuer": at.issuer,
        **_endpoints(at),
        "userinfo_endpoint": f"{at.issuer}/oauth/userinfo",
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": [
            "sub", "name", "preferred_username", "fhirUser", "nonce", "auth_time", "acr"],
        "acr_values_supported": list(VALUES),
        "prompt_values_supported": ["none", "login", "consent"],
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def smart_configuration(at: Addresses) -> dict[str, Any]:
    """`[base]/.well-known/smart-configuration`."""
    return {
        "issuer": at.issuer,
        **_endpoints(at),
        "management_endpoint": f"{at.issuer}/me",
        "capabilities": list(CAPABILITIES),
    }


def _endpoints(at: Addresses) -> dict[str, Any]:
    proofs = ["none", "private_key_jwt"]
    return {
        "authorization_endpoint": f"{at.issuer}/oauth/authorize",
        "token_endpoint": at.token,
        "jwks_uri": f"{at.issuer}/oauth/jwks",
        "introspection_endpoint": f"{at.issuer}/oauth/introspect",
        "revocation_endpoint": f"{at.issuer}/oauth/revoke",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": proofs,
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": proofs,
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
    }


def security(at_base: str) -> dict[str, Any]:
    """`CapabilityStatement.rest.security` for clients that look there instead."""
    issuer = at_base.removesuffix("/fhir")
    named = {
        "authorize": "authorize",
        "token": "token",
        "introspect": "introspect",
        "revoke": "revoke",
    }
    return {
        "cors": True,
        "extension": [
            {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [
                    {"url": name, "valueUri": f"{issuer}/oauth/{path}"}
                    for name, path in named.items()
                ],
            }
        ],
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": code,
                    }
                ]
            }
            for code in ("SMART-on-FHIR", "OAuth")
        ],
        "description": "OAuth 2.0 and SMART App Launch 2.2; a page session for the pages. Only "
        "registered apps may ask from other origins",
    }
