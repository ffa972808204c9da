#!/usr/bin/env bash
# Makes a mistake on purpose: the answer names every fault with its place.
set -euo pipefail
status=$(curl -sS -o outcome.json -w '%{http_code}' "$BASE/sandbox/fhir/Patient" \
  -H "Authorization: Bearer $(cat token)" -H "Content-Type: application/fhir+json" \
  -d '{"resourceType":"Patient","gender":"unknwon","birthDate":"1990-02-31"}')
cat outcome.json && test "$status" = 400
