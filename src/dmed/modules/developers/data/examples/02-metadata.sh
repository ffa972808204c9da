#!/usr/bin/env bash
# Reads what the server can do. Needs BASE and the file token.
set -euo pipefail
curl -fsS "$BASE/sandbox/fhir/metadata" -H "Authorization: Bearer $(cat token)" | head -c 200
