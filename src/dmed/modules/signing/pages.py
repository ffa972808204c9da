"""The published keys of the platform's seal, for anybody who verifies without a line."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dmed.pages import view
from dmed.trust.manifest import ANYBODY, Route
from dmed.trust.signing import seal

_CACHED = {"Cache-Control": "public, max-age=300"}


async def jwk_set(request: Request) -> Response:
    """The seal's public keys as JWK Set (RFC 7517)."""
    keys = seal.load(view.gateway(request).settings.data).jwk_set()
    return Response(msgspec.json.encode(keys), media_type="application/jwk-set+json",
                    headers=_CACHED)  # fmt: skip  # One answer.


async def cose_keys(request: Request) -> Response:
    """The same keys as COSE_KeySet (RFC 9052)."""
    keys = seal.load(view.gateway(request).settings.data).cose_keys()
    return Response(keys, media_type="application/cose-key-set", headers=_CACHED)


ROUTES = (
    Route(path="/.well-known/seal-keys.json", endpoint=jwk_set, roles=ANYBODY),
    Route(path="/.well-known/seal-keys.cbor", endpoint=cose_keys, roles=ANYBODY),
)
