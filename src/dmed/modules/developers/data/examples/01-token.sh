#!/usr/bin/env bash
# Gets a token with your key (private_key_jwt, RFC 7523). Needs BASE and CLIENT; SCOPE when live.
set -euo pipefail
SCOPE=${SCOPE:-system/Organization.rs system/Location.rs system/HealthcareService.rs}
b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
now=$(date +%s)
head=$(printf '{"alg":"RS384","typ":"JWT","kid":"key-1"}' | b64)
body=$(printf '{"iss":"%s","sub":"%s","aud":"%s/oauth/token","jti":"%s","iat":%d,"exp":%d}' \
  "$CLIENT" "$CLIENT" "$BASE" "$(openssl rand -hex 16)" "$now" "$((now + 240))" | b64)
sign=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha384 -sign private.pem -binary | b64)
curl -fsS "$BASE/oauth/token" \
  -d grant_type=client_credentials --data-urlencode "scope=$SCOPE" \
  -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
  -d "client_assertion=$head.$body.$sign" |
  sed 's/.*"access_token":"\([^"]*\)".*/\1/' >token
test -s token && echo "token written"
