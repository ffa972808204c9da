#!/usr/bin/env bash
# Makes the key pair of your system: private.pem stays with you, public.jwk is pasted on the page.
set -euo pipefail
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out private.pem 2>/dev/null
hex=$(openssl rsa -in private.pem -noout -modulus | cut -d= -f2)
n=$(printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")" | openssl base64 -A | tr '+/' '-_' | tr -d '=')
printf '{"kty":"RSA","kid":"key-1","e":"AQAB","n":"%s"}\n' "$n" | tee public.jwk
