"""Backend services by a client that is not ours: Authlib, in an environment of its own.

python system.py BASE KEY.pem KID: a token by private_key_jwt, a request with it, and the same
assertion once more. Tells what happened as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import httpx
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey


def main() -> None:
    """One line of JSON with what the server answered."""
    base, key, number = sys.argv[1:4]
    found = httpx.get(f"{base}/.well-known/smart-configuration").json()
    place = found["token_endpoint"]
    client = OAuth2Client("lab", ECKey.import_key(Path(key).read_bytes()),
                          token_endpoint_auth_method="private_key_jwt",
                          scope="system/Patient.rs system/Observation.rs")
    client.register_client_auth_method(
        # Authlib's own hour is longer than the five minutes of the standard.
        PrivateKeyJWT(place, {"exp": int(time.time()) + 120}, {"kid": number}, "ES384"))
    sent: list[bytes] = []
    client.event_hooks["request"].append(lambda request: sent.append(request.read()))
    token = client.fetch_token(place, grant_type="client_credentials")
    answer = client.get(f"{base}/Patient?_count=2")
    refused = client.get(f"{base}/Condition?_count=1")
    replayed = httpx.post(place, content=sent[0],
                          headers={"Content-Type": "application/x-www-form-urlencoded"})
    print(json.dumps({
        "scope": token["scope"], "expires_in": token["expires_in"],
        "status": answer.status_code, "found": len(answer.json().get("entry", [])),
        "refused": refused.status_code, "replayed": replayed.json().get("error", ""),
    }))


if __name__ == "__main__":
    main()
